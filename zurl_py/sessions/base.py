"""What all sessions have in common: who asked, what it may use, and the one final answer."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from ..egress import Egress, TransferError
from ..log import Log
from ..loop import Loop, Timer
from ..policy import Policy
from ..zhttp import Condition, Envelope, RequestPacket
from .opening import Refused

__all__ = ["MAX_OVERSTEP", "Services", "Session", "WebSocketSettings"]

# A worker may send more than it has credits for, within reason: this many times buffer_size.
MAX_OVERSTEP = 8


@dataclass(frozen=True, slots=True)
class WebSocketSettings:
    """What the configuration says about WebSockets.

    Attributes:
        compression: offer permessage-deflate.
        split_frames: hand on frames of more than buffer_size in pieces; else they are errors.
        ping_interval: seconds between the gateway's own pings; 0: none.
        ping_timeout: seconds that the origin has to show a sign of life after one.
        close_timeout: seconds that the origin has to answer a worker's close.
    """

    compression: bool = False
    split_frames: bool = True
    ping_interval: float = 0.0
    ping_timeout: float = 20.0
    close_timeout: float = 10.0


@dataclass(slots=True)
class Services:
    """What a session uses. The gateway makes one and shares it among all sessions.

    Attributes:
        policy: the policy in force; a reload replaces it for sessions to come.
        instance_id: the ``from`` of our packets.
        buffer_size: bytes held per session and direction, and of one packet's body.
        activity_timeout: seconds without activity until a session ends.
        publish: sends a worker's address and a message that begins with it, by out_spec.
        ended: told once of every session that ends.
        websocket: what is set for WebSockets.
        slow_workers: those who take packets more slowly than they are sent.
        when_caught_up: has a function called when one of them is so no more.
    """

    loop: Loop
    egress: Egress
    log: Log
    policy: Policy
    instance_id: bytes
    buffer_size: int
    activity_timeout: float
    publish: Callable[[bytes, bytes], None]
    ended: Callable[[Session], None]
    websocket: WebSocketSettings = WebSocketSettings()
    slow_workers: Collection[bytes] = ()
    when_caught_up: Callable[[bytes, Callable[[], None]], None] | None = None


class Session:
    """One request of a worker, from its first packet to its one final answer.

    Attributes:
        sender: the worker's address; None where nobody is told anything.
        id: the worker's name for the session.
        open: no final answer was given yet.
    """

    __slots__ = (
        "_envelope",
        "_out_seq",
        "_quiet",
        "_s",
        "_started",
        "_timer",
        "id",
        "open",
        "sender",
    )

    def __init__(self, services: Services, packet: RequestPacket, sender: bytes | None) -> None:
        self._s = services
        self.sender = sender
        self.id = packet.id
        self.open = True
        self._envelope = Envelope(
            packet.format,
            services.instance_id if sender is not None else None,
            packet.id or None,
            packet.user_data,
            sender,
        )
        self._out_seq = 0
        self._quiet = packet.quiet
        self._started = services.loop.now
        self._timer = Timer(self._timer_fired)

    def start(self, packet: RequestPacket) -> None:
        """Handle the first packet."""
        raise NotImplementedError

    # -- for subclasses ----------------------------------------------------------------------

    def _send(self, fields: dict[str, object]) -> None:
        """Give a packet to the worker."""
        raise NotImplementedError

    def _timer_fired(self) -> None:
        raise NotImplementedError

    def _release(self) -> None:
        """Give back what the session holds of the egress."""
        raise NotImplementedError

    # ----------------------------------------------------------------------------------------

    def abort(self, reason: str) -> None:
        """End the session with an error, for a reason of the daemon's own."""
        self._end_with_error(Condition.UNDEFINED_CONDITION, reason)

    def _end_with_error(self, condition: bytes, detail: str) -> None:
        self._log_out(f"ERR id={show_id(self.id)} condition={condition.decode()}", detail)
        self._finish({"type": b"error", "condition": condition})

    def _end_with_failure(self, failure: TransferError | Refused) -> None:
        detail = failure.detail if isinstance(failure, TransferError) else failure.reason
        self._end_with_error(failure.condition, detail)

    def _finish(self, last: dict[str, object] | None) -> None:
        """End the session with its last packet, or silently. Nothing may follow it."""
        assert self.open, "a session has one final answer"
        self.open = False
        self._s.loop.cancel_timer(self._timer)
        # It knows the session, and the session it: so both can go without the garbage collector.
        self._timer.callback = _nothing
        try:
            self._release()
            if last is not None:
                self._send(last)
        finally:
            self._s.ended(self)

    # -- log lines in Zurl's form --------------------------------------------------------------

    def _log_in(self, what: str) -> None:
        log = self._s.log
        if log.info_on:
            line = f"IN id={show_id(self.id)}, {what}"
            if self._quiet:
                log.debug(line)
            else:
                log.info(line)

    def _log_out(self, what: str, detail: str = "") -> None:
        log = self._s.log
        if log.info_on:
            duration = (self._s.loop.clock() - self._started) * 1000.0
            line = f"OUT {what} {duration:.0f}ms{' ' if detail else ''}{detail}"
            if self._quiet:
                log.debug(line)
            else:
                log.info(line)


def _nothing() -> None:
    """What the timer of a session that ended calls."""


def show_id(id: bytes | None) -> str:
    """An id for a log line: on one line, whatever is in it."""
    if id is None:
        return "-"
    text = id.decode("utf-8", "replace")
    return text if text.isprintable() else ascii(text)
