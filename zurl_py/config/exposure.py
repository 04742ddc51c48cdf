"""Finds parts of ``@private`` that are not denied, as with old configurations' lists of ranges."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from ..policy import Policy
from ..policy.table import IPV4, IPV6
from .model import Config

__all__ = ["exposure"]

# The sets in which a host may answer. The rest of @private is multicast, reserved, or for
# documentation and measurements.
_SETS_WITH_HOSTS = (
    "metadata",
    "loopback",
    "rfc1918",
    "link-local",
    "shared",
    "unique-local",
    "this-network",
)
_BEST_KNOWN = "169.254.169.254/32"  # the metadata service of most cloud platforms
_SHOWN = 3  # ranges of one set
_PRIVILEGES = {
    "allow_ignore_policies": "ignore-policies",
    "allow_ignore_tls_errors": "ignore-tls-errors",
    "allow_connect_host": "connect-host",
    "allow_trust_connect_host": "trust-connect-host",
}


def exposure(config: Config, policy: Policy) -> str | None:
    """A warning where ``deny`` has rules, but leaves open a part of ``@private``; else None.

    There is no warning where ``@private`` is denied: what ``allow`` opens then is intended.
    """
    if config.defpolicy != "allow" or config.policy_mode != "enforce" or not config.deny:
        return None
    if "@private" in (*config.deny, *config.deny_always):
        return None
    parts = [
        f"@{name} ({', '.join(ranges[:_SHOWN])}{', …' if len(ranges) > _SHOWN else ''})"
        for name in _SETS_WITH_HOSTS
        if (ranges := list(_open_ranges(config, policy, name)))
    ]
    if not parts:
        return None
    privileges = [field for key, field in _PRIVILEGES.items() if getattr(config, key)]
    granted = f"; every request may use {', '.join(privileges)}" if privileges else ""
    return (
        f"deny does not cover addresses that requests should rarely reach: "
        f"{', '.join(parts)}{granted}; "
        "deny=@private closes all of these, and report_deny=@private first shows in the log what "
        "that would refuse"
    )


def _open_ranges(config: Config, policy: Policy, name: str) -> Iterator[str]:
    rows = (*IPV4, *(IPV6 if config.allow_ipv6 else ()))
    for text, set_name, _ in sorted(rows, key=lambda row: row[0] != _BEST_KNOWN):
        if set_name != name:
            continue
        network = ip_network(text)
        sample = network[0] if network.num_addresses == 1 else network[1]
        if policy.check_address(str(sample), 80, "http"):
            yield str(network[0]) if network.num_addresses == 1 else text
