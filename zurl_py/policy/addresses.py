"""Addresses for rules: as numbers, with the sets they belong to and the IPv4 addresses inside them.

The sets are those that a rule can name: ``@private``, ``@loopback``, ``@metadata`` and so on.
``table.py`` has them from the IANA registries. An IPv4 address is public unless it is in a special
range; an IPv6 address is public only if it is global unicast and in no special range.

Python's ``ipaddress.is_global`` cannot be used: it calls many special addresses global, such as
224.0.0.1, 2002::/16 and 64:ff9b:1::/48, and differs between patch releases.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from ipaddress import ip_network
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Final

from .table import GLOBAL_IPV6, IPV4, IPV6, Row

__all__ = [
    "OWN",
    "PRIVATE",
    "PUBLIC",
    "SET_NAMES",
    "Address",
    "Nat64",
    "describe",
    "parse_address",
    "set_holds_range",
    "show",
    "show4",
]

# Names of sets, without the @ that they have in rules.
PRIVATE: Final = "private"
PUBLIC: Final = "public"
OWN: Final = "own"
_METADATA: Final = "metadata"

SET_NAMES: Final = frozenset({PRIVATE, PUBLIC, OWN} | {row[1] for row in (*IPV4, *IPV6)})
"""All sets that a rule can name."""

_V4_MAX: Final = 0xFFFFFFFF
# The interface identifiers of ISATAP (RFC 5214), before the IPv4 address.
_ISATAP: Final = frozenset((0x00005EFE, 0x02005EFE))


class _Table:
    """Ranges, split into segments that do not overlap: start, sets and name of each."""

    def __init__(self, rows: Iterable[Row], public: Iterable[str]) -> None:
        spans = []
        for text, set_name, name in rows:
            network = ip_network(text)
            spans.append((int(network[0]), int(network[-1]) + 1, set_name, f"{text} {name}"))
        spans.sort(key=lambda span: span[0] - span[1])  # widest first
        unicast = [ip_network(text) for text in public]
        edges = {edge for start, end, *_ in spans for edge in (start, end)}
        edges |= {edge for net in unicast for edge in (int(net[0]), int(net[-1]) + 1)}
        self._starts = sorted({0} | edges)
        self._sets: list[frozenset[str]] = []
        self._names: list[str] = []
        for edge in self._starts:
            inside = [span for span in spans if span[0] <= edge < span[1]]
            of_unicast = any(int(net[0]) <= edge <= int(net[-1]) for net in unicast)
            sets = {PRIVATE if inside or not of_unicast else PUBLIC}
            # The narrowest range says what an address is for; "metadata" is added to that.
            names = [span[2] for span in inside]
            sets.update(name for name in names if name == _METADATA)
            sets.update([name for name in names if name != _METADATA][-1:])
            self._sets.append(frozenset(sets))
            self._names.append(inside[-1][3] if inside else "")

    def sets_of(self, number: int) -> frozenset[str]:
        return self._sets[bisect_right(self._starts, number) - 1]

    def sets_in(self, low: int, high: int) -> list[frozenset[str]]:
        """The sets of each segment that overlaps a range."""
        first, last = bisect_right(self._starts, low) - 1, bisect_right(self._starts, high)
        return self._sets[first:last]

    def name_of(self, number: int) -> str:
        return self._names[bisect_right(self._starts, number) - 1]


_TABLE4 = _Table(IPV4, ("0.0.0.0/0",))
_TABLE6 = _Table(IPV6, GLOBAL_IPV6)


class Address:
    """One address.

    Attributes:
        version: 4 or 6.
        number: the address as a number.
        text: in the form of ``inet_ntop``.
        embedded: the IPv4 addresses that an IPv6 address may stand for, as numbers.
        sets: the sets it belongs to by itself, for rules that allow.
        all_sets: these and the sets of its embedded addresses, for rules that deny.
    """

    __slots__ = ("all_sets", "embedded", "number", "sets", "text", "version")

    def __init__(self, version: int, number: int, text: str, embedded: tuple[int, ...]) -> None:
        self.version = version
        self.number = number
        self.text = text
        self.embedded = embedded
        table = _TABLE4 if version == 4 else _TABLE6
        sets = table.sets_of(number)
        if embedded:
            inner = frozenset().union(*map(_TABLE4.sets_of, embedded))
            if PRIVATE in inner and PUBLIC in sets:
                sets = sets - {PUBLIC} | {PRIVATE}
            self.all_sets = sets | (inner - {PUBLIC} if PRIVATE in sets else inner)
        else:
            self.all_sets = sets
        self.sets = sets

    def __repr__(self) -> str:
        return f"<Address {self.text} {','.join(sorted(self.all_sets))}>"

    def join(self, names: set[str], leave: str) -> None:
        """Add it to more sets, and remove it from one."""
        self.all_sets = self.all_sets - {leave} | names
        self.sets = self.sets - {leave} | names


class Nat64:
    """A prefix under which a network translates to IPv4 (RFC 6052).

    Attributes:
        text: as the operator wrote it.
    """

    WELL_KNOWN: Final = "64:ff9b::/96"

    def __init__(self, text: str) -> None:
        network = ip_network(text)  # ValueError: host bits set, no network at all
        if network.version != 6 or network.prefixlen not in (32, 40, 48, 56, 64, 96):
            raise ValueError("a NAT64 prefix has a length of 32, 40, 48, 56, 64 or 96")
        self.text = text
        self.length = network.prefixlen
        self._high = int(network[0]) >> (128 - self.length)

    def __repr__(self) -> str:
        return f"<Nat64 {self.text}>"

    def embedded_in(self, number: int) -> int | None:
        """The IPv4 address in an IPv6 address with this prefix; None if it has another."""
        if number >> (128 - self.length) != self._high:
            return None
        return nat64_decode(number, self.length)


def nat64_decode(number: int, length: int) -> int:
    """The IPv4 address after a prefix of ``length`` bits (RFC 6052 section 2.2).

    Bits 64 to 71 are never part of it.
    """
    if length == 96:
        return number & _V4_MAX
    without_them = number >> 64 << 56 | number & (1 << 56) - 1
    return without_them >> (88 - length) & _V4_MAX


def parse_address(text: str, nat64: Iterable[Nat64] = ()) -> Address | None:
    """An address from its text; None for other text, such as a host name.

    Args:
        text: in any form that ``inet_pton`` accepts.
        nat64: prefixes under which an IPv6 address stands for the IPv4 address in it.
    """
    try:
        if ":" not in text:
            packed = inet_pton(AF_INET, text)
            return Address(4, int.from_bytes(packed, "big"), text, ())
        packed = inet_pton(AF_INET6, text)
    except (OSError, ValueError):
        return None
    number = int.from_bytes(packed, "big")
    for prefix in nat64:
        inner = prefix.embedded_in(number)
        if inner is not None:
            return Address(4, inner, show4(inner), ())
    return Address(6, number, inet_ntop(AF_INET6, packed), _embedded(number))


def _embedded(number: int) -> tuple[int, ...]:
    """The IPv4 addresses that an IPv6 address may be a form of."""
    high = number >> 32
    low = number & _V4_MAX
    if number <= 1:  # :: and ::1 embed nothing
        return ()
    if high in (0, 0xFFFF, 0xFFFF0000, 0x64FF9B << 64):
        # Compatible, mapped, translated, NAT64's well-known prefix.
        return (low,)
    top = number >> 112
    if top == 0x2002:  # 6to4
        return (number >> 80 & _V4_MAX,)
    if number >> 96 == 0x20010000:  # Teredo: server, and client with its bits inverted
        return (number >> 64 & _V4_MAX, low ^ _V4_MAX)
    if number >> 80 == 0x64FF9B0001:  # local NAT64: each network chooses the length of its prefix
        return tuple({nat64_decode(number, length) for length in (48, 56, 64, 96)})
    if number >> 32 & _V4_MAX in _ISATAP:
        return (low,)
    return ()


def show4(number: int) -> str:
    """An IPv4 address as text."""
    return show(4, number)


def show(version: int, number: int) -> str:
    """An address as text."""
    if version == 4:
        return inet_ntop(AF_INET, number.to_bytes(4, "big"))
    return inet_ntop(AF_INET6, number.to_bytes(16, "big"))


def set_holds_range(name: str, version: int, low: int, free_bits: int) -> bool:
    """Whether all addresses of a range belong to a set, each by itself.

    Args:
        low: the first address.
        free_bits: number of bits after the prefix.
    """
    table = _TABLE4 if version == 4 else _TABLE6
    return all(name in sets for sets in table.sets_in(low, low + (1 << free_bits) - 1))


def describe(address: Address) -> str:
    """What an address is for, by the narrowest special range that holds it; "" if none does."""
    if address.version == 4:
        return _TABLE4.name_of(address.number)
    name = _TABLE6.name_of(address.number)
    inner = [
        f"{show4(number)} in {_TABLE4.name_of(number)}"
        for number in address.embedded
        if _TABLE4.name_of(number)
    ]
    return ", ".join(part for part in (name, *inner) if part)
