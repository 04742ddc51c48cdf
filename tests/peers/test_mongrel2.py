"""The Mongrel2 example, run as a reader would run it: client, Mongrel2, worker, daemon, origin."""

from __future__ import annotations

import hashlib
import http.client
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.peers.backend import LARGE, BackEnd
from tests.support.daemon import free_port
from tests.support.deadline import wait_until

_EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "mongrel2-proxy" / "proxy.py"


class Proxy:
    """The running example."""

    def __init__(self, origin: str) -> None:
        self.port = free_port()
        self._process = subprocess.Popen(
            [sys.executable, str(_EXAMPLE), f"--origin={origin}", f"--port={self.port}"],
            stdout=subprocess.PIPE,
        )
        wait_until(self._answers, "the proxy to answer")

    def _answers(self) -> bool:
        assert self._process.poll() is None, "the example ended"
        try:
            status, _, _ = self.request("GET", "/hello", timeout=2)
        except OSError:
            return False
        return status == 200

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
        self._process.wait(20)
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


@pytest.mark.parametrize("size", [0, 1, 20_000, 1_000_000])
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


def test_many_at_once(proxy: Proxy) -> None:
    def one(number: int) -> bool:
        body = b"%d " % number * 500
        _, _, answer = proxy.request("POST", f"/post?{number}", body)
        return answer == f"{len(body)} {hashlib.sha256(body).hexdigest()}".encode()

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(one, range(200)))
