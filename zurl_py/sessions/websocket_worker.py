"""What a WebSocket session owes its worker: numbered packets, credits, keep-alives, an end."""

from __future__ import annotations

from ..zhttp import Condition, RequestPacket
from .base import Services, Session, show_id
from .stream import KEEP_ALIVE_INTERVAL, SESSION_EXPIRY

__all__ = ["WorkerSide"]


class WorkerSide(Session):
    """The half of a WebSocket session that faces the worker."""

    __slots__ = (
        "_awaits_worker",
        "_deadline",
        "_in_seq",
        "_keep_alive_at",
        "_last_activity",
        "_last_heard",
        "_multi",
        "_owed",
        "_ping_at",
    )

    def __init__(self, services: Services, packet: RequestPacket) -> None:
        super().__init__(services, packet, packet.sender)
        now = self._started
        self._awaits_worker = False  # until what was published to it has gone out
        self._deadline: float | None = None  # of the handshake
        self._in_seq = 0
        self._keep_alive_at = now + KEEP_ALIVE_INTERVAL
        self._last_activity = now
        self._last_heard = now
        self._multi = packet.multi
        self._owed: int | None = None  # credits to be granted when the worker has caught up
        self._ping_at: float | None = None  # when to look for pings among what waits

    # -- for the other half ------------------------------------------------------------------

    def _shut(self, code: int, reason: bytes) -> None:
        """End the connection in good order, with a close frame if none was sent yet."""
        raise NotImplementedError

    def _answer_waiting_pings(self) -> None:
        """The worker grants no credits: answer the pings that it does not get to see."""
        raise NotImplementedError

    def _go_on(self) -> None:
        """The worker can take packets again."""
        raise NotImplementedError

    # -- packets to the worker -----------------------------------------------------------------

    def _accept_seq(self, packet: RequestPacket, seq: int | None) -> bool:
        """Whether a later packet is in order; one that is not ends the session."""
        if packet.type == b"cancel":
            self._log_out(f"id={show_id(self.id)} cancelled by the worker")
            self._finish(None)
            return False
        if seq != self._in_seq + 1:
            self._log_out(f"id={show_id(self.id)} out of sequence: {seq} after {self._in_seq}")
            self._finish({"type": b"cancel"})
            return False
        self._in_seq = seq
        self._last_heard = self._s.loop.now
        return True

    def _send(self, fields: dict[str, object]) -> None:
        assert self.sender is not None
        seq = self._out_seq
        fields["seq"] = seq
        if not seq and self._multi and fields.get("type") != b"error":
            fields["ext"] = {"multi": True}
        self._out_seq = seq + 1
        self._s.publish(self.sender, self._envelope.encode(fields))

    def _end_with_reason(self, condition: bytes, name: str, detail: str) -> None:
        """End with an error that says, beyond its condition, which rule the origin broke."""
        self._log_out(f"ERR id={show_id(self.id)} condition={condition.decode()}", detail)
        ext = {"error": name, "detail": detail}
        self._finish({"type": b"error", "condition": condition, "ext": ext})

    # -- pace ----------------------------------------------------------------------------------

    @property
    def _worker_is_slow(self) -> bool:
        """Packets wait for the worker already: do not make more than can be helped."""
        return bool(self._s.slow_workers) and self.sender in self._s.slow_workers

    def _grant(self, credits: int) -> None:
        """Credit what the network took; in one sum where the worker is slow to hear of it."""
        if self._owed is not None:
            self._owed += credits
        elif self._worker_is_slow:
            self._owed = credits
            self._wait_for_worker()
        else:
            self._send({"type": b"credit", "credits": credits})

    def _wait_for_worker(self) -> None:
        if not self._awaits_worker:
            self._awaits_worker = True
            when_caught_up = self._s.when_caught_up
            assert when_caught_up is not None
            assert self.sender is not None
            when_caught_up(self.sender, self._worker_caught_up)

    def _worker_caught_up(self) -> None:
        self._awaits_worker = False
        if self.open and self._owed is not None:
            owed, self._owed = self._owed, None
            self._send({"type": b"credit", "credits": owed})
        if self.open:
            self._go_on()

    # -- time ----------------------------------------------------------------------------------

    def _set_timer(self) -> None:
        s = self._s
        when = min(
            self._keep_alive_at,
            self._last_heard + SESSION_EXPIRY,
            self._last_activity + s.activity_timeout,
        )
        if self._deadline is not None:
            when = min(when, self._deadline)
        if self._ping_at is not None:
            when = min(when, self._ping_at)
        s.loop.set_timer(self._timer, when)

    def _timer_fired(self) -> None:
        now = self._s.loop.now
        if self._deadline is not None and now >= self._deadline:
            self._end_with_error(Condition.SESSION_TIMEOUT, "timeout of the handshake")
            return
        if now >= self._last_heard + SESSION_EXPIRY:
            self._log_out(f"id={show_id(self.id)} expired: nothing heard of the worker")
            self._shut(_GOING_AWAY, b"")
            self._finish(None)
            return
        if now >= self._last_activity + self._s.activity_timeout:
            self._shut(_GOING_AWAY, b"")
            self._end_with_error(Condition.SESSION_TIMEOUT, "no activity")
            return
        if now >= self._keep_alive_at:
            self._keep_alive_at = now + KEEP_ALIVE_INTERVAL
            self._send({"type": b"keep-alive"})
        if self._ping_at is not None and now >= self._ping_at:
            self._answer_waiting_pings()
        if self.open:
            self._set_timer()

    def abort(self, reason: str) -> None:
        """End the session with an error, and tell the origin that we go away."""
        self._shut(_GOING_AWAY, b"")
        super().abort(reason)


_GOING_AWAY = 1001
