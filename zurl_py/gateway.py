"""The gateway: ZeroMQ messages to sessions, sessions' packets to ZeroMQ.

One turn of the loop: wait for events; let libcurl and the sessions work; read at most a batch of
messages from each socket; start what they ask for. Continuing messages (credits, cancels) are
always read, new requests only while there is room for them, so that ZeroMQ's own high-water marks
push back on the workers.
"""

from __future__ import annotations

from collections.abc import Callable

import zmq

from .config import Config
from .egress import Egress
from .log import Log
from .loop import Loop, Timer
from .messaging.outbox import Publisher, Replier, show_address
from .messaging.reader import SocketReader
from .messaging.reorder import ReorderBuffer
from .messaging.sockets import Endpoints
from .sessions import (
    Services,
    Session,
    SingleSession,
    StreamSession,
    WebSocketSession,
)
from .zhttp import Condition, Envelope, Format, PacketError, RequestPacket

__all__ = ["Gateway"]

_Handler = Callable[[list[bytes]], None]
_Streamed = StreamSession | WebSocketSession

_BATCH = 64  # messages read from one socket in one turn
_SETTLING = 0.5  # seconds after the start in which workers' sockets may still be connecting
_SETTLING_INTERVAL = 0.01  # seconds
_LOGGED = 200  # characters of a bad message's reason that go into the log


