"""Back ends for Pushpin: HTTP with GRIP holds, WebSockets, and WebSockets over HTTP."""

from __future__ import annotations

import gzip
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from websockets.sync.server import ServerConnection, serve

LARGE = bytes(range(256)) * 16_000  # 4 MB


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536

    def do_GET(self) -> None:
        route = self.path.split("?")[0]
        if route == "/hold-response":
            self._answer(b"", **{"Grip-Hold": "response", "Grip-Channel": "news"})
        elif route == "/hold-stream":
            self._answer(b"open\n", **{"Grip-Hold": "stream", "Grip-Channel": "news"})
        elif route == "/large":
            self._answer(LARGE)
        elif route == "/gzip":
            self._answer(gzip.compress(b"squeezed " * 1000), **{"Content-Encoding": "gzip"})
        elif route == "/headers":
            self._answer("\n".join(f"{k}: {v}" for k, v in self.headers.items()).encode())
        elif route == "/empty":
            self.send_response(204)
            self.end_headers()
        elif route == "/missing":
            self._answer(b"nothing here", 404)
        else:
            self._answer(b"hello from the back end\n")

    do_DELETE = do_GET

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1234")
        self.end_headers()

    def do_POST(self) -> None:
        body = self._body()
        if self.headers.get("Content-Type") == "application/websocket-events":
            self._events(body)
        else:
            self._answer(f"{len(body)} {hashlib.sha256(body).hexdigest()}".encode())

    do_PUT = do_POST

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _events(self, body: bytes) -> None:
        """WebSocket over HTTP: each request brings events, the answer takes some back."""
        answer = b""
        if body.startswith(b"OPEN"):
            answer += b"OPEN\r\n"
            body = body.partition(b"\r\n")[2]
        while body.startswith(b"TEXT "):
            head, _, body = body.partition(b"\r\n")
            size = int(head.split()[1], 16)
            text = b"echo: " + body[:size]
            answer += b"TEXT %x\r\n%b\r\n" % (len(text), text)
            body = body[size + 2 :]
        if body.startswith(b"CLOSE"):
            answer += body
        self._answer(answer, **{"Content-Type": "application/websocket-events"})

    def _answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


class BackEnd:
    """One HTTP and one WebSocket server on loopback."""

    def __init__(self) -> None:
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self.http_port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self._websocket = serve(_echo, "127.0.0.1", 0, max_size=None)
        self.websocket_port = self._websocket.socket.getsockname()[1]
        threading.Thread(target=self._websocket.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._websocket.shutdown()


def _echo(connection: ServerConnection) -> None:
    for message in connection:
        if message == "close, please":
            connection.close(4001, "as you like")
            return
        connection.send(message)
