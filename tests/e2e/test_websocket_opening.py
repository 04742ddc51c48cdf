"""Opening WebSockets: refusals, redirects, policy, TLS, and answers that must not be believed."""

import base64
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import CertificateAuthority, Connection, Daemon, Message, ScriptedOrigin, Worker
from tests.support.origin import Script, dead_port, reply
from tests.support.websocket import accept, accept_value, echo, frame, quiet, switch

Start = Callable[..., tuple[Daemon, Worker]]


def outcome(worker: Worker, uri: str, **fields: Any) -> Message:
    """The first packet of a session."""
    return worker.start(uri=uri, credits=1000, **fields).next()


def expect_error(message: Message, condition: bytes, name: bytes | None = None) -> None:
    assert (message.type, message.get("condition")) == (b"error", condition), message
    if name is not None:
        assert message["ext"]["error"] == name, message


def expect_echo(worker: Worker, uri: str, **fields: Any) -> None:
    session = worker.start(uri=uri, credits=1000, **fields)
    opened = session.next()
    assert opened.get("code") == 101, opened
    session.send(body="hello")
    assert session.skip(b"credit").body == b"hello"
    session.send(type="close", code=1000)
    assert session.skip(b"credit").type == b"close"


class TestRejected:
    def reject(self, worker: Worker, origin: ScriptedOrigin, answer: bytes) -> Message:
        origin.script = reply(answer, close=True)
        return outcome(worker, origin.url("/", "ws"))

    def test_by_length(self, worker: Worker, origin: ScriptedOrigin) -> None:
        message = self.reject(
            worker, origin, b"HTTP/1.1 403 No way\r\nX-A: b\r\nContent-Length: 4\r\n\r\nbody"
        )
        expect_error(message, b"rejected")
        assert (message["code"], message["reason"], message.body) == (403, b"No way", b"body")
        assert message.headers == [(b"X-A", b"b"), (b"Content-Length", b"4")]
        assert message["seq"] == 0

    def test_chunked(self, worker: Worker, origin: ScriptedOrigin) -> None:
        message = self.reject(
            worker,
            origin,
            b"HTTP/1.1 401 U\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n",
        )
        assert (message["code"], message.body) == (401, b"body")
        assert message.headers == [(b"Content-Length", b"4")]

    def test_until_close(self, worker: Worker, origin: ScriptedOrigin) -> None:
        message = self.reject(worker, origin, b"HTTP/1.0 200 OK\r\n\r\nbody")
        assert (message["code"], message.body) == (200, b"body")

    @pytest.mark.parametrize("code", [204, 304])
    def test_without_body(self, worker: Worker, origin: ScriptedOrigin, code: int) -> None:
        """Such an answer ends with its head, whatever that says."""

        def script(connection: Connection) -> None:
            connection.read_head()
            connection.send(b"HTTP/1.1 %d N\r\nContent-Length: 9\r\n\r\n" % code)
            connection.expect_end()

        origin.script = script
        assert outcome(worker, origin.url("/", "ws"))["code"] == code

    @pytest.mark.parametrize(
        "rest",
        [
            b"Content-Length: 9\r\n\r\nbody",
            b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n",
            b"Transfer-Encoding: chunked\r\n\r\n9\r\nbody",
            b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\nnonsense\r\n",
            b"Content-Length: 4, 4\r\n\r\nbody",
            b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nbody",
            b"Content-Length: 4, 5\r\n\r\nbody",
            b"Content-Length: four\r\n\r\nbody",
        ],
    )
    def test_whatever_its_framing(
        self, worker: Worker, origin: ScriptedOrigin, rest: bytes
    ) -> None:
        """What counts is that the origin refused; the body is what was there of it."""
        message = self.reject(worker, origin, b"HTTP/1.1 403 Forbidden\r\nX-A: b\r\n" + rest)
        expect_error(message, b"rejected", b"rejected")
        assert (message["code"], message["reason"]) == (403, b"Forbidden")
        assert message.body == b"body"
        assert message.headers == [(b"X-A", b"b"), (b"Content-Length", b"4")]

    @pytest.mark.parametrize(
        "head",
        [
            b"HTTP/1.1 401 U\r\nConnection: keep-alive\r\n\r\n",
            b"HTTP/1.1 401 U\r\nContent-Length: 99\r\n\r\n",
            b"HTTP/1.1 401 U\r\nTransfer-Encoding: chunked\r\n\r\n99\r\n",
        ],
    )
    def test_left_open(self, worker: Worker, origin: ScriptedOrigin, head: bytes) -> None:
        """An origin that neither ends its body nor hangs up is waited for a second or so."""

        def script(connection: Connection) -> None:
            connection.read_head()
            connection.send(head + b"body")
            connection.expect_end()

        origin.script = script
        began = time.monotonic()
        message = outcome(worker, origin.url("/", "ws"))
        assert time.monotonic() - began < 15
        assert (message.get("condition"), message["code"]) == (b"rejected", 401)
        assert message.body == b"body"
        origin.wait_closed()

    def test_event_stream(self, worker: Worker, origin: ScriptedOrigin) -> None:
        """A body without end, of which something comes now and then, has a bound too."""

        def script(connection: Connection) -> None:
            connection.read_head()
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            while True:
                connection.send(b"data: x\n\n")
                connection.origin.gate("never").wait(0.2)

        origin.script = script
        began = time.monotonic()
        message = outcome(worker, origin.url("/", "ws"))
        assert time.monotonic() - began < 15
        assert (message.get("condition"), message["code"]) == (b"rejected", 200)
        assert message.header(b"content-type") == b"text/event-stream"
        assert message.body.startswith(b"data: x\n\ndata: x\n\n")

    def test_timeout_with_a_refusal_in_part(self, worker: Worker, origin: ScriptedOrigin) -> None:
        """Before the time that a body without end has, of which something comes now and then."""

        def script(connection: Connection) -> None:
            connection.read_head()
            connection.send(b"HTTP/1.1 401 U\r\n\r\n")
            while True:
                connection.send(b"body")
                connection.origin.gate("never").wait(0.2)

        origin.script = script
        message = outcome(worker, origin.url("/", "ws"), timeout=1500)
        assert (message.get("condition"), message["code"]) == (b"rejected", 401)
        assert message.body.startswith(b"body")

    @pytest.mark.parametrize("head", [b"Content-Length: 150000\r\n\r\n", b"\r\n"])
    def test_bounded(self, worker: Worker, origin: ScriptedOrigin, head: bytes) -> None:
        message = self.reject(worker, origin, b"HTTP/1.1 403 N\r\n" + head + b"x" * 150_000)
        assert message.body == b"x" * 100_000

    def test_redirect_that_is_not_followed(self, worker: Worker, origin: ScriptedOrigin) -> None:
        message = self.reject(
            worker, origin, b"HTTP/1.1 302 F\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"
        )
        expect_error(message, b"rejected")
        assert message.header(b"location") == b"/x"

    def test_daemons_timeout_with_a_refusal_in_part(
        self, start_daemon: Start, origin: ScriptedOrigin
    ) -> None:
        """No shorter than the silence that ends a body: the head counts all the same."""

        def script(connection: Connection) -> None:
            connection.read_head()
            connection.send(b"HTTP/1.1 403 No\r\n\r\npart")
            connection.expect_end()

        origin.script = script
        _, worker = start_daemon(timeout=1)
        message = outcome(worker, origin.url("/", "ws"))
        expect_error(message, b"rejected")
        assert (message["code"], message.body) == (403, b"part")

    def test_a_redirect_that_cannot_be_followed(
        self, worker: Worker, origin: ScriptedOrigin
    ) -> None:
        origin.script = reply(b"HTTP/1.1 302 F\r\nLocation:\r\nContent-Length: 0\r\n\r\n")
        message = outcome(worker, origin.url("/", "ws"), follow_redirects=True)
        expect_error(message, b"rejected")
        assert message["code"] == 302

    def test_odd_fields(self, worker: Worker, origin: ScriptedOrigin) -> None:
        """As over HTTP: blanks behind a name are no part of it; what has no usable name goes."""
        message = self.reject(
            worker,
            origin,
            b"HTTP/1.1 401 U\r\nX-A \t: b\r\nX(B): c\r\n folded\r\nContent-Length : 4\r\n\r\nbody",
        )
        expect_error(message, b"rejected")
        assert message.body == b"body"
        assert message.headers == [(b"X-A", b"b"), (b"Content-Length", b"4")]

    @pytest.mark.parametrize(
        "answer",
        [
            b"",
            b"SSH-2.0\r\n\r\n",
            b"HTTP/1.1 101",
            b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000,
        ],
    )
    def test_no_answer(self, worker: Worker, origin: ScriptedOrigin, answer: bytes) -> None:
        expect_error(self.reject(worker, origin, answer), b"undefined-condition")


