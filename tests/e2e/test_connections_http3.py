"""HTTP/3: by key and by message, with TCP to fall back on, under the same policy."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support import CertificateAuthority, Daemon, ScriptedOrigin, Worker, reply, wait_until
from tests.support.daemon import free_port
from tests.support.http3 import Http3Origin

Start = Callable[..., tuple[Daemon, Worker]]
OVER_TCP = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nover tcp"
FILE = bytes(range(256)) * 12_000


@dataclass
class Both:
    """An origin of HTTP/3 and one of HTTP/1.1 on the same port.

    On a machine that is busy TCP might be faster, so it waits until ``tcp.handshakes`` is set.
    """

    tcp: ScriptedOrigin
    quic: Http3Origin

    @property
    def uri(self) -> str:
        return self.tcp.url(host="localhost")


@pytest.fixture
def tcp(authority: CertificateAuthority) -> Iterator[ScriptedOrigin]:
    made = ScriptedOrigin(reply(OVER_TCP), tls=authority.server_context())
    yield made
    made.close()


@pytest.fixture
def both(authority: CertificateAuthority, tcp: ScriptedOrigin) -> Iterator[Both]:
    quic = Http3Origin(authority.leaf("localhost", "127.0.0.1"), tcp.port, FILE)
    tcp.handshakes.clear()
    yield Both(tcp, quic)
    quic.close()


@pytest.fixture
def quic_worker(start_daemon: Start, authority: CertificateAuthority) -> Worker:
    """A worker of a daemon with http_version=3."""
    return start_daemon(environment={"SSL_CERT_FILE": authority.path}, http_version="3")[1]


def test_whole_and_streamed_requests_share_a_connection(quic_worker: Worker, both: Both) -> None:
    assert quic_worker.request(method="GET", uri=both.uri).body == b"over h3 GET "
    assert quic_worker.request(method="PUT", uri=both.uri, body="x").body == b"over h3 PUT x"
    session = quic_worker.start(method="GET", uri=both.uri + "file", stream=True, credits=100_000)
    assert session.read_all() == FILE
    assert len(both.quic.connections) == 1
    assert not both.tcp.requests


def test_interim_heads_and_trailers(quic_worker: Worker, both: Both) -> None:
    ext = {"interim": True, "trailers": True}
    interim = {b"code": 103, b"reason": b"", b"headers": [[b"link", b"</a>"]]}
    trailers = [[b"x-sum", b"HTTP/1.1 200 FAKE"]]
    whole = quic_worker.request(method="GET", uri=both.uri + "extras", ext=ext)
    assert (whole["code"], whole.body) == (200, b"body")
    assert whole["ext"] == {"interim": [interim], "trailers": trailers}
    session = quic_worker.start(
        method="GET", uri=both.uri + "extras", stream=True, credits=99, ext=ext
    )
    messages = session.finish()
    told = [m["ext"]["interim"] for m in messages if m.type == b"keep-alive" and m.get("ext")]
    assert told == [interim]
    assert session.body == b"body"
    assert messages[-1]["ext"] == {"trailers": trailers}


def test_an_upload_in_parts(quic_worker: Worker, both: Both) -> None:
    session = quic_worker.start(
        method="PUT", uri=both.uri, stream=True, credits=999, more=True, body="one"
    )
    session.next()
    session.send(body="two", more=True)
    session.send(body="")
    session.finish()
    assert session.body == b"over h3 PUT onetwo"


def test_an_upload_that_is_cancelled_disturbs_no_other(quic_worker: Worker, both: Both) -> None:
    upload = quic_worker.start(
        method="PUT", uri=both.uri, stream=True, credits=999, more=True, body="one"
    )
    upload.next()
    download = quic_worker.start(method="GET", uri=both.uri + "file", stream=True, credits=1)
    download.skip(b"keep-alive")
    upload.cancel()
    download.credit(100_000)
    assert download.read_all() == FILE


def test_it_is_off_by_default_and_asked_for_by_message(worker: Worker, both: Both) -> None:
    both.tcp.handshakes.set()
    assert worker.request(method="GET", uri=both.uri).body == b"over tcp"
    both.tcp.handshakes.clear()
    asked = worker.request(
        method="GET", uri=both.uri.replace("localhost", "127.0.0.1"), ext={"http-version": "3"}
    )
    assert asked.body.startswith(b"over h3")


def test_a_message_may_ask_for_less(quic_worker: Worker, both: Both) -> None:
    both.tcp.handshakes.set()
    for version in ("2", "1.1"):
        answer = quic_worker.request(method="GET", uri=both.uri, ext={"http-version": version})
        assert answer.body == b"over tcp"
    assert not both.quic.connections


def drain(sock: socket.socket) -> int:
    """Number of datagrams that have come."""
    count = 0
    while True:
        try:
            sock.recv(65536)
        except BlockingIOError:
            return count
        count += 1


@pytest.mark.parametrize("silent", [True, False])
def test_tcp_takes_over_and_is_remembered(
    quic_worker: Worker, tcp: ScriptedOrigin, silent: bool
) -> None:
    """With UDP that is not answered, and with a port without a listener."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if silent:
        sock.bind(("127.0.0.1", tcp.port))
    uri = tcp.url(host="localhost")
    begin = time.monotonic()
    assert quic_worker.request(method="GET", uri=uri).body == b"over tcp"
    assert time.monotonic() - begin < 10  # 300 ms where the machine is not busy
    if silent:
        sock.setblocking(False)
        drain(sock)
        # A new connection, and not one datagram more.
        tcp.script = lambda connection: connection.close()
        quic_worker.request(method="POST", uri=uri, body="x")
        with pytest.raises(BlockingIOError):
            sock.recv(65536)
    sock.close()


