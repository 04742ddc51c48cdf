"""The start of a daemon, up to its loop: signals, the log, and why it cannot start."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterable

from ..log import Log

__all__ = ["cannot_start", "listen_to_signals", "open_log"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Where these paths lead to sockets, as they do under systemd, they cannot be opened.
_OWN_DESCRIPTOR = re.compile(r"/dev/(?:std(out|err)|fd/([0-9]{1,6}))|/proc/self/fd/([0-9]{1,6})")


def listen_to_signals() -> None:
    """Receive signals, also where a parent (a Java or .NET runtime) has left them blocked.

    Until the loop catches them, a stop is no failure, and there is nothing to reopen or reload.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def open_log(
    program: str, level: int, path: str | None, fd: int = 2, form: str = "text"
) -> Log | None:
    """The log; None if it cannot be opened, which is reported on standard error.

    Args:
        program: name of the command.
        level: 0 errors to 3 debug.
        path: file to append to; None for ``fd``.
        form: "text" or "json".
    """
    own = _OWN_DESCRIPTOR.fullmatch(path or "")
    if own:
        name, *numbers = own.groups()
        path, fd = None, {"out": 1, "err": 2}[name] if name else int(numbers[0] or numbers[1])
    try:
        os.fstat(fd)
        return Log(level, path, fd, form)
    except OSError as error:
        where = path or f"descriptor {fd}"
        print(f"{program}: cannot open the log {where}: {error.strerror}", file=sys.stderr)
        return None


def cannot_start(program: str, log: Log, reasons: Iterable[str]) -> int:
    """Write each reason to the log, and to standard error unless the log goes there; close the log.

    Returns:
        The exit status, 1.
    """
    on_standard_error = log.leads_to(2)
    for reason in reasons:
        log.error(reason)
        if not on_standard_error:
            print(f"{program}: {reason}", file=sys.stderr)
    log.close()
    return 1
