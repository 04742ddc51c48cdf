"""A bounded cache: strangers choose what is in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

__all__ = ["Memo", "remember"]

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def remember(cache: dict[_Key, _Value], key: _Key, value: _Value, most: int) -> None:
    """Add a value to a cache; one that holds ``most`` values already is emptied first."""
    if len(cache) >= most:
        cache.clear()
    cache[key] = value


class Memo(dict[_Key, _Value]):
    """What a function gives for its argument, by ``memo[argument]``: known results cost no call.

    ``map(memo.__getitem__, arguments)`` runs Python code for the unknown ones only.

    Args:
        make: the function.
        keeps: whether the result for this argument may be kept.
        most: results that are kept; see `remember`.
    """

    __slots__ = ("_keeps", "_make", "_most")

    def __init__(
        self, make: Callable[[_Key], _Value], keeps: Callable[[_Key], bool], most: int
    ) -> None:
        super().__init__()
        self._make = make
        self._keeps = keeps
        self._most = most

    def __missing__(self, key: _Key) -> _Value:
        value = self._make(key)
        if self._keeps(key):
            remember(self, key, value, self._most)
        return value
