"""``--cert --key --cacert --http1.1 --http2 --http3``: what they do, and what they do not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cli.conftest import Run
from tests.support import CertificateAuthority, Connection, ScriptedOrigin, reply
from tests.support.daemon import free_port
from tests.support.http2_only import http2_only
from tests.support.http3 import Http3Origin
from tests.support.websocket import echo_frames, switch

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nover tcp"
VERSION = "%{http_version}"


@pytest.fixture
def strict(authority: CertificateAuthority) -> Iterator[ScriptedOrigin]:
    """An origin of HTTP and WebSockets that insists on a certificate."""
    context = authority.server_context(mutual=True)

    def script(connection: Connection) -> None:
        request = connection.read_request()
        if request.get(b"upgrade"):
            connection.send(switch(request))
            echo_frames(connection)
        else:
            connection.send(OK)

    with ScriptedOrigin(script, tls=context) as made:
        yield made


def test_a_certificate_and_its_key(
    run: Run, strict: ScriptedOrigin, authority: CertificateAuthority, tmp_path: Path
) -> None:
    url = strict.url(host="localhost")
    certificate, key = authority.leaf("client")
    both = tmp_path / "both.pem"
    both.write_text(Path(certificate).read_text() + Path(key).read_text())
    apart = run("get", url, "--cert", certificate, "--key", key)
    assert (apart.status, apart.out) == (0, b"over tcp"), apart.err
    assert run("get", url, "-E", str(both)).out == b"over tcp"
    # The packets are shown, and neither of the two.
    for letter in "TJM":
        told = run("get", url, "--cert", certificate, "--key", key, "--packets", "--format", letter)
        assert "client-key=(" in told.err
        assert "-----BEGIN" not in told.err
    none = run("get", url)
    assert none.status == 60
    assert "the origin wants a client certificate" in none.err
    # A certificate without its key.
    half = run("get", url, "--cert", certificate)
    assert half.status == 3
    assert "PRIVATE KEY" in half.err


def test_a_websocket_shows_it_as_well(
    run: Run, strict: ScriptedOrigin, authority: CertificateAuthority
) -> None:
    certificate, key = authority.leaf("client")
    url = strict.url(scheme="wss", host="localhost")
    done = run("ws", "-1", url, "--cert", certificate, "--key", key, input=b"hello\n")
    assert (done.status, done.out) == (0, b"hello\n"), done.err
    assert run("ws", "-1", url, input=b"hello\n").status == 60


@pytest.mark.parametrize("command", ["get", "ws"])
def test_contradictory_options_are_refused(
    run: Run, authority: CertificateAuthority, command: str
) -> None:
    certificate, key = authority.leaf("client")
    cases = [
        (["--key", key], "--key needs --cert"),
        (["--cert", "/nowhere"], "'/nowhere' does not exist"),
        (["--cert", certificate, "--key", "/nowhere"], "'/nowhere' does not exist"),
        # The gateway runs already, with authorities of its own.
        (["--cacert", certificate], "--cacert are for an embedded gateway"),
    ]
    if command == "get":
        cases += [(["--http1.1", "--http2"], "give one of them")]
        cases += [(["--http2", "--http3"], "give one of them")]
    for options, words in cases:
        done = run(command, "https://a.test/", *options)
        assert done.status == 2, done.err
        assert words in done.err


def test_versions(run: Run, authority: CertificateAuthority) -> None:
    third = Http3Origin(authority.leaf("localhost", "127.0.0.1"), free_port())
    with (
        ScriptedOrigin(http2_only, tls=authority.server_context(alpn=("h2",))) as second,
        ScriptedOrigin(reply(OK), tls=authority.server_context()) as first,
    ):
        urls = {
            "1.1": first.url(host="localhost"),
            "2": second.url(host="localhost"),
            "3": f"https://localhost:{third.port}/",
        }
        for option, version in (("--http1.1", "1.1"), ("--http2", "2"), ("--http3", "3")):
            done = run("get", urls[version], option, "-o", "/dev/null", "-w", VERSION)
            assert (done.status, done.out) == (0, version.encode()), done.err
        assert run("get", urls["2"], "--http1.1").status != 0
    third.close()


def test_an_embedded_gateway_trusts_what_it_is_told_to(
    run: Run, authority: CertificateAuthority, tls_origin: ScriptedOrigin
) -> None:
    tls_origin.script = reply(OK)
    url = tls_origin.url(host="localhost")
    embedded = ("--embedded", "--allow", "localhost", "--allow", "localhost->@loopback")
    done = run("get", url, *embedded, "--cacert", authority.path)
    assert (done.status, done.out) == (0, b"over tcp"), done.err
    assert run("get", url, *embedded).status == 60
