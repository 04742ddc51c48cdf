"""The common part of all sessions: worker and id, services, one final answer, one guard."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

from ..egress import Egress, TransferError
from ..journal import STREAM, Journal, show_id
from ..log import Log
from ..loop import Loop, Timer
from ..policy import Policy
from ..url import Target
from ..zhttp import Condition, Endpoint, RequestPacket
from .refusal import Refused

__all__ = ["MAX_OVERSTEP", "Outlet", "Services", "Session", "WebSocketSettings", "entry"]

# A worker that sends more than its credits is tolerated up to this many times buffer_size.
MAX_OVERSTEP = 8


@dataclass(frozen=True, slots=True)
class WebSocketSettings:
    """Settings for WebSockets.

    Attributes:
        compression: offer permessage-deflate.
        split_frames: hand on frames of more than buffer_size in pieces; else they are errors.
        ping_interval: seconds between the gateway's own pings; 0: none.
        ping_timeout: seconds until the origin has to send something after a ping.
        close_timeout: seconds until the origin has to answer a worker's close.
    """

    compression: bool = False
    split_frames: bool = True
    ping_interval: float = 0.0
    ping_timeout: float = 20.0
    close_timeout: float = 10.0


class Outlet(Protocol):
    """Sends packets to workers' addresses."""

    @property
    def slow(self) -> Collection[bytes]:
        """The workers for which packets wait."""

    def publish(self, address: bytes, message: bytes) -> None:
        """Send a message that begins with the worker's address."""

    def when_caught_up(self, worker: bytes, tell: Callable[[], None]) -> None:
        """Call ``tell`` once when no packet waits any more for a worker that is slow now."""


@dataclass(slots=True, frozen=True)
class Services:
    """What sessions use; all sessions share one.

    Attributes:
        journal: records what becomes of each session.
        policy: the policy in force; a reload changes it in place, also for open sessions.
        instance_id: the ``from`` of our packets.
        buffer_size: bytes held per session and direction, and of one packet's body.
        activity_timeout: seconds without activity until a session ends.
        host_timeout: the same by the target of a hop, where sections have their own timeout.
        outlet: sends packets of the streaming interface.
        websocket: settings for WebSockets.
        max_request_time: seconds that a request may take, whatever its own timeout; None: no limit.
        user_agent: ``User-Agent`` of requests that have none; b"": none is sent.
    """

    loop: Loop
    egress: Egress
    log: Log
    journal: Journal
    policy: Policy
    instance_id: bytes
    buffer_size: int
    activity_timeout: float
    outlet: Outlet
    websocket: WebSocketSettings = WebSocketSettings()
    max_request_time: float | None = None
    user_agent: bytes = b""
    host_timeout: Callable[[Target], float] | None = None


_Entry = TypeVar("_Entry", bound=Callable[..., None])


def entry(method: _Entry) -> _Entry:
    """Guard a method that is called from outside: for a packet, a report, a timer or a reload.

    An exception in it is a bug: it is logged with its traceback and ends that session, with an
    answer, and no other.
    """

    # One for each number of arguments: handing on ``*args`` takes as long as three plain calls.
    def alone(self: Session) -> None:
        try:
            method(self)
        except Exception:
            self.crash()

    def with_one(self: Session, one: Any) -> None:
        try:
            method(self, one)
        except Exception:
            self.crash()

    def with_two(self: Session, one: Any, two: Any) -> None:
        try:
            method(self, one, two)
        except Exception:
            self.crash()

    guarded = (alone, with_one, with_two)[method.__code__.co_argcount - 1]
    return cast("_Entry", functools.wraps(method)(guarded))


