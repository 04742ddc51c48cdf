"""Ranges of addresses and what they are for. Made by tools/make_address_table.py; do not edit.

Each row: range, set (``reserved`` for ``@reserved``), name. All of them are in ``@private`` too.
"""

from __future__ import annotations

from typing import Final

__all__ = ["GLOBAL_IPV6", "IPV4", "IPV6"]

Row = tuple[str, str, str]

IPV4: Final[tuple[Row, ...]] = (
    ("0.0.0.0/8", "this-network", "This network (RFC 791)"),
    ("0.0.0.0/32", "this-network", "This host on this network (RFC 1122)"),
    ("10.0.0.0/8", "rfc1918", "Private-Use (RFC 1918)"),
    ("100.64.0.0/10", "shared", "Shared Address Space (RFC 6598)"),
    ("100.100.100.200/32", "metadata", "Alibaba Cloud metadata"),
    ("127.0.0.0/8", "loopback", "Loopback (RFC 1122)"),
    ("168.63.129.16/32", "metadata", "Azure platform services (a public address)"),
    ("169.254.0.0/16", "link-local", "Link Local (RFC 3927)"),
    ("169.254.0.23/32", "metadata", "Tencent Cloud metadata"),
    ("169.254.42.42/32", "metadata", "Scaleway metadata"),
    ("169.254.169.254/32", "metadata", "Metadata service of most cloud platforms"),
    ("169.254.170.2/32", "metadata", "Amazon ECS task metadata and credentials"),
    ("169.254.170.23/32", "metadata", "Amazon EKS Pod Identity credentials"),
    ("172.16.0.0/12", "rfc1918", "Private-Use (RFC 1918)"),
    ("192.0.0.0/24", "protocol", "IETF Protocol Assignments (RFC 6890)"),
    ("192.0.0.0/29", "protocol", "IPv4 Service Continuity Prefix (RFC 7335)"),
    ("192.0.0.8/32", "protocol", "IPv4 dummy address (RFC 7600)"),
    ("192.0.0.9/32", "protocol", "Port Control Protocol Anycast (RFC 7723)"),
    ("192.0.0.10/32", "protocol", "Traversal Using Relays around NAT Anycast (RFC 8155)"),
    ("192.0.0.170/32", "protocol", "NAT64/DNS64 Discovery (RFC 8880, RFC 7050)"),
    ("192.0.0.171/32", "protocol", "NAT64/DNS64 Discovery (RFC 8880, RFC 7050)"),
    ("192.0.0.192/32", "metadata", "Oracle Cloud Classic metadata"),
    ("192.0.2.0/24", "documentation", "Documentation (TEST-NET-1) (RFC 5737)"),
    ("192.31.196.0/24", "protocol", "AS112-v4 (RFC 7535)"),
    ("192.52.193.0/24", "protocol", "AMT (RFC 7450)"),
    ("192.88.99.0/24", "transition", "Deprecated (6to4 Relay Anycast) (RFC 7526)"),
    ("192.88.99.2/32", "transition", "6a44-relay anycast address (RFC 6751)"),
    ("192.168.0.0/16", "rfc1918", "Private-Use (RFC 1918)"),
    ("192.175.48.0/24", "protocol", "Direct Delegation AS112 Service (RFC 7534)"),
    ("198.18.0.0/15", "benchmarking", "Benchmarking (RFC 2544)"),
    ("198.51.100.0/24", "documentation", "Documentation (TEST-NET-2) (RFC 5737)"),
    ("203.0.113.0/24", "documentation", "Documentation (TEST-NET-3) (RFC 5737)"),
    ("224.0.0.0/4", "multicast", "Multicast (RFC 5771)"),
    ("240.0.0.0/4", "reserved", "Reserved (RFC 1112)"),
    ("255.255.255.255/32", "reserved", "Limited Broadcast (RFC 8190, RFC 919)"),
)

