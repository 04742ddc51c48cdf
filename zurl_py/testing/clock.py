"""A clock that tests control."""

from __future__ import annotations

__all__ = ["Clock"]


class Clock:
    """A callable that returns the time, which changes only by ``advance``.

    Attributes:
        now: seconds.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> float:
        """Advance the clock. Returns the new time."""
        self.now += seconds
        return self.now
