"""What the origin said besides, and what a worker may ask for by `ext`."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.labs.faults.http2 import frame
from tests.support import (
    DEADLINE,
    CertificateAuthority,
    Connection,
    Daemon,
    ScriptedOrigin,
    Worker,
    reply,
)
from tests.support.messages import Message

Start = Callable[..., tuple[Daemon, Worker]]
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n"
SOON = DEADLINE

formats = pytest.mark.parametrize("format", ["J", "T", "M"])


def ask(worker: Worker, uri: str, ext: dict[str, Any], **fields: Any) -> Message:
    """The answer over the request interface."""
    return worker.request(SOON, method="GET", uri=uri, ext=ext, **fields)


def stream(worker: Worker, uri: str, ext: dict[str, Any], **fields: Any) -> list[Message]:
    """The messages of a session to its end."""
    fields = {"method": "GET", "stream": True, "credits": 1_000_000, **fields}
    session = worker.start(uri=uri, ext=ext, **fields)
    return session.finish(SOON)


def plain(value: Any) -> Any:
    """A value of `ext` with text in place of bytes, whatever the format."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return {plain(key): plain(content) for key, content in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(content) for content in value]
    return value


def ext_of(message: Message) -> dict[str, Any]:
    found = plain(message.get("ext") or {})
    assert isinstance(found, dict)
    return found


# -- what is asked for in the wrong way ----------------------------------------------------------

WRONG: list[dict[str, Any]] = [
    {name: value}
    for name in ("raw", "truncate", "timing", "trailers", "interim", "history")
    for value in ("true", 1, None)
]
WRONG += [{"max-redirects": value} for value in (-1, 21, "8", True, None, 1.5)]
WRONG += [{"connect-timeout": value} for value in ("200", "soon", True, None)]
WRONG += [{"redirect-method": value} for value in ("post", "GET", "", True, None)]


@pytest.mark.parametrize("ext", WRONG, ids=json.dumps)
def test_a_wrong_type_is_a_bad_request(
    worker: Worker, origin: ScriptedOrigin, ext: dict[str, Any]
) -> None:
    answer = ask(worker, origin.url(), ext)
    assert answer["condition"] == b"bad-request"
    assert next(iter(ext)) in ext_of(answer)["detail"]
    assert not origin.requests


def test_without_ext_packets_are_as_before(worker: Worker, origin: ScriptedOrigin) -> None:
    origin.script = reply(_OK)
    assert "ext" not in worker.request(SOON, method="GET", uri=origin.url())
    assert all("ext" not in message for message in stream(worker, origin.url(), {}))


# -- raw -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("accepted", [None, "gzip", "br;q=0.5, zstd"])
def test_raw(worker: Worker, origin: ScriptedOrigin, accepted: str | None) -> None:
    packed = gzip.compress(b"hello")
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    origin.script = reply(head + packed)
    headers = [] if accepted is None else [["Accept-Encoding", accepted]]
    whole = ask(worker, origin.url(), {"raw": True}, headers=headers)
    streamed = stream(worker, origin.url(), {"raw": True}, headers=headers)
    assert whole.body == b"".join(message.body for message in streamed) == packed
    names = dict(whole["headers"])
    assert names[b"Content-Encoding"] == b"gzip"
    assert names[b"Content-Length"] == b"%d" % len(packed)
    for request in origin.requests:
        assert request.get(b"accept-encoding") == (accepted.encode() if accepted else None)


def test_raw_counts_what_is_handed_over(worker: Worker, origin: ScriptedOrigin) -> None:
    packed = gzip.compress(bytes(10_000))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    origin.script = reply(head + packed)
    assert ask(worker, origin.url(), {"raw": True}, max_size=len(packed)).body == packed
    answer = ask(worker, origin.url(), {"raw": True}, max_size=len(packed) - 1)
    assert answer["condition"] == b"max-size-exceeded"


# -- truncate ------------------------------------------------------------------------------------

_BODY = bytes(range(256)) * 2000
_PLAIN = b"HTTP/1.1 404 Not Found\r\nX-A: b\r\nContent-Length: %d\r\n\r\n" % len(_BODY) + _BODY
_ENDLESS = b"HTTP/1.1 404 Not Found\r\nX-A: b\r\n\r\n" + _BODY
_PACKED = gzip.compress(_BODY, mtime=0)
_CODED = b"HTTP/1.1 404 Not Found\r\nX-A: b\r\nContent-Encoding: gzip\r\n\r\n" + _PACKED


