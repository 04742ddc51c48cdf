"""The worker's side of a ZHTTP session: packets in, events out, packets to send, a deadline.

There is no I/O and no clock here. An exchange changes by ``receive`` (a packet has come),
``expire`` (time has passed) and the methods of its kind. After each of these, ``packets_to_send``
returns packets for the daemon, and ``deadline`` says when to call ``expire``.

The first packet goes to any daemon. Later packets have to go to the daemon that has answered it,
whose name is known from the answer; until then they are held.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ..zhttp import Endpoint, Format, PeerProtocolError, RequestPacket, ResponsePacket
from ..zhttp.session import SESSION_EXPIRY
from . import errors
from .failures import error_of
from .request import Request, first_packet
from .response import Head

__all__ = [
    "WINDOW",
    "Data",
    "Ended",
    "Event",
    "Exchange",
    "Failed",
    "HttpExchange",
    "Opened",
    "Room",
    "Sender",
    "head_of",
]

WINDOW: Final = 400_000  # bytes of body that the daemon may send before they are read
GRACE: Final = 0.5  # seconds by which the daemon's own session-timeout may be late

_VERDICT: Final = 0.5  # seconds that a connect-timeout may come after the limit for reading
_GRANT_SHARE: Final = 2  # credits are granted when half of the window was read


@dataclass(frozen=True, slots=True)
class Sender:
    """Address and id in the packets of a session.

    Attributes:
        address: ``from``; None where the answer needs none.
        id: of the session; None for fire and forget.
    """

    format: Format
    address: bytes | None
    id: bytes | None


@dataclass(slots=True)
class Opened:
    """The answer's head has come."""

    head: Head


@dataclass(slots=True)
class Data:
    """A part of the body, or a WebSocket's message or a part of one."""

    body: bytes
    binary: bool = False
    more: bool = False


@dataclass(slots=True)
class Room:
    """There are credits for more data."""


@dataclass(slots=True)
class Ended:
    """The exchange has ended successfully."""

    ext: dict[str, Any]


@dataclass(slots=True)
class Failed:
    """The exchange has failed.

    Attributes:
        begun: False: the daemon says that it has not begun the request.
    """

    error: errors.ZurlError
    begun: bool = field(default=True, kw_only=True)


Event = object
"""One of the classes above, or of a WebSocket's own."""


