"""Client certificates: by message, key and section, over every version of HTTP, through proxies."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import (
    CertificateAuthority,
    Connection,
    Daemon,
    Message,
    ScriptedOrigin,
    Worker,
    reply,
)
from tests.support.daemon import free_port
from tests.support.http3 import Http3Origin
from tests.support.proxies import Socks5, tunnel
from tests.support.websocket import switch

Start = Callable[..., tuple[Daemon, Worker]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


@pytest.fixture
def strict_origin(authority: CertificateAuthority) -> Iterator[ScriptedOrigin]:
    """An origin that says whose certificate it was shown, and insists on one."""
    context = authority.server_context(mutual=True)

    def script(connection: Connection) -> None:
        while True:
            request = connection.read_request()
            assert isinstance(connection.sock, ssl.SSLSocket)
            subject: Any = (connection.sock.getpeercert() or {}).get("subject", ())
            name = dict(pair for item in subject for pair in item).get("commonName", "nobody")
            text = f"{connection.number} {name}".encode()
            if request.get(b"upgrade"):
                connection.send(switch(request, b"X-Shown: " + text))
                connection.expect_end()
                return
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))

    made = ScriptedOrigin(script, tls=context)
    yield made
    made.close()


def test_client_certificates_of_messages_have_connections_of_their_own(
    worker: Worker, strict_origin: ScriptedOrigin, authority: CertificateAuthority
) -> None:
    uri = strict_origin.url(host="localhost")
    one, other = authority.pem("one"), authority.pem("other")

    def ask(**fields: Any) -> bytes:
        return worker.request(method="GET", uri=uri, **fields).body

    assert ask(**one) == b"0 one"
    assert ask(**other) == b"1 other"
    assert ask(**one) == b"0 one"
    assert ask(client_cert=one["client_cert"] + "\n\n", client_key=one["client_key"]) == b"0 one"
    streamed = worker.start(method="GET", uri=uri, stream=True, credits=99, **other)
    streamed.finish()
    assert streamed.body == b"1 other"
    assert "PRIVATE" not in worker.daemon.log()
    assert "CERTIFICATE---" not in worker.daemon.log()


@pytest.mark.parametrize("scheme", ["https", "wss"])
@pytest.mark.parametrize("stream", [True, False])
def test_an_origin_that_insists_on_a_certificate_is_named(
    worker: Worker, strict_origin: ScriptedOrigin, scheme: str, stream: bool
) -> None:
    """Over TLS 1.3 it says so when its handshake is over."""
    uri = strict_origin.url(scheme=scheme, host="localhost")
    if stream or scheme == "wss":
        answer = worker.start(method="GET", uri=uri, stream=True, credits=9).finish()[-1]
    else:
        answer = worker.request(method="GET", uri=uri)
    assert answer.get("condition") == b"tls-error"
    assert answer["ext"]["error"] == b"certificate-required"
    assert b"alert certificate required" in answer["ext"]["detail"]


def outcome(worker: Worker, scheme: str, **fields: Any) -> Message:
    """The last message of a session; https is asked by the request interface."""
    if scheme == "https":
        return worker.request(method="GET", **fields)
    return worker.start(method="GET", stream=True, credits=9, **fields).finish()[-1]


def losing_its_alert(authority: CertificateAuthority) -> ScriptedOrigin:
    """An origin that insists on a certificate, and whose first alert is lost by a reset."""

    def script(connection: Connection) -> None:
        connection.read_request()
        origin.tls = authority.server_context(mutual=True)
        connection.reset()

    origin = ScriptedOrigin(script, tls=authority.server_context())
    return origin


@pytest.mark.parametrize("scheme", ["https", "wss"])
def test_an_alert_that_was_lost_is_looked_for(
    worker: Worker, authority: CertificateAuthority, scheme: str
) -> None:
    with losing_its_alert(authority) as origin:
        answer = outcome(worker, scheme, uri=origin.url(scheme=scheme, host="localhost"))
        assert answer.get("condition") == b"tls-error"
        assert answer["ext"]["error"] == b"certificate-required"
        assert len(origin.requests) == 1
        assert origin.connections == 2


@pytest.mark.parametrize("scheme", ["https", "wss"])
def test_a_lost_alert_is_looked_for_under_the_name_that_was_verified(
    worker: Worker, authority: CertificateAuthority, scheme: str
) -> None:
    with losing_its_alert(authority) as origin:
        elsewhere = {"connect_host": "localhost", "connect_port": origin.port}
        answer = outcome(
            worker, scheme, uri=f"{scheme}://example.org/", trust_connect_host=True, **elsewhere
        )
        assert answer["ext"]["error"] == b"certificate-required"


@pytest.mark.parametrize("scheme", ["https", "wss"])
def test_a_reset_without_an_alert_stays_a_reset(
    worker: Worker, authority: CertificateAuthority, scheme: str
) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.reset()

    with ScriptedOrigin(script, tls=authority.server_context()) as origin:
        answer = outcome(worker, scheme, uri=origin.url(scheme=scheme, host="localhost"))
        assert answer.get("condition") == b"undefined-condition"
        assert answer["ext"]["error"] == b"connection-reset"
        assert len(origin.requests) == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_origin_that_hangs_up_is_not_connected_to_again(
    worker: Worker, authority: CertificateAuthority, method: str
) -> None:
    """Its connection was read to the end, so no alert was missed."""

    def script(connection: Connection) -> None:
        connection.read_request()

    with ScriptedOrigin(script, tls=authority.server_context()) as origin:
        uri = origin.url(host="localhost")
        body = "" if method == "GET" else "x"
        for answer in (
            worker.request(method=method, uri=uri, body=body),
            worker.start(method=method, uri=uri, body=body, stream=True).finish()[-1],
        ):
            assert answer.get("condition") == b"undefined-condition"
        assert origin.connections == 2


@pytest.mark.parametrize("missing", ["client_cert", "client_key"])
def test_half_a_pair_is_refused(
    worker: Worker, tls_origin: ScriptedOrigin, authority: CertificateAuthority, missing: str
) -> None:
    fields = authority.pem("one")
    del fields[missing]
    answer = worker.request(method="GET", uri=tls_origin.url(host="localhost"), **fields)
    assert answer.get("condition") == b"bad-request"
    assert answer["ext"]["error"] == b"bad-client-cert"
    assert tls_origin.connections == 0


def test_a_pair_that_does_not_fit_is_refused(
    worker: Worker, tls_origin: ScriptedOrigin, authority: CertificateAuthority
) -> None:
    fields = {**authority.pem("one"), "client_key": authority.pem("other")["client_key"]}
    answer = worker.request(method="GET", uri=tls_origin.url(host="localhost"), **fields)
    assert answer["ext"]["error"] == b"bad-client-cert"
    assert tls_origin.connections == 0


def test_without_tls_a_certificate_is_ignored(
    worker: Worker, origin: ScriptedOrigin, authority: CertificateAuthority
) -> None:
    origin.script = reply(OK)
    answer = worker.request(method="GET", uri=origin.url(), client_cert="x", client_key="y")
    assert answer.get("code") == 200


def test_a_certificate_does_not_follow_to_another_origin(
    worker: Worker,
    strict_origin: ScriptedOrigin,
    authority: CertificateAuthority,
) -> None:
    location = strict_origin.url(host="localhost").encode()
    answer = b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % location
    with ScriptedOrigin(reply(answer), tls=authority.server_context()) as first:
        got = worker.request(
            method="GET",
            uri=first.url(host="localhost"),
            follow_redirects=True,
            **authority.pem("one"),
        )
    assert got.get("condition") == b"tls-error"


def test_client_certificates_of_keys_and_sections(
    start_daemon: Start, strict_origin: ScriptedOrigin, authority: CertificateAuthority
) -> None:
    certificate, key = authority.leaf("general")
    daemon, worker = start_daemon(
        environment={"SSL_CERT_FILE": authority.path},
        client_cert_file=certificate,
        client_key_file=key,
    )
    uri = strict_origin.url(host="localhost")
    assert worker.request(method="GET", uri=uri).body == b"0 general"
    other, other_key = authority.leaf("section")
    daemon.section("localhost", client_cert_file=other, client_key_file=other_key)
    assert worker.request(method="GET", uri=uri).body == b"1 section"
    assert worker.request(method="GET", uri=uri, **authority.pem("message")).body == b"2 message"
    # A section's file with new content, under the same name.
    for source, target in zip(authority.leaf("renewed"), (other, other_key), strict=True):
        shutil.copy(source, target)
    daemon.reload()
    assert worker.request(method="GET", uri=uri).body == b"3 renewed"


def test_a_wss_origin_is_shown_the_certificate_as_well(
    worker: Worker, authority: CertificateAuthority
) -> None:
    context = authority.server_context(mutual=True)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    shown: list[Any] = []

    def script(connection: Connection) -> None:
        assert isinstance(connection.sock, ssl.SSLSocket)
        shown.append(connection.sock.getpeercert())

    with ScriptedOrigin(script, tls=context) as origin:
        uri = origin.url(scheme="wss", host="localhost")
        worker.start(uri=uri, credits=10, **authority.pem("one")).finish()
        assert "one" in str(shown[0]["subject"])


# -- through proxies ---------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
def test_certificates_work_through_proxies(
    start_daemon: Start,
    strict_origin: ScriptedOrigin,
    authority: CertificateAuthority,
    scheme: str,
) -> None:
    """The origin is shown them, whole and streamed and by wss; and it judges them."""
    with ScriptedOrigin(tunnel if scheme == "http" else Socks5()) as proxy:
        daemon, worker = start_daemon(
            proxy=f"{scheme}://127.0.0.1:{proxy.port}",
            environment={"SSL_CERT_FILE": authority.path},
        )
        uri = strict_origin.url(host="localhost")
        one, other = authority.pem("one"), authority.pem("other")
        assert worker.request(method="GET", uri=uri, **one).body == b"0 one"
        assert worker.request(method="GET", uri=uri, **other).body == b"1 other"
        streamed = worker.start(method="GET", uri=uri, stream=True, credits=99, **one)
        streamed.finish()
        assert streamed.body == b"0 one"
        opened = worker.start(
            uri=strict_origin.url(scheme="wss", host="localhost"), credits=99, **other
        )
        assert opened.skip(b"keep-alive").header(b"x-shown") == b"2 other"
        for kind in ("https", "wss"):
            asked = strict_origin.url(scheme=kind, host="localhost")
            answer = worker.start(method="GET", uri=asked, stream=True, credits=99).finish()[-1]
            assert answer["ext"]["error"] == b"certificate-required"
        assert "PRIVATE" not in daemon.log()
        assert "BEGIN CERTIFICATE" not in daemon.log()


def test_a_section_has_a_proxy_and_a_certificate(
    start_daemon: Start, strict_origin: ScriptedOrigin, authority: CertificateAuthority
) -> None:
    certificate, key = authority.leaf("section")
    with ScriptedOrigin(tunnel) as proxy:
        daemon, worker = start_daemon(environment={"SSL_CERT_FILE": authority.path})
        daemon.section(
            "localhost",
            proxy=f"http://127.0.0.1:{proxy.port}",
            client_cert_file=certificate,
            client_key_file=key,
        )
        uri = strict_origin.url(host="localhost")
        assert worker.request(method="GET", uri=uri).body == b"0 section"
        assert worker.request(method="GET", uri=uri, **authority.pem("own")).body == b"1 own"
        assert [request.line.split()[0] for request in proxy.requests] == [b"CONNECT"] * 2


# -- over HTTP/3 -------------------------------------------------------------------------------


@pytest.fixture
def strict_quic(authority: CertificateAuthority) -> Iterator[Http3Origin]:
    """HTTP/3 that insists on a certificate, without TCP: on a slow machine that would be faster."""
    made = Http3Origin(authority.leaf("localhost", "127.0.0.1"), free_port(), insists=True)
    yield made
    made.close()


@pytest.fixture
def quic_worker(start_daemon: Start, authority: CertificateAuthority) -> Worker:
    return start_daemon(environment={"SSL_CERT_FILE": authority.path}, http_version="3")[1]


def test_certificates_are_shown_over_http3(
    quic_worker: Worker, strict_quic: Http3Origin, authority: CertificateAuthority
) -> None:
    uri = f"https://localhost:{strict_quic.port}/who"
    one, other = authority.pem("one"), authority.pem("other")

    def ask(**fields: Any) -> bytes:
        return quic_worker.request(method="GET", uri=uri, **fields).body

    assert ask(**one) == b"over h3 CN=one"
    assert ask(**other) == b"over h3 CN=other"
    assert ask(**one) == b"over h3 CN=one"
    streamed = quic_worker.start(method="GET", uri=uri, stream=True, credits=99, **other)
    streamed.finish()
    assert streamed.body == b"over h3 CN=other"
    assert len(strict_quic.connections) == 2
    assert "PRIVATE" not in quic_worker.daemon.log()
    assert "BEGIN CERTIFICATE" not in quic_worker.daemon.log()


@pytest.mark.parametrize("stream", [True, False])
def test_an_origin_of_http3_that_insists_is_named_and_stays_one_of_http3(
    quic_worker: Worker,
    strict_origin: ScriptedOrigin,
    authority: CertificateAuthority,
    stream: bool,
) -> None:
    """libcurl does not tell of an alert of QUIC: the alert of a TCP connection is heard."""
    leaf = authority.leaf("localhost", "127.0.0.1")
    strict_quic = Http3Origin(leaf, strict_origin.port, insists=True)
    uri = strict_origin.url("/who", host="localhost")
    if stream:
        answer = quic_worker.start(method="GET", uri=uri, stream=True, credits=9).finish()[-1]
    else:
        answer = quic_worker.request(method="GET", uri=uri)
    assert answer.get("condition") == b"tls-error"
    assert answer["ext"]["error"] == b"certificate-required"
    assert strict_quic.refused == 1
    assert not strict_origin.requests
    strict_origin.close()  # TCP could be faster
    shown = quic_worker.request(method="GET", uri=uri, **authority.pem("one"))
    strict_quic.close()
    assert shown.body == b"over h3 CN=one"


def test_without_tcp_an_origin_of_http3_that_insists_is_a_reset(
    quic_worker: Worker, strict_quic: Http3Origin
) -> None:
    answer = quic_worker.request(method="GET", uri=f"https://localhost:{strict_quic.port}/who")
    assert answer.get("condition") == b"undefined-condition"
    assert answer["ext"]["error"] == b"connection-reset"


def test_the_settings_certificate_is_shown_over_http3(
    start_daemon: Start, strict_quic: Http3Origin, authority: CertificateAuthority
) -> None:
    certificate, key = authority.leaf("general")
    _, worker = start_daemon(
        environment={"SSL_CERT_FILE": authority.path},
        http_version="3",
        client_cert_file=certificate,
        client_key_file=key,
    )
    uri = f"https://localhost:{strict_quic.port}/who"
    assert worker.request(method="GET", uri=uri).body == b"over h3 CN=general"
    assert worker.request(method="GET", uri=uri, **authority.pem("own")).body == b"over h3 CN=own"
