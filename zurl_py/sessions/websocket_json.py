"""Frames for workers that use JSON, whose strings hold characters only.

A frame may end within a character, and a ping may hold any bytes. What a JSON string cannot hold is
kept here: the beginning of a character for the next frame, a ping's payload for its pong.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Final

from ..websocket import Data
from ..websocket.utf8 import check_text

__all__ = ["JsonFrames"]

# Pings that may wait for their pongs at once; of more, the oldest are forgotten.
_MAX_PINGS: Final = 32


class JsonFrames:
    """The bytes of one session that JSON cannot hold."""

    __slots__ = ("_pings", "_tail")

    def __init__(self) -> None:
        self._tail = b""  # the beginning of a character
        self._pings: deque[tuple[bytes, bytes]] = deque(maxlen=_MAX_PINGS)

    def whole_characters(self, data: Data) -> Data:
        """The frame, cut at the end of a character; the rest is added to the next frame."""
        tail = self._tail
        if not tail and data.payload.isascii():
            return data
        payload = tail + data.payload
        self._tail = check_text(tail, data.payload, data.fin)
        if self._tail:
            payload = payload[: -len(self._tail)]
        return replace(data, payload=payload)

    def remember_ping(self, payload: bytes) -> None:
        """Remember the payload of a ping that is sent to the worker."""
        shown = payload.decode("utf-8", "replace").encode()
        if shown != payload:
            self._pings.append((shown, payload))

    def pong(self, body: bytes) -> bytes:
        """The payload for a worker's pong: that of the ping that it answers."""
        for number, (shown, payload) in enumerate(self._pings):
            if shown == body:
                # Earlier pings need no pong of their own (RFC 6455 section 5.5.3).
                for _ in range(number + 1):
                    self._pings.popleft()
                return payload
        return body
