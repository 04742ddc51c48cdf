"""What comes back: status lines, headers, bodies, codings and answers that are none."""

import gzip
import zlib

from tests.labs.differential.exchanges.common import row
from tests.labs.differential.lab import Run, exchange
from tests.support import Connection

_HEAD = b"HTTP/1.1 200 OK\r\n"


def _answer(headers: bytes = b"", body: bytes = b"", status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 " + status + b"\r\n" + headers + b"\r\n" + body


# Status line

row("status-no-reason", answer=_answer(b"Content-Length: 0\r\n", status=b"200"))
row("status-blank-reason", answer=_answer(b"Content-Length: 0\r\n", status=b"200 "))
row(
    "status-long-reason", answer=_answer(b"Content-Length: 0\r\n", status=b"299 Any text  here: x ")
)
row("status-reason-not-ascii", answer=_answer(b"Content-Length: 0\r\n", status=b"200 gr\xc3\xbcn"))
row("status-reason-binary", answer=_answer(b"Content-Length: 0\r\n", status=b"200 \xff"))
row(
    "status-reason-binary-json",
    format="J",
    answer=_answer(b"Content-Length: 0\r\n", status=b"200 \xff"),
)
row("status-999", answer=_answer(b"Content-Length: 0\r\n", status=b"999 Odd"))
row("status-600", answer=_answer(b"Content-Length: 0\r\n", status=b"600 Odd"))
row("status-two-digits", answer=_answer(b"Content-Length: 0\r\n", status=b"20 Odd"))
row("status-four-digits", answer=_answer(b"Content-Length: 0\r\n", status=b"2000 Odd"))
row("status-404", answer=_answer(b"Content-Length: 3\r\n", b"no!", status=b"404 Not Found"))
row("status-500", answer=_answer(b"Content-Length: 3\r\n", b"no!", status=b"500 Oops"))
row("status-http-1.0", answer=b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi")
row("status-http-1.0-open-end", answer=b"HTTP/1.0 200 OK\r\n\r\nhi")
row("status-http-1.2", answer=b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nhi")
row("status-http-9", answer=b"HTTP/9.9 200 OK\r\nContent-Length: 2\r\n\r\nhi")
row("status-leading-newline", answer=b"\r\n" + _answer(b"Content-Length: 2\r\n", b"hi"))
row("answer-not-http", answer=b"hello world\n")
row("answer-other-protocol", answer=b"SSH-2.0-OpenSSH_9.2\r\n")
row("answer-empty", answer=b"")
row("answer-head-breaks-off", answer=b"HTTP/1.1 200 OK\r\nContent-Le")
row("answer-status-breaks-off", answer=b"HTTP/1.1 20")

# Headers

row(
    "response-headers-order",
    answer=_answer(b"X-b: 1\r\nx-A: 2\r\nSet-Cookie: a\r\nset-cookie: b\r\nContent-Length: 0\r\n"),
)
row("response-header-blanks", answer=_answer(b"X-A:   v  \r\nX-B: v\t\r\nContent-Length: 0\r\n"))
row("response-header-no-blank", answer=_answer(b"X-A:v\r\nContent-Length: 0\r\n"))
row("response-header-tab", answer=_answer(b"X-A:\tv\r\nContent-Length: 0\r\n"))
row("response-header-empty", answer=_answer(b"X-A:\r\nContent-Length: 0\r\n"))
row("response-header-empty-blank", answer=_answer(b"X-A: \r\nContent-Length: 0\r\n"))
row("response-header-colons", answer=_answer(b"X-A: a: b:c\r\nContent-Length: 0\r\n"))
row("response-header-no-colon", answer=_answer(b"X-A\r\nContent-Length: 0\r\n"))
row("response-header-blank-before-colon", answer=_answer(b"X-A : v\r\nContent-Length: 0\r\n"))
row("response-header-folded", answer=_answer(b"X-A: a\r\n  b\r\nContent-Length: 0\r\n"))
row("response-header-binary", answer=_answer(b"X-A: \xff\r\nContent-Length: 0\r\n"))
row(
    "response-header-binary-json", format="J", answer=_answer(b"X-A: \xff\r\nContent-Length: 0\r\n")
)
row("response-header-nul", answer=_answer(b"X-A: a\x00b\r\nContent-Length: 0\r\n"))
row("response-header-long", answer=_answer(b"X-A: " + b"a" * 60000 + b"\r\nContent-Length: 0\r\n"))
row("response-header-bare-newlines", answer=b"HTTP/1.1 200 OK\nX-A: a\nContent-Length: 2\n\nhi")
row("response-connection-headers", answer=_answer(b"Connection: close\r\nKeep-Alive: x\r\n", b"hi"))
row("response-headers-of-400-kilobytes", answer=_answer((b"X-A: " + b"a" * 4000 + b"\r\n") * 100))

# Body and its length

row("body-empty", answer=_answer(b"Content-Length: 0\r\n"))
row("body-to-end-of-connection", answer=_answer(b"", b"to the end"))
row("body-empty-to-end", answer=_answer(b"", b""))
row("body-short", answer=_answer(b"Content-Length: 10\r\n", b"short"))
row("body-surplus", answer=_answer(b"Content-Length: 2\r\n", b"hi there"))
row("body-not-utf8", answer=_answer(b"Content-Length: 3\r\n", b"a\xffb"))
row("body-not-utf8-json", format="J", answer=_answer(b"Content-Length: 3\r\n", b"a\xffb"))
row("body-cut-utf8-json", format="J", answer=_answer(b"Content-Length: 4\r\n", b"a\xe2\x98b"))
row("body-nul-json", format="J", answer=_answer(b"Content-Length: 3\r\n", b"a\x00b"))
row("body-utf8-json", format="J", answer=_answer(b"Content-Length: 6\r\n", 'a☃"\n'.encode()))
row("body-large", answer=_answer(b"Content-Length: 700000\r\n", b"0123456789" * 70000))
row("body-bad-length", answer=_answer(b"Content-Length: x\r\n", b"hi"))
row("body-negative-length", answer=_answer(b"Content-Length: -1\r\n", b"hi"))
row("body-huge-length", answer=_answer(b"Content-Length: 99999999999999999999\r\n", b"hi"))
row("body-lengths-differ", answer=_answer(b"Content-Length: 2\r\nContent-Length: 3\r\n", b"hi!"))
row("body-lengths-equal", answer=_answer(b"Content-Length: 2\r\nContent-Length: 2\r\n", b"hi"))
row("body-length-list", answer=_answer(b"Content-Length: 2, 2\r\n", b"hi"))

_CHUNKED = b"Transfer-Encoding: chunked\r\n"
row("chunked", answer=_answer(_CHUNKED, b"2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n"))
row("chunked-empty", answer=_answer(_CHUNKED, b"0\r\n\r\n"))
row("chunked-extension", answer=_answer(_CHUNKED, b"2;a=b\r\nhi\r\n0;x\r\n\r\n"))
row(
    "chunked-trailers",
    answer=_answer(_CHUNKED + b"Trailer: X-T\r\n", b"2\r\nhi\r\n0\r\nX-T: 1\r\n\r\n"),
)
row("chunked-upper-case", answer=_answer(_CHUNKED, b"0A\r\n0123456789\r\n0\r\n\r\n"))
row("chunked-bad-size", answer=_answer(_CHUNKED, b"2\r\nhi\r\nzz\r\n"))
row("chunked-missing-newline", answer=_answer(_CHUNKED, b"2\r\nhi!0\r\n\r\n"))
row("chunked-no-end", answer=_answer(_CHUNKED, b"2\r\nhi\r\n"))
row("chunked-breaks-off", answer=_answer(_CHUNKED, b"5\r\nhi"))
row(
    "chunked-and-length",
    answer=_answer(_CHUNKED + b"Content-Length: 5\r\n", b"2\r\nhi\r\n0\r\n\r\n"),
)
row("chunked-http-1.0", answer=b"HTTP/1.0 200 OK\r\n" + _CHUNKED + b"\r\n2\r\nhi\r\n0\r\n\r\n")
row(
    "transfer-gzip-chunked",
    answer=_answer(b"Transfer-Encoding: gzip, chunked\r\n", b"2\r\nhi\r\n0\r\n\r\n"),
)
row("transfer-unknown", answer=_answer(b"Transfer-Encoding: foo\r\n", b"hi"))

# Answers without a body

for _method, _status in (("HEAD", "200 OK"), ("GET", "204 None"), ("GET", "304 Same")):
    for _kind, _headers in (
        ("length", b"Content-Length: 5\r\n"),
        ("chunked", _CHUNKED),
        ("gzip", b"Content-Encoding: gzip\r\nContent-Length: 5\r\n"),
        ("nothing", b""),
    ):
        row(
            f"no-body-{_method}-{_status[:3]}-{_kind}",
            method=_method,
            answer=_answer(_headers, status=_status.encode()),
        )
row("no-body-204-with-body", answer=_answer(b"Content-Length: 2\r\n", b"hi", status=b"204 None"))
row("no-body-head-with-body", method="HEAD", answer=_answer(b"Content-Length: 2\r\n", b"hi"))
row("status-205", answer=_answer(b"Content-Length: 2\r\n", b"hi", status=b"205 Reset"))

# Content codings

_PLAIN = b"plain text " * 20


def _coded(coding: str, data: bytes, chunked: bool = False) -> bytes:
    head = b"Content-Encoding: " + coding.encode() + b"\r\n"
    if chunked:
        return _answer(head + _CHUNKED, b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data))
    return _answer(head + b"Content-Length: %d\r\n" % len(data), data)


_GZIP = gzip.compress(_PLAIN, mtime=0)
row("coding-gzip", answer=_coded("gzip", _GZIP))
row("coding-x-gzip", answer=_coded("x-gzip", _GZIP))
row("coding-gzip-upper-case", answer=_coded("GZIP", _GZIP))
row("coding-gzip-chunked", answer=_coded("gzip", _GZIP, chunked=True))
row("coding-gzip-empty", answer=_coded("gzip", b""))
row("coding-gzip-bad", answer=_coded("gzip", b"this is no gzip data"))
row("coding-gzip-cut", answer=_coded("gzip", _GZIP[:-12]))
row("coding-gzip-surplus", answer=_coded("gzip", _GZIP + b"more"))
row("coding-gzip-to-end", answer=_answer(b"Content-Encoding: gzip\r\n", _GZIP))
row("coding-deflate", answer=_coded("deflate", zlib.compress(_PLAIN)))
row("coding-deflate-raw", answer=_coded("deflate", zlib.compress(_PLAIN)[2:-4]))
row("coding-twice", answer=_coded("gzip, gzip", gzip.compress(_GZIP, mtime=0)))
row("coding-br", answer=_coded("br", b"\x0b\x02\x80hello\x03"))
row("coding-identity", answer=_coded("identity", b"hi"))
row("coding-unknown", answer=_coded("foo", b"hi"))
row("coding-empty-name", answer=_coded("", b"hi"))
row("coding-on-error", answer=_coded("gzip", _GZIP).replace(b"200 OK", b"404 No"))

# Interim answers

row(
    "interim-100",
    answer=b"HTTP/1.1 100 Continue\r\nX-A: 1\r\n\r\n" + _answer(b"Content-Length: 2\r\n", b"hi"),
)
row(
    "interim-102",
    answer=b"HTTP/1.1 102 Processing\r\n\r\n" + _answer(b"Content-Length: 2\r\n", b"hi"),
)
row(
    "interim-103",
    answer=b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + _answer(b"Content-Length: 2\r\n", b"hi"),
)
row(
    "interim-101",
    answer=b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"
    + _answer(b"Content-Length: 2\r\n", b"hi"),
)
row(
    "interim-many",
    answer=b"HTTP/1.1 100 Continue\r\n\r\n" * 5 + _answer(b"Content-Length: 2\r\n", b"hi"),
)
row("interim-only", answer=b"HTTP/1.1 100 Continue\r\n\r\n")


def _interim_early(name: str, interim: bytes) -> None:
    @exchange(name)
    def run(x: Run) -> None:
        """An interim answer well before the answer, as the other side of a slow origin sees it."""

        def script(connection: Connection) -> None:
            connection.read_request()
            connection.send(interim)
            connection.wait_for("answer")
            connection.send(_answer(b"Content-Length: 2\r\n", b"hi"))

        x.origin.script = script
        session = x.start(method="GET", uri=x.origin.url(), stream=True, credits=100)
        session.next()
        x.origin.wait_request()
        for _ in range(5):  # turns of the daemon in which it would deliver the interim answer
            x.req(method="GET", uri=x.another_origin().url())
        x.origin.let("answer")
        x.finish(session)


_interim_early("interim-early-100", b"HTTP/1.1 100 Continue\r\n\r\n")
_interim_early("interim-early-103", b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n")


# Connections that end


@exchange()
def reset_before_answer(x: Run) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.reset()

    x.origin.script = script
    x.req(method="GET", uri=x.origin.url())
    x.fetch(method="GET", uri=x.origin.url())


@exchange()
def reset_within_body(x: Run) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(_answer(b"Content-Length: 10\r\n", b"part"))
        connection.wait_for("reset")
        connection.reset()

    x.origin.script = script
    session = x.start(method="GET", uri=x.origin.url(), stream=True, credits=100)
    while session.body != b"part":
        session.next()
    x.origin.let("reset")
    x.finish(session)


@exchange()
def half_close_after_answer(x: Run) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(_answer(b"", b"to the end"))
        connection.half_close()
        connection.expect_end()

    x.origin.script = script
    x.req(method="GET", uri=x.origin.url())


@exchange()
def answer_before_request_body_read(x: Run) -> None:
    """The origin answers and hangs up without reading a large body."""

    def script(connection: Connection) -> None:
        connection.read_head()
        connection.send(_answer(b"Content-Length: 2\r\n", b"no", status=b"413 Too Large"))
        connection.half_close()
        connection.expect_end()

    x.origin.script = script
    answer = x.req(method="POST", uri=x.origin.url(), body=b"x" * 1_500_000)
    assert answer is not None


@exchange()
def answer_byte_by_byte(x: Run) -> None:
    def script(connection: Connection) -> None:
        while True:
            connection.read_request()
            for byte in _answer(b"X-A: b\r\n" + _CHUNKED, b"2\r\nhi\r\n0\r\n\r\n"):
                connection.send(bytes([byte]))

    x.origin.script = script
    x.req(method="GET", uri=x.origin.url())
    x.fetch(method="GET", uri=x.origin.url())
