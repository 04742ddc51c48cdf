"""A session of ZHTTP as a worker has it: packets in, events out, packets to send, a deadline.

Nothing here does I/O or looks at a clock. What moves an exchange on is ``receive`` (a packet came),
``expire`` (time went by) and the verbs of its kind; then ``packets_to_send`` has what is due at the
daemon, and ``deadline`` says when to look again.

The first packet goes to any daemon; those that follow must go to the daemon that answered it, whose
name is known from then on. Until then they are held.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from ..zhttp import Envelope
from . import errors
from .failures import error_of
from .packets import Answer
from .request import Request, first_fields, milliseconds
from .response import Head

__all__ = [
    "EXPIRY",
    "KEEP_ALIVE_INTERVAL",
    "WINDOW",
    "Data",
    "Ended",
    "Event",
    "Exchange",
    "Failed",
    "HttpExchange",
    "Opened",
    "Room",
]

KEEP_ALIVE_INTERVAL: Final = 30.0  # seconds between keep-alives to the daemon
EXPIRY: Final = 60.0  # seconds without a packet of the daemon until it counts as lost
WINDOW: Final = 400_000  # bytes of body that the daemon may be ahead of the reader
GRACE: Final = 0.5  # seconds that the daemon may be late with its own session-timeout

_GRANT_SHARE: Final = 2  # a part of the window that is worth a packet


@dataclass(slots=True)
class Opened:
    """The answer's head is here."""

    head: Head


@dataclass(slots=True)
class Data:
    """Body, or a WebSocket's message or part of one."""

    body: bytes
    binary: bool = False
    more: bool = False


@dataclass(slots=True)
class Room:
    """More may be sent."""


@dataclass(slots=True)
class Ended:
    """The exchange is over, and well."""

    ext: dict[str, Any]


@dataclass(slots=True)
class Failed:
    """The exchange is over."""

    error: errors.ZurlError


Event = object
"""One of the classes above, or of a WebSocket's own."""


class Exchange:
    """What every session has: numbered packets both ways, keep-alives, an end.

    Args:
        envelope: encodes our packets.
        request: what is asked for; its timeouts hold.
        now: seconds, of any clock.
        started: when the call began, which its whole time counts from; ``now`` if not given.
        window: bytes that the daemon may send ahead of ``consumed``.

    Attributes:
        peer: the daemon's name, once known.
        over: no event comes any more.
        heard: the daemon has taken the request.
        got_head: an answer has begun.
        granted: bytes that may have been sent in all; grows with the daemon's credits.
        reading_since: since when somebody waits for more of the answer; None: nobody does.
        writing_since: since when somebody waits to send more of the body; None: nobody does.
            Both are set by who waits, in any thread.
        consumed: bytes of body that were read. Set by who reads, in any thread; ``grant`` tells
            the daemon of it.
    """

    def __init__(
        self,
        envelope: Envelope,
        request: Request,
        now: float,
        started: float | None = None,
        window: int = WINDOW,
    ) -> None:
        timeout = request.timeout
        self._window = window
        self.consumed = 0
        self._swallowed = 0  # bytes that cost credits and that no reader gets
        self._credited = 0  # of what was consumed
        self._envelope = envelope
        self._request = request
        self.peer: bytes | None = None
        self.over = False
        self.heard = False
        self.got_head = False
        self.granted = 0
        self.reading_since: float | None = now
        self.writing_since: float | None = None
        self._out: list[bytes] = []
        self._seq_in = 0
        self._seq_out = 0
        self._last_heard = now
        self._last_data = now
        self._last_room = now
        self._keep_alive_at = now + KEEP_ALIVE_INTERVAL
        self._taken_by = now + _seconds(timeout.pool)
        self._read_limit = _seconds(timeout.read)
        self._write_limit = _seconds(timeout.write)
        self._ends_at = (now if started is None else started) + _seconds(timeout.total) + GRACE

    # -- packets

    def receive(self, answer: Answer, now: float) -> list[Event]:
        """What a packet of the daemon means."""
        if self.over:
            return []
        if answer.seq is not None:
            if answer.seq != self._seq_in:
                text = f"a packet was lost: seq {answer.seq} where {self._seq_in} was due"
                self.cancel()
                return [self._failed(errors.GatewayLost(text, error="gateway-lost"))]
            self._seq_in += 1
        self._last_heard = now
        self.heard = True
        if self.peer is None and answer.sender:
            self.peer = answer.sender
        events: list[Event] = []
        if answer.type is None:
            self._last_data = now
            self._receive_data(answer, events)
        elif answer.type == b"error":
            events.append(self._ended_by(answer))
        elif answer.type == b"cancel":
            text = "the gateway has given up the request"
            events.append(self._failed(errors.GatewayLost(text, error="gateway-lost")))
        else:
            self._receive_other(answer, events)
        if answer.credits and not self.over:
            self.granted += answer.credits
            self._last_room = now
            events.append(Room())
        return events

    def _receive_data(self, answer: Answer, events: list[Event]) -> None:
        raise NotImplementedError

    def _receive_other(self, answer: Answer, events: list[Event]) -> None:
        """Credit, keep-alive, and what a WebSocket has."""

    def _ended_by(self, answer: Answer) -> Failed:
        """What an error packet means."""
        condition = (answer.condition or b"undefined-condition").decode("utf-8", "replace")
        return self._failed(error_of(condition, answer.ext, self._request))

    def _failed(self, error: errors.ZurlError) -> Failed:
        self.over = True
        if error.request is None:
            error.request = self._request
        return Failed(error)

    def packets_to_send(self) -> list[bytes]:
        """Later packets that are due. They go to ``peer``."""
        if self.peer is None or not self._out:
            return []
        packets, self._out = self._out, []
        return packets

    def _send(self, fields: dict[str, Any]) -> None:
        fields["seq"] = self._seq_out
        self._seq_out += 1
        self._out.append(self._envelope.encode(fields))

    def grant_is_due(self) -> bool:
        """Whether so much was consumed that the daemon should be told."""
        return self.consumed + self._swallowed - self._credited >= self._window // _GRANT_SHARE

    def grant(self) -> None:
        """Let the daemon send as much more as was consumed."""
        due = self.consumed + self._swallowed - self._credited
        if due > 0 and not self.over:
            self._credited += due
            self._send({"type": b"credit", "credits": due})

    def cancel(self) -> None:
        """Give up. Where the daemon's name is not known yet, its first packet will be told so."""
        if not self.over:
            self.over = True
            self._out = []
            self._send({"type": b"cancel"})

    def fail(self, error: errors.ZurlError) -> Failed | None:
        """End because of something that no packet told of; None if it is over already."""
        return None if self.over else self._failed(error)

    # -- time

    def deadline(self, now: float) -> float:
        """When ``expire`` is to be called next."""
        when = min(self._ends_at, self._keep_alive_at)
        if not self.heard:
            return min(when, self._taken_by)
        return min(when, self._last_heard + EXPIRY, self._silence_ends(now), self._jam_ends(now))

    def _silence_ends(self, now: float) -> float:
        """When the origin has said nothing for too long, while somebody waited for it."""
        since = self.reading_since
        return (now if since is None else max(since, self._last_data)) + self._read_limit

    def _jam_ends(self, now: float) -> float:
        """When the origin has taken nothing for too long, while somebody had more for it."""
        since = self.writing_since
        return (now if since is None else max(since, self._last_room)) + self._write_limit

    def expire(self, now: float) -> list[Event]:
        """What the time that went by means."""
        if self.over:
            return []
        if now >= self._ends_at:
            return self._give_up(errors.ReadTimeout("the whole time allowed is over"))
        if not self.heard and now >= self._taken_by:
            return self._give_up(
                errors.PoolTimeout(
                    "the gateway has not taken the request: it has as many as it may"
                )
            )
        if self.heard and now >= self._last_heard + EXPIRY:
            text = f"nothing was heard of the gateway for {EXPIRY:.0f} seconds"
            return self._give_up(errors.GatewayLost(text))
        if self.heard and self.reading_since is not None and now >= self._silence_ends(now):
            text = f"nothing came for {self._read_limit:g} seconds"
            return self._give_up(errors.ReadTimeout(text))
        if self.heard and self.writing_since is not None and now >= self._jam_ends(now):
            text = f"the origin took nothing for {self._write_limit:g} seconds"
            return self._give_up(errors.WriteTimeout(text))
        if now >= self._keep_alive_at:
            self._keep_alive_at = now + KEEP_ALIVE_INTERVAL
            if self.heard:
                self._send({"type": b"keep-alive"})
        return []

    def _give_up(self, error: errors.ZurlError) -> list[Event]:
        row = type(error)
        error.error = _OWN_ERRORS[row]
        error.args = (f"{self._request.method} {self._request.url}: {error}",)
        self.cancel()
        return [self._failed(error)]


