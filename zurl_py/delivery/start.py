"""Starts the service from a configuration; errors are found before anything is bound."""

from __future__ import annotations

import threading

from ..client import embedded
from ..client.address import Embedded, Endpoints, resolve
from ..client.errors import GatewayUnavailable
from ..errors import StartError
from ..log import Log
from .config import DeliverConfig, shown
from .store.base import Store, StoreError
from .store.secrets import SecretBox, load_key

__all__ = ["open_store", "run"]

_RESTART = 0.5  # seconds until an embedded gateway that has ended is started again


def run(config: DeliverConfig, config_path: str, log: Log) -> int:
    """Run until a signal ends it.

    Returns:
        The exit status: 0 after a stop by signal.

    Raises:
        StartError: there is no gateway, or an address cannot be bound.
        StoreError: the store cannot be used, or the key for its secrets.
    """
    from .service import Service

    log.info("starting...")
    gateways = find_gateways(config)
    store = open_store(config)
    try:
        service = Service(config, config_path, store, gateways, log)
    except StartError:
        store.close()
        raise
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
        StoreError: the store or the key for its secrets cannot be used.
    """
    box = SecretBox(load_key(config.secret_key_file) if config.secret_key_file else None)
    if config.store.startswith(("postgresql:", "postgres:")):
        try:
            from .store.postgres import PostgresStore
        except ImportError as error:
            raise StoreError(
                "store: PostgreSQL needs psycopg 3: pip install 'zurl-py[deliver]', or, with the"
                f" Debian package, apt install python3-psycopg: {error}"
            ) from None
        return PostgresStore(
            config.store, box, config.schedule, config.max_body, float(config.lease)
        )
    from .store.sqlite import SqliteStore

    return SqliteStore(config.store, box, config.schedule, config.store_max_bytes)


def find_gateways(config: DeliverConfig) -> list[str]:
    """The endpoint of the request interface of each gateway.

    Raises:
        StartError: there is no gateway, or one without that interface.
    """
    try:
        gateways = resolve(config.gateway or None)
    except (GatewayUnavailable, ValueError) as error:
        raise StartError(f"gateway: {error}") from None
    found = []
    for gateway in gateways:
        endpoints = gateway if isinstance(gateway, Endpoints) else _start_embedded(gateway)
        if endpoints.req is None:
            raise StartError(f"gateway: {config.gateway} has no in_req_spec: deliveries go by it")
        found.append(endpoints.req)
    return found


def _start_embedded(gateway: Embedded) -> Endpoints:
    def ended() -> None:
        # In another thread: this one has to end before the next gateway is started.
        later = threading.Timer(_RESTART, embedded.restart, (gateway,))
        later.daemon = True
        later.start()

    return embedded.start(gateway, ended)
