"""Keys for tcp endpoints (CURVE): the daemon's own, and those of the clients that may connect.

A file is a certificate in the form of CZMQ and pyzmq (ZPL, RFC 4 of ZeroMQ)::

    metadata
        name = "billing"
        privileges = "ignore-policies, connect-host"
    curve
        public-key = "..."
        secret-key = "..."
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .errors import ConfigError, both_or_neither

__all__ = ["PRIVILEGES", "Curve", "CurveClient", "read_curve"]

PRIVILEGES = ("ignore-policies", "ignore-tls-errors", "connect-host", "trust-connect-host")
"""The privileged fields that can be granted to single clients."""

_LINE = re.compile(r'\s*([A-Za-z][\w-]*)\s*=\s*(?:"([^"]*)"|(\S+))\s*(?:#.*)?')
_Z85 = re.compile(r"[0-9A-Za-z.:+=^!/*?&<>()\[\]{}@%$#-]{40}")  # RFC 32: 32 bytes
_SERVER, _CLIENTS = "curve_server_key_file", "curve_clients_dir"


@dataclass(frozen=True, slots=True)
class CurveClient:
    """A client that may connect.

    Attributes:
        key: its public key, in Z85.
        name: for the log: from its file, else the name of the file.
        privileges: privileged fields that its requests may use where the configuration allows them;
            None: all.
    """

    key: str
    name: str
    privileges: frozenset[str] | None = None

    def grants(self, privilege: str) -> bool:
        """Whether its requests may use this privileged field."""
        return self.privileges is None or privilege in self.privileges


@dataclass(frozen=True, slots=True)
class Curve:
    """The keys of tcp endpoints.

    Attributes:
        secret_key: the daemon's, in Z85.
        clients: clients that may connect, by public key.
    """

    secret_key: str = field(repr=False)
    clients: Mapping[str, CurveClient] = field(default_factory=dict)


def read_curve(
    config: str, given: Mapping[str, object], lines: Mapping[str, int], warnings: list[str]
) -> Curve | None:
    """Read the key file and the directory of clients; None where neither is configured.

    Args:
        config: path of the configuration.
        warnings: warnings are appended to it.

    Raises:
        ConfigError: only one of the two is configured, or a file cannot be used.
    """
    both = both_or_neither(config, given, lines, _SERVER, _CLIENTS)
    if both is None:
        return None
    server, folder = both
    line = lines.get(_SERVER, 0)
    fields = _read(config, _SERVER, line, Path(server))
    secret = _key(config, _SERVER, line, server, fields, "secret-key")
    if os.stat(server).st_mode & (stat.S_IRGRP | stat.S_IROTH):
        warnings.append(f"{config}:{line}: {_SERVER}: others may read {server}: chmod 600")
    return Curve(secret, _read_clients(config, Path(folder), lines.get(_CLIENTS, 0)))


def _read_clients(config: str, folder: Path, line: int) -> dict[str, CurveClient]:
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix == ".key")
    except OSError as error:
        raise ConfigError(
            config, f"cannot read {folder}: {error.strerror}", line=line, key=_CLIENTS
        ) from None
    clients: dict[str, CurveClient] = {}
    for file in files:
        fields = _read(config, _CLIENTS, line, file)
        key = _key(config, _CLIENTS, line, str(file), fields, "public-key")
        if key in clients:
            raise ConfigError(
                config,
                f"{file} has the same key as that of {clients[key].name}",
                line=line,
                key=_CLIENTS,
            )
        privileges = _privileges(config, line, file, fields.get("privileges"))
        clients[key] = CurveClient(key, fields.get("name") or file.stem, privileges)
    return clients


def _privileges(config: str, line: int, file: Path, text: str | None) -> frozenset[str] | None:
    if text is None:
        return None
    found = frozenset(word for word in re.split(r"[,\s]+", text) if word)
    unknown = found.difference(PRIVILEGES)
    if unknown:
        raise ConfigError(
            config,
            f"{file}: privileges: found {min(unknown)!r}, allowed: {', '.join(PRIVILEGES)}",
            line=line,
            key=_CLIENTS,
        )
    return found


def _read(config: str, key: str, line: int, file: Path) -> dict[str, str]:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        reason = f"cannot read {file}: {error.strerror}"
    except ValueError:  # a NUL in the path, or content that is not UTF-8
        reason = f"{file} is not a key file; zurl-py keygen makes such files"
    else:
        found = (_LINE.fullmatch(written) for written in text.splitlines())
        return {match[1]: match[2] or match[3] or "" for match in found if match}
    raise ConfigError(config, reason, line=line, key=key)


def _key(config: str, key: str, line: int, file: str, fields: Mapping[str, str], name: str) -> str:
    value = fields.get(name, "")
    if _Z85.fullmatch(value):
        return value
    what = f"no {name}" if not value else f"a {name} that is not 40 characters of Z85"
    raise ConfigError(
        config, f"{file} has {what}; zurl-py keygen makes such files", line=line, key=key
    )
