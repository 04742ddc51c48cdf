"""The WebSocket example is run as a reader would run it."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.conftest import require_peer
from tests.support import DEBIAN_ZURL, ROOT, Daemon, ScriptedOrigin, Worker
from tests.support.origin import reply
from tests.support.websocket import echo

_EXAMPLE = ROOT / "examples" / "websocket_echo.py"
Start = Callable[..., tuple[Daemon, Worker]]


@pytest.fixture(params=["ours", "zurl"])
def daemon(request: pytest.FixtureRequest, start_daemon: Start) -> Daemon:
    """Ours and Debian's: what works with one works with the other."""
    if request.param == "zurl":
        require_peer(DEBIAN_ZURL)
    return start_daemon(kind=request.param)[0]


def run(daemon: Daemon, uri: str, typed: bytes) -> "subprocess.CompletedProcess[bytes]":
    where = daemon.endpoints
    return subprocess.run(
        [
            *(sys.executable, str(_EXAMPLE), uri, "--in", where["in_spec"]),
            *("--in-stream", where["in_stream_spec"], "--out", where["out_spec"]),
        ],
        input=typed,
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_echo(daemon: Daemon, origin: ScriptedOrigin) -> None:
    origin.script = echo
    done = run(daemon, origin.url("/", "ws"), "hello\nκόσμε\n".encode())
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == "hello\nκόσμε\n".encode()


def test_rejected(daemon: Daemon, origin: ScriptedOrigin) -> None:
    origin.script = reply(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
    done = run(daemon, origin.url("/", "ws"), b"")
    assert (done.returncode, done.stderr) == (1, b"Failed: rejected\n")
