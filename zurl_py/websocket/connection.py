"""An open WebSocket connection, seen from the client, without I/O (RFC 6455, RFC 7692).

It handles frames, not messages: the gateway passes on each frame when it comes, and so holds one at
most. It sends nothing by itself: the session decides who answers a ping or a close.

The frame layer is our own, because that of the ``websockets`` library costs a generator, two
objects and a system call per frame. Its masking in C and its negotiation of extensions are used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from ..errors import Error
from .deflate import BadDeflate, Deflate
from .errors import BadInput
from .events import Close, Data, Event, Ping, Pong, ProtocolViolation
from .utf8 import check_text

try:
    from websockets.speedups import apply_mask

    MASKS_IN_C = True
except ImportError:  # a build of websockets without its C extension
    from websockets.utils import apply_mask

    MASKS_IN_C = False

__all__ = ["MASKS_IN_C", "Connection"]

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_OPENING = (_TEXT, _BINARY)
_FIN, _RSV1, _RESERVED, _OPCODE = 0x80, 0x40, 0x70, 0x0F
_MASKED = 0x80

PROTOCOL_ERROR: Final = 1002
INVALID_DATA: Final = 1007
TOO_BIG: Final = 1009

# Codes that may be sent (RFC 6455 section 7.4.1 and IANA's registry), beside 3000 to 4999.
_CLOSE_CODES: Final = frozenset((*range(1000, 1004), *range(1007, 1015)))


class _Broken(Error):
    """Carries a `ProtocolViolation` out of the parser."""

    def __init__(self, code: int, reason: str) -> None:
        self.failure = ProtocolViolation(code, reason)


def _mask_keys() -> Iterator[bytes]:
    # Masks are unpredictable (RFC 6455 section 10.3); one system call makes a thousand of them.
    while True:
        pool = os.urandom(4096)
        for start in range(0, 4096, 4):
            yield pool[start : start + 4]


_next_mask = _mask_keys().__next__


class Connection:
    """Reads the origin's frames and writes ours, by the rules of the protocol.

    `receive` takes bytes from the origin, and `next_event` parses one event at a time out of them;
    what no event was asked of stays bytes. The ``send_`` methods check what the worker wants to
    send and return the bytes for the wire.

    Args:
        max_frame: payload bytes, decompressed, of the largest event; at least 1.
        deflate: permessage-deflate, if it was negotiated.
        split: hand on a larger data frame in pieces; else it is a protocol violation.

    Attributes:
        close_sent: our close frame was returned; no frame may follow it.
        ended: the origin's last event (`Close` or `ProtocolViolation`) was returned.
    """

    __slots__ = (
        "_binary",
        "_buffer",
        "_compressed",
        "_deflate",
        "_head",
        "_in_message",
        "_inflating",
        "_max_frame",
        "_missing",
        "_out_binary",
        "_out_compressed",
        "_out_message",
        "_out_tail",
        "_piece",
        "_position",
        "_split",
        "_tail",
        "_whole",
        "close_sent",
        "ended",
    )

    def __init__(self, max_frame: int, deflate: Deflate | None = None, split: bool = False) -> None:
        self._max_frame = max_frame
        self._deflate = deflate
        self._split = split
        self.close_sent = False
        self.ended = False
        # Bytes that were received and not parsed: _buffer from _position on.
        self._buffer = b""
        self._position = 0
        # A frame of which a part has come: its first byte, the payload that has come and was not
        # handed on, the number of bytes still missing, and whether no piece was handed on.
        self._head = 0
        self._piece: bytearray | None = None
        self._missing = 0
        self._whole = True
        self._inflating = False  # the decompressor has more output
        # The origin's current message.
        self._in_message = False
        self._binary = False
        self._compressed = False
        self._tail = b""
        # The worker's current message.
        self._out_message = False
        self._out_binary = False
        self._out_compressed = False
        self._out_tail = b""

    def __repr__(self) -> str:
        state = "ended" if self.ended else "close sent" if self.close_sent else "open"
        return f"<Connection {state} unread={len(self._buffer) - self._position}>"

    # -- from the origin ---------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Add bytes from the origin, for `next_event`."""
        if self.ended:
            return
        if self._position < len(self._buffer):
            data = self._buffer[self._position :] + data
        self._buffer = data
        self._position = 0

    @property
    def drained(self) -> bool:
        """Whether `next_event` returns None until more bytes come."""
        return self._position == len(self._buffer) and not self._inflating

    def next_event(self) -> Event | None:
        """The next event; None until more bytes come, and after Close or ProtocolViolation."""
        if self.ended:
            return None
        try:
            if self._inflating:
                return self._inflate()
            if self._position == len(self._buffer):
                return None
            event = self._next_frame() if self._piece is None else self._more_payload()
            # Compressed bytes may give no output yet.
            while event is None and self._piece is not None and self._position < len(self._buffer):
                event = self._more_payload()
        except _Broken as broken:
            self.ended = True
            self._buffer, self._piece = b"", None
            return broken.failure
        return event

    def _next_frame(self) -> Event | None:
        buffer = self._buffer
        position = self._position
        available = len(buffer) - position
        if available < 2:
            if available:
                self._check_head(buffer[position], 0)
            return None
        head = buffer[position]
        length = buffer[position + 1]
        # Check the head before the rest has come, so that an error is found at once.
        if self._in_message or (head != _FIN | _TEXT and head != _FIN | _BINARY):
            self._check_head(head, length & 0x7F)
        start = position + 2
        if length > 125:
            if length & _MASKED:
                raise _Broken(PROTOCOL_ERROR, "masked frame from the server")
            start += 2 if length == 126 else 8
            if available < start - position:
                return None
            shortest = 126 if length == 126 else 0x10000
            length = int.from_bytes(buffer[position + 2 : start])
            if length < shortest:
                raise _Broken(PROTOCOL_ERROR, "frame length in more bytes than needed")
        opcode = head & _OPCODE
        if length > self._max_frame and opcode < _CLOSE and not self._split:
            raise _Broken(TOO_BIG, f"frame of more than {self._max_frame} bytes")
        if length >> 63:
            raise _Broken(PROTOCOL_ERROR, "frame length with its highest bit set")
        if opcode in _OPENING:
            self._binary = opcode == _BINARY
            self._compressed = bool(head & _RSV1)
        end = start + length
        if end > len(buffer) or (length > self._max_frame and opcode < _CLOSE):
            self._position = start
            self._head = head
            self._missing = length
            self._whole = True
            self._piece = bytearray()
            return None
        self._position = end
        payload = buffer[start:end]
        if opcode >= _CLOSE:
            return _control(opcode, payload) or self._close_event(payload)
        fin = head >= _FIN
        self._in_message = not fin
        if self._compressed:
            self._head = head
            self._missing = 0
            self._whole = True
            return self._put(payload)
        if not self._binary and (self._tail or not payload.isascii()):
            self._check_text(payload, fin)
        return Data(payload, self._binary, fin)

    def _check_head(self, head: int, length: int) -> None:
        """Refuse a first byte, or the 7 bits of length, where they break the protocol.

        Raises:
            _Broken: they do.
        """
        opcode = head & _OPCODE
        reserved = head & _RESERVED
        if reserved and not (
            reserved == _RSV1 and self._deflate is not None and opcode in _OPENING
        ):
            raise _Broken(PROTOCOL_ERROR, "reserved bit set")
        if opcode == _CONTINUATION:
            if not self._in_message:
                raise _Broken(PROTOCOL_ERROR, "continuation of no message")
        elif opcode <= _BINARY:
            if self._in_message:
                raise _Broken(PROTOCOL_ERROR, "new message within a message")
        elif opcode < _CLOSE or opcode > _PONG:
            raise _Broken(PROTOCOL_ERROR, f"unknown opcode {opcode}")
        elif not head & _FIN:
            raise _Broken(PROTOCOL_ERROR, "fragmented control frame")
        elif length > 125:
            raise _Broken(PROTOCOL_ERROR, "control frame of more than 125 bytes")

    def _more_payload(self) -> Event | None:
        """Take more payload of a frame of which a part has come; check it if it is text."""
        piece = self._piece
        assert piece is not None
        position = self._position
        wanted = min(self._missing, self._max_frame - len(piece))
        opcode = self._head & _OPCODE
        if opcode >= _CLOSE:
            wanted = self._missing
        chunk = self._buffer[position : position + wanted]
        self._position = position + len(chunk)
        self._missing -= len(chunk)
        piece += chunk
        fin = self._head >= _FIN
        if opcode < _CLOSE and not self._compressed and not self._binary:
            self._check_text(chunk, fin and not self._missing)
        if len(chunk) < wanted:
            return None
        payload = bytes(piece)
        if self._missing:
            self._piece = bytearray()
        else:
            self._piece = None
            if opcode >= _CLOSE:
                return _control(opcode, payload) or self._close_event(payload)
            self._in_message = not fin
        if self._compressed:
            return self._put(payload)
        return self._data(payload, fin and not self._missing)

    def _data(self, payload: bytes, fin: bool) -> Data:
        """The event for a data frame, or for the next piece of one."""
        whole = self._whole and not self._missing and not self._inflating
        self._whole = whole
        return Data(payload, self._binary, fin, whole)

    def _check_text(self, data: bytes, final: bool) -> None:
        try:
            self._tail = check_text(self._tail, data, final)
        except UnicodeDecodeError:
            raise _Broken(INVALID_DATA, "text is not UTF-8") from None

    def _put(self, payload: bytes) -> Data | None:
        """Decompress the payload of a frame, or a piece of it; None if that gives no output yet."""
        assert self._deflate is not None
        self._deflate.put(payload, self._head >= _FIN and not self._missing)
        return self._inflate()

    def _inflate(self) -> Data | None:
        assert self._deflate is not None
        try:
            data, self._inflating = self._deflate.inflate(self._max_frame)
        except BadDeflate:
            raise _Broken(INVALID_DATA, "compressed frame cannot be decompressed") from None
        if self._inflating and not self._split:
            raise _Broken(TOO_BIG, f"frame expands to more than {self._max_frame} bytes")
        if self._missing and not data:
            return None
        fin = self._head >= _FIN and not self._missing and not self._inflating
        if not self._binary:
            self._check_text(data, fin)
        return self._data(data, fin)

    def _close_event(self, payload: bytes) -> Close:
        if not payload:
            close = Close(None, b"")
        else:
            if len(payload) == 1:
                raise _Broken(PROTOCOL_ERROR, "close frame of one byte")
            code = int.from_bytes(payload[:2])
            if not may_be_sent(code):
                raise _Broken(PROTOCOL_ERROR, f"close code {code}")
            reason = payload[2:]
            try:
                check_text(b"", reason, True)
            except UnicodeDecodeError:
                raise _Broken(INVALID_DATA, "close reason is not UTF-8") from None
            close = Close(code, reason)
        self.ended = True
        self._buffer = b""  # what follows a close is not read (RFC 6455 section 5.5.1)
        self._position = 0
        return close

    # -- from the worker ---------------------------------------------------------------------

    def send_data(self, payload: bytes, binary: bool, more: bool) -> bytes:
        """A data frame.

        Args:
            payload: any bytes; UTF-8 in a text message, where a character may span fragments.
            binary: the message is binary, else text; ignored in a continuation.
            more: the next data frame continues this message.

        Raises:
            BadInput: the text is not UTF-8, or a close frame was sent. Nothing is to be sent.
        """
        if self.close_sent:
            raise BadInput("data after close")
        first = not self._out_message
        if first:
            self._out_binary = binary
        if not self._out_binary:
            try:
                self._out_tail = check_text(self._out_tail, payload, not more)
            except UnicodeDecodeError:
                raise BadInput("text is not UTF-8") from None
        head = (_BINARY if self._out_binary else _TEXT) if first else _CONTINUATION
        if self._deflate is not None:
            if first:
                self._out_compressed = self._deflate.wants(payload, not more)
            if self._out_compressed:
                payload = self._deflate.deflate(payload, not more)
                if first:
                    head |= _RSV1
        self._out_message = more
        return _frame(head if more else head | _FIN, payload)

    def send_ping(self, payload: bytes) -> bytes:
        """A ping frame.

        Raises:
            BadInput: more than 125 bytes, or after close.
        """
        return self._control(_PING, payload, "ping")

    def send_pong(self, payload: bytes) -> bytes:
        """A pong frame.

        Raises:
            BadInput: more than 125 bytes, or after close.
        """
        return self._control(_PONG, payload, "pong")

    def _control(self, opcode: int, payload: bytes, name: str) -> bytes:
        if self.close_sent:
            raise BadInput(f"{name} after close")
        if len(payload) > 125:
            raise BadInput(f"{name} of more than 125 bytes")
        return _frame(_FIN | opcode, payload)

    def send_close(self, code: int | None, reason: bytes = b"") -> bytes:
        """A close frame; without a code it is empty, and the reason is ignored.

        Raises:
            BadInput: the code may not be sent, the reason is not UTF-8 or has more than 123 bytes,
                or a close frame was sent.
        """
        if self.close_sent:
            raise BadInput("close after close")
        payload = b""
        if code is not None:
            if not may_be_sent(code):
                raise BadInput(f"close code {code} may not be sent")
            if len(reason) > 123:
                raise BadInput("close reason of more than 123 bytes")
            try:
                check_text(b"", reason, True)
            except UnicodeDecodeError:
                raise BadInput("close reason is not UTF-8") from None
            payload = code.to_bytes(2) + reason
        self.close_sent = True
        return _frame(_FIN | _CLOSE, payload)


def _control(opcode: int, payload: bytes) -> Ping | Pong | None:
    if opcode == _PING:
        return Ping(payload)
    return Pong(payload) if opcode == _PONG else None


def may_be_sent(code: int) -> bool:
    """Whether a close frame may hold this code."""
    return code in _CLOSE_CODES or 3000 <= code <= 4999


def _frame(head: int, payload: bytes) -> bytes:
    mask = _next_mask()
    length = len(payload)
    if length < 126:
        start = bytes((head, _MASKED | length))
    elif length < 0x10000:
        start = bytes((head, _MASKED | 126)) + length.to_bytes(2)
    else:
        start = bytes((head, _MASKED | 127)) + length.to_bytes(8)
    return b"".join((start, mask, apply_mask(payload, mask)))
