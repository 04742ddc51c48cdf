"""What makes no sense together has one outcome each, as the page on connections says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import CertificateAuthority, Connection, Daemon, ScriptedOrigin, Worker, reply
from tests.support.http3 import Http3Origin
from tests.support.messages import Message
from tests.support.proxies import Socks5, tunnel
from tests.support.websocket import quiet
from tests.support.worker import NoAnswer

Start = Callable[..., tuple[Daemon, Worker]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nover tcp"


@pytest.fixture
def quic(authority: CertificateAuthority, tls_origin: ScriptedOrigin) -> Iterator[Http3Origin]:
    """HTTP/3 on the port of ``tls_origin``."""
    tls_origin.script = reply(OK)
    made = Http3Origin(authority.leaf("localhost", "127.0.0.1"), tls_origin.port)
    yield made
    made.close()


@pytest.fixture
def socket_origin() -> Iterator[ScriptedOrigin]:
    """An origin of WebSockets."""
    with ScriptedOrigin(quiet()) as made:
        yield made


def open_socket(worker: Worker, origin: ScriptedOrigin, **fields: Any) -> Message:
    """The gateway's first word about a WebSocket."""
    session = worker.start(uri=origin.url("/", "ws"), credits=99, **fields)
    answer = session.skip(b"keep-alive")
    session.cancel()
    return answer


# -- client certificates -----------------------------------------------------------------------

UNUSABLE = (
    {"client_cert": "x"},
    {"client_key": "x"},
    {"client_cert": "", "client_key": ""},
    {"client_cert": "x", "client_key": "y"},
)


@pytest.mark.parametrize("fields", UNUSABLE)
def test_without_tls_certificates_are_ignored_whatever_they_are(
    worker: Worker, origin: ScriptedOrigin, socket_origin: ScriptedOrigin, fields: dict[str, Any]
) -> None:
    origin.script = reply(OK)
    assert worker.request(method="GET", uri=origin.url(), **fields)["code"] == 200
    assert open_socket(worker, socket_origin, **fields)["code"] == 101


@pytest.mark.parametrize("scheme", ["https", "wss"])
@pytest.mark.parametrize("fields", UNUSABLE)
def test_with_tls_what_cannot_be_used_is_refused(
    worker: Worker, tls_origin: ScriptedOrigin, scheme: str, fields: dict[str, Any]
) -> None:
    uri = tls_origin.url(scheme=scheme, host="localhost")
    answer = worker.start(method="GET", uri=uri, stream=True, credits=9, **fields).finish()[-1]
    assert answer["condition"] == b"bad-request"
    assert answer["ext"]["error"] == b"bad-client-cert"
    assert tls_origin.connections == 0


@pytest.mark.parametrize("scheme", ["http", "https", "ws", "wss"])
@pytest.mark.parametrize("wrong", [5, True, ["x"], None])
def test_a_certificate_is_text(
    worker: Worker, origin: ScriptedOrigin, scheme: str, wrong: Any
) -> None:
    answer = worker.start(
        method="GET", uri=origin.url(scheme=scheme), credits=9, client_cert=wrong or {}
    ).finish()[-1]
    assert answer["condition"] == b"bad-request"
    assert b"client-cert must be text" in answer["ext"]["detail"]


# -- versions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.1", "2", "3"])
def test_without_tls_a_version_is_ignored(
    worker: Worker, origin: ScriptedOrigin, socket_origin: ScriptedOrigin, version: str
) -> None:
    origin.script = reply(OK)
    ext = {"http-version": version, "timing": True}
    answer = worker.request(method="GET", uri=origin.url(), ext=ext)
    assert answer["ext"]["http-version"] == b"1.1"
    opened = open_socket(worker, socket_origin, ext=ext)
    assert opened["code"] == 101
    assert opened["ext"]["http-version"] == b"1.1"