def test_udp_is_under_the_policy(
    start_daemon: Start, authority: CertificateAuthority, both: Both
) -> None:
    _, worker = start_daemon(
        environment={"SSL_CERT_FILE": authority.path}, http_version="3", deny="127.0.0.1"
    )
    answer = worker.request(method="GET", uri=both.uri)
    assert answer.get("condition") == b"policy-violation"
    assert not both.quic.connections
    assert both.tcp.connections == 0


def test_a_kept_connection_is_under_the_policy_of_each_request(
    quic_worker: Worker, both: Both
) -> None:
    daemon = quic_worker.daemon
    assert quic_worker.request(method="GET", uri=both.uri).body.startswith(b"over h3")
    daemon.write_config(deny="127.0.0.1")
    daemon.reload()
    answer = quic_worker.request(method="GET", uri=both.uri)
    assert answer.get("condition") == b"policy-violation"
    assert len(both.quic.requests) == 1


def test_a_connection_that_was_closed_while_idle_costs_no_request(
    quic_worker: Worker, both: Both
) -> None:
    for _ in range(3):
        assert quic_worker.request(method="POST", uri=both.uri, body="x").body == b"over h3 POST x"
        both.quic.close_connections()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_after_a_server_has_vanished_requests_are_sent_by_tcp(
    quic_worker: Worker, both: Both, method: str
) -> None:
    assert quic_worker.request(method="GET", uri=both.uri).body.startswith(b"over h3")
    both.quic.fall_silent()
    both.tcp.handshakes.set()
    begin = time.monotonic()
    assert quic_worker.request(method=method, uri=both.uri).body == b"over tcp"
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_server_that_was_restarted_is_asked_again(
    quic_worker: Worker, both: Both, authority: CertificateAuthority, method: str
) -> None:
    """It knows nothing of the connection, and says nothing."""
    assert quic_worker.request(method="GET", uri=both.uri).body.startswith(b"over h3")
    both.quic.crash()
    both.quic = Http3Origin(authority.leaf("localhost", "127.0.0.1"), both.tcp.port)
    begin = time.monotonic()
    answer = quic_worker.request(method=method, uri=both.uri)
    assert answer.body == b"over h3 %b " % method.encode()
    assert time.monotonic() - begin < 20
    assert len(both.quic.requests) == 1


def test_a_slow_answer_is_waited_for(quic_worker: Worker, both: Both) -> None:
    """A connection whose peer acknowledges what it gets is not dead."""
    assert quic_worker.request(method="GET", uri=both.uri).body.startswith(b"over h3")
    sessions = [
        quic_worker.start(method=method, uri=both.uri + "slow") for method in ("GET", "POST")
    ]
    for session in sessions:
        session.finish()
        assert session.body.startswith(b"over h3")
    assert len(both.quic.requests) == 3
    assert len(both.quic.connections) == 1


