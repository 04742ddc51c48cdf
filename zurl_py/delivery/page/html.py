"""Builds HTML and escapes all text in it."""

from __future__ import annotations

import html
from collections.abc import Iterable

__all__ = ["Safe", "element", "join"]

_VOID = frozenset(("input", "meta", "br"))


class Safe(str):
    """HTML that was built by these functions, and is not escaped again."""

    __slots__ = ()


def join(parts: Iterable[object]) -> Safe:
    """The parts in sequence; all but ``Safe`` ones are escaped, None is left out."""
    return Safe("".join(_escaped(part) for part in parts if part is not None))


def element(tag: str, *content: object, **attributes: object) -> Safe:
    """An element.

    Args:
        attributes: underscores stand for dashes, one at the end is removed (``class_``). True makes
            an attribute without a value, False and None make none.
    """
    parts = [tag]
    for name, value in attributes.items():
        shown = name.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(shown)
        elif value is not None and value is not False:
            parts.append(f'{shown}="{html.escape(str(value))}"')
    start = f"<{' '.join(parts)}>"
    return Safe(start if tag in _VOID else f"{start}{join(content)}</{tag}>")


def _escaped(part: object) -> str:
    return part if isinstance(part, Safe) else html.escape(str(part))