IPV6: Final[tuple[Row, ...]] = (
    ("::/8", "reserved", "Reserved by IETF (RFC 3513, RFC 4291)"),
    ("::/96", "transition", "IPv4-compatible Address (deprecated) (RFC 4291)"),
    ("::/128", "this-network", "Unspecified Address (RFC 4291)"),
    ("::1/128", "loopback", "Loopback Address (RFC 4291)"),
    ("::ffff:0:0/96", "transition", "IPv4-mapped Address (RFC 4291)"),
    ("::ffff:0:0:0/96", "transition", "IPv4-translated Address (SIIT) (RFC 2765)"),
    ("64:ff9b::/96", "transition", "IPv4-IPv6 Translat. (RFC 6052)"),
    ("64:ff9b:1::/48", "transition", "IPv4-IPv6 Translat. (RFC 8215)"),
    ("100::/8", "reserved", "Reserved by IETF (RFC 3513, RFC 4291)"),
    ("100::/64", "reserved", "Discard-Only Address Block (RFC 6666)"),
    ("100:0:0:1::/64", "reserved", "Dummy IPv6 Prefix (RFC 9780)"),
    ("200::/7", "reserved", "Deprecated (OSI NSAP-mapped prefix) (RFC 4048)"),
    ("400::/6", "reserved", "Reserved by IETF (RFC 3513, RFC 4291)"),
    ("800::/5", "reserved", "Reserved by IETF (RFC 3513, RFC 4291)"),
    ("1000::/4", "reserved", "Reserved by IETF (RFC 3513, RFC 4291)"),
    ("2001::/23", "protocol", "IETF Protocol Assignments (RFC 2928)"),
    ("2001::/32", "transition", "TEREDO (RFC 4380, RFC 8190)"),
    ("2001:1::1/128", "protocol", "Port Control Protocol Anycast (RFC 7723)"),
    ("2001:1::2/128", "protocol", "Traversal Using Relays around NAT Anycast (RFC 8155)"),
    ("2001:1::3/128", "protocol", "DNS-SD Service Registration Protocol Anycast (RFC 9665)"),
    ("2001:2::/48", "benchmarking", "Benchmarking (RFC 5180)"),
    ("2001:3::/32", "protocol", "AMT (RFC 7450)"),
    ("2001:4:112::/48", "protocol", "AS112-v6 (RFC 7535)"),
    ("2001:10::/28", "protocol", "Deprecated (previously ORCHID) (RFC 4843)"),
    ("2001:20::/28", "protocol", "ORCHIDv2 (RFC 7343)"),
    ("2001:30::/28", "protocol", "Drone Remote ID Protocol Entity Tags (DETs) Prefix (RFC 9374)"),
    ("2001:db8::/32", "documentation", "Documentation (RFC 3849)"),
    ("2002::/16", "transition", "6to4 (RFC 3056)"),
    ("2620:4f:8000::/48", "protocol", "Direct Delegation AS112 Service (RFC 7534)"),
    ("3fff::/20", "documentation", "Documentation (RFC 9637)"),
    ("4000::/3", "reserved", "Reserved by IETF (RFC 3513, RFC 4291)"),
    ("5f00::/16", "reserved", "Segment Routing (SRv6) SIDs (RFC 9602)"),
    ("6000::/3", "reserved", "Reserved by IETF (RFC 3513, RFC 4291)"),
    ("8000::/3", "reserved", "Reserved by IETF (RFC 3513, RFC 4291)"),
    ("a000::/3", "reserved", "Reserved by IETF (RFC 3513, RFC 4291)"),
    ("c000::/3", "reserved", "Reserved by IETF (RFC 3513, RFC 4291)"),
    ("e000::/4", "reserved", "Reserved by IETF (RFC 3513, RFC 4291)"),
    ("f000::/5", "reserved", "Reserved by IETF (RFC 3513, RFC 4291)"),
    ("f800::/6", "reserved", "Reserved by IETF (RFC 3513, RFC 4291)"),
    ("fc00::/7", "unique-local", "Unique-Local (RFC 4193, RFC 8190)"),
    ("fd00:42::42/128", "metadata", "Scaleway metadata"),
    ("fd00:c1::a9fe:a9fe/128", "metadata", "Oracle Cloud metadata"),
    ("fd00:100::100:200/128", "metadata", "Alibaba Cloud metadata"),
    ("fd00:ec2::/32", "metadata", "Amazon EC2 metadata, DNS, NTP and EKS credentials"),
    ("fd00:a9fe:a9fe::1/128", "metadata", "Linode metadata"),
    ("fd20:ce::254/128", "metadata", "Google Cloud metadata"),
    ("fe00::/9", "reserved", "Reserved by IETF (RFC 3513, RFC 4291)"),
    ("fe80::/10", "link-local", "Link-Local Unicast (RFC 4291)"),
    ("fec0::/10", "link-local", "Deprecated (site-local unicast) (RFC 3879)"),
    ("ff00::/8", "multicast", "Multicast (RFC 4291)"),
)

# Handed out as global unicast; for IPv6 this is the list of what may be public.
GLOBAL_IPV6: Final = ("2000::/3",)
