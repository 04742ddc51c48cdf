"""A large body as the text that it is in JSON, made piece by piece.

Bytes that are no UTF-8 and control characters cost twenty times as much as plain text: a hundred
megabytes of them would take seconds at once.
"""

from __future__ import annotations

import codecs
from typing import Final

import msgspec

__all__ = ["JsonText"]

_encode: Final = msgspec.json.Encoder().encode
_decoder_of: Final = codecs.getincrementaldecoder("utf-8")


class JsonText:
    """What a body becomes as a string of JSON; its length is that of the body, in bytes."""

    __slots__ = ("_decoder", "_size", "_text")

    def __init__(self) -> None:
        self._decoder = _decoder_of("replace")
        self._text = bytearray(b'"')
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def feed(self, data: bytes | memoryview, last: bool) -> None:
        """The next piece of the body; no other may follow the last."""
        self._size += len(data)
        self._text += memoryview(_encode(self._decoder.decode(bytes(data), last)))[1:-1]
        if last:
            self._text += b'"'

    @property
    def raw(self) -> msgspec.Raw:
        """For an encoder, which takes it as it is."""
        return msgspec.Raw(self._text)
