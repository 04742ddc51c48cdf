"""The *gateway address*: one value that says where the gateway is, for all clients and commands.

It is the path of a ``zurl.conf``, ``embedded``, ``Endpoints``, or a list of these. If none is
given, ``$ZURL_CONNECT`` is used, else ``/etc/zurl.conf`` if its sockets exist.

In ``$ZURL_CONNECT`` and ``--connect`` it is a text: a path, ``embedded``,
``in=ENDPOINT,in_stream=ENDPOINT,out=ENDPOINT,req=ENDPOINT``, or several paths separated by commas.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..ini import IniError, parse_ini
from .errors import GatewayNotConfigured, GatewayUnavailable

__all__ = [
    "Embedded",
    "Endpoints",
    "Gateway",
    "GatewayAddress",
    "GatewayAddresses",
    "connectable",
    "resolve",
]

VARIABLE: Final = "ZURL_CONNECT"
DEFAULT_PATH: Final = "/etc/zurl.conf"
EMBEDDED: Final = "embedded"

_KEYS: Final = {
    "in_spec": "in_",
    "in_stream_spec": "in_stream",
    "out_spec": "out",
    "in_req_spec": "req",
}
_NAMES: Final = {"in": "in_", "in_": "in_", "in_stream": "in_stream", "out": "out", "req": "req"}
_ANY_HOST: Final = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]", "[::0]": "[::1]"}
_TRANSPORTS: Final = ("ipc://", "tcp://", "inproc://")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The ZeroMQ endpoints of one daemon, to which a client connects.

    Args:
        in_: the daemon's ``in_spec``, for first packets.
        in_stream: its ``in_stream_spec``, for later packets.
        out: its ``out_spec``, for answers.
        req: its ``in_req_spec``, for requests with one answer each.

    Raises:
        ValueError: there are only some of the first three, or no endpoints at all; or a text is no
            endpoint.
    """

    in_: str | None = None
    in_stream: str | None = None
    out: str | None = None
    req: str | None = None

    def __post_init__(self) -> None:
        stream = (self.in_, self.in_stream, self.out)
        if any(stream) and not all(stream):
            raise ValueError("Endpoints: in_, in_stream and out come all three or none")
        if not (any(stream) or self.req):
            raise ValueError("Endpoints: give in_, in_stream and out, or req, or all four")
        for endpoint in (*stream, self.req):
            if endpoint and not endpoint.startswith(_TRANSPORTS):
                raise ValueError(
                    f"Endpoints: {endpoint!r} is no ZeroMQ endpoint, such as "
                    "ipc:///run/zurl/zurl-in or tcp://127.0.0.1:5560"
                )

    @property
    def streams(self) -> bool:
        """Whether there is the streaming interface: streams, uploads, WebSockets, cancellation."""
        return self.in_ is not None

    def __str__(self) -> str:
        return self.in_ or self.req or ""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A gateway of this process's own.

    Attributes:
        settings: values of its ``zurl.conf`` by their keys, as text.
    """

    settings: tuple[tuple[str, str], ...] = field(default=())

    def __str__(self) -> str:
        return EMBEDDED


Gateway = Endpoints | Embedded
"""One gateway, found."""

GatewayAddress = str | os.PathLike[str] | Endpoints | Embedded
"""What names one gateway."""

GatewayAddresses = GatewayAddress | Sequence[GatewayAddress] | None
"""What names the gateways of a client."""

Policy = Mapping[str, str | bool | int | Iterable[str]]
"""Keys of ``zurl.conf`` for an embedded gateway."""


def resolve(
    gateway: GatewayAddresses = None,
    policy: Policy | None = None,
    environment: Mapping[str, str] = os.environ,
) -> list[Gateway]:
    """The gateways that an address names.

    Args:
        gateway: None: use the defaults.
        policy: settings of an embedded gateway: ``deny``, ``allow`` and other keys of
            ``zurl.conf``. ``deny`` is ``@private`` unless it is given.

    Raises:
        GatewayUnavailable: a file cannot be read, or has no endpoint; or there is no default.
        ValueError: this is no gateway address; or there is a policy, but no embedded gateway.
    """
    if gateway is None:
        found = _find_gateways(environment)
    elif isinstance(gateway, str):
        found = _parse(gateway)
    elif isinstance(gateway, (Endpoints, Embedded, os.PathLike)):
        found = [_one(gateway)]
    else:
        found = [entry for address in gateway for entry in resolve(address)]
        if not found:
            raise ValueError("a list of gateways needs one at least")
    if policy is not None:
        if not any(isinstance(entry, Embedded) for entry in found):
            raise ValueError(
                "policy= is for an embedded gateway; that of a running daemon is in its zurl.conf"
            )
        settings = _settings(policy)
        found = [Embedded(settings) if isinstance(entry, Embedded) else entry for entry in found]
    return list(dict.fromkeys(found))  # every packet of a daemon named twice would come twice


def _find_gateways(environment: Mapping[str, str]) -> list[Gateway]:
    named = environment.get(VARIABLE, "").strip()
    if named:
        try:
            return _parse(named)
        except (GatewayUnavailable, ValueError) as error:
            raise GatewayUnavailable(f"${VARIABLE}: {error}", error="no-gateway") from None
    try:
        endpoints = read_conf(DEFAULT_PATH)
    except GatewayUnavailable as error:
        why = str(error)
    else:
        missing = [name for name in _socket_files(endpoints) if not _is_socket(name)]
        if not missing:
            return [endpoints]
        why = f"{DEFAULT_PATH} names {missing[0]}, and no socket is there (is the daemon running?)"
    raise GatewayNotConfigured(
        f"no gateway found: ${VARIABLE} is not set; {why}. Name one (the path of a zurl.conf, or "
        f'Endpoints), or use "{EMBEDDED}" for a gateway of this process\'s own',
        error="no-gateway",
    )


def _parse(text: str) -> list[Gateway]:
    items = [item.strip() for item in text.split(",") if item.strip()]
    named = [item.partition("=") for item in items]
    if items and all(name in _NAMES and equals for name, equals, _ in named):
        return [Endpoints(**{_NAMES[name]: endpoint for name, _, endpoint in named})]
    if not items:
        raise ValueError("an empty gateway address")
    if os.path.exists(text):  # a path may contain commas
        return [_one(text)]
    return [_one(item) for item in items]


def _one(address: GatewayAddress) -> Gateway:
    if isinstance(address, (Endpoints, Embedded)):
        return address
    path = os.fspath(address)
    if path == EMBEDDED:
        return Embedded(_settings({}))
    if path.startswith(_TRANSPORTS):
        raise ValueError(
            f"{path} is one endpoint of several: give the path of the daemon's zurl.conf, or "
            "Endpoints(in_=…, in_stream=…, out=…, req=…)"
        )
    return read_conf(os.path.expanduser(path))


def read_conf(path: str) -> Endpoints:
    """The endpoints of a ``zurl.conf``, in the form in which a client connects to them.

    Raises:
        GatewayUnavailable: the file cannot be read, or has no endpoint.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            entries = list(parse_ini(file.read(), lambda _line, _text: None))
    except OSError as error:
        raise GatewayUnavailable(f"{path}: {error.strerror}", error="no-gateway") from None
    except IniError as error:
        raise GatewayUnavailable(
            f"{path}, line {error.line}: {error}", error="no-gateway"
        ) from None
    specs = {
        _KEYS[entry.key]: connectable(entry.items[0])
        for entry in entries
        if entry.section == "General" and entry.key in _KEYS and entry.items
    }
    try:
        return Endpoints(**specs)
    except ValueError:
        raise GatewayUnavailable(
            f"{path} has no usable endpoints: it needs in_spec, in_stream_spec and out_spec, or "
            "in_req_spec, or all four",
            error="no-gateway",
        ) from None


