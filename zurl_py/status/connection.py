"""One connection to the status listener: one request, one response, then it is closed.

Keep-alive would save little for a few pages a minute, and idle connections would count towards the
limit of connections.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from ..loop import READ, WRITE, Loop, Timer
from .monitors import Filter, Monitor, Monitors
from .pages import MONITOR_PATH, Page, Pages, bad_request, not_allowed, query_of, too_long

__all__ = ["TIMEOUT", "Connection"]

TIMEOUT: Final = 10.0
"""Seconds that a connection has, from its start to the last byte of its response."""

_MAX_HEAD = 8192  # bytes
_MONITOR_INTERVAL = 0.05  # seconds in which lines for a monitor are collected


class Connection:
    """Reads one request and answers it.

    Args:
        closed: called once, when the socket is closed.
    """

    def __init__(
        self,
        accepted: socket.socket,
        loop: Loop,
        pages: Pages,
        monitors: Monitors,
        closed: Callable[[Connection], None],
    ) -> None:
        self._socket = accepted
        self._fd = accepted.fileno()
        self._loop = loop
        self._pages = pages
        self._monitors = monitors
        self._closed = closed
        self._head = bytearray()
        self._unsent = b""
        self._monitor: Monitor | None = None
        self._timer = Timer(self.close)
        self._answered = False

    def start(self) -> None:
        """Wait for the request."""
        self._loop.set_timer(self._timer, self._loop.now + TIMEOUT)
        self._loop.watch(self._fd, READ, self._ready)

    def close(self) -> None:
        """Close the socket; no error if it is closed."""
        if self._fd < 0:
            return
        self._loop.cancel_timer(self._timer)
        self._loop.unwatch(self._fd)
        self._fd = -1
        self._socket.close()
        if self._monitor is not None:
            self._monitors.remove(self._monitor)
        self._closed(self)

    # -- reading -------------------------------------------------------------------------------

    def _ready(self, _fd: int, events: int) -> None:
        try:
            if events & WRITE:
                self._send()
            if events & ~WRITE and self._fd >= 0:
                self._receive()
        except OSError:  # reset by the other side
            self.close()

    def _receive(self) -> None:
        try:
            data = self._socket.recv(_MAX_HEAD)
        except BlockingIOError:
            return
        if not data:
            self.close()
            return
        if self._answered:
            return  # input after the request is ignored
        self._head += data
        head, end, _ = bytes(self._head).partition(b"\r\n\r\n")
        if end:
            self._answer(head)
        elif len(self._head) > _MAX_HEAD:
            self._reply(too_long())

    def _answer(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        parts = first.split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            self._reply(bad_request("this is an HTTP/1.1 server"))
            return
        method, target, _ = parts
        if method not in ("GET", "HEAD"):
            self._reply(not_allowed(method))
            return
        try:
            path, query = query_of(target)
        except ValueError:  # too many fields
            self._reply(bad_request("the query has too many fields: 20 at most"))
            return
        if path == MONITOR_PATH and method == "GET":
            self._watch_outcomes(Filter.of(query))
            return
        fields = [line.partition(":")[::2] for line in lines]
        accept = ",".join(value for name, value in fields if name.strip().lower() == "accept")
        self._reply(self._pages.get(path, accept), method == "HEAD")

    # -- writing -------------------------------------------------------------------------------

    def _reply(self, page: Page, head_only: bool = False) -> None:
        lines = [f"Content-Length: {len(page.body)}", *page.headers]
        head = _response_head(page.status, page.content_type, lines)
        self._answered = True
        self._unsent = head + (b"" if head_only else page.body)
        self._send()

    def _watch_outcomes(self, filter: Filter) -> None:
        """Stream outcomes until the connection is closed, without a deadline."""
        self._answered = True
        self._unsent = _response_head(200, "application/x-ndjson", ())
        self._loop.cancel_timer(self._timer)
        self._timer = Timer(self._send)
        self._monitor = Monitor(filter, self._send_soon)
        self._monitors.add(self._monitor)
        self._send()

    def _send_soon(self) -> None:
        # Collect lines for one write. If the socket is full, epoll reports when there is room.
        if not self._unsent:
            self._loop.set_timer(self._timer, self._loop.now + _MONITOR_INTERVAL)

    def _send(self) -> None:
        """Send what waits, as far as the socket has room."""
        monitor = self._monitor
        try:
            while self._fd >= 0:
                if not self._unsent and monitor is not None:
                    self._unsent = monitor.take()
                if not self._unsent:
                    break
                sent = self._socket.send(self._unsent)
                self._unsent = self._unsent[sent:]
        except BlockingIOError:
            self._loop.watch(self._fd, READ | WRITE, self._ready)
            return
        except OSError:
            self.close()
            return
        if monitor is None:
            self.close()
        elif self._fd >= 0:
            self._loop.watch(self._fd, READ, self._ready)


def _response_head(status: int, content_type: str, lines: list[str] | tuple[str, ...]) -> bytes:
    return "\r\n".join(
        (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            f"Content-Type: {content_type}",
            *lines,
            # The content is for this client only, and changes all the time.
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            "Connection: close",
            "",
            "",
        )
    ).encode()
