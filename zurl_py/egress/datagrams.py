"""The time when a UDP socket last received a datagram, from its timestamps.

libcurl reads the datagrams of QUIC connections, and does not tell when the last one came. A peer
that is alive acknowledges what it receives within milliseconds (RFC 9000 section 13.2.1), however
long its answer takes.
"""

from __future__ import annotations

import fcntl
import struct
import time
from typing import Final

__all__ = ["received_since", "record_times"]

_SIOCGSTAMP: Final = 0x8906  # <asm/sockios.h>: time of the last datagram that was read
_TIMEVAL: Final = struct.Struct("@ll")


def record_times(fd: int) -> None:
    """Have the kernel note the time of each datagram; it does so soon after the first question."""
    _last(fd)


def received_since(fd: int, began: float) -> bool:
    """Whether a datagram came after ``began`` (seconds since the epoch); if unknown, yes."""
    # It is unknown if the clock was set back meanwhile, or if the last one came before the kernel
    # noted times: then it answers with the present.
    last = _last(fd) if fd >= 0 else None
    return last is None or last >= began or time.time() < began


def _last(fd: int) -> float | None:
    """Arrival of the last datagram that was read (seconds since the epoch); None: unknown."""
    try:
        seconds, microseconds = _TIMEVAL.unpack(fcntl.ioctl(fd, _SIOCGSTAMP, bytes(_TIMEVAL.size)))
    except OSError:  # none came yet; or this is no socket of a system that keeps the time
        return None
    return float(seconds) + float(microseconds) / 1e6
