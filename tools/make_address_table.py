"""Make zurl_py/policy/table.py from the registry data in tools/registries.

    python tools/make_address_table.py            # write the table
    python tools/make_address_table.py --check    # only say whether it is up to date

A range of the IANA registries that has no set in `SETS` stops the script: somebody has to decide.
Every range of the special-purpose registries counts as private, those that IANA calls globally
reachable too: they are anycast services (AS112, AMT, PCP, TURN) and identifiers, no web servers.
"""

import csv
import re
import sys
from ipaddress import ip_network
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
REGISTRIES = TOOLS / "registries"
TABLE = TOOLS.parent / "zurl_py" / "policy" / "table.py"

# The set of each range, beside @private.
SETS = {
    "0.0.0.0/8": "this-network",
    "0.0.0.0/32": "this-network",
    "10.0.0.0/8": "rfc1918",
    "100.64.0.0/10": "shared",
    "127.0.0.0/8": "loopback",
    "169.254.0.0/16": "link-local",
    "172.16.0.0/12": "rfc1918",
    "192.0.0.0/24": "protocol",
    "192.0.0.0/29": "protocol",
    "192.0.0.8/32": "protocol",
    "192.0.0.9/32": "protocol",
    "192.0.0.10/32": "protocol",
    "192.0.0.170/32": "protocol",
    "192.0.0.171/32": "protocol",
    "192.0.2.0/24": "documentation",
    "192.31.196.0/24": "protocol",
    "192.52.193.0/24": "protocol",
    "192.88.99.0/24": "transition",
    "192.88.99.2/32": "transition",
    "192.168.0.0/16": "rfc1918",
    "192.175.48.0/24": "protocol",
    "198.18.0.0/15": "benchmarking",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "240.0.0.0/4": "reserved",
    "255.255.255.255/32": "reserved",
    "::/128": "this-network",
    "::1/128": "loopback",
    "::ffff:0:0/96": "transition",
    "64:ff9b::/96": "transition",
    "64:ff9b:1::/48": "transition",
    "100::/64": "reserved",
    "100:0:0:1::/64": "reserved",
    "2001::/23": "protocol",
    "2001::/32": "transition",
    "2001:1::1/128": "protocol",
    "2001:1::2/128": "protocol",
    "2001:1::3/128": "protocol",
    "2001:2::/48": "benchmarking",
    "2001:3::/32": "protocol",
    "2001:4:112::/48": "protocol",
    "2001:10::/28": "protocol",
    "2001:20::/28": "protocol",
    "2001:30::/28": "protocol",
    "2001:db8::/32": "documentation",
    "2002::/16": "transition",
    "2620:4f:8000::/48": "protocol",
    "3fff::/20": "documentation",
    "5f00::/16": "reserved",
    "fc00::/7": "unique-local",
    "fe80::/10": "link-local",
}

HEADER = '''\
"""Ranges of addresses and what they are for. Made by tools/make_address_table.py; do not edit.

Each row: range, set (``reserved`` for ``@reserved``), name. All of them are in ``@private`` too.
"""

from __future__ import annotations

from typing import Final

__all__ = ["GLOBAL_IPV6", "IPV4", "IPV6"]

Row = tuple[str, str, str]
'''


def rows(name: str) -> list[dict[str, str]]:
    """The rows of a registry file, by column."""
    with open(REGISTRIES / name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def special(name: str) -> list[tuple[str, str, str]]:
    """Range, set and name for each block of a special-purpose registry."""
    found = []
    for row in rows(name):
        label = f"{row['Name']} {references(row['RFC'])}".replace('"', "")
        for block in re.findall(r"[0-9A-Fa-f:.]+/\d+", row["Address Block"]):
            if block not in SETS:
                sys.exit(f"{name}: {block} ({row['Name']}) has no set: add it to SETS")
            found.append((block, SETS[block], label))
    return found


def references(cell: str) -> str:
    """``[RFC8190][RFC919], Section 7`` as ``(RFC 8190, RFC 919)``."""
    numbers = re.findall(r"\[RFC(\d+)\]", cell)
    return "(" + ", ".join(f"RFC {number}" for number in numbers) + ")"


def additions(version: int) -> list[tuple[str, str, str]]:
    """Our own rows, for one version of IP."""
    found = []
    for row in rows("additions.csv"):
        block = row["Address Block"]
        if ip_network(block).version == version:
            numbers = references(row["Reference"])
            found.append((block, row["Set"], f"{row['Name']} {numbers}".removesuffix(" ()")))
    return found


def outside_global() -> tuple[list[str], list[tuple[str, str, str]]]:
    """The prefixes handed out as global unicast, and all others as rows."""
    unicast, others = [], []
    for row in rows("iana-ipv6-address-space.csv"):
        block = str(ip_network(row["IPv6 Prefix"]))
        if row["Allocation"] == "Global Unicast":
            unicast.append(block)
        else:
            others.append(
                (block, "reserved", f"{row['Allocation']} {references(row['Reference'])}")
            )
    return unicast, others


def python_tuple(name: str, table: list[tuple[str, str, str]]) -> str:
    """A table as source, widest ranges first within the order of addresses."""
    table.sort(key=lambda row: (int(ip_network(row[0])[0]), ip_network(row[0]).prefixlen))
    lines = [f"    ({row[0]!r}, {row[1]!r}, {row[2]!r}),".replace("'", '"') for row in table]
    return f"{name}: Final[tuple[Row, ...]] = (\n" + "\n".join(lines) + "\n)\n"


def make() -> str:
    """The text of the module."""
    unicast, others = outside_global()
    specific = special("iana-ipv6-special-registry.csv") + additions(6)
    listed = {row[0] for row in specific}
    ipv6 = specific + [row for row in others if row[0] not in listed]
    ipv4 = special("iana-ipv4-special-registry.csv") + additions(4)
    globally = ", ".join(f'"{block}"' for block in unicast)
    return "\n".join(
        (
            HEADER,
            python_tuple("IPV4", ipv4),
            python_tuple("IPV6", ipv6),
            "# Handed out as global unicast; for IPv6 this is the list of what may be public.",
            f"GLOBAL_IPV6: Final = ({globally},)",
            "",
        )
    )


def main() -> None:
    """Write the table, or compare."""
    text = make()
    if "--check" in sys.argv[1:]:
        if TABLE.read_text(encoding="utf-8") != text:
            sys.exit(f"{TABLE} is out of date: run tools/make_address_table.py")
        return
    TABLE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
