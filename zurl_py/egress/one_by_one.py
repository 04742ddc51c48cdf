"""A queue for work that takes much memory while it goes on: one at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["OneByOne"]

_Item = TypeVar("_Item")


class OneByOne(Generic[_Item]):
    """Whose turn it is stays so until it leaves.

    Args:
        wake: called with the next one when its turn has come.
    """

    def __init__(self, wake: Callable[[_Item], None]) -> None:
        self._wake = wake
        self._at_work: _Item | None = None
        self._waiting: deque[_Item] = deque()

    def enter(self, item: _Item) -> bool:
        """Whether it is this one's turn; if not, it is woken when it is."""
        if self._at_work is None or self._at_work is item:
            self._at_work = item
            return True
        if item not in self._waiting:
            self._waiting.append(item)
        return False

    def leave(self, item: _Item) -> None:
        """This one is done, or does not want to any more; harmless if it never did."""
        if self._at_work is item:
            self._at_work = None
            if self._waiting:
                self._at_work = self._waiting.popleft()
                self._wake(self._at_work)
        elif self._waiting and item in self._waiting:
            self._waiting.remove(item)
