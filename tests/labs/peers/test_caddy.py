"""Caddy, which speaks HTTP/1.1, HTTP/2 and HTTP/3, with WebSockets and client certificates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import require_peer
from tests.support import CertificateAuthority, Connection, Daemon, ScriptedOrigin, Worker
from tests.support.caddy import Caddy
from tests.support.websocket import echo_frames, switch

Start = Callable[..., tuple[Daemon, Worker]]

FILE = bytes(range(256)) * 12_000
PROTOCOLS = {"1.1": "HTTP/1.1", "2": "HTTP/2.0", "3": "HTTP/3.0"}
# On a machine that is busy TCP might be faster than QUIC.
ALONE = {"1.1": "h1 h2 h3", "2": "h1 h2 h3", "3": "h3"}
TRAILERS = b"0\r\nX-Sum: 42\r\n\r\n"


def back_end(connection: Connection) -> None:
    """Says back what was asked; with trailers, and by WebSocket what is sent."""
    while True:
        request = connection.read_head()
        if request.get(b"upgrade"):
            connection.send(switch(request))
            echo_frames(connection)
            return
        connection.read_body(request)
        method = request.line.split()[0]
        said = b"%b %d" % (method, len(request.body))
        connection.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
            b"%x\r\n%b\r\n%b" % (len(said), said, TRAILERS)
        )


@pytest.fixture
def behind() -> Iterator[ScriptedOrigin]:
    """What caddy leads to."""
    made = ScriptedOrigin(back_end)
    yield made
    made.close()


Make = Callable[..., Caddy]


@pytest.fixture
def make(authority: CertificateAuthority, behind: ScriptedOrigin) -> Iterator[Make]:
    """Starts a caddy."""
    made: list[Caddy] = []

    def start(**more: Any) -> Caddy:
        leaf = authority.leaf("localhost", "127.0.0.1")
        backend = f"127.0.0.1:{behind.port}"
        made.append(Caddy(require_peer("caddy"), leaf, backend, file=FILE, **more))
        return made[-1]

    yield start
    for caddy in made:
        caddy.close()


@pytest.mark.parametrize("version", ["1.1", "2", "3"])
def test_whole_streamed_and_uploaded(worker: Worker, make: Make, version: str) -> None:
    caddy = make(protocols=ALONE[version])
    ext = {"http-version": version, "trailers": True}
    answer = worker.request(method="POST", uri=caddy.url("/x"), body="x" * 100_000, ext=ext)
    assert answer.body == b"POST 100000"
    # Caddy 2.6 sends none over HTTP/3.
    trailers = {"1.1": [[b"X-Sum", b"42"]], "2": [[b"x-sum", b"42"]], "3": []}
    assert answer["ext"]["trailers"] == trailers[version]
    download = worker.start(
        method="GET", uri=caddy.url("/file"), stream=True, credits=100_000, ext=ext
    )
    assert download.read_all() == FILE
    upload = worker.start(
        method="PUT",
        uri=caddy.url("/x"),
        # Over HTTP/3, caddy 2.6 takes a body without a length for none.
        headers=[["Content-Length", "50002"]],
        stream=True,
        credits=999,
        more=True,
        body="1",
        ext=ext,
    )
    upload.skip(b"keep-alive")
    upload.send(body="2" * 50_000, more=True)
    upload.send(body="3")
    upload.finish()
    assert upload.body == b"PUT 50002"
    seen = [entry["request"]["proto"] for entry in caddy.requests(3)]
    assert seen == [PROTOCOLS[version]] * 3


@pytest.mark.parametrize("version", ["2", "3"])
def test_many_at_once_share_a_connection(worker: Worker, make: Make, version: str) -> None:
    caddy = make(protocols=ALONE[version])
    ext = {"http-version": version}
    sessions = [
        worker.start(method="GET", uri=caddy.url("/file"), stream=True, credits=9_999_999, ext=ext)
        for _ in range(10)
    ]
    for session in sessions:
        session.finish()
        assert session.body == FILE
    requests = [entry["request"] for entry in caddy.requests(10)]
    assert {request["proto"] for request in requests} == {PROTOCOLS[version]}
    assert len({request["remote_port"] for request in requests}) == 1


def test_where_caddy_has_no_quic_tcp_takes_over(worker: Worker, make: Make) -> None:
    caddy = make(protocols="h1 h2")
    answer = worker.request(method="GET", uri=caddy.url("/x"), ext={"http-version": "3"})
    assert answer.body == b"GET 0"
    assert caddy.requests(1)[0]["request"]["proto"] == "HTTP/2.0"


@pytest.mark.parametrize("version", ["1.1", "2", "3"])
def test_client_certificates(
    start_daemon: Start, authority: CertificateAuthority, make: Make, version: str
) -> None:
    caddy = make(authority=authority.path)
    stranger = CertificateAuthority()
    _, worker = start_daemon(environment={"SSL_CERT_FILE": authority.path}, http_version=version)
    asked = {"method": "GET", "uri": caddy.url("/x")}
    one, other, foreign = (
        issuer.pem(name)
        for issuer, name in ((authority, "one"), (authority, "other"), (stranger, "foreign"))
    )
    streams: tuple[dict[str, Any], ...] = ({}, {"stream": True, "credits": 999})
    for stream in streams:
        for shown in (one, other, one):
            answer = worker.start(**asked, **stream, **shown).finish()[-1]
            assert answer.get("condition") is None, answer
        none = worker.start(**asked, **stream).finish()[-1]
        assert (none["condition"], none["ext"]["error"]) == (b"tls-error", b"certificate-required")
        refused = worker.start(**asked, **stream, **foreign).finish()[-1]
        assert (refused["condition"], refused["ext"]["error"]) == (
            b"tls-error",
            b"handshake-failed",
        )
        assert b"alert" in refused["ext"]["detail"]
    stranger.close()
    requests = [entry["request"] for entry in caddy.requests(6)]
    assert {request["proto"] for request in requests} == {PROTOCOLS[version]}
    # Each certificate has a connection of its own, which it keeps.
    assert len({request["remote_port"] for request in requests}) == 2


def test_as_it_is_for_client_certificates_all_goes_by_tcp(
    worker: Worker, authority: CertificateAuthority, make: Make
) -> None:
    """Caddy 2.6 answers HTTP/3 with 421 there: it cannot compare names."""
    caddy = make(authority=authority.path, compares_names=True)
    shown: dict[str, Any] = {**authority.pem("one"), "ext": {"http-version": "3"}}
    for _ in range(2):
        answer = worker.request(method="GET", uri=caddy.url("/x"), **shown)
        assert answer.body == b"GET 0"
    requests = [(entry["status"], entry["request"]["proto"]) for entry in caddy.requests(3)]
    assert requests == [(421, "HTTP/3.0"), (200, "HTTP/2.0"), (200, "HTTP/2.0")]


@pytest.mark.parametrize("certificate", [True, False])
def test_websockets(
    worker: Worker, authority: CertificateAuthority, make: Make, certificate: bool
) -> None:
    caddy = make(authority=authority.path) if certificate else make()
    shown = authority.pem("one") if certificate else {}
    uri = caddy.url("/ws", "wss")
    # The version is of no matter here.
    session = worker.start(uri=uri, credits=999, ext={"http-version": "3"}, **shown)
    assert session.skip(b"keep-alive")["code"] == 101
    session.send(body="hello", content_type="text")
    assert session.skip(b"credit", b"keep-alive").body == b"hello"
    session.send(type="close", code=1000)
    assert session.skip(b"credit", b"keep-alive").type == b"close"
    if certificate:
        answer = worker.start(uri=uri, credits=999).finish()[-1]
        assert answer["ext"]["error"] == b"certificate-required"
