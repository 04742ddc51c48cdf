"""Finds what would prevent a start of ``zurl-py deliver`` on a configuration."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..client.address import Embedded, resolve
from ..client.errors import GatewayUnavailable
from ..config.check import endpoints
from ..ini import IniError, parse_ini
from ..messaging.obstacles import find_obstacles
from .config import DELIVER_SOCKET_KEYS, KEYS, DeliverConfig
from .store.base import StoreError
from .store.secrets import load_key
from .store.sqlite_file import look_at, path_of

__all__ = ["is_deliver_file", "preflight"]

_OWN: frozenset[str] = frozenset(KEYS) - {"ipc_file_mode", "metrics_listen"}


def is_deliver_file(path: str) -> bool:
    """Whether a file is a configuration of ``zurl-py deliver``, by its keys."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
        return any(entry.key in _OWN for entry in parse_ini(text, lambda _line, _text: None))
    except (OSError, IniError):
        return False


def preflight(config: DeliverConfig, path: str) -> tuple[list[str], list[str]]:
    """Check a configuration on this machine, for this user.

    Args:
        path: of the configuration.

    Returns:
        Reasons why ``zurl-py deliver`` does not start, and reasons that may be gone when it does.
    """
    listeners = {"http_listen": config.http_listen, "metrics_listen": config.metrics_listen}
    sockets = endpoints(config, DELIVER_SOCKET_KEYS)
    errors, later = find_obstacles(path, config.origins, sockets, listeners)
    return [*_problems(config), *errors], later


def _problems(config: DeliverConfig) -> Iterator[str]:
    """Reasons why it does not start, each as the line that the start would log."""
    try:
        gateways = resolve(config.gateway or None)
    except (GatewayUnavailable, ValueError) as error:
        yield f"gateway: {error}"
    else:
        for gateway in gateways:
            if not isinstance(gateway, Embedded) and gateway.req is None:
                yield f"gateway: {gateway} has no in_req_spec: deliveries go by it"
    if config.secret_key_file:
        try:
            load_key(config.secret_key_file)
        except StoreError as error:
            yield str(error)
    if config.store.startswith("sqlite:"):
        try:
            _look_at_store(path_of(config.store))
        except StoreError as error:
            yield str(error)


def _look_at_store(path: str) -> None:
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise StoreError(f"store: there is no folder {folder} for {path}")
    if os.path.lexists(path):
        look_at(path)
    elif os.path.exists(path + ".lock"):
        raise StoreError(f"store: {path} is missing, and {path}.lock says that it was there")
