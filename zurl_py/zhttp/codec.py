"""The three formats of a ZHTTP message: one letter, then one dictionary."""

from __future__ import annotations

import enum
from typing import Any

import msgpack
import msgspec

from ..errors import Error
from . import lenient_json, tnetstring

__all__ = ["DecodeError", "Format", "decode"]


class Format(enum.Enum):
    """The first byte of a message."""

    JSON = b"J"
    TNETSTRING = b"T"
    MSGPACK = b"M"  # not known to Zurl


class DecodeError(Error, ValueError):
    """Not a message: no known letter, not parsable, or not a dictionary.

    Attributes:
        format: the format, where the letter is known.
    """

    def __init__(self, reason: str, format: Format | None = None) -> None:
        super().__init__(reason)
        self.format = format


_JSON = msgspec.json.Decoder()
_JSON_LETTER = ord("J")
_TNETSTRING_LETTER = ord("T")
_MSGPACK_LETTER = ord("M")


def decode(message: bytes) -> tuple[Format, dict[Any, Any]]:
    """A message's format and its dictionary; keys are ``str``, or ``bytes`` in a TNetString.

    Raises:
        DecodeError: it is not a message.
    """
    if not message:
        raise DecodeError("an empty message")
    letter = message[0]
    try:
        if letter == _JSON_LETTER:
            format = Format.JSON
            value = _decode_json(memoryview(message)[1:])
        elif letter == _TNETSTRING_LETTER:
            format = Format.TNETSTRING
            value = tnetstring.loads(message[1:])
        elif letter == _MSGPACK_LETTER:
            format = Format.MSGPACK
            value = _decode_msgpack(memoryview(message)[1:])
        else:
            raise DecodeError(f"unknown format {message[:1]!r}; J, T and M are known")
    except DecodeError:
        raise
    # RecursionError, MemoryError: nested too deep, or a length that lies; bad input, no more.
    except (ValueError, TypeError, RecursionError, MemoryError, OverflowError) as error:
        raise DecodeError(f"not {format.name}: {error}", format) from None
    if type(value) is not dict:
        raise DecodeError(f"{format.name}: not a dictionary", format)
    return format, value


def _decode_json(document: memoryview) -> Any:
    try:
        return _JSON.decode(document)
    except ValueError as error:
        try:
            return lenient_json.loads(bytes(document))
        except (ValueError, RecursionError):
            raise error from None  # it says where


def _decode_msgpack(document: memoryview) -> Any:
    """What a MessagePack document holds.

    Text that is not UTF-8 keeps its bytes (older libraries write them so, from PHP and Perl):
    `surrogateescape`, PEP 383. Extension types and timestamps stay what they are. Lengths that
    lead outside the message are refused before anything is made for them.
    """
    size = len(document)
    return msgpack.unpackb(
        document,
        raw=False,
        unicode_errors="surrogateescape",
        strict_map_key=False,
        max_str_len=size,
        max_bin_len=size,
        max_array_len=size,
        max_map_len=size,
        max_ext_len=size,
    )
