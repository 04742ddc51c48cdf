"""The worker's side of a streaming session: order of packets, slow workers, handoff, expiry."""

from __future__ import annotations

from typing import Any

from ..zhttp import Condition, PeerProtocolError, RequestPacket
from .base import Session, entry

__all__ = ["WorkerSide"]


class WorkerSide(Session):
    """The part of a session that exchanges packets with the worker; a subclass has the rest."""

    __slots__ = ()

    # -- for subclasses ------------------------------------------------------------------------

    def _receive(self, packet: RequestPacket) -> None:
        """Handle a later packet that is valid now; its credits were added already."""
        raise NotImplementedError

    def _resume_sending(self) -> None:
        """Go on sending: the worker takes packets again."""
        raise NotImplementedError

    def _next_alarm(self) -> float:
        """Time when `_handle_timer` is to be called."""
        raise NotImplementedError

    def _handle_timer(self, now: float) -> None:
        """Do what is due; called at ``_next_alarm`` or earlier."""
        raise NotImplementedError

    # -- packets -------------------------------------------------------------------------------

    @entry
    def receive(self, packet: RequestPacket, seq: int | None) -> None:
        """Handle a later packet, whose sequence number in this session is ``seq``."""
        if not self.open and self._final_packet is None:
            return
        endpoint = self._endpoint
        try:
            endpoint.receive(packet, seq, self._s.loop.now)
        except PeerProtocolError as error:
            self._handoff_queue = None  # its sender is answered at once
            if not self.open:
                self._leave({"type": b"cancel"})
            elif error.condition is None:
                self._record_ended("cancelled", error.reason)
                self._finish({"type": b"cancel"})
            else:
                self._refuse_packet(packet, error.reason)
            return
        if packet.type == b"cancel":
            if self.open:
                self._record_ended("cancelled", "cancelled by the worker")
                self._finish(None)
            else:
                self._leave(None)
            return
        resumed = self._handoff_queue is not None
        if resumed:
            self._resume()
            if not self.open:
                return
        if packet.type == b"handoff-start":
            self._hand_off()
            return
        self._receive(packet)
        if resumed and self.open:
            self._resume_sending()

    # -- handoff (RFC 33): the session goes from one worker to another ---------------------------

    @property
    def handed_off(self) -> bool:
        """Whether no worker has the session now; the next packet in sequence says which one has."""
        return self._handoff_queue is not None

    def adopt(self, sender: bytes) -> None:
        """Give the session to another worker."""
        self.sender = self.account.sender = sender
        self._endpoint.move_to(sender)

    def _hand_off(self) -> None:
        """Stop sending until a worker sends a packet, and stop reading from the origin."""
        self._send({"type": b"handoff-proceed"})
        self._handoff_queue = []
        self._set_timer()

    def _resume(self) -> None:
        held, self._handoff_queue = self._handoff_queue, None
        for fields in held or ():
            self._send(fields)
        if self._final_packet is not None:
            # If both sides have closed a WebSocket by now, the worker expects no packet any more.
            self._leave(None if self._endpoint.closed else self._final_packet)
        self._set_timer()

    def _leave(self, last: dict[str, Any] | None) -> None:
        """Send the last packet; during a handoff it waits for the next worker."""
        if self._handoff_queue is None or last is None:
            self._final_packet = None
            super()._leave(last)
        else:
            self._final_packet = last
            self._set_timer()

    def crash(self) -> None:
        """Handle an exception, which is a bug, at once, also during a handoff."""
        self._handoff_queue = None
        super().crash()
        if self._final_packet is not None:  # the session had ended, but had not left
            self._final_packet = None
            self._ended(self)

    def _refuse_packet(self, packet: RequestPacket, reason: str) -> None:
        """Refuse a packet that may not be sent any more."""
        self._end_with_bad_request(reason)

    def _end_with_bad_request(self, detail: str) -> None:
        """End the session with an error: the worker's packet cannot be carried out."""
        self._end_with_error(Condition.BAD_REQUEST, "bad-message", detail)

    def _send(self, fields: dict[str, Any]) -> None:
        if self._handoff_queue is not None:
            self._handoff_queue.append(fields)  # only a few, as the origin's data is not read
            return
        s = self._s
        assert self.sender is not None
        s.outlet.publish(self.sender, self._endpoint.send(fields, s.loop.now))

    def expects(self, seq: int | None) -> bool:
        """Whether this is the sequence number of the next packet."""
        return self._endpoint.expects(seq)

    @entry
    def packet_dropped(self) -> None:
        """End the session: a packet to the worker was dropped, so its sequence has a gap."""
        self._end_unheard("ended: a packet for its worker was dropped")

    def _end_unheard(self, why: str) -> None:
        """End the session without a packet, as its worker would not get it."""
        if self.open:
            self._record_ended("expired", why)
            self._choose_close()
            self._finish(None)
        elif self._final_packet is not None:
            self._leave(None)

    # -- slow workers --------------------------------------------------------------------------

    @property
    def _worker_is_slow(self) -> bool:
        """Whether packets wait for the worker already; then no more should be sent."""
        return self._handoff_queue is not None or self.sender in self._s.outlet.slow

    def _wait_for_worker(self) -> None:
        assert self.sender is not None
        if self._handoff_queue is None:  # during a handoff it goes on with the next worker
            self._s.outlet.when_caught_up(self.sender, self._worker_caught_up)

    @entry
    def _worker_caught_up(self) -> None:
        if self.open:
            self._resume_sending()

    # -- time ----------------------------------------------------------------------------------

    def _set_timer(self) -> None:
        endpoint = self._endpoint
        if self._final_packet is not None:
            self._wake_at(endpoint.expires_at)
        elif self.open:
            when = min(endpoint.expires_at, self._next_alarm())
            if self._handoff_queue is None:
                when = min(when, endpoint.keep_alive_at)
            self._wake_at(when)

    def _timer_fired(self) -> None:
        now = self._s.loop.now
        if self.open:
            self._handle_timer(now)
        if not self.open and self._final_packet is None:
            return
        if self._endpoint.expired(now):
            self._end_unheard("expired: nothing heard of the worker")
            return
        if self._handoff_queue is None and self._endpoint.keep_alive_due(now):
            self._send({"type": b"keep-alive"})
        self._set_timer()
