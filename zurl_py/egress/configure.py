"""Derives the settings of the egress from the configuration."""

from __future__ import annotations

import hashlib
import os
import ssl
from pathlib import Path

from ..config import Config
from ..config.hosts import HostSection
from ..errors import StartError
from ..policy.rulelist import RuleList
from .settings import ConnectionSettings, HostSettings, TransportOptions

__all__ = ["NoAuthorities", "host_settings", "transport_options"]

_SYSTEM_STORES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")


class NoAuthorities(StartError):
    """No CA certificates were found; the text says what to do."""


def transport_options(config: Config) -> TransportOptions:
    """All settings of the egress.

    Raises:
        NoAuthorities: no CA store is found.
    """
    return TransportOptions(
        connections=host_settings(config),
        max_response_size=config.max_response_size,
        max_expansion=config.max_expansion,
        dns_cache=config.dns_cache,
        dns_negative_cache=config.dns_negative_cache,
        stream_memory=config.stream_memory,
        max_host_errors=config.max_host_errors,
    )


def host_settings(config: Config) -> HostSettings:
    """The settings of connections, by host.

    Raises:
        NoAuthorities: no CA store is found.
    """
    default = _general(config)
    sections = [(section, _of_section(config, section, default)) for section in config.hosts]
    no_proxy = RuleList("no_proxy", config.no_proxy, denies=False)
    return HostSettings(default, sections, no_proxy, config.timeout)


def _general(config: Config) -> ConnectionSettings:
    ca_file, ca_path = _find_ca_store(config.ca_file)
    return ConnectionSettings(
        allow_ipv6=config.allow_ipv6,
        connection_max_time=config.connection_max_time,
        ca_file=ca_file,
        ca_path=ca_path,
        ca_digest=_digest(ca_file, ca_path),
        proxy=config.proxy,
        proxy_userpwd=config.proxy_credentials,
        http_version=config.http_version,
        source_address=config.source_address,
        tls_groups=config.tls_groups,
        tls_min_version=config.tls_min_version,
        client_certificate=config.client_certificate,
        tcp_keepalive=config.tcp_keepalive,
        max_connections=config.max_connections_per_host,
    )


def _of_section(
    config: Config, section: HostSection, default: ConnectionSettings
) -> ConnectionSettings:
    """The settings of a section, completed from ``[General]``."""
    values = section.values
    ca_file, ca_path, ca_digest = default.ca_file, default.ca_path, default.ca_digest
    if "ca_file" in values:
        ca_file, ca_path = _find_ca_store(str(values["ca_file"]))
        ca_digest = _digest(ca_file, ca_path)
    certificate = default.client_certificate
    if "client_cert_file" in values or "client_key_file" in values:
        certificate = section.client_certificate
    proxy = str(values.get("proxy", default.proxy))
    # The credentials are for the proxy of [General]; if it has none, for those of the sections.
    with_credentials = bool(proxy) and config.proxy in ("", proxy)
    source = values.get("source_address", default.source_address)
    assert isinstance(source, tuple)
    most = values.get("max_connections", default.max_connections)
    assert isinstance(most, int)
    return ConnectionSettings(
        allow_ipv6=config.allow_ipv6,
        connection_max_time=config.connection_max_time,
        ca_file=ca_file,
        ca_path=ca_path,
        ca_digest=ca_digest,
        proxy=proxy,
        proxy_userpwd=config.proxy_credentials if with_credentials else "",
        http_version=str(values.get("http_version", default.http_version)),
        source_address=source,
        tls_groups=str(values.get("tls_groups", default.tls_groups)),
        tls_min_version=str(values.get("tls_min_version", default.tls_min_version)),
        client_certificate=certificate,
        tcp_keepalive=config.tcp_keepalive,
        max_connections=most,
    )


def _find_ca_store(configured: str) -> tuple[str | None, str | None]:
    """``ca_file``, else ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``, else the system's."""
    if configured:
        return configured, None
    paths = ssl.get_default_verify_paths()  # reads the two variables itself
    if paths.cafile or paths.capath:
        return paths.cafile, paths.capath
    for path in _SYSTEM_STORES:
        if os.access(path, os.R_OK):
            return path, None
    raise NoAuthorities("no CA certificates found; install them (ca-certificates) or set ca_file")


def _digest(file: str | None, directory: str | None) -> bytes:
    """A digest of a CA store: if it changes, existing connections are not trusted any more."""
    digest = hashlib.sha256()
    if file is not None:
        try:
            digest.update(Path(file).read_bytes())
        except OSError as error:
            digest.update(str(error.errno).encode())
    if directory is not None:
        try:
            entries = sorted(
                (entry.name, entry.stat().st_mtime_ns) for entry in os.scandir(directory)
            )
        except OSError as error:
            entries = [(str(error.errno), 0)]
        digest.update(repr(entries).encode())
    return digest.digest()
