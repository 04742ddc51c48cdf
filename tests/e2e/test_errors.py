"""Every error says what happened: a condition, a stable name, and words for people."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import Connection, Daemon, Message, ScriptedOrigin, Worker, reply
from tests.support.origin import dead_port

Start = Callable[..., tuple[Daemon, Worker]]
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def told(message: Message) -> tuple[bytes, bytes]:
    """Condition and name; the detail is there and says something."""
    assert message.type == b"error", message
    assert len(message["ext"]["detail"]) > 5, message
    return message["condition"], message["ext"]["error"]


def hold(connection: Connection) -> None:
    connection.read_request()
    connection.expect_end()


def both(worker: Worker, **fields: Any) -> tuple[bytes, bytes]:
    """What the request interface says, which must be what the streaming one says."""
    worker.send_req({key.replace("_", "-"): value for key, value in fields.items()})
    whole = told(worker.recv_req())
    streamed = told(worker.start(stream=True, credits=100, **fields).finish()[-1])
    assert whole == streamed
    return whole


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"uri": ""}, b"bad-uri"),
        ({"uri": "http://"}, b"bad-uri"),
        ({"uri": "ftp://127.0.0.1/"}, b"bad-uri"),
        ({"uri": "http://127.0.0.1:99999/"}, b"bad-uri"),
        ({"method": ""}, b"bad-method"),
        ({"method": "GET it"}, b"bad-method"),
        ({"headers": [["a b", "c"]]}, b"bad-header"),
        ({"headers": [["a", "b\r\nc: d"]]}, b"bad-header"),
        ({"connect_port": 70000}, b"bad-message"),
        ({"connect_host": "a/b"}, b"bad-message"),
    ],
)
def test_bad_requests(worker: Worker, fields: dict[str, Any], error: bytes) -> None:
    fields = {"method": "GET", "uri": "http://127.0.0.1/", **fields}
    assert both(worker, **fields) == (b"bad-request", error)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timeout", []),
        ("more", 1),
        ("headers", "none"),
        ("method", None),
        ("ext", {"raw": "yes"}),
        ("ext", {"deliver": {}}),
    ],
)
@pytest.mark.parametrize("format", ["J", "T", "M"])
def test_the_answer_to_a_malformed_message_names_its_field(
    worker: Worker, field: str, value: Any, format: str
) -> None:
    fields = {"method": "GET", "uri": "http://127.0.0.1/", "id": "x", field: value}
    worker.send_req(fields, format)
    answer = worker.recv_req()
    assert (answer.format, told(answer)) == (format, (b"bad-request", b"bad-message"))
    assert answer["ext"]["detail"].startswith(field.encode() + b" ")
    worker.push({"from": worker.address, **fields}, format)
    published = worker.next_of(b"x")
    assert published.fields["ext"] == answer.fields["ext"]


def test_content_where_there_is_none(worker: Worker) -> None:
    assert both(worker, method="HEAD", uri="http://127.0.0.1/", body="x") == (
        b"content-not-allowed",
        b"content-not-allowed",
    )


def test_timeouts(start_daemon: Start, origin: ScriptedOrigin) -> None:
    _, worker = start_daemon(timeout=1)
    origin.script = hold
    uri = origin.url()
    total = (b"session-timeout", b"total-timeout")
    assert both(worker, method="GET", uri=uri, timeout=100) == total
    assert both(worker, method="GET", uri=uri, timeout=0) == total
    assert both(worker, method="GET", uri=uri) == (b"session-timeout", b"idle-timeout")
    ws = uri.replace("http:", "ws:")
    session = worker.start(uri=ws, timeout=100)
    assert told(session.finish()[-1]) == total


def test_refused_connections(worker: Worker) -> None:
    with dead_port() as port:
        uri = f"http://127.0.0.1:{port}/"
        expected = (b"remote-connection-failed", b"connection-refused")
        assert both(worker, method="GET", uri=uri) == expected
        session = worker.start(uri=uri.replace("http:", "ws:"))
        assert told(session.finish()[-1]) == expected


def test_answers_that_are_not_http(worker: Worker, origin: ScriptedOrigin) -> None:
    origin.script = reply(b"", close=True)
    assert both(worker, method="GET", uri=origin.url()) == (b"undefined-condition", b"empty-answer")
    origin.script = reply(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", close=True)
    expected = (b"undefined-condition", b"incomplete-body")
    assert both(worker, method="GET", uri=origin.url()) == expected


_FRAMED_BADLY = [
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhi\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n55555555555555555555\r\nhi",
    b"Transfer-Encoding: chunked\r\n\r\n2\r\nhixx0\r\n\r\n",
    b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"Content-Length: five\r\n\r\nhello",
    b"Content-Length: -1\r\n\r\nhello",
    b"A: " + b"x" * 400_000 + b"\r\n\r\n",
]


@pytest.mark.parametrize("rest", _FRAMED_BADLY, ids=range(len(_FRAMED_BADLY)))
def test_bad_framing(worker: Worker, origin: ScriptedOrigin, rest: bytes) -> None:
    origin.script = reply(b"HTTP/1.1 200 OK\r\n" + rest, close=True)
    expected = (b"undefined-condition", b"bad-framing")
    assert both(worker, method="GET", uri=origin.url()) == expected
    answer = worker.request(method="GET", uri=origin.url())
    assert b"no detail" not in answer["ext"]["detail"]


@pytest.mark.parametrize("scheme", ["http", "ws"])
def test_a_reset_is_distinguished_from_an_end(
    worker: Worker, origin: ScriptedOrigin, scheme: str
) -> None:
    def script(connection: Connection) -> None:
        connection.read_head()
        if connection.origin.gate("reset").is_set():
            connection.reset()

    origin.script = script
    fields = {"method": "GET"} if scheme == "http" else {}
    for error in (b"empty-answer", b"connection-reset"):
        session = worker.start(uri=origin.url("/", scheme), **fields)
        assert told(session.finish()[-1]) == (b"undefined-condition", error)
        origin.let("reset")


def test_sizes(worker: Worker, origin: ScriptedOrigin) -> None:
    origin.script = reply(_OK)
    expected = (b"max-size-exceeded", b"max-size")
    assert both(worker, method="GET", uri=origin.url(), max_size=1) == expected


@pytest.mark.parametrize(
    ("settings", "uri", "error"),
    [
        ({"deny": "127.0.0.0/8"}, "http://127.0.0.1/", b"deny"),
        ({"deny_always": "127.0.0.1"}, "http://127.0.0.1/", b"deny-always"),
        ({"defpolicy": "deny"}, "http://127.0.0.1/", b"defpolicy"),
        ({"allow_ports": "81"}, "http://127.0.0.1/", b"allow-ports"),
        ({"require_tls": "true"}, "http://127.0.0.1/", b"require-tls"),
    ],
)
def test_refusals_of_the_policy_name_the_kind_of_rule_and_hide_the_rest(
    start_daemon: Start, settings: dict[str, str], uri: str, error: bytes
) -> None:
    _, worker = start_daemon(**settings)
    fields: dict[str, Any] = {"method": "GET", "uri": uri.replace("127.0.0.1", "localhost.")}
    answer = worker.request(**fields)
    if error not in (b"allow-ports", b"require-tls"):
        assert b"127.0.0" not in answer.raw
    assert told(answer) == (b"policy-violation", error)
    assert both(worker, method="GET", uri=uri) == (b"policy-violation", error)
    session = worker.start(uri=uri.replace("http:", "ws:"))
    assert told(session.finish()[-1]) == (b"policy-violation", error)


def test_a_privilege_that_is_not_granted(start_daemon: Start) -> None:
    _, worker = start_daemon(allow_ignore_policies="false")
    answer = worker.request(method="GET", uri="http://127.0.0.1/", ignore_policies=True)
    assert told(answer) == (b"policy-violation", b"privilege")
    assert b"ignore" in answer["ext"]["detail"]


def test_a_reload_that_ends_open_requests(start_daemon: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start_daemon()
    origin.script = hold
    session = worker.start(method="GET", uri=origin.url(), stream=True, credits=9)
    origin.wait_request()
    daemon.write_config(deny="@private")
    daemon.signal(signal.SIGHUP)
    assert told(session.finish()[-1]) == (b"policy-violation", b"policy-reloaded")


def test_a_stop_that_ends_open_requests(start_daemon: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start_daemon(drain_timeout=1)
    origin.script = hold
    session = worker.start(method="GET", uri=origin.url(), stream=True, credits=9)
    worker.send_req({"method": "GET", "uri": origin.url()})
    origin.wait_request(2)
    daemon.signal(signal.SIGTERM)
    expected = (b"undefined-condition", b"stopping")
    assert told(session.finish()[-1]) == expected
    assert told(worker.recv_req()) == expected


def test_rules_of_the_streaming_interface(worker: Worker, origin: ScriptedOrigin) -> None:
    origin.script = hold
    session = worker.start(method="GET", uri=origin.url(), stream=True, credits=9)
    session.next()
    session.send(body="x")
    message = session.finish()[-1]
    assert told(message) == (b"bad-request", b"bad-message")
    assert b"after the end of the body" in message["ext"]["detail"]
    session = worker.start(
        method="POST", uri=origin.url(), more=True, headers=[["Content-Length", "1"]]
    )
    session.next()
    session.send(body="xyz")
    message = session.finish()[-1]
    assert told(message) == (b"bad-request", b"bad-message")
    assert b"Content-Length" in message["ext"]["detail"]
