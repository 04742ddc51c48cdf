"""Content codings (RFC 9110 section 8.4): which of them are decoded here, and how, piece by piece.

A few bytes of input can expand to gigabytes, and much input to nothing. So a decoder does a bounded
amount of work in each call, whatever its input is, and says whether there is more to do.
"""

from __future__ import annotations

import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from ..errors import Error
from .brotli import BrotliStream, may_take_long
from .brotli import available as brotli_available

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["OFFERED", "BadCoding", "BodyDecoder", "choose_coding"]

# One call of `BodyDecoder.read` decodes at most this much input, and this many gzip members or zstd
# frames: that takes well under a millisecond, with empty members as well.
_STEP: Final = 16_384  # bytes
_PARTS_PER_STEP: Final = 64
# An empty member or frame costs as much time as some kilobytes of a body.
_MAX_EMPTY_STREAMS: Final = 1000
# RFC 9659: no window of the coding "zstd" is larger than 8 MB.
_ZSTD_OPTIONS: Final[dict[int, int]] = {zstd.DecompressionParameter.window_log_max: 23}


class BadCoding(Error, ValueError):
    """A body is not encoded as its Content-Encoding says; the text says what is wrong."""


class _Stream(Protocol):
    """One encoded stream (a gzip member, a zstd frame), decoded piece by piece.

    Attributes:
        ended: the end of the stream was reached.
        rest: input that follows that end.
        needs_input: there is no more output without more input.
    """

    ended: bool
    rest: bytes
    needs_input: bool

    def decode(self, data: bytes, limit: int) -> bytes:
        """Decode; returns at most ``limit`` bytes of output.

        Args:
            data: input; must be empty while the stream is not ``needs_input``.

        Raises:
            BadCoding: the input does not fit the coding.
        """


class _Inflate:
    """DEFLATE in one of its wrappers (RFC 1950, 1951, 1952).

    Args:
        window_bits: selects the wrapper, as for ``zlib.decompressobj``.
    """

    __slots__ = ("_tail", "_zlib", "ended", "needs_input", "rest")

    def __init__(self, window_bits: int) -> None:
        self._zlib = zlib.decompressobj(window_bits)
        self._tail = b""
        self.ended = False
        self.needs_input = True
        self.rest = b""

    def decode(self, data: bytes, limit: int) -> bytes:
        stream = self._zlib
        try:
            output = stream.decompress(data or self._tail, limit)
        except zlib.error as error:
            raise BadCoding(str(error)) from None
        self._tail = stream.unconsumed_tail
        self.ended = stream.eof
        self.rest = stream.unused_data
        # When the output has reached the limit, zlib may hold more of it.
        self.needs_input = not self._tail and len(output) < limit
        return output


class _Zstd:
    """One frame of Zstandard (RFC 8878)."""

    __slots__ = ("_frame", "ended", "needs_input", "rest")

    def __init__(self) -> None:
        self._frame = zstd.ZstdDecompressor(options=_ZSTD_OPTIONS)
        self.ended = False
        self.needs_input = True
        self.rest = b""

    def decode(self, data: bytes, limit: int) -> bytes:
        try:
            output = self._frame.decompress(data, limit)
        except zstd.ZstdError as error:
            raise BadCoding(str(error)) from None
        self.ended = self._frame.eof
        self.rest = self._frame.unused_data
        self.needs_input = bool(self._frame.needs_input)
        return output


class _Brotli:
    """A Brotli stream (RFC 7932)."""

    __slots__ = ("_stream", "ended", "needs_input", "rest", "takes_long")

    def __init__(self, takes_long: bool) -> None:
        self._stream = BrotliStream(takes_long)
        self.takes_long = takes_long
        self.ended = False
        self.needs_input = True
        self.rest = b""

    def decode(self, data: bytes, limit: int) -> bytes:
        try:
            output = self._stream.decode(data, limit)
        except ValueError as error:
            raise BadCoding(str(error)) from None
        self.ended = self._stream.ended
        self.rest = self._stream.rest
        self.needs_input = self._stream.needs_input
        return output


# Makes a decoder from the first bytes of a stream. None: more bytes are needed. Raises BadCoding
# where the bytes begin no stream of the coding.
_Starter = Callable[[bytes], "_Stream | None"]


