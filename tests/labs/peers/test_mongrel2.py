"""The Mongrel2 example, run as a reader would run it: client, Mongrel2, worker, daemon, origin."""

from __future__ import annotations

import hashlib
import http.client
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.labs.peers.backend import LARGE, BackEnd
from tests.support import ROOT
from tests.support.daemon import free_port
from tests.support.deadline import DEADLINE, wait_until

pytestmark = pytest.mark.usefixtures("mongrel2_installed")

_EXAMPLE = ROOT / "examples" / "mongrel2-proxy" / "proxy.py"


class Proxy:
    """The running example."""

    def __init__(self, origin: str) -> None:
        self.port = free_port()
        self._process = subprocess.Popen(
            # It ends with the test run, however that ends.
            [
                *("setpriv", "--pdeathsig", "TERM", sys.executable, str(_EXAMPLE)),
                *(f"--origin={origin}", f"--port={self.port}"),
            ],
            stdout=subprocess.PIPE,
        )
        wait_until(self._answers, "the proxy to answer")

    def _answers(self) -> bool:
        assert self._process.poll() is None, "the example ended"
        try:
            self.request("GET", "/hello", timeout=2)
        except OSError:
            return False
        return True

    def exchange(self, request: bytes) -> bytes:
        """Bytes to Mongrel2, and all that comes until it closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE) as client:
            client.sendall(request)
            return b"".join(iter(lambda: client.recv(65536), b""))

    def request(
        self, method: str, path: str, body: bytes | None = None, timeout: float = 30, **more: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        headers: Any = {name.replace("_", "-"): value for name, value in more.items()}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        try:
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    back_end = BackEnd()
    proxy = Proxy(f"http://127.0.0.1:{back_end.http_port}")
    yield proxy
    proxy.stop()
    back_end.stop()


def test_get_with_a_query(proxy: Proxy) -> None:
    status, _, body = proxy.request("GET", "/hello?a=b&c=%20d")
    assert (status, body) == (200, b"hello from the back end\n")


def test_header_names_and_values(proxy: Proxy) -> None:
    _, _, body = proxy.request("GET", "/headers", X_Thing="one two", Cookie="a=b")
    lines = {line.lower() for line in body.decode().split("\n")}
    assert {"x-thing: one two", "cookie: a=b"} <= lines


def test_repeated_headers_stay_apart_and_hop_by_hop_ones_stay_behind(proxy: Proxy) -> None:
    answer = proxy.exchange(
        b"GET /headers HTTP/1.1\r\nHost: localhost\r\nX-A: 1\r\nX-A: 2\r\n7: seven\r\nPATH: p\r\n"
        b"TE: trailers\r\nUpgrade: h2c\r\nKeep-Alive: 5\r\nConnection: close\r\n\r\n"
    )
    lines = answer.partition(b"\r\n\r\n")[2].split(b"\n")
    names = [line.partition(b":")[0] for line in lines]
    assert lines[names.index(b"x-a") :][:2] == [b"x-a: 1", b"x-a: 2"]
    assert {b"7: seven", b"path: p"} <= set(lines)
    assert not {b"te", b"upgrade", b"keep-alive", b"connection"} & {n.lower() for n in names}


@pytest.mark.parametrize(
    ("first_line", "header", "closes"),
    [
        (b"GET /hello HTTP/1.0", b"X: y", True),
        (b"GET /hello HTTP/1.1", b"Connection: close", True),
        (b"GET /hello HTTP/1.1", b"Connection: Keep-Alive", False),
    ],
)
def test_connection_ends_if_the_client_wants_it(
    proxy: Proxy, first_line: bytes, header: bytes, closes: bool
) -> None:
    second = b"GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=DEADLINE) as client:
        client.sendall(b"%b\r\nHost: localhost\r\n%b\r\n\r\n" % (first_line, header))
        answer = b""
        while b"hello from the back end\n" not in answer:
            answer += client.recv(65536)
        if not closes:
            client.sendall(second)
            assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        while client.recv(65536):
            pass
    assert (b"\r\nConnection: close\r\n" in answer) is closes


def test_a_client_cannot_choose_the_host(proxy: Proxy) -> None:
    for target in (b"http://127.0.0.1:1/hello", b"//127.0.0.1:1/hello"):
        answer = proxy.exchange(b"GET %b HTTP/1.0\r\nHost: 127.0.0.1:1\r\n\r\n" % target)
        assert answer.endswith(b"hello from the back end\n"), "the origin did not answer"
    for target in (b"@127.0.0.1:1/", b":1/", b".example/"):
        answer = proxy.exchange(b"GET %b HTTP/1.0\r\nHost: localhost\r\n\r\n" % target)
        assert answer.startswith(b"HTTP/1.1 40"), "Mongrel2 let it pass"


def test_head_keeps_the_length_that_the_origin_tells(proxy: Proxy) -> None:
    status, headers, body = proxy.request("HEAD", "/hello")
    assert (status, headers["Content-Length"], body) == (200, "1234", b"")


def test_no_content_has_no_length(proxy: Proxy) -> None:
    status, headers, body = proxy.request("GET", "/empty")
    assert (status, headers["Content-Length"], body) == (204, None, b"")


@pytest.mark.parametrize("size", [0, 1, 20_000, 65_536, 5_000_000])
def test_post(proxy: Proxy, size: int) -> None:
    body = b"y" * size
    status, _, answer = proxy.request("POST", "/post", body)
    assert status == 200
    assert answer == f"{size} {hashlib.sha256(body).hexdigest()}".encode()


def test_large_download(proxy: Proxy) -> None:
    _, headers, body = proxy.request("GET", "/large")
    assert body == LARGE
    assert headers["Content-Length"] == str(len(LARGE))


def test_compressed_answer_is_decoded(proxy: Proxy) -> None:
    _, headers, body = proxy.request("GET", "/gzip")
    assert body == b"squeezed " * 1000
    assert headers["Content-Encoding"] is None


def test_error_of_the_origin_is_passed_on(proxy: Proxy) -> None:
    status, _, body = proxy.request("GET", "/missing")
    assert (status, body) == (404, b"nothing here")


def test_origin_by_name_and_down() -> None:
    proxy = Proxy(f"http://localhost:{free_port()}")
    try:
        status, _, body = proxy.request("GET", "/hello")
        assert (status, body) == (502, b"remote-connection-failed")
    finally:
        proxy.stop()


def test_a_port_in_use_is_told_and_ends_it(proxy: Proxy) -> None:
    result = subprocess.run(
        [sys.executable, str(_EXAMPLE), "--origin=http://127.0.0.1:1", f"--port={proxy.port}"],
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )
    assert result.returncode == 1
    assert b"is in use" in result.stderr


def test_many_at_once(proxy: Proxy) -> None:
    def one(number: int) -> bool:
        body = b"%d " % number * 500
        _, _, answer = proxy.request("POST", f"/post?{number}", body)
        return answer == f"{len(body)} {hashlib.sha256(body).hexdigest()}".encode()

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(one, range(200)))
