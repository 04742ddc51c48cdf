"""From a file to a checked ``Config``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from ..ini import Entry, IniError, parse_ini
from ..policy import PolicyError
from ..policy.rulelist import RuleList
from . import values
from .check import check_endpoints, endpoints, relative_paths
from .curve import read_curve
from .errors import ConfigError, hint_at_key, refuse_comment
from .exposure import exposure
from .model import KEYS, NEEDS_VALUE, Config
from .proxies import proxy_remarks
from .rule_files import RULE_FILES, read_rules
from .sections import SectionReader, host_of
from .tls_files import check_ca_file, read_client_certificate

__all__ = ["Given", "load", "read_keys"]

_STREAMING = ("in_spec", "in_stream_spec", "out_spec")


@dataclass
class Given:
    """The content of a file.

    Attributes:
        values: converted values, by key.
        origins: the number of the line of each key.
        warnings: faults that do not prevent the start.
    """

    values: dict[str, object] = field(default_factory=dict)
    origins: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def load(path: str) -> Config:
    """Read and check a configuration file.

    Raises:
        ConfigError: the file cannot be read, or something in it cannot be used.
    """
    sections = SectionReader(path)
    given = read_keys(path, KEYS, NEEDS_VALUE, sections)
    given.values["hosts"] = sections.sections(given.values)
    given.warnings += sections.warnings
    return _check(path, given.values, given.origins, given.warnings)


def read_keys(
    path: str,
    keys: Mapping[str, values.Converter],
    needs_value: Collection[str],
    sections: SectionReader | None = None,
) -> Given:
    """Read a file whose section ``[General]`` has these keys.

    Args:
        keys: the converter of each key.
        needs_value: keys whose empty value is converted; with other keys it means the default.
        sections: collects the sections for hosts, where the file may have some.

    Raises:
        ConfigError: the file cannot be read, or a value cannot be used.
    """
    text = _read(path)
    found = Given()
    given, origins, warnings = found.values, found.origins, found.warnings

    def skipped(number: int, line: str) -> None:
        warnings.append(f"{path}:{number}: neither [section] nor key=value, ignored: {line[:60]!r}")

    try:
        for entry in parse_ini(text, skipped):
            host = host_of(entry.section) if sections is not None else None
            if host is not None and sections is not None:
                sections.add(host, entry)
                continue
            if entry.section != "General" or entry.key not in keys:
                warnings.append(_unknown(path, entry, keys))
                continue
            if entry.key in origins:
                warnings.append(f"{path}:{entry.line}: {entry.key} is given again; this one counts")
                given.pop(entry.key, None)
            if entry.text or entry.key in needs_value:
                given[entry.key] = _convert(path, entry, keys[entry.key])
            origins[entry.key] = entry.line
    except IniError as error:
        raise ConfigError(path, str(error), line=error.line) from None
    return found


def _read(path: str) -> str:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(path, f"cannot read it: {error.strerror}") from None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")  # as Zurl does


def _unknown(path: str, entry: Entry, keys: Collection[str]) -> str:
    where = f"{path}:{entry.line}: unknown key {entry.key!r}"
    if entry.section != "General":
        return (
            f"{where} in section [{entry.section}], ignored; keys belong into [General], some also "
            "into [host NAME]"
        )
    return f"{where}, ignored{hint_at_key(entry.key, keys)}"


def _convert(path: str, entry: Entry, convert: values.Converter) -> object:
    refuse_comment(path, entry)
    try:
        return convert(entry)
    except values.Invalid as allowed:
        raise ConfigError(
            path, str(allowed), line=entry.line, key=entry.key, found=entry.text
        ) from None


def _check(
    path: str, given: dict[str, object], origins: dict[str, int], warnings: list[str]
) -> Config:
    """Read the files that keys name, and check what concerns several keys."""
    _check_interfaces(path, given)
    _read_files(path, given, origins, warnings)
    config = Config(**given, origins=origins)  # type: ignore[arg-type]
    check_endpoints(path, config)
    try:
        policy = config.policy()
    except PolicyError as error:
        reason = str(error).removeprefix(f"{error.key}: ")
        raise ConfigError(path, reason, line=origins.get(error.key, 0), key=error.key) from None
    warnings += [f"{path}: {warning}" for warning in policy.warnings]
    exposed = exposure(config, policy)
    if exposed is not None:
        warnings.append(f"{path}:{origins['deny']}: {exposed}")
    _check_no_proxy(path, config)
    if config.nat64 and not config.allow_ipv6:
        warnings.append(
            f"{path}:{origins['nat64']}: nat64 has no effect: allow_ipv6 is false, so no IPv6 "
            "address is connected to"
        )
    warnings += relative_paths(path, origins, endpoints(config))
    warnings += proxy_remarks(path, config)
    return replace(config, warnings=tuple(warnings))


def _check_interfaces(path: str, given: Mapping[str, object]) -> None:
    """Check that the streaming interface, the request interface or both have all their sockets.

    Raises:
        ConfigError: sockets are missing.
    """
    missing = [key for key in _STREAMING if not given.get(key)]
    if 0 < len(missing) < len(_STREAMING):
        raise ConfigError(
            path,
            f"{' and '.join(missing)} missing: in_spec, in_stream_spec and out_spec are needed "
            "all three, or none",
        )
    if missing and not given.get("in_req_spec"):
        raise ConfigError(
            path,
            "nothing to listen on: set in_spec, in_stream_spec and out_spec, or in_req_spec",
        )


def _read_files(
    path: str, given: dict[str, object], origins: dict[str, int], warnings: list[str]
) -> None:
    """Add the content of the files that keys name to ``given``.

    Raises:
        ConfigError: a file cannot be read, or not be used.
    """
    if given.get("proxy_credentials_file"):
        given["proxy_credentials"] = _credentials(path, given, origins)
    if given.get("ca_file"):
        check_ca_file(path, str(given["ca_file"]), origins["ca_file"])
    given["curve"] = read_curve(path, given, origins, warnings)
    given["client_certificate"] = read_client_certificate(path, given, origins)
    given["file_rules"] = {
        list_key: read_rules(cast(tuple[str, ...], given[key]), path, key, origins[key])
        for key, list_key in RULE_FILES.items()
        if given.get(key)
    }


def _check_no_proxy(path: str, config: Config) -> None:
    try:
        RuleList("no_proxy", config.no_proxy, denies=False)
    except PolicyError as error:
        reason = str(error).removeprefix("no_proxy: ")
        raise ConfigError(
            path, reason, line=config.origins.get("no_proxy", 0), key="no_proxy"
        ) from None


def _credentials(path: str, given: Mapping[str, object], origins: Mapping[str, int]) -> str:
    """The first line of the file that ``proxy_credentials_file`` names."""
    key = "proxy_credentials_file"
    file = str(given[key])
    try:
        text = Path(file).read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(
            path, f"cannot read {file}: {reason}", line=origins[key], key=key
        ) from None
    if ":" not in text or not text.isprintable():
        raise ConfigError(path, f"{file} is not one line USER:PASSWORD", line=origins[key], key=key)
    return text
