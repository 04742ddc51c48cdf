"""Connections that a worker has logged in are that worker's alone; large heads find their way."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from tests.conftest import require_peer
from tests.support import CertificateAuthority, Connection, Daemon, ScriptedOrigin, Worker
from tests.support.nginx import Nginx

FIRST, SECOND = (base64.b64encode(b"NTLMSSP\0" + part).decode() for part in (b"1", b"3"))


def login(connection: Connection) -> None:
    """A server that logs in connections: what comes after the second step is that user's."""
    user = b"nobody"
    while True:
        request = connection.read_request()
        word = (request.get(b"authorization") or b"").partition(b" ")[2]
        if word == FIRST.encode():
            connection.send(
                b"HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM challenge\r\nContent-Length: 0\r\n\r\n"
            )
            user = b"half"
            continue
        if word.startswith(SECOND.encode()[:4]) and user == b"half":
            user = b"somebody"
        body = b"%d %b" % (connection.number, user)
        code = b"401 No" if user == b"nobody" else b"200 OK"
        head = b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n" % (code, len(body))
        connection.send(head + body)


@pytest.fixture(params=["NTLM", "Negotiate"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ask(worker: Worker, origin: ScriptedOrigin, word: str = "") -> tuple[int, bytes]:
    headers = [["Authorization", word]] if word else []
    session = worker.start(
        method="GET", uri=origin.url(), stream=True, credits=100, headers=headers
    )
    answers = session.finish()
    head = next(answer for answer in answers if "code" in answer)
    return head["code"], session.body


@pytest.fixture
def other(shared_daemon: Daemon) -> Iterator[Worker]:
    with Worker(shared_daemon, address=b"other") as made:
        yield made.ready()


def test_a_login_is_used_by_its_worker_only(
    worker: Worker, other: Worker, origin: ScriptedOrigin, scheme: str
) -> None:
    origin.script = login
    assert ask(other, origin) == (401, b"0 nobody")
    assert ask(worker, origin, f"{scheme} {FIRST}") == (401, b"")
    assert ask(other, origin) == (401, b"0 nobody")
    assert ask(worker, origin, f"{scheme} {SECOND}") == (200, b"1 somebody")
    # Nor for another's login, which has steps of its own.
    assert ask(other, origin, f"{scheme} {FIRST}") == (401, b"")
    assert ask(other, origin, f"{scheme} {SECOND}") == (200, b"2 somebody")
    # The worker goes on as the user that it has logged in.
    assert ask(worker, origin) == (200, b"1 somebody")


def test_a_login_by_the_request_interface_is_not_for_others(
    worker: Worker, other: Worker, origin: ScriptedOrigin, scheme: str
) -> None:
    origin.script = login

    def request(who: Worker, word: str = "") -> tuple[int, bytes]:
        headers = [["Authorization", word]] if word else []
        answer = who.request(method="GET", uri=origin.url(), headers=headers)
        return answer["code"], answer.body

    assert request(worker, f"{scheme} {FIRST}") == (401, b"")
    assert request(worker, f"{scheme} {SECOND}") == (200, b"0 somebody")
    assert request(other) == (401, b"1 nobody")
    assert request(worker) == (200, b"0 somebody")


def test_other_ways_to_authorize_share_connections(
    worker: Worker, other: Worker, origin: ScriptedOrigin
) -> None:
    origin.script = login
    assert ask(worker, origin, "Basic abc") == (401, b"0 nobody")
    assert ask(other, origin, "Bearer abc") == (401, b"0 nobody")


@pytest.fixture
def nginx(authority: CertificateAuthority) -> Iterator[Nginx]:
    made = Nginx(require_peer("nginx"), authority.leaf("localhost", "127.0.0.1"))
    yield made
    made.close()


@pytest.mark.parametrize("size", [1000, 70_000])
@pytest.mark.parametrize("stream", [True, False])
def test_a_large_field_goes_by_http1(worker: Worker, nginx: Nginx, size: int, stream: bool) -> None:
    headers = [["X-Test", "x" * size]]
    worker.request(method="GET", uri=nginx.url("/no"))
    if stream:
        session = worker.start(
            method="GET", uri=nginx.url("/echo"), stream=True, credits=200_000, headers=headers
        )
        session.finish()
        body = session.body
    else:
        body = worker.request(method="GET", uri=nginx.url("/echo"), headers=headers).body
    assert body.count(b"x") == size


@pytest.mark.parametrize("stream", [True, False])
def test_a_long_target_goes_by_http1(worker: Worker, nginx: Nginx, stream: bool) -> None:
    """HTTP/2 sends the target as a field."""
    worker.request(method="GET", uri=nginx.url("/no"))
    uri = nginx.url("/echo?") + "x" * 70_000
    code: object
    if stream:
        session = worker.start(method="GET", uri=uri, stream=True, credits=200_000)
        code = session.skip(b"keep-alive").get("code")
    else:
        code = worker.request(method="GET", uri=uri).get("code")
    assert code == 200
