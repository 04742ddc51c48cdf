"""Finds what prevents an endpoint from being bound, before libzmq tries to.

libzmq removes whatever file is at the path of an ipc socket, also a regular one; and for an address
that cannot be bound it only gives an error number.
"""

from __future__ import annotations

import enum
import errno
import os
import pwd
import socket
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..config.endpoint import Endpoint
from ..config.listener import Listener, parse_listener
from ..host_addresses import is_local

__all__ = ["Lasts", "Obstacle", "find_obstacles", "listener_obstacle", "obstacle"]

_ANY = ("0.0.0.0", "::")


class Lasts(enum.Enum):
    """Whether an obstacle will be there when the daemon is started later."""

    YES = enum.auto()
    PERHAPS = enum.auto()  # a folder is missing, which the service manager makes
    UNKNOWN = enum.auto()  # a process listens, which may be the daemon itself


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why an endpoint cannot be bound.

    Attributes:
        reason: the obstacle, for people.
        lasts: whether it will be there when the daemon starts.
    """

    reason: str
    lasts: Lasts = Lasts.YES


def find_obstacles(
    path: str,
    origins: Mapping[str, int],
    sockets: Iterable[tuple[str, str, Endpoint]],
    listeners: Mapping[str, str],
) -> tuple[list[str], list[str]]:
    """Errors and warnings about the endpoints of a configuration that cannot be bound.

    Args:
        path: of the configuration.
        origins: the number of the line of each key.
        sockets: key, text and endpoint of each ZeroMQ socket.
        listeners: key and address of each HTTP listener; "": there is none.

    Returns:
        Lines about obstacles that stay, and about those that may be gone when the daemon starts.
    """
    found = [(key, spec, obstacle(endpoint)) for key, spec, endpoint in sockets]
    found += [
        (key, address, listener_obstacle(parse_listener(address)))
        for key, address in listeners.items()
        if address
    ]
    errors = []
    missing: dict[str, list[str]] = {}
    for key, spec, in_the_way in found:
        if in_the_way is None:
            continue
        if in_the_way.lasts is Lasts.YES:
            where = f"{path}:{origins.get(key, 0)}"
            errors.append(f"{where}: {key}: cannot bind {spec}: {in_the_way.reason}")
        elif in_the_way.lasts is Lasts.PERHAPS:
            missing.setdefault(in_the_way.reason, []).append(key)
    return errors, [f"{path}: {', '.join(keys)}: {reason}" for reason, keys in missing.items()]


def listener_obstacle(listener: Listener) -> Obstacle | None:
    """The obstacle for the status listener; None: none was found."""
    if listener.path:
        return _of_path(listener.path)
    return None if listener.host in _ANY else _of_address(listener.host)


def obstacle(endpoint: Endpoint) -> Obstacle | None:
    """The obstacle for an endpoint; None: none was found."""
    if not endpoint.path:
        return _of_address(endpoint.host)
    return None if endpoint.is_abstract else _of_path(endpoint.path)


def _of_address(host: str) -> Obstacle | None:
    if host == "*" or any(host == name for _, name in socket.if_nameindex()):
        return None
    if _is_address(host):
        if is_local(host):
            return None
        return Obstacle(f"{host} is no address of this machine")
    return Obstacle(f"{host} is neither an address nor an interface of this machine")


def _is_address(host: str) -> bool:
    # An IPv6 address may have a zone: fe80::1%eth0.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.inet_pton(family, host.partition("%")[0])
    except OSError:
        return False
    return True


def _of_path(path: str) -> Obstacle | None:
    folder = os.path.dirname(path) or "."
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return _of_folder(folder)
    except OSError as error:
        return Obstacle(f"{folder}: {error.strerror}")
    if not stat.S_ISSOCK(found.st_mode):
        return Obstacle(f"{_kind(found.st_mode)} is in the way, and is not removed: move it away")
    return _of_socket(path, folder, found)


def _of_folder(folder: str) -> Obstacle | None:
    try:
        is_folder = stat.S_ISDIR(os.stat(folder).st_mode)
    except FileNotFoundError:
        # No service manager makes one in a directory that depends on who starts the daemon.
        lasts = Lasts.PERHAPS if os.path.isabs(folder) else Lasts.YES
        return Obstacle(f"the folder {folder} does not exist", lasts)
    except OSError as error:
        return Obstacle(f"{folder}: {error.strerror}")
    if not is_folder:
        return Obstacle(f"{folder} is no folder")
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        return Obstacle(f"this user ({_user(os.geteuid())}) may not write to the folder {folder}")
    return None


def _of_socket(path: str, folder: str, found: os.stat_result) -> Obstacle | None:
    """A socket's file is an obstacle unless nobody listens on it and it may be removed."""
    owner = _user(found.st_uid)
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except OSError as error:
            if error.errno == errno.EACCES:
                return Obstacle(f"a socket of the user {owner} is in the way")
            if error.errno != errno.ECONNREFUSED:  # EAGAIN: its queue of connections is full
                return Obstacle("another process listens there", Lasts.UNKNOWN)
        else:
            return Obstacle("another process listens there", Lasts.UNKNOWN)
    if not _may_remove(folder, found):
        return Obstacle(
            f"a socket that the user {owner} left behind is in the way, and may not be removed"
        )
    return None


def _may_remove(folder: str, found: os.stat_result) -> bool:
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        return False
    about = os.stat(folder)
    sticky = bool(about.st_mode & stat.S_ISVTX)
    return not sticky or os.geteuid() in (0, found.st_uid, about.st_uid)


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    if stat.S_ISFIFO(mode):
        return "a named pipe"
    return "a regular file" if stat.S_ISREG(mode) else "a device"


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
