"""A connection that libcurl has opened and left to us: bytes in and out of it, on the loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import pycurl

from ..loop import READ, WRITE, Loop

__all__ = ["StreamSocket"]

_READ_SIZE = 65536
_READS_PER_TURN = 16  # then other connections have their turn


class StreamSocket:
    """Reading and writing by ``curl_easy_recv`` and ``curl_easy_send``, which do TLS.

    Reading is on demand: ``on_readable`` says that it is worth trying, ``read`` takes as much as
    is asked for, and what nobody asks for stays in the kernel.

    Args:
        loop: the event loop.
        curl: the easy handle; it stays in its multi handle.
        tls: decrypted bytes may be waiting where epoll does not see them.
        on_readable: called when ``read`` may have something, or an end, to tell.
        on_written: called with the mark of a piece that had to wait, when it has gone out.
        come_back: asks for a call of ``turn`` in the loop's next turn.

    Attributes:
        lost: why no more will come, once all that came was read.
        unsent: bytes that wait for room in the kernel.
    """

    __slots__ = (
        "_come_back",
        "_curl",
        "_fd",
        "_loop",
        "_may_read",
        "_on_readable",
        "_on_written",
        "_paused",
        "_queue",
        "_reads_left",
        "_tls",
        "_watched",
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
        come_back: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._curl = curl
        self._tls = tls
        self._on_readable = on_readable
        self._on_written = on_written
        self._come_back = come_back
        self._fd: int = curl.getinfo(pycurl.ACTIVESOCKET)
        self._may_read = False
        self._reads_left = _READS_PER_TURN
        self._paused = False
        self._watched = 0
        self._queue: deque[tuple[bytes | memoryview, int]] = deque()
        self.lost: str | None = None
        self.unsent = 0
        self._watch()

    # -- reading -----------------------------------------------------------------------------

    def read(self) -> bytes:
        """What has come; b"" for nothing, or for nothing any more, which ``lost`` tells."""
        if not self._may_read:
            return b""
        if self._reads_left <= 0:
            self._come_back()
            return b""
        self._reads_left -= 1
        try:
            data: bytes = self._curl.recv(_READ_SIZE)
        except BlockingIOError:
            self._may_read = False
            return b""
        except pycurl.error as error:
            self._end(f"connection lost: {error.args[-1]}")
            return b""
        if not data:
            self._end("connection closed by the origin")
        elif len(data) < _READ_SIZE and not self._tls:
            self._may_read = False  # that was all; epoll tells of more
        return data

    def pause(self) -> None:
        """Do not tell of anything to read until `resume`; `read` may still be tried."""
        self._may_read = self.lost is None
        if not self._paused:
            self._paused = True
            self._watch()

    def resume(self) -> None:
        """Tell again; the caller has just read all there was."""
        if self._paused:
            self._paused = False
            self._watch()

    def turn(self) -> None:
        """The call that was asked for with ``come_back``."""
        self._reads_left = _READS_PER_TURN
        self._on_readable()

    def try_later(self) -> None:
        """Have ``on_readable`` called in the loop's next turn, whatever epoll says."""
        self._may_read = self.lost is None
        self._come_back()

    def _end(self, why: str) -> None:
        self.lost = why
        self._may_read = False
        self._watch()

    # -- writing -----------------------------------------------------------------------------

    def write(self, data: bytes, mark: int) -> bool:
        """Send ``data``, now or when there is room for it.

        Returns:
            Whether all of it has gone out; else ``on_written`` is called with ``mark`` later.
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
        """Bytes that went out. On a broken connection all count as gone: reading will tell."""
        try:
            return int(self._curl.send(data))
        except BlockingIOError:
            return 0
        except pycurl.error:
            return len(data)

    def _flush(self) -> None:
        queue = self._queue
        while queue:
            data, mark = queue[0]
            sent = self._send(data)
            self.unsent -= sent
            if sent < len(data):
                queue[0] = (memoryview(data)[sent:], mark)
                return
            queue.popleft()
            self._on_written(mark)
        self._watch()

    # -- the descriptor ----------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the descriptor, which libcurl is about to close."""
        if self._fd >= 0:
            self._loop.unwatch(self._fd)
            self._fd = -1
        self._may_read = False
        self._queue.clear()
        self.unsent = 0

    def _watch(self) -> None:
        """Tell the epoll what we wait for.

        If that is nothing, the descriptor leaves the epoll: a hang-up is reported whether it was
        asked for or not, and would be again and again.
        """
        if self._fd < 0:
            return
        wanted = 0 if self._paused or self.lost is not None else READ
        if self._queue:
            wanted |= WRITE
        if wanted != self._watched:
            self._watched = wanted
            if wanted:
                self._loop.watch(self._fd, wanted, self._ready)
            else:
                self._loop.unwatch(self._fd)

    def _ready(self, _fd: int, events: int) -> None:
        if self._queue and events & ~READ:
            self._flush()
        if self._fd >= 0 and not self._paused and events & ~WRITE and self.lost is None:
            self._may_read = True
            self._reads_left = _READS_PER_TURN
            self._on_readable()
