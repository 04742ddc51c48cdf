"""The sites that are asked: nginx where it can, and a small asyncio server for the rest."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import multiprocessing
import os
import resource
import shutil
import socket
import subprocess
import time
from pathlib import Path

__all__ = ["HoldingOrigin", "Nginx"]

_NGINX = """
worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log; daemon off;
events {{ worker_connections 30000; }}
worker_rlimit_nofile 60000;
http {{
    access_log off; keepalive_requests 100000000; keepalive_timeout 3600s;
    client_max_body_size 0; client_body_buffer_size 256k; http2_max_requests 100000000;
    client_body_temp_path {directory}/b; proxy_temp_path {directory}/p;
    fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
    sendfile on; tcp_nodelay on;
    server {{
        listen 127.0.0.1:{plain} backlog=20000;
        listen 127.0.0.1:{tls} ssl backlog=20000;
        listen 127.0.0.1:{h2} ssl http2 backlog=20000;
        ssl_certificate {directory}/cert.pem; ssl_certificate_key {directory}/key.pem;
        root {directory}/www;
        location / {{ default_type text/plain; return 200 "hello world\\n"; }}
        location /file {{ }}
        location /upload {{ proxy_pass http://127.0.0.1:{plain}/sink; proxy_request_buffering on; }}
        location /sink {{ return 204; }}
    }}
}}
"""


class Nginx:
    """nginx on loopback: plain, TLS, HTTP/2."""

    def __init__(self, directory: Path) -> None:
        self.plain, self.tls, self.h2 = (_free_port() for _ in range(3))
        directory.chmod(0o755)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
             "-keyout", f"{directory}/key.pem", "-out", f"{directory}/cert.pem"],
            check=True, capture_output=True,
        )  # fmt: skip
        self.ca_file = directory / "cert.pem"
        www = directory / "www"
        www.mkdir()
        (www / "file").write_bytes(os.urandom(1 << 20) * 64)
        config = directory / "nginx.conf"
        config.write_text(
            _NGINX.format(directory=directory, plain=self.plain, tls=self.tls, h2=self.h2)
        )
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        self._process = subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL)
        _wait_for_port(self.plain)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)


class HoldingOrigin:
    """Answers ``/hold`` never, takes uploads, echoes WebSocket frames; in a process of its own."""

    def __init__(self) -> None:
        self.port = _free_port()
        self._process = multiprocessing.Process(target=_serve, args=(self.port,), daemon=True)
        self._process.start()
        _wait_for_port(self.port)

    def stop(self) -> None:
        self._process.terminate()
        self._process.join(10)


class _Connection(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.data = b""
        self.websocket = False

    def data_received(self, data: bytes) -> None:
        self.data += data
        if not self.websocket:
            self._http()
        if self.websocket:
            self._frames()

    def _http(self) -> None:
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            head, rest = self.data[: end + 4], self.data[end + 4 :]
            lower = head.lower()
            if b"upgrade: websocket" in lower:
                self.data = rest
                self._handshake(head)
                return
            if b"transfer-encoding: chunked" in lower:
                # The end is all that matters; the chunks are dropped as they come.
                if not self.data.endswith(b"0\r\n\r\n"):
                    self.data = head + rest[-16:]
                    return
                rest = b""
            elif (at := lower.find(b"content-length: ")) >= 0:
                length = int(lower[at + 16 : lower.index(b"\r", at)])
                if len(rest) < length:
                    return
                rest = rest[length:]
            self.data = rest
            if not head.split(b" ", 2)[1].startswith(b"/hold"):
                self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")

    def _handshake(self, head: bytes) -> None:
        at = head.lower().index(b"sec-websocket-key:") + 18
        key = head[at : head.index(b"\r", at)].strip()
        digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
        )
        self.websocket = True

    def _frames(self) -> None:
        data = self.data
        while len(data) >= 6:
            size, at = data[1] & 0x7F, 2
            if size == 126:
                size, at = int.from_bytes(data[2:4], "big"), 4
            elif size == 127:
                size, at = int.from_bytes(data[2:10], "big"), 10
            if len(data) < at + 4 + size:
                break
            mask = data[at : at + 4]
            payload = data[at + 4 : at + 4 + size]
            key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
            plain = (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")
            self.transport.write(_frame(data[0], plain))
            data = data[at + 4 + size :]
        self.data = data


def _frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload


def _serve(port: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(_Connection, "127.0.0.1", port, backlog=20000)
        await server.serve_forever()

    asyncio.run(main())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for_port(port: int) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
