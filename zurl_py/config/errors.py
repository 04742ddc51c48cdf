"""The error for a configuration that cannot be used, and checks that several readers share."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches

from ..errors import Error
from ..ini import Entry

__all__ = ["ConfigError", "both_or_neither", "hint_at_key", "refuse_comment"]


class ConfigError(Error, ValueError):
    """A configuration that cannot be used; its text is one line for a terminal or a log.

    Attributes:
        file: path of the configuration.
        line: number of the line, from 1; 0 if the error is in no single line.
        key: the key, or "".
        found: the value as it was read, or "".
        allowed: what is allowed, or what is wrong.
    """

    def __init__(
        self, file: str, allowed: str, *, line: int = 0, key: str = "", found: str | None = None
    ) -> None:
        self.file = file
        self.line = line
        self.key = key
        self.found = found or ""
        self.allowed = allowed
        where = f"{file}:{line}" if line else file
        text = allowed if found is None else f"found {found!r}, allowed: {allowed}"
        super().__init__(": ".join(part for part in (where, key, text) if part))


def both_or_neither(
    path: str, given: Mapping[str, object], lines: Mapping[str, int], first: str, second: str
) -> tuple[str, str] | None:
    """The values of two settings that need each other; None where neither is set.

    Raises:
        ConfigError: only one is set.
    """
    values = str(given.get(first) or ""), str(given.get(second) or "")
    if all(values):
        return values
    if not any(values):
        return None
    given_key, missing = (first, second) if values[0] else (second, first)
    raise ConfigError(
        path,
        f"{given_key} is set and {missing} is not; both are needed, or neither",
        line=lines.get(given_key, 0),
        key=given_key,
    )


def hint_at_key(unknown: str, keys: Collection[str]) -> str:
    """The end of a text about an unknown key: which one may be meant; "" if none is like it."""
    close = get_close_matches(unknown.lower(), keys, 1)
    return f"; did you mean {close[0]}?" if close else ""


def refuse_comment(path: str, entry: Entry) -> None:
    """Refuse a value with a ``#`` after a blank: it begins no comment, but may be meant to.

    Raises:
        ConfigError: the value has one.
    """
    if entry.commented:
        raise ConfigError(
            path,
            f"found {entry.text!r}; a comment behind a value begins with ; (a # that is meant "
            "stands in quotes)",
            line=entry.line,
            key=entry.key,
        )
