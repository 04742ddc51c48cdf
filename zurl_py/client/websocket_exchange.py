"""A WebSocket as a session of ZHTTP: messages in, events out. Does no I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from . import errors
from .exchange import Data, Event, Exchange, Failed, Opened
from .packets import Answer
from .request import first_fields, milliseconds
from .response import Head

__all__ = ["Closed", "Pong", "Rejected", "WebSocketExchange"]

_SWITCHING: Final = 101
_NO_CODE: Final = 1005  # RFC 6455 section 7.4.1


@dataclass(slots=True)
class Pong:
    """The origin answers a ping."""

    payload: bytes


@dataclass(slots=True)
class Closed:
    """The closing handshake is over; the exchange too."""

    code: int
    reason: str


@dataclass(slots=True)
class Rejected(Failed):
    """The origin answered the handshake with something other than 101."""

    head: Head
    body: bytes


class WebSocketExchange(Exchange):
    """From the handshake to the close frames of both sides.

    Attributes:
        close_sent: our close frame is on its way.
    """

    close_sent = False

    def first_packet(self) -> bytes:
        """What starts the session."""
        request = self._request
        fields = first_fields(request, websocket=True)
        fields["credits"] = self._window
        # The daemon answers pings, if it can; it is nearer.
        fields["ext"] = {"auto-pong": True, **fields.get("ext", {})}
        if request.timeout.total is not None:
            fields["timeout"] = milliseconds(request.timeout.total)
        fields["seq"] = 0
        self._seq_out = 1
        # Nothing is heard of the daemon before the handshake is over.
        self._taken_by = min(math.inf, self._last_heard + self._read_limit)
        return self._envelope.encode(fields)

    # -- to the origin

    def send_data(self, data: bytes, binary: bool, more: bool) -> None:
        """A message, or a part of one; the caller keeps to ``granted``."""
        fields: dict[str, Any] = {"body": data}
        if binary:
            fields["content-type"] = b"binary"
        if more:
            fields["more"] = True
        self._send(fields)

    def send_ping(self, payload: bytes) -> None:
        """A ping."""
        self._send({"type": b"ping", "body": payload})

    def send_pong(self, payload: bytes) -> None:
        """A pong."""
        self._send({"type": b"pong", "body": payload})

    def send_close(self, code: int | None, reason: str) -> None:
        """Our close frame; nothing can be sent after it."""
        if self.close_sent or self.over:
            return
        self.close_sent = True
        fields: dict[str, Any] = {"type": b"close"}
        if code is not None and code != _NO_CODE:
            fields["code"] = code
            fields["body"] = reason.encode()
        self._send(fields)

    # -- from the origin

    def _receive_data(self, answer: Answer, events: list[Event]) -> None:
        if self.got_head:
            events.append(Data(answer.body, answer.content_type == b"binary", answer.more))
            return
        if answer.code != _SWITCHING:
            text = f"the gateway answers a WebSocket's handshake with {answer.code}"
            events.append(self._failed(errors.GatewayLost(text, error="gateway-lost")))
            return
        self.got_head = True
        self.reading_since = None  # a WebSocket may be silent
        self._ends_at = math.inf
        # A frame comes whole, if at all: let one of the largest come, whatever is not read yet.
        missing = 2 * answer.credits - self._window
        if missing > 0:
            self._window += missing
            self._send({"type": b"credit", "credits": missing})
        events.append(Opened(Head(answer.code, answer.reason, answer.headers, answer.ext)))

    def _receive_other(self, answer: Answer, events: list[Event]) -> None:
        if answer.type == b"ping":
            self._send({"type": b"pong", "body": answer.body})
            self._swallowed += len(answer.body)
        elif answer.type == b"pong":
            events.append(Pong(answer.body))
            self._swallowed += len(answer.body)
        elif answer.type == b"close":
            code = _NO_CODE if answer.code is None else answer.code
            reason = answer.body.decode("utf-8", "replace")
            self.send_close(code, "")
            self.over = True
            events.append(Closed(code, reason))

    def _failed(self, error: errors.ZurlError) -> Failed:
        """Once it is open, whatever ends it is a closed connection."""
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

    def _ended_by(self, answer: Answer) -> Failed:
        failed = super()._ended_by(answer)
        if answer.condition != b"rejected":
            return failed
        head = Head(answer.code or 0, answer.reason, answer.headers, answer.ext)
        return Rejected(failed.error, head, answer.body)