@pytest.mark.parametrize("answer", [_PLAIN, _ENDLESS, _CODED], ids=["plain", "endless", "coded"])
@pytest.mark.parametrize("size", [0, 1, 1000, 70_000])
def test_truncate(worker: Worker, origin: ScriptedOrigin, answer: bytes, size: int) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(answer)
        if answer is _ENDLESS:
            while True:
                connection.send(bytes(65536))

    origin.script = script
    whole = ask(worker, origin.url(), {"truncate": True}, max_size=size)
    assert (whole["code"], whole.body) == (404, _BODY[:size])
    assert (b"X-A", b"b") in [tuple(pair) for pair in whole["headers"]]
    assert ext_of(whole) == {"truncated": True}
    messages = stream(worker, origin.url(), {"truncate": True}, max_size=size)
    assert b"".join(message.body for message in messages) == _BODY[:size]
    assert ext_of(messages[-1]) == {"truncated": True}
    assert messages[-1].type == b"data"


@pytest.mark.parametrize("answer", [_PLAIN, _CODED], ids=["plain", "coded"])
@pytest.mark.parametrize("size", [len(_BODY), len(_BODY) + 1, None])
def test_truncate_cuts_nothing_that_fits(
    worker: Worker, origin: ScriptedOrigin, answer: bytes, size: int | None
) -> None:
    origin.script = reply(answer, close=True)
    limit = {} if size is None else {"max_size": size}
    whole = ask(worker, origin.url(), {"truncate": True}, **limit)
    assert whole.body == _BODY
    assert "truncated" not in ext_of(whole)
    messages = stream(worker, origin.url(), {"truncate": True}, **limit)
    assert b"".join(message.body for message in messages) == _BODY
    assert "truncated" not in ext_of(messages[-1])


def test_truncate_of_a_redirect_is_about_the_last_answer(
    worker: Worker, origin: ScriptedOrigin
) -> None:
    found = b"HTTP/1.1 302 x\r\nLocation: /to\r\nContent-Length: 500\r\n\r\n" + b"x" * 500

    def script(connection: Connection) -> None:
        while True:
            line = connection.read_request().line
            connection.send(_OK if b"/to" in line else found)

    origin.script = script
    answer = ask(worker, origin.url(), {"truncate": True}, max_size=1, follow_redirects=True)
    assert (answer["code"], answer.body, ext_of(answer)) == (200, b"h", {"truncated": True})


# -- timing --------------------------------------------------------------------------------------

_PHASES = ["resolve", "connect", "tls", "first-byte", "total"]


@formats
def test_timing(worker: Worker, tls_origin: ScriptedOrigin, format: str) -> None:
    def script(connection: Connection) -> None:
        while True:
            connection.read_request()
            threading.Event().wait(0.05)
            connection.send(_OK)

    tls_origin.script = script
    uri = tls_origin.url(host="localhost")
    fields = {"format": format, "connect_host": "127.0.0.1"}
    first = ext_of(ask(worker, uri, {"timing": True}, **fields))
    second = ext_of(ask(worker, uri, {"timing": True}, **fields))
    for ext in (first, second):
        assert all(isinstance(ext[phase], int) and ext[phase] >= 0 for phase in _PHASES)
        assert 50_000 <= ext["first-byte"] <= ext["total"] < SOON * 1_000_000
        assert sum(ext[phase] for phase in _PHASES[:4]) <= ext["total"] * 1.1
        assert ext["http-version"] == "1.1"
        assert ext["address"] == "127.0.0.1"
    assert (first["reused"], second["reused"]) == (False, True)
    assert first["tls"] > 0
    assert second["tls"] == second["connect"] == 0


def test_timing_stands_in_the_last_packet(worker: Worker, origin: ScriptedOrigin) -> None:
    origin.script = reply(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + bytes(300_000))
    messages = stream(worker, origin.url(), {"timing": True})
    assert set(_PHASES) <= set(ext_of(messages[-1]))
    assert not any(ext_of(message) for message in messages[:-1])


