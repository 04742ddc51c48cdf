"""A queue for work that needs much memory: one item at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["OneByOne"]

_Item = TypeVar("_Item")


class OneByOne(Generic[_Item]):
    """The first item has its turn until it leaves the queue.

    Args:
        wake: called with the next item when its turn begins.
    """

    def __init__(self, wake: Callable[[_Item], None]) -> None:
        self._wake = wake
        self._at_work: _Item | None = None
        self._waiting: deque[_Item] = deque()

    def enter(self, item: _Item) -> bool:
        """Enter the queue; True if it is this item's turn, else ``wake`` is called when it is."""
        if self._at_work is None or self._at_work is item:
            self._at_work = item
            return True
        if item not in self._waiting:
            self._waiting.append(item)
        return False

    def leave(self, item: _Item) -> None:
        """Leave the queue, done or not; no error if the item is not in it."""
        if self._at_work is item:
            self._at_work = None
            if self._waiting:
                self._at_work = self._waiting.popleft()
                self._wake(self._at_work)
        elif self._waiting and item in self._waiting:
            self._waiting.remove(item)
