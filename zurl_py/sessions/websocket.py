"""A WebSocket session: frames as packets, with credits both ways.

The session sends each frame as one packet, as far as the worker's credits allow, and only then
takes the next frame from the connection. So frames that came before a close are delivered before
it.
"""

from __future__ import annotations

import enum
import math
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from ..egress import ErrorName, TransferError
from ..egress.websocket import WebSocketTransfer
from ..journal import show_id
from ..websocket import BadInput, Close, Data, Event, Ping, Pong, ProtocolViolation, Response
from ..zhttp import Condition, Format, RequestPacket
from .base import MAX_OVERSTEP, Services, entry
from .refusal import Refused
from .websocket_json import JsonFrames
from .websocket_packets import (
    close_fields,
    frame_fields,
    open_websocket,
    opened_fields,
    rejected_fields,
)
from .worker import WorkerSide

__all__ = ["PING_CREDIT_TIMEOUT", "State", "WebSocketSession"]

PING_CREDIT_TIMEOUT: Final = 5.0
"""Seconds that a ping waits for the worker's credits until the gateway answers it."""

# Number of frames and packets that may wait; further ones are not read.
_MAX_WAITING: Final = 64
# Seconds that frames wait for credits after both sides have closed.
_LAST_CREDITS: Final = 2.0

_FRAMES: Final = (Data, Ping, Pong)
_SENDS: Final = frozenset((None, b"ping", b"pong", b"close"))
_GOING_AWAY, _TOO_BIG, _INTERNAL_ERROR = 1001, 1009, 1011
_NAMES: Final = {1002: "protocol-error", 1007: "invalid-data", _TOO_BIG: "frame-too-large"}


class State(enum.Enum):
    """State of a session (RFC 6455 sections 4 and 7)."""

    CONNECTING = "the handshake is under way"
    OPEN = "frames go both ways"
    CLOSING = "the worker has closed, the origin's close is awaited"
    CLOSED_BY_ORIGIN = "the origin has closed, the worker's close is awaited"
    CLOSED = "the one final answer is given"


# Looking up a member of an enumeration takes as long as ten other attributes.
_CONNECTING, _OPEN, _CLOSING, _CLOSED_BY_ORIGIN, _CLOSED = State

_NEXT: Final = {
    _CONNECTING: (_OPEN, _CLOSED),
    _OPEN: (_CLOSING, _CLOSED_BY_ORIGIN, _CLOSED),
    _CLOSING: (_CLOSED,),
    _CLOSED_BY_ORIGIN: (_CLOSED,),
    _CLOSED: (),
}


class _Alarm(enum.IntEnum):
    """What happens at a certain time."""

    HANDSHAKE = 0  # the handshake times out
    ANSWER_PINGS = 1  # pings among the frames that wait for credits are answered
    CLOSE_DUE = 2  # the wait for the origin's close times out
    PING = 3  # the gateway sends its next ping
    PONG = 4  # the wait for bytes of the origin after a ping times out


_HANDSHAKE, _ANSWER_PINGS, _CLOSE_DUE, _PING, _PONG = _Alarm


_NO_STATUS, _ABNORMAL = 1005, 1006  # RFC 6455 section 7.4.1
_NO_ACTIVITY: Final = "neither side has sent anything within the configured timeout"


