"""How many descriptors this process has left, and who may have the last ones."""

from __future__ import annotations

import os
import resource

__all__ = ["RESERVE_AT_MOST", "limit", "lowest_free", "reserve"]

RESERVE_AT_MOST = 1024
_FEWEST = 16


def limit() -> int:
    """Descriptors that this process may have (``ulimit -n``)."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft


def reserve() -> int:
    """Descriptors that no connection to an origin may take: a quarter, 1024 at most.

    Workers' connections need them. libzmq ends the process where it has none for a worker that
    connects over ipc.
    """
    return min(RESERVE_AT_MOST, max(_FEWEST, limit() // 4))


def lowest_free() -> int:
    """The number that the next descriptor will have; `limit` if there is none.

    The kernel gives the lowest that is free. So at least as many are in use.
    """
    try:
        found = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return limit()
    os.close(found)
    return found
