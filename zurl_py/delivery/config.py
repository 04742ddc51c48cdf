"""The configuration of ``zurl-py deliver``: an INI file like ``zurl.conf``, with other keys."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from ..config import ConfigError, values
from ..config.check import endpoints, listeners, refuse_twice, relative_paths
from ..config.endpoint import Endpoint
from ..config.listener import Listener, parse_listener
from ..config.load import Given, read_keys
from ..config.values import Converter, Invalid
from ..ini import Entry
from .attempts import DEFAULT_SCHEDULE

__all__ = ["DELIVER_SOCKET_KEYS", "KEYS", "DeliverConfig", "load", "shown"]

DELIVER_SOCKET_KEYS: Final = ("deliver_spec", "deliver_push_spec")
"""The keys of the ZeroMQ sockets."""

_LISTENERS: Final = ("http_listen", "metrics_listen")
_MAX_BODY: Final = 64 << 20  # bytes
_MAX_STORE: Final = 1 << 50  # bytes
_MAX_ATTEMPTS: Final = 100
_SHORTEST_TOKEN: Final = 16  # characters
_LONGEST_WAIT: Final = 366 * 86_400.0  # seconds
_STORES: Final = ("sqlite:///", "postgresql://", "postgres://")


@dataclass(frozen=True, slots=True)
class DeliverConfig:
    """One field per key.

    Attributes:
        deliver_spec: ZeroMQ endpoints to bind, for questions with answers.
        deliver_push_spec: ZeroMQ endpoints to bind, for questions without answers.
        ipc_file_mode: mode of the ipc sockets; None: by the umask.
        gateway: gateway address: path of a zurl.conf, or ``embedded``; "": the client's default.
        store: ``sqlite:///PATH`` or ``postgresql://…``.
        schedule: seconds to wait before each attempt, where an endpoint has no schedule.
        max_body: bytes of a message's body.
        store_max_bytes: size of the store from which on nothing is accepted; 0: no limit but the
            disk's.
        lease: seconds after which another process may take over deliveries leased by this one.
        secret_key_file: path of the key for the encryption of secrets; "": no encryption.
        http_listen: address of the web page; "": there is none.
        http_token: content of http_token_file.
        http_token_file: path of the web page's password; "": it has none.
        metrics_listen: address of the status listener; "": there is none.
        on_endpoint_event: endpoint or URI for webhooks about failing endpoints; "": none are sent.
        warnings: faults of the file that do not prevent the start.
        origins: the number of the line of each key that is given.
    """

    deliver_spec: tuple[str, ...] = ()
    deliver_push_spec: tuple[str, ...] = ()
    ipc_file_mode: int | None = None
    gateway: str = ""
    store: str = ""
    schedule: tuple[float, ...] = DEFAULT_SCHEDULE
    max_body: int = 1_000_000
    store_max_bytes: int = 0
    lease: int = 60
    secret_key_file: str = ""
    http_listen: str = ""
    http_token_file: str = ""
    http_token: str = field(default="", repr=False)
    metrics_listen: str = ""
    on_endpoint_event: str = ""
    warnings: tuple[str, ...] = ()
    origins: dict[str, int] = field(default_factory=dict)


def _store(entry: Entry) -> str:
    if entry.text.startswith(_STORES):
        return entry.text
    raise Invalid("sqlite:///PATH or postgresql://…")


def _schedule(entry: Entry) -> tuple[float, ...]:
    try:
        waits = tuple(float(item) for item in entry.items)
    except ValueError:
        waits = ()
    if not 1 <= len(waits) <= _MAX_ATTEMPTS or not all(
        math.isfinite(wait) and 0 <= wait <= _LONGEST_WAIT for wait in waits
    ):
        raise Invalid(f"1 to {_MAX_ATTEMPTS} waits in seconds, such as 0,5,300,1800")
    return waits


# Every key, with the function that checks and converts its value.
KEYS: Final[dict[str, Converter]] = {
    "deliver_spec": values.endpoints,
    "deliver_push_spec": values.endpoints,
    "ipc_file_mode": values.octal_mode,
    "gateway": values.text,
    "store": _store,
    "schedule": _schedule,
    "max_body": values.number(1, _MAX_BODY),
    "store_max_bytes": values.number(0, _MAX_STORE),
    "lease": values.number(2, 86_400),
    "secret_key_file": values.text,
    "http_listen": values.listener,
    "http_token_file": values.text,
    "metrics_listen": values.listener,
    "on_endpoint_event": values.text,
}


def load(path: str) -> DeliverConfig:
    """Read and check the configuration.

    Raises:
        ConfigError: the file cannot be read, or something in it cannot be used.
    """
    given = read_keys(path, KEYS, ())
    listen = str(given.values.get("http_listen") or "")
    if listen and not _is_here(parse_listener(listen)):
        raise ConfigError(
            path,
            "127.0.0.1, [::1] or a Unix socket: the page has no TLS",
            line=given.origins["http_listen"],
            key="http_listen",
            found=listen,
        )
    if given.values.get("http_token_file"):
        given.values["http_token"] = _token(path, given)
    if not given.values.get("store"):
        raise ConfigError(path, "store is missing: sqlite:///PATH or postgresql://…")
    sockets = given.values.get("deliver_spec") or given.values.get("deliver_push_spec")
    if not sockets and str(given.values["store"]).startswith("sqlite:"):
        raise ConfigError(path, "nothing to listen on: set deliver_spec or deliver_push_spec")
    fields: dict[str, Any] = given.values
    config = DeliverConfig(**fields, origins=given.origins)
    bound = list(endpoints(config, DELIVER_SOCKET_KEYS))
    refuse_twice(path, given.origins, [*bound, *listeners(config, _LISTENERS)])
    warnings = [
        *given.warnings,
        *relative_paths(path, given.origins, bound),
        *_exposed(path, given.origins, bound),
    ]
    return replace(config, warnings=tuple(warnings))


def _exposed(
    path: str, origins: Mapping[str, int], sockets: Iterable[tuple[str, str, Endpoint]]
) -> Iterator[str]:
    for key, spec, endpoint in sockets:
        if not endpoint.is_loopback:
            yield (
                f"{path}:{origins[key]}: {key}: {spec} can be reached from other machines, and "
                "anybody who can connect may send webhooks and change endpoints: use ipc or "
                "127.0.0.1, unless the network keeps strangers out"
            )


def _is_here(address: Listener) -> bool:
    """Whether only this machine can connect."""
    return bool(address.path) or ipaddress.ip_address(address.host).is_loopback


def _token(path: str, given: Given) -> str:
    """The first line of the file that ``http_token_file`` names."""
    key = "http_token_file"
    file = str(given.values[key])
    try:
        token = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(
            path, f"cannot read {file}: {reason}", line=given.origins[key], key=key
        ) from None
    if len(token) < _SHORTEST_TOKEN or not token.isprintable():
        raise ConfigError(
            path,
            f"{file} is not one line of at least {_SHORTEST_TOKEN} characters",
            line=given.origins[key],
            key=key,
        )
    return token


def shown(store: str) -> str:
    """A store's URL without the password that may be in it."""
    scheme, separator, rest = store.partition("://")
    credentials, at, place = rest.rpartition("@")
    user = credentials.partition(":")[0]
    return f"{scheme}{separator}{user}{at}{place.partition('?')[0]}"
