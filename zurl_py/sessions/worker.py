"""The worker's side of a session of the streaming interface: packets in order, pace, expiry."""

from __future__ import annotations

from typing import Any

from ..zhttp import Condition, PeerProtocolError, RequestPacket
from .base import Session, entry

__all__ = ["WorkerSide"]


class WorkerSide(Session):
    """The half of a session that faces a worker who sends more than one packet."""

    __slots__ = ()

    # -- for the other half --------------------------------------------------------------------

    def _receive(self, packet: RequestPacket) -> None:
        """Handle a later packet that may come now; its credits are counted already."""
        raise NotImplementedError

    def _go_on(self) -> None:
        """The worker can take packets again."""
        raise NotImplementedError

    def _next_alarm(self) -> float:
        """When `_look_at_clock` is to be called."""
        raise NotImplementedError

    def _look_at_clock(self, now: float) -> None:
        """Do what is due; called when ``_next_alarm`` has come, or earlier."""
        raise NotImplementedError

    # -- packets -------------------------------------------------------------------------------

    @entry
    def receive(self, packet: RequestPacket, seq: int | None) -> None:
        """Handle a later packet, whose number in this session is ``seq``."""
        if not self.open:
            return
        endpoint = self._endpoint
        try:
            endpoint.receive(packet, seq, self._s.loop.now)
        except PeerProtocolError as error:
            if error.condition is None:
                self._tell_ended("cancelled", error.reason)
                self._finish({"type": b"cancel"})
            else:
                self._refuse_packet(packet, error.reason)
            return
        if packet.type == b"cancel":
            self._tell_ended("cancelled", "cancelled by the worker")
            self._finish(None)
            return
        resumed = self._held is not None
        if resumed:
            self._resume()
            if not self.open:
                return
        if packet.type == b"handoff-start":
            self._hand_off()
            return
        self._receive(packet)
        if resumed and self.open:
            self._go_on()

    # -- handoff (RFC 33): the session goes from one worker to another ---------------------------

    @property
    def handed_off(self) -> bool:
        """No worker has the session now: the next packet in order says who has."""
        return self._held is not None

    def adopt(self, sender: bytes) -> None:
        """Another worker takes the session over."""
        self.sender = self.account.sender = sender
        self._endpoint.move_to(sender)

    def _hand_off(self) -> None:
        """Say nothing more until a worker speaks; nothing more is read from the origin either."""
        self._send({"type": b"handoff-proceed"})
        self._held = []
        self._set_timer()

    def _resume(self) -> None:
        held, self._held = self._held, None
        for fields in held or ():
            self._send(fields)
        if self._final is not None:
            self._finish(self._final)
        self._set_timer()

    def _finish(self, last: dict[str, Any] | None) -> None:
        """End the session; what nobody could hear now waits for the worker to come."""
        if self._held is None or last is None:
            super()._finish(last)
        elif self._final is None:
            self._final = last
            self._set_timer()

    def crash(self) -> None:
        """Handle a bug of ours, at once, whoever has the session."""
        self._held = None
        super().crash()

    def _refuse_packet(self, packet: RequestPacket, reason: str) -> None:
        """A packet asks for what may not be said any more."""
        self._bad_request(reason)

    def _bad_request(self, detail: str) -> None:
        """End the session, as the worker asked for what cannot be done."""
        self._end_with_error(Condition.BAD_REQUEST, "bad-message", detail)

    def _send(self, fields: dict[str, Any]) -> None:
        if self._held is not None:
            self._held.append(fields)  # few: what comes from the origin waits there
            return
        s = self._s
        assert self.sender is not None
        s.outlet.publish(self.sender, self._endpoint.send(fields, s.loop.now))

    def expects(self, seq: int | None) -> bool:
        """Whether a packet with this number is the one to come next."""
        return self._endpoint.expects(seq)

    @entry
    def packet_dropped(self) -> None:
        """A packet of ours was given up: the worker is far too slow, and sees a gap at best."""
        if self.open:
            self._tell_ended("expired", "ended: a packet for its worker was dropped")
            self._shut()
            self._finish(None)

    # -- pace ----------------------------------------------------------------------------------

    @property
    def _worker_is_slow(self) -> bool:
        """Packets wait for the worker already: do not make more than can be helped."""
        return self._held is not None or self.sender in self._s.outlet.slow

    def _wait_for_worker(self) -> None:
        assert self.sender is not None
        if self._held is None:  # else it goes on when a worker takes the session over
            self._s.outlet.when_caught_up(self.sender, self._worker_caught_up)

    @entry
    def _worker_caught_up(self) -> None:
        if self.open:
            self._go_on()

    # -- time ----------------------------------------------------------------------------------

    def _set_timer(self) -> None:
        if self.open:
            endpoint = self._endpoint
            when = endpoint.expires_at
            if self._final is None:
                when = min(when, self._next_alarm())
            if self._held is None:
                when = min(when, endpoint.keep_alive_at)
            self._s.loop.set_timer(self._timer, when)

    def _timer_fired(self) -> None:
        now = self._s.loop.now
        if self._final is None:
            self._look_at_clock(now)
        if not self.open:
            return
        if self._endpoint.expired(now):
            self._tell_ended("expired", "expired: nothing heard of the worker")
            self._shut()
            self._finish(None)
            return
        if self._held is None and self._endpoint.keep_alive_due(now):
            self._send({"type": b"keep-alive"})
        self._set_timer()
