"""``zurl-py deliver``: durable webhooks, a process beside the gateway."""

from __future__ import annotations

import click

from ..errors import StartError
from .options import config_option, log_options
from .starting import cannot_start, listen_to_signals, open_log

__all__ = ["deliver"]

_PROGRAM = "zurl-py"


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
    from ..delivery.store.base import StoreError

    listen_to_signals()
    log = open_log(_PROGRAM, level, log_path)
    if log is None:
        return 1
    try:
        config = load(path)
        for warning in config.warnings:
            log.warning(warning)
        return run(config, path, log)
    except (ConfigError, StartError, StoreError) as error:
        return cannot_start(_PROGRAM, log, [str(error)])