class Session:
    """One request of a worker, from its first packet to its one final answer.

    Args:
        sender: the worker's address, to which packets are published; None: none are.
        ended: called once, when the session has ended.
        arrived: time when the first packet came; now, if not given.
        interface: by which it came, for the journal.

    Attributes:
        sender: the worker's address; None where no packets are published.
        id: the session's id, which the worker has chosen.
        open: no final answer was made yet.
        account: its record for log and metrics.
    """

    __slots__ = (
        "_deadline",
        "_ended",
        "_endpoint",
        "_final_packet",
        "_handoff_queue",
        "_s",
        "_timer",
        "account",
        "id",
        "open",
        "sender",
    )

    def __init__(
        self,
        services: Services,
        packet: RequestPacket,
        sender: bytes | None,
        ended: Callable[[Any], None],
        arrived: float | None = None,
        interface: int = STREAM,
    ) -> None:
        now = services.loop.now
        self._s = services
        self._ended = ended
        self.sender = sender
        self.id = packet.id
        self.open = True
        self._endpoint = Endpoint.accept(
            packet, services.instance_id if sender is not None else None, now
        )
        began = now if arrived is None else arrived
        self.account = services.journal.open(
            interface, packet.id, packet.sender, began, packet.quiet
        )
        self._deadline: float | None = None
        self._handoff_queue: list[dict[str, Any]] | None = None  # packets to send after a handoff
        self._final_packet: dict[str, Any] | None = None  # the last packet, to send after a handoff
        self._timer: Timer | None = None

    def __repr__(self) -> str:
        state = "open" if self.open else "ended"
        return f"<{type(self).__name__} {show_id(self.id)} {state} {self._endpoint!r}>"

    @property
    def stage(self) -> str:
        """What the session waits for, in a word for people."""
        raise NotImplementedError

    @property
    def withheld(self) -> int:
        """Bytes of the worker for which it got no new credits, as the origin has not taken them."""
        return 0

    @property
    def bytes_held(self) -> int:
        """Bytes of bodies that are held, of both directions."""
        return self.withheld

    @property
    def bytes_sent(self) -> int:
        """Bytes of body that were sent to the worker."""
        return 0

    # -- entries, for all kinds ----------------------------------------------------------------

    def start(self, packet: RequestPacket) -> None:
        """Handle the first packet; an entry."""
        raise NotImplementedError

    @entry
    def abort(self, error: str, detail: str) -> None:
        """End the session with an error, for a reason that lies in the daemon."""
        if self.open:
            self._choose_close()
            self._end_with_error(Condition.UNDEFINED_CONDITION, error, detail)

    @entry
    def _wake(self) -> None:
        self._timer_fired()

    # -- for subclasses ------------------------------------------------------------------------

    def _send(self, fields: dict[str, Any]) -> None:
        """Send a packet to the worker."""
        raise NotImplementedError

    def _set_timer(self) -> None:
        """Set the timer to the next time when there is something to check."""
        raise NotImplementedError

    def _timer_fired(self) -> None:
        raise NotImplementedError

    def _release(self) -> None:
        """Cancel the session's transfer."""
        raise NotImplementedError

    def _error_extras(self) -> dict[str, Any]:
        """Further items of an error's ``ext``, beside its name and detail."""
        return {}

    def _choose_close(self) -> None:
        """Choose how the connection to the origin ends, where its protocol has a way to say so."""

    # ------------------------------------------------------------------------------------------

    def _wake_at(self, when: float) -> None:
        """Have the timer fire once, at this time."""
        timer = self._timer
        if timer is None:
            timer = self._timer = Timer(self._wake)
        self._s.loop.set_timer(timer, when)

    def _set_deadline(self, packet: RequestPacket) -> bool:
        """Set the request's deadline; False if it is over, which has ended the session."""
        limit = self._s.max_request_time
        if packet.timeout is not None:
            timeout = packet.timeout / 1000.0
            limit = timeout if limit is None else min(timeout, limit)
        if limit is None:
            return True
        self._deadline = self.account.began + limit
        if self._s.loop.now < self._deadline:
            return True
        self._time_out()
        return False

    def _time_out(self) -> None:
        """End the session, whose deadline has come."""
        self._end_with_error(
            Condition.SESSION_TIMEOUT, "total-timeout", "the request took longer than its timeout"
        )

    def _end_with_failure(self, failure: TransferError | Refused) -> None:
        detail = failure.detail
        if failure.condition == Condition.POLICY_VIOLATION and failure.error != "privilege":
            # Workers must not learn a name's addresses, nor the text of the rule that matched.
            detail = f"the policy of the gateway does not allow it: {failure.error}"
        self._end_with_error(failure.condition, failure.error, detail, log=failure.detail)

    def _end_with_error(
        self, condition: bytes, error: str, detail: str, log: str | None = None
    ) -> None:
        """End with an error packet.

        Args:
            error: a stable short name of what went wrong.
            detail: what went wrong, for the worker.
            log: the same for the log, where that may say more.
        """
        self._s.journal.failed(
            self.account,
            condition.decode(),
            error,
            detail if log is None else log,
            self.bytes_sent,
        )
        fields = error_fields(condition, error, detail)
        fields["ext"].update(self._error_extras())
        self._finish(fields)

    def _finish(self, last: dict[str, Any] | None) -> None:
        """End the session with its last packet, or with None without one. No packet may follow."""
        assert self.open, "a session has one final answer"
        self.open = False
        try:
            self._release()
        finally:
            self._leave(last)

    def _leave(self, last: dict[str, Any] | None) -> None:
        """Send the last packet, if there is one, and tell the gateway that the session is over."""
        timer = self._timer
        if timer is not None:
            self._s.loop.cancel_timer(timer)
            # Break the reference cycle of timer and session: no garbage collection is needed then.
            timer.callback = _nothing
        try:
            if last is not None:
                self._send(last)
            else:
                self._endpoint.close()
        finally:
            self._ended(self)

    def crash(self) -> None:
        """Handle an exception, which is a bug: log it, answer, and release everything."""
        log = self._s.log
        log.exception("a bug in a session, which ends")
        try:
            if self.open:
                self._end_with_error(Condition.UNDEFINED_CONDITION, "internal", _BUG)
            elif not self._endpoint.closed:  # the exception came while the final answer was made
                self._send(error_fields(Condition.UNDEFINED_CONDITION, "internal", _BUG))
        except Exception:
            log.exception("another bug, while that session was ended")

    # -- records in the journal ------------------------------------------------------------------

    def _record_began(self, packet: RequestPacket, target: Target | None) -> None:
        """Record the request; ``target`` is None where the URI cannot be used."""
        journal, account = self._s.journal, self.account
        if packet.misspelt:
            journal.misspelt(account, packet.misspelt)
        if target is None:
            journal.refused_uri(account, packet.method, packet.uri, packet.headers)
        else:
            journal.began(
                account, packet.method, target.scheme, target.host, target.text, packet.headers
            )

    def _record_answered(self, code: int) -> None:
        """Record an answer, which is complete with the next packet."""
        self._s.journal.answered_with(self.account, code, self.bytes_sent)

    def _record_ended(self, outcome: str, why: str) -> None:
        """Record that the session ends without a final answer."""
        self._s.journal.ended(self.account, outcome, why, self.bytes_sent)


_BUG = "a bug in the gateway, whose log has the details"


def error_fields(condition: bytes, error: str, detail: str) -> dict[str, Any]:
    """The fields of an error packet, with name and detail in ``ext``."""
    return {
        "type": b"error",
        "condition": condition,
        "ext": {"error": error, "detail": detail},
    }


def _nothing() -> None:
    """The callback of the timer when the session has ended."""
