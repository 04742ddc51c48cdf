"""How connections are made, as values: what the configuration says for all, or for some hosts."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["ConnectionSettings", "TransportOptions"]


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """What two requests must have in common to share a connection.

    Attributes:
        allow_ipv6: connect over IPv6 too.
        connection_max_time: seconds that a connection may be used.
        ca_file, ca_path: authorities to trust, a PEM file and a directory.
        proxy: URL of the proxy; "" for none.
        proxy_userpwd: USER:PASSWORD for it.
    """

    allow_ipv6: bool = False
    connection_max_time: int = 7200
    ca_file: str | None = None
    ca_path: str | None = None
    proxy: str = ""
    proxy_userpwd: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """What the configuration says about everything that leaves the machine.

    Attributes:
        connection: how connections are made.
        max_response_size: bytes of a buffered answer; 0 is unlimited.
        dns_cache: seconds that a name's addresses are used; 0 looks up each time.
        dns_negative_cache: seconds that "no such name" is remembered.
    """

    connection: ConnectionSettings = ConnectionSettings()
    max_response_size: int = 0
    dns_cache: int = 60
    dns_negative_cache: int = 0
