"""A proxy that the operator set: everything goes through it, and the rules about names hold."""

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import (
    CertificateAuthority,
    Connection,
    Daemon,
    ScriptedOrigin,
    Worker,
    free_port,
    reply,
)
from tests.support.proxies import Socks5, tunnel

Start = Callable[..., tuple[Daemon, Worker]]
OK = reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@pytest.fixture
def proxy(origin: ScriptedOrigin) -> ScriptedOrigin:
    """An HTTP proxy that answers everything itself, and lets tunnels end in an origin."""

    def script(connection: Connection) -> None:
        while True:
            request = connection.read_request()
            if request.line.startswith(b"CONNECT "):
                connection.send(b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nproxy")

    origin.script = script
    return origin


def test_requests_go_through_an_http_proxy(start_daemon: Start, proxy: ScriptedOrigin) -> None:
    daemon, worker = start_daemon(deny="@private", proxy=f"http://127.0.0.1:{proxy.port}")
    answer = worker.request(method="GET", uri="http://nosuch.invalid/x?y")
    assert answer.body == b"proxy"
    assert proxy.requests[0].line == b"GET http://nosuch.invalid/x?y HTTP/1.1"
    assert proxy.requests[0].get(b"host") == b"nosuch.invalid"
    assert "proxy: it looks names up" in daemon.log()


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1/",
        "http://[::ffff:10.0.0.1]/",
        "http://localhost/",
        "http://metadata.google.internal/",
        "http://a.evil.test/",
        "http://nosuch.invalid:22/",
    ],
)
def test_rules_about_names_hold(start_daemon: Start, proxy: ScriptedOrigin, uri: str) -> None:
    _, worker = start_daemon(
        deny="@private,*.evil.test",
        allow_ports="80",
        proxy=f"http://127.0.0.1:{proxy.port}",
    )
    assert worker.request(method="GET", uri=uri).get("condition") == b"policy-violation"
    assert proxy.connections == 0


def test_credentials_come_from_a_file_and_go_to_the_proxy_only(
    start_daemon: Start, proxy: ScriptedOrigin, tmp_path: Path
) -> None:
    file = tmp_path / "credentials"
    file.write_text("someone:s3cret\n")
    daemon, worker = start_daemon(
        proxy=f"http://127.0.0.1:{proxy.port}", proxy_credentials_file=str(file)
    )
    answer = worker.request(method="GET", uri="http://nosuch.invalid/")
    assert answer.body == b"proxy", (answer, daemon.log()[-3000:])
    expected = b"Basic " + base64.b64encode(b"someone:s3cret")
    assert proxy.requests[0].get(b"proxy-authorization") == expected
    worker.start(uri="ws://nosuch.invalid/", credits=100).next()
    tunnel, handshake = proxy.requests[1:3]
    assert tunnel.line == b"CONNECT nosuch.invalid:80 HTTP/1.1"
    assert tunnel.get(b"proxy-authorization") == expected
    assert handshake.line == b"GET / HTTP/1.1"
    assert handshake.get(b"proxy-authorization") is None
    assert "s3cret" not in daemon.log()
    assert expected.decode() not in daemon.log()


def test_tls_goes_through_a_tunnel(
    start_daemon: Start,
    origin: ScriptedOrigin,
    tls_origin: ScriptedOrigin,
    authority: CertificateAuthority,
) -> None:
    tls_origin.script = OK

    origin.script = tunnel
    _, worker = start_daemon(
        proxy=f"http://127.0.0.1:{origin.port}", environment={"SSL_CERT_FILE": authority.path}
    )
    uri = f"https://localhost:{tls_origin.port}/"
    answer = worker.request(method="GET", uri=uri)
    assert (answer.get("code"), answer.body) == (200, b"ok")
    assert answer.header(b"x-proxy") is None
    session = worker.start(method="GET", uri=uri, stream=True, credits=100)
    session.finish()
    assert session.body == b"ok"
    assert origin.requests[0].line == b"CONNECT localhost:%d HTTP/1.1" % tls_origin.port


def test_a_redirect_goes_through_the_proxy_too(start_daemon: Start, origin: ScriptedOrigin) -> None:
    def script(connection: Connection) -> None:
        while True:
            request = connection.read_request()
            if b"/first" in request.line:
                connection.send(
                    b"HTTP/1.1 302 Found\r\nLocation: http://other.invalid/\r\n"
                    b"Content-Length: 0\r\n\r\n"
                )
            elif b"other" in request.line:
                connection.send(
                    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.9/\r\n"
                    b"Content-Length: 0\r\n\r\n"
                )

    origin.script = script
    _, worker = start_daemon(deny="@private", proxy=f"http://127.0.0.1:{origin.port}")
    answer = worker.request(method="GET", uri="http://nosuch.invalid/first", follow_redirects=True)
    assert answer.get("condition") == b"policy-violation"
    assert [request.line for request in origin.requests] == [
        b"GET http://nosuch.invalid/first HTTP/1.1",
        b"GET http://other.invalid/ HTTP/1.1",
    ]


def test_a_dead_proxy_is_not_bypassed(start_daemon: Start, origin: ScriptedOrigin) -> None:
    origin.script = OK
    _, worker = start_daemon(
        proxy=f"http://127.0.0.1:{free_port()}", environment={"no_proxy": "*", "NO_PROXY": "*"}
    )
    answer = worker.request(method="GET", uri=origin.url())
    assert answer.get("condition") == b"remote-connection-failed"
    assert origin.connections == 0


@pytest.mark.parametrize("scheme", ["socks5h", "socks5"])
def test_requests_go_through_a_socks_proxy(
    start_daemon: Start, origin: ScriptedOrigin, scheme: str
) -> None:
    proxy = Socks5()
    with ScriptedOrigin(proxy) as listener:
        _, worker = start_daemon(
            deny="@loopback",
            allow="localhost,localhost->@loopback",
            proxy=f"{scheme}://127.0.0.1:{listener.port}",
        )
        origin.script = OK
        host = "nosuch.invalid" if scheme == "socks5h" else "localhost"
        answer = worker.request(method="GET", uri=f"http://{host}:{origin.port}/")
    assert answer.body == b"ok"
    assert proxy.asked == [b"nosuch.invalid" if scheme == "socks5h" else b"127.0.0.1"]
