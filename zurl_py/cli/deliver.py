"""``zurl-py deliver``: durable webhooks, a process beside the gateway."""

from __future__ import annotations

import os
import signal
import sys

import click

from .options import config_option, log_options

__all__ = ["deliver"]


@click.command()
@config_option("/etc/zurl-deliver.conf", "Configuration to run on.")
@log_options("0 errors, 1 warnings, 2 information, 3 debug.", default=2)
def deliver(config: str, logfile: str | None, loglevel: int, verbose: bool) -> None:
    """Deliver webhooks durably: what is acknowledged is on disk, and sent until it is taken.

    SIGHUP reopens the log file and reads limits and schedule anew; SIGTERM and SIGINT stop.
    """
    raise SystemExit(_run(config, 3 if verbose else loglevel, logfile))


def _run(path: str, level: int, log_path: str | None) -> int:
    from ..config import ConfigError
    from ..delivery.config import load
    from ..delivery.start import run
    from ..log import Log

    # Until the loop catches them: a stop is no failure, and there is nothing to reopen or reload.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    try:
        log = Log(level, log_path, 2)
    except OSError as error:
        print(f"zurl-py: cannot open the log {log_path}: {error.strerror}", file=sys.stderr)
        return 1
    try:
        config = load(path)
    except ConfigError as error:
        log.error(str(error))
        log.close()
        if log_path is not None:
            print(f"zurl-py: {error}", file=sys.stderr)
        return 1
    for warning in config.warnings:
        log.warning(warning)
    return run(config, path, log)
