"""Reads and writes a connection that libcurl has opened (``CURLOPT_CONNECT_ONLY``), on the loop."""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Callable
from typing import Final

import pycurl

from ..loop import HANG_UP, READ, WRITE, Loop, Timer
from ..zhttp import Condition
from .errors import ErrorName, TransferError
from .handles import EasyHandle
from .request import HttpRequest, connect_host_url

__all__ = ["StreamSocket", "connect_only"]

# libcurl gets URLs of WebSockets with http or https: its schemes ws and wss have no ALPN.
_HTTP_SCHEMES: Final = pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS
_HTTP_SCHEME: Final = {"ws": "http", "wss": "https"}

_READ_SIZE: Final = 65536
_READS_PER_TURN: Final = 4  # then other connections have their turn
# TLS may have to read before it can write, which epoll cannot report. Writing is then tried again
# after a read, or after this time, which doubles with each attempt.
_FIRST_RETRY: Final = 0.02  # seconds
_LAST_RETRY: Final = 2.0


def connect_only(handle: EasyHandle, request: HttpRequest, verify_connect_host: bool) -> None:
    """Have libcurl connect and do TLS, and send no request; `EasyHandle.apply` has been called.

    It is a new connection, over HTTP/1.1, through a tunnel if there is a proxy.
    """
    target = request.target
    if target.scheme in _HTTP_SCHEME:
        here = connect_host_url(request) if verify_connect_host else target.curl_url
        as_http = pycurl.CurlUrl(here.url, pycurl.U_PATH_AS_IS)
        as_http.scheme = _HTTP_SCHEME[target.scheme]
        handle.set(pycurl.CURLU, as_http)
        handle.set(pycurl.PROTOCOLS, _HTTP_SCHEMES)
    handle.set(pycurl.CONNECT_ONLY, 1)
    # With FORBID_REUSE libcurl would close the connection now.
    handle.set(pycurl.FRESH_CONNECT, 1)
    handle.set(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
    handle.set(pycurl.HTTPPROXYTUNNEL, 1)


class StreamSocket:
    """Reading and writing by ``curl_easy_recv`` and ``curl_easy_send``, which do TLS.

    Reading is on demand: ``on_readable`` reports that ``read`` may return something; what is not
    read stays in the kernel.

    Args:
        loop: the event loop.
        curl: the easy handle; it stays in its multi handle.
        tls: the connection uses TLS, so decrypted bytes may wait in memory, unseen by epoll.
        on_readable: called when ``read`` may return bytes, or find the end.
        on_written: called with the mark of a piece that had to wait, when it was sent.
        shows_certificate: we have a client certificate for this origin.

    Attributes:
        lost: why no more bytes will come, once all have been read.
        ended: the origin has closed its side in the ordinary way, not by a reset.
        hung_up: the peer will send no more, although not all bytes have been read.
        has_more: ``read`` returned nothing because this turn's reads are used up.
        unsent: bytes that wait for room in the kernel.
    """

    __slots__ = (
        "_curl",
        "_fd",
        "_loop",
        "_may_read",
        "_on_readable",
        "_on_written",
        "_paused",
        "_queue",
        "_reads_left",
        "_retry",
        "_retry_after",
        "_shows_certificate",
        "_tls",
        "_watched",
        "ended",
        "has_more",
        "hung_up",
        "lost",
        "unsent",
    )

    def __init__(
        self,
        loop: Loop,
        curl: pycurl.Curl,
        tls: bool,
        on_readable: Callable[[], None],
        on_written: Callable[[int], None],
        shows_certificate: bool = True,
    ) -> None:
        self._loop = loop
        self._curl = curl
        self._tls = tls
        self._shows_certificate = shows_certificate
        self._on_readable = on_readable
        self._on_written = on_written
        self._fd: int = curl.getinfo(pycurl.ACTIVESOCKET)
        self._may_read = False
        self._reads_left = _READS_PER_TURN
        self._paused = False
        self._watched = 0
        self._queue: deque[tuple[bytes | memoryview, int | None]] = deque()
        self._retry: Timer | None = None  # TLS cannot write before it has read
        self._retry_after = _FIRST_RETRY
        self.lost: TransferError | None = None
        self.ended = False
        self.hung_up = False
        self.has_more = False
        self.unsent = 0
        self._watch()

    def __repr__(self) -> str:
        state = "lost" if self.lost else "paused" if self._paused else "reading"
        return f"<StreamSocket fd={self._fd} {state} unsent={self.unsent}>"

    # -- reading -----------------------------------------------------------------------------

    def begin_turn(self) -> None:
        """Allow this turn's reads."""
        self._reads_left = _READS_PER_TURN
        self.has_more = False

    @property
    def drained(self) -> bool:
        """Whether `read` returns nothing until epoll reports more."""
        return not self._may_read

    def read(self) -> bytes:
        """Bytes that have come; b"" if there are none, or the connection is ``lost``."""
        if not self._may_read:
            return b""
        if self._reads_left <= 0:
            self.has_more = True
            return b""
        self._reads_left -= 1
        try:
            data: bytes = self._curl.recv(_READ_SIZE)
        except BlockingIOError:
            self._may_read = False
            return b""
        except pycurl.error as error:
            text = f"connection lost: {error.args[-1]}"
            shows = self._shows_certificate
            self._end(TransferError.from_curl(error.args[0], text, shows_certificate=shows))
            return b""
        if not data:
            self.ended = True
            self._end(
                TransferError(
                    Condition.UNDEFINED_CONDITION,
                    "connection closed by the origin",
                    error=ErrorName.CONNECTION_RESET,
                )
            )
        elif len(data) < _READ_SIZE and not self._tls:
            self._may_read = False  # that was all; epoll reports more
        if self._retry is not None:
            self._write_again()
        return data

    def pause(self) -> None:
        """Do not call ``on_readable`` until `resume`; `read` may still be called."""
        self._may_read = self.lost is None
        if not self._paused:
            self._paused = True
            self._watch()

    def resume(self) -> None:
        """Call ``on_readable`` again; the caller has just read all there was."""
        if self._paused:
            self._paused = False
            self._watch()

    def try_reading(self) -> None:
        """Let the next `read` try, whatever epoll has reported."""
        self._may_read = self.lost is None

    def _end(self, why: TransferError) -> None:
        self.lost = why
        self._may_read = False
        self._watch()

    # -- writing -----------------------------------------------------------------------------

    def write(self, data: bytes, mark: int | None) -> bool:
        """Send ``data``, now or when there is room for it.

        Returns:
            Whether all of it was sent; if not, ``on_written`` is called with ``mark`` later, unless
            that is None.
        """
        if self._queue:
            self._queue.append((data, mark))
            self.unsent += len(data)
            return False
        sent = self._send(data)
        if sent == len(data):
            return True
        self._queue.append((memoryview(data)[sent:], mark))
        self.unsent = len(data) - sent
        self._watch()
        return False

    def _send(self, data: bytes | memoryview) -> int:
        """Send; returns the number of bytes sent, all of them on a broken connection: the next read
        finds that it is broken.
        """
        try:
            return int(self._curl.send(data))
        except BlockingIOError:
            return 0
        except pycurl.error:
            return len(data)

    def _flush(self) -> None:
        """Send what waits; the kernel has room."""
        queue = self._queue
        before = self.unsent
        while queue:
            data, mark = queue[0]
            sent = self._send(data)
            self.unsent -= sent
            if sent < len(data):
                queue[0] = (memoryview(data)[sent:], mark)
                if self.unsent == before and self._tls and self._has_room():
                    # There was room and nothing was sent: the origin wants another TLS handshake
                    # first. To wait for room would be a busy loop.
                    self._write_later()
                return
            queue.popleft()
            if mark is not None:
                self._on_written(mark)
        self._retry_after = _FIRST_RETRY
        self._watch()

    def _has_room(self) -> bool:
        poller = select.poll()
        poller.register(self._fd, select.POLLOUT)
        return bool(poller.poll(0))

    def _write_later(self) -> None:
        self._retry = Timer(self._write_again)
        self._loop.set_timer(self._retry, self._loop.now + self._retry_after)
        self._retry_after = min(_LAST_RETRY, self._retry_after * 2)
        self._watch()

    def _write_again(self) -> None:
        """Wait for room again, of which there probably is some."""
        if self._retry is not None:
            self._loop.cancel_timer(self._retry)
            self._retry = None
            self._watch()

    # -- the descriptor ----------------------------------------------------------------------

    def close(self) -> None:
        """Release the descriptor, which libcurl is about to close."""
        if self._fd >= 0:
            self._loop.unwatch(self._fd)
            self._fd = -1
        self._write_again()
        self._may_read = False
        self._queue.clear()
        self.unsent = 0

    def _watch(self) -> None:
        """Register the descriptor for the events that we wait for.

        If there are none, it is removed from the epoll, which would report a hang-up again and
        again.
        """
        if self._fd < 0:
            return
        if self.lost is not None:
            wanted = 0
        elif self._paused:
            wanted = 0 if self.hung_up else HANG_UP
        else:
            wanted = READ
        if self._queue and self._retry is None:
            wanted |= WRITE
        if wanted != self._watched:
            self._watched = wanted
            if wanted:
                self._loop.watch(self._fd, wanted, self._ready)
            else:
                self._loop.unwatch(self._fd)

    def _ready(self, _fd: int, events: int) -> None:
        if self._queue and events & ~(READ | HANG_UP):
            self._flush()
        if self._fd < 0 or not events & ~WRITE or self.lost is not None:
            return
        if self._paused:
            self.hung_up = True
            self._watch()
        else:
            self._may_read = True
        self._on_readable()
