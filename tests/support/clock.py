"""Time that a test moves."""

from __future__ import annotations

from zurl_py.loop import Loop

__all__ = ["Clock", "let_pass"]


class Clock:
    """The clock of a ``Loop``.

    Attributes:
        now: seconds.
    """

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def let_pass(seconds: float, clock: Clock, loop: Loop, step: float = 0.05) -> None:
    """Let time go by, in steps in which the loop turns."""
    end = clock.now + seconds
    while clock.now < end:
        clock.now += step
        loop.turn(wait=False)