def test_an_address_that_the_policy_refuses_is_not_reported(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    origin.script = reply(_OK)
    _, worker = start_daemon(deny="@private", allow="localhost->127.0.0.0/8")
    answer = ask(worker, origin.url(host="localhost"), {"timing": True})
    assert answer["code"] == 200
    assert "address" not in ext_of(answer)


# -- trailers ------------------------------------------------------------------------------------


@formats
def test_trailers(worker: Worker, origin: ScriptedOrigin, format: str) -> None:
    origin.script = reply(
        _CHUNKED + b"Digest:  abc \r\nX-two: 2\r\nHTTP/1.1 200 FAKE: x\r\nX-two: 3\r\n\r\n"
    )
    expected = [["Digest", "abc"], ["X-two", "2"], ["HTTP/1.1 200 FAKE", "x"], ["X-two", "3"]]
    whole = ask(worker, origin.url(), {"trailers": True}, format=format)
    assert ext_of(whole) == {"trailers": expected}
    assert len(whole["headers"]) == 1
    messages = stream(worker, origin.url(), {"trailers": True})
    assert ext_of(messages[-1]) == {"trailers": expected}
    assert b"".join(message.body for message in messages) == b"hi"
    for request in origin.requests:
        assert request.get(b"te") == b"trailers"
        assert (request.get(b"connection") or b"").lower() == b"te"


def test_trailers_are_there_if_none_came(worker: Worker, origin: ScriptedOrigin) -> None:
    origin.script = reply(_OK)
    assert ext_of(ask(worker, origin.url(), {"trailers": True})) == {"trailers": []}
    assert ext_of(stream(worker, origin.url(), {"trailers": True})[-1]) == {"trailers": []}
    headers = [["TE", "gzip"]]
    ask(worker, origin.url(), {"trailers": True}, headers=headers)
    assert [v for k, v in origin.requests[-1].headers if k.lower() == b"te"] == [b"trailers"]


def test_trailers_that_nobody_asked_for(worker: Worker, origin: ScriptedOrigin) -> None:
    origin.script = reply(_CHUNKED + b"Digest: abc\r\n\r\n")
    for message in (ask(worker, origin.url(), {}), stream(worker, origin.url(), {})[-1]):
        assert "ext" not in message
    assert origin.requests[0].get(b"te") is None
    with_others = ask(worker, origin.url(), {"trailers": False, "history": False, "raw": False})
    assert "ext" not in with_others


# -- interim -------------------------------------------------------------------------------------

_INTERIM = (
    b"HTTP/1.1 100 Continue\r\n\r\n"
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    b"HTTP/1.1 102 Processing\r\n\r\n"
)
_TOLD = [
    {"code": 103, "reason": "Early Hints", "headers": [["Link", "</a>"]]},
    {"code": 102, "reason": "Processing", "headers": []},
]


@formats
def test_interim_heads_of_a_whole_answer(
    worker: Worker, origin: ScriptedOrigin, format: str
) -> None:
    origin.script = reply(_INTERIM + _OK)
    answer = ask(worker, origin.url(), {"interim": True}, format=format)
    assert answer.body == b"hi"
    assert ext_of(answer) == {"interim": _TOLD}
    followed = ask(worker, origin.url(), {"interim": True}, follow_redirects=True)
    assert ext_of(followed) == {"interim": _TOLD}


def test_interim_heads_of_a_stream_come_as_they_come(
    worker: Worker, origin: ScriptedOrigin
) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        connection.wait_for("answer")
        connection.send(_OK)

    origin.script = script
    session = worker.start(
        method="GET", uri=origin.url(), stream=True, credits=0, ext={"interim": True}
    )
    assert session.next(SOON).type == b"keep-alive"
    told = session.next(SOON)
    assert (told.type, ext_of(told)) == (b"keep-alive", {"interim": _TOLD[0]})
    origin.let("answer")
    session.credit(100)
    messages = session.finish(SOON)
    assert "ext" not in messages[-1]


def test_interim_heads_are_there_if_none_came(worker: Worker, origin: ScriptedOrigin) -> None:
    origin.script = reply(_OK)
    assert ext_of(ask(worker, origin.url(), {"interim": True})) == {"interim": []}
    assert "ext" not in stream(worker, origin.url(), {"interim": True})[-1]


def test_the_number_of_forwarded_interim_heads_is_limited(
    worker: Worker, origin: ScriptedOrigin
) -> None:
    origin.script = reply(b"HTTP/1.1 102 Processing\r\n\r\n" * 40 + _OK)
    assert len(ext_of(ask(worker, origin.url(), {"interim": True}))["interim"]) == 16
    messages = stream(worker, origin.url(), {"interim": True})
    assert len([message for message in messages if "interim" in ext_of(message)]) == 16


@pytest.mark.parametrize("streamed", [False, True])
def test_interim_heads_of_the_last_hop_alone(
    worker: Worker, origin: ScriptedOrigin, streamed: bool
) -> None:
    found = b"HTTP/1.1 302 x\r\nLocation: /to\r\nContent-Length: 0\r\n\r\n"
    origin.script = reply(b"HTTP/1.1 199 First\r\n\r\n" + found, _INTERIM + _OK)
    if streamed:
        messages = stream(worker, origin.url(), {"interim": True}, follow_redirects=True)
        told = [ext_of(m)["interim"] for m in messages if "interim" in ext_of(m)]
        assert [head for head in told if head["code"] != 199] == _TOLD
    else:
        answer = ask(worker, origin.url(), {"interim": True}, follow_redirects=True)
        assert ext_of(answer) == {"interim": _TOLD}


# -- history, max-redirects, redirect-method -----------------------------------------------------


def chain(length: int, code: bytes = b"302") -> Callable[[Connection], None]:
    """Script: /0 leads to /1, and so on, up to the answer at /`length`."""

    def script(connection: Connection) -> None:
        while True:
            number = int(connection.read_request().line.split()[1][1:].partition(b"?")[0])
            found = b"HTTP/1.1 %b x\r\nLocation: /%d?q\r\nContent-Length: 0\r\n\r\n"
            connection.send(_OK if number == length else found % (code, number + 1))

    return script


@formats
def test_history(worker: Worker, origin: ScriptedOrigin, format: str) -> None:
    origin.script = chain(2)
    uri = origin.url("/0?a=b#f").replace("//", "//user:secret@")
    answer = ask(worker, uri, {"history": True}, format=format, follow_redirects=True)
    expected = {
        "uri": origin.url("/2?q"),
        "redirects": [
            {"uri": origin.url("/0?a=b"), "code": 302},
            {"uri": origin.url("/1?q"), "code": 302},
        ],
    }
    assert ext_of(answer) == expected
    messages = stream(worker, uri, {"history": True}, follow_redirects=True)
    [with_head] = [message for message in messages if message.get("code")]
    assert ext_of(with_head) == expected


def test_history_without_redirects(worker: Worker, origin: ScriptedOrigin) -> None:
    origin.script = reply(_OK)
    expected = {"uri": origin.url("/a"), "redirects": []}
    assert ext_of(ask(worker, origin.url("/a"), {"history": True})) == expected


@pytest.mark.parametrize("streamed", [False, True])
def test_history_stands_in_errors(worker: Worker, origin: ScriptedOrigin, streamed: bool) -> None:
    origin.script = chain(100)
    fields: dict[str, Any] = {
        "follow_redirects": True,
        "ext": {"history": True, "max-redirects": 2},
    }
    ext = fields.pop("ext")
    answer = (
        stream(worker, origin.url("/0"), ext, **fields)[-1]
        if streamed
        else ask(worker, origin.url("/0"), ext, **fields)
    )
    assert answer["condition"] == b"too-many-redirects"
    found = ext_of(answer)
    assert found["error"] == "too-many-redirects"
    assert found["uri"] == origin.url("/2?q")
    assert [entry["uri"] for entry in found["redirects"]] == [origin.url("/0"), origin.url("/1?q")]


@pytest.mark.parametrize(("most", "length", "good"), [(0, 0, True), (0, 1, False), (3, 3, True),
                                                      (3, 4, False), (20, 20, True),
                                                      (20, 21, False)])  # fmt: skip
@pytest.mark.parametrize("streamed", [False, True])
def test_max_redirects(
    worker: Worker, origin: ScriptedOrigin, most: int, length: int, good: bool, streamed: bool
) -> None:
    origin.script = chain(length)
    ext = {"max-redirects": most}
    if streamed:
        answer = stream(worker, origin.url("/0"), ext, follow_redirects=True)[-1]
    else:
        answer = ask(worker, origin.url("/0"), ext, follow_redirects=True)
    if good:
        assert answer.type == b"data"
    else:
        assert answer["condition"] == b"too-many-redirects"
    assert len(origin.requests) == min(length, most) + 1


def test_max_redirects_is_ignored_where_none_are_followed(
    worker: Worker, origin: ScriptedOrigin
) -> None:
    origin.script = chain(3)
    assert ask(worker, origin.url("/0"), {"max-redirects": 0})["code"] == 302


@pytest.mark.parametrize("code", [b"301", b"302", b"307", b"308"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("as_get", [False, True])
def test_redirect_method(
    worker: Worker, origin: ScriptedOrigin, code: bytes, method: str, as_get: bool
) -> None:
    origin.script = chain(1, code)
    ext = {"redirect-method": "get"} if as_get else {}
    headers = [["Content-Type", "text/plain"], ["X-Kept", "1"]]
    answer = worker.request(
        SOON, method=method, uri=origin.url("/0"), ext=ext, follow_redirects=True,
        headers=headers, body="abc",
    )  # fmt: skip
    assert answer["code"] == 200
    second = origin.requests[1]
    if as_get and method == "POST" and code in (b"301", b"302"):
        assert (second.line, second.framing) == (b"GET /1?q HTTP/1.1", "none")
        assert second.get(b"content-type") is None
    else:
        assert second.line == b"%b /1?q HTTP/1.1" % method.encode()
        assert second.body == b"abc"
    assert second.get(b"x-kept") == b"1"


# -- together ------------------------------------------------------------------------------------


def test_all_extras_at_once(worker: Worker, origin: ScriptedOrigin) -> None:
    found = b"HTTP/1.1 302 x\r\nLocation: /to\r\nContent-Length: 0\r\n\r\n"
    origin.script = reply(found, _INTERIM + _CHUNKED + b"Digest: abc\r\n\r\n")
    ext = {"history": True, "trailers": True, "interim": True, "timing": True, "multi": True}
    answer = ext_of(ask(worker, origin.url(), ext, follow_redirects=True))
    assert {"uri", "redirects", "trailers", "interim", "total"} <= set(answer)
    messages = stream(worker, origin.url(), ext, follow_redirects=True)
    assert ext_of(messages[0]) == {"multi": True}
    assert {"trailers", "total"} <= set(ext_of(messages[-1]))


# -- over HTTP/2 ---------------------------------------------------------------------------------


def _speak_http2(connection: Connection) -> None:
    """An interim head, an answer and trailers, in frames made by hand (RFC 9113, RFC 7541)."""
    headers, data, end_stream, end_headers = 1, 0, 1, 4
    connection.read_exactly(24)
    connection.send(frame(4, 0, 0))
    while True:
        head = connection.read_exactly(9)
        connection.read_exactly(int.from_bytes(head[:3], "big"))
        if head[3] != headers:
            continue
        stream = int.from_bytes(head[5:], "big")
        connection.send(
            frame(headers, end_headers, stream, b"\x08\x03103\x00\x04link\x04</a>")
            + frame(headers, end_headers, stream, b"\x88")
            + frame(data, 0, stream, b"hi")
            + frame(headers, end_headers | end_stream, stream, b"\x00\x06digest\x03abc")
        )


def test_trailers_and_interim_heads_of_http2(
    worker: Worker, authority: CertificateAuthority
) -> None:
    tls = authority.server_context()
    tls.set_alpn_protocols(["h2"])
    ext = {"trailers": True, "interim": True, "timing": True}
    interim = {"code": 103, "reason": "", "headers": [["link", "</a>"]]}
    with ScriptedOrigin(_speak_http2, tls=tls) as origin:
        whole = ask(worker, origin.url(host="localhost"), ext)
        found = ext_of(whole)
        assert (whole["code"], whole.body) == (200, b"hi")
        assert found["trailers"] == [["digest", "abc"]]
        assert found["interim"] == [interim]
        assert found["http-version"] == "2"
        messages = stream(worker, origin.url(host="localhost"), ext)
        assert ext_of(messages[-1])["trailers"] == [["digest", "abc"]]
        assert [ext_of(m)["interim"] for m in messages if "interim" in ext_of(m)] == [interim]
