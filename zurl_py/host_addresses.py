"""Which addresses belong to this host, at this moment."""

from __future__ import annotations

import socket

__all__ = ["is_local"]


def is_local(address: str) -> bool:
    """Whether an address belongs to this host, on any interface.

    It tries to bind the address, which works for local addresses only; interfaces may change, so
    nothing is cached. Nothing is sent. Where any address can be bound (``ip_nonlocal_bind``), all
    count as local.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
