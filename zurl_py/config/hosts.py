"""Sections for hosts: ``[host api.example.com]`` sets values for connections to that host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..client_certificate import ClientCertificate
from ..errors import Error
from ..policy import PolicyError
from ..policy.addresses import parse_address
from ..policy.rules import Rule, Subject, parse_rule

__all__ = ["BadHost", "HostSection", "choose_section", "host_pattern"]


class BadHost(Error, ValueError):
    """The name of a section names no host; the text says why."""


@dataclass(frozen=True, slots=True)
class HostSection:
    """Values for some hosts, in place of those in ``[General]``.

    Attributes:
        host: as written: a name, an address, a pattern or a range, with a port or without.
        line: number of the line of its first key.
        values: the values that are given, by key.
        origins: the number of the line of each key.
        client_certificate: certificate and key from its files; None for no certificate.
    """

    host: str
    line: int
    values: Mapping[str, object] = field(default_factory=dict)
    origins: Mapping[str, int] = field(default_factory=dict)
    client_certificate: ClientCertificate | None = field(default=None, repr=False)
    rule: Rule = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rule", host_pattern(self.host))

    @property
    def rank(self) -> tuple[int, int]:
        """How specific it is; the smallest value is the most specific."""
        rule = self.rule
        if rule.pattern is not None:
            return 2, -len(rule.pattern[0]) - len(rule.pattern[1])
        if rule.range is not None and rule.range[2]:
            version, _, free_bits = rule.range
            return 3, free_bits - (32 if version == 4 else 128)
        return (0 if rule.names_port else 1), 0

    def matches(self, host: str, port: int, scheme: str) -> bool:
        """Whether it is for the host of a URI; a range matches only addresses in URIs."""
        subject = Subject(host, parse_address(host))
        return self.rule.fits(port, scheme) and self.rule.matches(subject, None, None, False)


def host_pattern(text: str) -> Rule:
    """The hosts that the name of a section stands for, as a rule.

    Raises:
        BadHost: the name stands for none.
    """
    try:
        rule = parse_rule(text)
    except PolicyError as error:
        raise BadHost(str(error)) from None
    if rule.bound or rule.names_scheme or rule.set_name is not None or rule.never:
        raise BadHost(
            f"{text!r} is not a host, an address, a pattern with one * or a range, with or without "
            "a port after it"
        )
    return rule


def choose_section(
    sections: Iterable[HostSection], host: str, port: int, scheme: str
) -> HostSection | None:
    """The section for a host: the most specific one, and of equal ones the first."""
    fitting = (section for section in sections if section.matches(host, port, scheme))
    return min(fitting, key=lambda section: section.rank, default=None)
