"""httpx and httpx2 through a running daemon, by our transports."""

import asyncio
import gzip
import importlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import trio

from tests.support import (
    Connection,
    Daemon,
    ScriptedOrigin,
    Worker,
    ask_until_in_time,
    ask_when_gone,
    reply,
)

OK = b"HTTP/1.1 200 Fine\r\nX: 1\r\nx: 2\r\nContent-Length: 5\r\n\r\nhello"


@pytest.fixture(params=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def theirs(library: str) -> Any:
    """httpx or httpx2."""
    return importlib.import_module(library)


@pytest.fixture
def ours(library: str) -> Any:
    """Our module for it."""
    return importlib.import_module(f"zurl_py.client.{library}")


@pytest.fixture
def client(theirs: Any, ours: Any, shared_daemon: Daemon) -> Iterator[Any]:
    with theirs.Client(transport=ours.ZurlTransport(str(shared_daemon.config_path))) as made:
        with pytest.raises(theirs.ConnectError):  # short times begin with a gateway that is there
            made.get("http://127.0.0.1:1/", timeout=20)
        yield made


def test_an_answer(client: Any, origin: ScriptedOrigin) -> None:
    origin.script = reply(OK)
    answer = client.post(
        origin.url("/a?b=c"), json={"q": 1}, headers={"A": "b"}, auth=("user", "pass")
    )
    assert (answer.status_code, answer.reason_phrase, answer.text) == (200, "Fine", "hello")
    assert answer.http_version == "HTTP/1.1"
    assert answer.headers.get_list("x") == ["1", "2"]
    request = origin.wait_request()
    assert request.line == b"POST /a?b=c HTTP/1.1"
    assert (request.framing, request.body) == ("length", b'{"q":1}')
    assert request.get(b"host") == origin.authority.encode()
    assert request.get(b"a") == b"b"
    assert [value for name, value in request.headers if name.lower() == b"authorization"] == [
        b"Basic dXNlcjpwYXNz"
    ]


@pytest.mark.parametrize("framing", [b"Content-Length: %d", b"Transfer-Encoding: chunked"])
def test_coded_bodies_are_decoded_once(client: Any, origin: ScriptedOrigin, framing: bytes) -> None:
    body = gzip.compress(b"hello" * 1000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
    if b"%d" in framing:
        origin.script = reply(head + framing % len(body) + b"\r\n\r\n" + body)
    else:
        chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        origin.script = reply(head + framing + b"\r\n\r\n" + chunk)
    assert client.get(origin.url()).content == b"hello" * 1000
    with client.stream("GET", origin.url()) as answer:
        assert answer.read() == b"hello" * 1000


def test_the_head_is_traced_and_its_version_known(client: Any, origin: ScriptedOrigin) -> None:
    large = b"HTTP/1.0 200 Fine\r\n\r\n" + b"x" * 1_000_000
    origin.script = reply(large, close=True)
    seen: list[tuple[str, Any]] = []
    answer = client.get(
        origin.url(), extensions={"trace": lambda name, info: seen.append((name, info))}
    )
    assert answer.http_version == "HTTP/1.0"
    ((name, info),) = seen
    assert name == "http11.receive_response_headers.complete"
    assert info["return_value"][:3] == (b"HTTP/1.0", 200, b"Fine")


def test_redirects_and_cookies_stay_with_the_library(client: Any, origin: ScriptedOrigin) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /b\r\nSet-Cookie: c=d\r\nContent-Length: 0\r\n\r\n"

    def script(connection: Connection) -> None:
        while True:
            connection.send(moved if b" /a " in connection.read_request().line else OK)

    origin.script = script
    answer = client.get(origin.url("/a"), follow_redirects=True)
    assert [one.status_code for one in answer.history] == [302]
    assert answer.url == origin.url("/b")
    assert origin.wait_request(2).get(b"cookie") == b"c=d"


def test_uploads_and_downloads_are_streamed(client: Any, origin: ScriptedOrigin) -> None:
    def script(connection: Connection) -> None:
        body = connection.read_request().body
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    origin.script = script
    pieces = (b"x" * 50_000 for _ in range(40))
    with client.stream("POST", origin.url(), content=pieces) as answer:
        assert sum(map(len, answer.iter_bytes())) == 2_000_000
    assert origin.wait_request().framing == "chunked"


def test_a_stream_that_is_left_is_cancelled(client: Any, origin: ScriptedOrigin) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.send(b"x" * 65536)

    origin.script = script
    with client.stream("GET", origin.url()) as answer:
        next(answer.iter_bytes())
    begun = time.monotonic()
    origin.wait_closed()
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("http://127.0.0.1:1/", "ConnectError"),
        ("http://nowhere.invalid/", "ConnectError"),
        ("ftp://127.0.0.1/", "UnsupportedProtocol"),
        ("/path", "UnsupportedProtocol"),
    ],
)
def test_failures_are_exceptions_of_the_library(
    client: Any, theirs: Any, url: str, kind: str
) -> None:
    with pytest.raises(getattr(theirs, kind)) as told:
        client.get(url)
    assert told.value.request.url == url


