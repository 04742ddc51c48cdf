"""Time limits of a request and its parts."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final

__all__ = ["DEFAULT_TIMEOUT", "Timeout", "TimeoutTypes"]


@dataclass(frozen=True, slots=True)
class Timeout:
    """Limits in seconds; None is no limit.

    Attributes:
        connect: to reach the gateway, and for the gateway to connect to the origin.
        read: without a byte of the answer, while the client waits for it.
        write: without the origin accepting a byte of the request's body.
        pool: until the gateway accepts the request, which waits while the gateway is full.
        total: for the whole request, up to the last byte of the answer.
    """

    connect: float | None = None
    read: float | None = None
    write: float | None = None
    pool: float | None = None
    total: float | None = None

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"timeout: {one.name} is seconds or None, not {value!r}")
            if math.isnan(value) or value < 0:
                raise ValueError(f"timeout: {one.name} is {value}; it is 0 or more seconds")

    @classmethod
    def of(cls, value: TimeoutTypes) -> Timeout:
        """The limits for a call's ``timeout``: a number is the total."""
        if isinstance(value, cls):
            return value
        if value is None:
            return _NONE
        assert not isinstance(value, Timeout)
        return cls(value, value, value, value, value)


TimeoutTypes = Timeout | float | None

_NONE: Final = Timeout()
DEFAULT_TIMEOUT: Final = Timeout(connect=10.0, read=60.0, write=60.0, pool=60.0)
"""Of a client that is given none."""
