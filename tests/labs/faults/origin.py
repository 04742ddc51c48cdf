"""Faults of HTTP/1.1, each a function of the connection, its request and a number."""

from __future__ import annotations

import gzip
import random
import sys
import threading
import zlib
from collections.abc import Callable

import brotli

from tests.support import Connection
from tests.support.origin import Request

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Fault = Callable[[Connection, Request, int], None]

# Every part that an answer can have: two interim heads, fields, chunks with an extension, trailers.
ANSWER = (
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n"
    b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-T: t\r\n\r\n"
)
_CODED = gzip.compress(b"hello world " * 50, mtime=0)
CODED_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(_CODED)
    + _CODED
)
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
_ZEROS = bytes(20_000_000)
_BOMBS = {
    b"gzip": gzip.compress(_ZEROS, 9),
    b"deflate": zlib.compress(_ZEROS, 9),
    b"br": brotli.compress(_ZEROS, quality=5),
    b"zstd": zstd.compress(_ZEROS),
}
CODINGS = [name.decode() for name in sorted(_BOMBS)]
_STEP = 0.002  # seconds between the bytes of a trickle


def _read(connection: Connection, request: Request) -> None:
    connection.read_body(request)


def fine(connection: Connection, request: Request, _number: int) -> None:
    """No fault."""
    _read(connection, request)
    connection.send(_OK)


def reset(connection: Connection, request: Request, number: int) -> None:
    """The connection is reset behind so many bytes."""
    _read(connection, request)
    connection.send(ANSWER[:number])
    connection.reset()


def close(connection: Connection, request: Request, number: int) -> None:
    """It is closed there."""
    _read(connection, request)
    connection.send(ANSWER[:number])
    connection.close()


def close_coded(connection: Connection, request: Request, number: int) -> None:
    """It is closed within a body that has a coding."""
    _read(connection, request)
    connection.send(CODED_ANSWER[:number])
    connection.close()


def half_close(connection: Connection, request: Request, number: int) -> None:
    """Our direction is closed there, and the other stays open."""
    _read(connection, request)
    connection.send(ANSWER[:number])
    connection.half_close()
    connection.expect_end()


def stall(connection: Connection, request: Request, number: int) -> None:
    """Nothing more comes."""
    _read(connection, request)
    connection.send(ANSWER[:number])
    connection.expect_end()


def trickle(connection: Connection, request: Request, number: int) -> None:
    """Byte by byte, with a pause behind each."""
    _read(connection, request)
    for at in range(len(ANSWER)):
        connection.send(ANSWER[at : at + 1])
        if at % 10 == number % 10:
            threading.Event().wait(_STEP)


def garbage(connection: Connection, request: Request, number: int) -> None:
    """Bytes by chance, behind a good beginning or none."""
    _read(connection, request)
    chance = random.Random(number)
    start = ANSWER[: chance.randrange(len(ANSWER))] if number % 2 else b""
    connection.send(start + chance.randbytes(chance.randrange(1, 4000)))
    connection.close()


def damaged(connection: Connection, request: Request, number: int) -> None:
    """An answer in which one byte is another one."""
    _read(connection, request)
    chance = random.Random(number)
    answer = bytearray(chance.choice((ANSWER, CODED_ANSWER)))
    answer[chance.randrange(len(answer))] = chance.randrange(256)
    connection.send(bytes(answer))
    connection.close()


_LENGTHS = (
    b"Content-Length: 9\r\n\r\nhi",
    b"Content-Length: 1\r\n\r\nhi",
    b"Content-Length: -1\r\n\r\nhi",
    b"Content-Length: 99999999999999999999999\r\n\r\nhi",
    b"Content-Length: 2, 3\r\n\r\nhi",
    b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nhi",
    b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nhi",
    b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi",
    b"Transfer-Encoding: chunked, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    b"Transfer-Encoding: gzip\r\n\r\nhi",
    b"Content-Encoding: gzip, gzip, gzip\r\n\r\nhi",
)


def wrong_length(connection: Connection, request: Request, number: int) -> None:
    """Framing that contradicts the body, or itself."""
    _read(connection, request)
    connection.send(b"HTTP/1.1 200 OK\r\n" + _LENGTHS[number % len(_LENGTHS)])
    connection.close()


def bomb(connection: Connection, request: Request, number: int) -> None:
    """A body that unpacks to 20 MB."""
    _read(connection, request)
    name, body = sorted(_BOMBS.items())[number % len(_BOMBS)]
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n"
    connection.send(head % (name, len(body)) + body)


_ENDLESS = (
    (b"HTTP/1.1 200 OK\r\n", b"X-Filler: %b\r\n" % (b"x" * 500)),  # a head
    (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),  # interim heads
    (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 10_000),  # a body
    (b"HTTP/1.1 302 Found\r\nLocation: /fine/0\r\n\r\n", b"x" * 10_000),  # of a redirect
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n" * 100),  # trailers
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 1000),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * 10_000),  # an extension
    (b"HTTP/1.1 200 ", b"x" * 10_000),  # a reason
)


def endless(connection: Connection, request: Request, number: int) -> None:
    """Some part of the answer never ends."""
    _read(connection, request)
    start, more = _ENDLESS[number % len(_ENDLESS)]
    connection.send(start)
    while True:
        connection.send(more)


def redirects(connection: Connection, request: Request, number: int) -> None:
    """Redirects without end, or to nowhere."""
    _read(connection, request)
    places = (b"/redirects/0", b"http://127.0.0.1:1/", b"ftp://h/", b"//", b"\t", b"http://[::1")
    place = places[number % len(places)]
    head = b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n"
    connection.send(head % place)


def early(connection: Connection, request: Request, number: int) -> None:
    """The answer comes before the body is read: then a hang-up, a reset, silence, or the rest."""
    connection.send(_OK.replace(b"200 OK", b"413 Too Large"))
    if number % 4 == 0:
        connection.close()
    elif number % 4 == 1:
        connection.reset()
    elif number % 4 == 2:
        connection.expect_end()
    else:
        _read(connection, request)


def stray(connection: Connection, request: Request, number: int) -> None:
    """A valid answer, and then unsolicited bytes, as load balancers send 408."""
    _read(connection, request)
    connection.send(_OK)
    if number % 2:
        threading.Event().wait(0.01)
    connection.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
    connection.close()


def silent_close(connection: Connection, request: Request, _number: int) -> None:
    """A good answer that promises to keep the connection, which is closed all the same."""
    _read(connection, request)
    connection.send(_OK)
    connection.close()


_ALL = len(ANSWER) + 1
# How many numbers make a difference for each fault.
FAULTS: dict[str, tuple[Fault, int]] = {
    "fine": (fine, 1),
    "reset": (reset, _ALL),
    "close": (close, _ALL),
    "close-coded": (close_coded, len(CODED_ANSWER) + 1),
    "half-close": (half_close, _ALL),
    "stall": (stall, _ALL),
    "trickle": (trickle, 10),
    "garbage": (garbage, 1 << 30),
    "damaged": (damaged, 1 << 30),
    "wrong-length": (wrong_length, len(_LENGTHS)),
    "bomb": (bomb, len(_BOMBS)),
    "endless": (endless, len(_ENDLESS)),
    "redirects": (redirects, 6),
    "early": (early, 4),
    "stray": (stray, 2),
    "silent-close": (silent_close, 1),
}


def script(connection: Connection) -> None:
    """Play the fault that the path of each request names."""
    while True:
        request = connection.read_head()
        _, name, number = request.line.split()[1].decode().split("/")
        FAULTS[name][0](connection, request, int(number))
