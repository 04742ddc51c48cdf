"""The table of addresses: what is private, what hides in what, and where the ranges end."""

import csv
import re
import socket
import subprocess
import sys
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import ROOT
from zurl_py.policy.addresses import SET_NAMES, Nat64, describe, parse_address
from zurl_py.policy.table import IPV4, IPV6


def sets_of(address: str) -> frozenset[str]:
    """The sets that an address belongs to, without the ``@``; a name belongs to none."""
    found = parse_address(address)
    return found.all_sets if found is not None else frozenset()


TOOLS = ROOT / "tools"

# Written down by hand, from RFCs and the registries, independently of the table.
PRIVATE_IPV4 = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "168.63.129.16/32",
]
PRIVATE_IPV6_WITHIN_GLOBAL = [
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "2620:4f:8000::/48",
    "3fff::/20",
]
NETWORKS4 = [IPv4Network(text) for text in PRIVATE_IPV4]
NETWORKS6 = [IPv6Network(text) for text in PRIVATE_IPV6_WITHIN_GLOBAL]
GLOBAL6 = IPv6Network("2000::/3")
ISATAP = (0x00005EFE, 0x02005EFE)


def is_private4(number: int) -> bool:
    address = ip_address(number)
    return any(address in network for network in NETWORKS4)


def is_private6(number: int) -> bool:
    address = IPv6Address(number)
    if address not in GLOBAL6 or any(address in network for network in NETWORKS6):
        return True
    return (number >> 32 & 0xFFFFFFFF) in ISATAP and is_private4(number & 0xFFFFFFFF)


def text4(number: int) -> str:
    return socket.inet_ntop(socket.AF_INET, number.to_bytes(4, "big"))


def text6(number: int) -> str:
    return socket.inet_ntop(socket.AF_INET6, number.to_bytes(16, "big"))


@given(st.integers(0, 2**32 - 1))
def test_every_ipv4_address_is_private_or_public(number: int) -> None:
    sets = sets_of(text4(number))
    assert ("private" in sets) == is_private4(number)
    assert ("public" in sets) != ("private" in sets)


@given(st.integers(0, 2**128 - 1) | st.integers(2**125, 2**126 - 1))
def test_every_ipv6_address_is_private_or_public(number: int) -> None:
    sets = sets_of(text6(number))
    assert ("private" in sets) == is_private6(number)
    assert ("public" in sets) != ("private" in sets)


def test_ends_of_all_ipv4_ranges() -> None:
    for network in NETWORKS4:
        first, last = int(network[0]), int(network[-1])
        for number in (first - 1, first, last, last + 1):
            if 0 <= number < 2**32:
                assert ("private" in sets_of(text4(number))) == is_private4(number), text4(number)


def test_ends_of_all_ipv6_ranges() -> None:
    for network in [*NETWORKS6, GLOBAL6, *(ip_network(row[0]) for row in IPV6)]:
        first, last = int(network[0]), int(network[-1])
        for number in (first - 1, first, last, last + 1):
            if 0 <= number < 2**128:
                assert ("private" in sets_of(text6(number))) == is_private6(number), text6(number)


@pytest.mark.parametrize("name", ["iana-ipv4-special-registry", "iana-ipv6-special-registry"])
@given(data=st.data())
def test_every_address_of_every_registered_range_is_private(name: str, data: st.DataObject) -> None:
    with open(TOOLS / "registries" / f"{name}.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 24
    for row in rows:
        for block in re.findall(r"[0-9a-f:.]+/\d+", row["Address Block"]):
            network = ip_network(block)
            number = data.draw(st.integers(int(network[0]), int(network[-1])))
            text = text4(number) if network.version == 4 else text6(number)
            assert "private" in sets_of(text), (text, block)


def test_the_table_is_made_from_the_registries() -> None:
    subprocess.run([sys.executable, TOOLS / "make_address_table.py", "--check"], check=True)


def test_set_names_are_fit_for_rules() -> None:
    assert {"private", "public", "own", "loopback", "link-local", "metadata"} <= SET_NAMES
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in SET_NAMES)


