"""Receive windows: how many bytes libcurl may hold for a stream that shares its connection.

The bytes of a paused stream of HTTP/2 or 3 cannot stay in the kernel, as its connection has to be
read for the other streams; libcurl holds up to 20 MB of them. With a speed limit
(``CURLOPT_MAX_RECV_SPEED_LARGE``) it opens the stream's window by no more than that many bytes. The
limit is set again whenever half of it was taken, so it limits the bytes held, not the speed.
"""

from __future__ import annotations

import pycurl

__all__ = ["START", "ReceiveWindow", "StreamBudget"]

START = 131_072
"""Bytes of a new window."""

_LARGEST = 4_194_304  # bytes: 52 MB/s over a round trip of 40 ms
_HELD_PER_BYTE = 2  # bytes that libcurl holds for a stalled stream, per byte of its window
_FAST = 0.1  # seconds; if half a window is taken in less time, the window grows


class StreamBudget:
    """The memory that libcurl may use for all streams together.

    Attributes:
        limit: bytes.
        used: bytes that it may hold at most now.
        freed: there is more room than before.
    """

    __slots__ = ("freed", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.freed = False

    def allows(self, size: int) -> bool:
        """Whether there is room for ``size`` more bytes of windows."""
        return self.used + size * _HELD_PER_BYTE <= self.limit

    def take(self, size: int) -> None:
        """Note that a window has grown by ``size``, or has shrunk if that is negative."""
        self.used += size * _HELD_PER_BYTE
        self.freed = self.freed or size < 0


class ReceiveWindow:
    """The window of one stream.

    A window that was granted cannot be revoked, so one that shrinks counts in the budget with its
    largest size.

    Attributes:
        size: bytes.
        taken: bytes of the body taken so far.
        paused: the last bytes were not taken.
    """

    __slots__ = (
        "_budget",
        "_curl",
        "_filled_at",
        "_filled_when",
        "_granted",
        "_open",
        "paused",
        "size",
        "taken",
    )

    def __init__(self, curl: pycurl.Curl, budget: StreamBudget, now: float) -> None:
        self._curl = curl
        self._budget = budget
        self.size = self._granted = START
        self.taken = 0
        self.paused = False
        self._filled_at = 0
        self._filled_when = now
        self._open = True
        budget.take(START)
        curl.setopt(pycurl.MAX_RECV_SPEED_LARGE, START)

    def __repr__(self) -> str:
        state = "paused" if self.paused else "open"
        return f"<ReceiveWindow {state} size={self.size} taken={self.taken}>"

    def refill(self, now: float) -> bool:
        """Open the window again if half of it was taken; to be called in the loop's turn only.

        Returns:
            Whether libcurl has to be called.
        """
        if self.paused or not self._open or (self.taken - self._filled_at) * 2 < self.size:
            return False
        self._resize(now)
        self._filled_at, self._filled_when = self.taken, now
        self._curl.setopt(pycurl.MAX_RECV_SPEED_LARGE, self.size)
        # libcurl reads the limit when it resumes a stream.
        self._curl.unpause()
        return True

    def _resize(self, now: float) -> None:
        if now - self._filled_when > _FAST or self.size >= _LARGEST:
            return
        size = self.size * 2
        more = max(0, size - self._granted)
        if self._budget.allows(more):
            self._budget.take(more)
            self._granted = max(self._granted, size)
            self.size = size

    def pause(self) -> None:
        """Note that the reader has no room, so a large window does not help."""
        self.paused = True
        self.size = START

    def lift(self) -> None:
        """Remove the limit: the stream does not share its connection after all."""
        if self._open:
            self.close()
            self._curl.setopt(pycurl.MAX_RECV_SPEED_LARGE, 0)

    def close(self) -> None:
        """Return the window's memory to the budget: the stream has ended."""
        if self._open:
            self._open = False
            self._budget.take(-self._granted)
