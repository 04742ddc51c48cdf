"""The gateway at work, on this machine alone: run it with ``make demo``.

Starts the daemon on zurl.conf.example, adapted to a temporary directory, and a small HTTP origin.
Then it plays the worker: each message that crosses a socket is printed, so that the protocol can
be read off the screen.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import zmq

ROOT = Path(__file__).resolve().parent.parent
DEADLINE = 10.0  # seconds that any step may take


class Origin(BaseHTTPRequestHandler):
    """The site on the other side: greets, takes webhooks, serves a larger file."""

    protocol_version = "HTTP/1.1"
    webhooks: ClassVar[list[bytes]] = []

    def do_GET(self) -> None:
        if self.path == "/echo":
            self.echo()
            return
        body = b"0123456789abcdef" * 1000 if self.path == "/large" else b"hello from the origin\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.webhooks.append(body)
        self.send_response(204)
        self.end_headers()

    def echo(self) -> None:
        """A WebSocket, of short messages only: what comes goes back (RFC 6455)."""
        guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        key = self.headers["Sec-WebSocket-Key"].encode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        accept = base64.b64encode(hashlib.sha1(key + guid).digest())
        self.send_header("Sec-WebSocket-Accept", accept.decode())
        self.end_headers()
        head = b""
        while head[:1] != b"\x88":  # a close, which goes back as well
            head = self.rfile.read(2)
            mask = self.rfile.read(4)
            masked = self.rfile.read(head[1] & 127)
            payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(masked))
            self.wfile.write(bytes((head[0], len(payload))) + payload)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def adapt_config(directory: Path) -> Path:
    """zurl.conf.example with its sockets in ``directory``, and the demo's own origin allowed."""
    text = (ROOT / "zurl.conf.example").read_text()
    text = re.sub(r"(?m)^(\w+_spec)=ipc://.*/([^/\n]+)$", rf"\1=ipc://{directory}/\2", text)
    text = re.sub(r"(?m)^allow=.*$", "allow=127.0.0.1", text)
    text = re.sub(r"(?m)^ipc_file_mode=.*$", "ipc_file_mode=600", text)
    path = directory / "zurl.conf"
    path.write_text(text)
    return path


def endpoint(config: Path, key: str) -> str:
    found = re.search(rf"(?m)^{key}=(\S+)$", config.read_text())
    assert found, f"{key} is not in {config}"
    return found.group(1)


class Worker:
    """Four sockets, and a print of everything that crosses them."""

    def __init__(self, config: Path) -> None:
        self.context = zmq.Context()
        self.address = b"demo-worker"
        self.req = self._connect(zmq.REQ, config, "in_req_spec")
        self.push = self._connect(zmq.PUSH, config, "in_spec")
        self.router = self._connect(zmq.ROUTER, config, "in_stream_spec")
        self.sub = self._connect(zmq.SUB, config, "out_spec")
        self.sub.setsockopt(zmq.SUBSCRIBE, self.address + b" ")

    def _connect(self, kind: int, config: Path, key: str) -> zmq.Socket[bytes]:
        socket = self.context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVTIMEO, int(DEADLINE * 1000))
        socket.connect(endpoint(config, key))
        return socket

    def request(self, packet: dict[str, object]) -> dict[str, object]:
        self.req.send(show("REQ  >", encode(packet)))
        return decode(show("REQ  <", self.req.recv()))

    def start(self, packet: dict[str, object]) -> None:
        self.push.send(show("PUSH >", encode(packet)))

    def go_on(self, instance: str, packet: dict[str, object]) -> None:
        message = encode(packet)
        show(f"ROUTER to {instance[:9]}… >", message)
        self.router.send_multipart([instance.encode(), b"", message])

    def receive(self) -> dict[str, object]:
        address, _, message = show("SUB  <", self.sub.recv()).partition(b" ")
        assert address == self.address
        return decode(message)


def encode(packet: dict[str, object]) -> bytes:
    return b"J" + json.dumps(packet).encode()


def decode(message: bytes) -> dict[str, object]:
    assert message[:1] == b"J", message
    packet = json.loads(message[1:])
    assert isinstance(packet, dict)
    return packet


