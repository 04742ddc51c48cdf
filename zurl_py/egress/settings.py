"""Settings of connections: those of ``[General]``, and those of sections for hosts."""

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
    """Settings that two requests must have in common to share a connection.

    Attributes:
        allow_ipv6: connect over IPv6 too.
        connection_max_time: seconds that a connection may be used.
        ca_file, ca_path: CA certificates: a PEM file and a directory.
        ca_digest: digest of their content when the configuration was read.
        proxy: URL of the proxy; "" for none.
        proxy_userpwd: USER:PASSWORD for it.
        http_version: the highest version to use: "1.1", "2" or "3".
        source_address: local addresses, one of each family at most.
        tls_groups: key exchange groups in OpenSSL's syntax; "" for OpenSSL's default.
        tls_min_version: "1.2" or "1.3".
        client_certificate: for origins that ask for one.
        tcp_keepalive: seconds of silence after which TCP probes the connection; 0: never.
        max_connections: connections to one host; 0: no limit.
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
        """IP versions of connections: those of the source addresses, if some are set."""
        if self.source_address:
            return tuple(sorted(6 if ":" in source else 4 for source in self.source_address))
        return (4, 6) if self.allow_ipv6 else (4,)


class HostSettings:
    """The `ConnectionSettings` of each host.

    Args:
        default: for hosts without a section.
        sections: sections for hosts, with their settings.
        no_proxy: hosts to connect to without a proxy.
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
        # By line: sections are compared by value, and two may be equal.
        self._settings = {section.line: settings for section, settings in sections}
        self._no_proxy = no_proxy if no_proxy else None

    @property
    def uniform(self) -> bool:
        """Whether all hosts have the same settings."""
        return not self._sections and self._no_proxy is None

    def section(self, host: str, port: int, scheme: str) -> HostSection | None:
        """The section for the host of a URI, if there is one."""
        return choose_section(self._sections, host, port, scheme)

    def of(self, host: str, port: int, scheme: str) -> ConnectionSettings:
        """The settings for the host of a URI."""
        section = self.section(host, port, scheme)
        settings = self.default if section is None else self._settings[section.line]
        if settings.proxy and self._no_proxy is not None:
            subject = Subject(host, parse_address(host))
            if self._no_proxy.first(subject, None, None, port, scheme) is not None:
                return _straight(settings)
        return settings

    @property
    def common_timeout(self) -> float | None:
        """`timeout_of` all hosts; None where a section may have another."""
        return None if self._sections else self._timeout

    def timeout_of(self, scheme: str, host: str, port: int) -> float:
        """Seconds without activity until a session to the host of a URI ends."""
        if not self._sections:
            return self._timeout
        section = self.section(host, port, scheme)
        given = section.values.get("timeout") if section is not None else None
        return float(given) if isinstance(given, int) else self._timeout

    def all(self) -> Iterator[ConnectionSettings]:
        """All settings that some host has."""
        for settings in (self.default, *self._settings.values()):
            yield settings
            if settings.proxy and self._no_proxy is not None:
                yield _straight(settings)


def _straight(settings: ConnectionSettings) -> ConnectionSettings:
    return replace(settings, proxy="", proxy_userpwd="")


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """All settings of the egress.

    Attributes:
        connections: settings of connections.
        max_response_size: bytes of a buffered answer; 0: no limit.
        max_expansion: decoded bytes for one byte of a coded body; 0: no limit.
        dns_cache: seconds that a name's addresses are used; 0: look up each time.
        dns_negative_cache: seconds that "no such name" is cached.
        stream_memory: bytes that libcurl may hold for all streams of HTTP/2 and 3.
        max_host_errors: consecutive failures that open a host's circuit breaker; 0: never.
    """

    connections: HostSettings = field(default_factory=lambda: HostSettings(ConnectionSettings()))
    max_response_size: int = 0
    max_expansion: int = 0
    dns_cache: int = 60
    dns_negative_cache: int = 0
    stream_memory: int = 64_000_000
    max_host_errors: int = 0
