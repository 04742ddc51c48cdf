"""requests through a running daemon, by our adapter."""

import gzip
import io
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from urllib3.util import Retry

from tests.support import (
    CertificateAuthority,
    Connection,
    Daemon,
    ScriptedOrigin,
    Worker,
    ask_until_in_time,
    ask_when_gone,
    reply,
)
from zurl_py.client.requests import (
    GatewayUnavailable,
    MaxSizeExceeded,
    PolicyViolation,
    ZurlAdapter,
)

OK = b"HTTP/1.1 200 Fine\r\nX: 1\r\nContent-Length: 5\r\n\r\nhello"


@pytest.fixture
def session(shared_daemon: Daemon) -> Iterator[requests.Session]:
    with requests.Session() as made:
        adapter = ZurlAdapter(str(shared_daemon.config_path))
        made.mount("http://", adapter)
        made.mount("https://", adapter)
        with pytest.raises(requests.ConnectionError):  # the gateway is there
            made.get("http://127.0.0.1:1/")
        yield made


def test_an_answer(session: requests.Session, origin: ScriptedOrigin) -> None:
    origin.script = reply(OK)
    answer = session.post(
        origin.url("/a?b=c"), json={"q": 1}, headers={"A": "b"}, auth=("user", "pass")
    )
    assert (answer.status_code, answer.reason, answer.text) == (200, "Fine", "hello")
    assert answer.headers["x"] == "1"
    assert answer.raw.version == answer.raw._original_response.version == 11
    request = origin.wait_request()
    assert request.line == b"POST /a?b=c HTTP/1.1"
    assert (request.framing, request.body) == ("length", b'{"q": 1}')
    assert request.get(b"host") == origin.authority.encode()
    assert request.get(b"authorization") == b"Basic dXNlcjpwYXNz"


@pytest.mark.parametrize("framing", [b"Content-Length: %d", b"Transfer-Encoding: chunked"])
def test_coded_bodies_are_decoded_once(
    session: requests.Session, origin: ScriptedOrigin, framing: bytes
) -> None:
    body = gzip.compress(b"hello" * 1000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
    if b"%d" in framing:
        origin.script = reply(head + framing % len(body) + b"\r\n\r\n" + body)
    else:
        chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        origin.script = reply(head + framing + b"\r\n\r\n" + chunk)
    assert session.get(origin.url()).content == b"hello" * 1000
    with session.get(origin.url(), stream=True) as answer:
        assert b"".join(answer.iter_content(1000)) == b"hello" * 1000


def test_redirects_and_cookies_stay_with_the_library(
    session: requests.Session, origin: ScriptedOrigin
) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /b\r\nSet-Cookie: c=d\r\nContent-Length: 0\r\n\r\n"

    def script(connection: Connection) -> None:
        while True:
            connection.send(moved if b" /a " in connection.read_request().line else OK)

    origin.script = script
    answer = session.get(origin.url("/a"))
    assert [one.status_code for one in answer.history] == [302]
    assert answer.url == origin.url("/b")
    assert session.cookies["c"] == "d"
    assert origin.wait_request(2).get(b"cookie") == b"c=d"


def test_uploads_and_downloads_are_streamed(
    session: requests.Session, origin: ScriptedOrigin
) -> None:
    def script(connection: Connection) -> None:
        body = connection.read_request().body
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    origin.script = script
    pieces = (b"x" * 50_000 for _ in range(40))
    with session.post(origin.url(), data=pieces, stream=True) as answer:
        assert sum(map(len, answer.iter_content(10_000))) == 2_000_000
    assert origin.wait_request().framing == "chunked"
    answer = session.put(origin.url(), data=io.BytesIO(b"y" * 300_000))
    assert len(answer.content) == 300_000
    assert origin.wait_request(2).framing == "length"
    answer = session.post(origin.url(), files={"f": ("n", b"data")})
    assert b"data" in answer.content


def test_lines_of_an_endless_answer(session: requests.Session, origin: ScriptedOrigin) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\none\ntw\r\n")
        connection.expect_end()

    origin.script = script
    answer = session.get(origin.url(), stream=True, timeout=20)
    assert next(answer.iter_lines(chunk_size=1)) == b"one"
    begun = time.monotonic()
    answer.close()
    origin.wait_closed()
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("http://127.0.0.1:1/", requests.ConnectionError),
        ("http://nowhere.invalid/", requests.ConnectionError),
        ("ftp://127.0.0.1/", requests.exceptions.InvalidSchema),
        ("/path", requests.exceptions.MissingSchema),
    ],
)
def test_failures_are_exceptions_of_the_library(
    session: requests.Session, url: str, kind: type[requests.RequestException]
) -> None:
    with pytest.raises(kind):
        session.get(url)