def _start_gzip(head: bytes) -> _Stream | None:
    """Check a gzip header (RFC 1952 section 2.3.1): only method 8 and five flags are defined."""
    if not _begins(head, b"\x1f\x8b\x08") or len(head) < 4:
        return None
    if head[3] & 0xE0:
        raise BadCoding("it has flags that are not defined")
    return _Inflate(31)


def _start_deflate(head: bytes) -> _Stream | None:
    """RFC 1950 section 2.2; some servers send DEFLATE (RFC 1951) without that wrapper."""
    if len(head) < 2:
        return None
    wrapped = head[0] & 15 == 8 and int.from_bytes(head[:2], "big") % 31 == 0
    return _Inflate(15 if wrapped else -15)


def _start_brotli(head: bytes) -> _Stream | None:
    """A Brotli stream has no signature."""
    return _Brotli(may_take_long(head))


def _start_zstd(head: bytes) -> _Stream | None:
    """RFC 8878 section 3.1: a Zstandard frame, or a skippable one, of which there are 16 kinds."""
    if head[:1] and 0x50 <= head[0] <= 0x5F:
        return _Zstd() if _begins(head[1:], b"\x2a\x4d\x18") else None
    return _Zstd() if _begins(head, b"\x28\xb5\x2f\xfd") else None


def _begins(head: bytes, magic: bytes) -> bool:
    if not head.startswith(magic) and not magic.startswith(head):
        raise BadCoding("wrong magic number")
    return head.startswith(magic)


class _Coding:
    """A coding that is decoded here.

    Args:
        repeats: a body may hold several streams in sequence.
    """

    __slots__ = ("name", "repeats", "start")

    def __init__(self, name: str, start: _Starter, repeats: bool) -> None:
        self.name = name
        self.start = start
        self.repeats = repeats


_GZIP: Final = _Coding("gzip", _start_gzip, repeats=True)
_DEFLATE: Final = _Coding("deflate", _start_deflate, repeats=False)
_ZSTD: Final = _Coding("zstd", _start_zstd, repeats=True)
_KNOWN: Final[dict[bytes, _Coding]] = {
    b"gzip": _GZIP,
    b"x-gzip": _GZIP,  # RFC 9110 section 8.4.1.3: the same
    b"deflate": _DEFLATE,
    b"zstd": _ZSTD,
}
if brotli_available:
    _KNOWN[b"br"] = _Coding("br", _start_brotli, repeats=False)
# Some servers send "none" where they use no coding.
_NO_CODING: Final = frozenset((b"", b"identity", b"none"))
# The value of Accept-Encoding.
OFFERED: Final = ", ".join(
    name for name in ("gzip", "deflate", "br", "zstd") if name.encode() in _KNOWN
)


def choose_coding(values: Iterable[bytes]) -> _Coding | None:
    """The coding to decode, from the values of all Content-Encoding fields.

    Returns:
        None where the body is handed on as it is: there is no coding, or one of them was not
        offered; browsers do the same.

    Raises:
        BadCoding: there are several codings, all of them known. Only an attacker sends that: each
            can expand one byte to a thousand.
    """
    names = [
        name
        for value in values
        for name in (part.strip(b" \t").lower() for part in value.split(b","))
        if name not in _NO_CODING
    ]
    codings = [_KNOWN.get(name) for name in names]
    if not codings or None in codings:
        return None
    if len(codings) > 1:
        raise BadCoding(f"{len(codings)} codings; one is accepted")
    return codings[0]


