"""The circuit breaker of one endpoint. Without I/O and clock."""

from __future__ import annotations

from collections import deque
from typing import Final

from .attempts import Health

__all__ = ["Breaker"]

_IN_A_ROW: Final = 10
_WINDOW: Final = 300.0  # seconds
_SLOT: Final = 10.0  # seconds; the window moves in steps of it
_LEAST: Final = 10  # attempts in the window from which on the share of failures counts
_SHARE: Final = 0.7
_FIRST_WAIT: Final = 30.0  # seconds
_LONGEST_WAIT: Final = 1800.0  # seconds
_NEVER: Final = float("inf")


class Breaker:
    """It is closed, open, or half-open with one probe in flight.

    It opens after 10 failures in a row, or when 70 % of at least 10 attempts in 5 minutes fail.
    """

    __slots__ = ("_bad_in_a_row", "_opened", "_probing", "_slots", "_wait", "open_until")

    def __init__(self) -> None:
        self.open_until = 0.0  # seconds since 1970; 0: closed
        self._opened = 0.0
        self._wait = _FIRST_WAIT
        self._probing = False
        self._bad_in_a_row = 0
        self._slots: deque[list[float]] = deque()  # start, good and bad attempts

    def __repr__(self) -> str:
        return f"<Breaker {self.state} failures={self._bad_in_a_row} open_until={self.open_until}>"

    @property
    def state(self) -> str:
        """``closed``, ``open`` or ``half-open``."""
        if not self.open_until:
            return "closed"
        return "half-open" if self._probing else "open"

    def opens_at(self) -> float:
        """Time when the next attempt may start, seconds since 1970; infinity: after the probe."""
        return _NEVER if self._probing else self.open_until

    def started(self) -> None:
        """Note that an attempt starts; if the breaker is not closed, it is the probe."""
        if self.open_until:
            self._probing = True

    def ended(self, health: Health, started: float, now: float) -> bool:
        """Note the end of an attempt.

        Args:
            started: time when it began: an attempt in flight while the breaker opened is no probe.

        Returns:
            Whether this has opened the breaker, for the first time or again.
        """
        if self.open_until:
            return self._probe_ended(health, started, now)
        if health is Health.UNKNOWN:
            return False
        bad = health is Health.BAD
        self._bad_in_a_row = self._bad_in_a_row + 1 if bad else 0
        self._count(bad, now)
        if bad and (self._bad_in_a_row >= _IN_A_ROW or self._mostly_bad()):
            self._wait = _FIRST_WAIT
            self._open(now)
            return True
        return False

    def reset(self) -> None:
        """Close the breaker and forget all attempts: the endpoint was enabled."""
        self.open_until = 0.0
        self._probing = False
        self._bad_in_a_row = 0
        self._wait = _FIRST_WAIT
        self._slots.clear()

    def _probe_ended(self, health: Health, started: float, now: float) -> bool:
        if not self._probing or started < self._opened:
            return False
        self._probing = False
        if health is Health.GOOD:
            self.reset()
        elif health is Health.BAD:
            self._wait = min(2 * self._wait, _LONGEST_WAIT)
            self._open(now)
            return True
        return False

    def _open(self, now: float) -> None:
        self._opened = now
        self.open_until = now + self._wait
        self._slots.clear()
        self._bad_in_a_row = 0

    def _count(self, bad: bool, now: float) -> None:
        slots = self._slots
        # If the clock was set back, a new window begins.
        while slots and not now - _WINDOW < slots[0][0] <= now:
            slots.popleft()
        if not slots or now - slots[-1][0] >= _SLOT:
            slots.append([now, 0, 0])
        slots[-1][2 if bad else 1] += 1

    def _mostly_bad(self) -> bool:
        bad = sum(slot[2] for slot in self._slots)
        total = bad + sum(slot[1] for slot in self._slots)
        return total >= _LEAST and bad >= _SHARE * total
