"""Names of this machine, its network or its platform, whatever addresses they have.

A set of addresses can have names as well: ``@private`` refuses ``printer.local`` before it is
looked up. Where a proxy looks names up, the policy sees names only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["NAME_SETS"]

_LOOPBACK: Final = frozenset(
    ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")
)
_METADATA: Final = frozenset(
    (
        "instance-data",  # Amazon EC2
        "instance-data.ec2.internal",
        "metadata",  # Google Cloud, with its search domain
        "metadata.goog",
        "metadata.google.internal",
        "metadata.tencentyun.com",
    )
)
# RFC 6761 and 6762, home.arpa (RFC 8375), and what ICANN and Kubernetes keep for private use.
_SUFFIXES: Final = (".localhost", ".local", ".localdomain", ".internal", ".home.arpa")
_KUBERNETES: Final = "kubernetes.default"


def _is_loopback(name: str) -> bool:
    return name in _LOOPBACK or name.endswith(".localhost")


def _is_metadata(name: str) -> bool:
    return name in _METADATA


def _is_private(name: str) -> bool:
    return (
        name in _LOOPBACK
        or name in _METADATA
        or name.endswith(_SUFFIXES)
        or name == _KUBERNETES
        or name.startswith(_KUBERNETES + ".")
    )


NAME_SETS: Final[dict[str, Callable[[str], bool]]] = {
    "loopback": _is_loopback,
    "metadata": _is_metadata,
    "private": _is_private,
}
"""Set name: whether a host name (lower case, no dot at its end) belongs to it."""
