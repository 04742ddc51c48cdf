"""The gateway: routes messages to sessions, and answers those that belong to none.

It finds sessions by worker and id. It knows no sockets: it is given the frames of messages, and
gives answers to an outlet and a replier.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import NamedTuple, Protocol

from .config.curve import CurveClient
from .loop import Timer
from .messaging.access import REVOKED, Access
from .messaging.outbox import show_address
from .messaging.reorder import ReorderBuffer
from .sessions import Services, Session, SingleSession, StreamSession, WebSocketSession
from .sessions.admission import Admission, Waiting
from .sessions.base import error_fields
from .zhttp import Condition, Envelope, Format, PacketError, RequestPacket, ResponsePacket

__all__ = ["Gateway", "Replier"]

_Streamed = StreamSession | WebSocketSession
_Reply = Callable[[bytes], None]
_Key = tuple[bytes, bytes]  # a worker's address and its id for a session

_OVERDUE_INTERVAL = 0.25  # seconds between checks for waiting requests that have timed out
_SWEEP_INTERVAL = 0.5  # seconds until new requests are given timers; most have ended by then


class _HeldRequest(NamedTuple):
    """A request that was read, and waits until its worker may begin another session.

    Attributes:
        reply: sends the answer of the request interface; None for in_spec.
        arrived: time when it came; seconds.
    """

    packet: RequestPacket
    reply: _Reply | None
    arrived: float


class Replier(Protocol):
    """Sends answers of the request interface."""

    def reply(self, envelope: list[bytes], answer: bytes) -> None:
        """Send ``answer`` after the frames of the request's envelope."""