class Gateway:
    """Routes messages to sessions and answers what belongs to none.

    Attributes:
        accepting: new requests are taken.
    """

    def __init__(
        self, config: Config, loop: Loop, egress: Egress, endpoints: Endpoints, services: Services
    ) -> None:
        self._loop = loop
        self._egress = egress
        self._log: Log = services.log
        self._services = services
        self._max_open = max(0, config.max_open_requests)  # 0: no limit
        self._streams: dict[tuple[bytes, bytes], _Streamed] = {}
        self._by_id: dict[bytes, list[_Streamed]] = {}
        self._open: set[Session] = set()
        self._early = ReorderBuffer(loop, self._first_packets_wait, self._cancel_unknown)
        self.accepting = True
        services.publish = self._publish
        services.ended = self._session_ended
        self._inboxes: list[SocketReader] = []
        self._first_packets: SocketReader | None = None
        self._publisher: Publisher | None = None
        self._replier: Replier | None = None
        self._settled = False
        self._settling = Timer(self._settle)
        self._settling_ends = loop.now + _SETTLING
        self._attach(endpoints)

    def _attach(self, endpoints: Endpoints) -> None:
        """Put the sockets on the loop.

        First packets are read before later ones: a worker may send both at once.
        """
        loop, room = self._loop, self._has_room
        if endpoints.in_ is not None:
            self._first_packets = SocketReader(endpoints.in_, loop, self._begin, self._may_begin)
            self._inboxes.append(self._first_packets)
        if endpoints.in_stream is not None:
            self._later_packets = SocketReader(endpoints.in_stream, loop, self._continue)
            self._inboxes.append(self._later_packets)
            self._later_socket = endpoints.in_stream
            self._settle()
        if endpoints.in_req is not None:
            requests = SocketReader(endpoints.in_req, loop, self._request, room, answers=True)
            self._inboxes.append(requests)
            self._replier = Replier(endpoints.in_req, loop, self._log, requests.used)
        if endpoints.out is not None:
            # XPUB hands us the workers' subscriptions; libzmq has acted on them already.
            subscriptions = SocketReader(endpoints.out, loop, self._subscription)
            self._inboxes.append(subscriptions)
            self._publisher = Publisher(endpoints.out, loop, self._log, subscriptions.used)
            self._services.slow_workers = self._publisher.slow
            self._services.when_caught_up = self._publisher.when_caught_up

    def __len__(self) -> int:
        return len(self._open)

    @property
    def idle(self) -> bool:
        """No session is open, and no answer waits for a worker who is slow or not there yet."""
        outlets = (self._publisher, self._replier)
        return not self._open and not any(outlet and outlet.slow for outlet in outlets)

    def sessions(self) -> list[Session]:
        """The open sessions."""
        return list(self._open)

    # -- one turn ----------------------------------------------------------------------------

    def turn(self) -> bool:
        """Do all that can be done without waiting.

        Returns:
            True if more is waiting than was done.
        """
        egress, inboxes = self._egress, self._inboxes
        egress.turn()
        for inbox in inboxes:
            inbox.read(_BATCH)
        # Many an answer is there at once: it goes out in this turn, too.
        egress.turn()
        if self._publisher is not None:
            self._publisher.flush()
        if self._replier is not None:
            self._replier.flush()
        more = egress.has_work
        for inbox in inboxes:
            more = inbox.settle() or more
        return more

    def _has_room(self) -> bool:
        return self.accepting and (not self._max_open or len(self._open) < self._max_open)

    def _may_begin(self) -> bool:
        return self._settled and self._has_room()

    def _settle(self) -> None:
        """Wait until a worker can send later packets, which are lost where they cannot be sent.

        A worker's sockets connect each in their own time. Its first packet may be here before the
        socket for what follows, such as the rest of an upload, has found us.
        """
        self._later_packets.used()
        connected = bool(int(self._later_socket.getsockopt(zmq.EVENTS)) & int(zmq.POLLOUT))
        self._settled = connected or self._loop.now >= self._settling_ends
        if not self._settled:
            self._loop.set_timer(self._settling, self._loop.now + _SETTLING_INTERVAL)

    # -- in_req_spec -------------------------------------------------------------------------

    def _request(self, frames: list[bytes]) -> None:
        """ROUTER: address frames, an empty frame, one packet; the answer goes the same way."""
        try:
            envelope = frames[: frames.index(b"", 1) + 1]
        except ValueError:
            self._drop("in_req_spec", "no empty frame before the packet")
            return
        if len(frames) != len(envelope) + 1:
            self._drop("in_req_spec", f"{len(frames) - len(envelope)} frames where one is due")
            return
        message = frames[-1]
        try:
            packet = RequestPacket.parse(message)
        except PacketError as error:
            self._drop("in_req_spec", error.reason)
            self._answer_bad_request(envelope, error)
            return
        if packet.ids is not None:
            self._drop("in_req_spec", "a list of ids")
            self._answer_bad_request(
                envelope, PacketError("a list of ids", format=packet.format, ids=())
            )
            return
        session = SingleSession(
            self._services, packet, lambda answer: self._reply(envelope, answer)
        )
        self._start(session, packet)

    def _answer_bad_request(self, envelope: list[bytes], error: PacketError) -> None:
        id = error.ids[0] if len(error.ids) == 1 else None
        answer = Envelope(error.format or Format.JSON, None, id)
        fields: dict[str, object] = {"type": b"error", "condition": Condition.BAD_REQUEST}
        if id:
            fields["seq"] = 0
        self._reply(envelope, answer.encode(fields))

    def _reply(self, envelope: list[bytes], answer: bytes) -> None:
        assert self._replier is not None
        self._replier.reply(envelope, answer)

    # -- in_spec -----------------------------------------------------------------------------

    def _begin(self, frames: list[bytes]) -> None:
        """PULL: the first packet of a session."""
        if len(frames) != 1:
            self._drop("in_spec", f"{len(frames)} frames where one is due")
            return
        try:
            packet = RequestPacket.parse(frames[0])
        except PacketError as error:
            self._refuse("in_spec", error)
            return
        if packet.ids is not None:
            self._drop("in_spec", "a first packet with a list of ids")
            return
        # Its type, whatever it is, is not looked at: Zurl's clients may rely on that.
        if not packet.sender or not packet.id:
            self._begin_unanswered(packet)
            return
        key = (packet.sender, packet.id)
        if key in self._streams:
            self._drop("in_spec", f"id {show_address(packet.id)} is in use")
            return
        kind = WebSocketSession if packet.is_websocket else StreamSession
        session: _Streamed = kind(self._services, packet)
        self._streams[key] = session
        self._by_id.setdefault(packet.id, []).append(session)
        self._start(session, packet)
        for early, seq in self._early.take(key):
            self._continue_with(early, packet.id, seq)

    def _begin_unanswered(self, packet: RequestPacket) -> None:
        """Fire and forget."""
        session = SingleSession(self._services, packet, None)
        self._start(session, packet)

    def _start(self, session: Session, packet: RequestPacket) -> None:
        self._open.add(session)
        try:
            session.start(packet)
        except Exception:
            # A bug of ours must neither end the other sessions nor leave this one half open.
            self._log.exception("a request could not be started")
            if session.open:
                session.abort("an error of the gateway")

    # -- in_stream_spec ----------------------------------------------------------------------

    def _continue(self, frames: list[bytes]) -> None:
        """DEALER, from a worker's ROUTER: an empty frame, then a later packet of a session."""
        if len(frames) != 2 or frames[0]:
            self._drop("in_stream_spec", "not an empty frame and a packet")
            return
        try:
            packet = RequestPacket.parse(frames[1])
        except PacketError as error:
            self._refuse("in_stream_spec", error)
            return
        for id, seq in packet.ids if packet.ids is not None else ((packet.id, packet.seq),):
            self._continue_with(packet, id, seq)

    def _continue_with(self, packet: RequestPacket, id: bytes | None, seq: int | None) -> None:
        session = self._find(packet.sender, id)
        if session is not None:
            self._receive(session, packet, seq)
        elif packet.sender and id and not self._early.keep((packet.sender, id), packet, seq):
            self._cancel_unknown(packet, id)

    def _receive(self, session: _Streamed, packet: RequestPacket, seq: int | None) -> None:
        try:
            session.receive(packet, seq)
        except Exception:
            self._log.exception("a packet could not be handled")
            if session.open:
                session.abort("an error of the gateway")

    def _find(self, sender: bytes | None, id: bytes | None) -> _Streamed | None:
        if id is None:
            return None
        if sender:
            return self._streams.get((sender, id))
        # Without an address an id serves as long as it is unambiguous.
        candidates = self._by_id.get(id, ())
        return candidates[0] if len(candidates) == 1 else None

    def _first_packets_wait(self) -> bool:
        return self._first_packets is not None and self._first_packets.backlog

    def _cancel_unknown(self, packet: RequestPacket, id: bytes) -> None:
        """The session is over, or never was: say so, but never in answer to an end."""
        if packet.sender and packet.type not in (b"cancel", b"error"):
            answer = Envelope(packet.format, None, id, address=packet.sender)
            self._publish(packet.sender, answer.encode({"type": b"cancel"}))

    # -- what belongs to no session ----------------------------------------------------------

    def _refuse(self, where: str, error: PacketError) -> None:
        """Answer a malformed packet where its sender can be known; its session lives on."""
        self._drop(where, error.reason)
        if error.sender and error.type not in (b"cancel", b"error"):
            id = error.ids[0] if error.ids else None
            if id is None:
                return
            answer = Envelope(error.format or Format.TNETSTRING, None, id, address=error.sender)
            last = {"type": b"error", "condition": Condition.BAD_REQUEST}
            self._publish(error.sender, answer.encode(last))

    def _drop(self, where: str, reason: str) -> None:
        self._log.warning(f"{where}: dropped a message: {reason[:_LOGGED]}")

    def _subscription(self, frames: list[bytes]) -> None:
        assert self._publisher is not None
        self._publisher.subscription(frames)

    def _publish(self, address: bytes, message: bytes) -> None:
        if self._publisher is not None:
            self._publisher.publish(address, message)

    def _session_ended(self, session: Session) -> None:
        self._open.discard(session)
        if isinstance(session, _Streamed):
            assert session.sender is not None
            assert session.id is not None
            del self._streams[(session.sender, session.id)]
            rest = self._by_id[session.id]
            rest.remove(session)
            if not rest:
                del self._by_id[session.id]
