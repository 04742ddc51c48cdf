"""UTF-8 of text messages, across fragments, refused as early as can be (RFC 6455 section 8.1)."""

from __future__ import annotations

import codecs

__all__ = ["check_text"]

_decode = codecs.utf_8_decode


def check_text(tail: bytes, data: bytes, final: bool) -> bytes:
    """Check the next piece of a text.

    Args:
        tail: what the check of the piece before returned; empty at the start of a text.
        data: the piece.
        final: the text ends with it.

    Returns:
        The bytes of a character that the piece begins and does not end; at most three.

    Raises:
        UnicodeDecodeError: the text cannot be UTF-8, whatever may follow.
    """
    if not tail and data.isascii():
        return b""
    if tail:
        data = tail + data
    _, consumed = _decode(data, "strict", final)
    tail = data[consumed:]
    # CPython waits for the third byte of a surrogate, although the second decides already.
    if len(tail) == 2 and tail[0] == 0xED and tail[1] >= 0xA0:
        raise UnicodeDecodeError("utf-8", data, consumed, consumed + 2, "surrogate")
    return tail
