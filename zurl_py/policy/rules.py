"""One rule of ``allow`` or ``deny``: its syntax, and what it matches.

    [SCHEME://] WHO [:PORT[-PORT]] [-> ADDRESSES]

``WHO`` is a name, a pattern with one ``*``, an address, a range of addresses or a set such as
``@private``. With ``-> ADDRESSES`` (an address, a range or a set) the rule applies only to
connections to these addresses, for requests to that name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from ..errors import Error
from ..hostname import BadHostname, to_ascii
from .addresses import PRIVATE, PUBLIC, SET_NAMES, Address, parse_address, set_holds_range, show4
from .names import NAME_SETS

__all__ = ["PolicyError", "Rule", "Subject", "parse_rule"]

# https:// in a rule means "with TLS" and http:// "without", whether HTTP or WebSocket.
_SCHEMES: Final = {
    "http": frozenset(("http", "ws")),
    "https": frozenset(("https", "wss")),
    "ws": frozenset(("ws",)),
    "wss": frozenset(("wss",)),
}
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.ASCII)
_BRACKETED = re.compile(r"\[([0-9a-f:.]+(?:/\d+)?)\](?::(.*))?", re.ASCII)
_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)
_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*", re.ASCII)
_PATTERN = re.compile(r"[a-z0-9_.:*-]+", re.ASCII)
# fe80:* is a pattern for addresses; evil.example:* is a host, at any port.
_ADDRESS_PATTERN = re.compile(r"[0-9a-f]{1,4}:\*", re.ASCII)
_NUMERIC = re.compile(r"(?:\d+|0x[0-9a-f]*)", re.ASCII)


class PolicyError(Error, ValueError):
    """Rules that cannot be used; the text says which, and why.

    Attributes:
        key: the key of the configuration, or "".
    """

    def __init__(self, text: str, key: str = "") -> None:
        super().__init__(text)
        self.key = key


class Subject:
    """A host to match with rules.

    Attributes:
        text: in lower case, an IPv6 address without brackets.
        address: the address that ``text`` is; None for a name.
    """

    __slots__ = ("address", "text")

    def __init__(self, text: str, address: Address | None) -> None:
        self.text = text
        self.address = address

    def __repr__(self) -> str:
        return f"<Subject {self.text} {self.address!r}>"


Matcher = Callable[[Subject, bool], bool]  # the second argument: the rule denies


class Rule:
    """One rule.

    Attributes:
        text: as the operator wrote it.
        exact: the name, if the rule is one.
        pattern: the texts before and after the ``*``, if the rule is a pattern.
        suffix: the text after the ``*``, if the rule is a pattern such as ``*.example.com``.
        set_name: the set, if the rule is one.
        range: version, first address and number of bits after the prefix, if it is a range.
        bound: it has ``-> ADDRESSES``.
        never: it is a pattern with a second ``*``, which stands for itself, and so matches no host.
    """

    __slots__ = (
        "_ports",
        "_schemes",
        "_to",
        "_who",
        "bound",
        "exact",
        "never",
        "pattern",
        "range",
        "set_name",
        "suffix",
        "text",
    )

    def __init__(self, text: str, who: str, ports: str, scheme: str, to: str) -> None:
        self.text = text
        self.exact: str | None = None
        self.pattern: tuple[str, str] | None = None
        self.suffix: str | None = None
        self.set_name: str | None = None
        self.range: tuple[int, int, int] | None = None
        self.never = False
        self._schemes = _SCHEMES[scheme] if scheme else None
        self._ports = _parse_ports(text, ports) if ports else None
        self._who = self._parse_who(who)
        self._to = _parse_addresses(to) if to else None
        if to and self._to is None:
            raise PolicyError(f"{text!r}: {to!r} is not an address, a range or a set")
        self.bound = self._to is not None

    def __repr__(self) -> str:
        return f"<Rule {self.text}>"

    @property
    def names_port(self) -> bool:
        """Whether the rule has a port."""
        return self._ports is not None

    @property
    def ports(self) -> tuple[int, int] | None:
        """The first and the last port of the rule; None for all."""
        return self._ports

    @property
    def names_scheme(self) -> bool:
        """Whether the rule has a scheme."""
        return self._schemes is not None

    def fits(self, port: int, scheme: str) -> bool:
        """Whether the rule applies to this port and scheme."""
        ports, schemes = self._ports, self._schemes
        return (ports is None or ports[0] <= port <= ports[1]) and (
            schemes is None or scheme in schemes
        )

    def matches(self, who: Subject, host: Subject | None, to: Subject | None, denies: bool) -> bool:
        """Whether it matches.

        Args:
            who: the name or address to decide about.
            host: the request's host, a name or an address; None if that is not known.
            to: the address to connect to; None if that is not known yet.
            denies: the rule denies, and so looks at embedded IPv4 addresses as well.
        """
        if self._to is None:
            return self._who(who, denies)
        if host is not None and not self._who(host, denies):
            return False
        if host is None or to is None:
            # While the address is not known, an allowing rule matches the name, and a denying one
            # does not. Where the name is not known, it is the other way around.
            return denies == (host is None) and (to is None or self._to(to, denies))
        return self._to(to, denies)

    @property
    def names_hosts(self) -> bool:
        """Whether the rule matches names."""
        named = self.exact is not None or (self.pattern is not None and not self.never)
        return named and not self.bound

    def covers(self, other: Rule) -> bool:
        """Whether it matches everything that another rule matches; False in doubt."""
        if self.bound or self.never:
            return False
        ours, theirs = self._ports, other._ports
        if ours and not (theirs and ours[0] <= theirs[0] and theirs[1] <= ours[1]):
            return False
        if self._schemes and not (other._schemes and other._schemes <= self._schemes):
            return False
        return self._covers_who(other)

    def _covers_who(self, other: Rule) -> bool:
        if self.pattern is not None:
            return _pattern_covers(*self.pattern, other)
        if self.range is not None:
            return other.range is not None and _range_covers(self.range, other.range)
        if self.set_name is not None:
            if other.range is not None:
                return set_holds_range(self.set_name, *other.range)
            if other.set_name is not None:
                return self.set_name in (other.set_name, PRIVATE) and other.set_name != PUBLIC
            named = NAME_SETS.get(self.set_name)
            return other.exact is not None and named is not None and named(other.exact)
        return self.exact is not None and self.exact == other.exact

    def _parse_who(self, who: str) -> Matcher:
        network = _network(who)
        if network is not None:
            free_bits = network.max_prefixlen - network.prefixlen
            self.range = (network.version, int(network[0]), free_bits)
            return _range(network)
        if who[:1] == "@":
            self.set_name = who[1:]
            return _set(self.set_name)
        if "*" in who:
            prefix, _, suffix = _ascii_pattern(self.text, who).partition("*")
            self.pattern = prefix, suffix
            self.never = "*" in suffix
            if not prefix and suffix[:1] == ".":
                self.suffix = suffix
            return _pattern(prefix, suffix)
        name = _normal_name(self.text, who)
        self.exact = name
        return lambda subject, denies: subject.text == name


def parse_rule(text: str) -> Rule:
    """A rule from its text.

    Raises:
        PolicyError: the text is no rule. Such text must not be ignored: it would leave open what
            the operator meant to close.
    """
    who, arrow, to = (part.strip() for part in text.lower().partition("->"))
    if arrow and not to:
        raise PolicyError(f"{text!r}: no address after ->")
    scheme = ports = ""
    found = _SCHEME.fullmatch(who)
    if found:
        scheme, who = found.groups()
        if scheme not in _SCHEMES:
            raise PolicyError(f"{text!r}: the scheme is not one of {', '.join(_SCHEMES)}")
    bracketed = _BRACKETED.fullmatch(who)
    if bracketed:
        who, ports = bracketed.group(1), bracketed.group(2) or ""
        if ":" not in who:
            raise PolicyError(f"{text!r}: brackets are for IPv6 addresses")
    elif who.count(":") == 1 and not _ADDRESS_PATTERN.fullmatch(who):
        who, _, ports = who.partition(":")
        if not ports:
            raise PolicyError(f"{text!r}: no port after the colon")
    if ports == "*":
        ports = ""  # any port, as if there were none
    if "/" in who and _network_or_none(who) is None:
        raise PolicyError(f"{text!r}: a rule is about hosts and ports; write no path and no slash")
    if not who:
        raise PolicyError(f"{text!r} is not a host, an address, a range or a set")
    return Rule(text, who, ports, scheme, to)


def _network_or_none(who: str) -> IPv4Network | IPv6Network | None:
    try:
        return _network(who)
    except PolicyError:
        # The text begins like an address: the error about the range is the helpful one.
        if who[:1].isdigit() or ":" in who or who[:1] == "@":
            raise
        return None


def _parse_ports(text: str, ports: str) -> tuple[int, int]:
    found = _PORTS.fullmatch(ports)
    if found:
        first, last = int(found.group(1)), int(found.group(2) or found.group(1))
        if 0 < first <= last <= 65535:
            return first, last
    raise PolicyError(f"{text!r}: {ports!r} is not a port, or two with a dash between them")


def _parse_addresses(who: str) -> Matcher | None:
    """A matcher for a set, a range or an address; None for anything else."""
    if who[:1] == "@":
        return _set(who[1:])
    network = _network(who)
    return _range(network) if network is not None else None


def _set(name: str) -> Matcher:
    if name not in SET_NAMES:
        known = ", ".join(f"@{name}" for name in sorted(SET_NAMES))
        raise PolicyError(f"unknown set @{name}; known are {known}")
    named = NAME_SETS.get(name)

    def matches(subject: Subject, denies: bool) -> bool:
        address = subject.address
        if address is not None:
            return name in (address.all_sets if denies else address.sets)
        return named is not None and named(subject.text)

    return matches


def _network(who: str) -> IPv4Network | IPv6Network | None:
    """A range, or an address as a range of one; None for anything else.

    ``127/8``, ``172.16/12`` and ``10.0.0.0/255.0.0.0`` are ranges as well.
    """
    if who[:1] == "[" and who[-1:] == "]":
        who = who[1:-1]
    address, slash, width = who.partition("/")
    if not slash:
        found = parse_address(who)
        return ip_network(found.text) if found is not None else None
    if who[:1] == "@":
        raise PolicyError(f"{who!r} is not a set")
    if ":" not in address:
        address += ".0" * (3 - address.count("."))
    try:
        return ip_network(f"{address}/{width}", strict=False)
    except ValueError:
        raise PolicyError(f"{who!r} is not a range of addresses") from None


def _range(network: IPv4Network | IPv6Network) -> Matcher:
    version, low, high = network.version, int(network[0]), int(network[-1])

    def matches(subject: Subject, denies: bool) -> bool:
        address = subject.address
        if address is None:
            return False
        if address.version == version:
            return low <= address.number <= high
        return denies and any(low <= number <= high for number in address.embedded)

    return matches


def _pattern(prefix: str, suffix: str) -> Matcher:
    length = len(prefix) + len(suffix)

    def fits(text: str) -> bool:
        return len(text) >= length and text.startswith(prefix) and text.endswith(suffix)

    def matches(subject: Subject, denies: bool) -> bool:
        if fits(subject.text):
            return True
        address = subject.address
        if address is None:
            return False
        # The address may be spelled otherwise than by inet_ntop.
        return fits(address.text) or (
            denies and any(fits(show4(number)) for number in address.embedded)
        )

    return matches


def _pattern_covers(prefix: str, suffix: str, other: Rule) -> bool:
    if not prefix and not suffix:
        return True
    if other.exact is not None:
        fits = len(other.exact) >= len(prefix) + len(suffix)
        return fits and other.exact.startswith(prefix) and other.exact.endswith(suffix)
    if other.pattern is not None and not other.never:
        return other.pattern[0].startswith(prefix) and other.pattern[1].endswith(suffix)
    return False


def _range_covers(ours: tuple[int, int, int], theirs: tuple[int, int, int]) -> bool:
    version, low, free_bits = ours
    return (
        version == theirs[0]
        and free_bits >= theirs[2]
        and low >> free_bits == (theirs[1] >> free_bits)
    )


def _ascii_pattern(text: str, who: str) -> str:
    """A pattern whose complete labels are in the form of IDNA."""
    labels = who.split(".")
    if not who.isascii():
        labels = [label if "*" in label else _to_ascii(text, label) for label in labels]
    pattern = ".".join(labels)
    if len(pattern) > 2:
        pattern = pattern.removesuffix(".")  # hosts are given without it
    if not _PATTERN.fullmatch(pattern) or pattern == "*.":
        raise PolicyError(f"{text!r} is not a pattern for host names")
    return pattern


def _to_ascii(text: str, name: str) -> str:
    try:
        return to_ascii(name)
    except BadHostname as error:
        raise PolicyError(f"{text!r} is not a host name: {error}") from None


def _normal_name(text: str, name: str) -> str:
    """A host name in the form of `zurl_py.url`: IDNA, without a dot at the end."""
    name = name.removesuffix(".")
    if not name.isascii():
        name = _to_ascii(text, name)
    if not _NAME.fullmatch(name):
        raise PolicyError(f"{text!r} is not a host, an address, a range or a set")
    if _NUMERIC.fullmatch(name.rpartition(".")[2]):
        raise PolicyError(f"{text!r} is not an address: write all four numbers, in decimal")
    return name
