"""UTF-8 in text messages, checked across fragments as early as possible (RFC 6455 section 8.1)."""

from __future__ import annotations

import codecs

__all__ = ["check_text"]

_decode = codecs.utf_8_decode


def check_text(tail: bytes, data: bytes, final: bool) -> bytes:
    """Check the next piece of a text.

    Args:
        tail: what the check of the previous piece returned; empty at the start of a text.
        data: the piece.
        final: the text ends with this piece.

    Returns:
        The bytes of an incomplete character at the end of the piece; at most three.

    Raises:
        UnicodeDecodeError: the text is not UTF-8, whatever may follow.
    """
    if not tail and data.isascii():
        return b""
    if tail:
        data = tail + data
    _, consumed = _decode(data, "strict", final)
    tail = data[consumed:]
    # CPython waits for the third byte of a surrogate, although the second is wrong already.
    if len(tail) == 2 and tail[0] == 0xED and tail[1] >= 0xA0:
        raise UnicodeDecodeError("utf-8", data, consumed, consumed + 2, "surrogate")
    return tail
