"""Reads ``[host NAME]`` sections."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..ini import Entry
from .errors import ConfigError, hint_at_key, refuse_comment
from .hosts import BadHost, HostSection, host_pattern
from .model import HOST_KEYS, KEYS
from .tls_files import check_ca_file, read_client_certificate
from .values import Invalid

__all__ = ["SectionReader", "host_of"]


def host_of(section: str) -> str | None:
    """The host that a section is for; None if it is another kind of section."""
    word, _, host = section.partition(" ")
    return host.strip().lower() if word.lower() == "host" and host.strip() else None


@dataclass
class _Draft:
    line: int
    values: dict[str, object] = field(default_factory=dict)
    origins: dict[str, int] = field(default_factory=dict)


class SectionReader:
    """Collects the entries of all sections for hosts.

    Args:
        path: of the configuration file.

    Attributes:
        warnings: faults in them that do not prevent the start.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.warnings: list[str] = []
        # By host and heading: of two sections for one host the first counts.
        self._drafts: dict[tuple[str, int], _Draft] = {}

    def add(self, host: str, entry: Entry) -> None:
        """Add one line of a section.

        Raises:
            ConfigError: the section names no host, the key cannot be set for a host, or the value
                is not allowed.
        """
        path, key = self._path, entry.key
        which = (host, entry.heading)
        if which not in self._drafts:
            try:
                host_pattern(host)
            except BadHost as problem:
                raise ConfigError(path, f"[host {host}]: {problem}", line=entry.line) from None
            self._drafts[which] = _Draft(entry.line)
        draft = self._drafts[which]
        convert = HOST_KEYS.get(key)
        if convert is None:
            self._refuse_or_warn(host, entry)
            return
        if key in draft.origins:
            self.warnings.append(
                f"{path}:{entry.line}: {key} is given again in [host {host}]; this one counts"
            )
        refuse_comment(path, entry)
        try:
            draft.values[key] = convert(entry)
        except Invalid as allowed:
            raise ConfigError(
                path, str(allowed), line=entry.line, key=key, found=entry.text
            ) from None
        draft.origins[key] = entry.line

    def _refuse_or_warn(self, host: str, entry: Entry) -> None:
        allowed = ", ".join(sorted(HOST_KEYS))
        if entry.key in KEYS:
            raise ConfigError(
                self._path,
                f"it cannot be set by host; allowed in [host {host}]: {allowed}",
                line=entry.line,
                key=entry.key,
            )
        hint = hint_at_key(entry.key, HOST_KEYS) or f"; known are {allowed}"
        self.warnings.append(
            f"{self._path}:{entry.line}: unknown key {entry.key!r} in [host {host}], ignored{hint}"
        )

    def sections(self, general: dict[str, object]) -> tuple[HostSection, ...]:
        """All sections, with their files read.

        Args:
            general: values of ``[General]``: of a certificate and its key, one may be there.

        Raises:
            ConfigError: a file cannot be used.
        """
        made = []
        for (host, _), draft in self._drafts.items():
            if draft.values.get("ca_file"):
                check_ca_file(self._path, str(draft.values["ca_file"]), draft.origins["ca_file"])
            files = {"client_cert_file", "client_key_file"}
            certificate = None
            if files & set(draft.values):
                # One of the two may come from [General]: then the section's does not match it.
                lines = {**dict.fromkeys(files, draft.line), **draft.origins}
                certificate = read_client_certificate(
                    self._path, {**general, **draft.values}, lines
                )
            made.append(HostSection(host, draft.line, draft.values, draft.origins, certificate))
        self._warn_of_equals(made)
        return tuple(made)

    def _warn_of_equals(self, sections: list[HostSection]) -> None:
        seen: dict[object, HostSection] = {}
        for section in sections:
            rule = section.rule
            who = (rule.exact, rule.range, rule.pattern, rule.ports)
            first = seen.setdefault(who, section)
            if first is not section:
                self.warnings.append(
                    f"{self._path}:{section.line}: [host {section.host}] has no effect: "
                    f"[host {first.host}] in line {first.line} is for the same hosts"
                )
