"""permessage-deflate (RFC 7692): compressor and decompressor of one connection, bounded in memory.

The decompressor keeps a window of at most 32 KiB, which zlib allocates when a message first needs
it. The size of the compressor is chosen here, and is about the same. Where no context is kept
between messages, both are freed after each message.
"""

from __future__ import annotations

import zlib

from ..errors import Error

__all__ = ["BadDeflate", "Deflate"]

# A sender removes these bytes from the end of each message (RFC 7692 section 7.2.1).
_TAIL = b"\x00\x00\xff\xff"
_EMPTY_BLOCK = b"\x00"
# zlib needs 2**(window + 2) + 2**(level + 9) bytes: 32 KiB with these two.
_OWN_WINDOW_BITS = 12
_MEMORY_LEVEL = 5
# Twice as fast as zlib's default; with small contexts it compresses nearly as well.
_LEVEL = 3
# Bytes; shorter messages would hardly become shorter.
_WORTHWHILE = 32
# Deflate streams that may end within one frame; a legal sender needs one (RFC 7692 7.2.3.5).
_MAX_STREAMS = 16


class BadDeflate(Error, ValueError):
    """A compressed frame holds no DEFLATE data; the text says what is wrong."""


class Deflate:
    """Both directions of one connection, with the parameters that were negotiated.

    Args:
        peer_window_bits: window of the origin's compressor, 8 to 15.
        peer_keeps_context: the origin's messages may refer to earlier ones.
        own_window_bits: the largest window that our compressor may use, 8 to 15.
        own_keeps_context: our messages may refer to earlier ones.
    """

    __slots__ = (
        "_decoder",
        "_encoder",
        "_held",
        "_input",
        "_message_ends",
        "_own_keeps_context",
        "_own_window_bits",
        "_peer_keeps_context",
        "_peer_window_bits",
        "_recent",
        "_streams_left",
    )

    def __init__(
        self,
        peer_window_bits: int = 15,
        peer_keeps_context: bool = True,
        own_window_bits: int = 15,
        own_keeps_context: bool = True,
    ) -> None:
        self._peer_window_bits = peer_window_bits
        self._peer_keeps_context = peer_keeps_context
        self._own_window_bits = min(own_window_bits, _OWN_WINDOW_BITS)
        self._own_keeps_context = own_keeps_context
        self._decoder: zlib._Decompress | None = None
        self._input = b""  # not decompressed yet
        self._held = b""  # output beyond the limit: one byte
        self._message_ends = False  # with _input
        self._recent = b""  # output of the current message, as much as the window holds
        self._streams_left = 0
        self._encoder: zlib._Compress | None = None

    def wants(self, payload: bytes, fin: bool) -> bool:
        """Whether to compress a message that begins with this frame."""
        # zlib cannot keep to a window of 256 bytes; uncompressed messages are always allowed.
        return self._own_window_bits > 8 and not (fin and len(payload) < _WORTHWHILE)

    def deflate(self, payload: bytes, fin: bool) -> bytes:
        """The next frame of a compressed message."""
        encoder = self._encoder
        if encoder is None:
            encoder = self._encoder = zlib.compressobj(
                _LEVEL, wbits=-self._own_window_bits, memLevel=_MEMORY_LEVEL
            )
        data = encoder.compress(payload) + encoder.flush(zlib.Z_SYNC_FLUSH)
        if fin:
            # A second flush without new input gives no output; the tail ended the frame before.
            data = data[:-4] if data else _EMPTY_BLOCK
            if not self._own_keeps_context:
                self._encoder = None
        return data

    def put(self, payload: bytes, last: bool) -> None:
        """Add bytes of a compressed message for `inflate`, which must have returned all it had.

        Args:
            payload: payload of a frame, or a piece of it.
            last: the message ends with these bytes.
        """
        if self._decoder is None:
            self._decoder = zlib.decompressobj(wbits=-self._peer_window_bits)
        self._input = payload + _TAIL if last else payload
        self._message_ends = last
        self._streams_left = _MAX_STREAMS

    def inflate(self, limit: int) -> tuple[bytes, bool]:
        """Decompress what `put` added.

        Args:
            limit: bytes of output, at least 1; one more is decompressed, and held.

        Returns:
            The output, and whether there is more, for which to call again.

        Raises:
            BadDeflate: the input is no DEFLATE data.
        """
        decoder, waiting = self._decoder, self._input
        assert decoder is not None
        data = self._held
        try:
            while True:
                data += decoder.decompress(waiting, limit + 1 - len(data))
                if not decoder.eof:
                    waiting = decoder.unconsumed_tail
                    break
                waiting = decoder.unused_data
                decoder = self._next_stream(data)
                if len(data) > limit:
                    break
        except zlib.error as error:
            raise BadDeflate(str(error)) from None
        self._input = waiting
        self._held = data[limit:]
        if self._held:
            data = data[:limit]
        elif self._message_ends:
            self._recent = b""
            self._decoder = decoder if self._peer_keeps_context else None
            return data, False
        self._decoder = decoder
        self._recent = data[-(1 << self._peer_window_bits) :]
        return data, bool(self._held)

    def _next_stream(self, data: bytes) -> zlib._Decompress:
        """Go on after a block that was marked as final, as a sender may do within a message.

        The window stays in use (RFC 7692 section 7.2.3.5), as far as this message has filled it.
        """
        self._streams_left -= 1
        if self._streams_left < 0:
            raise BadDeflate("too many final blocks in one frame")
        window = (self._recent + data)[-(1 << self._peer_window_bits) :]
        return zlib.decompressobj(wbits=-self._peer_window_bits, zdict=window)