def test_times(session: requests.Session, origin: ScriptedOrigin) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.wait_for("head")
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        connection.wait_for("the end")

    origin.script = script
    with pytest.raises(requests.ReadTimeout):
        session.get(origin.url(), timeout=0.3)
    uri = origin.url(scheme="https")
    ask_until_in_time(lambda: session.get(uri, timeout=0.3), requests.ConnectTimeout)
    origin.let("head")
    answer = session.get(origin.url(), timeout=(5, 1.5), stream=True)
    with pytest.raises(requests.ConnectionError, match="nothing came"):
        _ = answer.content
    origin.let("the end")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.get(origin.url())
    for wrong in ((1, 2, 3), 0, -1, "soon"):
        with pytest.raises(ValueError, match=r"[Tt]imeout"):
            session.get(origin.url(), timeout=wrong)  # type: ignore[arg-type]


def test_refusals_and_a_gateway_that_is_away(
    start_daemon: Callable[..., tuple[Daemon, Worker]],
) -> None:
    daemon, _ = start_daemon(deny="@private")
    with requests.Session() as session:
        session.mount("http://", ZurlAdapter(str(daemon.config_path)))
        with pytest.raises(PolicyViolation) as told:
            session.get("http://127.0.0.1:1/")
        assert isinstance(told.value, requests.ConnectionError)
        assert told.value.condition == "policy-violation"  # type: ignore[attr-defined]
        daemon.stop()
        with pytest.raises(GatewayUnavailable, match=str(daemon.directory)):
            ask_when_gone(lambda: session.get("http://127.0.0.1:1/", timeout=0.3))


