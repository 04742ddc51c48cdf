"""The log, in Zurl's form: ``[INFO] 2026-11-23 12:50:55.496 text``.

The loop must never wait for a disk or a pipe. So a line is only put into a list here, and a thread
of its own writes what has gathered, some twenty times a second under load. The ``logging`` module
would cost more per line than the rest of a message's bookkeeping.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections import deque

__all__ = ["DEBUG", "ERROR", "INFO", "WARNING", "Log"]

ERROR, WARNING, INFO, DEBUG = range(4)

_GATHER = 0.05  # seconds that lines gather before they are written
_MAX_WAITING = 100_000  # lines; more are dropped and counted


class Log:
    """Lines of four levels, to a file or a descriptor.

    Args:
        level: 0 errors only, 1 warnings too, 2 information too, 3 everything.
        path: file to append to; None for ``fd``.
        fd: descriptor to write to where there is no path; standard error by default.

    Attributes:
        info_on: lines of information are written: ask before building one.
        debug_on: debug lines are written: ask before building one.
        dropped: lines lost as they could not be written fast enough.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, level: int = INFO, path: str | None = None, fd: int | None = None) -> None:
        self.info_on = level >= INFO
        self.debug_on = level >= DEBUG
        self.dropped = 0
        self._warning_on = level >= WARNING
        self._path = path
        self._fd = (fd if fd is not None else sys.stderr.fileno()) if path is None else _open(path)
        self._lines: deque[str] = deque()
        self._second = -1
        self._stamp = ""
        self._wake = threading.Event()
        self._urgent = threading.Event()
        self._closed = False
        self._reopen_wanted = False
        self._writer = threading.Thread(target=self._write_on, name="log", daemon=True)
        self._writer.start()

    # -- called on the loop ------------------------------------------------------------------

    def error(self, text: str) -> None:
        """Something failed that the operator should see to."""
        self._add("[ERR]", text)
        self._urgent.set()

    def exception(self, text: str) -> None:
        """An error with the traceback of the exception being handled: a bug."""
        self.error(f"{text}\n{traceback.format_exc().rstrip()}")

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
        """Open the file anew, after a rotation moved it away."""
        self._reopen_wanted = True
        self._wake.set()
        self._urgent.set()

    def close(self) -> None:
        """Write what is waiting, for two seconds at most, and stop."""
        self._closed = True
        self._wake.set()
        self._urgent.set()
        self._writer.join(2.0)

    def _add(self, tag: str, text: str) -> None:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
        lines = self._lines
        if len(lines) >= _MAX_WAITING:
            self.dropped += 1
            return
        lines.append(f"{tag} {self._stamp}.{int((now - second) * 1000):03d} {text}\n")
        if not self._wake.is_set():
            self._wake.set()

    # -- the writing thread ------------------------------------------------------------------

    def _write_on(self) -> None:
        while not self._closed:
            self._wake.wait()
            self._urgent.wait(_GATHER)
            self._urgent.clear()
            self._wake.clear()
            self._write_waiting()
            if self._reopen_wanted:
                self._reopen_wanted = False
                self._reopen()
        self._write_waiting()

    def _write_waiting(self) -> None:
        waiting = self._lines
        lines = [waiting.popleft() for _ in range(len(waiting))]
        if self.dropped:
            lines.append(f"[WARN] {self._stamp}.000 {self.dropped} log lines were dropped\n")
            self.dropped = 0
        data = "".join(lines).encode("utf-8", "backslashreplace")
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            pass  # a full disk, a closed pipe: there is nobody to tell

    def _reopen(self) -> None:
        if self._path is None:
            return
        try:
            fresh = _open(self._path)
        except OSError as error:
            self.error(f"cannot reopen the log {self._path}: {error}")
            return
        before, self._fd = self._fd, fresh
        os.close(before)


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
