"""Checks before a start, the same for ``serve`` and for ``check-config``."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

from ..config import SOCKET_KEYS, Config
from ..config.check import endpoints
from ..host_addresses import is_local
from ..systemd import private_tmp

__all__ = ["Findings", "preflight"]

_MOST_DESCRIPTORS = 1 << 20
_OWN_DESCRIPTORS = 100  # for sockets, workers, the log, idle connections
_FEWEST_DESCRIPTORS = 64  # with fewer, libzmq and libcurl end the process


@dataclass(slots=True)
class Findings:
    """The results of the checks.

    Attributes:
        errors: reasons why the daemon cannot start.
        later: reasons why it cannot start now, which may be gone when it is started.
        warnings: what may not be intended.
    """

    errors: list[str] = field(default_factory=list)
    later: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def preflight(config: Config, path: str) -> Findings:
    """Check a configuration on this machine, for this user.

    Raises the limit of descriptors of this process as far as permitted.

    Args:
        path: of the configuration, for the texts.
    """
    # libzmq is loaded here: errors in the configuration are reported without it.
    from ..egress.configure import NoAuthorities, transport_options
    from ..messaging.obstacles import find_obstacles

    found = Findings()
    descriptors = _raise_descriptor_limit()
    if descriptors < _FEWEST_DESCRIPTORS:
        found.errors.append(
            f"this process may have {descriptors} descriptors (ulimit -n); it needs "
            f"{_FEWEST_DESCRIPTORS} at least, and one for each open request"
        )
    errors, found.later = find_obstacles(
        path, config.origins, endpoints(config), {"metrics_listen": config.metrics_listen}
    )
    found.errors += errors
    try:
        transport_options(config)
    except NoAuthorities as error:
        found.errors.append(str(error))
    found.warnings += _surroundings(config, path, descriptors)
    return found


def _surroundings(config: Config, path: str, descriptors: int) -> Iterator[str]:
    """Warnings about the environment of the daemon."""
    if config.max_open_requests + _OWN_DESCRIPTORS > descriptors:
        yield (
            f"max_open_requests={config.max_open_requests} takes more descriptors than the "
            f"{descriptors} that this process may have (ulimit -n)"
        )
    for where, addresses in _source_addresses(config):
        for address in addresses:
            if not is_local(address):
                yield (
                    f"{path}:{where}source_address: {address} is no address of this machine now: "
                    "connections fail until it is"
                )
    for key in SOCKET_KEYS:
        for spec in getattr(config, key):
            file = spec.removeprefix("ipc://")
            if file != spec and file.startswith(("/tmp/", "/var/tmp/")) and private_tmp():
                yield f"{spec} is in this service's own {os.path.dirname(file)}, hidden from all"


def _source_addresses(config: Config) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each ``source_address`` that is set, with its line and section."""
    if config.source_address:
        yield f"{config.origins['source_address']}: ", config.source_address
    for section in config.hosts:
        addresses = section.values.get("source_address")
        if addresses:
            where = f"{section.origins['source_address']}: [host {section.host}]: "
            yield where, cast("tuple[str, ...]", addresses)


def _raise_descriptor_limit() -> int:
    """Raise the soft limit of descriptors to the hard limit. Returns the new limit.

    The soft limit is low, 1024, for programs that use select(); this one does not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if wanted > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # a sandbox may forbid it
            return soft
    return max(soft, wanted)