def test_what_happens_while_the_body_is_read(
    client: Any, theirs: Any, origin: ScriptedOrigin
) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        connection.wait_for("the end")

    origin.script = script
    with client.stream("GET", origin.url(), timeout=1.5) as answer:
        parts = answer.iter_bytes()
        assert next(parts) == b"half"
        with pytest.raises(theirs.ReadTimeout):
            next(parts)
    origin.let("the end")
    with (
        client.stream("GET", origin.url()) as answer,
        pytest.raises((theirs.RemoteProtocolError, theirs.ReadError)),
    ):
        answer.read()


@pytest.mark.parametrize("by", ["client", "call"])
def test_one_number_is_also_the_limit_for_connecting(
    theirs: Any, ours: Any, shared_daemon: Daemon, origin: ScriptedOrigin, by: str
) -> None:
    """A connection without TLS is not made."""
    origin.script = lambda connection: connection.expect_end()
    limit = {"timeout": 0.5}
    for_client, for_call = (limit, {}) if by == "client" else ({}, limit)
    with ours.Client(str(shared_daemon.config_path), **for_client) as client:
        with pytest.raises(theirs.ConnectError):  # the gateway is there
            client.get("http://127.0.0.1:1/", timeout=20)
        uri = origin.url(scheme="https")
        ask_until_in_time(lambda: client.get(uri, **for_call), theirs.ConnectTimeout)
        with pytest.raises(theirs.ReadTimeout):
            client.get(origin.url(), **for_call)


def test_refusals_are_connect_errors_with_the_reason(
    theirs: Any, ours: Any, start_daemon: Callable[..., tuple[Daemon, Worker]]
) -> None:
    daemon, _ = start_daemon(deny="@private")
    with ours.Client(str(daemon.config_path)) as client:
        with pytest.raises(theirs.ConnectError) as told:
            client.get("http://127.0.0.1:1/")
        assert type(told.value) is ours.PolicyViolation
        assert told.value.condition == "policy-violation"
        daemon.stop()
        with pytest.raises(ours.GatewayUnavailable, match=str(daemon.directory)):
            ask_when_gone(lambda: client.get("http://127.0.0.1:1/", timeout=0.3))


def test_an_address_without_a_gateway(theirs: Any, ours: Any) -> None:
    for make in (ours.Client, ours.AsyncClient, ours.ZurlTransport, ours.AsyncZurlTransport):
        with pytest.raises(theirs.ConnectError, match="No such file") as told:
            make("/nowhere/zurl.conf")
        assert type(told.value) is ours.GatewayUnavailable
        assert told.value.error == "no-gateway"


@pytest.mark.parametrize(
    "refused",
    [
        {"proxy": "http://127.0.0.1:1"},
        {"mounts": {}},
        {"verify": False},
        {"verify": "/etc/ssl"},
        {"cert": "/x.pem"},
        {"transport": "another"},
    ],
)
def test_options_that_would_bypass_the_gateway_are_refused(
    ours: Any, shared_daemon: Daemon, refused: dict[str, Any]
) -> None:
    path = str(shared_daemon.config_path)
    (name,) = refused
    for factory in (ours.Client, ours.AsyncClient):
        with pytest.raises(TypeError, match=f"{name}= cannot be used with a gateway"):
            factory(path, **refused)
    ours.Client(path, proxy=None, mounts=None, verify=True, cert=None).close()


def test_the_factory_takes_options_of_both(
    ours: Any, shared_daemon: Daemon, origin: ScriptedOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    origin.script = reply(OK)
    with ours.Client(
        str(shared_daemon.config_path),
        base_url="http://a.invalid/",
        headers={"h": "v"},
        connect_host="127.0.0.1",
        connect_port=origin.port,
    ) as client:
        assert client.get("/p").text == "hello"
    request = origin.wait_request()
    assert request.get(b"host") == b"a.invalid"
    assert request.get(b"h") == b"v"


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_asynchronous(
    ours: Any, theirs: Any, shared_daemon: Daemon, origin: ScriptedOrigin, loop: str
) -> None:
    origin.script = reply(OK)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"ab"
        yield b"cd"

    async def test() -> None:
        async with ours.AsyncClient(str(shared_daemon.config_path)) as client:
            assert (await client.get(origin.url())).text == "hello"
            assert (await client.post(origin.url(), content=b"x" * 300_000)).text == "hello"
            async with client.stream("POST", origin.url(), content=pieces()) as answer:
                assert [part async for part in answer.aiter_bytes()] == [b"hello"]
            with pytest.raises(theirs.ConnectError):
                await client.get("http://127.0.0.1:1/")

    if loop == "trio":
        trio.run(test)
    else:
        asyncio.run(test())
    assert [request.body for request in origin.requests] == [b"", b"x" * 300_000, b"abcd"]
