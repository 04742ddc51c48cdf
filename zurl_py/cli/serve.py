"""``zurl-py serve``, and the code that it shares with ``zurl``."""

from __future__ import annotations

import faulthandler
import os
import signal
from collections.abc import Iterable

import click

from ..config import Config, ConfigError, load
from ..errors import StartError
from ..log import INFO, Log, level_of
from .options import config_option, log_options
from .preflight import preflight
from .starting import cannot_start, listen_to_signals, open_log
from .streams import fill_standard_descriptors

__all__ = ["run_daemon", "serve"]

_PROGRAM = "zurl"


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
        level: 0 errors to 3 debug; None: the configuration's.
        log_path: file to log to, or None for ``log_fd``.
        log_fd: 1 or 2.
        remarks: warnings of the caller for the log.

    Returns:
        The exit status: 0 after a stop by signal, 1 if the daemon could not start.
    """
    fill_standard_descriptors()
    listen_to_signals()
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
    given = config.log_level if config and level is None else level
    log = open_log(
        _PROGRAM,
        level_of(INFO if given is None else given),
        log_path,
        log_fd,
        config.log_format if config else "text",
    )
    if log is None:
        return 1
    faulthandler.enable(2)  # a crash in a library leaves a traceback on standard error
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _exit_early(log))
    for warning in warnings:
        log.warning(warning)
    if config is None or errors:
        return cannot_start(_PROGRAM, log, errors)
    from ..daemon import run  # libcurl is loaded here

    try:
        return run(config, config_path, log, level)
    except StartError as error:
        return cannot_start(_PROGRAM, log, [str(error)])


def _exit_early(log: Log) -> None:
    """Stop before the loop runs; lines that were logged so far are written."""
    log.close()
    os._exit(0)
