"""One check per kind of field: it returns the value to keep, or raises ``WrongField``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Final

from ..http.fields import DANGEROUS, TOKEN
from ..signatures import MODES, Mode
from ..zhttp.fields import WrongField, kind_of

__all__ = [
    "NAME_LIMIT",
    "WrongField",
    "at_least_zero",
    "body",
    "choice",
    "event",
    "headers",
    "id_text",
    "key_text",
    "mode",
    "name",
    "positive",
    "positive_int",
    "schedule",
    "secrets",
    "text",
    "uri",
]

NAME_LIMIT: Final = 255  # characters of an endpoint's name
_URI_LIMIT = 8192  # bytes, as much as servers take in a request line
_KEY_LIMIT = 1024  # bytes
_EVENT_LIMIT = 1024  # bytes
_MAX_HEADERS = 100
_HEADERS_LIMIT = 65_536  # bytes of all names and values
_MAX_SECRETS = 16
_SECRET_LIMIT = 1024  # characters
_MAX_ATTEMPTS = 100  # entries of a schedule
_LONGEST = 10 * 366 * 86_400.0  # seconds; a later time is probably in the wrong unit

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_URI = re.compile(r"https?://[^/?#\s\x00-\x20]+[^\s\x00-\x20]*", re.IGNORECASE)


def text(value: object) -> str:
    """Text: ``str``, or bytes in UTF-8."""
    if type(value) is str:
        if not value.isascii():
            _encoded(value)
        return value
    if type(value) is bytes:
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise WrongField("must be text in UTF-8") from None
    raise WrongField(f"must be text, not {kind_of(value)}")


def id_text(value: object) -> str:
    """The id of a message."""
    found = text(value)
    if _ID.fullmatch(found) is None:
        raise WrongField("must be 1 to 128 of A-Z a-z 0-9 _ -")
    return found


def name(value: object) -> str:
    """The name of an endpoint: printable, not empty."""
    found = text(value)
    if not 0 < len(found) <= NAME_LIMIT or not found.isprintable():
        raise WrongField(f"must be a name of 1 to {NAME_LIMIT} printable characters")
    return found


def uri(value: object) -> str:
    """The URI to send to; the gateway checks the details."""
    found = text(value)
    if len(found) > _URI_LIMIT or _URI.fullmatch(found) is None:
        raise WrongField(f"must be http://… or https://… with a host, at most {_URI_LIMIT} bytes")
    return found


def body(value: object) -> bytes:
    """Bytes; text is UTF-8."""
    if type(value) is bytes:
        return value
    if type(value) is str:
        try:
            # Text of MessagePack that was not UTF-8 becomes its own bytes again (PEP 383).
            return value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise WrongField("text with half a surrogate pair") from None
    raise WrongField(f"must be text, not {kind_of(value)}")


def event(value: object) -> str:
    """The type of the event, which is sent as a header."""
    found = text(value)
    data = _encoded(found)
    if not 0 < len(data) <= _EVENT_LIMIT or DANGEROUS.search(data):
        raise WrongField(f"must be 1 to {_EVENT_LIMIT} bytes without CR, LF, NUL")
    return found


def key_text(value: object) -> str:
    """The ordering key: deliveries with the same key stay in order."""
    found = text(value)
    if len(_encoded(found)) > _KEY_LIMIT or "\0" in found:
        raise WrongField(f"must be at most {_KEY_LIMIT} bytes without NUL")
    return found


def headers(value: object) -> tuple[tuple[bytes, bytes], ...]:
    """A list of [name, value]."""
    if type(value) not in (list, tuple):
        raise WrongField(f"must be a list of [name, value], not {kind_of(value)}")
    pairs = []
    assert isinstance(value, (list, tuple))
    if len(value) > _MAX_HEADERS:
        raise WrongField(f"must be at most {_MAX_HEADERS} headers")
    for pair in value:
        if type(pair) not in (list, tuple) or len(pair) != 2:
            raise WrongField("must hold lists of a name and a value")
        pairs.append((body(pair[0]), body(pair[1])))
    for header, content in pairs:
        if TOKEN.fullmatch(header) is None:
            raise WrongField(f"{_shown(header)} is no header name")
        if DANGEROUS.search(content):
            raise WrongField(f"{_shown(header)}: the value must have no CR, LF or NUL")
        if header.lower().startswith(b"webhook-"):
            raise WrongField(f"{_shown(header)}: webhook-… headers are made here")
    if sum(len(header) + len(content) for header, content in pairs) > _HEADERS_LIMIT:
        raise WrongField(f"must be at most {_HEADERS_LIMIT} bytes in all")
    return tuple(pairs)


def secrets(value: object) -> tuple[str, ...]:
    """A list of texts; whether they can be used with the kind of signature is checked later."""
    if type(value) is not list:
        raise WrongField(f"must be a list of texts, not {kind_of(value)}")
    found = tuple(text(item) for item in value)
    if len(found) > _MAX_SECRETS or any(not 0 < len(s) <= _SECRET_LIMIT for s in found):
        raise WrongField(
            f"must be at most {_MAX_SECRETS} secrets of 1 to {_SECRET_LIMIT} characters"
        )
    return found


def choice(*allowed: str) -> Callable[[object], str]:
    """One of a few words."""

    def check(value: object) -> str:
        found = text(value)
        if found not in allowed:
            raise WrongField(f"must be {', '.join(allowed[:-1])} or {allowed[-1]}")
        return found

    return check


_mode = choice(*MODES)


def mode(value: object) -> Mode:
    """A kind of signature."""
    found: Any = _mode(value)
    checked: Mode = found
    return checked


def at_least_zero(value: object) -> float:
    """A number that is not negative."""
    found = _number(value)
    if found < 0:
        raise WrongField("must be 0 or more")
    return found


def positive(value: object) -> float:
    """A number above zero."""
    found = _number(value)
    if found <= 0:
        raise WrongField("must be above 0")
    return found


def positive_int(most: int) -> Callable[[object], int]:
    """A whole number from 1 to ``most``."""

    def check(value: object) -> int:
        if type(value) is not int:
            raise WrongField(f"must be a whole number, not {kind_of(value)}")
        if not 1 <= value <= most:
            raise WrongField(f"must be a whole number from 1 to {most}")
        return value

    return check


def schedule(value: object) -> tuple[float, ...]:
    """Seconds to wait before each attempt."""
    if type(value) is not list:
        raise WrongField(f"must be a list of seconds, not {kind_of(value)}")
    if not 1 <= len(value) <= _MAX_ATTEMPTS:
        raise WrongField(f"must have 1 to {_MAX_ATTEMPTS} entries")
    waits = tuple(at_least_zero(item) for item in value)
    if sum(waits) > _LONGEST:
        raise WrongField("must be seconds; these are more than ten years")
    return waits


def _number(value: object) -> float:
    if type(value) is int:
        # The bounds keep the float, and its sum with the current time, in range.
        return float(min(max(value, -(10**12)), 10**12))
    if type(value) is float and math.isfinite(value):
        return min(max(value, -1e12), 1e12)
    raise WrongField(f"must be a number, not {kind_of(value)}")


def _encoded(value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise WrongField("text with half a surrogate pair") from None


def _shown(header: bytes) -> str:
    return ascii(header[:40].decode("latin-1"))