def test_an_address_without_a_gateway() -> None:
    with pytest.raises(GatewayUnavailable, match="No such file") as told:
        ZurlAdapter("/nowhere/zurl.conf")
    assert isinstance(told.value, requests.ConnectionError)
    assert told.value.error == "no-gateway"  # type: ignore[attr-defined]


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_is_too_large(
    shared_daemon: Daemon, origin: ScriptedOrigin, framing: str, stream: bool
) -> None:
    head = b"HTTP/1.1 200 OK\r\n"
    if framing == "length":
        origin.script = reply(head + b"Content-Length: 50\r\n\r\n" + b"x" * 50)
    else:
        chunk = b"32\r\n" + b"x" * 50 + b"\r\n0\r\n\r\n"
        origin.script = reply(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
    with requests.Session() as session:
        session.mount("http://", ZurlAdapter(str(shared_daemon.config_path), max_size=10))
        with pytest.raises(MaxSizeExceeded, match="more than 10 bytes") as told:
            session.get(origin.url(), stream=stream).content  # noqa: B018
    assert isinstance(told.value, requests.ConnectionError)
    assert told.value.error == "max-size"  # type: ignore[attr-defined]
    assert told.value.request is not None


def test_certificates(
    session: requests.Session,
    tls_origin: ScriptedOrigin,
    shared_daemon: Daemon,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tls_origin.script = reply(OK)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "nowhere"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert session.get(tls_origin.url()).text == "hello"
    other = CertificateAuthority()
    try:
        strange = ScriptedOrigin(reply(OK), tls=other.server_context())
        try:
            with pytest.raises(requests.exceptions.SSLError):
                session.get(strange.url())
            monkeypatch.delenv("REQUESTS_CA_BUNDLE")
            assert session.get(strange.url(), verify=False).text == "hello"
            with pytest.raises(OSError, match="TLS certificate file, invalid path"):
                session.get(strange.url(), cert=str(tmp_path / "nowhere"))
        finally:
            strange.close()
    finally:
        other.close()


def test_it_goes_on_after_close_and_in_other_processes(
    session: requests.Session, origin: ScriptedOrigin
) -> None:
    origin.script = reply(OK)
    assert session.get(origin.url()).text == "hello"
    session.close()
    assert session.get(origin.url()).text == "hello"
    with pickle.loads(pickle.dumps(session)) as copy:
        assert isinstance(copy.get_adapter("http://x"), ZurlAdapter)
        assert copy.get(origin.url()).text == "hello"


def test_an_answer_outlives_its_session(shared_daemon: Daemon, origin: ScriptedOrigin) -> None:
    """``requests.get(stream=True)`` closes its session before the body is read."""
    proceed = threading.Event()

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        assert proceed.wait(10)
        connection.send(b"-last")

    origin.script = script
    adapter = ZurlAdapter(str(shared_daemon.config_path))
    with requests.Session() as session:
        session.mount("http://", adapter)
        answer = session.get(origin.url(), stream=True, timeout=10)
        client = adapter._client
        assert client is not None
    assert not client.closed
    proceed.set()
    assert answer.content == b"first-last"
    assert client.closed, "the last answer lets go of the sockets"


def test_a_closed_answer_of_a_closed_session_lets_go_of_the_sockets(
    shared_daemon: Daemon, origin: ScriptedOrigin
) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")

    origin.script = script
    adapter = ZurlAdapter(str(shared_daemon.config_path))
    with requests.Session() as session:
        session.mount("http://", adapter)
        answers = [session.get(origin.url(), stream=True, timeout=10) for _ in range(2)]
        client = adapter._client
        assert client is not None
    answers[0].close()
    assert not client.closed
    answers[1].close()
    assert client.closed


def test_retries_of_the_library_are_supported(
    shared_daemon: Daemon, origin: ScriptedOrigin
) -> None:
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"

    def script(connection: Connection) -> None:
        while True:
            connection.read_request()
            connection.send(OK if len(origin.requests) % 3 == 0 else busy)

    origin.script = script
    path = str(shared_daemon.config_path)
    with requests.Session() as session:
        retry = Retry(total=2, status_forcelist=[503])
        session.mount("http://", ZurlAdapter(path, max_retries=retry))
        assert session.get(origin.url()).text == "hello"
        assert len(origin.requests) == 3
        assert session.post(origin.url()).status_code == 503  # which is not idempotent
        assert session.get(origin.url()).text == "hello"
        retry = Retry(total=1, status_forcelist=[200, 503])
        session.mount("http://", ZurlAdapter(path, max_retries=retry))
        with pytest.raises(requests.exceptions.RetryError):
            session.get(origin.url())
        session.mount("http://", ZurlAdapter(path, max_retries=2))
        with pytest.raises(requests.ConnectionError):
            session.get("http://127.0.0.1:1/")


def test_defaults_of_the_adapter(
    session: requests.Session, shared_daemon: Daemon, origin: ScriptedOrigin
) -> None:
    origin.script = reply(OK, close=True)
    session.get(origin.url())  # the daemon is there

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.expect_end()

    origin.script = script
    with requests.Session() as hasty:
        hasty.mount("http://", adapter := ZurlAdapter(str(shared_daemon.config_path), timeout=0.5))
        hasty.mount("https://", adapter)
        with pytest.raises(requests.ConnectionError):
            hasty.get("http://127.0.0.1:1/", timeout=20)
        with pytest.raises(requests.ReadTimeout, match="nothing came"):
            hasty.get(origin.url())
        uri = origin.url(scheme="https")
        ask_until_in_time(lambda: hasty.get(uri), requests.ConnectTimeout)
    with pytest.raises(TypeError, match="is for the session"):
        ZurlAdapter(str(shared_daemon.config_path), headers={"a": "b"})