class TestWrongAnswers:
    """The origin switches protocols, but not to what was asked for."""

    def switch(
        self, worker: Worker, origin: ScriptedOrigin, *headers: bytes, **fields: Any
    ) -> Message:
        def script(connection: Connection) -> None:
            request = connection.read_head()
            fit = accept_value(request)
            lines = [b"HTTP/1.1 101 S", *(line.replace(b"FIT", fit) for line in headers)]
            connection.send(b"\r\n".join(lines) + b"\r\n\r\n")
            connection.expect_end()

        origin.script = script
        message = outcome(worker, origin.url("/", "ws"), **fields)
        origin.wait_closed()
        return message

    GOOD = (b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Accept: FIT")

    def test_accept(self, worker: Worker, origin: ScriptedOrigin) -> None:
        message = self.switch(worker, origin, *self.GOOD[:2], b"Sec-WebSocket-Accept: AAAA")
        expect_error(message, b"undefined-condition", b"wrong-accept")
        message = self.switch(worker, origin, *self.GOOD[:2])
        expect_error(message, b"undefined-condition", b"wrong-accept")

    def test_upgrade(self, worker: Worker, origin: ScriptedOrigin) -> None:
        for headers in (self.GOOD[1:], self.GOOD[::2]):
            message = self.switch(worker, origin, *headers)
            expect_error(message, b"undefined-condition", b"wrong-upgrade")

    def test_subprotocol(self, worker: Worker, origin: ScriptedOrigin) -> None:
        headers = [["Sec-WebSocket-Protocol", "chat, talk"]]
        message = self.switch(
            worker, origin, *self.GOOD, b"Sec-WebSocket-Protocol: walk", headers=headers
        )
        expect_error(message, b"undefined-condition", b"wrong-subprotocol")

    def test_extension(self, worker: Worker, origin: ScriptedOrigin) -> None:
        message = self.switch(
            worker, origin, *self.GOOD, b"Sec-WebSocket-Extensions: permessage-deflate"
        )
        expect_error(message, b"undefined-condition", b"wrong-extension")

    def test_odd_fields(self, worker: Worker, origin: ScriptedOrigin) -> None:
        origin.script = quiet(b"Server : x", b"X(Y): z")
        message = outcome(worker, origin.url("/", "ws"))
        assert message.get("code") == 101, message
        assert message.headers[3:] == [(b"Server", b"x")]

    def test_valid_answers_to_a_handshake(self, worker: Worker, origin: ScriptedOrigin) -> None:
        def script(connection: Connection) -> None:
            accept(connection, b"Sec-WebSocket-Protocol: talk", b"Sec-WebSocket-Extensions: grip")
            connection.expect_end()

        origin.script = script
        message = outcome(
            worker,
            origin.url("/", "ws"),
            headers=[
                ["Sec-WebSocket-Protocol", "chat, talk"],
                ["Sec-WebSocket-Extensions", "grip"],
            ],
        )
        assert message.header(b"sec-websocket-protocol") == b"talk"
        assert message.header(b"sec-websocket-extensions") == b"grip"


def redirect(location: str, code: int = 302) -> Script:
    return reply(
        b"HTTP/1.1 %d R\r\nLocation: %b\r\nContent-Length: 99\r\n\r\n" % (code, location.encode())
    )


@pytest.fixture
def other() -> Any:
    made = ScriptedOrigin(echo)
    yield made
    made.close()


class TestRedirects:
    @pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
    def test_relative(self, worker: Worker, origin: ScriptedOrigin, code: int) -> None:
        def script(connection: Connection) -> None:
            if connection.number == 0:
                redirect("new?a", code)(connection)
            else:
                echo(connection)

        origin.script = script
        expect_echo(worker, origin.url("/old/", "ws"), follow_redirects=True)
        assert origin.requests[1].line == b"GET /old/new?a HTTP/1.1"
        keys = {request.get(b"sec-websocket-key") for request in origin.requests}
        assert len(keys) == 2

    @pytest.mark.parametrize("scheme", ["ws", "http"])
    def test_to_another_origin(
        self, worker: Worker, origin: ScriptedOrigin, other: ScriptedOrigin, scheme: str
    ) -> None:
        origin.script = redirect(other.url("/there", scheme))
        expect_echo(
            worker,
            origin.url("/", "ws"),
            follow_redirects=True,
            headers=[["Cookie", "c"], ["Authorization", "a"], ["X-A", "b"]],
        )
        request = other.requests[0]
        assert request.line == b"GET /there HTTP/1.1"
        assert request.get(b"host") == other.authority.encode()
        assert request.get(b"cookie") is None
        assert request.get(b"authorization") is None
        assert request.get(b"x-a") == b"b"

    def test_only_the_last_answer_counts(
        self, worker: Worker, origin: ScriptedOrigin, other: ScriptedOrigin
    ) -> None:
        origin.script = redirect(other.url("/", "ws"))
        other.script = reply(b"HTTP/1.1 403 N\r\nX-A: b\r\nContent-Length: 0\r\n\r\n")
        message = outcome(worker, origin.url("/", "ws"), follow_redirects=True)
        assert message["code"] == 403
        assert message.header(b"location") is None

    def test_too_many(self, worker: Worker, origin: ScriptedOrigin) -> None:
        origin.script = redirect("/again")
        message = outcome(worker, origin.url("/", "ws"), follow_redirects=True)
        expect_error(message, b"too-many-redirects")
        assert len(origin.requests) == 9

    @pytest.mark.parametrize("location", ["ftp://127.0.0.1/", "file:///etc/passwd", "ws://[/"])
    def test_unusable(self, worker: Worker, origin: ScriptedOrigin, location: str) -> None:
        origin.script = redirect(location)
        message = outcome(worker, origin.url("/", "ws"), follow_redirects=True)
        expect_error(message, b"undefined-condition")

    def test_credentials_of_the_uri_stay_with_the_origin(
        self, worker: Worker, origin: ScriptedOrigin, other: ScriptedOrigin
    ) -> None:
        def script(connection: Connection) -> None:
            (redirect("/here"), redirect(other.url("/", "ws")))[connection.number](connection)

        origin.script = script
        uri = origin.url("/", "ws").replace("//", "//user:pass@")
        expect_echo(worker, uri, follow_redirects=True)
        assert origin.requests[1].get(b"authorization") is not None
        assert other.requests[0].get(b"authorization") is None

    @pytest.mark.parametrize("location", ["/tab\t", "\t/tab", " \t /tab \t"])
    def test_blanks_around_location(
        self, worker: Worker, origin: ScriptedOrigin, location: str
    ) -> None:
        origin.script = lambda c: (redirect(location) if c.number == 0 else echo)(c)
        expect_echo(worker, origin.url("/", "ws"), follow_redirects=True)
        assert origin.requests[1].line == b"GET /tab HTTP/1.1"

    @pytest.mark.parametrize("scheme", ["ws", "http"])
    def test_from_secret_to_clear(
        self,
        start_daemon: Start,
        authority: CertificateAuthority,
        other: ScriptedOrigin,
        scheme: str,
    ) -> None:
        """Refused, as by browsers: what was to be secret does not go on in the clear."""
        _, worker = start_daemon(environment={"SSL_CERT_FILE": authority.path})
        with ScriptedOrigin(tls=authority.server_context()) as secure:
            secure.script = redirect(other.url("/", scheme))
            message = outcome(worker, secure.url("/", "wss"), follow_redirects=True)
            expect_error(message, b"policy-violation", b"insecure-redirect")
            assert other.connections == 0

    @pytest.mark.parametrize("scheme", ["wss", "https"])
    def test_from_clear_to_secret(
        self,
        start_daemon: Start,
        authority: CertificateAuthority,
        origin: ScriptedOrigin,
        scheme: str,
    ) -> None:
        _, worker = start_daemon(environment={"SSL_CERT_FILE": authority.path})
        with ScriptedOrigin(echo, tls=authority.server_context()) as secure:
            origin.script = redirect(secure.url("/", scheme))
            expect_echo(worker, origin.url("/", "ws"), follow_redirects=True)

    @pytest.mark.parametrize("refuses", [False, True])
    def test_history(
        self, worker: Worker, origin: ScriptedOrigin, other: ScriptedOrigin, refuses: bool
    ) -> None:
        """Where the worker asks for it: the last URI, and the redirects before it."""
        origin.script = redirect(other.url("/there", "ws"), 307)
        if refuses:
            other.script = reply(b"HTTP/1.1 403 N\r\nContent-Length: 0\r\n\r\n")
        uri = origin.url("/here", "ws")
        message = outcome(worker, uri, follow_redirects=True, ext={"history": True})
        assert message["code"] == (403 if refuses else 101)
        assert message["ext"]["uri"] == other.url("/there", "ws").encode()
        assert message["ext"]["redirects"] == [{b"uri": uri.encode(), b"code": 307}]

    def test_history_of_a_failure(self, worker: Worker, origin: ScriptedOrigin) -> None:
        origin.script = redirect("/again")
        ext = {"history": True, "max-redirects": 1}
        message = outcome(worker, origin.url("/", "ws"), follow_redirects=True, ext=ext)
        expect_error(message, b"too-many-redirects", b"too-many-redirects")
        assert len(origin.requests) == 2
        assert message["ext"]["uri"] == origin.url("/again", "ws").encode()
        assert len(message["ext"]["redirects"]) == 1

    def test_timing(self, worker: Worker, origin: ScriptedOrigin) -> None:
        def slow(connection: Connection) -> None:
            connection.origin.gate("never").wait(0.2)
            echo(connection)

        origin.script = slow
        ext = outcome(worker, origin.url("/", "ws"), ext={"timing": True})["ext"]
        assert ext["first-byte"] >= 190_000
        assert ext["total"] >= ext["first-byte"]

    def test_policy_is_asked_about_each_name(
        self, start_daemon: Start, origin: ScriptedOrigin, other: ScriptedOrigin
    ) -> None:
        _, worker = start_daemon(deny="localhost")
        origin.script = redirect(other.url("/", "ws", host="localhost"))
        message = outcome(worker, origin.url("/", "ws"), follow_redirects=True)
        expect_error(message, b"policy-violation")
        assert other.connections == 0

    def test_whatever_comes_is_activity(self, start_daemon: Start, origin: ScriptedOrigin) -> None:
        """Each hop, and each byte of a head, for the daemon's own timeout."""
        _, worker = start_daemon(timeout=4)

        def wait(connection: Connection, seconds: float) -> None:
            connection.origin.gate("never").wait(seconds)

        def script(connection: Connection) -> None:
            if connection.number < 2:
                wait(connection, 1.3)
                redirect("/next")(connection)
                return
            request = connection.read_head()
            answer = switch(request)
            connection.send(b"HTTP/1.1 102 P\r\n\r\n" + answer[:20])
            wait(connection, 1.3)
            connection.send(answer[20:60])
            wait(connection, 1.3)
            connection.send(answer[60:])
            connection.expect_end()

        origin.script = script
        message = outcome(worker, origin.url("/", "ws"), follow_redirects=True)
        assert message["code"] == 101

    def test_timeout_bounds_all_hops(self, worker: Worker, origin: ScriptedOrigin) -> None:
        def script(connection: Connection) -> None:
            if connection.number == 0:
                redirect("/next")(connection)
            else:
                connection.read_head()
                connection.expect_end()

        origin.script = script
        message = outcome(worker, origin.url("/", "ws"), follow_redirects=True, timeout=500)
        expect_error(message, b"session-timeout")


class TestConnecting:
    def test_refused(self, worker: Worker) -> None:
        with dead_port() as port:
            message = outcome(worker, f"ws://127.0.0.1:{port}/")
        expect_error(message, b"remote-connection-failed", b"connection-refused")

    def test_unresolvable(self, worker: Worker) -> None:
        message = outcome(worker, "ws://no-such-host.invalid/")
        expect_error(message, b"remote-connection-failed", b"name-not-resolved")

    @pytest.mark.parametrize("reset", [False, True])
    def test_no_answer(self, worker: Worker, origin: ScriptedOrigin, reset: bool) -> None:
        def script(connection: Connection) -> None:
            connection.read_head()
            if reset:
                connection.reset()

        origin.script = script
        error = b"connection-reset" if reset else b"empty-answer"
        expect_error(outcome(worker, origin.url("/", "ws")), b"undefined-condition", error)

    def test_an_answer_that_is_not_http(self, worker: Worker, origin: ScriptedOrigin) -> None:
        origin.script = reply(b"SSH-2.0-x\r\n")
        expect_error(outcome(worker, origin.url("/", "ws")), b"undefined-condition", b"not-http")

    def test_user_and_password(self, worker: Worker, origin: ScriptedOrigin) -> None:
        origin.script = echo
        uri = origin.url("/", "ws").replace("//", "//user:p%40ss@")
        expect_echo(worker, uri)
        request = origin.requests[0]
        assert request.get(b"authorization") == b"Basic " + base64.b64encode(b"user:p@ss")
        assert request.get(b"host") == origin.authority.encode()
        expect_echo(worker, uri, headers=[["Authorization", "Bearer x"]])
        assert origin.requests[1].get(b"authorization") == b"Bearer x"

    def test_hop_by_hop_headers_are_not_sent(self, worker: Worker, origin: ScriptedOrigin) -> None:
        origin.script = echo
        given = {
            "Content-Length": "0",
            "Keep-Alive": "timeout=5",
            "Proxy-Connection": "keep-alive",
            "TE": "trailers",
            "Trailer": "x",
            "Connection": "keep-alive, X-Hop",
            "X-Hop": "1",
            "Sec-WebSocket-Protocol": "",
            "Sec-WebSocket-Extensions": "x-webkit-deflate-frame",
        }
        expect_echo(worker, origin.url("/", "ws"), headers=[[k, v] for k, v in given.items()])
        request = origin.requests[0]
        sent = {name.lower() for name, _ in request.headers}
        assert sent == {
            b"host",
            b"upgrade",
            b"connection",
            b"sec-websocket-version",
            b"sec-websocket-key",
        }
        assert request.get(b"connection") == b"Upgrade"

    def test_connect_host(self, worker: Worker, origin: ScriptedOrigin) -> None:
        origin.script = echo
        expect_echo(
            worker,
            "ws://example.com/x",
            connect_host="127.0.0.1",
            connect_port=origin.port,
        )
        assert origin.requests[0].get(b"host") == b"example.com"

    def test_connect_port_alone(self, worker: Worker, origin: ScriptedOrigin) -> None:
        origin.script = echo
        expect_echo(worker, "ws://127.0.0.1/", connect_port=origin.port)

    @pytest.mark.parametrize("deny", ["127.0.0.0/8", "localhost", "*.0.0.1,localhost"])
    def test_policy(self, start_daemon: Start, origin: ScriptedOrigin, deny: str) -> None:
        _, worker = start_daemon(deny=deny)
        uri = origin.url("/", "ws", host="localhost")
        expect_error(outcome(worker, uri), b"policy-violation")
        assert origin.connections == 0
        origin.script = echo
        expect_echo(worker, uri, ignore_policies=True)

    def test_policy_on_connect_host(self, start_daemon: Start, origin: ScriptedOrigin) -> None:
        _, worker = start_daemon(deny="127.0.0.0/8")
        message = outcome(
            worker, "ws://example.com/", connect_host="127.0.0.1", connect_port=origin.port
        )
        expect_error(message, b"policy-violation")
        assert origin.connections == 0

    def test_through_a_proxy(self, start_daemon: Start, origin: ScriptedOrigin) -> None:
        """By a tunnel, although libcurl takes the handshake for HTTP."""

        def script(connection: Connection) -> None:
            connection.read_head()
            connection.send(b"HTTP/1.1 200 Connected\r\n\r\n")
            echo(connection)

        origin.script = script
        _, worker = start_daemon(proxy=f"http://{origin.authority}")
        expect_echo(worker, "ws://nosuch.invalid/x")
        tunnel, handshake = origin.requests
        assert tunnel.line == b"CONNECT nosuch.invalid:80 HTTP/1.1"
        assert handshake.line == b"GET /x HTTP/1.1"

    def test_a_proxy_that_refuses(self, start_daemon: Start, origin: ScriptedOrigin) -> None:
        origin.script = reply(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
        _, worker = start_daemon(proxy=f"http://{origin.authority}")
        message = outcome(worker, "ws://nosuch.invalid/x")
        expect_error(message, b"remote-connection-failed", b"proxy-failed")

    @pytest.mark.parametrize("keepalive", ["60", "0"])
    def test_tcp_keep_alive(
        self, start_daemon: Start, origin: ScriptedOrigin, keepalive: str
    ) -> None:
        """The kernel's timer runs, so that networks on the way remember a silent connection."""
        _, worker = start_daemon(tcp_keepalive=keepalive)
        origin.script = quiet()
        assert outcome(worker, origin.url("/", "ws"))["code"] == 101
        remote = f"0100007F:{origin.port:04X}"
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        (ours,) = [line for line in lines if line[2] == remote and line[3] == "01"]
        # "tr": 2 is a keep-alive timer (proc_net_tcp.txt of the kernel's documentation).
        assert ours[5].partition(":")[0] == ("02" if keepalive == "60" else "00")

    def test_connections_are_not_shared(self, worker: Worker, origin: ScriptedOrigin) -> None:
        """Neither with other WebSockets nor with HTTP to the same place."""
        origin.script = reply(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert worker.request(uri=origin.url("/"), method="GET")["code"] == 200
        origin.script = echo
        expect_echo(worker, origin.url("/", "ws"))
        expect_echo(worker, origin.url("/", "ws"))
        assert origin.connections == 3


class TestTls:
    @pytest.fixture
    def secure(self, authority: CertificateAuthority) -> Any:
        made = ScriptedOrigin(echo, tls=authority.server_context())
        yield made
        made.close()

    @pytest.fixture
    def elsewhere(self, authority: CertificateAuthority) -> Any:
        """An origin whose certificate is for example.com."""
        made = ScriptedOrigin(echo, tls=authority.server_context("example.com"))
        yield made
        made.close()

    def test_good_certificate(self, worker: Worker, secure: ScriptedOrigin) -> None:
        expect_echo(worker, secure.url("/", "wss"))
        expect_echo(worker, secure.url("/", "wss", host="localhost"))

    def test_wrong_name(self, worker: Worker, elsewhere: ScriptedOrigin) -> None:
        expect_error(outcome(worker, elsewhere.url("/", "wss")), b"tls-error")
        expect_echo(worker, elsewhere.url("/", "wss"), ignore_tls_errors=True)

    def test_name_of_the_uri_counts(self, worker: Worker, elsewhere: ScriptedOrigin) -> None:
        where = {"connect_host": "127.0.0.1", "connect_port": elsewhere.port}
        expect_echo(worker, "wss://example.com/", **where)
        expect_error(outcome(worker, "wss://example.org/", **where), b"tls-error")

    def test_trusted_connect_host(self, worker: Worker, secure: ScriptedOrigin) -> None:
        where = {"connect_host": "localhost", "connect_port": secure.port}
        expect_error(outcome(worker, "wss://example.org/", **where), b"tls-error")
        expect_echo(worker, "wss://example.org/", **where, trust_connect_host=True)
        assert secure.requests[-1].get(b"host") == b"example.org"

    def test_no_tls_there(self, worker: Worker, origin: ScriptedOrigin) -> None:
        def script(connection: Connection) -> None:
            connection.send(b"HTTP/1.1 400 Bad\r\n\r\n")

        origin.script = script
        expect_error(outcome(worker, origin.url("/", "wss")), b"tls-error")

    def test_alpn(self, worker: Worker, authority: CertificateAuthority) -> None:
        """Servers that insist on ALPN find what browsers offer there."""
        context = authority.server_context()
        context.set_alpn_protocols(["http/1.1"])
        with ScriptedOrigin(echo, tls=context) as insists:
            chosen = []

            def script(connection: Connection) -> None:
                assert isinstance(connection.sock, ssl.SSLSocket)
                chosen.append(connection.sock.selected_alpn_protocol())
                echo(connection)

            insists.script = script
            expect_echo(worker, insists.url("/", "wss"))
            assert chosen == ["http/1.1"]

    def test_http2_is_not_offered(self, worker: Worker, authority: CertificateAuthority) -> None:
        context = authority.server_context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        with ScriptedOrigin(echo, tls=context) as prefers:
            expect_echo(worker, prefers.url("/", "wss"))

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_origin_asks_for_a_certificate(
        self, worker: Worker, authority: CertificateAuthority, version: ssl.TLSVersion
    ) -> None:
        context = authority.server_context(mutual=True)
        context.minimum_version = context.maximum_version = version
        with ScriptedOrigin(echo, tls=context) as insists:
            message = outcome(worker, insists.url("/", "wss"))
            expect_error(message, b"tls-error")
            assert b"alert" in message["ext"]["detail"]
            if version is ssl.TLSVersion.TLSv1_3:
                assert message["ext"]["error"] == b"certificate-required"

    def test_client_certificate_of_the_message(
        self, worker: Worker, authority: CertificateAuthority
    ) -> None:
        context = authority.server_context(mutual=True)
        chain, key = (Path(path).read_text() for path in authority.leaf("worker"))
        with ScriptedOrigin(echo, tls=context) as insists:
            uri = insists.url("/", "wss")
            expect_echo(worker, uri, client_cert=chain, client_key=key)
            expect_error(outcome(worker, uri), b"tls-error")
            message = outcome(worker, uri, client_cert=chain)
            expect_error(message, b"bad-request", b"bad-client-cert")

    def test_many_frames_in_one_record(self, worker: Worker, secure: ScriptedOrigin) -> None:
        """libcurl has decrypted what the epoll does not see any more."""

        def burst(connection: Connection) -> None:
            accept(connection)
            connection.send(b"".join(frame(1, b"%d" % n) for n in range(3000)))
            connection.expect_end()

        secure.script = burst
        session = worker.start(uri=secure.url("/", "wss"), credits=7)
        session.next()
        for number in range(3000):
            session.credit(4)
            assert session.next().body == b"%d" % number

    def test_large_frames(self, start_daemon: Start, authority: CertificateAuthority) -> None:
        with ScriptedOrigin(echo, tls=authority.server_context()) as secure:
            _, worker = start_daemon(
                buffer_size=5_000_000, environment={"SSL_CERT_FILE": authority.path}
            )
            session = worker.start(uri=secure.url("/", "wss"), credits=5_000_000)
            session.next()
            body = bytes(range(256)) * 16_000
            session.send(body=body, content_type="binary")
            assert session.skip(b"credit").body == body
