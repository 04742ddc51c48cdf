"""One function for each kind of field: it checks a value and returns it in the form that is kept.

Which fields accept numbers as text, what counts as absent, and that null is not absent: all of this
was observed in Zurl.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..errors import Error

__all__ = [
    "WrongField",
    "any_value",
    "boolean",
    "dictionary",
    "headers",
    "id_or_ids",
    "kind_of",
    "lenient_flag",
    "milliseconds",
    "name_of",
    "number",
    "number_between",
    "one_of",
    "packet_type",
    "refuse",
    "size",
    "strict_milliseconds",
    "strict_number",
    "text",
    "text_or_none",
    "user_data",
]

Ids = list[tuple[bytes | None, int | None]]

_LONGEST: Final = 10**12  # milliseconds, some thirty years
_LARGEST: Final = 2**62  # bytes
_MAX_DEPTH: Final = (
    100  # levels of lists and dictionaries; more would exceed an encoder's recursion
)


class WrongField(Error, ValueError):
    """A field has a value that is not allowed; the text says what it must be, and what it is."""


def text(value: object) -> bytes:
    """Text as bytes; UTF-8 where the format distinguishes text from bytes."""
    if type(value) is bytes:
        return value
    if type(value) is str:
        try:
            # Text of MessagePack that was not UTF-8 becomes its own bytes again.
            return value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise WrongField("holds half a surrogate pair, which is no text") from None
    raise WrongField(f"must be text, not {kind_of(value)}")


def text_or_none(value: object) -> bytes | None:
    """Text, or None for anything else."""
    try:
        return text(value)
    except WrongField:
        return None


def boolean(value: object) -> bool:
    """True or false, and nothing else."""
    if value is True or value is False:
        return value
    raise WrongField(f"must be true or false, not {kind_of(value)}")


def lenient_flag(value: object) -> bool:
    """A flag of ``ext``: anything but a boolean is ignored and counts as false, as with Zurl."""
    return value is True


def number(value: object) -> int | None:
    """A number, which may be given as text; text that is no number counts as 0, -1 as absent."""
    if type(value) is int:
        result = value
    elif isinstance(value, bool):
        result = int(value)
    elif isinstance(value, float):
        result = int(value) if -(2.0**63) <= value < 2.0**63 else 0
    elif isinstance(value, (str, bytes)):
        result = _integer_in(value)
    else:
        raise WrongField(f"must be a number, not {kind_of(value)}")
    return None if result == -1 else result


def strict_number(value: object) -> int | None:
    """A number, not as text: for fields that Zurl's clients never had."""
    if type(value) not in (int, float):
        raise WrongField(f"must be a number, not {kind_of(value)}")
    return number(value)


def size(value: object) -> int | None:
    """A number of bytes, as far as libcurl can count them."""
    result = number(value)
    return None if result is None else min(result, _LARGEST)


def milliseconds(value: object) -> int | None:
    """A time limit; a negative one counts as absent, and none is longer than thirty years."""
    return _limited(number(value))


def strict_milliseconds(value: object) -> int | None:
    """The same, not as text."""
    return _limited(strict_number(value))


def _limited(time: int | None) -> int | None:
    return None if time is None or time < 0 else min(time, _LONGEST)


def number_between(least: int, most: int) -> Callable[[object], int]:
    """A check for a number in a range."""

    def check(value: object) -> int:
        if type(value) is not int or not least <= value <= most:
            shown = value if type(value) is int else kind_of(value)
            raise WrongField(f"must be a number from {least} to {most}, not {shown}")
        return value

    return check


def one_of(*allowed: bytes) -> Callable[[object], bytes]:
    """A check that accepts these texts only."""

    def check(value: object) -> bytes:
        found = text(value)
        if found not in allowed:
            known = b", ".join(allowed).decode()
            shown = ascii(found[:32].decode("utf-8", "replace"))
            raise WrongField(f"must be one of {known}, not {shown}")
        return found

    return check


def refuse(why: str) -> Callable[[object], None]:
    """A check that refuses every value, with this reason."""

    def check(_value: object) -> None:
        raise WrongField(why)

    return check


def _integer_in(value: str | bytes) -> int:
    stripped = value.strip()
    digits = stripped[1:] if stripped[:1] in ("-", "+", b"-", b"+") else stripped
    # isdigit() also accepts digits of other scripts, int() also underscores.
    if len(digits) <= 18 and digits.isdigit() and digits.isascii():
        return int(stripped)
    return 0


def headers(value: object) -> list[tuple[bytes, bytes]]:
    """A list of pairs of text."""
    if type(value) is not list:
        raise WrongField(f"must be a list of pairs of a name and a value, not {kind_of(value)}")
    pairs = []
    for pair in value:
        if type(pair) is not list or len(pair) != 2:
            raise WrongField(f"must hold pairs of a name and a value, not {kind_of(pair)}")
        name, content = pair
        if type(name) is str and type(content) is str and name.isascii() and content.isascii():
            pairs.append((name.encode(), content.encode()))
        elif type(name) is bytes and type(content) is bytes:
            pairs.append((name, content))
        else:
            pairs.append((text(name), text(content)))
    return pairs


def packet_type(value: object) -> bytes:
    """A packet's ``type``, one of the known ones."""
    type_ = text(value)
    if type_ not in _TYPES:
        raise WrongField(f"is unknown: {type_[:32]!r}; known are {_TYPES_TEXT}; data has none")
    return type_


_TYPES: Final = (
    b"error",
    b"credit",
    b"keep-alive",
    b"cancel",
    b"handoff-start",
    b"handoff-proceed",
    b"close",
    b"ping",
    b"pong",
)
_TYPES_TEXT: Final = b", ".join(_TYPES).decode()


def dictionary(value: object) -> dict[Any, Any]:
    """A dictionary."""
    if type(value) is not dict:
        raise WrongField(f"must be a dictionary, not {kind_of(value)}")
    return value


def any_value(value: object) -> object:
    """Any value: it is checked elsewhere, or not at all."""
    return value


def user_data(value: object) -> object:
    """Any value that is not nested too deep for the encoders."""
    if type(value) not in (list, dict):
        return value
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, (list, dict))
            for inner in (outer if isinstance(outer, list) else outer.values())
        ]
        if not level:
            return value
    raise WrongField(f"must not be nested more than {_MAX_DEPTH} levels deep")


def id_or_ids(value: object) -> bytes | Ids:
    """A session's id, or a list of ids with their sequence numbers."""
    if type(value) is not list:
        return text(value)
    ids: Ids = []
    for entry in value:
        fields = {name_of(key): content for key, content in dictionary(entry).items()}
        id = text(fields["id"]) if "id" in fields else None
        seq = number(fields["seq"]) if "seq" in fields else None
        ids.append((id, seq))
    return ids


def name_of(key: object) -> str:
    """A dictionary's key as text for an error message, whatever its type."""
    return key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key)


def kind_of(value: object) -> str:
    """What a value is, for an error message."""
    return _KINDS.get(type(value), type(value).__name__)


_KINDS: Final[dict[type, str]] = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "text",
    bytes: "text",
    list: "a list",
    dict: "a dictionary",
}
