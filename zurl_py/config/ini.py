"""The INI dialect of Qt's QSettings, in which ``zurl.conf`` is written.

Lines that start with ``#`` or ``;`` are comments; a ``;`` after a value starts one too, a ``#``
does not. Quotes group, ``\\`` escapes, commas make lists. Keys are case-sensitive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Entry", "IniError", "parse_ini"]

_SECTION = re.compile(r"\[([^\]]*)\]\s*$")
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", '"': '"', "\\": "\\", ";": ";", ",": ","}


class IniError(ValueError):
    """A line that cannot be read.

    Attributes:
        line: its number, from 1.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


@dataclass(frozen=True, slots=True)
class Entry:
    """One ``key=value`` line.

    Attributes:
        section: the section's name; ``General`` before any.
        items: the value as a list: comma-separated items without quotes and blanks around them.
        text: the value as one text, commas included.
        line: its number, from 1.
    """

    section: str
    key: str
    items: tuple[str, ...]
    text: str
    line: int


def parse_ini(text: str) -> Iterator[Entry]:
    """The entries of a file, in order.

    Raises:
        IniError: a line that is no section, comment or ``key=value``.
    """
    section = "General"
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        found = _SECTION.match(line)
        if found:
            section = found.group(1)
            continue
        key, equals, value = line.partition("=")
        if not equals or not key.strip():
            raise IniError(number, f"neither a section nor key=value: {line[:60]!r}")
        key = _PERCENT.sub(lambda match: chr(int(match.group(1), 16)), key.strip())
        items = tuple(_split(value, number))
        yield Entry(section, key, tuple(item for item in items if item), ",".join(items), number)


def _split(value: str, line: int) -> Iterator[str]:
    item: list[str] = []
    quoted = False
    keep = 0  # length up to which blanks at the end belong to a quoted part
    position = 0
    while position < len(value):
        char = value[position]
        position += 1
        if char == "\\" and position < len(value):
            item.append(_ESCAPES.get(value[position], value[position]))
            position += 1
            keep = len(item)
        elif char == '"':
            quoted = not quoted
            keep = len(item)
        elif quoted:
            item.append(char)
            keep = len(item)
        elif char == ",":
            yield _trim(item, keep)
            item, keep = [], 0
        elif char == ";":
            break
        elif item or char not in " \t":
            item.append(char)
    if quoted:
        raise IniError(line, "a quote is opened and not closed")
    yield _trim(item, keep)


def _trim(item: list[str], keep: int) -> str:
    end = len(item)
    while end > keep and item[end - 1] in " \t":
        end -= 1
    return "".join(item[:end])
