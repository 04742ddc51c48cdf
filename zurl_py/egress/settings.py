"""How connections are made, as values: what the configuration says for all, or for some hosts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from ..client_certificate import ClientCertificate
from ..config.hosts import HostSection, choose_section
from ..policy.addresses import parse_address
from ..policy.rulelist import RuleList
from ..policy.rules import Subject

__all__ = ["ConnectionSettings", "HostSettings", "TransportOptions"]


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """What two requests must have in common to share a connection.

    Attributes:
        allow_ipv6: connect over IPv6 too.
        connection_max_time: seconds that a connection may be used.
        ca_file, ca_path: authorities to trust, a PEM file and a directory.
        ca_digest: what was in them when the configuration was read.
        proxy: URL of the proxy; "" for none.
        proxy_userpwd: USER:PASSWORD for it.
        http_version: the highest that may be used: "1.1", "2" or "3".
        source_address: addresses to connect from, one of each family at most.
        tls_groups: key exchange groups as OpenSSL lists them; "" for OpenSSL's own.
        tls_min_version: "1.2" or "1.3".
        client_certificate: shown to origins that ask for one.
        tcp_keepalive: seconds of silence after which TCP asks for a sign of life; 0: never.
        max_connections: to one host; 0: no limit.
    """

    allow_ipv6: bool = False
    connection_max_time: int = 7200
    ca_file: str | None = None
    ca_path: str | None = None
    ca_digest: bytes = b""
    proxy: str = ""
    proxy_userpwd: str = field(default="", repr=False)
    http_version: str = "2"
    source_address: tuple[str, ...] = ()
    tls_groups: str = ""
    tls_min_version: str = "1.2"
    client_certificate: ClientCertificate | None = None
    tcp_keepalive: int = 0
    max_connections: int = 0

    @property
    def families(self) -> tuple[int, ...]:
        """Versions of IP by which connections are made: those of the source, if one is set."""
        if self.source_address:
            return tuple(sorted(6 if ":" in source else 4 for source in self.source_address))
        return (4, 6) if self.allow_ipv6 else (4,)


class HostSettings:
    """Which `ConnectionSettings` hold for a host.

    Args:
        default: for all that no section is for.
        sections: for hosts.
        no_proxy: hosts that are connected to directly.
        timeout: seconds without activity until a session ends.
    """

    def __init__(
        self,
        default: ConnectionSettings,
        sections: Sequence[tuple[HostSection, ConnectionSettings]] = (),
        no_proxy: RuleList | None = None,
        timeout: int = 600,
    ) -> None:
        self.default = default
        self._timeout = float(timeout)
        self._sections = [section for section, _ in sections]
        # By line, as sections are compared by value and two may say the same.
        self._settings = {section.line: settings for section, settings in sections}
        self._no_proxy = no_proxy if no_proxy else None

    @property
    def uniform(self) -> bool:
        """All hosts have the same."""
        return not self._sections and self._no_proxy is None

    def section(self, host: str, port: int, scheme: str) -> HostSection | None:
        """The section that holds for a host of a URI, if one does."""
        return choose_section(self._sections, host, port, scheme)

    def of(self, host: str, port: int, scheme: str) -> ConnectionSettings:
        """What holds for a host of a URI."""
        section = self.section(host, port, scheme)
        settings = self.default if section is None else self._settings[section.line]
        if settings.proxy and self._no_proxy is not None:
            subject = Subject(host, parse_address(host))
            if self._no_proxy.first(subject, None, None, port, scheme) is not None:
                return _straight(settings)
        return settings

    @property
    def common_timeout(self) -> float | None:
        """`timeout_of` all hosts, where no section could say otherwise."""
        return None if self._sections else self._timeout

    def timeout_of(self, scheme: str, host: str, port: int) -> float:
        """Seconds without activity until a session ends, by the host of a URI."""
        if not self._sections:
            return self._timeout
        section = self.section(host, port, scheme)
        given = section.values.get("timeout") if section is not None else None
        return float(given) if isinstance(given, int) else self._timeout

    def all(self) -> Iterator[ConnectionSettings]:
        """All settings that hold for any host."""
        for settings in (self.default, *self._settings.values()):
            yield settings
            if settings.proxy and self._no_proxy is not None:
                yield _straight(settings)


def _straight(settings: ConnectionSettings) -> ConnectionSettings:
    return replace(settings, proxy="", proxy_userpwd="")


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """What the configuration says about everything that leaves the machine.

    Attributes:
        connections: how connections are made.
        max_response_size: bytes of a buffered answer; 0 is unlimited.
        max_expansion: bytes of a body for one of its coding; 0 is unlimited.
        dns_cache: seconds that a name's addresses are used; 0 looks up each time.
        dns_negative_cache: seconds that "no such name" is remembered.
        stream_memory: bytes that libcurl may hold for all streams of HTTP/2 and 3.
        max_host_errors: failures in a row after which a host is left alone; 0: never.
    """

    connections: HostSettings = field(default_factory=lambda: HostSettings(ConnectionSettings()))
    max_response_size: int = 0
    max_expansion: int = 0
    dns_cache: int = 60
    dns_negative_cache: int = 0
    stream_memory: int = 64_000_000
    max_host_errors: int = 0
