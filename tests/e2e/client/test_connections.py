"""``cert``, ``http2`` and ``http3`` of the client and of both adapters, against real origins."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

import zurl_py.client.httpx as ours
from tests.support import CertificateAuthority, Connection, Daemon, ScriptedOrigin
from tests.support.daemon import free_port
from tests.support.http2_only import http2_only
from tests.support.http3 import Http3Origin
from zurl_py.client import BadRequest, CertificateError, Client
from zurl_py.client.requests import ZurlAdapter

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nover one"


@pytest.fixture
def either(authority: CertificateAuthority) -> Iterator[ScriptedOrigin]:
    """An origin of HTTP/2 and HTTP/1.1."""

    def script(connection: Connection) -> None:
        assert isinstance(connection.sock, ssl.SSLSocket)
        if connection.sock.selected_alpn_protocol() == "h2":
            http2_only(connection)
        else:
            connection.read_request()
            connection.send(OK)

    with ScriptedOrigin(script, tls=authority.server_context(alpn=("h2", "http/1.1"))) as made:
        yield made


@pytest.fixture
def third(authority: CertificateAuthority) -> Iterator[Http3Origin]:
    """An origin of HTTP/3 that asks for a certificate."""
    leaf = authority.leaf("localhost", "127.0.0.1")
    made = Http3Origin(leaf, free_port(), asks_certificate=True)
    yield made
    made.close()


@pytest.fixture
def both_in_one(authority: CertificateAuthority, tmp_path: Path) -> Path:
    """A file with a certificate and its key."""
    certificate, key = authority.leaf("client")
    file = tmp_path / "both.pem"
    file.write_text(Path(certificate).read_text() + Path(key).read_text())
    return file


def test_versions_of_the_client(client: Client, either: ScriptedOrigin, third: Http3Origin) -> None:
    url = either.url(host="localhost")
    assert client.get(url, http2=False, timing=True).http_version == "1.1"
    assert client.get(url, http2=True, timing=True).http_version == "2"
    answer = client.get(f"https://localhost:{third.port}/", http3=True, timing=True)
    assert (answer.http_version, answer.text) == ("3", "over h3 GET ")


def test_certificates_of_the_client(
    client: Client, third: Http3Origin, both_in_one: Path, authority: CertificateAuthority
) -> None:
    url = f"https://localhost:{third.port}/who"
    assert client.get(url, http3=True, cert=both_in_one).text == "over h3 CN=client"
    pair = authority.leaf("apart")
    assert client.get(url, http3=True, cert=pair).text == "over h3 CN=apart"
    assert client.get(url, http3=True).text == "over h3 "
    with pytest.raises(BadRequest, match="bad-client-cert"):
        client.get(url, cert=pair[0])


def test_a_certificate_that_is_missing_is_named_so(
    client: Client, authority: CertificateAuthority
) -> None:
    context = authority.server_context(mutual=True)
    words = "the origin wants a client certificate"
    with (
        ScriptedOrigin(tls=context) as strict,
        pytest.raises(CertificateError, match=words),
    ):
        client.get(strict.url(host="localhost"))


@pytest.mark.parametrize(("http2", "version"), [(True, "HTTP/2"), (False, "HTTP/1.1")])
def test_versions_of_httpx(
    shared_daemon: Daemon, either: ScriptedOrigin, http2: bool, version: str
) -> None:
    with ours.Client(str(shared_daemon.config_path), http2=http2) as httpx_client:
        assert httpx_client.get(either.url(host="localhost")).http_version == version


def test_requests(shared_daemon: Daemon, third: Http3Origin, both_in_one: Path) -> None:
    with requests.Session() as session:
        session.mount("https://", ZurlAdapter(str(shared_daemon.config_path), http3=True))
        url = f"https://localhost:{third.port}/who"
        assert session.get(url).text == "over h3 "
        assert session.get(url, cert=str(both_in_one)).text == "over h3 CN=client"
        session.cert = str(both_in_one)
        assert session.get(url).text == "over h3 CN=client"