def show(where: str, message: bytes) -> bytes:
    text = message.decode("utf-8", "replace").replace("\n", "\\n")
    print(f"    {where} {text if len(text) <= 300 else text[:270] + ' … ' + text[-27:]}")
    return message


def wait_for(what: str, condition: object) -> None:
    assert callable(condition)
    until = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > until:
            raise SystemExit(f"demo: {what} did not come within {DEADLINE:.0f} s")
        time.sleep(0.02)


def title(text: str) -> None:
    print(f"\n{text}")


def play(worker: Worker, origin: str) -> None:
    title("1. A request with one answer, over in_req_spec (J: the message is JSON)")
    answer = worker.request({"id": "1", "method": "GET", "uri": f"{origin}/hello"})
    assert answer["code"] == 200, answer

    title("2. A webhook, fire and forget, over in_spec: no id, so nobody waits for an answer")
    worker.start(
        {
            "method": "POST",
            "uri": f"{origin}/webhook",
            "headers": [["Content-Type", "application/json"]],
            "body": '{"event": "created"}',
        }
    )
    wait_for("the webhook to arrive", lambda: Origin.webhooks)
    print(f"    the origin got {Origin.webhooks[0].decode()}")

    title("3. A streamed download with credits: no more bytes come than the worker has granted")
    worker.start(
        {
            "from": worker.address.decode(),
            "id": "2",
            "seq": 0,
            "method": "GET",
            "uri": f"{origin}/large",
            "stream": True,
            "credits": 6000,
        }
    )
    packet = worker.receive()
    assert packet["type"] == "keep-alive", packet
    instance, seq, got = str(packet["from"]), 0, 0
    while True:
        packet = worker.receive()
        assert "type" not in packet, packet
        body = str(packet["body"])
        got += len(body)
        if not packet.get("more"):
            break
        seq += 1
        worker.go_on(
            instance,
            {
                "from": worker.address.decode(),
                "id": "2",
                "seq": seq,
                "type": "credit",
                "credits": 6000,
            },
        )
    print(f"    {got} bytes, in order, none unasked for")
    assert got == 16000, got

    # Another loopback address than the one allowed: a demo must not knock at anyone's door, not
    # even if the policy that it shows were broken.
    title("4. A request that the policy refuses: an address of this machine")
    answer = worker.request(
        {"id": "3", "method": "GET", "uri": f"{origin.replace('127.0.0.1', '127.0.0.2')}/secret"}
    )
    assert answer["condition"] == "policy-violation", answer

    title("5. A WebSocket: frames by packets, credits both ways, a regular close")
    me = {"from": worker.address.decode(), "id": "4"}
    uri = f"{origin.replace('http:', 'ws:')}/echo"
    worker.start({**me, "seq": 0, "uri": uri, "credits": 1000})
    assert worker.receive()["code"] == 101
    worker.go_on(instance, {**me, "seq": 1, "body": "hello"})
    kinds = [worker.receive().get("type"), worker.receive().get("type")]
    assert kinds == ["credit", None], kinds
    worker.go_on(instance, {**me, "seq": 2, "type": "close", "code": 1000, "body": "thanks"})
    assert worker.receive()["type"] == "close"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="zurl-demo-") as name:
        config = adapt_config(Path(name))
        server = ThreadingHTTPServer(("127.0.0.1", 0), Origin)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        log = Path(name) / "zurl.log"
        daemon = subprocess.Popen(
            [sys.executable, "-m", "zurl_py.cli.zurl", f"--config={config}", f"--logfile={log}"]
        )
        try:
            socket_file = Path(endpoint(config, "in_spec").removeprefix("ipc://"))
            wait_for("the daemon to bind its sockets", socket_file.exists)
            play(Worker(config), f"http://127.0.0.1:{server.server_port}")
        finally:
            daemon.terminate()
            status = daemon.wait(DEADLINE)
            server.shutdown()
        title(f"The daemon stopped with status {status}. Its log:")
        for line in log.read_text().splitlines():
            print(f"    {line}")
        assert status == 0, status


if __name__ == "__main__":
    main()
