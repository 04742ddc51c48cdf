"""ZeroMQ endpoints as they are written in ``zurl.conf``."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from typing import Final

from ..errors import Error

__all__ = ["MAX_SOCKET_PATH", "Endpoint", "EndpointError", "parse_endpoint"]

MAX_SOCKET_PATH: Final = 107  # bytes of a Unix socket's path: sun_path holds 108 with the final NUL
_TCP = re.compile(r"tcp://(\[[^\[\]]*\]|[^\[\]:/]+):(\d{1,5}|\*)/?", re.ASCII)
_ALLOWED = "endpoints such as ipc:///run/zurl/zurl-in or tcp://127.0.0.1:5555"


class EndpointError(Error, ValueError):
    """A text is no endpoint; the error says what is allowed."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a socket is bound: a path or a TCP address.

    Attributes:
        path: of the socket file; begins with "@" if it has a name in place of a file; "" for TCP.
        host: address, interface or "*", without brackets; "" for ipc.
        port: None where the system chooses one, and for ipc.
    """

    path: str = ""
    host: str = ""
    port: int | None = None

    @property
    def is_abstract(self) -> bool:
        """Whether it is in Linux's abstract namespace: there is no file."""
        return self.path.startswith("@")

    @property
    def is_relative(self) -> bool:
        """Whether where it is depends on the current directory."""
        return bool(self.path) and not self.path.startswith(("/", "@"))

    @property
    def is_ipv6(self) -> bool:
        """Whether it is written as an IPv6 address."""
        return ":" in self.host

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect to it."""
        if self.path:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "lo"

    @property
    def place(self) -> str:
        """The endpoint with symbolic links resolved, for comparisons: /var/run is often /run."""
        if not self.path or self.is_abstract:
            return self.address
        # The socket itself may not exist yet.
        folder, name = os.path.split(os.path.abspath(self.path))
        return "ipc://" + os.path.join(os.path.realpath(folder), name)

    @property
    def address(self) -> str:
        """The endpoint in libzmq's syntax."""
        if self.path:
            return f"ipc://{self.path}"
        host = f"[{self.host}]" if self.is_ipv6 else self.host
        return f"tcp://{host}:{'*' if self.port is None else self.port}"


def parse_endpoint(spec: str) -> Endpoint:
    """The endpoint that ``spec`` describes; ``tcp://`` may end with a slash, as with Zurl.

    Raises:
        EndpointError: it describes none.
    """
    if spec.startswith("ipc://"):
        path = spec.removeprefix("ipc://")
        if not 0 < len(path.encode()) <= MAX_SOCKET_PATH:
            raise EndpointError(f"ipc paths of 1 to {MAX_SOCKET_PATH} bytes")
        if path == "*" or "\0" in path:
            raise EndpointError(
                f"{_ALLOWED}; an ipc path other than *, which workers could not know"
            )
        return Endpoint(path=path)
    found = _TCP.fullmatch(spec)
    if found is None:
        raise EndpointError(_ALLOWED)
    host = found[1]
    if host.startswith("["):
        host = host[1:-1]
        if not _is_ipv6(host):
            raise EndpointError(f"{_ALLOWED}; an IPv6 address in brackets")
    port = None if found[2] == "*" else int(found[2])
    if port is not None and port > 65535:
        raise EndpointError(f"{_ALLOWED}; ports up to 65535")
    # For libzmq, port 0 means the same as *.
    return Endpoint(host=host, port=port or None)


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True
