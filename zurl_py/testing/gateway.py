"""A fake gateway, whose answers come from a function of the test."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import zmq

from ..client import Endpoints, Headers
from ..zhttp import Endpoint, Envelope, PacketError, PeerProtocolError, RequestPacket

__all__ = ["FakeAnswer", "FakeError", "FakeGateway", "FakeRequest"]

_NAME: Final = b"fake-gateway"
_UPLOAD_CREDITS: Final = 200_000  # bytes
_LARGEST_PIECE: Final = 200_000  # bytes
_LOOK: Final = 0.02  # seconds until a stop is noticed


@dataclass(frozen=True)
class FakeAnswer:
    """An origin's answer.

    Attributes:
        body: all of it, or an iterable of parts, which are taken as credits allow.
        ext: ``ext`` of the first packet.
    """

    status_code: int = 200
    body: bytes | Iterable[bytes] = b""
    headers: Sequence[tuple[str, str]] = ()
    reason: str = "OK"
    ext: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FakeError:
    """A gateway's error.

    Attributes:
        condition: of ZHTTP, such as ``policy-violation``.
        error: the short name in ``ext``.
        detail: the text in ``ext``.
    """

    condition: str
    error: str | None = None
    detail: str | None = None


@dataclass
class FakeRequest:
    """A request of the program under test.

    Attributes:
        packet: the first packet, with every option.
        cancelled: the client cancelled it before its answer was complete.
    """

    packet: RequestPacket
    body: bytes
    cancelled: bool = False

    @property
    def method(self) -> str:
        """The method, such as GET."""
        return (self.packet.method or b"").decode("latin-1")

    @property
    def url(self) -> str:
        """The URI."""
        return (self.packet.uri or b"").decode("utf-8", "replace")

    @property
    def headers(self) -> Headers:
        """The headers."""
        return Headers.of_pairs(list(self.packet.headers))


Answers = Callable[[FakeRequest], FakeAnswer | FakeError]


class _Session:
    """One request: its endpoint, its body so far, and the rest of its answer."""

    def __init__(self, packet: RequestPacket, request: FakeRequest, now: float) -> None:
        self.request = request
        self.endpoint = Endpoint.accept(packet, _NAME, now)
        self.parts: Iterator[bytes] | None = None
        self.rest = b""
        self.ended = False


class FakeGateway:
    """Binds the four sockets of a gateway in a directory of its own, and answers by a function.

    It speaks HTTP only; a WebSocket is answered with ``rejected``.

    Args:
        answers: called with each request when its body is complete, in a thread of the gateway.

    Attributes:
        endpoints: for ``Client``.
        requests: every request, in order.
    """

    def __init__(self, answers: Answers = lambda _: FakeAnswer()) -> None:
        self._answers = answers
        self._directory = tempfile.mkdtemp(prefix="zurl-fake-")
        ends = {
            name: f"ipc://{self._directory}/{name}" for name in ("in_", "in_stream", "out", "req")
        }
        self.endpoints = Endpoints(**ends)
        self.requests: list[FakeRequest] = []
        self._sessions: dict[tuple[bytes, bytes], _Session] = {}
        # For a subscriber that has not connected yet
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        self._subscribed: set[bytes] = set()
        self._stopping = threading.Event()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._in = self._bind(zmq.PULL, ends["in_"])
        self._in_stream = self._bind(zmq.DEALER, ends["in_stream"])
        self._out = self._bind(zmq.XPUB, ends["out"])
        self._req = self._bind(zmq.ROUTER, ends["req"])
        self._thread = threading.Thread(target=self._run, name="zurl_py.testing", daemon=True)
        self._thread.start()

    def _bind(self, kind: int, endpoint: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.linger = 0
        if kind == zmq.DEALER:
            socket.setsockopt(zmq.ROUTING_ID, _NAME)
        elif kind == zmq.XPUB:
            socket.setsockopt(zmq.SNDHWM, 0)  # else it drops what a busy client has not read
        socket.bind(endpoint)
        return socket

    def close(self) -> None:
        """Stop, as if the gateway went away."""
        self._stopping.set()
        self._thread.join()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        poller = zmq.Poller()
        readers = {
            self._out: self._subscription,
            self._in: self._first,
            self._in_stream: self._later,
            self._req: self._whole,
        }
        for socket in readers:
            poller.register(socket, zmq.POLLIN)
        while not self._stopping.is_set():
            ready = dict(poller.poll(round(_LOOK * 1000)))
            for socket, read in readers.items():
                if socket in ready:
                    read(socket.recv_multipart())
        self._context.destroy(linger=0)

    def _subscription(self, frames: list[bytes]) -> None:
        if frames[0][:1] == b"\x01":
            self._subscribed.add(frames[0][1:-1])
        waiting, self._waiting = self._waiting, deque()
        for address, message in waiting:
            self._publish(address, message)

    def _publish(self, address: bytes, message: bytes) -> None:
        if address in self._subscribed:
            self._out.send(message)
        else:
            self._waiting.append((address, message))

    def _first(self, frames: list[bytes]) -> None:
        packet = _parsed(frames[0])
        if packet is None:
            return
        request = FakeRequest(packet, packet.body)
        self.requests.append(request)
        if not packet.sender or not packet.id:  # fire and forget
            self._answers(request)
            return
        session = _Session(packet, request, time.monotonic())
        self._sessions[packet.sender, packet.id] = session
        if packet.is_websocket:
            self._send_packet(session, _error_fields(FakeError("rejected"), code=404))
        elif packet.more:
            self._send_packet(session, {"type": b"credit", "credits": _UPLOAD_CREDITS})
        else:
            self._send_packet(session, {"type": b"keep-alive"})
            self._answer(session)

    def _later(self, frames: list[bytes]) -> None:
        packet = _parsed(frames[-1])
        if packet is None or packet.sender is None or packet.id is None:
            return
        session = self._sessions.get((packet.sender, packet.id))
        if session is None:
            return
        try:
            session.endpoint.receive(packet, packet.seq, time.monotonic())
        except PeerProtocolError:
            self._send_packet(session, {"type": b"cancel"})
        if session.endpoint.closed:
            session.request.cancelled = True
            del self._sessions[packet.sender, packet.id]
            return
        if packet.type is None:
            session.request.body += packet.body
            if packet.more:
                self._send_packet(session, {"type": b"credit", "credits": len(packet.body)})
            else:
                self._answer(session)
        else:
            self._go_on(session)

    def _answer(self, session: _Session) -> None:
        answer = self._answers(session.request)
        if isinstance(answer, FakeError):
            self._send_packet(session, _error_fields(answer))
            return
        whole = isinstance(answer.body, bytes)
        session.parts = iter([answer.body] if isinstance(answer.body, bytes) else answer.body)
        fields = _head_fields(answer)
        if whole and len(answer.body) <= min(session.endpoint.credits, _LARGEST_PIECE):  # type: ignore[arg-type]
            self._send_packet(session, {**fields, "body": answer.body})
            return
        self._send_packet(session, {**fields, "body": b"", "more": True})
        self._go_on(session)

    def _go_on(self, session: _Session) -> None:
        """Send as much of an answer as the credits allow."""
        endpoint = session.endpoint
        while session.parts is not None and not endpoint.closed:
            if not session.rest:
                part = next(session.parts, None)
                if part is None:
                    self._send_packet(session, {"body": b""})
                    return
                session.rest = part
                continue
            room = min(endpoint.credits, _LARGEST_PIECE)
            if room <= 0:
                return
            self._send_packet(session, {"body": session.rest[:room], "more": True})
            session.rest = session.rest[room:]

    def _send_packet(self, session: _Session, fields: dict[str, Any]) -> None:
        peer = session.endpoint.peer
        assert peer is not None
        self._publish(peer, session.endpoint.send(fields, time.monotonic()))
        if session.endpoint.closed:
            self._sessions = {
                key: other for key, other in self._sessions.items() if other is not session
            }

    def _whole(self, frames: list[bytes]) -> None:
        packet = _parsed(frames[-1])
        if packet is None:
            return
        request = FakeRequest(packet, packet.body)
        self.requests.append(request)
        answer = self._answers(request)
        if isinstance(answer, FakeError):
            fields = _error_fields(answer)
        else:
            body = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
            fields = {**_head_fields(answer), "body": body}
        envelope = Envelope(packet.format, None, packet.id or None, packet.user_data)
        if packet.id:
            fields["seq"] = 0
        self._req.send_multipart([*frames[:-1], envelope.encode(fields)])


def _parsed(message: bytes) -> RequestPacket | None:
    try:
        return RequestPacket.parse(message)
    except PacketError:
        return None


def _head_fields(answer: FakeAnswer) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "code": answer.status_code,
        "reason": answer.reason.encode("latin-1"),
        "headers": [(name.encode(), value.encode()) for name, value in answer.headers],
    }
    if answer.ext:
        fields["ext"] = answer.ext
    return fields


def _error_fields(error: FakeError, **more: Any) -> dict[str, Any]:
    ext = {"error": error.error, "detail": error.detail}
    fields = {"type": b"error", "condition": error.condition.encode(), **more}
    if any(ext.values()):
        fields["ext"] = {name: value for name, value in ext.items() if value is not None}
    return fields
