"""Faults of HTTP/2: frames made by hand, as no library would send them (RFC 9113)."""

from __future__ import annotations

import ssl
import struct
from collections.abc import Callable

from tests.support import Connection

__all__ = ["FLOODS", "context", "script"]

_DATA, _HEADERS, _RESET, _SETTINGS, _PUSH, _PING, _GOAWAY, _WINDOW, _CONTINUATION = (
    0, 1, 3, 4, 5, 6, 7, 8, 9,
)  # fmt: skip
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_STATUS_200 = b"\x88"  # in the static table of HPACK (RFC 7541 appendix A)
_BATCH = 200  # frames that go out at once

Flood = Callable[[Connection, int], None]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame (section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _for_ever(connection: Connection, frames: bytes) -> None:
    while True:
        connection.send(frames)


def pings(connection: Connection, _stream: int) -> None:
    _for_ever(connection, frame(_PING, 0, 0, b"12345678") * _BATCH)


def settings(connection: Connection, _stream: int) -> None:
    _for_ever(connection, frame(_SETTINGS, 0, 0, struct.pack(">HI", 3, 100)) * _BATCH)


def resets(connection: Connection, stream: int) -> None:
    connection.send(frame(_RESET, 0, stream, struct.pack(">I", 8)))
    connection.expect_end()


def continuations(connection: Connection, stream: int) -> None:
    connection.send(frame(_HEADERS, 0, stream, _STATUS_200))
    _for_ever(connection, frame(_CONTINUATION, 0, stream, b"\x00\x01a\x01b" * 100) * 20)


def windows(connection: Connection, stream: int) -> None:
    _for_ever(connection, frame(_WINDOW, 0, stream, struct.pack(">I", 1)) * _BATCH)


def too_large_window(connection: Connection, _stream: int) -> None:
    connection.send(frame(_WINDOW, 0, 0, struct.pack(">I", (1 << 31) - 1)) * 2)
    connection.expect_end()


def empty_data(connection: Connection, stream: int) -> None:
    connection.send(frame(_HEADERS, _END_HEADERS, stream, _STATUS_200))
    _for_ever(connection, frame(_DATA, 0, stream) * _BATCH)


def pushes(connection: Connection, stream: int) -> None:
    _for_ever(connection, frame(_PUSH, _END_HEADERS, stream, struct.pack(">I", 2) + b"\x82") * 50)


def unknown(connection: Connection, stream: int) -> None:
    _for_ever(connection, frame(0xFA, 0, stream, b"x" * 100) * _BATCH)


def goaway(connection: Connection, _stream: int) -> None:
    connection.send(frame(_GOAWAY, 0, 0, struct.pack(">II", 0, 11)))
    connection.expect_end()


def bad_compression(connection: Connection, stream: int) -> None:
    connection.send(frame(_HEADERS, _END_HEADERS, stream, b"\xff" * 50))
    connection.expect_end()


def half_an_answer(connection: Connection, stream: int) -> None:
    connection.send(frame(_HEADERS, _END_HEADERS, stream, _STATUS_200))
    connection.send(frame(_DATA, 0, stream, b"half"))
    connection.reset()


def silence(connection: Connection, _stream: int) -> None:
    connection.expect_end()


def answer(connection: Connection, stream: int) -> None:
    """No fault."""
    connection.send(frame(_HEADERS, _END_HEADERS, stream, _STATUS_200))
    connection.send(frame(_DATA, _END_STREAM, stream, b"hi"))
    connection.expect_end()


FLOODS: dict[str, Flood] = {
    function.__name__.replace("_", "-"): function
    for function in (
        pings, settings, resets, continuations, windows, too_large_window, empty_data, pushes,
        unknown, goaway, bad_compression, half_an_answer, silence, answer,
    )
}  # fmt: skip


def context(made: ssl.SSLContext) -> ssl.SSLContext:
    """A server's context that speaks HTTP/2 alone."""
    made.set_alpn_protocols(["h2"])
    return made


def script(flood: str) -> Callable[[Connection], None]:
    """Script: takes the preface and a request on a stream, and then plays a fault."""

    def play(connection: Connection) -> None:
        connection.read_exactly(24)
        connection.send(frame(_SETTINGS, 0, 0))
        while True:
            head = connection.read_exactly(9)
            kind, stream = head[3], struct.unpack(">I", head[5:])[0] & 0x7FFFFFFF
            connection.read_exactly(int.from_bytes(head[:3], "big"))
            if kind == _HEADERS:
                FLOODS[flood](connection, stream)
                return

    return play
