"""Brotli decompression with a bound on the output, which also finds the end of the data.

The module ``brotli`` raises where bytes follow the end of the data, and the output of that call is
lost. libbrotlidec, which that module contains, does not; so it is called directly.
"""

from __future__ import annotations

import ctypes

import _brotli

__all__ = ["BrotliStream", "available", "may_take_long"]

_ERROR, _SUCCESS, _NEEDS_INPUT = 0, 1, 2  # BrotliDecoderResult in <brotli/decode.h>


def _load() -> ctypes.CDLL | None:
    """libbrotlidec with the types of the functions used here; None where they are not exported."""
    library = ctypes.CDLL(_brotli.__file__)
    try:
        create = library.BrotliDecoderCreateInstance
        destroy = library.BrotliDecoderDestroyInstance
        decompress = library.BrotliDecoderDecompressStream
    except AttributeError:
        return None
    size, pointer = ctypes.POINTER(ctypes.c_size_t), ctypes.POINTER(ctypes.c_void_p)
    create.argtypes = [ctypes.c_void_p] * 3
    create.restype = ctypes.c_void_p
    destroy.argtypes = [ctypes.c_void_p]
    destroy.restype = None
    decompress.argtypes = [ctypes.c_void_p, size, pointer, size, pointer, ctypes.c_void_p]
    decompress.restype = ctypes.c_int
    return library


_library = _load()
available = _library is not None
"""Whether the module ``brotli`` exports the functions of libbrotlidec."""

_ROOM = 65_536  # bytes of output of one call
# A stream that may take long is decoded by another thread than the others.
_room, _other_room = (ctypes.create_string_buffer(_ROOM) for _ in range(2))
_SHORT = 1 << 18  # bytes that are decoded in less than a millisecond


def may_take_long(head: bytes) -> bool:
    """Whether one call may decode more than 256 kB, from the first five bytes of a stream.

    libbrotlidec fills its whole window, up to 16 MB, before it returns a byte (RFC 7932 sections
    9.1 and 9.2: size of the window, then that of the first meta-block).
    """
    bits, available_bits = int.from_bytes(head[:8], "little"), 8 * min(len(head), 8)
    if not bits & 1:
        window, at = 16, 1
    elif bits >> 1 & 7:
        window, at = 17 + (bits >> 1 & 7), 4
    else:
        window, at = 8 + (bits >> 4 & 7 or 9), 7
    if available_bits >= at and 1 << window <= _SHORT:
        return False
    header = bits >> at
    is_last, is_empty, nibbles = header & 1, header >> 1 & 1, (header >> 2 & 3) + 4
    if not is_last or available_bits < at + 4 + 4 * nibbles:
        return True
    return not is_empty and (header >> 4 & (1 << 4 * nibbles) - 1) >= _SHORT


class BrotliStream:
    """One Brotli stream (RFC 7932), decoded piece by piece.

    Args:
        takes_long: see `may_take_long`.

    Attributes:
        ended: the end of the stream was reached.
        rest: input that follows that end.
        needs_input: there is no more output without more input.
    """

    __slots__ = ("_room", "_state", "_tail", "ended", "needs_input", "rest")

    def __init__(self, takes_long: bool = False) -> None:
        self._room = _other_room if takes_long else _room
        assert _library is not None
        self._state = _library.BrotliDecoderCreateInstance(None, None, None)
        if not self._state:
            raise MemoryError("brotli")
        self._tail = b""
        self.ended = False
        self.needs_input = True
        self.rest = b""

    def __del__(self) -> None:
        if _library is not None and self._state:
            _library.BrotliDecoderDestroyInstance(self._state)
            self._state = None

    def decode(self, data: bytes, limit: int) -> bytes:
        """Decode; returns at most ``limit`` bytes of output.

        Args:
            data: input; must be empty while the stream is not ``needs_input``.

        Raises:
            ValueError: this is no Brotli data.
        """
        assert _library is not None
        source = data or self._tail
        size = min(limit, _ROOM)
        unread, room = ctypes.c_size_t(len(source)), ctypes.c_size_t(size)
        result = _library.BrotliDecoderDecompressStream(
            self._state,
            ctypes.byref(unread),
            ctypes.byref(ctypes.cast(ctypes.c_char_p(source), ctypes.c_void_p)),
            ctypes.byref(room),
            ctypes.byref(ctypes.cast(self._room, ctypes.c_void_p)),
            None,
        )
        if result == _ERROR:
            raise ValueError("not in the format of Brotli")
        self._tail = source[len(source) - unread.value :]
        self.needs_input = result == _NEEDS_INPUT
        if result == _SUCCESS:
            self.ended = True
            self.rest, self._tail = self._tail, b""
        return ctypes.string_at(self._room, size - room.value)