@pytest.mark.parametrize("scheme", ["http", "https", "ws", "wss"])
def test_an_unknown_version_is_refused_even_without_tls(
    worker: Worker, origin: ScriptedOrigin, scheme: str
) -> None:
    for wrong in ("4", "", 2):
        answer = worker.start(
            method="GET", uri=origin.url(scheme=scheme), credits=9, ext={"http-version": wrong}
        ).finish()[-1]
        assert answer["condition"] == b"bad-request"
        assert b"http-version" in answer["ext"]["detail"]


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
@pytest.mark.parametrize("by_key", [True, False])
def test_through_any_proxy_it_is_two_at_most(
    start_daemon: Start,
    authority: CertificateAuthority,
    tls_origin: ScriptedOrigin,
    quic: Http3Origin,
    scheme: str,
    by_key: bool,
) -> None:
    with ScriptedOrigin(tunnel if scheme == "http" else Socks5()) as proxy:
        daemon, worker = start_daemon(
            proxy=f"{scheme}://127.0.0.1:{proxy.port}",
            http_version="3" if by_key else "2",
            environment={"SSL_CERT_FILE": authority.path},
        )
        ext: dict[str, Any] = {} if by_key else {"ext": {"http-version": "3"}}
        uri = tls_origin.url(host="localhost")
        assert worker.request(method="GET", uri=uri, **ext).body == b"over tcp"
        assert not quic.connections
    assert ("http_version=3 has no effect" in daemon.log()) is by_key


@pytest.mark.parametrize(
    "headers", [[["Authorization", "NTLM x"]], [["X-Large", "x" * 61_000]]], ids=["login", "large"]
)
def test_requests_that_need_http1_use_it_whatever_is_allowed(
    worker: Worker, tls_origin: ScriptedOrigin, quic: Http3Origin, headers: list[list[str]]
) -> None:
    answer = worker.request(
        method="GET",
        uri=tls_origin.url(host="localhost"),
        headers=headers,
        ext={"http-version": "3"},
    )
    assert answer.body == b"over tcp"
    assert not quic.connections


def test_a_message_wins_over_a_section(
    start_daemon: Start,
    authority: CertificateAuthority,
    tls_origin: ScriptedOrigin,
    quic: Http3Origin,
) -> None:
    daemon, worker = start_daemon(environment={"SSL_CERT_FILE": authority.path})
    daemon.section("localhost", http_version="1.1")
    uri = f"https://localhost:{quic.port}/"
    assert worker.request(method="GET", uri=uri).body == b"over tcp"
    tls_origin.close()  # so that TCP cannot be faster
    answer = worker.request(method="GET", uri=uri, ext={"http-version": "3"})
    assert answer.body == b"over h3 GET "


# -- what the origin said besides --------------------------------------------------------------


