"""Load a configuration, open the log, run the daemon: what both commands come to."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from ..config import ConfigError, load
from ..daemon import run
from ..log import Log

__all__ = ["serve"]


def serve(
    config_path: str,
    level: int,
    log_path: str | None,
    log_fd: int,
    remarks: Iterable[str] = (),
) -> int:
    """Run the daemon until a signal ends it.

    Args:
        level: 0 errors to 3 debug.
        log_path: file to log to, or None for ``log_fd``.
        remarks: warnings of the caller's for the log.

    Returns:
        The exit status: 0 after a stop by signal, 1 if the daemon could not start.
    """
    try:
        log = Log(level, log_path, log_fd)
    except OSError as error:
        print(f"zurl: cannot open the log {log_path}: {error.strerror}", file=sys.stderr)
        return 1
    try:
        config = load(config_path)
    except ConfigError as error:
        print(f"zurl: {error}", file=sys.stderr)
        log.error(str(error))
        log.close()
        return 1
    for remark in (*remarks, *config.warnings):
        log.warning(remark)
    return run(config, config_path, log)
