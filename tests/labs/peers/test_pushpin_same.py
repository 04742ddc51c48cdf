"""What clients and back ends see of Pushpin, byte for byte, is the same with either daemon."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.labs.peers.backend import BackEnd
from tests.labs.peers.pushpin import DEBIAN_ZURL, OUR_ZURL, Pushpin
from tests.support.deadline import DEADLINE

pytestmark = pytest.mark.usefixtures("pushpin_installed")

Both = tuple[Pushpin, Pushpin]


@pytest.fixture(scope="module")
def both(routes: list[str]) -> Iterator[Both]:
    pair = Pushpin(DEBIAN_ZURL, routes), Pushpin(OUR_ZURL, routes)
    yield pair
    for pushpin in pair:
        pushpin.clean()


def exchange(pushpin: Pushpin, request: bytes) -> bytes:
    """Bytes to Pushpin, and what comes back until it closes the connection."""
    with socket.create_connection(("127.0.0.1", pushpin.port), timeout=DEADLINE) as client:
        client.sendall(request)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    return re.sub(rb"\r\nDate: [^\r]*", b"", answer)


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    head = "\r\n".join([f"{line} HTTP/1.1", "Host: site.example", "Connection: close", *headers])
    return head.encode() + b"\r\n\r\n" + body


HANDSHAKE = (
    *("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
REQUESTS = {
    "get": request("GET /request"),
    "query": request("GET /request?a=%20b&c=d;e&f=%C3%BC+g"),
    "dot segments": request("GET /request/../a/./b"),
    "escapes": request("GET /request?%7euser%41%2f"),
    "double slash": request("GET //request//x"),
    "head": request("HEAD /request"),
    "delete": request("DELETE /request"),
    "options": request("OPTIONS /request"),
    "patch": request("PATCH /request", "Content-Length: 3", body=b"abc"),
    "own method": request("PURGE /request"),
    "post empty": request("POST /request", "Content-Length: 0"),
    "post": request("POST /request", "Content-Length: 5", body=b"a\0b\xffc"),
    "get with body": request("GET /request", "Content-Length: 3", body=b"abc"),
    "delete with body": request("DELETE /request", "Content-Length: 3", body=b"abc"),
    "chunked": request(
        "POST /request", "Transfer-Encoding: chunked", body=b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    ),
    "header kinds": request(
        *("GET /request", "X-One: 1", "x-one: 2", "Cookie: a=b; c=d", "X-Utf8: ü"),
        *("User-Agent: tester", "Accept: a/b", "Accept-Encoding: br", "Referer: http://x/"),
    ),
    "authorization": request("GET /request", "Authorization: Basic dTpw"),
    "conditional": request("GET /request", 'If-None-Match: "x"'),
    "expect": request("POST /request", "Content-Length: 3", "Expect: 100-continue", body=b"abc"),
    "hop by hop": request("GET /request", "TE: trailers", "Upgrade: h2c", "Keep-Alive: 5"),
    "forwarded": request("GET /request", "X-Forwarded-For: 1.2.3.4", "Via: 1.1 x"),
    "not found": request("GET /missing"),
    "no content": request("GET /empty"),
    "redirect": request("GET /redirect"),
    "cookies": request("GET /cookies"),
    "no http": request("GET /no-http"),
    "large": request("GET /large"),
    "back end down": request("GET /down"),
    "second target": request("GET /second"),
    "refused": request("GET /refused"),
    "websocket down": request("GET /down", *HANDSHAKE),
}
# Name to the request, and what only Zurl and only we make of it; docs/compatibility.md has reasons.
DIFFERENT = {
    "range": (
        request("GET /request", "Range: bytes=0-3"),
        b"Accept-Encoding: ...\n",
        b"Accept: */*\nRange: bytes=0-3\n",
    ),
    "empty header": (request("GET /request", "X-Empty:"), b"Accept: */*", b"\nX-Empty: \n"),
    "empty header of the back end": (request("GET /empty-header"), b"502 Bad Gateway", b"200 OK"),
    "no websocket": (request("GET /hello", *HANDSHAKE), b"200 \r\n", b"200 OK\r\nServer: "),
    "websocket refused": (
        request("GET /missing", *HANDSHAKE),
        b"404 \r\n",
        b"404 Not Found\r\nServer: ",
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_same(both: Both, name: str) -> None:
    zurl, ours = (exchange(pushpin, REQUESTS[name]) for pushpin in both)
    assert zurl
    assert ours == zurl


@pytest.mark.parametrize("path", ["/gzip", "/chunked", "/until-close"])
def test_same_where_the_length_is_not_known_at_first(both: Both, path: str) -> None:
    """How Pushpin frames these depends on when the end of the body arrives."""

    def got(pushpin: Pushpin) -> tuple[int, str, list[tuple[str, str]], bytes]:
        response = pushpin.request("GET", path, Accept_Encoding="gzip")
        framing = {"date", "content-length", "transfer-encoding", "connection"}
        headers = [each for each in response.getheaders() if each[0].lower() not in framing]
        return response.status, response.reason, headers, response.read()

    zurl, ours = (got(pushpin) for pushpin in both)
    assert ours == zurl


@pytest.mark.parametrize("name", DIFFERENT)
def test_different_as_intended(both: Both, name: str) -> None:
    data, only_zurl, only_ours = DIFFERENT[name]
    zurl, ours = (exchange(pushpin, data) for pushpin in both)
    assert only_zurl in zurl
    assert only_ours in ours
    assert only_ours not in zurl


def test_headers_of_a_handshake_reach_the_back_end(both: Both) -> None:
    def seen(pushpin: Pushpin) -> str | bytes:
        address = f"ws://127.0.0.1:{pushpin.port}/ws"
        more = {"X-A": "b", "Cookie": "c=d", "Origin": "http://o.example"}
        with connect(
            address, additional_headers=more, subprotocols=[Subprotocol("chat")]
        ) as client:
            client.send("headers, please")
            text = client.recv(DEADLINE)
        return re.sub(r"(?m)^(Grip-Sig|Sec-WebSocket-Key|Host): .*", r"\1: ...", str(text))

    zurl, ours = (seen(pushpin) for pushpin in both)
    assert "Sec-WebSocket-Extensions: grip" in str(ours)
    assert ours == zurl


def test_back_end_dies_in_its_answer(both: Both, back_end: BackEnd) -> None:
    """What has come is delivered, and the client can tell that it is not all."""

    def got(pushpin: Pushpin) -> bytes:
        back_end.die.clear()
        with socket.create_connection(("127.0.0.1", pushpin.port), timeout=DEADLINE) as client:
            client.sendall(request("GET /cut-short"))
            answer = b""
            while not answer.endswith(b"\r\n\r\nabc"):
                answer += client.recv(65536)
            back_end.die.set()
            return answer + b"".join(iter(lambda: client.recv(65536), b""))

    zurl, ours = (got(pushpin) for pushpin in both)
    assert b"Content-Length: 100" in ours
    assert ours == zurl
