"""A large body encoded as a JSON string, piece by piece.

Control characters and bytes that are not UTF-8 cost twenty times as much as plain text: to encode a
hundred megabytes of them in one call would take seconds.
"""

from __future__ import annotations

import codecs
from typing import Final

import msgspec

__all__ = ["JsonText"]

_encode: Final = msgspec.json.Encoder().encode
_decoder_of: Final = codecs.getincrementaldecoder("utf-8")


class JsonText:
    """The JSON string of a body; ``len`` is the length of the body, in bytes."""

    __slots__ = ("_decoder", "_size", "_text")

    def __init__(self) -> None:
        self._decoder = _decoder_of("replace")
        self._text = bytearray(b'"')
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def feed(self, data: bytes | memoryview, last: bool) -> None:
        """Add the next piece of the body.

        Args:
            last: no piece follows.
        """
        self._size += len(data)
        self._text += memoryview(_encode(self._decoder.decode(bytes(data), last)))[1:-1]
        if last:
            self._text += b'"'

    @property
    def raw(self) -> msgspec.Raw:
        """The string in the form that msgspec's encoder copies without encoding it again."""
        return msgspec.Raw(self._text)
