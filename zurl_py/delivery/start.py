"""From a configuration to a running service: what cannot be used is named before anything binds."""

from __future__ import annotations

import os

from ..config import ConfigError
from ..config import load as load_gateway
from ..log import Log
from ..messaging.sockets import BindError
from .config import DeliverConfig
from .store.base import Store, StoreError
from .store.secrets import SecretBox, load_key

__all__ = ["StartError", "open_store", "run"]

_ANY = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}


class StartError(Exception):
    """The service cannot start; the text is one line that says why."""


def run(config: DeliverConfig, config_path: str, log: Log) -> int:
    """Run until a signal ends it.

    Returns:
        The exit status: 0 after a stop by signal, 1 if it could not start.
    """
    from .service import Service

    log.info("starting...")
    try:
        gateways = find_gateways(config)
        store = open_store(config)
        try:
            service = Service(config, config_path, store, gateways, log)
        except BindError:
            store.close()
            raise
    except (StartError, StoreError, BindError, ConfigError) as error:
        log.error(str(error))
        log.close()
        return 1
    log.info(f"started, store {shown(config.store)}")
    from .. import systemd

    systemd.notify("READY=1")
    status = service.run()
    log.info("stopped")
    log.close()
    return status


def open_store(config: DeliverConfig) -> Store:
    """The store that the configuration names.

    Raises:
        StoreError: it cannot be used, or the key for its secrets.
    """
    box = SecretBox(load_key(config.secret_key_file) if config.secret_key_file else None)
    from .store.sqlite import SqliteStore

    return SqliteStore(config.store, box, config.schedule, config.store_max_bytes)


def shown(store: str) -> str:
    """A store's URL without the password that may be in it."""
    scheme, separator, rest = store.partition("://")
    credentials, at, place = rest.rpartition("@")
    user = credentials.partition(":")[0]
    return f"{scheme}{separator}{user}{at}{place.partition('?')[0]}"


def find_gateways(config: DeliverConfig) -> list[tuple[str, ...]]:
    """Of each gateway, the endpoints of its request interface.

    Raises:
        StartError: there is none.
    """
    path = config.gateway or os.environ.get("ZURL_CONNECT", "") or "/etc/zurl.conf"
    try:
        specs = load_gateway(path).in_req_spec
    except ConfigError as error:
        raise StartError(f"gateway: {error}") from None
    if not specs:
        raise StartError(f"gateway: {path} has no in_req_spec, which deliveries go by")
    return [(_connectable(specs[0]),)]


def _connectable(spec: str) -> str:
    transport, separator, rest = spec.partition("://")
    host, colon, port = rest.rpartition(":")
    if transport == "tcp":
        return f"{transport}{separator}{_ANY.get(host, host)}{colon}{port}"
    return spec
