"""A WebSocket session: frames by packets, with credits both ways.

The session hands frames on, one packet each, as far as the worker's credits reach; it asks the
connection for the next one only then. What came before a close is therefore delivered before it.
"""

from __future__ import annotations

from collections import deque

from ..egress import TransferError
from ..egress.websocket import WebSocketError, WebSocketTransfer
from ..websocket import BadInput, Close, Data, Event, Ping, Pong, ProtocolViolation, Response
from ..zhttp import Condition, RequestPacket
from .base import MAX_OVERSTEP, Services, show_id
from .opening import Refused
from .websocket_packets import (
    close_fields,
    frame_fields,
    open_websocket,
    opened_fields,
    rejected_fields,
)
from .websocket_worker import WorkerSide

__all__ = ["PING_PATIENCE", "WebSocketSession"]

PING_PATIENCE = 5.0
"""Seconds that a ping waits for the worker's credits until the gateway answers it."""

# Frames and packets that may wait, whatever their size; more stay where they are.
_MAX_WAITING = 64

_FRAMES = (Data, Ping, Pong)
_TOO_BIG = 1009
_NAMES = {1002: "protocol-error", 1007: "invalid-data", _TOO_BIG: "frame-too-large"}


class WebSocketSession(WorkerSide):
    """A WebSocket by packets over in_spec, in_stream_spec and out_spec."""

    __slots__ = (
        "_auto_pong",
        "_close_received",
        "_credits",
        "_early",
        "_early_size",
        "_graceful",
        "_opened",
        "_received",
        "_transfer",
        "_waiting",
    )

    def __init__(self, services: Services, packet: RequestPacket) -> None:
        super().__init__(services, packet)
        self._auto_pong = packet.auto_pong
        self._close_received = False  # the worker has been told
        self._credits = packet.credits or 0  # bytes the worker takes
        self._early: deque[RequestPacket] = deque()  # came before the handshake's outcome
        self._early_size = 0
        self._graceful = False  # the origin is to see our close frame; else the connection is cut
        self._opened = False
        self._received = 0  # bytes of the origin's frames given to the worker
        self._transfer: WebSocketTransfer | None = None
        self._waiting: deque[Event] = deque()  # frames that wait for credits

    # -- the worker's packets ------------------------------------------------------------------

    def start(self, packet: RequestPacket) -> None:
        """Handle the first packet."""
        s = self._s
        try:
            request, handshake = open_websocket(packet, s)
        except Refused as refused:
            self._log_in("websocket (refused)")
            self._end_with_failure(refused)
            return
        self._log_in(f"websocket {request.target.text}")
        if packet.timeout is not None:
            self._deadline = self._started + packet.timeout / 1000.0
        self._transfer = WebSocketTransfer(
            s.egress, s.loop, request, handshake, self, s.buffer_size
        )
        self._transfer.start()
        self._set_timer()

    def receive(self, packet: RequestPacket, seq: int | None) -> None:
        """Handle a later packet."""
        if not self._accept_seq(packet, seq):
            return
        if packet.type in _SENDS:
            if self._opened:
                self._send_frame(packet)
            else:
                self._keep_for_later(packet)
        if packet.credits:
            self._credits += packet.credits
            if self._waiting and self.open:
                self._deliver()

    def _keep_for_later(self, packet: RequestPacket) -> None:
        self._early.append(packet)
        self._early_size += len(packet.body)
        if len(self._early) > _MAX_WAITING or self._early_size > MAX_OVERSTEP * self._s.buffer_size:
            self._bad_request("too much before the handshake was over")

    def _send_frame(self, packet: RequestPacket) -> None:
        """Data, ping, pong or close for the origin."""
        transfer = self._transfer
        assert transfer is not None
        connection = transfer.connection
        assert connection is not None
        body = packet.body
        kind = packet.type
        try:
            if kind is None:
                frame = connection.send_data(body, packet.content_type == b"binary", packet.more)
            elif kind == b"ping":
                frame = connection.send_ping(body)
            elif kind == b"pong":
                frame = connection.send_pong(body)
            else:
                frame = connection.send_close(None if packet.code == -1 else packet.code, body)
        except BadInput as error:
            self._bad_request(str(error))
            return
        self._last_activity = self._s.loop.now
        if kind == b"close":
            transfer.send(frame, -1)
            if self._close_received:
                self._closed()
            return
        credits = len(body) if kind is None else 0
        if transfer.send(frame, credits):
            self._grant(credits)
        elif transfer.unsent - len(frame) > MAX_OVERSTEP * self._s.buffer_size:
            self._bad_request("far more than the credits given")

    def _bad_request(self, detail: str) -> None:
        self._end_with_error(Condition.BAD_REQUEST, detail)

    # -- reports of the transfer ---------------------------------------------------------------

    def websocket_opened(self, response: Response) -> None:
        """The handshake succeeded: hand on the answer, and send what came early."""
        self._opened = True
        self._deadline = None
        self._last_activity = self._s.loop.now
        self._send(opened_fields(response, self._s.buffer_size))
        while self._early and self.open:
            self._send_frame(self._early.popleft())
        if self.open:
            self._deliver()

    def websocket_rejected(self, response: Response) -> None:
        """The origin would not switch protocols: hand on what it said instead."""
        self._transfer = None
        self._log_out(
            f"ERR id={show_id(self.id)} condition=rejected",
            f"code={response.code} {len(response.body)}",
        )
        self._finish(rejected_fields(response))

    def websocket_failed(self, failure: TransferError) -> None:
        """There is no connection."""
        self._transfer = None
        self._fail(failure)

    def websocket_moved(self) -> None:
        """There may be frames."""
        self._last_activity = self._s.loop.now
        self._deliver()

    def websocket_wrote(self, credits: int) -> None:
        """A frame has gone out that had to wait; -1: a close frame."""
        if credits >= 0:
            self._last_activity = self._s.loop.now
            self._grant(credits)

    # -- what the worker is told ---------------------------------------------------------------

    def _deliver(self) -> None:
        """Hand frames on as far as credits reach."""
        transfer = self._transfer
        assert transfer is not None
        waiting = self._waiting
        while True:
            event = waiting[0] if waiting else transfer.next_event()
            if event is None:
                break
            if isinstance(event, _FRAMES):
                if not self._hand_on(event):
                    self._stall(event)
                    return
            elif not self._end_event(event):
                return
            if waiting:
                waiting.popleft()
        if transfer.lost is not None:
            self._fail(transfer.lost)
            return
        self._ping_at = None
        transfer.resume()

    def _hand_on(self, event: Data | Ping | Pong) -> bool:
        """Give a frame to the worker, if it takes it now."""
        if self._auto_pong and isinstance(event, Ping):
            self._pong(event)
            return True
        size = len(event.payload)
        if self._credits < (size or 1):
            return False
        if self._worker_is_slow:
            # Credits count bytes; a flood of tiny frames is as many packets.
            self._wait_for_worker()
            return False
        self._credits -= size
        self._received += size
        self._send(frame_fields(event))
        return True

    def _end_event(self, event: Close | ProtocolViolation) -> bool:
        """The origin's close, or its fault. False if that ended the session."""
        if isinstance(event, Close):
            fields = close_fields(event)
            transfer = self._transfer
            assert transfer is not None
            assert transfer.connection is not None
            if transfer.connection.close_sent:
                self._graceful = True
                self._log_close(event.code)
                self._finish(fields)
                return False
            self._close_received = True
            self._send(fields)
            return True
        self._shut(event.code, event.reason.encode())
        condition = (
            Condition.FRAME_TOO_LARGE if event.code == _TOO_BIG else Condition.UNDEFINED_CONDITION
        )
        name = _NAMES.get(event.code, "protocol-error")
        self._end_with_reason(condition, name, f"the origin: {event.reason}")
        return False

    def _closed(self) -> None:
        """Both close frames are on their way, and the worker knows all there is to know."""
        self._graceful = True
        self._log_close(None)
        self._finish(None)

    def _log_close(self, code: int | None) -> None:
        self._log_out(f"id={show_id(self.id)} code={code or 101} {self._received}")

    def _fail(self, failure: TransferError) -> None:
        if isinstance(failure, WebSocketError):
            self._end_with_reason(failure.condition, failure.name, failure.detail)
        else:
            self._end_with_failure(failure)

    # -- waiting for credits -------------------------------------------------------------------

    def _stall(self, event: Event) -> None:
        """Keep a frame that the worker has no credits for, and read no further."""
        transfer = self._transfer
        assert transfer is not None
        if not self._waiting:
            self._waiting.append(event)
        transfer.pause()
        if self._ping_at is None:
            self._ping_at = self._s.loop.now + PING_PATIENCE
            self._set_timer()

    def _answer_waiting_pings(self) -> None:
        """The worker grants no credits: answer the pings that it does not get to see.

        Without that the origin would take a slow worker for a dead one. They are looked for
        behind the frame that waits, as far as one more buffer_size of frames reaches.
        """
        transfer = self._transfer
        assert transfer is not None
        transfer.pause()  # nothing will have told of what has come since
        waiting = self._waiting
        size = sum(len(event.payload) for event in waiting if isinstance(event, Data))
        while len(waiting) < _MAX_WAITING and size < self._s.buffer_size:
            event = transfer.next_event()
            if event is None:
                break
            waiting.append(event)
            if isinstance(event, Data):
                size += len(event.payload)
        for event in [event for event in waiting if isinstance(event, Ping)]:
            self._pong(event)
        self._waiting = deque(event for event in waiting if not isinstance(event, Ping))
        if self._waiting:
            self._ping_at = self._s.loop.now + PING_PATIENCE
        else:
            self._ping_at = None
            self._deliver()

    def _pong(self, ping: Ping) -> None:
        """Answer a ping in the worker's stead."""
        transfer = self._transfer
        assert transfer is not None
        connection = transfer.connection
        assert connection is not None
        self._last_activity = self._s.loop.now
        if not connection.close_sent and transfer.unsent <= self._s.buffer_size:
            transfer.send(connection.send_pong(ping.payload), -1)

    def _go_on(self) -> None:
        if self._waiting:
            self._deliver()

    # -- ends ---------------------------------------------------------------------------------

    def _shut(self, code: int, reason: bytes) -> None:
        """End the connection in good order, with a close frame if none was sent yet."""
        transfer = self._transfer
        if transfer is not None and transfer.connection is not None:
            self._graceful = True
            if not transfer.connection.close_sent:
                transfer.send(transfer.connection.send_close(code, reason), -1)

    def _release(self) -> None:
        transfer = self._transfer
        if transfer is None:
            return
        self._transfer = None
        if self._graceful:
            transfer.finish()
        else:
            transfer.cancel()


_SENDS = frozenset((None, b"ping", b"pong", b"close"))
