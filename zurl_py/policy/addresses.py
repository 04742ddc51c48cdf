"""Sets of addresses that a rule can name: ``@private``, ``@loopback``, ``@metadata``, ...

The ranges are those of the IANA special-purpose registries (IPv4: RFC 6890 and successors, IPv6
likewise), multicast, and the addresses at which cloud platforms serve metadata. For IPv6 it is the
other way around: only 2000::/3 is handed out as global unicast, so all else is private.

Python's ``ipaddress.is_global`` does not serve: it calls many of these global, 224.0.0.1, 2002::/16
and 64:ff9b:1::/48 among them, and differs between patch releases.
"""

from __future__ import annotations

import socket
from bisect import bisect_right
from ipaddress import ip_network
from typing import Final

__all__ = ["SET_NAMES", "sets_of"]

_PRIVATE: Final = "private"

# Range, and the sets that it belongs to beside @private.
_IPV4: Final = (
    ("0.0.0.0/8", "this-network"),
    ("10.0.0.0/8", "rfc1918"),
    ("100.64.0.0/10", "shared"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("172.16.0.0/12", "rfc1918"),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "documentation"),
    ("192.31.196.0/24", "reserved"),
    ("192.52.193.0/24", "reserved"),
    ("192.88.99.0/24", "reserved"),
    ("192.168.0.0/16", "rfc1918"),
    ("192.175.48.0/24", "reserved"),
    ("198.18.0.0/15", "benchmarking"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("169.254.169.254/32", "metadata"),
    ("169.254.170.2/32", "metadata"),
    ("169.254.170.23/32", "metadata"),
    ("169.254.42.42/32", "metadata"),
    ("169.254.0.23/32", "metadata"),
    ("168.63.129.16/32", "metadata"),  # Azure's, among public addresses
    ("100.100.100.200/32", "metadata"),
    ("192.0.0.192/32", "metadata"),
)
_IPV6_OUTSIDE: Final = (  # outside of 2000::/3, so private in any case
    ("::/128", "this-network"),
    ("::1/128", "loopback"),
    ("fc00::/7", "unique-local"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "link-local"),
    ("ff00::/8", "multicast"),
    ("fd00:ec2::/32", "metadata"),
    ("fd20:ce::254/128", "metadata"),
    ("fd00:100::100:200/128", "metadata"),
    ("fd00:c1::a9fe:a9fe/128", "metadata"),
    ("fd00:42::42/128", "metadata"),
    ("fd00:a9fe:a9fe::1/128", "metadata"),
)
_IPV6_INSIDE: Final = (
    ("2001::/23", "reserved"),  # Teredo, benchmarking, AMT, ORCHID, DRIP, ...
    ("2001:db8::/32", "documentation"),
    ("2002::/16", "reserved"),  # 6to4
    ("2620:4f:8000::/48", "reserved"),
    ("3fff::/20", "documentation"),
)
_GLOBAL_IPV6: Final = ("2000::/3",)

SET_NAMES: Final = frozenset(
    {_PRIVATE} | {name for table in (_IPV4, _IPV6_OUTSIDE, _IPV6_INSIDE) for _, name in table}
)
_NOTHING: Final[frozenset[str]] = frozenset()


class _Table:
    """Ranges, flattened to segments: the start of each, and the sets of all addresses in it."""

    def __init__(self, ranges: list[tuple[str, frozenset[str]]]) -> None:
        spans = []
        for text, sets in ranges:
            network = ip_network(text)
            spans.append((int(network[0]), int(network[-1]) + 1, sets))
        self._starts = sorted({0} | {edge for start, end, _ in spans for edge in (start, end)})
        self._sets = [
            frozenset().union(*(sets for start, end, sets in spans if start <= edge < end))
            for edge in self._starts
        ]

    def sets_of(self, number: int) -> frozenset[str]:
        return self._sets[bisect_right(self._starts, number) - 1]


_TABLE4 = _Table([(text, frozenset({_PRIVATE, name})) for text, name in _IPV4])
_OUTSIDE6 = [ip_network("::/0")]
for _global in _GLOBAL_IPV6:
    _OUTSIDE6 = [
        part
        for network in _OUTSIDE6
        for part in network.address_exclude(ip_network(_global))  # type: ignore[arg-type]
    ]
_TABLE6 = _Table(
    [(str(network), frozenset({_PRIVATE})) for network in _OUTSIDE6]
    + [(text, frozenset({_PRIVATE, name})) for text, name in (*_IPV6_OUTSIDE, *_IPV6_INSIDE)]
)


def sets_of(address: str) -> frozenset[str]:
    """The sets that an address belongs to, without the ``@``; empty if it is globally reachable.

    Args:
        address: in any form that ``inet_pton`` takes; a name belongs to no set.
    """
    try:
        if ":" not in address:
            return _TABLE4.sets_of(int.from_bytes(socket.inet_pton(socket.AF_INET, address), "big"))
        packed = socket.inet_pton(socket.AF_INET6, address)
    except (OSError, ValueError):
        return _NOTHING
    sets = _TABLE6.sets_of(int.from_bytes(packed, "big"))
    if not sets and packed[8:12] in (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe"):
        # ISATAP (RFC 5214): the last four bytes are an IPv4 address, in any network.
        return _TABLE4.sets_of(int.from_bytes(packed[12:], "big"))
    return sets
