"""What comes in front of a body: status lines, framing, heads that break off or never end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import DEADLINE, Connection, Daemon, ScriptedOrigin, Worker, reply
from tests.support.messages import Message

Start = Callable[..., tuple[Daemon, Worker]]
SOON = DEADLINE


def both(worker: Worker, uri: str, **fields: Any) -> list[Message]:
    """The answer over the request interface, and the first message of a session that has one."""
    whole = worker.request(SOON, method="GET", uri=uri, **fields)
    session = worker.start(method="GET", uri=uri, stream=True, credits=1_000_000, **fields)
    last = session.finish(SOON)[-1]
    if last.type == b"error":
        return [whole, last]
    first = next(message for message in session.messages if message.get("code"))
    first.fields["body"] = session.body
    return [whole, first]


def once(answer: bytes) -> Callable[[Connection], None]:
    """Script: each connection gets this answer and is closed."""
    return reply(answer, close=True)


# -- status lines --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code", "reason"),
    [
        (b"HTTP/1.1 200OK", 200, b"OK"),
        (b"HTTP/1.1\t200 OK", 200, b"OK"),
        (b"HTTP/1.1 200\tOK", 200, b"OK"),
        (b"HTTP/1.1 200", 200, b""),
        (b"HTTP/1.1 200 ", 200, b""),
        (b"http/1.1 200 fine", 200, b"fine"),
        (b"HTTP/2.0 200 OK", 200, b"OK"),
        (b"HTTP/1.1 999 x", 999, b"x"),
        (b"HTTP/1.1 2000 OK", None, None),
        (b"HTTP/1.1 20 OK", None, None),
        (b"HTTP/1.1 099 OK", None, None),
        (b"HTTP/1.1  200 OK", None, None),
        (b"HTTP/1.1", None, None),
        (b"ICY 200 OK", None, None),
    ],
)
def test_every_status_line_has_one_outcome(
    worker: Worker, origin: ScriptedOrigin, line: bytes, code: int | None, reason: bytes | None
) -> None:
    origin.script = once(line + b"\r\nContent-Length: 2\r\n\r\nhi")
    for message in both(worker, origin.url()):
        assert (message.get("code"), message.get("reason")) == (code, reason)
        if code is None:
            assert message["condition"] == b"undefined-condition"
    assert "Traceback" not in worker.daemon.log()


# -- fields --------------------------------------------------------------------------------------

_TE = b"Transfer-Encoding: chunked\r\n"
_CHUNKS = b"2\r\nhi\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("fields", "body", "expected"),
    [
        (b"Content-Length: 9\r\n" + _TE, _CHUNKS, {b"transfer-encoding": b"chunked"}),
        (_TE + b"Content-Length: 9\r\n", _CHUNKS, {b"transfer-encoding": b"chunked"}),
        (b"Content-Length : 1\r\nX : y\r\n", b"hi", {b"x": b"y"}),
        (b"Content-Length\t: 1\r\n(x): y\r\n", b"hi", {}),
        (b"Content-Length: 2, 2\r\n", b"hi", {b"content-length": b"2, 2"}),
        (b"Content-Length: 2\r\nContent-Encoding: none\r\n", b"hi", None),
    ],
)
def test_fields_that_contradict_the_body_are_not_delivered(
    worker: Worker,
    origin: ScriptedOrigin,
    fields: bytes,
    body: bytes,
    expected: dict[bytes, bytes] | None,
) -> None:
    origin.script = once(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n" + body)
    for message in both(worker, origin.url()):
        assert message.body == b"hi"
        got = {name.lower(): value for name, value in message["headers"]}
        if expected is None:
            assert got == {b"content-length": b"2", b"content-encoding": b"none"}
        else:
            assert got == expected
            assert len(message["headers"]) == len(expected)


def test_lengths_that_differ(worker: Worker, origin: ScriptedOrigin) -> None:
    origin.script = once(b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nhi!")
    for message in both(worker, origin.url()):
        assert message["condition"] == b"undefined-condition"


def test_transfer_codings_are_not_asked_for_and_not_taken(
    worker: Worker, origin: ScriptedOrigin
) -> None:
    origin.script = once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, gzip\r\n\r\nhi")
    for message in both(worker, origin.url()):
        assert message["condition"] == b"undefined-condition"


# -- heads that break off, stall or never end ----------------------------------------------------

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-A: b\r\n\r\n"


@pytest.mark.parametrize("cut", [1, 2, 3, 10, len(_HEAD) - 3])
def test_an_origin_that_dies_before_the_end_of_its_head(
    worker: Worker, origin: ScriptedOrigin, cut: int
) -> None:
    origin.script = once(_HEAD[:-cut])
    for message in both(worker, origin.url()):
        assert message.get("condition") == b"undefined-condition", message.fields


def test_a_head_that_stalls_in_the_middle_of_a_line(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    """Half a line comes to us while libcurl lets go of the transfer: that is no error of ours."""

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nX-Half: a li")
        connection.expect_end()

    origin.script = script
    daemon, worker = start_daemon()
    session = worker.start(method="GET", uri=origin.url(), stream=True, credits=9, timeout=300)
    assert session.finish(SOON)[-1]["condition"] == b"session-timeout"
    cancelled = worker.start(method="GET", uri=origin.url(), stream=True, credits=9)
    origin.wait_request(2)
    threading.Event().wait(0.1)
    cancelled.cancel()
    origin.wait_closed(2)
    worker.send_req({"method": "GET", "uri": origin.url(), "timeout": 300})
    assert worker.recv_req(SOON)["condition"] == b"session-timeout"
    assert "Traceback" not in daemon.log()


def assert_ends_in_bounds(start_daemon: Start, origin: ScriptedOrigin, streamed: bool) -> None:
    """A request to an origin that never stops sending fails, and costs at most 40 MB."""
    daemon, worker = start_daemon()
    before = daemon.memory()
    if streamed:
        session = worker.start(method="GET", uri=origin.url(), stream=True, credits=9)
        answer = session.finish(20)[-1]
    else:
        answer = worker.request(20, method="GET", uri=origin.url())
    assert answer["condition"] == b"undefined-condition"
    assert daemon.memory() - before < 40_000_000


@pytest.mark.parametrize("streamed", [False, True])
def test_endless_interim_heads_end(
    start_daemon: Start, origin: ScriptedOrigin, streamed: bool
) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        block = b"HTTP/1.1 102 Processing\r\nX-Filler: %b\r\n\r\n" % (b"x" * 1000) * 100
        while True:
            connection.send(block)

    origin.script = script
    assert_ends_in_bounds(start_daemon, origin, streamed)


@pytest.mark.parametrize("streamed", [False, True])
def test_endless_trailers_end(start_daemon: Start, origin: ScriptedOrigin, streamed: bool) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n")
        block = b"X-Filler: %b\r\n" % (b"x" * 1000) * 100
        while True:
            connection.send(block)

    origin.script = script
    assert_ends_in_bounds(start_daemon, origin, streamed)


# -- signs of life -------------------------------------------------------------------------------


def _interim(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 102 Processing\r\n\r\n")


def _field(connection: Connection) -> None:
    connection.send(b"X-Field: value\r\n")


def _byte(connection: Connection) -> None:
    connection.send(b"x")


def _coded(connection: Connection) -> None:
    connection.send(b"\0\0\0\xff\xff")  # a block of DEFLATE with nothing in it


_LIVELY = {
    "interim heads": (b"", _interim, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
    "fields": (b"HTTP/1.1 200 OK\r\n", _field, b"Content-Length: 2\r\n\r\nhi"),
    "bytes of a field": (
        b"HTTP/1.1 200 OK\r\nX-Long: ",
        _byte,
        b"\r\nContent-Length: 2\r\n\r\nhi",
    ),
    "bytes of a coding": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\n\r\n",
        _coded,
        b"\1\2\0\xfd\xffhi",
    ),
}


@pytest.fixture(scope="module")
def impatient() -> object:
    """A daemon that gives up after two seconds without a sign of life."""
    with Daemon(timeout=2) as daemon:
        yield daemon


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("kind", _LIVELY)
def test_anything_that_the_origin_sends_is_activity(
    impatient: Daemon, origin: ScriptedOrigin, kind: str, streamed: bool
) -> None:
    first, more, rest = _LIVELY[kind]

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(first)
        for _ in range(6):
            threading.Event().wait(0.5)
            more(connection)
        connection.send(rest)

    origin.script = script
    with Worker(impatient, address=f"{kind}-{streamed}".replace(" ", "-").encode()) as worker:
        worker.ready()
        if streamed:
            session = worker.start(method="GET", uri=origin.url(), stream=True, credits=99)
            assert session.finish()[-1].type == b"data"
            assert session.body == b"hi"
        else:
            assert worker.request(method="GET", uri=origin.url()).body == b"hi"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\nhi"])
def test_silence_is_no_activity(
    impatient: Daemon, origin: ScriptedOrigin, sent: bytes, streamed: bool
) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(sent)
        connection.expect_end()

    origin.script = script
    with Worker(impatient, address=f"silent-{len(sent)}-{streamed}".encode()) as worker:
        worker.ready()
        if streamed:
            session = worker.start(method="GET", uri=origin.url(), stream=True, credits=99)
            answer = session.finish()[-1]
        else:
            answer = worker.request(method="GET", uri=origin.url())
        assert answer["condition"] == b"session-timeout"


# -- 101 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"])
def test_an_upgrade_that_nobody_asked_for_is_an_error(
    worker: Worker, origin: ScriptedOrigin, before: bytes
) -> None:
    """The connection stays open: libcurl would wait for another head."""
    switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"

    def script(connection: Connection) -> None:
        connection.read_head()
        connection.send(before + switching)
        connection.expect_end()

    origin.script = script
    for answer in both(worker, origin.url()):
        assert answer["condition"] == b"undefined-condition"
        assert answer["ext"]["error"] == b"not-http"
        assert b"101" in answer["ext"]["detail"]
