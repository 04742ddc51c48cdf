"""``zurl-py serve``, and what it shares with ``zurl``: configuration, log, daemon."""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import sys
from collections.abc import Iterable

import click

from ..config import Config, ConfigError, load
from ..log import INFO, Log, level_of
from .options import config_option, log_options
from .preflight import preflight

__all__ = ["run_daemon", "serve"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Where the paths lead to sockets, as they do under systemd, they cannot be opened.
_OWN_DESCRIPTOR = re.compile(r"/dev/(?:std(out|err)|fd/([0-9]{1,6}))|/proc/self/fd/([0-9]{1,6})")


@click.command()
@config_option("/etc/zurl.conf", "Configuration to run on.")
@log_options("0 or 1 errors and warnings, 2 information, 3 debug. Default: the file's log_level.")
def serve(config: str, logfile: str | None, loglevel: int | None, verbose: bool) -> None:
    """Run the daemon in the foreground.

    SIGHUP reopens the log file and reads the configuration anew; SIGTERM and SIGINT stop.
    """
    raise SystemExit(run_daemon(config, 3 if verbose else loglevel, logfile, log_fd=2))


def run_daemon(
    config_path: str,
    level: int | None,
    log_path: str | None,
    log_fd: int,
    remarks: Iterable[str] = (),
) -> int:
    """Run the daemon until a signal ends it.

    Args:
        level: 0 errors to 3 debug; None: as the configuration says.
        log_path: file to log to, or None for ``log_fd``.
        log_fd: 1 or 2.
        remarks: warnings of the caller's for the log.

    Returns:
        The exit status: 0 after a stop by signal, 1 if the daemon could not start.
    """
    _listen_to_signals()
    config: Config | None = None
    errors: list[str] = []
    warnings = list(remarks)
    try:
        config = load(config_path)
    except ConfigError as error:
        errors.append(str(error))
    else:
        found = preflight(config, config_path)
        errors += found.errors
        warnings += (*config.warnings, *found.warnings)
    log = _open_log(
        config.log_level if config and level is None else level,
        log_path,
        log_fd,
        config.log_format if config else "text",
    )
    if log is None:
        return 1
    faulthandler.enable()  # a crash in a library leaves a traceback on standard error
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _leave(log))
    for warning in warnings:
        log.warning(warning)
    if config is None or errors:
        for text in errors:
            log.error(text)
            if log_path is not None or log_fd != 2:
                print(f"zurl: {text}", file=sys.stderr)
        log.close()
        return 1
    from ..daemon import run  # libcurl is loaded here

    return run(config, config_path, log, level)


def _leave(log: Log) -> None:
    """A stop before there is a loop to stop: what was said so far is still to be read."""
    log.close()
    os._exit(0)


def _listen_to_signals() -> None:
    """Be there for signals, also where a parent (a Java or .NET runtime) has left them blocked.

    Until the loop catches them a stop is no failure, and there is nothing to reopen or reload.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _open_log(level: int | None, path: str | None, fd: int, form: str) -> Log | None:
    """The log; None if it cannot be opened, which was told on standard error."""
    own = _OWN_DESCRIPTOR.fullmatch(path or "")
    if own:
        name, *numbers = own.groups()
        path, fd = None, {"out": 1, "err": 2}[name] if name else int(numbers[0] or numbers[1])
    try:
        os.fstat(fd)
        return Log(level_of(INFO if level is None else level), path, fd, form)
    except OSError as error:
        where = path or f"descriptor {fd}"
        print(f"zurl: cannot open the log {where}: {error.strerror}", file=sys.stderr)
        return None