class BodyDecoder:
    """Decodes one body.

    ``feed`` takes input, ``read`` returns output. Input that is cut short is decoded as far as it
    goes, as with Zurl and browsers: whether a body is complete is decided by its framing.

    Attributes:
        consumed: bytes of input that were decoded.
        produced: bytes of output.
        waiting: bytes of input that were not decoded yet.
    """

    __slots__ = (
        "_at",
        "_coding",
        "_empty_streams",
        "_head",
        "_ignores_input",
        "_input",
        "_stream",
        "_stream_began",
        "_stream_ended",
        "consumed",
        "produced",
        "waiting",
    )

    def __init__(self, coding: _Coding) -> None:
        self._coding = coding
        self._stream: _Stream | None = None
        self._input: deque[bytes] = deque()
        self._at = 0  # bytes of the first of these that were consumed
        self._head = b""  # the first bytes of a stream, while they are too few to know its kind
        self._stream_began = 0  # value of ``produced`` when the current stream began
        self._empty_streams = 0
        self._stream_ended = False  # a stream was decoded up to its end
        self._ignores_input = False  # further input is no part of the body
        self.waiting = 0
        self.consumed = 0
        self.produced = 0

    def __repr__(self) -> str:
        state = "waiting" if self.needs_input else "busy"
        return f"<BodyDecoder {state} consumed={self.consumed} produced={self.produced}>"

    def feed(self, data: bytes) -> None:
        """Add input: the next bytes of the body as the origin sent it."""
        if data and not self._ignores_input:
            self._input.append(data)
            self.waiting += len(data)

    @property
    def needs_input(self) -> bool:
        """``read`` returns no more output until ``feed`` is called."""
        return not self.waiting and (self._stream is None or self._stream.needs_input)

    @property
    def takes_long(self) -> bool:
        """The next ``read`` may take tens of milliseconds, and belongs on another thread."""
        if self._coding.name != "br" or self._ignores_input:
            return False
        if isinstance(self._stream, _Brotli):
            return self._stream.takes_long
        first = self._input[0][self._at : self._at + 8] if self._input else b""
        return may_take_long(self._head + first)

    def read(self, limit: int) -> bytes:
        """Do a bounded amount of decoding.

        Returns:
            At most ``limit`` bytes of the body. Where it is empty there may still be more: see
            ``needs_input``.

        Raises:
            BadCoding: the input does not fit the coding.
        """
        before = self.consumed
        for _ in range(_PARTS_PER_STEP):
            if self.needs_input:
                break
            stream = self._stream
            if stream is None:
                if not self._begin():
                    break
                continue
            output = stream.decode(self._take(_STEP) if stream.needs_input else b"", limit)
            self.produced += len(output)
            if stream.ended:
                self._end_stream(stream.rest)
            if output:
                return output
            if self.consumed - before >= _STEP:
                break
        return b""

    def _begin(self) -> bool:
        """Begin the next stream; False if that needs more input, or there is no next one."""
        head = self._head + self._take(_STEP)
        if self._stream_ended and self._coding is _GZIP:
            head = head.lstrip(b"\0")  # padding with zeros, as gzip allows it for tapes
        try:
            stream = self._coding.start(head) if head else None
        except BadCoding:
            if not self._stream_ended:
                raise BadCoding(f"this is no {self._coding.name} data") from None
            self._ignore_rest()
            return False
        if stream is None:
            self._head = head
            return False
        self._head = b""
        self._put_back(head)
        self._stream = stream
        self._stream_began = self.produced
        return True

    def _end_stream(self, rest: bytes) -> None:
        self._stream = None
        self._stream_ended = True
        if self.produced == self._stream_began:
            self._empty_streams += 1
            if self._empty_streams > _MAX_EMPTY_STREAMS:
                raise BadCoding(f"more than {_MAX_EMPTY_STREAMS} empty gzip members or zstd frames")
        if self._coding.repeats:
            self._put_back(rest)
        else:
            self._ignore_rest()

    def _ignore_rest(self) -> None:
        """Ignore the bytes after the end of the encoded data, as browsers do."""
        self._ignores_input = True
        self._input.clear()
        self._at = self.waiting = 0

    def _take(self, size: int) -> bytes:
        if not self._input:
            return b""
        first = self._input[0]
        data = first[self._at : self._at + size]
        self._at += len(data)
        if self._at >= len(first):
            self._input.popleft()
            self._at = 0
        self.waiting -= len(data)
        self.consumed += len(data)
        return data

    def _put_back(self, data: bytes) -> None:
        """Return input that was taken but not used to the front of the queue."""
        if not data:
            return
        if self._input and self._at:
            self._input[0] = self._input[0][self._at :]
        self._at = 0
        self._input.appendleft(data)
        self.waiting += len(data)
        self.consumed -= len(data)
