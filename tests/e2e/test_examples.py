"""The examples are run as a reader would run them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import require_peer
from tests.support import DEBIAN_ZURL, ROOT, Connection, Daemon, ScriptedOrigin, Worker, reply
from tests.support.origin import dead_port
from tests.support.websocket import accept, echo, frame, read_frame

EXAMPLES = ROOT / "examples"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
Start = Callable[..., tuple[Daemon, Worker]]
Done = subprocess.CompletedProcess[bytes]


@pytest.fixture(params=["ours", "zurl"])
def any_daemon(request: pytest.FixtureRequest, start_daemon: Start) -> Daemon:
    """Ours and Debian's: what works with one works with the other."""
    if request.param == "zurl":
        require_peer(DEBIAN_ZURL)
    return start_daemon(kind=request.param)[0]


def run(daemon: Daemon | None, name: str, *arguments: str, typed: bytes = b"") -> Done:
    """Runs an example, which finds the daemon by its environment."""
    environment = {**os.environ, "ZURL_CONNECT": str(daemon.config_path) if daemon else "/nowhere"}
    environment["PYTHONPATH"] = str(ROOT)
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        input=typed,
        capture_output=True,
        timeout=60,
        env=environment,
    )


@pytest.mark.parametrize("name", ["request.py", "raw/request.py"])
def test_request(any_daemon: Daemon, origin: ScriptedOrigin, name: str) -> None:
    origin.script = reply(OK)
    done = run(any_daemon, name, origin.url())
    assert (done.returncode, done.stdout, done.stderr) == (0, b"200 OK\nhello\n", b"")


@pytest.mark.parametrize("name", ["request.py", "raw/request.py", "stream.py", "raw/stream.py"])
def test_request_that_fails(any_daemon: Daemon, name: str) -> None:
    with dead_port() as port:
        done = run(any_daemon, name, f"http://127.0.0.1:{port}/")
    assert done.returncode == 1
    assert b"remote-connection-failed" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["webhook.py", "raw/webhook.py"])
def test_webhook(any_daemon: Daemon, origin: ScriptedOrigin, name: str) -> None:
    done = run(any_daemon, name, origin.url("/hook"), '{"event": 1}')
    assert done.returncode == 0, done.stderr
    request = origin.wait_request()
    assert request.line == b"POST /hook HTTP/1.1"
    assert request.get(b"content-type") == b"application/json"
    assert json.loads(request.body) == {"event": 1}


