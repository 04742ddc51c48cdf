"""A queue that gives each connection with work to do a fair share of the loop's time.

An origin may send enough to keep the loop busy without end. So work is done in pieces, one for each
connection in turn, and what does not fit into one turn of the loop waits for the next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from ..loop import Loop

__all__ = ["TURN_SHARE", "TurnQueue"]

# Seconds of one turn of the loop for all items.
TURN_SHARE: Final = 0.001
# Of these, seconds for items that were not finished in their turn: floods and long bodies. A plain
# request takes three or four turns of the loop.
_REST: Final = 0.0003

_Item = TypeVar("_Item")


class TurnQueue(Generic[_Item]):
    """Serves items in the order of their arrival, within the time for one turn of the loop.

    Args:
        loop: the event loop.
        serve: does one piece of an item's work; it may append the item again.

    Attributes:
        fresh: items that have not been served since they were appended.
        resumed: items that were not finished in their turn.
    """

    def __init__(self, loop: Loop, serve: Callable[[_Item], None]) -> None:
        self._loop = loop
        self._serve = serve
        self.fresh: deque[_Item] = deque()
        self.resumed: deque[_Item] = deque()
        self._served: _Item | None = None  # the item that is being served
        self._turn = 0.0  # the turn of the loop that `_until` belongs to
        self._until = 0.0
        self._resumed_in = 0.0  # the turn of the loop in which some of them were served

    def __len__(self) -> int:
        return len(self.fresh) + len(self.resumed)

    def append(self, item: _Item) -> None:
        """Add an item at the end; it must not be in the queue."""
        (self.resumed if item is self._served else self.fresh).append(item)

    def run(self) -> None:
        """Serve each item that waits now once, until the time for this turn is used up."""
        if self.fresh:
            self._serve_fresh()
        if self.resumed and self._resumed_in != self._loop.now:
            self._serve_resumed()

    def _serve_fresh(self) -> None:
        loop, waiting = self._loop, self.fresh
        if loop.now != self._turn:
            self._turn = loop.now
            self._until = loop.clock() + TURN_SHARE
        for _ in range(len(waiting)):
            if loop.clock() > self._until:
                return
            self._give_turn(waiting.popleft())

    def _serve_resumed(self) -> None:
        loop, waiting = self._loop, self.resumed
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
