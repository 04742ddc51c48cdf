"""The log, in Zurl's form: ``[INFO] 2026-11-23 12:50:55.496 text``.

The loop must never wait for a disk or a pipe. So a line is only put into a queue here, and a
thread of its own writes what has gathered, some twenty times a second under load; errors are
written at once. The ``logging`` module would cost more per line than the rest of a message's
bookkeeping.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
import traceback
from collections import deque

__all__ = ["DEBUG", "ERROR", "INFO", "WARNING", "Log"]

ERROR, WARNING, INFO, DEBUG = range(4)

_GATHER = 0.05  # seconds that lines gather before they are written
_MAX_WAITING = 100_000  # lines; more are dropped and counted
_PATIENCE = 1.0  # seconds that the writer gives a pipe that is full and non-blocking
_LAST_WORDS = 2.0  # seconds that close() gives the writer


class Log:
    """Lines of four levels, to a file or a descriptor.

    One thread at a time may add lines (the loop's); none of the methods waits or raises, but for
    ``close``, which waits. Control characters in a line are written as escapes, so that nothing
    a peer sends can pass for a line of its own.

    Args:
        level: 0 errors only, 1 warnings too, 2 information too, 3 everything.
        path: file to append to; None for ``fd``.
        fd: descriptor to write to where there is no path; standard error by default.

    Attributes:
        info_on: lines of information are written: ask before building one.
        debug_on: debug lines are written: ask before building one.
        path: the file; None if there is none.
        dropped: lines lost in all, as they came faster than they could be written.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, level: int = INFO, path: str | None = None, fd: int | None = None) -> None:
        self.info_on = level >= INFO
        self.debug_on = level >= DEBUG
        self.path = path
        self.dropped = 0
        self._reported = 0  # of the dropped
        self._warning_on = level >= WARNING
        if path is not None:
            self._fd = _open(path)
        else:
            self._fd = fd if fd is not None else sys.stderr.fileno()
        self._lines: deque[tuple[float, str, str]] = deque()  # time, tag, text
        self._second = 0
        self._stamp = ""
        self._idle = False  # the writer sleeps, or is about to
        self._closing = False
        self._reopening = False
        self._wake = threading.Event()
        self._urgent = threading.Event()
        self._writer = threading.Thread(target=self._write_on, name="log", daemon=True)
        self._writer.start()

    # -- called on the loop ------------------------------------------------------------------

    def error(self, text: str) -> None:
        """Something failed that the operator should see to."""
        self._add("[ERR]", text)
        self._urgent.set()

    def exception(self, text: str) -> None:
        """An error with the traceback of the exception being handled: a bug."""
        self.error(text)
        for line in traceback.format_exc().rstrip().split("\n"):
            self.error(line)

    def warning(self, text: str) -> None:
        """Something is not as it should be, and is coped with."""
        if self._warning_on:
            self._add("[WARN]", text)

    def info(self, text: str) -> None:
        """What happens: requests in, answers out."""
        if self.info_on:
            self._add("[INFO]", text)

    def debug(self, text: str) -> None:
        """How it happens."""
        if self.debug_on:
            self._add("[DEBUG]", text)

    def reopen(self) -> None:
        """Open the file anew, after a rotation moved it away; where that fails, go on with it."""
        self._reopening = True
        self._wake.set()
        self._urgent.set()

    def close(self) -> None:
        """Write what is waiting, for two seconds at most, and stop."""
        self._closing = True
        self._wake.set()
        self._urgent.set()
        self._writer.join(_LAST_WORDS)

    def _add(self, tag: str, text: str) -> None:
        lines = self._lines
        if len(lines) >= _MAX_WAITING:
            self.dropped += 1
            return
        lines.append((time.time(), tag, text))
        if self._idle:
            self._idle = False
            self._wake.set()

    # -- the writing thread ------------------------------------------------------------------

    def _write_on(self) -> None:
        while not self._closing:
            self._sleep()
            self._urgent.wait(_GATHER)
            self._urgent.clear()
            self._write_waiting()
            if self._reopening:
                self._reopening = False
                self._reopen()
        self._write_waiting()

    def _sleep(self) -> None:
        """Sleep until there is something to do."""
        # A line that is added after _idle is set wakes us; one added before is seen here.
        self._idle = True
        if not self._lines and not self._reopening and not self._closing:
            self._wake.wait()
        self._idle = False
        self._wake.clear()

    def _write_waiting(self) -> None:
        waiting = self._lines
        lines = [self._format(*waiting.popleft()) for _ in range(len(waiting))]
        dropped = self.dropped - self._reported
        if dropped:
            self._reported += dropped
            when = time.strftime("%Y-%m-%d %H:%M:%S.000")
            lines.append(f"[WARN] {when} {dropped} log lines were lost, too many at once")
        if not lines:
            return
        if not "".join(lines).isprintable():
            lines = [line if line.isprintable() else _escape(line) for line in lines]
        lines.append("")
        self._write("\n".join(lines).encode("utf-8", "backslashreplace"))

    def _format(self, now: float, tag: str, text: str) -> str:
        if not self._second <= now < self._second + 1:
            # Another second: the only time that a date is formatted.
            self._second = int(now)
            self._stamp = time.strftime("%Y-%m-%d %H:%M:%S.", time.localtime(self._second))
        return f"{tag} {self._stamp}{int((now - self._second) * 1000):03d} {text}"

    def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:  # whoever gave us the pipe made it non-blocking
                if not self._wait_for_room():
                    return
            except OSError:  # a full disk, a closed pipe: there is nobody to tell
                return

    def _wait_for_room(self) -> bool:
        poller = select.poll()
        poller.register(self._fd, select.POLLOUT)
        return bool(poller.poll(_PATIENCE * 1000))

    def _reopen(self) -> None:
        if self.path is None:
            return
        try:
            fresh = _open(self.path)
        except OSError as error:
            when = time.strftime("%Y-%m-%d %H:%M:%S.000")
            self._write(f"[ERR] {when} cannot reopen {self.path}: {error.strerror}\n".encode())
            return
        before, self._fd = self._fd, fresh
        os.close(before)


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _escape(line: str) -> str:
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in line
    )
