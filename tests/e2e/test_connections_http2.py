"""HTTP/2 for whole and streamed requests: shared connections, credits, bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import require_peer
from tests.support import (
    DEADLINE,
    CertificateAuthority,
    Daemon,
    ScriptedOrigin,
    Worker,
    reply,
    wait_until,
)
from tests.support.http2_only import http2_only
from tests.support.nginx import Nginx
from tests.support.worker import NoAnswer

Start = Callable[..., tuple[Daemon, Worker]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
FILE = bytes(range(256)) * 80_000


@pytest.fixture
def nginx(authority: CertificateAuthority) -> Iterator[Nginx]:
    made = Nginx(require_peer("nginx"), authority.leaf("localhost", "127.0.0.1"), FILE)
    yield made
    made.close()


def connections(nginx: Nginx) -> set[str]:
    """Numbers of the connections that requests came by."""
    return {line.split()[-1] for line in nginx.protocols()}


def test_streams_and_whole_requests_share_a_connection(worker: Worker, nginx: Nginx) -> None:
    worker.request(method="GET", uri=nginx.url())
    session = worker.start(method="GET", uri=nginx.url("/file"), stream=True, credits=500_000)
    assert session.read_all() == FILE
    assert all(line.startswith("HTTP/2.0") for line in nginx.protocols())
    assert len(connections(nginx)) == 1


def test_a_fast_reader_is_not_throttled(worker: Worker, nginx: Nginx) -> None:
    """20 MB in two seconds; with a fixed limit of speed it would take 160."""
    session = worker.start(method="GET", uri=nginx.url("/file"), stream=True, credits=2_000_000)
    import time

    begin = time.monotonic()
    assert session.read_all() == FILE
    assert time.monotonic() - begin < 60


def test_a_stalled_stream_delays_no_other_and_is_bounded(
    start_daemon: Start, authority: CertificateAuthority, nginx: Nginx
) -> None:
    daemon, worker = start_daemon(environment={"SSL_CERT_FILE": authority.path})
    worker.request(method="GET", uri=nginx.url())
    before = daemon.memory()
    count = 40
    stalled = [
        worker.start(method="GET", uri=nginx.url("/file"), stream=True, credits=1)
        for _ in range(count)
    ]
    for session in stalled:
        session.skip(b"keep-alive")
    # 200 kB are the session's own; without care libcurl holds 16 MB.
    assert (daemon.memory() - before) / count < 800_000
    fast = worker.start(method="GET", uri=nginx.url("/file"), stream=True, credits=1_000_000)
    assert fast.read_all() == FILE
    assert (daemon.memory() - before) / count < 1_500_000
    assert len(connections(nginx)) == 1


def test_credits_are_kept_to_the_byte(worker: Worker, nginx: Nginx) -> None:
    session = worker.start(method="GET", uri=nginx.url("/file"), stream=True, credits=70_000)
    while len(session.body) < 70_000:
        session.next()
    assert len(session.body) == 70_000
    session.credit(300_000)
    while len(session.body) < 370_000:
        session.next()
    assert session.body == FILE[:370_000]
    session.cancel()


def test_beyond_the_budget_streams_have_connections_of_their_own(
    start_daemon: Start, authority: CertificateAuthority, nginx: Nginx
) -> None:
    _, worker = start_daemon(
        environment={"SSL_CERT_FILE": authority.path}, stream_memory=2 * 131_072
    )
    sessions = [
        worker.start(method="GET", uri=nginx.url("/file"), stream=True, credits=1) for _ in range(3)
    ]
    for session in sessions:
        session.skip(b"keep-alive")
    for session in sessions:
        session.credit(1_000_000)
        assert session.read_all() == FILE
    wait_until(lambda: len(nginx.protocols()) == 3, "nginx has written its log")
    versions = sorted(line.split()[0] for line in nginx.protocols())
    assert versions == ["HTTP/1.1", "HTTP/1.1", "HTTP/2.0"]


def test_a_burst_to_a_new_origin_makes_one_connection(worker: Worker, nginx: Nginx) -> None:
    for number in range(20):
        worker.send_req({"method": "GET", "uri": nginx.url(), "id": f"{number}"})
    assert [worker.recv_req().get("code") for _ in range(20)] == [200] * 20
    assert len(connections(nginx)) <= 2


def test_a_burst_of_streams_makes_one_connection(worker: Worker, nginx: Nginx) -> None:
    sessions = [
        worker.start(method="GET", uri=nginx.url(), stream=True, credits=100) for _ in range(20)
    ]
    for session in sessions:
        session.finish()
    assert len(connections(nginx)) <= 2


def test_a_burst_to_an_origin_of_http1_is_parallel(
    worker: Worker, authority: CertificateAuthority
) -> None:
    import threading

    together = threading.Barrier(10, timeout=DEADLINE)

    def script(connection: object) -> None:
        connection.read_request()  # type: ignore[attr-defined]
        together.wait()
        connection.send(OK)  # type: ignore[attr-defined]

    with ScriptedOrigin(tls=authority.server_context()) as origin:
        origin.script = script
        for number in range(10):
            worker.send_req(
                {"method": "GET", "uri": origin.url(host="localhost"), "id": f"{number}"}
            )
        assert [worker.recv_req().get("code") for _ in range(10)] == [200] * 10


def test_no_request_waits_for_a_connection_that_is_never_made(
    worker: Worker, origin: ScriptedOrigin, authority: CertificateAuthority
) -> None:
    """The first connection is silent, the next ones are good."""
    import time

    context = authority.server_context()

    def script(connection: object) -> None:
        if connection.number == 0:  # type: ignore[attr-defined]
            connection.expect_end()  # type: ignore[attr-defined]
            return
        connection.sock = context.wrap_socket(connection.sock, server_side=True)  # type: ignore
        reply(OK)(connection)  # type: ignore[arg-type]

    origin.script = script
    uri = origin.url(scheme="https", host="localhost")
    worker.send_req({"method": "GET", "uri": uri, "id": "silent", "timeout": 30_000})
    wait_until(lambda: origin.connections == 1, "the first connects")
    begin = time.monotonic()
    for number in range(5):
        worker.send_req({"method": "GET", "uri": uri, "id": f"{number}"})
    assert [worker.recv_req().get("code") for _ in range(5)] == [200] * 5
    assert time.monotonic() - begin < 15


def test_many_uploads_over_one_connection(worker: Worker, nginx: Nginx) -> None:
    sessions = []
    for _ in range(5):
        session = worker.start(
            method="PUT", uri=nginx.url("/echo"), stream=True, credits=999, more=True, body="one"
        )
        session.next()
        session.send(body="two", more=True)
        sessions.append(session)
    sessions[0].cancel()
    for session in sessions[1:]:
        session.send(body="x" * 50_000)
        assert session.finish()[-1].type == b"data"
    assert len(connections(nginx)) == 1
    assert all(line.startswith("HTTP/2.0") for line in nginx.protocols())


@pytest.mark.parametrize(("version", "expected"), [("1.1", "HTTP/1.1"), ("2", "HTTP/2.0")])
@pytest.mark.parametrize("stream", [True, False])
def test_the_version_is_a_setting(
    start_daemon: Start,
    authority: CertificateAuthority,
    nginx: Nginx,
    version: str,
    expected: str,
    stream: bool,
) -> None:
    _, worker = start_daemon(environment={"SSL_CERT_FILE": authority.path}, http_version=version)
    if stream:
        worker.start(method="GET", uri=nginx.url(), stream=True, credits=99).finish()
    else:
        worker.request(method="GET", uri=nginx.url())
    wait_until(nginx.protocols, "nginx has written its log")
    assert nginx.protocols()[-1].startswith(expected)


@pytest.fixture
def only(authority: CertificateAuthority) -> Iterator[ScriptedOrigin]:
    """An origin that does not speak HTTP/1.1."""
    made = ScriptedOrigin(
        lambda connection: http2_only(connection, 300_000),
        tls=authority.server_context(alpn=("h2",)),
    )
    yield made
    made.close()


def test_an_origin_of_http2_alone(worker: Worker, only: ScriptedOrigin) -> None:
    uri = only.url(host="localhost")
    assert worker.request(method="GET", uri=uri).body.startswith(b"only h2 ")
    download = worker.start(method="GET", uri=uri, stream=True, credits=100_000)
    assert len(download.read_all()) == 300_008
    upload = worker.start(
        method="POST", uri=uri, stream=True, credits=500_000, more=True, body="one "
    )
    upload.next()
    upload.send(body="two ")
    assert upload.read_all().startswith(b"only h2 one two x")
    assert only.connections == 1


@pytest.mark.parametrize("known", [False, True])
def test_an_origin_of_http2_alone_is_not_sent_what_http2_cannot_carry(
    worker: Worker, only: ScriptedOrigin, known: bool
) -> None:
    uri = only.url(host="localhost")
    if known:
        worker.request(method="GET", uri=uri)
    large: dict[str, Any] = {"method": "GET", "uri": uri, "headers": [["X", "x" * 70_000]]}
    whole = worker.request(**large)
    streamed = worker.start(**large, stream=True, credits=1000).finish()[-1]
    for answer in (whole, streamed):
        assert answer.get("condition") == b"bad-request", answer
        assert b"HTTP/2" in answer["ext"]["detail"]
    assert worker.request(method="GET", uri=uri).get("code") == 200


def test_an_origin_of_http2_alone_waits_for_memory(
    start_daemon: Start, authority: CertificateAuthority, only: ScriptedOrigin
) -> None:
    _, worker = start_daemon(
        environment={"SSL_CERT_FILE": authority.path}, stream_memory=2 * 131_072
    )
    uri = only.url(host="localhost")
    first = worker.start(method="GET", uri=uri, stream=True, credits=1)
    first.skip(b"keep-alive")
    # Credits for all of it: which of them goes first, and would wait for more, is not known.
    others = [worker.start(method="GET", uri=uri, stream=True, credits=400_000) for _ in range(2)]
    given_up = worker.start(method="GET", uri=uri, stream=True, credits=1)
    given_up.cancel()
    with pytest.raises(NoAnswer):
        others[0].skip(b"keep-alive", timeout=0.3)
    first.credit(100_000)
    for session in (first, *others):
        assert len(session.read_all()) == 300_008


def test_without_memory_for_streams_an_origin_of_http2_alone_is_asked_one_by_one(
    start_daemon: Start, authority: CertificateAuthority, only: ScriptedOrigin
) -> None:
    _, worker = start_daemon(environment={"SSL_CERT_FILE": authority.path}, stream_memory=0)
    uri = only.url(host="localhost")
    sessions = [worker.start(method="GET", uri=uri, stream=True, credits=400_000) for _ in range(3)]
    for session in sessions:
        assert len(session.read_all()) == 300_008