@pytest.mark.parametrize("name", ["stream.py", "raw/stream.py"])
def test_stream(any_daemon: Daemon, origin: ScriptedOrigin, name: str) -> None:
    body = bytes(range(256)) * 4000
    origin.script = reply(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    done = run(any_daemon, name, origin.url())
    assert (done.returncode, done.stderr) == (0, b"200 OK\n")
    assert done.stdout == body


@pytest.mark.parametrize("name", ["websocket_echo.py", "raw/websocket_echo.py"])
def test_websocket(any_daemon: Daemon, origin: ScriptedOrigin, name: str) -> None:
    origin.script = echo
    done = run(any_daemon, name, origin.url("/", "ws"), typed="hello\nκόσμε\n".encode())
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == "hello\nκόσμε\n".encode()


@pytest.mark.parametrize("name", ["websocket_echo.py", "raw/websocket_echo.py"])
def test_websocket_that_is_refused(any_daemon: Daemon, origin: ScriptedOrigin, name: str) -> None:
    origin.script = reply(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
    done = run(any_daemon, name, origin.url("/", "ws"))
    assert done.returncode == 1
    assert b"403" in done.stderr or b"rejected" in done.stderr


ALL = sorted(
    str(path.relative_to(EXAMPLES))
    for path in (*EXAMPLES.glob("*.py"), *EXAMPLES.glob("raw/*.py"))
    if path.name not in ("demo.py", "finding.py")
)


@pytest.mark.parametrize("name", [*ALL, "recipes/crawler.py", "recipes/websocket_bridge.py"])
def test_without_a_daemon_there_is_a_clear_line(name: str) -> None:
    done = run(
        None, name, "http://127.0.0.1:1/", *(["ws://127.0.0.1:1/"] if "bridge" in name else [])
    )
    assert done.returncode == 1
    assert done.stdout == b""
    (line,) = done.stderr.decode().splitlines()
    assert Path(name).name in line
    assert "/nowhere" in line


# -- recipes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["stream.py", "webhook.py", "websocket_echo.py", "recipes/websocket_bridge.py"]
)
def test_without_a_url_the_usage_is_shown(shared_daemon: Daemon, name: str) -> None:
    done = run(shared_daemon, name)
    assert done.returncode == 1
    assert f"python examples/{name} ".encode() in done.stderr
    assert b"Traceback" not in done.stderr


def test_crawler(shared_daemon: Daemon, origin: ScriptedOrigin) -> None:
    origin.script = reply(OK)
    with dead_port() as port:
        urls = [origin.url(f"/{number}") for number in range(1000)]
        urls.append(f"http://127.0.0.1:{port}/")
        done = run(shared_daemon, "recipes/crawler.py", typed="\n".join(urls).encode())
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 1001
    assert sum(line.endswith(": 200, 5 bytes") for line in lines) == 1000
    assert f"{urls[-1]}: remote-connection-failed" in lines
    assert len({request.line for request in origin.requests}) == 1000


def test_websocket_bridge(shared_daemon: Daemon, origin: ScriptedOrigin) -> None:
    got: list[bytes] = []

    def talk(connection: Connection) -> None:
        request = accept(connection)
        if b"/one" in request.line:
            connection.send(frame(1, b"from one"))
        got.append(read_frame(connection)[1])
        if b"/other" in request.line:
            connection.send(frame(1, b"from other"))
            connection.send(frame(8, read_frame(connection)[1]))
        else:
            connection.send(frame(8, b"\x03\xe8"))
            read_frame(connection)

    origin.script = talk
    ends = [origin.url(path, "ws") for path in ("/one", "/other")]
    done = run(shared_daemon, "recipes/websocket_bridge.py", *ends)
    assert done.returncode == 0, done.stderr
    assert sorted(got) == [b"from one", b"from other"]


def test_shell(shared_daemon: Daemon, origin: ScriptedOrigin, tmp_path: Path) -> None:
    origin.script = lambda connection: _by_path(connection)
    command = tmp_path / "zurl-py"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m zurl_py "$@"\n')
    command.chmod(0o755)
    with dead_port() as port:
        urls = [origin.url("/good"), origin.url("/gone"), f"http://127.0.0.1:{port}/"]
        done = subprocess.run(
            ["sh", str(EXAMPLES / "recipes" / "check_links.sh")],
            input="\n".join([*urls, ""]).encode(),
            capture_output=True,
            env={
                **os.environ,
                "ZURL_CONNECT": str(shared_daemon.config_path),
                "PATH": f"{tmp_path}:{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
            },
        )
    assert done.stdout.decode().splitlines() == [
        f"200 {urls[0]}",
        f"FAILED {urls[1]} (status 404)",
        f"FAILED {urls[2]} (no answer)",
    ]
    assert done.returncode == 1


def _by_path(connection: Connection) -> None:
    while True:
        request = connection.read_request()
        status = b"404 No" if b"/gone" in request.line else b"200 OK"
        connection.send(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")


_FASTAPI = """
import sys
from fastapi.testclient import TestClient
sys.path.insert(0, sys.argv[1])
import fastapi_webhooks
good, bad = sys.argv[2:4]
with TestClient(fastapi_webhooks.app) as client:
    refused = client.post("/subscriptions", json={"url": bad})
    assert refused.status_code == 422, refused.text
    print(refused.json()["detail"])
    assert client.post("/subscriptions", json={"url": good}).status_code == 201
    assert client.post("/events", json={"name": "created"}).json() == {"sent": 1}
"""
_CELERY = """
import sys
sys.path.insert(0, sys.argv[1])
import celery_webhooks
from celery.exceptions import Retry
from zurl_py.client import PolicyViolation
good, bad, refused = sys.argv[2:5]
celery_webhooks.app.conf.update(task_always_eager=True, task_store_eager_result=False)
assert celery_webhooks.deliver.apply([good, {"event": 1}]).get() == 200
task = celery_webhooks.deliver
task.max_retries = 0
failed = task.apply([bad, {}])
print(type(failed.result).__name__)
print(type(task.apply([refused, {}]).result).__name__)
"""
_DJANGO = """
import sys
sys.path.insert(0, sys.argv[1])
import django_webhooks
from django.test import Client
client = Client()
print(client.post("/orders?url=" + sys.argv[2] + "/kept", "two", "text/plain").json())
print(client.post("/orders?url=" + sys.argv[2] + "/undone", "", "text/plain").json())
"""


def in_a_program(daemon: Daemon, text: str, *arguments: str) -> Done:
    recipes = str(EXAMPLES / "recipes")
    environment = {**os.environ, "ZURL_CONNECT": str(daemon.config_path), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", text, recipes, *arguments],
        capture_output=True,
        timeout=60,
        env=environment,
    )


def test_fastapi(start_daemon: Start, origin: ScriptedOrigin) -> None:
    daemon, _ = start_daemon(deny="127.0.0.2")
    origin.script = reply(OK)
    done = in_a_program(daemon, _FASTAPI, origin.url("/hook"), "http://127.0.0.2:1/")
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b"this URL cannot be used\n"
    assert json.loads(origin.wait_request(1).body) == {"event": "hello"}
    assert json.loads(origin.wait_request(2).body) == {"event": "created"}


def test_celery(start_daemon: Start, origin: ScriptedOrigin) -> None:
    daemon, _ = start_daemon(deny="127.0.0.2")
    origin.script = reply(OK)
    with dead_port() as port:
        ends = [origin.url("/hook"), f"http://127.0.0.1:{port}/", "http://127.0.0.2:1/"]
        done = in_a_program(daemon, _CELERY, *ends)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().split() == ["ConnectFailed", "PolicyViolation"]
    assert json.loads(origin.requests[0].body) == {"event": 1}


def test_django(shared_daemon: Daemon, origin: ScriptedOrigin) -> None:
    origin.script = reply(OK)
    done = in_a_program(shared_daemon, _DJANGO, origin.url(""))
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b"{'number': 1}\n{'number': None}\n"
    request = origin.wait_request(1)
    assert request.line == b"POST /kept HTTP/1.1"
    assert json.loads(request.body) == {"event": "order", "number": 1}
    assert len(origin.requests) == 1


@pytest.fixture(scope="session")
def node_zeromq(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which npm has installed zeromq."""
    npm = require_peer("npm")
    directory = tmp_path_factory.mktemp("node")
    subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--prefix", str(directory), "zeromq@6"],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return directory


def test_node(shared_daemon: Daemon, origin: ScriptedOrigin, node_zeromq: Path) -> None:
    origin.script = reply(OK)
    shutil.copy(EXAMPLES / "recipes" / "node" / "request.mjs", node_zeromq)
    command = [require_peer("node"), str(node_zeromq / "request.mjs")]
    environment = {**os.environ, "ZURL_REQ": shared_daemon.endpoints["in_req_spec"]}
    done = subprocess.run(
        [*command, origin.url()], capture_output=True, timeout=60, env=environment
    )
    assert (done.returncode, done.stdout) == (0, b"200 OK\nhello\n"), done.stderr
    with dead_port() as port:
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{port}/"],
            capture_output=True,
            timeout=60,
            env=environment,
        )
    assert done.returncode == 1
    assert b"remote-connection-failed" in done.stderr
    assert b"Traceback" not in done.stderr
