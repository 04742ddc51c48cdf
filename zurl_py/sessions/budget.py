"""The budget for bodies and answers that are held in memory, and what happens beyond it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Protocol

from ..loop import Loop, Timer

__all__ = ["Budget", "Gate"]

_CHECK_INTERVAL: Final = 0.1  # seconds between two sums
_TIME_SHARE: Final = 0.02  # the part of the loop's time that summing up may take
_WAIT_LIMIT: Final = 5.0  # seconds that new requests wait for memory


class Gate(Protocol):
    """Controls whether new requests begin, wait, or are refused."""

    def resume(self) -> None:
        """New requests may begin."""

    def pause(self) -> None:
        """New requests are not read."""

    def reject(self, error: str, detail: str) -> None:
        """New requests are read and answered with an error."""


class Budget:
    """Limits the bytes of bodies and answers that all sessions hold.

    Each session has bounds of its own, but there may be many sessions. Beyond the limit new
    requests are not read and wait in ZeroMQ, as memory is usually freed soon. If it is not, they
    are answered with an error, so that no worker waits in vain.

    Args:
        limit: bytes; 0: no limit.
        held: sums up the bytes that are held.

    Attributes:
        next_check: time when to call ``check``, on the loop's clock.
    """

    def __init__(self, limit: int, loop: Loop, held: Callable[[], int], gate: Gate) -> None:
        self._limit = limit
        self._loop = loop
        self._bytes_held = held
        self._gate = gate
        self.next_check = 0.0 if limit else math.inf
        self._exceeded_at: float | None = None
        self._rejecting = False
        self._timer = Timer(self.check)

    def configure(self, limit: int) -> None:
        """Set another limit."""
        self._limit = limit
        self.next_check = 0.0

    def check(self) -> None:
        """Sum up the bytes; pause, reject or resume new requests accordingly.

        To be called in the first turn of the loop at or after ``next_check``.
        """
        loop = self._loop
        now, began = loop.now, loop.clock()
        held = self._bytes_held()
        pause = max(_CHECK_INTERVAL, (loop.clock() - began) / _TIME_SHARE)
        self.next_check = now + pause if self._limit else math.inf
        if not self._limit or held <= self._limit:
            if self._exceeded_at is not None:
                self._exceeded_at = None
                self._rejecting = False
                self._gate.resume()
            return
        loop.set_timer(self._timer, self.next_check)
        if self._exceeded_at is None:
            self._exceeded_at = now
            self._gate.pause()
        elif not self._rejecting and now >= self._exceeded_at + _WAIT_LIMIT:
            self._rejecting = True
            self._gate.reject(
                "max-memory",
                f"the gateway holds {held} bytes of bodies, and may hold {self._limit}; try later",
            )
