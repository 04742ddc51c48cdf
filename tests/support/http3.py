"""An origin of HTTP/3 by aioquic, beside whatever listens for TCP on the same port."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.asyncio.server import QuicServer
from aioquic.h3.connection import H3Connection, HeadersState
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import (
    ConnectionTerminated,
    HandshakeCompleted,
    ProtocolNegotiated,
    QuicEvent,
)
from aioquic.quic.packet import QuicFrameType

from tests.support.deadline import DEADLINE, wait_until

__all__ = ["Http3Origin"]

_PIECE = 65536
_SLOW = 4.0  # seconds until /slow is answered
_CERTIFICATE_REQUIRED = 0x100 + 116  # RFC 9001 section 4.8, RFC 8446 section 6.2


class _Protocol(QuicConnectionProtocol):
    origin: Http3Origin
    http: H3Connection | None = None

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._begin = self._quic._initialize
        self._quic._initialize = self._initialize  # type: ignore[method-assign]
        self._bodies: dict[int, bytes] = {}
        self._heads: dict[int, dict[bytes, bytes]] = {}

    def _initialize(self, peer_cid: bytes) -> None:
        self._begin(peer_cid)
        self._quic.tls._request_client_certificate = self.origin.asks_certificate

    @property
    def subject(self) -> str:
        """Whose certificate the client has shown; "" if none."""
        shown = self._quic.tls._peer_certificate
        return "" if shown is None else shown.subject.rfc4514_string()

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, HandshakeCompleted) and self.origin.insists and not self.subject:
            self.origin.refused += 1
            self._quic.close(_CERTIFICATE_REQUIRED, QuicFrameType.CRYPTO, "certificate required")
            self.transmit()
            return
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic)
            self.origin.connections.append(self)
        elif isinstance(event, ConnectionTerminated):
            self.origin.terminated += 1
        if self.http is not None:
            for item in self.http.handle_event(event):
                self._http_event(item)

    def _http_event(self, event: H3Event) -> None:
        if isinstance(event, HeadersReceived):
            self._heads[event.stream_id] = dict(event.headers)
            self._bodies[event.stream_id] = b""
        elif isinstance(event, DataReceived):
            self._bodies[event.stream_id] += event.data
        if getattr(event, "stream_ended", False):
            self._answer(event.stream_id)  # type: ignore[attr-defined]

    def _answer(self, stream: int) -> None:
        assert self.http is not None
        head = self._heads.pop(stream)
        body = self._bodies.pop(stream)
        origin = self.origin
        origin.requests.append((head[b":method"], head[b":path"], body))
        path = head[b":path"]
        answer = origin.file if path == b"/file" else b"over h3 " + head[b":method"] + b" " + body
        if path == b"/who":
            answer = f"over h3 {self.subject}".encode()
        if path == b"/misdirected":
            self.http.send_headers(stream, [(b":status", b"421"), (b"content-length", b"2")])
            self.http.send_data(stream, b"no", end_stream=True)
            self.transmit()
            return
        if path == b"/slow":
            asyncio.get_running_loop().call_later(_SLOW, self._send, self.http, stream, answer)
            return
        if path == b"/extras":
            self._answer_with_extras(self.http, stream)
            return
        self._send(self.http, stream, answer)

    def _send(self, http: H3Connection, stream: int, answer: bytes) -> None:
        http.send_headers(stream, [(b":status", b"200"), (b"content-length", b"%d" % len(answer))])
        for start in range(0, len(answer), _PIECE):
            http.send_data(stream, answer[start : start + _PIECE], end_stream=False)
        http.send_data(stream, b"", end_stream=True)
        self.transmit()

    def _answer_with_extras(self, http: H3Connection, stream: int) -> None:
        """An interim head, a body, and a trailer that looks like a status line."""
        http.send_headers(stream, [(b":status", b"103"), (b"link", b"</a>")])
        # aioquic takes the second head for trailers, behind which no body may come.
        http._stream[stream].headers_send_state = HeadersState.INITIAL
        http.send_headers(stream, [(b":status", b"200")])
        http.send_data(stream, b"body", end_stream=False)
        http.send_headers(stream, [(b"x-sum", b"HTTP/1.1 200 FAKE")], end_stream=True)
        self.transmit()


class Http3Origin:
    """A running server.

    Args:
        leaf: paths of its certificate and key.
        port: of 127.0.0.1, for UDP.
        file: what /file serves.
        asks_certificate: clients may show one; /who says whose it was.
        insists: who shows none is turned away when the handshake is over.

    Attributes:
        refused: handshakes of those.
        requests: method, path and body of each.
        connections: those whose handshake was completed.
    """

    def __init__(
        self,
        leaf: tuple[str, str],
        port: int,
        file: bytes = b"",
        asks_certificate: bool = False,
        insists: bool = False,
    ) -> None:
        self.port = port
        self.asks_certificate = asks_certificate or insists
        self.insists = insists
        self.refused = 0
        self.file = file
        self.requests: list[tuple[bytes, bytes, bytes]] = []
        self.connections: list[Any] = []
        self.terminated = 0
        self._configuration = QuicConfiguration(is_client=False, alpn_protocols=["h3"])
        self._configuration.load_cert_chain(*leaf)
        self._loop = asyncio.new_event_loop()
        self._server: QuicServer | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        wait_until(lambda: self._server is not None, "the HTTP/3 server listens")

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)

        def make(*arguments: Any, **more: Any) -> QuicConnectionProtocol:
            made = _Protocol(*arguments, **more)
            made.origin = self
            return made

        async def start() -> None:
            self._server = await serve(
                "127.0.0.1",
                self.port,
                configuration=self._configuration,
                create_protocol=make,
            )

        self._loop.run_until_complete(start())
        self._loop.run_forever()

    def fall_silent(self) -> None:
        """Reads nothing and says nothing from now on, as if the machine had vanished."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def crash(self) -> None:
        """Ends as a killed process does: without closing its connections."""

        def stop() -> None:
            assert self._server is not None
            assert self._server._transport is not None
            self._server._transport.abort()
            self._loop.call_soon(self._loop.stop)

        self._loop.call_soon_threadsafe(stop)
        self._thread.join(10)

    def close_connections(self) -> None:
        """Closes all connections."""

        def close() -> None:
            for connection in self.connections:
                connection.close()

        self._do(close)

    def _do(self, what: Callable[[], None]) -> None:
        """Does it in the server's thread, if that is not silent, and returns when it is done."""
        if not self._thread.is_alive():
            return
        done = threading.Event()

        def run() -> None:
            what()
            done.set()

        self._loop.call_soon_threadsafe(run)
        assert done.wait(DEADLINE)

    def close(self) -> None:
        """Stops it."""
        self.close_connections()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
