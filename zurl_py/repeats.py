"""Counts repeated events, so that each is logged once in full, and then in sums."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Repeats"]

Key = TypeVar("Key", bound=Hashable)


class Repeats(Generic[Key]):
    """Distinguishes new keys from repeated ones, and counts these. The caller has the clock.

    A key is new once; after that it is counted until ``sums`` is called. A key that was not
    repeated between two calls of ``sums`` is removed, and would be new again.

    Args:
        most: number of different keys; further ones count as ``rest``.
        rest: the key that stands for all others.
    """

    def __init__(self, rest: Key, most: int = 100) -> None:
        self._rest = rest
        self._most = most
        self._counts: dict[Key, int] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def is_new(self, key: Key) -> bool:
        """True if the key is new and to be logged in full; else it was counted."""
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
        """The keys that were repeated since the last call, and how often."""
        found = [(key, count) for key, count in self._counts.items() if count]
        self._counts = {key: 0 for key, count in self._counts.items() if count}
        return found