def test_through_a_proxy_it_is_two_at_most(
    start_daemon: Start, authority: CertificateAuthority, both: Both
) -> None:
    with ScriptedOrigin(reply(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")) as proxy:
        _, worker = start_daemon(
            environment={"SSL_CERT_FILE": authority.path},
            http_version="3",
            proxy=f"http://127.0.0.1:{proxy.port}",
        )
        answer = worker.request(method="GET", uri=both.uri)
        assert answer.get("condition") == b"remote-connection-failed"
        assert answer["ext"]["error"] == b"proxy-failed"
        assert proxy.requests[0].line.startswith(b"CONNECT localhost:")
    assert not both.quic.connections


@pytest.mark.parametrize("value", ["4", "", "h3", 2])
def test_other_versions_are_refused(worker: Worker, tcp: ScriptedOrigin, value: Any) -> None:
    answer = worker.request(method="GET", uri=tcp.url(), ext={"http-version": value})
    assert answer.get("condition") == b"bad-request"


def says(alternative: str) -> bytes:
    """An answer with Alt-Svc."""
    return (
        b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nAlt-Svc: %b\r\n\r\nover tcp"
        % alternative.encode()
    )


@pytest.fixture
def elsewhere(authority: CertificateAuthority) -> Iterator[Http3Origin]:
    """HTTP/3 on a port of its own."""
    made = Http3Origin(authority.leaf("localhost", "127.0.0.1"), free_port())
    yield made
    made.close()


def test_an_alternative_is_taken_where_http3_is_allowed(
    worker: Worker, tcp: ScriptedOrigin, elsewhere: Http3Origin
) -> None:
    tcp.script = reply(says(f'h2=":1", h3=":{elsewhere.port}"; ma=60'))
    uri = tcp.url(host="localhost")
    for _ in range(2):
        assert worker.request(method="GET", uri=uri).body == b"over tcp"
    answer = worker.request(method="GET", uri=uri, ext={"http-version": "3"})
    assert answer.body == b"over h3 GET "
    assert worker.request(method="GET", uri=uri).body == b"over tcp"


@pytest.mark.parametrize("alternative", ['h3="elsewhere.test:443"', 'h3=":1"', 'h3=":0"', "h3=x"])
def test_an_alternative_that_does_not_work_costs_no_request(
    quic_worker: Worker, tcp: ScriptedOrigin, alternative: str
) -> None:
    tcp.script = reply(says(alternative))
    for _ in range(3):
        answer = quic_worker.request(method="GET", uri=tcp.url(host="localhost"))
        assert answer.body == b"over tcp"


def test_an_alternative_that_is_silent_costs_one_request_and_then_none(
    quic_worker: Worker, tcp: ScriptedOrigin
) -> None:
    """Although each answer by TCP names it again."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.setblocking(False)
        tcp.script = reply(says(f'h3=":{silent.getsockname()[1]}"'))
        uri = tcp.url(host="localhost")
        for _ in range(2):  # the second one tries it
            assert quic_worker.request(method="GET", uri=uri).body == b"over tcp"
        assert drain(silent)
        for _ in range(3):
            assert quic_worker.request(method="GET", uri=uri).body == b"over tcp"
        assert not drain(silent)


def test_an_alternative_is_read_from_streamed_answers_as_well(
    worker: Worker, tcp: ScriptedOrigin, elsewhere: Http3Origin
) -> None:
    tcp.script = reply(says(f'h3=":{elsewhere.port}"; ma=60'))
    uri = tcp.url(host="localhost")
    worker.start(method="GET", uri=uri, stream=True, credits=99).finish()
    answer = worker.request(method="GET", uri=uri, ext={"http-version": "3"})
    assert answer.body == b"over h3 GET "


@pytest.mark.parametrize("fields", [{}, {"stream": True, "credits": 99}])
@pytest.mark.parametrize("follows", [True, False])
def test_a_421_over_http3_is_repeated_over_tcp(
    quic_worker: Worker, both: Both, fields: dict[str, Any], follows: bool
) -> None:
    """421: another connection may be answered (RFC 9110 section 15.5.20)."""
    asked = {"method": "POST", "body": "x", "ext": {"history": True}, **fields}
    session = quic_worker.start(uri=both.uri + "misdirected", follow_redirects=follows, **asked)
    wait_until(lambda: both.quic.requests, "HTTP/3 is asked first")
    both.tcp.handshakes.set()
    messages = session.finish()
    assert session.body == b"over tcp"
    head = next(message for message in messages if message.get("code"))
    assert head["ext"]["redirects"] == []
    assert both.tcp.requests[-1].body == b"x"
    # For a while, all go by TCP.
    assert quic_worker.request(method="GET", uri=both.uri).body == b"over tcp"
    assert len(both.quic.requests) == 1


def test_misdirected_by_tcp_is_an_answer(worker: Worker, tcp: ScriptedOrigin) -> None:
    tcp.script = reply(b"HTTP/1.1 421 Misdirected Request\r\nContent-Length: 2\r\n\r\nno")
    assert worker.request(method="GET", uri=tcp.url(host="localhost"))["code"] == 421
    assert len(tcp.requests) == 1


def test_the_policy_applies_to_alternatives(
    start_daemon: Start,
    authority: CertificateAuthority,
    tcp: ScriptedOrigin,
    elsewhere: Http3Origin,
) -> None:
    _, worker = start_daemon(
        environment={"SSL_CERT_FILE": authority.path},
        http_version="3",
        allow_ports=str(tcp.port),
    )
    tcp.script = reply(says(f'h3=":{elsewhere.port}"'))
    for _ in range(3):
        assert worker.request(method="GET", uri=tcp.url(host="localhost")).body == b"over tcp"
    assert not elsewhere.connections
