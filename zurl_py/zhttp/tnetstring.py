"""TNetStrings: ``LENGTH:PAYLOAD`` and one byte for the type (tnetstrings.info).

    ,  bytes      #  integer      ^  float      !  true or false      ~  null
    ]  list: its elements in order                   }  dictionary: key, value, key, value

``loads`` and ``dumps`` are those of ``tnetstring3``, which is written in C, where it is installed:
it is not built for every machine. ``loads_plain`` and ``dumps_plain`` do the same in Python.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

__all__ = ["dumps", "dumps_plain", "loads", "loads_plain"]

_MAX_DEPTH: Final = 512  # levels of lists and dictionaries
_PREFIX: Final = re.compile(rb"(0|[1-9][0-9]{0,8}):").match
_INTEGER: Final = re.compile(rb"[+-]?[0-9]+").fullmatch
# What C's strtod accepts, except for leading blanks.
_DECIMAL: Final = re.compile(
    rb"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf(?:inity)?|nan)", re.I
).fullmatch
_HEXADECIMAL: Final = re.compile(
    rb"[+-]?0x(?:[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(?:p[+-]?[0-9]+)?", re.I
).fullmatch
_MARKED_NAN: Final = re.compile(rb"[+-]?nan\([0-9a-z_]*\)", re.I).fullmatch
_NO_PREFIX: Final = "Not a tnetstring: invalid or missing length prefix."
_BAD_PREFIX: Final = "Not a tnetstring: invalid length prefix."
_TEXT, _LIST, _DICTIONARY, _NUMBER, _FLOAT, _BOOLEAN, _NULL = b",]}#^!~"


def loads_plain(data: bytes) -> Any:
    """The first value in ``data``; what follows it is ignored.

    Raises:
        ValueError: ``data`` does not begin with a TNetString.
        TypeError: a dictionary's key is a list or a dictionary.
        RecursionError: it is nested too deep.
    """
    if not isinstance(data, bytes):
        raise TypeError("arg must be of bytes type")
    prefix = _PREFIX(data)
    if prefix is None:
        raise ValueError(_NO_PREFIX)
    # The end includes the value's type byte, the last that is read.
    return _elements(data, 0, prefix.end() + int(prefix[1]) + 1, 0)[0]


def _elements(data: bytes, position: int, end: int, depth: int) -> list[Any]:
    """The elements from ``position`` to ``end``."""
    if depth > _MAX_DEPTH:
        raise RecursionError("maximum tnetstring nesting exceeded while decoding a tnetstring")
    if end > len(data):
        raise ValueError(_BAD_PREFIX)
    elements: list[Any] = []
    while position < end:
        prefix = _PREFIX(data, position, end)
        if prefix is None:
            raise ValueError(_NO_PREFIX)
        first = prefix.end()
        last = first + int(prefix[1])
        if last >= end:
            raise ValueError(_BAD_PREFIX)
        tag = data[last]
        if tag == _TEXT:  # by far the most common
            elements.append(data[first:last])
        elif tag == _LIST:
            elements.append(_elements(data, first, last, depth + 1))
        elif tag == _DICTIONARY:
            inner = _elements(data, first, last, depth + 1)
            if len(inner) % 2:
                raise ValueError(_NO_PREFIX)
            elements.append(dict(zip(inner[::2], inner[1::2], strict=True)))
        else:
            elements.append(_scalar(tag, data[first:last]))
        position = last + 1
    return elements


def _scalar(tag: int, literal: bytes) -> int | float | bool | None:
    if tag == _NUMBER:
        if _INTEGER(literal):
            return int(literal)
        raise ValueError(f"invalid integer literal: {literal[:40]!r}")
    if tag == _FLOAT:
        return _float(literal)
    if tag == _BOOLEAN:
        if literal in (b"true", b"false"):
            return literal == b"true"
        raise ValueError("Not a tnetstring: invalid boolean literal.")
    if tag == _NULL:
        if not literal:
            return None
        raise ValueError("Not a tnetstring: invalid null literal.")
    raise ValueError("Not a tnetstring: invalid type tag.")


def _float(literal: bytes) -> float:
    if _DECIMAL(literal):
        return float(literal)
    if _HEXADECIMAL(literal):
        try:
            return float.fromhex(literal.decode())
        except OverflowError:
            return -math.inf if literal.startswith(b"-") else math.inf
    if _MARKED_NAN(literal):
        return math.nan
    raise ValueError(f"invalid float literal: {literal[:40]!r}")


def dumps_plain(value: Any) -> bytes:
    """``value`` as a TNetString.

    Args:
        value: bytes, int, float, bool, None, and lists and dictionaries of these. No ``str``.

    Raises:
        ValueError: there is a value of another type in it.
        RecursionError: it is nested too deep.
    """
    return _encoded(value, 1)


def _encoded(value: Any, depth: int) -> bytes:
    if isinstance(value, bytes):
        return b"%d:%b," % (len(value), value)
    if value is None:
        return b"0:~"
    if isinstance(value, bool):
        return b"4:true!" if value else b"5:false!"
    if isinstance(value, int):
        digits = b"%d" % value
        return b"%d:%b#" % (len(digits), digits)
    if isinstance(value, float):
        literal = repr(value).encode()
        return b"%d:%b^" % (len(literal), literal)
    if not isinstance(value, (list, dict)):
        raise ValueError("type not serializable.")
    if depth > _MAX_DEPTH:
        raise RecursionError("maximum tnetstring nesting exceeded while encoding a tnetstring")
    if isinstance(value, list):
        payload = b"".join([_encoded(item, depth + 1) for item in value])
        return b"%d:%b]" % (len(payload), payload)
    payload = b"".join([_encoded(item, depth + 1) for pair in value.items() for item in pair])
    return b"%d:%b}" % (len(payload), payload)


try:
    # By the name of its C module: other packages have a module tnetstring as well.
    from tnetstring._tnetstring import dumps, loads
except ImportError:
    dumps, loads = dumps_plain, loads_plain
