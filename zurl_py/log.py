"""The log: lines in Zurl's form, ``[INFO] 2026-11-23 12:50:55.496 text``, or JSON objects.

The loop must never wait for a disk or a pipe, and a line should cost it next to nothing. So the
loop only puts entries into a queue; a thread formats and writes them twice a second, and at once if
one of them is an error. The ``logging`` module would cost more per line than the rest of the
bookkeeping of a message.
"""

from __future__ import annotations

import json
import os
import select
import stat
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

__all__ = ["DEBUG", "ERROR", "INFO", "WARNING", "Kind", "Log", "level_of", "printable"]

ERROR, WARNING, INFO, DEBUG = range(4)

_WRITE_INTERVAL = 0.5  # seconds between two writes, unless a line is urgent
_MAX_WAITING = 100_000  # lines; more are dropped and counted
_PIPE_TIMEOUT = 1.0  # seconds that the writer waits for a non-blocking pipe that is full
_CLOSE_TIMEOUT = 2.0  # seconds that close() waits for the writer

_TAGS = ("[ERR]", "[WARN]", "[INFO]", "[DEBUG]")
_NAMES = ("error", "warning", "info", "debug")
_PRIORITIES = ("<3>", "<4>", "<6>", "<7>")  # sd-daemon(3)
_PREFIXES = tuple(map("".join, zip(_PRIORITIES, _TAGS, strict=True)))

_PLAIN = bytes(range(0x20, 0x7F))  # printable ASCII

_encode_json = msgspec.json.Encoder().encode


