"""The INI dialect of Qt's QSettings, in which ``zurl.conf`` is written.

The rules were observed in Zurl:

- A line that starts with ``#`` or ``;`` is a comment. A ``;`` after a value starts one too, a
  ``#`` does not.
- A comma separates the items of a list. Double quotes keep commas, semicolons and blanks.
- ``\\n \\r \\t \\\\ \\" \\x41 \\101`` are escapes; a backslash at a line's end continues the line.
- Keys are case-sensitive and may hold ``%41``; section names are not, and values may not.

There are two differences: where Zurl guesses (a quote that is not closed), the file is refused; a
line that is neither section nor key is skipped as in Zurl, but with a warning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .errors import Error

__all__ = ["Entry", "IniError", "parse_ini"]

_LINE_END = re.compile(r"\r\n|\r|\n")
_CONTINUES = re.compile(r"(?<!\\)(?:\\\\)*\\$")  # an odd number of backslashes at the end
# An IPv6 address with a port is in brackets: [host [2001:db8::1]:8443].
_SECTION = re.compile(r"\[(host\s+\[[^\]]*\][^\]]*|[^\]]*)\]?", re.IGNORECASE)
_QUOTED = re.compile(r'\\.|"(?:[^"\\]|\\.)*"')
_COMMENT = re.compile(r"(?:^|[ \t])#")
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})")
_HEX = re.compile(r"x([0-9A-Fa-f]{1,6})")
_OCTAL = re.compile(r"[0-7]{1,3}")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


class IniError(Error, ValueError):
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
        section: the section's name; ``General`` before the first section.
        items: the value as a list, its items without quotes and the blanks around them; empty
            items are left out.
        text: the value as one text, commas included.
        line: its number, from 1; of several lines, that of the first.
        commented: the value has a ``#`` after a blank, outside of quotes. It is a part of the
            value, but may be meant to begin a comment.
        heading: number of the line that began the section; 0 before the first section.
    """

    section: str
    key: str
    items: tuple[str, ...]
    text: str
    line: int
    commented: bool = False
    heading: int = 0


def parse_ini(text: str, skipped: Callable[[int, str], None]) -> Iterator[Entry]:
    """The entries of a file, in order.

    Args:
        skipped: called with the number and the text of each line that is neither section nor key.

    Raises:
        IniError: a quote is not closed, an escape stands for no character, or a value has a NUL.
    """
    section, heading = "General", 0
    for number, line in _logical_lines(text.removeprefix("\ufeff")):
        if line[0] == "[":
            found = _SECTION.match(line)
            section = found.group(1).strip() if found else ""
            if section.lower() == "general":
                section = "General"
            heading = number
            continue
        key, equals, value = line.partition("=")
        key = _PERCENT.sub(lambda match: chr(int(match.group(1), 16)), key.strip())
        if not equals or not key:
            skipped(number, line)
            continue
        items = tuple(_split(value, number))
        given = tuple(item for item in items if item)
        if any("\0" in item for item in items):
            raise IniError(number, f"{key} has a NUL character, which no value may have")
        commented = _is_commented(value)
        yield Entry(section, key, given, ",".join(items), number, commented, heading)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is neither empty nor a comment, continuations joined."""
    begun, first = "", 0
    for number, raw in enumerate(_LINE_END.split(text), 1):
        line = raw if begun else raw.strip(" \t")
        if not begun:
            first = number
            if not line or line[0] in "#;":
                continue
        if _CONTINUES.search(line):
            begun += line[:-1] or " "
            continue
        yield first, begun + line
        begun = ""
    if begun:
        yield first, begun


def _split(value: str, line: int) -> Iterator[str]:
    """The items of a list, empty ones included."""
    item: list[str] = []
    quoted = False
    keep = 0  # up to this length, blanks at the end are quoted or escaped, and so are kept
    position = 0
    while position < len(value):
        char = value[position]
        position += 1
        if char == "\\":
            char, position = _unescape(value, position, line)
            item.append(char)
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


def _is_commented(value: str) -> bool:
    """Whether the value has a ``#`` where a comment would begin."""
    bare = _QUOTED.sub("", value)
    return bool(_COMMENT.search(bare.partition(";")[0]))


def _unescape(value: str, position: int, line: int) -> tuple[str, int]:
    """The character of an escape, and the position after it.

    An escaped character that needs no escape stands for itself.
    """
    if position == len(value):
        return "", position
    for form, base in ((_HEX, 16), (_OCTAL, 8)):
        found = form.match(value, position)
        if found:
            number = int(found.group(found.lastindex or 0), base)
            if not 0 < number < 0x110000 or 0xD800 <= number < 0xE000:
                raise IniError(line, f"\\{found.group()} stands for no character")
            return chr(number), found.end()
    char = value[position]
    return _ESCAPES.get(char, char), position + 1


def _trim(item: list[str], keep: int) -> str:
    end = len(item)
    while end > keep and item[end - 1] in " \t":
        end -= 1
    return "".join(item[:end])
