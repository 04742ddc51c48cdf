"""The examples are run as a reader would run them."""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.conftest import require_peer
from tests.support import DEBIAN_ZURL, ROOT, Daemon, ScriptedOrigin, Worker, reply

_EXAMPLES = ROOT / "examples"
Start = Callable[..., tuple[Daemon, Worker]]


@pytest.fixture(params=["ours", "zurl"])
def daemon(request: pytest.FixtureRequest, start_daemon: Start) -> Daemon:
    """Ours and Debian's: what works with one works with the other."""
    if request.param == "zurl":
        require_peer(DEBIAN_ZURL)
    return start_daemon(kind=request.param)[0]


def _run(name: str, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, str(_EXAMPLES / name), *arguments],
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_request(daemon: Daemon, origin: ScriptedOrigin) -> None:
    origin.script = reply(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    done = _run("request.py", origin.url(), "--endpoint", daemon.endpoints["in_req_spec"])
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"200 OK\nhello\n"


def test_request_that_fails(daemon: Daemon) -> None:
    endpoint = daemon.endpoints["in_req_spec"]
    done = _run("request.py", "http://127.0.0.1:1/", "--endpoint", endpoint)
    assert done.returncode != 0
    assert done.stderr == b"failed: remote-connection-failed\n"


def test_webhook(daemon: Daemon, origin: ScriptedOrigin) -> None:
    endpoint = daemon.endpoints["in_spec"]
    done = _run("webhook.py", origin.url("/hook"), '{"event": 1}', "--endpoint", endpoint)
    assert done.returncode == 0, done.stderr
    request = origin.wait_request()
    assert request.line == b"POST /hook HTTP/1.1"
    assert request.get(b"content-type") == b"application/json"
    assert json.loads(request.body) == {"event": 1}


def test_stream(daemon: Daemon, origin: ScriptedOrigin) -> None:
    body = bytes(range(256)) * 4000
    origin.script = reply(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    ends = daemon.endpoints
    done = _run(
        "stream.py",
        origin.url(),
        *("--in", ends["in_spec"]),
        *("--in-stream", ends["in_stream_spec"]),
        *("--out", ends["out_spec"]),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == b"200 OK\n"
    assert done.stdout == body
