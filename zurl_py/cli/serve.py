"""``zurl-py serve``, and what it shares with ``zurl``: configuration, log, daemon."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Iterable, Iterator

import click

from ..config import Config, ConfigError, load
from ..log import Log
from ..systemd import private_tmp

__all__ = ["run_daemon", "serve"]

_MOST_DESCRIPTORS = 1 << 20
_OWN_DESCRIPTORS = 100  # sockets of ours, workers, the log, idle connections


@click.command()
@click.option(
    "--config",
    "-c",
    default="/etc/zurl.conf",
    show_default=True,
    type=click.Path(),
    help="Configuration to run on.",
)
@click.option("--logfile", type=click.Path(), help="Append the log here, not to standard error.")
@click.option(
    "--loglevel",
    type=click.IntRange(0, 3),
    default=2,
    show_default=True,
    help="0 errors, 1 warnings, 2 information, 3 debug.",
)
@click.option("--verbose", "-v", is_flag=True, help="The same as --loglevel 3.")
def serve(config: str, logfile: str | None, loglevel: int, verbose: bool) -> None:
    """Run the daemon in the foreground.

    SIGHUP reopens the log file and reads the policy anew; SIGTERM and SIGINT stop.
    """
    raise SystemExit(run_daemon(config, 3 if verbose else loglevel, logfile, log_fd=2))


def run_daemon(
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
        log_fd: 1 or 2.
        remarks: warnings of the caller's for the log.

    Returns:
        The exit status: 0 after a stop by signal, 1 if the daemon could not start.
    """
    # Until the loop catches them: a stop is no failure, and there is nothing to reopen or reload.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    try:
        log = Log(level, log_path, log_fd)
    except OSError as error:
        print(f"zurl: cannot open the log {log_path}: {error.strerror}", file=sys.stderr)
        return 1
    try:
        config = load(config_path)
    except ConfigError as error:
        log.error(str(error))
        log.close()
        if log_path is not None or log_fd != 2:
            print(f"zurl: {error}", file=sys.stderr)
        return 1
    descriptors = _raise_descriptor_limit()
    for remark in (*remarks, *config.warnings, *_surroundings(config, descriptors)):
        log.warning(remark)
    from ..daemon import run  # libcurl and libzmq are loaded here

    return run(config, config_path, log)


def _surroundings(config: Config, descriptors: int) -> Iterator[str]:
    """What is odd not in the configuration but in where it is used."""
    if config.max_open_requests + _OWN_DESCRIPTORS > descriptors:
        yield (
            f"max_open_requests={config.max_open_requests} takes more descriptors than the "
            f"{descriptors} that this process may have (ulimit -n)"
        )
    for spec in (
        *config.in_spec,
        *config.in_stream_spec,
        *config.out_spec,
        *config.in_req_spec,
    ):
        path = spec.removeprefix("ipc://")
        if path != spec and path.startswith(("/tmp/", "/var/tmp/")) and private_tmp():
            yield f"{spec} is in this service's own {os.path.dirname(path)}, hidden from all"


def _raise_descriptor_limit() -> int:
    """Take as many descriptors as we may. Returns how many that are.

    The soft limit is low, 1024, for the sake of programs that use select(); we do not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if wanted > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # a sandbox may forbid it
            return soft
    return max(soft, wanted)
