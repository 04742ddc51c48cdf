"""Results that are kept for the next time, but not too many: strangers choose what is in them."""

from __future__ import annotations

from typing import TypeVar

__all__ = ["remember"]

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def remember(cache: dict[_Key, _Value], key: _Key, value: _Value, most: int) -> None:
    """Keep a value; where there are ``most`` already, those are all forgotten first."""
    if len(cache) >= most:
        cache.clear()
    cache[key] = value
