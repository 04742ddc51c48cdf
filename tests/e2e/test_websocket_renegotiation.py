"""An origin that wants another TLS handshake in the middle of a WebSocket (TLS 1.2)."""

import contextlib
import re
import select
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.conftest import require_peer
from tests.support import CertificateAuthority, Daemon, Request, Worker, free_port
from tests.support.daemon import cpu_idle
from tests.support.deadline import wait_until
from tests.support.websocket import TEXT, frame, switch

Start = Callable[..., tuple[Daemon, Worker]]


class Relay:
    """Passes bytes between the daemon and a server; what the server says can be held back."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.holding = False
        self.held = b""
        self._client: socket.socket | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            self._client, _ = self._listener.accept()
            server = socket.create_connection(("127.0.0.1", self._to))
            while True:
                for sock in select.select([self._client, server], [], [])[0]:
                    data = sock.recv(65536)
                    if not data:
                        return
                    if sock is self._client:
                        server.sendall(data)
                    elif self.holding:
                        self.held += data
                    else:
                        self._client.sendall(data)

    def let_through(self, count: int) -> None:
        """Passes on the first bytes of what is held back."""
        assert self._client is not None
        data, self.held = self.held[:count], self.held[count:]
        self._client.sendall(data)

    def close(self) -> None:
        self._listener.close()
        if self._client is not None:
            self._client.close()


class OpensslServer:
    """``openssl s_server``, which asks for another handshake when it is told so."""

    def __init__(self, certificate: str, key: str) -> None:
        self.port = free_port()
        command = ["openssl", "s_server", "-tls1_2", "-accept", f"127.0.0.1:{self.port}"]
        self._process = subprocess.Popen(
            [*command, "-cert", certificate, "-key", key],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._seen = b""
        threading.Thread(target=self._read, daemon=True).start()
        self.wait_for(rb"ACCEPT")

    def _read(self) -> None:
        assert self._process.stdout is not None
        while data := self._process.stdout.read1(65536):  # type: ignore[attr-defined]
            self._seen += data

    def wait_for(self, pattern: bytes) -> bytes:
        """Waits for something that it prints, such as what it is sent."""
        found = wait_until(lambda: re.search(pattern, self._seen, re.S), f"{pattern!r} of openssl")
        assert found is not None
        return found.group()

    def type(self, data: bytes) -> None:
        """Sends data, or a command if it is one of a letter."""
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def server(authority: CertificateAuthority) -> Iterator[OpensslServer]:
    require_peer("openssl")
    made = OpensslServer(*authority.leaf("localhost", "127.0.0.1"))
    yield made
    made.close()


def test_after_a_renegotiation_no_frames_are_lost(
    start_daemon: Start, authority: CertificateAuthority, server: OpensslServer
) -> None:
    """TLS cannot write before it has read: neither a busy loop, nor is anything lost."""
    daemon, worker = start_daemon(environment={"SSL_CERT_FILE": authority.path})
    relay = Relay(server.port)
    try:
        session = worker.start(uri=f"wss://127.0.0.1:{relay.port}/", credits=1000)
        head = server.wait_for(rb"GET / HTTP/1\.1\r\n.*?\r\n\r\n")
        server.type(switch(Request(0, head)))
        assert session.next()["code"] == 101
        relay.holding = True
        server.type(b"r\n")
        wait_until(lambda: len(relay.held) >= 5, "the request for a handshake")
        relay.let_through(5 + int.from_bytes(relay.held[3:5]))
        wait_until(lambda: len(relay.held) > 50, "the answer to our hello, which is held back")
        session.send(body="waits")
        worker.fence()
        assert cpu_idle(daemon, 1.0) < 0.15
        worker.drain()
        assert [message for message in worker.received if message.type == b"credit"] == []
        # At last the origin goes on with it, and everything goes out.
        relay.holding = False
        relay.let_through(len(relay.held))
        assert session.next(20).get("credits") == 5
        server.type(frame(TEXT, b"and back"))
        assert session.next().body == b"and back"
    finally:
        relay.close()
