"""Sends attempts as ZHTTP requests to one gateway, over its request interface.

Each attempt is one message and one answer. With ``truncate`` a large answer is cut and keeps its
status, redirects are never followed, and every request has a timeout. When the connection ends, the
gateway is gone, and the results of attempts in flight are unknown.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import zmq
from zmq.utils.monitor import parse_monitor_message

from ..log import Log
from ..loop import Loop, Timer
from ..messaging.reader import SocketReader
from ..messaging.sockets import PlainSocket
from ..zhttp import tnetstring
from ..zhttp.codec import DecodeError, decode
from .attempts import Outcome
from .scheduler import Flight

__all__ = ["ANSWER_KEPT", "GatewayLink"]

ANSWER_KEPT: Final = 4096  # bytes of an answer's body
_GRACE: Final = 5.0  # seconds beyond a request's timeout until the gateway is taken to hang
_CHECK: Final = 0.5  # seconds between checks for overdue attempts
_PROBE: Final = b"probe"
_STOPPING: Final = frozenset(("stopping",))  # errors that mean that the gateway goes away
_PHASES: Final = tuple(
    (name.encode(), name) for name in ("resolve", "connect", "tls", "first-byte", "total", "reused")
)
_RECONNECT: Final = 50  # milliseconds
_RECONNECT_MOST: Final = 1000  # milliseconds

_NOBLOCK: Final = int(zmq.NOBLOCK)
_NOBLOCK_MORE: Final = _NOBLOCK | int(zmq.SNDMORE)
_EVENTS: Final = zmq.Event.HANDSHAKE_SUCCEEDED | zmq.Event.DISCONNECTED


@dataclass(slots=True)
class _Sent:
    flight: Flight
    began: float  # on the loop's clock
    deadline: float


class GatewayLink:
    """A DEALER to the request interface of one gateway.

    Args:
        ended: called with each attempt that ended, and its outcome.
        changed: called when the gateway comes or goes.

    Attributes:
        endpoint: of its request interface.
        up: it is connected, does not hang, and is not about to stop.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        loop: Loop,
        log: Log,
        ended: Callable[[Flight, Outcome], None],
        changed: Callable[[], None],
    ) -> None:
        self.endpoint = endpoint
        self._loop = loop
        self._log = log
        self._ended = ended
        self._changed = changed
        self._connected = False
        self._hangs = False
        self._stops = False  # it begins no more requests
        self._sent: dict[bytes, _Sent] = {}
        self._number = 0
        socket = context.socket(zmq.DEALER, socket_class=PlainSocket)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDHWM, 0)  # the scheduler bounds what is in flight
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, _RECONNECT_MOST)
        # Messages must not queue while the gateway is not connected.
        socket.setsockopt(zmq.IMMEDIATE, 1)
        self._socket = socket
        self._monitor = socket.get_monitor_socket(_EVENTS)
        self._monitor_inbox = SocketReader(self._monitor, loop)
        self.inbox = SocketReader(socket, loop)
        socket.connect(endpoint)
        self._timer = Timer(self._look_for_overdue)
        loop.set_timer(self._timer, loop.now + _CHECK)

    def __repr__(self) -> str:
        state = "up" if self.up else "down"
        return f"<GatewayLink {self.endpoint} {state} in_flight={len(self._sent)}>"

    @property
    def up(self) -> bool:
        """Whether it is connected, does not hang, and is not about to stop."""
        return self._connected and not self._hangs and not self._stops

    def __len__(self) -> int:
        return len(self._sent)

    def send(self, flight: Flight, message: Callable[[bytes], bytes], timeout: float) -> None:
        """Make an attempt.

        Args:
            message: makes the packet for an id.
            timeout: seconds that the gateway gives it.
        """
        self._number += 1
        id = b"%x" % self._number
        now = self._loop.now
        self._sent[id] = _Sent(flight, now, now + timeout + _GRACE)
        self.inbox.used()
        try:
            # Flags are plain numbers: pyzmq's enumerations cost more than the call.
            self._socket.send(b"", _NOBLOCK_MORE)
            self._socket.send(message(id), _NOBLOCK)
        except zmq.Again:  # gone, which the socket monitor has not reported yet
            del self._sent[id]
            self._ended(flight, Outcome(flight.started, uncharged=True))

    def read(self, batch: int) -> None:
        """Handle answers."""
        self._monitor_inbox.read(batch, self._take_event)
        self.inbox.read(batch, self._take_answer)

    def settle(self) -> bool:
        """Whether there is more to read."""
        return self._monitor_inbox.check() | self.inbox.check()

    def give_up(self) -> None:
        """End all attempts in flight, uncharged."""
        sent, self._sent = self._sent, {}
        for item in sent.values():
            self._ended(item.flight, Outcome(item.flight.started, uncharged=True))

    def close(self) -> None:
        """Close the sockets."""
        self._loop.cancel_timer(self._timer)
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(0)

    def _take_event(self, frames: list[bytes]) -> None:
        event = parse_monitor_message(frames)["event"]
        if event == zmq.Event.HANDSHAKE_SUCCEEDED:
            self._connected, self._hangs, self._stops = True, False, False
            self._log.info(f"gateway {self.endpoint} is there")
        elif self._connected:
            self._connected = False
            self._log.warning(
                f"gateway {self.endpoint} is gone; {len(self._sent)} attempts go back"
            )
            self.give_up()
        self._changed()

    def _take_answer(self, frames: list[bytes]) -> None:
        if self._hangs:
            self._hangs = False
            self._log.info(f"gateway {self.endpoint} answers again")
            self._changed()
        try:
            _, packet = decode(frames[-1])
        except DecodeError as error:
            self._log.warning(f"gateway {self.endpoint}: {error}")
            return
        sent = self._sent.pop(packet.get(b"id", b""), None)
        if sent is not None:  # if it is, the answer is a probe's, or too late
            micros = int((time.monotonic() - sent.began) * 1e6)
            outcome = outcome_of(packet, sent.flight.started, micros)
            if outcome.error in _STOPPING and not self._stops:
                self._stops = True
                self._changed()
            self._ended(sent.flight, outcome)

    def _look_for_overdue(self) -> None:
        now = self._loop.now
        self._loop.set_timer(self._timer, now + _CHECK)
        overdue = [id for id, item in self._sent.items() if item.deadline <= now]
        if not overdue:
            return
        if not self._hangs:
            self._hangs = True
            self._log.warning(f"gateway {self.endpoint} hangs: {len(overdue)} attempts overdue")
            self._probe()
            self._changed()
        for id in overdue:
            flight = self._sent.pop(id).flight
            self._ended(flight, Outcome(flight.started, uncharged=True))

    def _probe(self) -> None:
        """Send a request that the gateway answers itself, to learn when it is back."""
        fields = {b"id": _PROBE, b"method": b"GET", b"uri": b"x-probe:"}
        try:
            self._socket.send_multipart((b"", b"T" + tnetstring.dumps(fields)), zmq.NOBLOCK)
        except zmq.Again:
            pass
        self.inbox.used()


def outcome_of(packet: dict[Any, Any], started: float, micros: int) -> Outcome:
    """The outcome of an attempt, from the gateway's answer.

    Args:
        micros: microseconds that it took, used where the gateway gives no times.
    """
    ext = packet.get(b"ext")
    if type(ext) is not dict:
        ext = {}
    if packet.get(b"type") == b"error":
        error = _text(ext.get(b"error"))
        return Outcome(
            started,
            condition=_text(packet.get(b"condition")) or "undefined-condition",
            error=error,
            body=packet.get(b"body", b"")[:ANSWER_KEPT],
            phases={"total": micros},
            uncharged=error in _STOPPING,
        )
    phases: dict[str, Any] = {
        name: value for key, name in _PHASES if (value := ext.get(key)) is not None
    }
    phases.setdefault("total", micros)
    return Outcome(
        started,
        code=packet.get(b"code", 0),
        headers=packet.get(b"headers", ()),
        body=packet.get(b"body", b"")[:ANSWER_KEPT],
        phases=phases,
    )


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""
