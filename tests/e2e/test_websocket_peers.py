"""WebSocket servers that others have written: websockets, ws behind Node.js, nginx between."""

import contextlib
import random
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from tests.conftest import require_peer
from tests.support import ROOT, Daemon, Session, Worker, free_port
from tests.support.deadline import wait_until

Start = Callable[..., tuple[Daemon, Worker]]

_WS_VERSION = "8.18.3"
BUFFER = 5_000_000


@pytest.fixture(scope="module")
def websockets_server() -> Iterator[str]:
    """An echo server with the websockets library; /ping pings and tells of the pong."""

    def handle(connection: ServerConnection) -> None:
        if connection.request is not None and connection.request.path == "/ping":
            connection.ping("are you there").wait(20)
            connection.send("pong came")
        for message in connection:
            connection.send(message)

    def choose(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        return Subprotocol("talk") if "talk" in offered else None

    server = serve(handle, "127.0.0.1", 0, select_subprotocol=choose, max_size=None)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
    server.shutdown()
    thread.join()


@pytest.fixture(scope="module")
def node_modules() -> Path:
    """Where ``ws`` is installed; npm fetches it once, into a directory that git ignores."""
    npm = require_peer("npm")
    home = ROOT / "build" / f"ws-{_WS_VERSION}"
    if not (home / "node_modules" / "ws" / "package.json").exists():
        home.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [npm, "install", "--silent", "--no-save", "--prefix", str(home), f"ws@{_WS_VERSION}"],
            check=True,
            timeout=120,
        )
    return home


@pytest.fixture(scope="module")
def node_server(node_modules: Path) -> Iterator[str]:
    """An echo server with Node's ``ws``."""
    script = Path(__file__).with_name("websocket_peer.mjs")
    process = subprocess.Popen(
        [require_peer("node"), str(script), str(node_modules)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    yield f"ws://127.0.0.1:{int(process.stdout.readline())}"
    process.terminate()
    process.wait()
    process.stdout.close()


@pytest.fixture(scope="module")
def nginx_proxy(websockets_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """nginx in front of the websockets server."""
    nginx = require_peer("nginx")
    home = tmp_path_factory.mktemp("nginx")
    port = free_port()
    (home / "nginx.conf").write_text(
        f"""
        daemon off; pid {home}/pid; error_log {home}/error.log; worker_processes 1;
        events {{}}
        http {{
            access_log off;
            client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f;
            uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
            server {{
                listen 127.0.0.1:{port};
                location / {{
                    proxy_pass {websockets_server.replace("ws:", "http:")};
                    proxy_http_version 1.1;
                    proxy_set_header Upgrade $http_upgrade;
                    proxy_set_header Connection upgrade;
                }}
            }}
        }}
        """
    )
    process = subprocess.Popen([nginx, "-c", str(home / "nginx.conf"), "-p", str(home)])

    def listens() -> bool:
        import socket

        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listens, "nginx listens")
    yield f"ws://127.0.0.1:{port}"
    process.terminate()
    process.wait()


@pytest.fixture(params=["websockets_server", "node_server", "nginx_proxy"])
def server(request: pytest.FixtureRequest) -> str:
    """The URI of each of the servers, one after the other."""
    uri: str = request.getfixturevalue(request.param)
    return uri


@pytest.fixture(params=["false", "true"], ids=["plain", "compressed"])
def gateway(request: pytest.FixtureRequest, start_daemon: Start) -> Worker:
    """A worker of a daemon with and without compression."""
    return start_daemon(websocket_compression=request.param, buffer_size=BUFFER)[1]


def begin(worker: Worker, uri: str, **fields: Any) -> Session:
    session = worker.start(uri=uri, credits=BUFFER, **fields)
    opened = session.next()
    assert opened.get("code") == 101, opened
    return session


def receive(session: Session) -> tuple[bytes, bool]:
    """The next message, put together, and whether it is binary."""
    body = b""
    while True:
        packet = session.skip(b"credit")
        assert packet.type == b"data", packet
        body += packet.body
        session.credit(len(packet.body))
        if not packet.get("more"):
            return body, packet.get("content-type") == b"binary"


def test_messages(gateway: Worker, server: str) -> None:
    session = begin(gateway, server)
    random.seed(1)
    noise = random.randbytes(70_000)
    for body, kind in (
        (b"hello", None),
        (b"", None),
        ("κόσμε".encode() * 1000, None),
        (noise, "binary"),
        (b"again " * 20_000, "binary"),
        (b"\0" * 2_000_000, "binary"),
    ):
        session.send(body=body, content_type=kind)
        assert receive(session) == (body, kind == "binary")


def test_fragments(gateway: Worker, server: str) -> None:
    session = begin(gateway, server)
    for index in range(10):
        session.send(body=f"part {index} " * 10, more=True)
    session.send(body="")
    expected = "".join(f"part {index} " * 10 for index in range(10))
    assert receive(session) == (expected.encode(), False)


def test_ping_of_the_server(gateway: Worker, server: str) -> None:
    session = begin(gateway, server + "/ping")
    ping = session.next()
    assert (ping.type, ping.body) == (b"ping", b"are you there")
    session.send(type="pong", body=ping.body)
    assert receive(session)[0].startswith(b"pong")


def test_ping_of_the_worker(gateway: Worker, server: str) -> None:
    session = begin(gateway, server)
    session.send(type="ping", body="here")
    pong = session.skip(b"credit")
    assert (pong.type, pong.body) == (b"pong", b"here")


def test_subprotocol(gateway: Worker, server: str) -> None:
    session = gateway.start(uri=server, headers=[["Sec-WebSocket-Protocol", "chat, talk"]])
    assert session.next().header(b"sec-websocket-protocol") == b"talk"


def test_close(gateway: Worker, server: str) -> None:
    session = begin(gateway, server)
    session.send(type="close", code=4000, body="done")
    answer = session.skip(b"credit")
    assert (answer.type, answer["code"]) == (b"close", 4000)


def test_many_messages_at_once(gateway: Worker, server: str) -> None:
    session = begin(gateway, server)
    for number in range(2000):
        session.send(body=f"message number {number}", credits=30)
    for number in range(2000):
        packet = session.skip(b"credit")
        assert packet.body == b"message number %d" % number


def test_compression_is_used(start_daemon: Start, node_server: str) -> None:
    """What compresses well makes little traffic."""
    daemon, worker = start_daemon(websocket_compression="true", buffer_size=BUFFER)
    session = begin(worker, node_server)
    before = _sent(daemon)
    session.send(body="z" * 1_000_000)
    assert receive(session) == (b"z" * 1_000_000, False)
    # The worker's own megabyte comes over other sockets.
    assert _sent(daemon) - before < 1_500_000


def _sent(daemon: Daemon) -> int:
    """Bytes that the daemon's write calls have taken, over all its sockets."""
    with contextlib.suppress(FileNotFoundError):
        for line in Path(f"/proc/{daemon.pid}/io").read_text().splitlines():
            if line.startswith("wchar:"):
                return int(line.split()[1])
    return 0
