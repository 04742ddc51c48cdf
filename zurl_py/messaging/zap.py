"""ZeroMQ's authentication protocol (ZAP, RFC 27): libzmq sends a request for each connection."""

from __future__ import annotations

from typing import Any

import zmq
from zmq.utils import z85

from ..log import Log
from ..loop import READ, Loop
from .access import Access

__all__ = ["DOMAIN", "Authenticator"]

DOMAIN = b"zurl"
"""``ZMQ_ZAP_DOMAIN`` of the sockets."""

_ENDPOINT = "inproc://zeromq.zap.01"  # in the context of the sockets
_VERSION = b"1.0"
_LOG_INTERVAL = 60.0  # seconds between two log lines about refused connections


class Authenticator:
    """Answers libzmq's requests, on the loop.

    Args:
        context: of the sockets whose connections are to be authenticated.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], loop: Loop, log: Log, access: Access
    ) -> None:
        self._loop = loop
        self._log = log
        self._access = access
        self._refused = 0
        self._next_line = 0.0
        self._socket = context.socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(_ENDPOINT)
        loop.watch(int(self._socket.getsockopt(zmq.FD)), READ, self._answer)

    def _answer(self, _fd: int, _events: int) -> None:
        """Answer all requests that wait: the descriptor signals once for many."""
        while True:
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._socket.send_multipart(self._verdict(frames))

    def _verdict(self, frames: list[bytes]) -> list[bytes]:
        version, request, *rest = (*frames, b"", b"")
        user = b""
        # Only ipc endpoints accept connections without keys, and their files have modes.
        known = version == _VERSION and rest[3:4] == [b"NULL"]
        if version == _VERSION and len(frames) == 7 and rest[3] == b"CURVE":
            key: Any = z85.encode(frames[6])
            if key.decode() in self._access.clients:
                user, known = key, True
            else:
                self._log_refusal(rest[1], key)
        status, text = (b"200", b"OK") if known else (b"400", b"No access")
        return [_VERSION, request, status, text, user, b""]

    def _log_refusal(self, address: bytes, key: bytes) -> None:
        """Log a refused connection, but not every one of many."""
        self._refused += 1
        if self._loop.now >= self._next_line:
            self._next_line = self._loop.now + _LOG_INTERVAL
            self._log.warning(
                f"a connection from {address.decode('ascii', 'replace')} was refused: its key "
                f"{key.decode()} is not in curve_clients_dir ({self._refused} so far)"
            )
