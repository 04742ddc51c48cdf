"""Peers of other kinds: HTTP/2, kept connections, names that do not resolve."""

import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from tests.conftest import require_peer
from tests.support import CertificateAuthority, Daemon, ScriptedOrigin, Worker, reply, wait_until
from tests.support.nginx import Nginx

Start = Callable[..., tuple[Daemon, Worker]]
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
_FILE = bytes(range(256)) * 20_000


@pytest.fixture(scope="module")
def nginx(authority: CertificateAuthority) -> Iterator[Nginx]:
    made = Nginx(require_peer("nginx"), authority.leaf("localhost", "127.0.0.1"), _FILE)
    yield made
    made.close()


def test_http2_over_tls(worker: Worker, nginx: Nginx) -> None:
    answer = worker.request(method="GET", uri=nginx.url())
    assert (answer["code"], answer["reason"]) == (200, b"")
    assert answer.body == b"over HTTP/2.0\n"
    assert all(name == name.lower() for name, _ in answer.headers)
    assert answer.header(b"content-type") == b"text/plain"


def test_http2_request_headers_and_body(worker: Worker, nginx: Nginx) -> None:
    answer = worker.request(
        method="PUT", uri=nginx.url("/echo"), body="12345", headers=[["X-Test", "v"]]
    )
    assert answer.body == b"PUT 5 v\n"
    assert worker.request(method="GET", uri=nginx.url("/no"))["code"] == 204


def test_http2_streamed_download_keeps_to_its_credits(worker: Worker, nginx: Nginx) -> None:
    session = worker.start(method="GET", uri=nginx.url("/file"), stream=True, credits=1000)
    while len(session.body) < 1000:
        session.next()
    assert len(session.body) == 1000
    while not session.messages[-1].is_final:
        session.credit(400_000)
        wanted = min(len(session.body) + 400_000, len(_FILE))
        while len(session.body) < wanted or (wanted == len(_FILE) and not _final(session)):
            session.next()
    assert session.body == _FILE


def _final(session: object) -> bool:
    messages = session.messages  # type: ignore[attr-defined]
    return bool(messages) and bool(messages[-1].is_final)


def test_http2_paused_download_is_bounded_and_stalls_no_other(
    start_daemon: Start, nginx: Nginx, authority: CertificateAuthority
) -> None:
    daemon, worker = start_daemon(environment={"SSL_CERT_FILE": authority.path})
    worker.request(method="GET", uri=nginx.url())
    before = daemon.memory()
    sessions = [
        worker.start(method="GET", uri=nginx.url("/file"), stream=True, credits=1)
        for _ in range(10)
    ]
    for session in sessions:
        session.skip(b"keep-alive")
    assert worker.request(method="GET", uri=nginx.url())["code"] == 200
    assert daemon.memory() - before < 30_000_000


def test_http2_upload_in_parts(worker: Worker, nginx: Nginx) -> None:
    session = worker.start(
        method="POST", uri=nginx.url("/echo"), stream=True, credits=999, more=True, body="one"
    )
    session.next()
    session.send(body="two")
    assert session.finish()[-1].type == b"data"


def test_connection_is_given_up_after_connection_max_time(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    _, worker = start_daemon(connection_max_time=3)
    origin.script = reply(_OK)
    worker.request(method="GET", uri=origin.url())
    worker.request(method="GET", uri=origin.url())
    assert origin.connections == 1
    end = time.monotonic() + 3.2
    wait_until(lambda: time.monotonic() > end, "the connection has had its time")
    worker.request(method="GET", uri=origin.url())
    assert origin.connections == 2


def test_names_that_do_not_resolve_stall_nobody(worker: Worker, origin: ScriptedOrigin) -> None:
    origin.script = reply(_OK)
    for number in range(50):
        worker.send_req({"method": "GET", "uri": f"http://n{number}.invalid/", "id": "gone"})
    worker.send_req({"method": "GET", "uri": origin.url(), "id": "here"})
    answers = [worker.recv_req() for _ in range(51)]
    conditions = [a.get("condition") for a in answers if a.id == b"gone"]
    assert conditions == [b"remote-connection-failed"] * 50
    assert [a["code"] for a in answers if a.id == b"here"] == [200]


def test_authority_of_ca_file(
    start_daemon: Start, authority: CertificateAuthority, tls_origin: ScriptedOrigin
) -> None:
    tls_origin.script = reply(_OK)
    _, worker = start_daemon(ca_file=authority.path)
    assert worker.request(method="GET", uri=tls_origin.url(host="localhost"))["code"] == 200
    _, stranger = start_daemon(environment={"SSL_CERT_FILE": None})
    answer = stranger.request(method="GET", uri=tls_origin.url(host="localhost"))
    assert answer["condition"] == b"tls-error"


@pytest.mark.parametrize("case", ["expired", "self_signed"])
def test_each_fault_of_a_certificate_is_a_tls_error(
    worker: Worker, authority: CertificateAuthority, case: str
) -> None:
    context = authority.server_context("localhost", **cast(Any, {case: True}))
    with ScriptedOrigin(reply(_OK), tls=context) as origin:
        uri = origin.url(host="localhost")
        assert worker.request(method="GET", uri=uri)["condition"] == b"tls-error"
        assert worker.request(method="GET", uri=uri, ignore_tls_errors=True)["code"] == 200
        # and the connection that was opened without care does not serve the careful
        assert worker.request(method="GET", uri=uri)["condition"] == b"tls-error"
        assert len(origin.requests) == 1


def test_netrc_and_proxies_of_the_environment_are_not_used(
    start_daemon: Start, origin: ScriptedOrigin, tmp_path: object
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login x password y\n")  # type: ignore[operator]
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9/")
    _, worker = start_daemon(environment={**proxies, "HOME": str(tmp_path), "no_proxy": None})
    origin.script = reply(_OK)
    assert worker.request(method="GET", uri=origin.url())["code"] == 200
    assert origin.requests[0].get(b"authorization") is None
