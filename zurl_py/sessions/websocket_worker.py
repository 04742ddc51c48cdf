"""What a WebSocket session owes its worker: packets in order, credits, keep-alives, an end."""

from __future__ import annotations

from ..egress import ErrorName, TransferError
from ..zhttp import Condition, Endpoint, RemoteProtocolError, RequestPacket
from .base import Services, Session, show_id
from .opening import Refused

__all__ = ["WorkerSide"]


class WorkerSide(Session):
    """The half of a WebSocket session that faces the worker."""

    __slots__ = ("_awaits_worker", "_endpoint", "_owed")

    def __init__(self, services: Services, packet: RequestPacket) -> None:
        super().__init__(services, packet, packet.sender)
        self._endpoint = Endpoint.accept(packet, services.instance_id, self._started)
        self._awaits_worker = False  # until what was published to it has gone out
        self._owed: int | None = None  # credits to be granted when the worker has caught up

    # -- for the other half ------------------------------------------------------------------

    def _shut(self, code: int, reason: bytes = b"") -> None:
        """Let the session's end be one in good order for the origin, with a close frame."""
        raise NotImplementedError

    def _refuse(self, packet: RequestPacket, reason: str) -> None:
        """A packet asks for what may not be said any more."""
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

    def _accept(self, packet: RequestPacket, seq: int | None) -> bool:
        """Whether a later packet may be used; one that is out of order ends the session."""
        try:
            self._endpoint.receive(packet, seq, self._s.loop.now)
        except RemoteProtocolError as error:
            if error.condition is None:
                self._log_out(f"id={show_id(self.id)} {error.reason}")
                self._finish({"type": b"cancel"})
            else:
                self._refuse(packet, error.reason)
            return False
        if packet.type == b"cancel":
            self._log_out(f"id={show_id(self.id)} cancelled by the worker")
            self._finish(None)
            return False
        return True

    def _send(self, fields: dict[str, object]) -> None:
        assert self.sender is not None
        self._s.publish(self.sender, self._endpoint.send(fields, self._s.loop.now))

    # -- errors --------------------------------------------------------------------------------

    def _bad_request(self, detail: str) -> None:
        """The worker asked for what cannot be done. The origin is told that it is not its fault."""
        self._shut(_INTERNAL_ERROR)
        if self._endpoint.closed:
            # Both have closed: the worker expects nothing any more.
            self._log_out(f"id={show_id(self.id)}", detail)
            self._finish(None)
        else:
            self._end_with_name(Condition.BAD_REQUEST, ErrorName.BAD_MESSAGE, detail)

    def _end_with_name(self, condition: bytes, name: str, detail: str) -> None:
        """End with an error that says, beyond its condition, what it was."""
        self._log_out(f"ERR id={show_id(self.id)} condition={condition.decode()}", detail)
        ext = {"error": name, "detail": detail}
        self._finish({"type": b"error", "condition": condition, "ext": ext})

    def _end_with_error(self, condition: bytes, detail: str) -> None:
        self._end_with_name(condition, ErrorName.INTERNAL, detail)

    def _end_with_failure(self, failure: TransferError | Refused) -> None:
        if isinstance(failure, Refused):
            if failure.decision is None:
                failure = TransferError(failure.condition, failure.reason)
            else:
                failure = TransferError.from_decision(failure.decision, failure.reason)
        self._end_with_name(failure.condition, failure.error, failure.detail)

    def abort(self, reason: str) -> None:
        """End the session with an error, and tell the origin that we go away."""
        self._shut(GOING_AWAY)
        super().abort(reason)

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
        when = min(self._endpoint.deadline, self._next_alarm())
        self._s.loop.set_timer(self._timer, when)

    def _timer_fired(self) -> None:
        now = self._s.loop.now
        if self._endpoint.expired(now):
            self._log_out(f"id={show_id(self.id)} expired: nothing heard of the worker")
            self._shut(GOING_AWAY)
            self._finish(None)
            return
        if self._endpoint.keep_alive_due(now):
            self._send({"type": b"keep-alive"})
        self._look_at_clock(now)
        if self.open:
            self._set_timer()


GOING_AWAY, _INTERNAL_ERROR = 1001, 1011
