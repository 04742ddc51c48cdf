"""Checks of several endpoints together: duplicates, access from other machines, relative paths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from .endpoint import Endpoint, parse_endpoint
from .errors import ConfigError
from .listener import parse_listener
from .model import Config

__all__ = [
    "SOCKET_KEYS",
    "check_endpoints",
    "collisions",
    "endpoints",
    "listeners",
    "refuse_twice",
    "relative_paths",
]

SOCKET_KEYS = ("in_spec", "in_stream_spec", "out_spec", "in_req_spec")
"""The keys of the ZeroMQ sockets."""

_ANY = frozenset(("*", "0.0.0.0", "::"))  # hosts that stand for all addresses of this machine


def endpoints(
    config: object, keys: Iterable[str] = SOCKET_KEYS
) -> Iterator[tuple[str, str, Endpoint]]:
    """Key, text and endpoint of each socket.

    Args:
        config: an object that has an attribute for each key, a sequence of texts.
    """
    for key in keys:
        for spec in getattr(config, key):
            yield key, spec, parse_endpoint(spec)


def listeners(config: object, keys: Iterable[str]) -> Iterator[tuple[str, str, Endpoint]]:
    """The same for each HTTP listener that is given."""
    for key in keys:
        text = getattr(config, key)
        if text:
            address = parse_listener(text)
            yield key, text, Endpoint(address.path, address.host, address.port or None)


def refuse_twice(
    path: str, origins: Mapping[str, int], sockets: Iterable[tuple[str, str, Endpoint]]
) -> None:
    """Check that no endpoint is given twice.

    Args:
        path: of the configuration.
        origins: the number of the line of each key.
        sockets: what ``endpoints`` and ``listeners`` return.

    Raises:
        ConfigError: one is.
    """
    seen: list[tuple[str, Endpoint]] = []
    for key, spec, endpoint in sockets:
        for other_key, other in seen:
            if _collide(endpoint, other):
                where = key if other_key == key else f"{other_key} as well"
                raise ConfigError(
                    path, f"{spec} is given twice, in {where}", line=origins.get(key, 0), key=key
                )
        seen.append((key, endpoint))


def check_endpoints(path: str, config: Config) -> None:
    """Check that no endpoint is given twice, and that access from other machines is intended.

    Args:
        path: of the configuration.

    Raises:
        ConfigError: an endpoint is given twice; or one is open to other machines, and neither keys
            nor ``allow_insecure_tcp`` are set.
    """
    sockets = [*endpoints(config), *listeners(config, ["metrics_listen"])]
    refuse_twice(path, config.origins, sockets)
    for key, spec, endpoint in endpoints(config):
        protected = config.curve is not None or config.allow_insecure_tcp
        if not endpoint.is_loopback and not protected:
            raise ConfigError(
                path,
                f"{spec} can be reached from other machines, and anybody who can connect may send "
                "requests: use ipc or 127.0.0.1, or keys (curve_server_key_file), or set "
                "allow_insecure_tcp=true if the network keeps strangers out",
                line=config.origins.get(key, 0),
                key=key,
            )


def collisions(config: Config, other: Config) -> list[str]:
    """Endpoints of a configuration that another one has as well, so that only one can bind them."""
    theirs = [endpoint for _, _, endpoint in endpoints(other)]
    return [
        spec
        for _, spec, endpoint in endpoints(config)
        if any(_collide(endpoint, their) for their in theirs)
    ]


def relative_paths(
    path: str, origins: Mapping[str, int], sockets: Iterable[tuple[str, str, Endpoint]]
) -> list[str]:
    """Warnings about ipc paths that depend on the directory in which the daemon is started.

    Args:
        path: of the configuration.
        origins: the number of the line of each key.
        sockets: what ``endpoints`` returns.
    """
    return [
        f"{path}:{origins.get(key, 0)}: {key}: {spec} is relative to the directory that the "
        "daemon is started in; write an absolute path"
        for key, spec, endpoint in sockets
        if endpoint.is_relative
    ]


def _collide(one: Endpoint, other: Endpoint) -> bool:
    """Whether only one of two endpoints can be bound."""
    if one.path or other.path:
        return one.place == other.place
    if one.port is None or one.port != other.port:
        return False
    return one.host == other.host or bool(_ANY & {one.host, other.host})