def test_redirect_options_without_redirects_are_ignored(
    worker: Worker, origin: ScriptedOrigin
) -> None:
    origin.script = reply(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n")
    ext = {"max-redirects": 3, "redirect-method": "get"}
    assert worker.request(method="POST", uri=origin.url(), body="x", ext=ext)["code"] == 302
    assert len(origin.requests) == 1


def test_no_redirect_at_all_is_one_too_many(worker: Worker, origin: ScriptedOrigin) -> None:
    origin.script = reply(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n")
    ext = {"max-redirects": 0, "history": True}
    answer = worker.request(method="GET", uri=origin.url(), follow_redirects=True, ext=ext)
    assert answer["condition"] == b"too-many-redirects"
    assert answer["ext"]["redirects"] == []
    assert len(origin.requests) == 1


@pytest.mark.parametrize("follows", [True, False])
@pytest.mark.parametrize("wrong", [-1, 21, True, "5", 5.5])
def test_a_wrong_number_of_redirects_is_refused_in_any_case(
    worker: Worker, origin: ScriptedOrigin, follows: bool, wrong: Any
) -> None:
    answer = worker.request(
        method="GET", uri=origin.url(), follow_redirects=follows, ext={"max-redirects": wrong}
    )
    assert answer["condition"] == b"bad-request"
    assert b"max-redirects" in answer["ext"]["detail"]


def test_a_websocket_has_no_trailers_interim_heads_or_coded_body(
    worker: Worker, socket_origin: ScriptedOrigin
) -> None:
    ext = {"trailers": True, "interim": True, "raw": True, "truncate": True, "history": True}
    opened = open_socket(worker, socket_origin, ext=ext)
    assert opened["code"] == 101
    assert set(opened["ext"]) == {"uri", "redirects"}


@pytest.mark.parametrize("code", [204, 304])
def test_an_answer_without_a_body_has_no_trailers(
    worker: Worker, origin: ScriptedOrigin, code: int
) -> None:
    origin.script = reply(b"HTTP/1.1 %d X\r\n\r\n" % code)
    answer = worker.request(method="GET", uri=origin.url(), ext={"trailers": True})
    assert answer["ext"] == {"trailers": []}


def test_without_max_size_nothing_is_truncated(worker: Worker, origin: ScriptedOrigin) -> None:
    origin.script = reply(OK)
    answer = worker.request(method="GET", uri=origin.url(), ext={"truncate": True})
    assert answer.body == b"over tcp"
    assert not answer.get("ext")


# -- time --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "in_time"),
    [
        ({"connect_timeout": -1}, True),  # as if it were not there
        ({"connect_timeout": 1}, False),
        ({"connect_timeout": 1, "ext": {"connect-timeout": 60_000}}, True),  # ext wins
        ({"connect_timeout": 60_000, "ext": {"connect-timeout": 1}}, False),
        ({"ext": {"connect-timeout": 0}}, False),  # one millisecond is the least
    ],
)
def test_connect_timeouts(
    worker: Worker, origin: ScriptedOrigin, fields: dict[str, Any], in_time: bool
) -> None:
    """Against an origin that says nothing in TLS."""
    origin.script = lambda connection: connection.expect_end()
    session = worker.start(method="GET", uri=origin.url(scheme="https"), credits=9, **fields)
    if in_time:
        with pytest.raises(NoAnswer):
            session.skip(b"keep-alive", timeout=0.3)
    else:
        assert session.finish()[-1]["condition"] == b"connection-timeout"
    session.cancel()


@pytest.mark.parametrize("scheme", ["https", "wss"])
@pytest.mark.parametrize(
    ("limit", "error"), [(300, b"connect-timeout"), (60_000, b"total-timeout")]
)
def test_what_is_reported_when_all_of_the_time_went_into_connecting(
    worker: Worker, origin: ScriptedOrigin, scheme: str, limit: int, error: bytes
) -> None:
    origin.script = lambda connection: connection.expect_end()
    fields: dict[str, Any] = {"timeout": 300, "connect_timeout": limit}
    session = worker.start(method="GET", uri=origin.url(scheme=scheme), credits=9, **fields)
    assert session.finish()[-1]["ext"]["error"] == error


def test_connect_timeout_ends_with_the_connection(worker: Worker, origin: ScriptedOrigin) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.expect_end()

    origin.script = script
    fields: dict[str, Any] = {"timeout": 600, "connect_timeout": 600}
    session = worker.start(method="GET", uri=origin.url(), credits=9, **fields)
    assert session.finish()[-1]["ext"]["error"] == b"total-timeout"


# -- addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("::1", b"source_address has none of this family"),
        ("192.0.2.1", b"Cannot assign requested address"),
    ],
)
def test_a_source_address_that_does_not_fit(
    start_daemon: Start, origin: ScriptedOrigin, source: str, words: bytes
) -> None:
    daemon, worker = start_daemon(source_address=source)
    answer = worker.request(method="GET", uri=origin.url())
    assert answer["condition"] == b"remote-connection-failed"
    assert answer["ext"]["error"] == b"unreachable"
    assert words in answer["ext"]["detail"]
    assert ("no address of this machine" in daemon.log()) is (source == "192.0.2.1")