class WebSocketSession(WorkerSide):
    """A WebSocket by packets over in_spec, in_stream_spec and out_spec.

    Attributes:
        state: its state.
    """

    __slots__ = (
        "_alarms",
        "_auto_pong",
        "_before_open",
        "_before_open_size",
        "_close_code",
        "_credits_due",
        "_final_close",
        "_frames_waiting",
        "_json",
        "_last_activity",
        "_pinged_at",
        "_received",
        "_token",
        "_transfer",
        "state",
    )

    def __init__(
        self,
        services: Services,
        packet: RequestPacket,
        ended: Callable[[Any], None],
        arrived: float | None = None,
    ) -> None:
        super().__init__(services, packet, packet.sender, ended, arrived)
        self.state = _CONNECTING
        self._alarms: dict[_Alarm, float] = {}
        self._close_code = _ABNORMAL
        self._auto_pong = packet.auto_pong
        self._before_open: list[RequestPacket] = []  # packets that came during the handshake
        self._before_open_size = 0
        # The close frame to send at the end, if none was sent; None: close the connection at once.
        self._final_close: tuple[int, bytes] | None = None
        self._json = JsonFrames() if packet.format is Format.JSON else None
        self._last_activity = services.loop.now
        self._credits_due: int | None = None  # credits to grant when the worker has caught up
        self._pinged_at = 0.0
        self._received = 0  # bytes of the origin's frames that were sent to the worker
        self._token = b""  # payload of the gateway's own pings
        self._transfer: WebSocketTransfer | None = None
        # A list: there are few, usually none, and a deque needs ten times the memory.
        self._frames_waiting: list[Event] = []  # frames that wait for credits

    def __repr__(self) -> str:
        return f"<WebSocketSession {show_id(self.id)} {self.state.name} {self._endpoint!r}>"

    @property
    def bytes_sent(self) -> int:
        """Bytes of frames that were sent to the worker."""
        return self._received

    @property
    def stage(self) -> str:
        """What the session waits for, in a word for people."""
        return "waits for its worker" if self._frames_waiting else self.state.name.lower()

    @property
    def withheld(self) -> int:
        """Bytes of the worker for which it got no new credits, as the origin has not taken them."""
        return 0 if self._transfer is None else self._transfer.unsent

    @property
    def is_open(self) -> bool:
        """Whether the handshake is over and the session is not."""
        return self.state not in (_CONNECTING, _CLOSED)

    def _enter(self, state: State) -> None:
        assert state in _NEXT[self.state], f"{self.state} to {state}"
        self.state = state

    @property
    def _connection(self) -> WebSocketTransfer:
        assert self._transfer is not None
        return self._transfer

    # -- the worker's packets ------------------------------------------------------------------

    @entry
    def start(self, packet: RequestPacket) -> None:
        """Handle the first packet."""
        s = self._s
        try:
            request, handshake = open_websocket(packet, s)
        except Refused as refused:
            self._record_began(packet, refused.target)
            self._end_with_failure(refused)
            return
        self._record_began(packet, request.target)
        if not self._set_deadline(packet):
            return
        if self._deadline is not None:
            self._alarms[_HANDSHAKE] = self._deadline
        self._transfer = WebSocketTransfer(
            s.egress, s.loop, request, handshake, self, s.buffer_size, s.websocket.split_frames
        )
        self._transfer.start()
        self._set_timer()

    def _receive(self, packet: RequestPacket) -> None:
        if packet.type in _SENDS:
            if self.state is _CONNECTING:
                self._keep_until_open(packet)
            else:
                self._send_frame_to_origin(packet)
        if packet.credits and self._frames_waiting and self.open:
            self._deliver()

    def _keep_until_open(self, packet: RequestPacket) -> None:
        self._before_open.append(packet)
        self._before_open_size += len(packet.body)
        if (
            len(self._before_open) > _MAX_WAITING
            or self._before_open_size > MAX_OVERSTEP * self._s.buffer_size
        ):
            self._end_with_bad_request(
                f"more than {_MAX_WAITING} packets or {MAX_OVERSTEP} times buffer_size before the "
                "handshake was over: wait for its answer"
            )

    def _refuse_packet(self, packet: RequestPacket, reason: str) -> None:
        if self.state is _CONNECTING:
            self._keep_until_open(packet)  # it is refused when the packets before it are sent
        else:
            self._end_with_bad_request(reason)

    def _end_with_bad_request(self, detail: str) -> None:
        """End the session for a bad packet of the worker; the origin gets a neutral close code."""
        self._choose_close(_INTERNAL_ERROR)
        if self._endpoint.closed:
            # Both sides have closed: the worker expects no packet any more.
            self._record_ended("cancelled", f"ended: {detail}")
            self._finish(None)
        else:
            super()._end_with_bad_request(detail)

    def _send_frame_to_origin(self, packet: RequestPacket) -> None:
        """Send a worker's data, ping, pong or close to the origin."""
        transfer, body, kind = self._connection, packet.body, packet.type
        credits = 0
        try:
            if kind is None:
                credits = len(body)
                sent = transfer.send_data(body, packet.content_type == b"binary", packet.more)
            elif kind == b"ping":
                sent = transfer.send_ping(body)
            elif kind == b"pong":
                sent = transfer.send_pong(self._json.pong(body) if self._json else body)
            else:
                self._send_close(packet)
                return
        except BadInput as error:
            self._end_with_bad_request(str(error))
            return
        self._last_activity = self._s.loop.now
        if sent:
            self._grant(credits)
        elif transfer.unsent - len(body) > MAX_OVERSTEP * self._s.buffer_size:
            self._end_with_bad_request(
                f"{transfer.unsent} bytes of frames wait for the origin, far more than the credits"
                " allow: wait for credits before you send more"
            )

    def _send_close(self, packet: RequestPacket) -> None:
        """Send the worker's close frame.

        Raises:
            BadInput: it may not be sent.
        """
        now = self._s.loop.now
        self._connection.send_close(None if packet.code == -1 else packet.code, packet.body)
        self._last_activity = now
        self._clear_alarms(_PING, _PONG)
        if self.state is _CLOSED_BY_ORIGIN:
            # Both close frames were sent, and the worker has the origin's.
            self._end_closed(None, None)
            return
        self._enter(_CLOSING)
        self._set_alarm(_CLOSE_DUE, now + self._s.websocket.close_timeout)
        if self._frames_waiting:
            self._shorten_close_timeout()

    # -- reports of the transfer ---------------------------------------------------------------

    @entry
    def websocket_opened(self, response: Response) -> None:
        """The handshake succeeded: send the answer to the worker, early packets to the origin."""
        self._enter(_OPEN)
        self._clear_alarms(_HANDSHAKE)
        self._last_activity = self._s.loop.now
        interval = self._s.websocket.ping_interval
        if interval:
            self._token = os.urandom(8).hex().encode()
            self._set_alarm(_PING, self._s.loop.now + interval)
        extras = self._connection.extras
        self._send(opened_fields(response, self._s.buffer_size, extras))
        packets, self._before_open = self._before_open, []
        for packet in packets:
            if self.open:
                self._send_frame_to_origin(packet)
        if self.open:
            self._deliver()

    @entry
    def websocket_rejected(self, response: Response) -> None:
        """The origin did not switch protocols: send its answer to the worker."""
        detail = f"the origin answered {response.code} and did not switch protocols"
        self._s.journal.failed(self.account, "rejected", "rejected", detail, len(response.body))
        self._finish(rejected_fields(response, self._connection.extras))

    @entry
    def websocket_failed(self, failure: TransferError) -> None:
        """End the session, as the connection could not be made."""
        self._end_with_failure(failure)

    @entry
    def websocket_moved(self) -> None:
        """Handle progress of the transfer: frames may have come, or its end."""
        if self._frames_waiting and self.state is _CLOSING:
            self._shorten_close_timeout()
        self._deliver()

    @entry
    def websocket_wrote(self, size: int) -> None:
        """Grant credits for a worker's frame that had to wait, and was sent now."""
        self._last_activity = self._s.loop.now
        self._grant(size)

    # -- packets to the worker -----------------------------------------------------------------

    def _deliver(self) -> None:
        """Send frames to the worker as far as its credits allow."""
        waiting, transfer = self._frames_waiting, self._connection
        while True:
            event = waiting[0] if waiting else self._next_frame()
            if event is None:
                break
            if isinstance(event, _FRAMES):
                rest = self._send_frame_to_worker(event)
                if rest is not None:
                    self._hold_frame(rest)
                    return
            elif not self._end_event(event):
                return
            if waiting:
                waiting.pop(0)
            elif transfer.drained:
                break
        if transfer.lost is not None:
            self._end_with_failure(transfer.lost)
            return
        if self._alarms:
            self._clear_alarms(_ANSWER_PINGS)
        transfer.resume()

    def _next_frame(self) -> Event | None:
        """The origin's next frame for the worker."""
        transfer = self._transfer
        assert transfer is not None
        while True:
            event = transfer.next_event()
            if isinstance(event, Data):
                if self._json is not None and not event.binary:
                    return self._json.whole_characters(event)
            elif self._token and isinstance(event, Pong) and event.payload == self._token:
                continue  # the answer to a ping of the gateway's own
            return event

    def _send_frame_to_worker(self, event: Data | Ping | Pong) -> Event | None:
        """Send a frame to the worker; returns the part that has to wait, None if there is none."""
        if self._auto_pong and isinstance(event, Ping):
            self._pong(event)
            return None
        if self._worker_is_slow:
            # Credits limit bytes only; a flood of tiny frames would be as many packets.
            self._wait_for_worker()
            return event
        rest: Event | None = None
        credits = self._endpoint.credits
        if credits < (len(event.payload) or 1):
            if not isinstance(event, Data) or event.whole:
                return event
            size = self._cut(event, credits)
            if size <= 0:
                return event
            rest = replace(event, payload=event.payload[size:])
            event = replace(event, payload=event.payload[:size], fin=False)
        elif isinstance(event, Ping) and self._json is not None:
            self._json.remember_ping(event.payload)
        self._received += len(event.payload)
        self._send(frame_fields(event))
        return rest

    def _cut(self, piece: Data, credits: int) -> int:
        """Length at which to cut a piece of a large frame so that the credits suffice."""
        payload = piece.payload
        if self._json is not None and not piece.binary:
            while 0 < credits < len(payload) and payload[credits] & 0xC0 == 0x80:
                credits -= 1  # this would cut a character
        return credits

    def _end_event(self, event: Event) -> bool:
        """Handle the origin's close or protocol violation; False if that has ended the session."""
        if isinstance(event, Close):
            self._close_code = event.code or _NO_STATUS
            if self.state is _CLOSING:
                self._end_closed(event.code, close_fields(event))
                return False
            self._enter(_CLOSED_BY_ORIGIN)
            self._clear_alarms(_PING, _PONG)
            self._send(close_fields(event))
            return True
        assert isinstance(event, ProtocolViolation)
        self._close_code = event.code
        self._choose_close(event.code, event.reason.encode())
        condition = (
            Condition.FRAME_TOO_LARGE if event.code == _TOO_BIG else Condition.UNDEFINED_CONDITION
        )
        name = _NAMES.get(event.code, "protocol-error")
        self._end_with_error(condition, name, f"the origin: {event.reason}")
        return False

    def _end_closed(self, code: int | None, last: dict[str, object] | None) -> None:
        """End the session: both sides have closed."""
        self._close_code = code or self._close_code
        self._choose_close(code or 1000)
        self._record_answered(code or 101)
        self._finish(last)

    # -- waiting for credits -------------------------------------------------------------------

    def _hold_frame(self, event: Event) -> None:
        """Keep a frame for which the worker has given no credits, and stop reading."""
        if self._frames_waiting:
            self._frames_waiting[0] = event
        else:
            self._frames_waiting.append(event)
        self._connection.pause()
        self._clear_alarms(_PONG)  # the origin's bytes are not read
        if _ANSWER_PINGS not in self._alarms:
            self._set_alarm(_ANSWER_PINGS, self._s.loop.now + PING_CREDIT_TIMEOUT)

    def _read_ahead(self) -> None:
        """Read frames behind the one that waits, at most another buffer_size."""
        transfer, waiting = self._connection, self._frames_waiting
        transfer.look_ahead()
        size = sum(len(event.payload) for event in waiting[1:] if isinstance(event, Data))
        while len(waiting) < _MAX_WAITING and size < self._s.buffer_size:
            event = self._next_frame()
            if event is None:
                break
            waiting.append(event)
            if isinstance(event, Data):
                size += len(event.payload)

    def _answer_waiting_pings(self) -> None:
        """Answer pings that wait for credits, which the worker does not see.

        Without an answer the origin would take the connection of a slow worker for dead.
        """
        self._read_ahead()
        for event in self._frames_waiting:
            if isinstance(event, Ping):
                self._pong(event)
        self._frames_waiting = [
            event for event in self._frames_waiting if not isinstance(event, Ping)
        ]
        if self._frames_waiting:
            self._set_alarm(_ANSWER_PINGS, self._s.loop.now + PING_CREDIT_TIMEOUT)
        else:
            self._deliver()

    def _pong(self, ping: Ping) -> None:
        """Answer a ping on behalf of the worker."""
        transfer = self._connection
        self._last_activity = self._s.loop.now
        if not transfer.close_sent and transfer.unsent <= self._s.buffer_size:
            transfer.send_pong(ping.payload, tell=False)

    def _resume_sending(self) -> None:
        if self._credits_due is not None:
            credits, self._credits_due = self._credits_due, None
            self._send({"type": b"credit", "credits": credits})
        if self._frames_waiting:
            self._deliver()

    def _grant(self, credits: int) -> None:
        """Grant credits for frames that were sent; in one packet later, if the worker is slow."""
        if self._credits_due is not None:
            self._credits_due += credits
        elif self._worker_is_slow:
            self._credits_due = credits
            self._wait_for_worker()
        else:
            self._send({"type": b"credit", "credits": credits})

    # -- closing -------------------------------------------------------------------------------

    def _shorten_close_timeout(self) -> None:
        """Limit the wait after the worker's close: it may give no credits for frames that come
        before the origin's close.

        If the origin has hung up, there is nothing else to wait for.
        """
        if self._connection.hung_up:
            soon = self._s.loop.now + _LAST_CREDITS
            self._set_alarm(_CLOSE_DUE, min(soon, self._alarms.get(_CLOSE_DUE, soon)))

    def _close_is_overdue(self) -> None:
        """End a closing that takes too long: no close of the origin, or no credits."""
        transfer = self._connection
        if self._frames_waiting:
            self._read_ahead()
            for event in self._frames_waiting:
                if isinstance(event, Close):
                    self._end_closed(event.code, close_fields(event))
                    return
            if transfer.lost is not None:
                self._end_with_failure(transfer.lost)
                return
        self._end_with_error(
            Condition.SESSION_TIMEOUT,
            "close-timeout",
            f"no close from the origin within {self._s.websocket.close_timeout:g} s",
        )

    # -- pings of the gateway's own --------------------------------------------------------------

    def _ping(self) -> None:
        """Send a ping of the gateway's own, to check whether the origin answers."""
        websocket, now = self._s.websocket, self._s.loop.now
        self._set_alarm(_PING, now + websocket.ping_interval)
        if self._frames_waiting:
            return  # the answer would not be read
        if not self._connection.unsent:
            self._connection.send_ping(self._token, tell=False)
        if _PONG not in self._alarms:
            self._pinged_at = now
            self._set_alarm(_PONG, now + websocket.ping_timeout)

    def _pong_is_overdue(self) -> None:
        if self._connection.heard_at >= self._pinged_at:
            return
        self._choose_close(_INTERNAL_ERROR, b"no answer to a ping")
        self._end_with_error(
            Condition.SESSION_TIMEOUT,
            "ping-timeout",
            f"nothing heard of the origin within {self._s.websocket.ping_timeout:g} s of a ping",
        )

    # -- time ------------------------------------------------------------------------------------

    def _set_alarm(self, alarm: _Alarm, when: float) -> None:
        self._alarms[alarm] = when
        self._set_timer()

    def _clear_alarms(self, *alarms: _Alarm) -> None:
        for alarm in alarms:
            self._alarms.pop(alarm, None)

    @property
    def _idle_at(self) -> float:
        """Time when the session ends unless worker or origin sends something until then."""
        heard = self._transfer.heard_at if self._transfer is not None else 0.0
        timeout = self._s.activity_timeout
        if self._s.host_timeout is not None and self._transfer is not None:
            timeout = self._s.host_timeout(self._transfer.request.target)
        return max(self._last_activity, heard) + timeout

    def _next_alarm(self) -> float:
        return min(self._idle_at, min(self._alarms.values(), default=math.inf))

    def _handle_timer(self, now: float) -> None:
        if now >= self._idle_at:
            if self.state is _CONNECTING and self._transfer is not None:
                self._give_up_handshake(ErrorName.IDLE_TIMEOUT, _NO_ACTIVITY)
                return
            self._choose_close(_GOING_AWAY)
            self._end_with_error(Condition.SESSION_TIMEOUT, ErrorName.IDLE_TIMEOUT, _NO_ACTIVITY)
            return
        for alarm in sorted(alarm for alarm, when in self._alarms.items() if now >= when):
            if self.open:
                self._clear_alarms(alarm)
                _ALARM_HANDLERS[alarm](self)

    def _handshake_is_overdue(self) -> None:
        overdue = self._connection.overdue(self._s.loop.now - self.account.began)
        if overdue is not None:
            self._connection.timed_out()
            self._end_with_failure(overdue)
        else:
            self._give_up_handshake(
                ErrorName.TOTAL_TIMEOUT, "the handshake took longer than the request's timeout"
            )

    def _give_up_handshake(self, error: str, detail: str) -> None:
        """End the session: with the origin's refusal, if its head has come."""
        response = self._connection.give_up()
        if response is not None:
            self.websocket_rejected(response)
        else:
            self._end_with_error(Condition.SESSION_TIMEOUT, error, detail)

    # -- ends ---------------------------------------------------------------------------------

    def _error_extras(self) -> dict[str, Any]:
        if self.state is not _CONNECTING or self._transfer is None:
            return {}
        extras = self._transfer.extras
        return extras.with_head() if extras is not None else {}

    def _choose_close(self, code: int = _GOING_AWAY, reason: bytes = b"") -> None:
        """Choose the close frame with which the connection to the origin ends."""
        self._final_close = (code, reason)

    def _release(self) -> None:
        if self.is_open:
            # Without a close frame of the origin it is an abnormal closure (RFC 6455 7.1.5).
            self._s.journal.websocket_closed(self._close_code)
        self._enter(_CLOSED)
        transfer, self._transfer = self._transfer, None
        if transfer is None:
            return
        if self._final_close is not None:
            transfer.finish(*self._final_close)
        else:
            transfer.cancel()


_ALARM_HANDLERS: Final[dict[_Alarm, Callable[[WebSocketSession], None]]] = {
    _HANDSHAKE: WebSocketSession._handshake_is_overdue,
    _ANSWER_PINGS: WebSocketSession._answer_waiting_pings,
    _CLOSE_DUE: WebSocketSession._close_is_overdue,
    _PING: WebSocketSession._ping,
    _PONG: WebSocketSession._pong_is_overdue,
}
