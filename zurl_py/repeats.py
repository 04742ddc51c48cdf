"""What happens again and again is said once in full, and then in sums."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Repeats"]

Key = TypeVar("Key", bound=Hashable)


class Repeats(Generic[Key]):
    """Tells news from repetitions, and counts these. Pure: whoever uses it has the clock.

    A key is news once; then it is counted until ``sums`` is asked for. A key that was not seen
    again between two sums is forgotten, and would be news.

    Args:
        most: keys that are told apart; what is beyond them counts as ``rest``.
        rest: the key that stands for all others.
    """

    def __init__(self, rest: Key, most: int = 100) -> None:
        self._rest = rest
        self._most = most
        self._counts: dict[Key, int] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def is_news(self, key: Key) -> bool:
        """True if this is to be said in full; else it was counted."""
        counts = self._counts
        if key not in counts:
            if len(counts) < self._most:
                counts[key] = 0
                return True
            key = self._rest
            counts.setdefault(key, 0)
        counts[key] += 1
        return False

    def sums(self) -> list[tuple[Key, int]]:
        """What was seen again since the last time, and how often."""
        found = [(key, count) for key, count in self._counts.items() if count]
        self._counts = {key: 0 for key, count in self._counts.items() if count}
        return found