_OWN_ERRORS: Final[dict[type[errors.ZurlError], str]] = {
    errors.GatewayLost: "gateway-lost",
    errors.PoolTimeout: "pool-timeout",
    errors.ReadTimeout: "read-timeout",
    errors.WriteTimeout: "write-timeout",
}


def _seconds(limit: float | None) -> float:
    return math.inf if limit is None else limit


class HttpExchange(Exchange):
    """An HTTP request and its answer.

    Attributes:
        uploads: the body goes in parts.
    """

    def __init__(
        self,
        envelope: Envelope,
        request: Request,
        now: float,
        started: float | None = None,
    ) -> None:
        window = request.options.get("credits", WINDOW)
        super().__init__(envelope, request, now, started, window)
        self.uploads = request.body.streams
        if self.uploads:
            self.reading_since = None  # nothing is due before the upload is over

    def first_packet(self) -> bytes:
        """What starts the session."""
        request = self._request
        fields = first_fields(request)
        fields["stream"] = True
        fields["credits"] = self._window
        if "user_data" in request.options:
            fields["user-data"] = request.options["user_data"]
        if request.timeout.total is not None:
            fields["timeout"] = milliseconds(request.timeout.total)
        if self.uploads:
            fields["more"] = True
        elif request.body.whole:
            fields["body"] = request.body.whole
        fields["seq"] = 0
        self._seq_out = 1
        return self._envelope.encode(fields)

    def send_body(self, data: bytes, more: bool) -> None:
        """A part of the request's body; the caller keeps to ``granted``."""
        fields: dict[str, Any] = {"body": data}
        if more:
            fields["more"] = True
        self._send(fields)

    def _receive_data(self, answer: Answer, events: list[Event]) -> None:
        if not self.got_head:
            if answer.code is None:
                text = "the gateway's answer has no status"
                events.append(self._failed(errors.GatewayLost(text, error="gateway-lost")))
                return
            self.got_head = True
            head = Head(answer.code, answer.reason, answer.headers, answer.ext)
            events.append(Opened(head))
        if answer.body:
            events.append(Data(answer.body))
        if not answer.more:
            self.over = True
            events.append(Ended(answer.ext))