def connectable(spec: str) -> str:
    """The endpoint to connect to for one that is bound: any interface becomes this machine."""
    transport, separator, rest = spec.partition("://")
    host, colon, port = rest.rpartition(":")
    if transport == "tcp" and host in _ANY_HOST:
        return f"{transport}{separator}{_ANY_HOST[host]}{colon}{port}"
    return spec


def _socket_files(endpoints: Endpoints) -> list[str]:
    specs = (endpoints.in_, endpoints.in_stream, endpoints.out, endpoints.req)
    return [
        spec.removeprefix("ipc://")
        for spec in specs
        if spec and spec.startswith("ipc://") and not spec.startswith("ipc://@")
    ]


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


_DEFAULT_SETTINGS: Final = {"deny": "@private", "allow_ipv6": "true"}


def _settings(policy: Policy) -> tuple[tuple[str, str], ...]:
    settings = dict(_DEFAULT_SETTINGS)
    for key, value in policy.items():
        if key in _KEYS or key == "ipc_file_mode":
            raise ValueError(f"policy: {key} cannot be set; an embedded gateway has its own")
        settings[key] = _setting(key, value)
    return tuple(sorted(settings.items()))


def _setting(key: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int)):
        text = str(value)
    elif isinstance(value, Iterable):
        text = ",".join(map(str, value))
    else:
        raise ValueError(f"policy: {key} is text, a number, true or false, or a list of rules")
    if "\n" in text or "\r" in text:
        raise ValueError(f"policy: {key} has a line break in it")
    return text
