"""Whose turn it is: a fair share of the loop's time for each connection that has news.

What an origin sends may keep us busy for as long as it likes; so the work is done in pieces, one
for each connection in turn, and what the loop's turn has no time for waits for the next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from ..loop import Loop

__all__ = ["TurnQueue"]

# Seconds of one turn of the loop, for all that have news.
_SHARE: Final = 0.002
# And for those among them who had their turn and were not done: floods and long bodies. Another's
# request takes three or four turns of the loop.
_REST: Final = 0.0005

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
        self._fresh: deque[_Item] = deque()
        self._resumed: deque[_Item] = deque()  # those that were not done in their turn
        self._served: _Item | None = None  # whose turn it is
        self._turn = 0.0  # the turn of the loop that `_until` belongs to
        self._until = 0.0
        self._resumed_in = 0.0  # the turn of the loop in which some of them were served

    def __len__(self) -> int:
        return len(self._fresh) + len(self._resumed)

    def append(self, item: _Item) -> None:
        """Put an item at the end; it must not be there already."""
        (self._resumed if item is self._served else self._fresh).append(item)

    def run(self) -> None:
        """Serve those that wait now, each once, until the time of this turn is used up."""
        if self._fresh:
            self._serve_fresh()
        if self._resumed and self._resumed_in != self._loop.now:
            self._serve_resumed()

    def _serve_fresh(self) -> None:
        loop, waiting = self._loop, self._fresh
        if loop.now != self._turn:
            self._turn = loop.now
            self._until = loop.clock() + _SHARE
        for _ in range(len(waiting)):
            if loop.clock() > self._until:
                return
            self._give_turn(waiting.popleft())

    def _serve_resumed(self) -> None:
        loop, waiting = self._loop, self._resumed
        self._resumed_in = loop.now
        until = loop.clock() + _REST
        for _ in range(len(waiting)):
            self._give_turn(waiting.popleft())
            if loop.clock() >= until:
                return

    def _give_turn(self, item: _Item) -> None:
        self._served = item
        try:
            self._serve(item)
        finally:
            self._served = None