@pytest.mark.parametrize(
    ("address", "sets"),
    [
        ("127.0.0.1", {"loopback", "private"}),
        ("127.255.255.254", {"loopback", "private"}),
        ("0.0.0.0", {"this-network", "private"}),
        ("0.1.2.3", {"this-network", "private"}),
        ("10.1.2.3", {"rfc1918", "private"}),
        ("172.31.255.255", {"rfc1918", "private"}),
        ("172.32.0.0", {"public"}),
        ("192.168.1.1", {"rfc1918", "private"}),
        ("100.64.0.1", {"shared", "private"}),
        ("169.254.1.1", {"link-local", "private"}),
        ("169.254.169.254", {"link-local", "metadata", "private"}),
        ("100.100.100.200", {"shared", "metadata", "private"}),
        ("192.0.0.192", {"protocol", "metadata", "private"}),
        ("168.63.129.16", {"metadata", "private"}),
        ("168.63.129.15", {"public"}),
        ("224.0.0.251", {"multicast", "private"}),
        ("239.255.255.250", {"multicast", "private"}),
        ("255.255.255.255", {"reserved", "private"}),
        ("198.19.255.255", {"benchmarking", "private"}),
        ("192.0.2.1", {"documentation", "private"}),
        ("8.8.8.8", {"public"}),
        ("::", {"this-network", "private"}),
        ("::1", {"loopback", "private"}),
        ("::127.0.0.1", {"transition", "loopback", "private"}),
        ("::ffff:127.0.0.1", {"transition", "loopback", "private"}),
        ("::ffff:8.8.8.8", {"transition", "private"}),
        ("::ffff:0:10.0.0.1", {"transition", "rfc1918", "private"}),
        ("64:ff9b::7f00:1", {"transition", "loopback", "private"}),
        ("64:ff9b::808:808", {"transition", "private"}),
        ("64:ff9b:1::7f00:1", {"transition", "loopback", "this-network", "private"}),
        ("2002:7f00:1::1", {"transition", "loopback", "private"}),
        ("2002:808:808::1", {"transition", "private"}),
        ("2001:0:a00:1::", {"transition", "rfc1918", "reserved", "private"}),
        ("2001:0:808:808:0:0:80ff:fffe", {"transition", "loopback", "private"}),
        ("2606:4700::5efe:a00:1", {"rfc1918", "private"}),
        ("2606:4700::200:5efe:a9fe:a9fe", {"link-local", "metadata", "private"}),
        ("2606:4700::5efe:808:808", {"public"}),
        ("fe80::1", {"link-local", "private"}),
        ("fec0::1", {"link-local", "private"}),
        ("fd00::1", {"unique-local", "private"}),
        ("fd00:ec2::254", {"unique-local", "metadata", "private"}),
        ("fd20:ce::254", {"unique-local", "metadata", "private"}),
        ("ff02::1", {"multicast", "private"}),
        ("100::1", {"reserved", "private"}),
        ("100:0:0:1::1", {"reserved", "private"}),
        ("5f00::1", {"reserved", "private"}),
        ("4000::1", {"reserved", "private"}),
        ("1fff:ffff::1", {"reserved", "private"}),
        ("2001:db8::1", {"documentation", "private"}),
        ("3fff:fff::1", {"documentation", "private"}),
        ("3fff:1000::1", {"public"}),
        ("2001:200::1", {"public"}),
        ("2001:1ff::1", {"protocol", "private"}),
        ("2606:4700:4700::1111", {"public"}),
    ],
)
def test_sets_of_single_addresses(address: str, sets: set[str]) -> None:
    assert sets_of(address) == sets


@pytest.mark.parametrize(
    "text", ["", "localhost", "1.2.3", "1.2.3.4.5", "01.2.3.4", "::g", "[::1]", "fe80::1%lo", "1"]
)
def test_text_that_is_no_address_is_in_no_set(text: str) -> None:
    assert sets_of(text) == frozenset()


# RFC 6052 section 2.4
NAT64_FORMS = {
    32: ("2001:db8::/32", "2001:db8:c000:221::"),
    40: ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
    48: ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
    56: ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
    64: ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
    96: ("2001:db8:122:344::/96", "2001:db8:122:344::c000:221"),
}


@pytest.mark.parametrize("length", NAT64_FORMS)
def test_nat64_prefixes_of_all_lengths(length: int) -> None:
    prefix, text = NAT64_FORMS[length]
    address = parse_address(text, [Nat64(prefix)])
    assert address is not None
    assert (address.version, address.text) == (4, "192.0.2.33")
    elsewhere = parse_address("2606:4700::1", [Nat64(prefix)])
    assert elsewhere is not None
    assert elsewhere.version == 6


@pytest.mark.parametrize("text", ["64:ff9b::/95", "64:ff9b::1/96", "10.0.0.0/8", "x", "::/0"])
def test_invalid_nat64_prefixes(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Nat64(text)


@given(st.integers(0, 2**32 - 1), st.sampled_from([48, 56, 64, 96]))
def test_local_nat64_hides_nothing_whatever_its_length(number: int, length: int) -> None:
    high = 0x64FF9B0001 << 80
    if length == 96:
        value = high | number
    else:
        bits = number << (120 - length - 32)  # without bits 64 to 71
        value = high | (bits >> 56 << 64) | (bits & (1 << 56) - 1)
    address = parse_address(text6(value))
    assert address is not None
    assert number in address.embedded


def embeddings(number: int) -> list[int]:
    """Every way to write an IPv4 address as an IPv6 address that somebody routes to it."""
    return [
        *([number] if number > 1 else []),  # :: and ::1 are themselves
        0xFFFF << 32 | number,
        0xFFFF0000 << 32 | number,
        0x64FF9B << 96 | number,
        0x64FF9B0001 << 80 | number,
        0x2002 << 112 | number << 80 | 1,
        0x20010000 << 96 | number << 64,
        0x20010000 << 96 | 0x08080808 << 64 | (number ^ 0xFFFFFFFF),
        0x26064700 << 96 | 0x00005EFE << 32 | number,
        0x26064700 << 96 | 0x02005EFE << 32 | number,
    ]


@given(st.sampled_from(NETWORKS4).flatmap(lambda n: st.integers(int(n[0]), int(n[-1]))))
def test_a_private_address_is_private_in_every_disguise(number: int) -> None:
    inner = sets_of(text4(number))
    for value in embeddings(number):
        sets = sets_of(text6(value))
        assert "private" in sets, text6(value)
        assert inner <= sets, text6(value)


def test_descriptions_name_the_narrowest_range() -> None:
    def of(text: str) -> str:
        address = parse_address(text)
        assert address is not None
        return describe(address)

    assert of("10.1.2.3") == "10.0.0.0/8 Private-Use (RFC 1918)"
    assert "Metadata" in of("169.254.169.254")
    assert of("8.8.8.8") == ""
    assert of("::ffff:10.0.0.1").endswith("10.0.0.1 in 10.0.0.0/8 Private-Use (RFC 1918)")


def test_rows_are_networks_in_order() -> None:
    for table in (IPV4, IPV6):
        keys = [(int(ip_network(row[0])[0]), ip_network(row[0]).prefixlen) for row in table]
        assert keys == sorted(keys)
        assert len(set(keys)) == len(keys)