class Gateway:
    """Routes messages to sessions and answers what belongs to none.

    Args:
        replier: sends answers of the request interface.
        admission: decides which requests begin and which wait.
        first_packets_wait: whether unread messages of in_spec wait, or may wait.
        access: access control; None: clients have no keys.

    Attributes:
        has_room: whether a new request may be read.
    """

    def __init__(
        self,
        services: Services,
        replier: Replier,
        admission: Admission[_HeldRequest],
        first_packets_wait: Callable[[], bool],
        access: Access | None = None,
    ) -> None:
        self._loop = services.loop
        self._log = services.log
        self._journal = services.journal
        self._services = services
        self._outlet = services.outlet
        self._replier = replier
        self._admission = admission
        self.has_room = admission.has_room
        self._first_packets_wait = first_packets_wait
        self._access = access
        # Name and detail of the error for new requests; None: they begin sessions.
        self._rejection: tuple[str, str] | None = None
        self._stopping: tuple[str, str] | None = None  # the same, for good
        self._late: set[Session] = set()  # open sessions that began after that
        self._streams: dict[_Key, _Streamed] = {}
        self._by_id: dict[bytes, list[_Streamed]] = {}
        self._open: dict[Session, bytes] = {}  # open sessions, with their workers
        self._reorder_buffer = ReorderBuffer(
            services.loop, self._may_still_begin, self._cancel_unknown
        )
        self._overdue_timer = Timer(self._start_overdue)
        self._sweeper = Timer(self._sweep)
        self._last_swept = 0  # number of the last session at the last sweep

    def __repr__(self) -> str:
        return f"<Gateway sessions={len(self._open)} {self._admission!r}>"

    def __len__(self) -> int:
        return len(self._open) + self._admission.waiting

    def configure(self, services: Services, max_open: int, max_per_worker: int) -> None:
        """Set other settings for sessions that begin from now on.

        Args:
            max_open, max_per_worker: as for `Admission`.
        """
        self._services = services
        self._admission.configure(max_open, max_per_worker)

    @property
    def waiting(self) -> int:
        """Number of requests that were read and wait for their worker's share."""
        return self._admission.waiting

    def sessions(self) -> list[Session]:
        """The open sessions."""
        return list(self._open)

    # -- in_req_spec -------------------------------------------------------------------------

    def request(self, frames: list[bytes], client: CurveClient | None = None) -> None:
        """ROUTER: address frames, an empty frame, one packet; the answer goes the same way."""
        try:
            envelope = frames[: frames.index(b"", 1) + 1]
        except ValueError:
            self._drop_malformed("in_req_spec", "no empty frame before the packet")
            return
        if len(frames) != len(envelope) + 1:
            found = len(frames) - len(envelope)
            self._drop_malformed("in_req_spec", f"{found} frames after the empty one, not 1")
            return
        try:
            packet = RequestPacket.parse(frames[-1])
            if packet.ids is not None:
                raise PacketError("id must be one, not a list of several", packet.format)
        except PacketError as error:
            self._log_malformed("in_req_spec", error, answered=True)
            self._answer_bad_request(envelope, error)
            return
        worker = b"request " + envelope[0]
        reply = functools.partial(self._replier.reply, envelope)
        if client is not None and self._refuse_privileges("in_req_spec", packet, reply, client):
            return
        if self._rejection is not None:
            self._reject(packet, reply, self._rejection)
        elif self._admission.enter(worker):
            self._start(worker, packet, reply, self._loop.now)
        else:
            self._wait(worker, None, packet, reply, len(frames[-1]))

    def _answer_bad_request(self, envelope: list[bytes], error: PacketError) -> None:
        id = error.ids[0] if len(error.ids) == 1 else None
        answer = Envelope(error.format or Format.JSON, None, id)
        fields = error_fields(Condition.BAD_REQUEST, "bad-message", error.reason)
        if id:
            fields["seq"] = 0
        self._replier.reply(envelope, answer.encode(fields))

    # -- in_spec -----------------------------------------------------------------------------

    def begin(self, frames: list[bytes], client: CurveClient | None = None) -> None:
        """PULL: the first packet of a session."""
        if len(frames) != 1:
            self._drop_malformed("in_spec", f"{len(frames)} frames, not 1")
            return
        try:
            packet = RequestPacket.parse(frames[0])
        except PacketError as error:
            self._refuse("in_spec", error)
            return
        if packet.ids is not None:
            self._drop_malformed("in_spec", "a first packet with a list of ids")
            return
        if not self._may_use("in_spec", packet, client):
            return
        if client is not None and self._refuse_privileges("in_spec", packet, None, client):
            return
        # Its type is ignored, as with Zurl: clients may rely on that.
        key: Hashable = (packet.sender, packet.id) if packet.sender and packet.id else None
        if key in self._streams or (self._admission.waiting and key in self._admission):
            self._journal.metrics.packets_dropped.add("in_spec", "duplicate-id")
            self._journal.refused("in_spec", "its id is in use", packet.id, packet.sender)
            return
        worker = b"stream " + packet.sender if packet.sender else b"stream "
        if self._rejection is not None and not (key is None and self._may_be_late):
            self._reject(packet, None, self._rejection)
        elif self._admission.enter(worker):
            self._start(worker, packet, None, self._loop.now)
        else:
            self._wait(worker, key, packet, None, len(frames[0]))

    # -- sessions begin and end ----------------------------------------------------------------

    def _reject(self, packet: RequestPacket, reply: _Reply | None, why: tuple[str, str]) -> None:
        where = "in_spec" if reply is None else "in_req_spec"
        self._journal.metrics.packets_dropped.add(where, "turned-away")
        self._journal.refused(where, why[1], packet.id, packet.sender)
        fields = error_fields(Condition.UNDEFINED_CONDITION, *why)
        fields["ext"]["begun"] = False
        self._answer(packet, reply, fields)

    @property
    def _may_be_late(self) -> bool:
        """Whether fire-and-forget requests are carried out although the daemon stops.

        Nobody can be told that they are not. They do not prolong the stop: it waits for earlier
        sessions.
        """
        return self._rejection is self._stopping and len(self) > len(self._late)

    def _wait(
        self, worker: bytes, key: Hashable, packet: RequestPacket, reply: _Reply | None, size: int
    ) -> None:
        """Keep a request until its worker may begin another session, or the request times out."""
        now = self._loop.now
        deadline = None if packet.timeout is None else now + packet.timeout / 1000.0
        request = _HeldRequest(packet, reply, now)
        self._admission.wait(Waiting(worker, key, request, size, deadline))
        self._loop.set_timer(self._overdue_timer, now + _OVERDUE_INTERVAL)

    def admit_waiting(self) -> None:
        """Begin requests that have waited for their worker's share, as far as there is room."""
        for waiting in self._admission.admitted():
            self._start(waiting.worker, *waiting.request)

    def _start_overdue(self) -> None:
        """Begin requests that have waited until their deadline: their sessions time out at once."""
        for waiting in self._admission.overdue(self._loop.now):
            self._start(waiting.worker, *waiting.request)
        if self._admission.waiting:
            self._loop.set_timer(self._overdue_timer, self._loop.now + _OVERDUE_INTERVAL)

    def _start(
        self, worker: bytes, packet: RequestPacket, reply: _Reply | None, arrived: float
    ) -> None:
        """Make a session, which admission has counted, and give it its first packet."""
        session: Session
        services, ended = self._services, self._session_ended
        packet.worker = worker
        try:
            if reply is not None or not packet.sender or not packet.id:
                session = SingleSession(services, packet, reply, ended, arrived)
            elif packet.is_websocket:
                session = WebSocketSession(services, packet, ended, arrived)
            else:
                session = StreamSession(services, packet, ended, arrived)
        except Exception:
            # A bug, before there is a session that could give the answer.
            self._log.exception("a session could not be made")
            self._admission.ended(worker)
            self._answer(
                packet,
                reply,
                error_fields(
                    Condition.UNDEFINED_CONDITION,
                    "internal",
                    "a bug in the gateway, whose log has the details",
                ),
            )
            return
        self._open[session] = worker
        if self._stopping is not None:
            self._late.add(session)
        if self._sweeper.bucket is None:
            self._loop.set_timer(self._sweeper, self._loop.now + _SWEEP_INTERVAL)
        if isinstance(session, SingleSession):
            session.start(packet)
        else:
            self._start_streamed(session, packet)

    def _start_streamed(self, session: _Streamed, packet: RequestPacket) -> None:
        """Start a session that later packets may continue."""
        assert packet.sender is not None
        assert packet.id is not None
        key = (packet.sender, packet.id)
        self._streams[key] = session
        self._by_id.setdefault(packet.id, []).append(session)
        session.start(packet)
        for early, seq in self._reorder_buffer.take(key):
            self._continue(early, packet.id, seq, 0)

    def _answer(
        self, packet: RequestPacket, reply: _Reply | None, fields: dict[str, object]
    ) -> None:
        """Send the one answer to a request without a session."""
        if packet.id:
            fields["seq"] = 0
        if reply is not None:
            answer = Envelope(packet.format, None, packet.id or None, packet.user_data)
            reply(answer.encode(fields))
        elif packet.sender and packet.id:
            sender = self._services.instance_id
            answer = Envelope(packet.format, sender, packet.id, packet.user_data, packet.sender)
            self._outlet.publish(packet.sender, answer.encode(fields))

    def _sweep(self) -> None:
        """Set timers of HTTP requests that began since the last sweep and are still open."""
        young: list[SingleSession | StreamSession] = []
        for session in reversed(self._open):  # the last one first
            if session.account.session <= self._last_swept:
                break
            if isinstance(session, SingleSession | StreamSession):
                young.append(session)
        self._last_swept = self._journal.accepted
        for http_session in young:
            http_session.keep_time()

    def _session_ended(self, session: Session) -> None:
        self._admission.ended(self._open.pop(session))
        self._late.discard(session)
        if not isinstance(session, SingleSession):
            assert isinstance(session, _Streamed)
            assert session.sender is not None
            assert session.id is not None
            del self._streams[(session.sender, session.id)]
            rest = self._by_id[session.id]
            rest.remove(session)
            if not rest:
                del self._by_id[session.id]

    def stop(self, error: str, detail: str) -> None:
        """Begin no more requests: the daemon stops.

        They are read and answered with an error at once, so that they can be sent to another
        daemon. They would be lost with the sockets, and their workers would wait in vain.
        """
        self._rejection = self._stopping = error, detail
        self._admission.turns_away, self._admission.paused = True, False

    def resume(self) -> None:
        """Begin new requests again, after `pause` or `reject`, unless the daemon stops."""
        self._rejection = self._stopping
        self._admission.paused = False

    def pause(self) -> None:
        """Read no more requests for now, unless the daemon stops."""
        self._admission.paused = self._stopping is None

    def reject(self, error: str, detail: str) -> None:
        """Answer requests that are read from now on with an error."""
        self._rejection = self._stopping or (error, detail)
        self._admission.paused = False

    def abort_all(self, error: str, detail: str) -> None:
        """End all sessions, and answer all requests that wait."""
        for waiting in self._admission.drain():
            self._start(waiting.worker, *waiting.request)
        for session in list(self._open):
            session.abort(error, detail)

    # -- in_stream_spec ----------------------------------------------------------------------

    def go_on(self, frames: list[bytes], client: CurveClient | None = None) -> None:
        """DEALER, from a worker's ROUTER: an empty frame, then a later packet of a session."""
        if len(frames) != 2 or frames[0]:
            self._drop_malformed("in_stream_spec", "not an empty frame and a packet")
            return
        try:
            packet = RequestPacket.parse(frames[1])
        except PacketError as error:
            self._refuse("in_stream_spec", error)
            return
        if not self._may_use("in_stream_spec", packet, client):
            return
        size = len(frames[1])
        for id, seq in packet.ids if packet.ids is not None else ((packet.id, packet.seq),):
            self._continue(packet, id, seq, size)

    def _continue(
        self, packet: RequestPacket, id: bytes | None, seq: int | None, size: int
    ) -> None:
        if not id:
            return
        sender = packet.sender
        session = self._streams.get((sender, id)) if sender else self._find_by_id(packet, id)
        if session is None and sender:
            session = self._take_over_handoff(sender, id, seq)
        if session is not None:
            session.receive(packet, seq)
        elif sender and not self._keep_early((sender, id), packet, seq, size):
            self._cancel_unknown(packet, id)

    def _find_by_id(self, packet: RequestPacket, id: bytes) -> _Streamed | None:
        """The session for a packet without ``from``, if only one has this id.

        An id does not prove that the sender owns the session: so such a packet may continue it, but
        not end it.
        """
        candidates = self._by_id.get(id, ())
        if len(candidates) != 1 or packet.type == b"cancel":
            return None
        session = candidates[0]
        return session if session.expects(packet.seq) else None

    def _take_over_handoff(self, sender: bytes, id: bytes, seq: int | None) -> _Streamed | None:
        """The session of this id that its worker has handed off; it becomes this worker's."""
        if self._admission.waiting and (sender, id) in self._admission:
            return None  # the packet is for a request of its own that has not begun
        found = [s for s in self._by_id.get(id, ()) if s.handed_off and s.expects(seq)]
        if len(found) != 1:
            return None
        session = found[0]
        assert session.sender is not None
        del self._streams[(session.sender, id)]
        session.adopt(sender)
        self._streams[(sender, id)] = session
        worker = b"stream " + sender
        self._admission.ended(self._open[session])
        self._admission.begin(worker)
        self._open[session] = worker
        return session

    def _keep_early(self, key: _Key, packet: RequestPacket, seq: int | None, size: int) -> bool:
        """Keep a packet whose session may still begin; False if there is no room for it."""
        if packet.type == b"cancel" and self._admission.forget(key) is not None:
            self._reorder_buffer.take(key)
            return True
        return self._reorder_buffer.keep(key, packet, seq, size)

    def _may_still_begin(self) -> bool:
        """Whether first packets wait, so that an unknown session may be among them."""
        return self._admission.waiting > 0 or self._first_packets_wait()

    def _cancel_unknown(self, packet: RequestPacket, id: bytes) -> None:
        """Answer a packet without a session with ``cancel``, unless the packet itself is an end."""
        if packet.sender and packet.type not in (b"cancel", b"error"):
            self._journal.metrics.packets_dropped.add("in_stream_spec", "no-session")
            answer = Envelope(packet.format, None, id, address=packet.sender)
            self._outlet.publish(packet.sender, answer.encode({"type": b"cancel"}))

    # -- clients that are known by their keys ----------------------------------------------------

    def _may_use(self, where: str, packet: RequestPacket, client: CurveClient | None) -> bool:
        """Whether the client may use this address; the first client to use one owns it."""
        if self._access is None:
            return True
        if packet.sender:
            allowed = self._access.may_use(client, packet.sender)
        else:
            # Fire and forget needs no address; later packets with a key need one.
            allowed = client is None or where == "in_spec"
        if not allowed and client is not None:
            address = show_address(packet.sender or b"")
            reason = f"from {address} does not belong to the key of {client.name}"
            self._log_refusal(where, packet, reason)
        return allowed

    def _refuse_privileges(
        self, where: str, packet: RequestPacket, reply: _Reply | None, client: CurveClient
    ) -> bool:
        """Refuse a request with a privilege that its client does not have; False if it has all."""
        if client is REVOKED:
            reason = "the key of this client was taken back"
        else:
            withheld = [name for name in _privileges_asked_for(packet) if not client.grants(name)]
            if not withheld:
                return False
            reason = f"{', '.join(withheld)} is not granted to {client.name}"
        self._log_refusal(where, packet, reason)
        self._answer(packet, reply, error_fields(Condition.POLICY_VIOLATION, "privilege", reason))
        return True

    def _log_refusal(self, where: str, packet: RequestPacket, reason: str) -> None:
        self._journal.metrics.packets_dropped.add(where, "not-allowed")
        self._journal.refused(where, reason, packet.id, packet.sender)

    # -- messages without a session ----------------------------------------------------------

    def packet_dropped(self, address: bytes, message: bytes) -> None:
        """End the session of a packet that was dropped because its worker is too slow."""
        try:
            packet = ResponsePacket.parse(message[len(address) + 1 :])
        except PacketError:  # cannot happen with our own packets, and must not raise here
            return
        session = self._streams.get((address, packet.id or b""))
        if session is not None:
            session.packet_dropped()

    def _refuse(self, where: str, error: PacketError) -> None:
        """Answer a malformed packet, if its sender could be read; the session goes on."""
        answered = bool(error.sender and error.ids) and error.type not in (b"cancel", b"error")
        self._log_malformed(where, error, answered)
        if answered and error.sender:
            format = error.format or Format.TNETSTRING
            answer = Envelope(format, None, error.ids[0], address=error.sender)
            fields = error_fields(Condition.BAD_REQUEST, "bad-message", error.reason)
            self._outlet.publish(error.sender, answer.encode(fields))

    def _log_malformed(self, where: str, error: PacketError, answered: bool) -> None:
        self._journal.metrics.packets_dropped.add(where, "malformed")
        id = error.ids[0] if error.ids else None
        self._journal.refused(where, error.reason, id, error.sender, answered)

    def _drop_malformed(self, where: str, reason: str) -> None:
        self._journal.metrics.packets_dropped.add(where, "malformed")
        self._journal.refused(where, reason)


def _privileges_asked_for(packet: RequestPacket) -> list[str]:
    """The privileged fields that a request uses."""
    asked = {
        "ignore-policies": packet.ignore_policies,
        "ignore-tls-errors": packet.ignore_tls_errors,
        "connect-host": packet.connect_host is not None or packet.connect_port is not None,
        "trust-connect-host": packet.trust_connect_host,
    }
    return [name for name, wanted in asked.items() if wanted]
