"""Redirects: followed as soon as their head is there, with the method, fields and body that fit."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import DEADLINE, Connection, Daemon, ScriptedOrigin, Worker, reply

Start = Callable[..., tuple[Daemon, Worker]]
Script = Callable[[Connection], None]
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
SOON = DEADLINE


def routes(first: Script, then: bytes = _OK) -> Script:
    """Script: requests of `/from` are played by `first`, all others get `then`."""

    def script(connection: Connection) -> None:
        while True:
            request = connection.read_head()
            if request.line.split()[1] == b"/from":
                first(connection)
            else:
                connection.read_body(request)
                connection.send(then)

    return script


def sending(answer: bytes) -> Script:
    """Script: reads the body of a request and sends this."""

    def script(connection: Connection) -> None:
        connection.read_body(connection.origin.requests[-1])
        connection.send(answer)

    return script


def endless(connection: Connection) -> None:
    """A redirect whose body never ends."""
    connection.send(b"HTTP/1.1 302 Found\r\nLocation: /to\r\n\r\n")
    while True:
        connection.send(b"x" * 65536)


def ask(worker: Worker, uri: str, streamed: bool, **fields: Any) -> tuple[object, bytes]:
    """Code, or condition, and body of the answer to a request that follows redirects."""
    fields = {"method": "GET", "uri": uri, "follow_redirects": True, **fields}
    if not streamed:
        message = worker.request(SOON, **fields)
        return message.get("code") or message["condition"], message.body
    session = worker.start(stream=True, credits=1_000_000, **fields)
    last = session.finish(SOON)[-1]
    codes = [message["code"] for message in session.messages if message.get("code")]
    return (last["condition"] if last.type == b"error" else codes[0]), session.body


both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])

_FOUND = b"HTTP/1.1 302 Found\r\nLocation: /to\r\n"
BODIES = {
    "coded, and is not": _FOUND + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain",
    "coded by nobody knows what": _FOUND + b"Content-Encoding: x\r\nContent-Length: 5\r\n\r\nplain",
    "coded twice": _FOUND + b"Content-Encoding: gzip, gzip\r\nContent-Length: 2\r\n\r\nhi",
    "in bad chunks": _FOUND + b"Transfer-Encoding: chunked\r\n\r\nno chunk",
    "without end": _FOUND + b"\r\n",
    "of a length that is none": _FOUND + b"Content-Length: x\r\n\r\n",
    "of two lengths": _FOUND + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nno",
    "of a length beyond all": _FOUND + b"Content-Length: %d\r\n\r\n" % 10**20,
    "in a transfer coding": _FOUND + b"Transfer-Encoding: x\r\n\r\nno",
    "coded and chunked": _FOUND + b"Transfer-Encoding: gzip, chunked\r\n\r\nno",
    "short of its length": _FOUND + b"Content-Length: 99\r\n\r\nshort",
    "as it should be": _FOUND + b"Content-Length: 2\r\n\r\nno",
    "larger than max-size": _FOUND + b"Content-Length: 500\r\n\r\n" + b"x" * 500,
}


@both_ways
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("hangs_up", [False, True], ids=["open", "closed"])
def test_the_body_of_a_redirect_is_ignored(
    worker: Worker, origin: ScriptedOrigin, body: str, hangs_up: bool, streamed: bool
) -> None:
    def script(connection: Connection) -> None:
        sending(BODIES[body])(connection)
        if hangs_up:
            connection.half_close()

    origin.script = routes(script)
    assert ask(worker, origin.url("/from"), streamed, max_size=100) == (200, b"hi")


@both_ways
def test_an_endless_body_of_a_redirect_is_not_read(
    worker: Worker, origin: ScriptedOrigin, streamed: bool
) -> None:
    origin.script = routes(endless)
    assert ask(worker, origin.url("/from"), streamed) == (200, b"hi")


@both_ways
def test_a_kept_connection_is_used_for_the_next_hop(
    worker: Worker, origin: ScriptedOrigin, streamed: bool
) -> None:
    origin.script = routes(sending(_FOUND + b"Content-Length: 2\r\n\r\nno"))
    assert ask(worker, origin.url("/from"), streamed) == (200, b"hi")
    assert origin.connections == 1


@both_ways
@pytest.mark.parametrize("location", [b"/tab\t", b"\t/tab", b" \t /tab \t "])
def test_blanks_are_no_part_of_a_location(
    worker: Worker, origin: ScriptedOrigin, location: bytes, streamed: bool
) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation:%b\r\nContent-Length: 0\r\n\r\n" % location
    origin.script = routes(sending(head))
    assert ask(worker, origin.url("/from"), streamed) == (200, b"hi")
    assert origin.requests[-1].line.split()[1] == b"/tab"


_CONTENT = [
    ["Content-Type", "text/plain"],
    ["Content-Language", "de"],
    ["Content-Location", "/x"],
    ["Content-Encoding", "gzip"],
    ["Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT"],
    ["X-Kept", "1"],
]


@both_ways
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_303_drops_the_body_and_what_was_said_about_it(
    worker: Worker, origin: ScriptedOrigin, method: str, streamed: bool
) -> None:
    origin.script = routes(
        sending(b"HTTP/1.1 303 See Other\r\nLocation: /to\r\nContent-Length: 0\r\n\r\n")
    )
    fields = {"method": method, "headers": _CONTENT, "body": "abc"}
    assert ask(worker, origin.url("/from"), streamed, **fields) == (200, b"hi")
    first, second = origin.requests
    assert first.get(b"content-encoding") == b"gzip"
    assert second.line == b"GET /to HTTP/1.1"
    assert [name for name, _ in second.headers if name.lower().startswith(b"content-")] == []
    assert second.get(b"last-modified") is None
    assert second.get(b"x-kept") == b"1"


@both_ways
def test_307_keeps_them(worker: Worker, origin: ScriptedOrigin, streamed: bool) -> None:
    origin.script = routes(
        sending(b"HTTP/1.1 307 There\r\nLocation: /to\r\nContent-Length: 0\r\n\r\n")
    )
    fields = {"method": "POST", "headers": _CONTENT, "body": "abc"}
    assert ask(worker, origin.url("/from"), streamed, **fields) == (200, b"hi")
    assert origin.requests[1].body == b"abc"
    assert origin.requests[1].get(b"content-language") == b"de"


@both_ways
@pytest.mark.parametrize("code", [b"200", b"201", b"302"])
def test_a_location_is_delivered_if_redirects_are_not_followed(
    worker: Worker, origin: ScriptedOrigin, code: bytes, streamed: bool
) -> None:
    origin.script = reply(
        b"HTTP/1.1 %b x\r\nLocation: /a\r\nLocation: /a\r\nContent-Length: 2\r\n\r\nhi" % code
    )
    follow = code != b"302"
    answer = ask(worker, origin.url(), streamed, follow_redirects=follow)
    assert answer == (int(code), b"hi")


@both_ways
def test_each_hop_is_activity(start_daemon: Start, origin: ScriptedOrigin, streamed: bool) -> None:
    def slow(connection: Connection) -> None:
        for _ in range(3):
            request = connection.read_request()
            threading.Event().wait(0.9)
            last = request.line.split()[1] == b"/3"
            place = b"/%d" % (len(connection.origin.requests))
            found = b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % place
            connection.send(_OK if last or len(connection.origin.requests) == 3 else found)

    origin.script = slow
    _, worker = start_daemon(timeout=2)
    assert ask(worker, origin.url("/0"), streamed) == (200, b"hi")


@both_ways
@pytest.mark.parametrize("place", ["ftp://127.0.0.1/", "ws://127.0.0.1:1/", "file:///etc/passwd"])
def test_other_schemes_are_not_followed(
    worker: Worker, origin: ScriptedOrigin, place: str, streamed: bool
) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % place.encode()
    origin.script = routes(sending(head))
    assert ask(worker, origin.url("/from"), streamed)[0] == b"undefined-condition"


@both_ways
def test_endless_redirects_end(worker: Worker, origin: ScriptedOrigin, streamed: bool) -> None:
    origin.script = reply(b"HTTP/1.1 302 x\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")
    assert ask(worker, origin.url(), streamed)[0] == b"too-many-redirects"
    assert len(origin.requests) == 9


@both_ways
def test_credentials_stay_with_their_origin(
    worker: Worker, origin: ScriptedOrigin, streamed: bool
) -> None:
    with ScriptedOrigin(reply(_OK)) as other:
        place = other.url("/to").encode()
        head = b"HTTP/1.1 302 x\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % place
        origin.script = reply(head)
        secrets = [["Authorization", "x"], ["Cookie", "x"], ["Proxy-Authorization", "x"]]
        uri = origin.url("/").replace("//", "//user:pass@")
        answer = ask(worker, uri, streamed, headers=[*secrets[1:], ["Accept", "a/b"]])
        assert answer == (200, b"hi")
        assert origin.requests[0].get(b"authorization") is not None
        assert other.requests[0].get(b"accept") == b"a/b"
        for name, _ in secrets:
            assert other.requests[0].get(name.lower().encode()) is None


# -- uploads -------------------------------------------------------------------------------------


def test_an_upload_goes_on_at_the_next_hop(worker: Worker, origin: ScriptedOrigin) -> None:
    """The answer comes while the body is still on its way."""

    def early(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 307 There\r\nLocation: /to\r\nContent-Length: 0\r\n\r\n")
        connection.expect_end()

    origin.script = routes(early)
    session = worker.start(
        method="POST", uri=origin.url("/from"), stream=True, credits=99, more=True,
        follow_redirects=True, body="first,",
    )  # fmt: skip
    origin.wait_request(2, complete=False)
    session.send(body="second")
    assert session.finish(SOON)[-1].type == b"data"
    assert origin.requests[1].body == b"first,second"


def test_an_upload_that_303_drops_is_taken_to_its_end(
    worker: Worker, origin: ScriptedOrigin
) -> None:
    """The worker is granted credits for bytes that are dropped, or it would wait for ever."""

    def early(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 303 See\r\nLocation: /to\r\nContent-Length: 0\r\n\r\n")
        connection.expect_end()

    def wait(connection: Connection) -> None:
        while True:
            request = connection.read_head()
            if request.line.split()[1] == b"/from":
                early(connection)
            connection.wait_for("answer")
            connection.send(_OK)

    origin.script = wait
    session = worker.start(
        method="POST", uri=origin.url("/from"), stream=True, credits=99, more=True,
        follow_redirects=True, body="x" * 1000,
    )  # fmt: skip
    origin.wait_request(2, complete=False)
    session.send(body="y" * 1000, more=True)
    granted = 0
    while granted < 200_000 + 2000:
        granted += session.next(SOON).get("credits", 0)
    origin.let("answer")
    session.send(body="")
    assert session.finish(SOON)[-1].type == b"data"
    assert origin.requests[1].line == b"GET /to HTTP/1.1"


def test_a_coded_upload_arrives_with_its_coding(worker: Worker, origin: ScriptedOrigin) -> None:
    origin.script = reply(_OK)
    packed = gzip.compress(b"hello")
    headers = [["Content-Encoding", "gzip"]]
    worker.request(method="POST", uri=origin.url(), headers=headers, body=packed)
    assert origin.requests[0].get(b"content-encoding") == b"gzip"
    assert gzip.decompress(origin.requests[0].body) == b"hello"
    worker.request(method="GET", uri=origin.url(), headers=headers)
    assert origin.requests[1].get(b"content-encoding") is None, "there is nothing to be coded"
