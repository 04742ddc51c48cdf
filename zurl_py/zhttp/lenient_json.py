"""JSON as Zurl reads it, for documents that the strict decoder refused.

RFC 8259 does not allow these, but each can have one meaning only, and Zurl's clients may send them:

- control characters that are not escaped in a string,
- a backslash before a character that needs none: ``\\'`` is an apostrophe, ``\\q`` a q,
- half a surrogate pair, which becomes U+FFFD,
- numbers that begin or end with the decimal point: ``.5``, ``5000.``,
- NUL after the document.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NoReturn

__all__ = ["loads"]

# To mend an escape takes half a microsecond; messages that need it are small.
_MAX_REPAIRED: Final = 64 << 10  # bytes
# Also matches a string that is not closed: else each quote in it would be tried as a beginning.
_STRING_OR_NUMBER: Final = re.compile(r'"(?:[^"\\]+|\\.)*+"?|(?<![\d.])(\d*)\.(\d*)', re.DOTALL)
_ESCAPE: Final = re.compile(
    r"\\(?:"
    r"u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a pair
    r"|(u[dD][89a-fA-F][0-9a-fA-F]{2})"  # half of one
    r"|(.))",
    re.DOTALL,
)
_HALF: Final = re.compile(r"\\u[dD][89a-fA-F]")
_ESCAPED: Final = '"\\/bfnrtu'  # RFC 8259 section 7


def loads(document: bytes) -> Any:
    """The value of a JSON document.

    Raises:
        ValueError: the document is no JSON even so.
        RecursionError: the document is nested too deep.
    """
    text = document.rstrip(b"\0 \t\r\n").decode()
    if not _HALF.search(text):
        try:
            return _DECODER.decode(text)
        except ValueError:
            pass
    if len(document) > _MAX_REPAIRED:
        raise ValueError(
            f"not JSON; text that is nearly JSON is accepted up to {_MAX_REPAIRED} bytes"
        )
    return _DECODER.decode(_STRING_OR_NUMBER.sub(_repair, text))


def _repair(found: re.Match[str]) -> str:
    whole, fraction = found.groups()
    if whole is None:
        return _ESCAPE.sub(_repair_escape, found.group())
    if not whole and not fraction:
        return found.group()
    return f"{whole or '0'}.{fraction or '0'}"


def _repair_escape(found: re.Match[str]) -> str:
    half, char = found.groups()
    if half:
        return "\\ufffd"
    if char and char not in _ESCAPED:
        return str(char)
    return found.group()


def _finite(literal: str) -> float:
    value = float(literal)
    if math.isinf(value):
        raise ValueError(f"a number out of range: {literal[:40]}")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_DECODER: Final = json.JSONDecoder(strict=False, parse_float=_finite, parse_constant=_no_constant)
