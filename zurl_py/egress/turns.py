"""Whose turn it is: a fair share of the loop's time for each connection that has news.

What an origin sends may keep us busy for as long as it likes; so the work is done in pieces, one
for each connection in turn, and what the loop's turn has no time for waits for the next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from ..loop import Loop

__all__ = ["TurnQueue"]

# Seconds of one turn of the loop: short beside what a request takes, long beside the turn itself.
_SHARE = 0.002

_Item = TypeVar("_Item")


class TurnQueue(Generic[_Item]):
    """First come, first served, for as long as the loop's turn allows.

    Args:
        loop: whose turns are meant.
        serve: does one piece of the work of an item; it may put the item back at the end.
    """

    def __init__(self, loop: Loop, serve: Callable[[_Item], None]) -> None:
        self._loop = loop
        self._serve = serve
        self._waiting: deque[_Item] = deque()
        self._turn = 0.0  # the turn of the loop that `_until` belongs to
        self._until = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def append(self, item: _Item) -> None:
        """Put an item at the end; it must not be there already."""
        self._waiting.append(item)

    def run(self) -> None:
        """Serve those that wait now, each once, until the time of this turn is used up."""
        waiting = self._waiting
        if not waiting:
            return
        loop = self._loop
        if loop.now != self._turn:
            self._turn = loop.now
            self._until = loop.clock() + _SHARE
        for _ in range(len(waiting)):
            if loop.clock() > self._until:
                return
            self._serve(waiting.popleft())
