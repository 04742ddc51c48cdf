"""How many file descriptors are left, and how many are reserved for workers."""

from __future__ import annotations

import os
import resource

__all__ = ["RESERVE_AT_MOST", "limit", "lowest_free", "reserve"]

RESERVE_AT_MOST = 1024
"""The largest number of descriptors that are reserved for workers."""

_RESERVE_AT_LEAST = 16


def limit() -> int:
    """The limit of descriptors of this process (``ulimit -n``)."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft


def reserve() -> int:
    """Number of descriptors that connections to origins may not use: a quarter, 1024 at most.

    Workers' connections need them: libzmq ends the process if there is none for a worker that
    connects over ipc.
    """
    return min(RESERVE_AT_MOST, max(_RESERVE_AT_LEAST, limit() // 4))


def lowest_free() -> int:
    """The number of the next descriptor; `limit` if none is free.

    The kernel gives the lowest free number, so at least that many are in use.
    """
    try:
        found = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return limit()
    os.close(found)
    return found
