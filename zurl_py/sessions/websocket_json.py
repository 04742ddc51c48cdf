"""Frames for workers that speak JSON, whose text is Unicode and nothing else.

A frame may end within a character, and a ping may hold any bytes: what a JSON string cannot
say is kept here until it can be said, or is asked for.
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
    """What was left unsaid in one session."""

    __slots__ = ("_pings", "_tail")

    def __init__(self) -> None:
        self._tail = b""  # the beginning of a character
        self._pings: deque[tuple[bytes, bytes]] = deque(maxlen=_MAX_PINGS)

    def whole_characters(self, data: Data) -> Data:
        """The same text, cut where a character ends: its beginning goes with the next frame."""
        tail = self._tail
        if not tail and data.payload.isascii():
            return data
        payload = tail + data.payload
        self._tail = check_text(tail, data.payload, data.fin)
        if self._tail:
            payload = payload[: -len(self._tail)]
        return replace(data, payload=payload)

    def remember_ping(self, payload: bytes) -> None:
        """A ping with this payload is handed on."""
        shown = payload.decode("utf-8", "replace").encode()
        if shown != payload:
            self._pings.append((shown, payload))

    def pong(self, body: bytes) -> bytes:
        """The payload that a worker means by the body of its pong: that of the ping it answers."""
        for number, (shown, payload) in enumerate(self._pings):
            if shown == body:
                # Those before it were not answered, and need not be (RFC 6455 section 5.5.3).
                for _ in range(number + 1):
                    self._pings.popleft()
                return payload
        return body