class Exchange:
    """The common part of all sessions: its endpoint, time limits, and end.

    Args:
        sender: address and id.
        packet: the first packet, without those.
        request: the request, with its timeouts.
        now: seconds, of any clock.
        started: time when the call began, from which its total timeout counts.
        patience: seconds until the daemon has to accept the request.
        window: bytes that the daemon may send before they are ``consumed``.

    Attributes:
        first: the first packet, encoded.
        heard: the daemon has accepted the request.
        got_head: the answer's head has come.
        granted: total of bytes that may be sent; grows with the daemon's credits.
        reading_since: time since when a caller waits for more of the answer; None: none does.
        writing_since: time since when a caller waits to send more of the body; None: none does.
            The caller sets both, in any thread.
        consumed: bytes of body that were read. The reader sets it, in any thread; ``grant`` reports
            it to the daemon.
    """

    def __init__(
        self,
        sender: Sender,
        packet: RequestPacket,
        request: Request,
        now: float,
        started: float,
        patience: float,
        window: int = WINDOW,
    ) -> None:
        packet.format, packet.sender, packet.id = sender.format, sender.address, sender.id
        packet.credits = window
        self._endpoint, self.first = Endpoint.open(packet, now, patience)
        self._request = request
        self._window = window
        self.heard = False
        self.got_head = False
        self.granted = 0
        self.consumed = 0
        self._swallowed = 0  # bytes that cost credits, but are not for the reader
        self._credited = 0  # bytes for which credits were granted
        self.reading_since: float | None = now
        self.writing_since: float | None = None
        self._last_data = now
        self._last_room = now
        self._out: list[bytes] = []
        timeout = request.timeout
        self._read_limit = _seconds(timeout.read)
        # The gateway does not report when it is connected. Its connect-timeout should come first.
        self._first_limit = self._read_limit + (
            0.0 if timeout.connect is None else min(timeout.connect, _VERDICT)
        )
        self._write_limit = _seconds(timeout.write)
        self._ends_at = started + _seconds(timeout.total) + GRACE

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._endpoint!r} consumed={self.consumed}>"

    @property
    def over(self) -> bool:
        """Whether no event comes any more."""
        return self._endpoint.closed

    @property
    def peer(self) -> bytes | None:
        """The daemon's name, once known."""
        return self._endpoint.peer

    def meet(self, peer: bytes) -> None:
        """Set the daemon's name, where it is known from another session."""
        self._endpoint.peer = peer

    # -- packets

    def receive(self, packet: ResponsePacket, now: float) -> list[Event]:
        """Handle a packet of the daemon; returns events."""
        if self.over:
            return []
        try:
            self._endpoint.receive(packet, packet.seq, now)
        except PeerProtocolError as error:
            self.cancel(now)
            return [self._failed(_lost(f"a packet was lost: {error.reason}"))]
        self.heard = True
        events: list[Event] = []
        if packet.type is None:
            self._last_data = now
            self._receive_data(packet, events, now)
        elif packet.type == b"error":
            events.append(self._ended_by(packet))
        elif packet.type == b"cancel":
            events.append(self._failed(_lost("the gateway has given up the request")))
        else:
            self._receive_other(packet, events, now)
        if packet.credits and not self.over:
            self.granted += packet.credits
            self._last_room = now
            events.append(Room())
        return events

    def _receive_data(self, packet: ResponsePacket, events: list[Event], now: float) -> None:
        raise NotImplementedError

    def _receive_other(self, packet: ResponsePacket, events: list[Event], now: float) -> None:
        """Handle credit, keep-alive, and a WebSocket's packets."""

    def _ended_by(self, packet: ResponsePacket) -> Failed:
        """The event for an error packet."""
        condition = (packet.condition or b"undefined-condition").decode("utf-8", "replace")
        error, detail = _text(packet.error), _text(packet.detail)
        failed = self._failed(error_of(condition, error, detail, self._request))
        failed.begun = ext_of(packet).get("begun") is not False
        return failed

    def _failed(self, error: errors.ZurlError) -> Failed:
        self._endpoint.close()
        if error.request is None:
            error.request = self._request
        return Failed(error)

    def packets_to_send(self) -> list[bytes]:
        """Later packets to send to ``peer``."""
        if self.peer is None or not self._out:
            return []
        packets, self._out = self._out, []
        return packets

    def _send(self, fields: dict[str, Any], now: float) -> None:
        if not self.over:
            self._out.append(self._endpoint.send(fields, now))

    def grant_is_due(self) -> bool:
        """Whether enough was consumed to grant new credits."""
        read = self.consumed + self._swallowed
        return read - self._credited >= self._window // _GRANT_SHARE

    def grant(self, now: float) -> None:
        """Grant credits for the bytes that were consumed."""
        due = self.consumed + self._swallowed - self._credited
        if due > 0:
            self._credited += due
            self._send({"type": b"credit", "credits": due}, now)

    def cancel(self, now: float) -> None:
        """Cancel the session. If the daemon's name is not known yet, its first packet is answered
        with ``cancel``.
        """
        if not self.over:
            self._out = []
            self._send({"type": b"cancel"}, now)

    def fail(self, error: errors.ZurlError) -> Failed | None:
        """End with an error that came by no packet; None if it is over already."""
        return None if self.over else self._failed(error)

    # -- time

    def deadline(self, now: float) -> float:
        """Time when ``expire`` is to be called next."""
        when = min(self._ends_at, self._endpoint.deadline)
        if not self.heard:
            return when
        return min(when, self._silence_ends(now), self._jam_ends(now))

    def _silence_ends(self, now: float) -> float:
        """Time when the wait for more of the answer times out."""
        since = self.reading_since
        limit = self._read_limit if self.got_head else self._first_limit
        return (now if since is None else max(since, self._last_data)) + limit

    def _jam_ends(self, now: float) -> float:
        """Time when the wait to send more of the body times out."""
        since = self.writing_since
        return (now if since is None else max(since, self._last_room)) + self._write_limit

    def expire(self, now: float) -> list[Event]:
        """Handle the time; returns events."""
        if self.over:
            return []
        error = self._expired(now)
        if error is not None:
            error.args = (f"{self._request.method} {self._request.shown_url}: {error}",)
            self.cancel(now)
            return [self._failed(error)]
        if self._endpoint.keep_alive_due(now):
            self._send({"type": b"keep-alive"}, now)
        return []

    def _expired(self, now: float) -> errors.ZurlError | None:
        if now >= self._ends_at:
            return _too_late("total-timeout", "the whole time allowed is over")
        if self._endpoint.expired(now):
            if self.heard:
                return _lost(f"nothing was heard of the gateway for {SESSION_EXPIRY:.0f} seconds")
            return self._not_taken()
        if self.heard and self.reading_since is not None and now >= self._silence_ends(now):
            return _too_late("read-timeout", f"nothing came for {self._read_limit:g} seconds")
        if self.heard and self.writing_since is not None and now >= self._jam_ends(now):
            text = f"the origin took nothing for {self._write_limit:g} seconds"
            return errors.WriteTimeout(text, error="write-timeout")
        return None

    def _not_taken(self) -> errors.ZurlError:
        text = "the gateway has not taken the request: it has as many as it may"
        return errors.PoolTimeout(text, error="pool-timeout")