def level_of(setting: int) -> int:
    """The level for a ``log_level`` or ``--loglevel``: warnings are never hidden."""
    return max(WARNING, setting)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of event that is logged often; the log's thread formats it.

    Attributes:
        name: the ``event`` of its JSON objects.
        text: makes the line from the logged object.
        fields: makes the fields of its JSON object besides time, level, event and message.
    """

    name: str
    text: Callable[[Any], str]
    fields: Callable[[Any], Mapping[str, object]]


_Entry = tuple[float, int, "Kind | str", Any]  # time, level, kind or event, logged object


class Log:
    """Lines of four levels, to a file or a descriptor.

    One thread at a time may add lines (the loop's). The methods neither wait nor raise, except
    ``close``, which waits. Control characters in a line are written as escapes, so that a peer
    cannot forge lines.

    If the descriptor is the journal's (``JOURNAL_STREAM``, systemd.exec(5)), lines begin with
    their priority, ``<4>`` for a warning, which the journal removes.

    Args:
        level: 0 errors only, 1 warnings too, 2 information too, 3 everything.
        path: file to append to; None for ``fd``.
        fd: descriptor to write to if there is no path; standard error by default.
        form: "text" or "json".

    Attributes:
        warning_on, info_on, debug_on: lines of this level are written; check before building one.
        path: the file; None if there is none.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(
        self, level: int = INFO, path: str | None = None, fd: int | None = None, form: str = "text"
    ) -> None:
        self.path = path
        self._overflowed = 0  # lines that the queue had no room for
        self._unwritten = 0  # lines that could not be written
        self._reported = [0, 0]  # how many of these two were reported
        if path is not None:
            self._fd = _open(path)
        else:
            self._fd = fd if fd is not None else sys.stderr.fileno()
        self.configure(level, form)
        self._to_journal = _is_journal(self._fd)
        self._lines: deque[_Entry] = deque()
        self._second = -1  # Unix time of the next two
        self._local = ""
        self._utc = ""
        self._ends_within_line = False  # the last write stopped in the middle of a line
        self._idle = False  # the writer sleeps until there is a line
        self._urgent = False  # the writer must write now
        self._closing = False
        self._reopening = False
        self._wake = threading.Event()
        self._writer = threading.Thread(target=self._run_writer, name="log", daemon=True)
        self._writer.start()

    def __repr__(self) -> str:
        return f"<Log {self.path or self._fd} waiting={self.waiting} dropped={self.dropped}>"

    def configure(self, level: int, form: str) -> None:
        """Change level and form, for lines that are not written yet."""
        self.warning_on = level >= WARNING
        self.info_on = level >= INFO
        self.debug_on = level >= DEBUG
        self._form = self._to_json if form == "json" else self._to_text

    @property
    def dropped(self) -> int:
        """Number of lines that were lost: they came too fast, or could not be written."""
        return self._overflowed + self._unwritten

    def leads_to(self, fd: int) -> bool:
        """Whether lines go where a descriptor leads: one file, terminal or pipe."""
        try:
            return os.path.sameopenfile(self._fd, fd)
        except OSError:  # one of them is closed
            return False

    @property
    def waiting(self) -> int:
        """Lines that are not written yet."""
        return len(self._lines)

    # -- called on the loop ------------------------------------------------------------------

    def error(self, text: str, event: str = "error", **about: object) -> None:
        """Log a failure that needs the operator.

        Args:
            event: name of the event, one of docs/log.md.
            about: further fields of its JSON object.
        """
        self.add(ERROR, event, (text, about))
        self.flush_soon()

    def exception(self, text: str) -> None:
        """Log an error with the traceback of the exception being handled: a bug."""
        self.error(text, "bug", traceback=traceback.format_exc())
        for line in traceback.format_exc().rstrip().split("\n"):
            self.add(ERROR, _TRACEBACK, line)

    def warning(self, text: str, event: str = "warning", **about: object) -> None:
        """Log a problem that the daemon handles itself."""
        if self.warning_on:
            self.add(WARNING, event, (text, about))

    def info(self, text: str, event: str = "info", **about: object) -> None:
        """Log information."""
        if self.info_on:
            self.add(INFO, event, (text, about))

    def debug(self, text: str, event: str = "debug") -> None:
        """Log a detail."""
        if self.debug_on:
            self.add(DEBUG, event, (text, {}))

    def add(self, level: int, kind: Kind | str, what: object) -> None:
        """Add an entry; the caller has checked that its level is on.

        Args:
            what: the logged object; must not change, as far as ``kind`` reads it: the line is
                formatted later.
        """
        lines = self._lines
        if len(lines) >= _MAX_WAITING:
            self._overflowed += 1
            return
        lines.append((time.time(), level, kind, what))
        if self._idle:
            self._idle = False
            self._wake.set()

    def flush_soon(self) -> None:
        """Have the waiting lines written at once, by the log's thread."""
        self._urgent = True
        self._wake.set()

    def reopen(self) -> None:
        """Open the file again after a rotation; if that fails, keep the old descriptor."""
        self._reopening = True
        self.flush_soon()

    def close(self) -> None:
        """Write the waiting lines, for two seconds at most, and stop."""
        self._closing = True
        self.flush_soon()
        self._writer.join(_CLOSE_TIMEOUT)

    # -- the writing thread ------------------------------------------------------------------

    def _run_writer(self) -> None:
        while not self._closing:
            self._wait_for_lines()
            self._write_waiting()
            if self._reopening:
                self._reopening = False
                self._reopen()
        self._write_waiting()

    def _wait_for_lines(self) -> None:
        """Return when lines are to be written: half a second after the first one, or at once.

        While lines come, this wakes twice a second, however many they are. After half a second
        without any it sleeps until the next one wakes it.
        """
        if not self._wake.wait(_WRITE_INTERVAL) and not self._lines:
            self._idle = True
            # A line that is added from here on sets the event; one added before is seen here.
            if not self._lines:
                self._wake.wait()
            self._idle = False
            self._wake.clear()
            if not self._urgent:
                self._wake.wait(_WRITE_INTERVAL)
        self._wake.clear()
        self._urgent = False

    def _write_waiting(self) -> None:
        waiting, form = self._lines, self._form
        taken = [waiting.popleft() for _ in range(len(waiting))]
        lines = [*form(taken), *form(self._lost_line_entries())]
        if not lines:
            return
        data = _joined(lines)
        # This takes a third of the time of checking each line.
        if len(data.translate(None, _PLAIN)) != len(lines):
            data = _joined(line if line.isprintable() else printable(line) for line in lines)
        self._write(data)

    def _lost_line_entries(self) -> Iterator[_Entry]:
        """Entries that report the lines lost since the last report."""
        for number, (lost, why) in enumerate(
            (
                (self._overflowed, "too many came at once"),
                (self._unwritten, "they could not be written"),
            )
        ):
            news = lost - self._reported[number]
            if news:
                self._reported[number] = lost
                about = (f"{news} log lines were lost, {why}", {"lines": news})
                yield time.time(), WARNING, "log-lines-lost", about

    def _to_text(self, entries: Iterable[_Entry]) -> Iterator[str]:
        prefixes = _PREFIXES if self._to_journal else _TAGS
        stamped, stamp = -1, ""  # under load many lines have the same millisecond
        for now, level, kind, what in entries:
            moment = int(now * 1000)
            if moment != stamped:
                self._set_second(moment // 1000)
                stamped, stamp = moment, f"{self._local}{moment % 1000:03d}"
            text = what[0] if isinstance(kind, str) else kind.text(what)
            yield f"{prefixes[level]} {stamp} {text}"

    def _to_json(self, entries: Iterable[_Entry]) -> Iterator[str]:
        about: Mapping[str, object]
        for now, level, kind, what in entries:
            if kind is _TRACEBACK:
                continue
            if isinstance(kind, str):
                event, (text, about) = kind, what
            else:
                event, text, about = kind.name, kind.text(what), kind.fields(what)
            moment = int(now * 1000)
            self._set_second(moment // 1000)
            stamp = f"{self._utc}{moment % 1000:03d}Z"
            found = {"time": stamp, "level": _NAMES[level], "event": event, "message": text}
            yield (_PRIORITIES[level] if self._to_journal else "") + to_json({**found, **about})

    def _set_second(self, second: int) -> None:
        """Format the dates, once a second: in local time as Zurl does, in UTC by RFC 3339."""
        if second != self._second:
            self._second = second
            self._local = time.strftime("%Y-%m-%d %H:%M:%S.", time.localtime(second))
            self._utc = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))

    def _write(self, data: bytes) -> None:
        if self._ends_within_line:
            data = b"\n" + data
        rest = data
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:  # the parent has made the pipe non-blocking
                if not self._wait_for_pipe():
                    break
            except OSError:  # a full disk, a closed pipe: reported with the next lines
                break
        written = data[: len(data) - len(rest)]
        if written:
            self._ends_within_line = not written.endswith(b"\n")
        self._unwritten += rest.count(b"\n")

    def _wait_for_pipe(self) -> bool:
        poller = select.poll()
        poller.register(self._fd, select.POLLOUT)
        return bool(poller.poll(_PIPE_TIMEOUT * 1000))

    def _reopen(self) -> None:
        if self.path is None:
            return
        try:
            fresh = _open(self.path)
        except OSError as error:
            self.error(f"cannot reopen {self.path}: {error.strerror}", "log-reopen")
            return
        before, self._fd = self._fd, fresh
        self._ends_within_line = False
        os.close(before)


# Lines of a traceback: one each in text; in JSON they are a field of their error.
_TRACEBACK = Kind("traceback", str, lambda _: {})


def _joined(lines: Iterable[str]) -> bytes:
    return "\n".join((*lines, "")).encode("utf-8", "backslashreplace")


def printable(text: str) -> str:
    """The text with unprintable characters as escapes, so that a terminal obeys none of them."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def to_json(fields: Mapping[str, object]) -> str:
    """One line of JSON, safe for a terminal."""
    try:
        text = _encode_json(fields).decode()
    except UnicodeEncodeError:  # half of a surrogate pair, from a worker's JSON
        return json.dumps(fields)
    return text if text.isprintable() else json.dumps(fields)


def _open(path: str) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    if os.path.exists(path) and stat.S_ISFIFO(os.stat(path).st_mode):
        # Opening a named pipe for writing only would wait for a reader.
        flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
    return os.open(path, flags, 0o644)


def _is_journal(fd: int) -> bool:
    """Whether a descriptor leads to systemd's journal: ``JOURNAL_STREAM`` is DEVICE:INODE."""
    stream = os.environ.get("JOURNAL_STREAM", "")
    try:
        found = os.fstat(fd)
    except OSError:
        return False
    return stream == f"{found.st_dev}:{found.st_ino}"
