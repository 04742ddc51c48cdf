"""Files with certificates and keys: they are read and checked with the configuration."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

from ..client_certificate import BadClientCertificate, ClientCertificate
from .errors import ConfigError, both_or_neither

__all__ = ["check_ca_file", "read_client_certificate"]


def check_ca_file(config: str, file: str, line: int) -> None:
    """Check that a file holds certificates to trust.

    Raises:
        ConfigError: it holds none, or cannot be read.
    """
    data = _read(config, "ca_file", file, line)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=data.decode("latin-1"))
    except (ssl.SSLError, ValueError):
        raise ConfigError(
            config, f"{file} holds no certificates in PEM", line=line, key="ca_file"
        ) from None


def read_client_certificate(
    config: str, given: Mapping[str, object], lines: Mapping[str, int]
) -> ClientCertificate | None:
    """Read ``client_cert_file`` and ``client_key_file``; None where neither is set.

    Raises:
        ConfigError: only one is set, or a file cannot be used.
    """
    both = both_or_neither(config, given, lines, "client_cert_file", "client_key_file")
    if both is None:
        return None
    cert_file, key_file = both
    chain = _read(config, "client_cert_file", cert_file, lines.get("client_cert_file", 0))
    key = _read(config, "client_key_file", key_file, lines.get("client_key_file", 0))
    try:
        return ClientCertificate.checked(chain, key)
    except BadClientCertificate as problem:
        raise ConfigError(
            config,
            f"{cert_file} and {key_file} cannot be used: {problem}",
            line=lines.get("client_cert_file", 0),
            key="client_cert_file",
        ) from None


def _read(config: str, key: str, file: str, line: int) -> bytes:
    try:
        return Path(file).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or "its name cannot be used"
        raise ConfigError(config, f"cannot read {file}: {reason}", line=line, key=key) from None
