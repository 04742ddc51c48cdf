"""An origin of HTTP/3 by aioquic, beside whatever listens for TCP on the same port."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, cast

from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.asyncio.server import QuicServer
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, ProtocolNegotiated, QuicEvent

from tests.support.deadline import wait_until

__all__ = ["Http3Origin"]

_PIECE = 65536


class _Protocol(QuicConnectionProtocol):
    origin: Http3Origin
    http: H3Connection | None = None

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._bodies: dict[int, bytes] = {}
        self._heads: dict[int, dict[bytes, bytes]] = {}

    def quic_event_received(self, event: QuicEvent) -> None:
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
        self.http.send_headers(
            stream, [(b":status", b"200"), (b"content-length", b"%d" % len(answer))]
        )
        for start in range(0, len(answer), _PIECE):
            self.http.send_data(stream, answer[start : start + _PIECE], end_stream=False)
        self.http.send_data(stream, b"", end_stream=True)
        self.transmit()


class Http3Origin:
    """A running server.

    Args:
        leaf: paths of its certificate and key.
        port: of 127.0.0.1, for UDP.
        file: what /file serves.

    Attributes:
        requests: method, path and body of each.
        connections: those whose handshake was completed.
    """

    def __init__(self, leaf: tuple[str, str], port: int, file: bytes = b"") -> None:
        self.port = port
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
                create_protocol=cast(Callable[..., QuicConnectionProtocol], make),
            )

        self._loop.run_until_complete(start())
        self._loop.run_forever()

    def fall_silent(self) -> None:
        """Takes what comes and says nothing, as if the machine had vanished."""

        def deaf(*_: object) -> None:
            pass

        def stop() -> None:
            assert self._server is not None
            self._server.datagram_received = deaf  # type: ignore[method-assign, assignment]

        self._loop.call_soon_threadsafe(stop)

    def close_connections(self) -> None:
        """Ends all connections in good order."""

        def close() -> None:
            for connection in self.connections:
                connection.close()

        self._loop.call_soon_threadsafe(close)

    def close(self) -> None:
        """Stops it."""
        self.close_connections()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
