"""The three formats of a ZHTTP message: one byte that names the format, then one dictionary."""

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

    __hash__ = object.__hash__  # Enum's is a function in Python

    JSON = b"J"
    TNETSTRING = b"T"
    MSGPACK = b"M"  # not known to Zurl


class DecodeError(Error, ValueError):
    """Bytes that are no message: the format is unknown, or they hold no dictionary in it.

    Attributes:
        format: the format, where the first byte names one; else None.
    """

    def __init__(self, reason: str, format: Format | None = None) -> None:
        super().__init__(reason)
        self.format = format


_JSON = msgspec.json.Decoder()
# Looking up a member of an enumeration takes as long as ten other attributes.
_FORMAT_JSON, _FORMAT_TNETSTRING = Format.JSON, Format.TNETSTRING
_JSON_LETTER = ord("J")
_TNETSTRING_LETTER = ord("T")
_MSGPACK_LETTER = ord("M")


def decode(message: bytes) -> tuple[Format, dict[Any, Any]]:
    """Decode a message.

    Returns:
        Its format and its dictionary. Keys are ``str``; in a TNetString they are ``bytes``.

    Raises:
        DecodeError: the bytes are no message.
    """
    if not message:
        raise DecodeError("an empty message")
    letter = message[0]
    try:
        if letter == _JSON_LETTER:
            format = _FORMAT_JSON
            document = memoryview(message)[1:]
            try:
                value = _JSON.decode(document)
            except ValueError as error:
                value = _decode_leniently(document, error)
        elif letter == _TNETSTRING_LETTER:
            format = _FORMAT_TNETSTRING
            value = tnetstring.loads(message[1:])
        elif letter == _MSGPACK_LETTER:
            format = Format.MSGPACK
            value = _decode_msgpack(memoryview(message)[1:])
        else:
            raise DecodeError(f"unknown format {message[:1]!r}; J, T and M are known")
    except DecodeError:
        raise
    # Bad input causes these two as well: RecursionError by deep nesting, MemoryError by a length
    # that is far too large.
    except (ValueError, TypeError, RecursionError, MemoryError, OverflowError) as error:
        raise DecodeError(f"not {format.name}: {error}", format) from None
    if type(value) is not dict:
        raise DecodeError(f"{format.name}: not a dictionary", format)
    return format, value


def _decode_leniently(document: memoryview, error: ValueError) -> Any:
    """Decode JSON that the strict decoder refused with this error."""
    try:
        return lenient_json.loads(bytes(document))
    except (ValueError, RecursionError):
        raise error from None  # the strict decoder's error names the position


def _decode_msgpack(document: memoryview) -> Any:
    """Decode a MessagePack document.

    Older libraries for PHP and Perl write bytes as text. Where these are not UTF-8, they are kept
    by `surrogateescape` (PEP 383). Extension types and timestamps are returned as they are. A
    length that reaches beyond the message is refused before memory is allocated for it.
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
