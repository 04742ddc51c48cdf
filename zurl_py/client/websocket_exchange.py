"""The worker's side of a WebSocket session of ZHTTP: messages in, events out. Without I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from ..zhttp import ResponsePacket
from . import errors
from .exchange import WINDOW, Data, Event, Exchange, Failed, Opened, Sender, head_of
from .failures import error_of
from .request import Request, first_packet
from .response import Head

__all__ = ["Closed", "Pong", "Rejected", "WebSocketExchange"]

_SWITCHING: Final = 101
_NO_CODE: Final = 1005  # RFC 6455 section 7.4.1


@dataclass(slots=True)
class Pong:
    """The origin has answered a ping."""

    payload: bytes


@dataclass(slots=True)
class Closed:
    """The closing handshake is complete, and the exchange has ended."""

    code: int
    reason: str


@dataclass(slots=True)
class Rejected(Failed):
    """The origin answered the handshake with a status other than 101."""

    head: Head
    body: bytes


class WebSocketExchange(Exchange):
    """From the handshake to the close frames of both sides.

    Attributes:
        close_sent: our close frame was sent.
    """

    def __init__(
        self,
        sender: Sender,
        request: Request,
        now: float,
        started: float | None = None,
    ) -> None:
        packet = first_packet(request, websocket=True)
        packet.auto_pong = True  # the daemon answers pings, if it can
        self.close_sent = False
        started = now if started is None else started
        # The daemon sends nothing before the handshake is over.
        read = request.timeout.read
        patience = math.inf if read is None else read
        window = request.options.get("credits", WINDOW)
        super().__init__(sender, packet, request, now, started, patience, window)

    def _not_taken(self) -> errors.ZurlError:
        return error_of("session-timeout", "read-timeout", "the handshake took too long")

    # -- to the origin

    def send_data(self, data: bytes, binary: bool, more: bool, now: float) -> None:
        """Send a message, or a part of one; the caller does not exceed ``granted``."""
        fields: dict[str, Any] = {"body": data}
        if binary:
            fields["content-type"] = b"binary"
        if more:
            fields["more"] = True
        self._send(fields, now)

    def send_ping(self, payload: bytes, now: float) -> None:
        """Send a ping."""
        self._send({"type": b"ping", "body": payload}, now)

    def send_pong(self, payload: bytes, now: float) -> None:
        """Send a pong."""
        self._send({"type": b"pong", "body": payload}, now)

    def send_close(self, code: int | None, reason: str, now: float) -> None:
        """Send our close frame; no frame can be sent after it."""
        if self.close_sent or self.over:
            return
        self.close_sent = True
        fields: dict[str, Any] = {"type": b"close"}
        if code is not None and code != _NO_CODE:
            fields["code"] = code
            fields["body"] = reason.encode()
        self._send(fields, now)

    # -- from the origin

    def _receive_data(self, packet: ResponsePacket, events: list[Event], now: float) -> None:
        if self.got_head:
            events.append(Data(packet.body, packet.content_type == b"binary", packet.more))
            return
        if packet.code != _SWITCHING:
            text = f"the gateway answers a WebSocket's handshake with {packet.code}"
            events.append(self._failed(errors.GatewayLost(text, error="gateway-lost")))
            return
        self.got_head = True
        self.reading_since = None  # a WebSocket may be silent
        self._ends_at = math.inf
        # A frame is sent as a whole: let one of the largest size come, whatever was not read yet.
        missing = 2 * (packet.credits or 0) - self._window
        if missing > 0:
            self._window += missing
            self._send({"type": b"credit", "credits": missing}, now)
        events.append(Opened(head_of(packet)))

    def _receive_other(self, packet: ResponsePacket, events: list[Event], now: float) -> None:
        if packet.type == b"ping":
            self.send_pong(packet.body, now)
            self._swallowed += len(packet.body)
        elif packet.type == b"pong":
            events.append(Pong(packet.body))
            self._swallowed += len(packet.body)
        elif packet.type == b"close":
            code = _NO_CODE if packet.code is None else packet.code
            self.send_close(code, "", now)
            events.append(Closed(code, packet.body.decode("utf-8", "replace")))

    def _failed(self, error: errors.ZurlError) -> Failed:
        """The event for an error: once it is open, all errors are a closed connection."""
        failed = super()._failed(error)
        if not self.got_head:
            return failed
        kind = errors.ConnectionClosedError
        if isinstance(error, errors.GatewayLost):
            kind = errors.ConnectionLost
        closed = kind(
            f"the WebSocket was lost: {error}",
            condition=error.condition,
            error=error.error,
            detail=error.detail,
            request=error.request,
        )
        closed.reason = error.detail or ""
        return Failed(closed)

    def _ended_by(self, packet: ResponsePacket) -> Failed:
        failed = super()._ended_by(packet)
        if packet.condition != b"rejected":
            return failed
        return Rejected(failed.error, head_of(packet), packet.body)
