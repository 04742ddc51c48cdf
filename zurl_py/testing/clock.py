"""Time that a test moves."""

from __future__ import annotations

__all__ = ["Clock"]


class Clock:
    """A function that tells the time, and time that goes by when it is told to.

    Attributes:
        now: seconds.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> float:
        """Let time go by. Returns what it is then."""
        self.now += seconds
        return self.now