def _too_late(name: str, text: str) -> errors.ZurlError:
    """The error with which the gateway reports its own timeout, which is for the whole request."""
    return error_of("session-timeout", name, text)


def _lost(text: str) -> errors.GatewayLost:
    return errors.GatewayLost(text, error="gateway-lost")


def _seconds(limit: float | None) -> float:
    return math.inf if limit is None else limit


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")


def head_of(packet: ResponsePacket) -> Head:
    """The head in a packet."""
    headers = packet.headers if isinstance(packet.headers, list) else list(packet.headers)
    return Head(packet.code or 0, packet.reason or b"", headers, ext_of(packet))


def ext_of(packet: ResponsePacket) -> dict[str, Any]:
    """A packet's ``ext``, with text as ``str`` in every format."""
    return {name: _plain(value) for name, value in packet.ext.items()} if packet.ext else {}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Mapping):
        return {_plain(key): _plain(content) for key, content in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(content) for content in value]
    return value


class HttpExchange(Exchange):
    """An HTTP request and its answer.

    Attributes:
        uploads: the body is sent in parts.
    """

    def __init__(
        self,
        sender: Sender,
        request: Request,
        now: float,
        started: float | None = None,
    ) -> None:
        packet = first_packet(request)
        packet.stream = True
        self.uploads = request.body.streams
        if self.uploads:
            packet.more = True
        elif request.body.whole:
            packet.body = request.body.whole
        started = now if started is None else started
        # Over in_req_spec no packet comes before the answer: the read timeout runs from the start.
        answered_once = sender.address is None
        patience = math.inf if answered_once else _seconds(request.timeout.pool)
        window = request.options.get("credits", WINDOW)
        super().__init__(sender, packet, request, now, started, patience, window)
        self.heard = answered_once
        if self.uploads:
            self.reading_since = None  # no answer is expected before the upload is over

    def send_body(self, data: bytes, more: bool, now: float) -> None:
        """Send a part of the request's body; the caller does not exceed ``granted``."""
        fields: dict[str, Any] = {"body": data}
        if more:
            fields["more"] = True
        self._send(fields, now)

    def _receive_data(self, packet: ResponsePacket, events: list[Event], now: float) -> None:
        if not self.got_head:
            if packet.code is None:
                events.append(self._failed(_lost("the gateway's answer has no status")))
                return
            self.got_head = True
            events.append(Opened(head_of(packet)))
        if packet.body:
            events.append(Data(packet.body))
        if not packet.more:
            events.append(Ended(ext_of(packet)))
