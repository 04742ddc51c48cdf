"""Back ends for Pushpin: HTTP with GRIP holds, WebSockets, and WebSockets over HTTP."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from websockets.extensions import Extension, ServerExtensionFactory
from websockets.frames import Frame
from websockets.sync.server import ServerConnection, serve
from websockets.typing import ExtensionName, ExtensionParameter

from tests.support.deadline import DEADLINE

_SUBSCRIBE = b'c:{"type": "subscribe", "channel": "sockets"}'
LARGE = bytes(range(256)) * 16_000  # 4 MB

# Answers as they go out, after which the connection is closed.
_RAW = {
    "/cookies": b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nset-cookie: c=d\r\n"
    b"X-Blanks:  a  b  \r\nContent-Length: 2\r\n\r\nok",
    "/chunked": b"HTTP/1.1 201 Made It\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Trailer: t\r\n\r\n",
    "/until-close": b"HTTP/1.1 200 OK\r\n\r\nall until the end",
    "/empty-header": b"HTTP/1.1 200 OK\r\nX-Empty:\r\nContent-Length: 2\r\n\r\nok",
    "/no-http": b"220 mail.example ESMTP\r\n",
}


def _named(*pairs: str) -> dict[str, Any]:
    """Headers whose names are no names of Python's: name, value, name, value."""
    return dict(zip(pairs[::2], pairs[1::2], strict=True))


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    wbufsize = 65536

    def do_GET(self) -> None:
        route = self.path.split("?")[0]
        if route == "/hold-response":
            self._answer(b"", **_named("Grip-Hold", "response", "Grip-Channel", "news"))
        elif route == "/hold-stream":
            self._answer(b"open\n", **_named("Grip-Hold", "stream", "Grip-Channel", "news"))
        elif route == "/large":
            self._answer(LARGE)
        elif route == "/gzip":
            self._answer(gzip.compress(b"squeezed " * 1000), **_named("Content-Encoding", "gzip"))
        elif route == "/headers":
            self._answer("\n".join(f"{k}: {v}" for k, v in self.headers.items()).encode())
        elif self.path.startswith(("/request", "//request", "/a/")):
            self._answer(self._request_seen())
        elif route == "/redirect":
            self._answer(b"over there", 302, Location="/hello")
        elif route in _RAW:
            self.wfile.write(_RAW[route])
            self.close_connection = True
        elif route == "/cut-short":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
            self.wfile.flush()
            self.server.back_end.die.wait(DEADLINE)
            self.close_connection = True
        elif route == "/empty":
            self.send_response(204)
            self.end_headers()
        elif route == "/missing":
            self._answer(b"nothing here", 404)
        else:
            self._answer(b"hello from the back end\n")

    do_DELETE = do_OPTIONS = do_PATCH = do_PURGE = do_GET

    def _request_seen(self, body: bytes | None = None) -> bytes:
        """The request, without what differs by build of libcurl and by the second."""
        shown = {"Accept-Encoding": "...", "Grip-Sig": "..."}
        headers = self.headers.raw_items()
        lines = [self.requestline, *(f"{k}: {shown.get(k, v)}" for k, v in headers)]
        return (
            "\n".join(lines).encode("latin-1") + b"\n\n" + (self._body() if body is None else body)
        )

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1234")
        self.end_headers()

    def do_POST(self) -> None:
        body = self._body()
        if self.headers.get("Content-Type") == "application/websocket-events":
            self._events(body)
        elif self.path.startswith("/request"):
            self._answer(self._request_seen(body))
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
        headers: dict[str, Any] = {"Content-Type": "application/websocket-events"}
        grip = self.path.startswith("/ws-http-grip")
        if body.startswith(b"OPEN"):
            answer += b"OPEN\r\n"
            body = body.partition(b"\r\n")[2]
            if grip:
                headers["Sec-WebSocket-Extensions"] = "grip"
                answer += b"TEXT %x\r\n%b\r\n" % (len(_SUBSCRIBE), _SUBSCRIBE)
        while body.startswith(b"TEXT "):
            head, _, body = body.partition(b"\r\n")
            size = int(head.split()[1], 16)
            text = (b"m:" if grip else b"") + b"echo: " + body[:size]
            answer += b"TEXT %x\r\n%b\r\n" % (len(text), text)
            body = body[size + 2 :]
        if body.startswith(b"CLOSE"):
            answer += body
        self._answer(answer, **headers)

    def _answer(self, body: bytes, status: int = 200, **headers: Any) -> None:
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

    def __init__(self, back_end: BackEnd) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.back_end = back_end


class _Grip(Extension, ServerExtensionFactory):
    """GRIP's extension: Pushpin takes control messages of a back end that agrees to it."""

    name = ExtensionName("grip")

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], Extension]:
        return [], self

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        return frame

    def encode(self, frame: Frame) -> Frame:
        return frame


class BackEnd:
    """An HTTP server and two WebSocket servers, without and with GRIP, on loopback.

    Attributes:
        die: when set, a handler of ``/cut-short`` closes in the middle of its answer.
    """

    def __init__(self) -> None:
        self.die = threading.Event()
        self._http = _Server(self)
        self.http_port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self._websockets = [
            serve(_echo, "127.0.0.1", 0, max_size=None),
            serve(_subscribe_and_echo, "127.0.0.1", 0, max_size=None, extensions=[_Grip()]),
        ]
        for server in self._websockets:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        self.websocket_port, self.grip_port = (
            server.socket.getsockname()[1] for server in self._websockets
        )

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        for server in self._websockets:
            server.shutdown()


def _echo(connection: ServerConnection) -> None:
    for message in connection:
        if message == "close, please":
            connection.close(4001, "as you like")
            return
        if message == "headers, please":
            assert connection.request is not None
            headers = connection.request.headers.raw_items()
            connection.send("\n".join(f"{name}: {value}" for name, value in headers))
        else:
            connection.send(message)


def _subscribe_and_echo(connection: ServerConnection) -> None:
    connection.send(_SUBSCRIBE.decode())
    for message in connection:
        connection.send(f"m:{message!s}")
