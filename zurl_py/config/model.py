"""``zurl.conf`` as a checked, frozen value."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path

from ..policy import Policy, PolicyError
from . import values
from .ini import Entry, IniError, parse_ini

__all__ = ["KEYS", "Config", "ConfigError", "load"]

_SECONDS = values.number(1, 10_000_000)
_MAX_BYTES = 1 << 40


class ConfigError(ValueError):
    """A configuration that cannot be used; the text names file, line, key, value and remedy."""


@dataclass(frozen=True, slots=True)
class Config:
    """One field per key of ``zurl.conf``; what each means is said there, in zurl.conf.example.

    Attributes:
        timeout: seconds without activity until a session ends.
        connection_max_time: seconds that a connection may be used.
        drain_timeout: seconds that open requests get when the daemon is told to stop.
        buffer_size: bytes held per session and direction.
        max_response_size: bytes of a buffered answer; 0 is unlimited.
        max_open_requests: 0 is unlimited.
        websocket_compression: offer permessage-deflate to WebSocket origins.
        in_hwm, out_hwm: messages queued per ZeroMQ connection.
        ipc_file_mode: mode of the ipc sockets; None: as the umask makes it.
        warnings: what is odd in the file, but no reason not to start.
        origins: where each value that was given comes from: key to line number.
    """

    instance_id: str = ""
    in_spec: tuple[str, ...] = ()
    in_stream_spec: tuple[str, ...] = ()
    out_spec: tuple[str, ...] = ()
    in_req_spec: tuple[str, ...] = ()
    ipc_file_mode: int | None = None
    defpolicy: str = "allow"
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    allow_ipv6: bool = False
    max_open_requests: int = 0
    buffer_size: int = 200_000
    timeout: int = 600
    connection_max_time: int = 7200
    in_hwm: int = 1000
    out_hwm: int = 1000
    drain_timeout: int = 3
    max_response_size: int = 100_000_000
    ca_file: str = ""
    websocket_compression: bool = False
    warnings: tuple[str, ...] = ()
    origins: dict[str, int] = field(default_factory=dict)

    def policy(self) -> Policy:
        """The policy that this configuration describes."""
        return Policy.from_rules(self.defpolicy, self.allow, self.deny)


KEYS: dict[str, values.Converter] = {
    "instance_id": values.text,
    "in_spec": values.endpoints,
    "in_stream_spec": values.endpoints,
    "out_spec": values.endpoints,
    "in_req_spec": values.endpoints,
    "ipc_file_mode": values.octal_mode,
    "defpolicy": values.choice("allow", "deny"),
    "allow": values.items,
    "deny": values.items,
    "allow_ipv6": values.boolean,
    "max_open_requests": values.number(-1, 10_000_000),
    "buffer_size": values.number(1, _MAX_BYTES),
    "timeout": _SECONDS,
    "connection_max_time": _SECONDS,
    "in_hwm": values.number(0, 1_000_000_000),
    "out_hwm": values.number(0, 1_000_000_000),
    "drain_timeout": values.number(0, 1_000_000),
    "max_response_size": values.number(0, _MAX_BYTES),
    "ca_file": values.text,
    "websocket_compression": values.boolean,
}


def load(path: str) -> Config:
    """Read and check a configuration file.

    Raises:
        ConfigError: the file cannot be read, or a value cannot be used.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"cannot read {path}: {reason}") from None
    given: dict[str, object] = {}
    origins: dict[str, int] = {}
    warnings: list[str] = []
    try:
        for entry in parse_ini(text):
            convert = KEYS.get(entry.key) if entry.section == "General" else None
            if convert is None:
                warnings.append(f"{path}:{entry.line}: unknown key {entry.key!r}, ignored")
                continue
            if entry.key in origins:
                warnings.append(f"{path}:{entry.line}: {entry.key} is given again; this one counts")
            if entry.text:  # a key without a value means its default
                given[entry.key] = _convert(path, entry, convert)
            origins[entry.key] = entry.line
    except IniError as error:
        raise ConfigError(f"{path}:{error.line}: {error}") from None
    return _check(path, Config(**given, warnings=tuple(warnings), origins=origins))  # type: ignore[arg-type]


def _convert(path: str, entry: Entry, convert: values.Converter) -> object:
    try:
        return convert(entry)
    except values.Invalid as allowed:
        raise ConfigError(
            f"{path}:{entry.line}: {entry.key}: {entry.text!r} is not {allowed}"
        ) from None


def _check(path: str, config: Config) -> Config:
    """What only the whole can show."""
    streaming = ("in_spec", "in_stream_spec", "out_spec")
    missing = [key for key in streaming if not getattr(config, key)]
    if 0 < len(missing) < len(streaming):
        raise ConfigError(
            f"{path}: {' and '.join(missing)} missing: in_spec, in_stream_spec and out_spec are "
            "needed all three, or none"
        )
    if missing and not config.in_req_spec:
        raise ConfigError(
            f"{path}: nothing to listen on: set in_spec, in_stream_spec and out_spec, or "
            "in_req_spec"
        )
    try:
        config.policy()
    except PolicyError as error:
        raise ConfigError(f"{path}: {error}") from None
    return config


assert set(KEYS) == {f.name for f in fields(Config)} - {"warnings", "origins"}
