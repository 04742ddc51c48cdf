"""One request, as it is shared by its caller and the hub; the same for threads and tasks."""

from __future__ import annotations

from collections import deque
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from . import errors
from .exchange import Data, Ended, Event, Exchange, Failed, HttpExchange, Opened, Sender
from .request import Request, first_packet
from .response import Head
from .running import Runtime, Signal

if TYPE_CHECKING:
    from .hub import Hub
    from .link import Link

__all__ = ["Call", "HttpCall", "Note"]

_IDEMPOTENT: Final = frozenset(("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"))
"""RFC 9110 section 9.2.2."""

_LARGEST_PIECE: Final = 100_000  # bytes of body in one packet
_MOST_AHEAD: Final = 1000  # packets that ZeroMQ has not taken: small ones cost few credits


class Call:
    """A request: what the hub needs for it, and what it has received for the caller.

    Attributes:
        request: the request itself.
        signal: set when there is something for the caller.
        started: time when it began, by the hub's clock.
        expects_answer: False for fire and forget.
        id: of its session.
        link: to the daemon that it was sent to.
        exchange: its session; another one after it was repeated.
        packet: the first packet, while it waits for room.
        sent: the first packet was given to ZeroMQ.
        over: the exchange has ended.
        error: why it failed, if it did.
        head: of the answer, once it has come.
    """

    expects_answer = True

    def __init__(self, hub: Hub, request: Request, runtime: Runtime) -> None:
        self._hub = hub
        self.request = request
        self.signal = runtime.signal()
        self.started = hub.clock()
        self.id: bytes | None = None
        self.link: Link | None = None
        self.exchange: Exchange | None = None
        self.packet: bytes | None = None
        self.sent = False
        self.over = False
        self.error: errors.ZurlError | None = None
        self.head: Head | None = None
        self.repeated = False
        self._packets = 0  # later packets with data
        self._taken = True  # ZeroMQ has all that there were when this was last asked

    def __repr__(self) -> str:
        state = "over" if self.over else "sent" if self.sent else "waiting"
        return f"<{type(self).__name__} {self.request!r} {state} error={self.error!r}>"

    # -- for the hub, in its thread ------------------------------------------------------------

    def begin(self, sender: Sender, now: float) -> bytes:
        """Make the session; returns its first packet. Called again if the request is repeated."""
        raise NotImplementedError

    def deliver(self, event: Event) -> bool:
        """Handle an event. Returns whether to wake the caller."""
        if isinstance(event, Failed):
            self.error = event.error
            self.over = True
        return True

    @property
    def may_be_repeated(self) -> bool:
        """Whether it can safely be sent to another daemon, although one may have begun it."""
        return False

    def repeat(self, begun: bool = True) -> None:
        """Prepare to send it to another daemon, once if one may have ``begun`` it."""
        self.repeated = self.repeated or begun
        self.id = self.exchange = self.link = self.packet = None
        self.sent = False

    def finish(self) -> None:
        """End the call: everything was done."""
        self.over = True

    def _ask_taken(self, signal: Signal) -> None:
        def tell() -> None:
            self._taken = True
            self._hub.wake(signal)

        if self.link is None:
            tell()
        else:
            self.link.when_taken(tell)

    # -- for the caller ------------------------------------------------------------------------

    def _runs_ahead(self, signal: Signal) -> bool:
        """Count a packet. Returns whether to wait for the signal until ``_taken`` before it."""
        self._packets += 1
        if self._packets % _MOST_AHEAD:
            return False
        self._taken = False
        self._hub.post(self._ask_taken, signal)
        return True

    async def _wait(self) -> None:
        """Wait for an event; if the wait is cancelled, so is the call."""
        self._hub.check_process()
        try:
            await self.signal.wait()
        except BaseException:
            self.cancel()
            raise

    def cancel(self) -> None:
        """Cancel the session at the daemon, unless it is over, or another process's."""
        if not self.over and not self._hub.inherited:
            self._hub.post(self._hub.cancel, self)


class HttpCall(Call):
    """An HTTP request.

    Args:
        whole: wake the caller only once, when the answer is complete.

    Attributes:
        last_ext: ``ext`` of the last packet.
    """

    exchange: HttpExchange | None

    def __init__(self, hub: Hub, request: Request, runtime: Runtime, whole: bool) -> None:
        super().__init__(hub, request, runtime)
        self._whole = whole
        self._parts: deque[bytes] = deque()
        self.last_ext: dict[str, Any] = {}

    # -- for the hub, in its thread ------------------------------------------------------------

    def begin(self, sender: Sender, now: float) -> bytes:
        self.exchange = HttpExchange(sender, self.request, now, self.started)
        return self.exchange.first

    def deliver(self, event: Event) -> bool:
        if isinstance(event, Data):
            self._parts.append(event.body)
            if self._whole:
                self._consume(event.body)
                self._grant()
                return False
            return True
        if isinstance(event, Opened):
            self.head = event.head
            return not self._whole
        if isinstance(event, Ended):
            self.last_ext = event.ext
            self.over = True
            return True
        return super().deliver(event)

    @property
    def may_be_repeated(self) -> bool:
        exchange = self.exchange
        return (
            self.request.method.upper() in _IDEMPOTENT
            and not self.repeated
            and exchange is not None
            and not exchange.got_head
            and not exchange.uploads
        )

    def _grant(self) -> None:
        exchange = self.exchange
        if exchange is not None and exchange.grant_is_due():
            exchange.grant(self._hub.clock())
            self._hub.send_later(self)

    def _give_up(self) -> None:
        """Cancel; whoever still reads the answer, or tries to, gets an error."""
        if not self.over:
            self._hub.cancel(self)
            text = "the answer was closed, or a read of it cancelled, before its end"
            self.deliver(Failed(errors.StreamError(text, request=self.request)))
            self._hub.wake(self.signal)

    # -- for the caller ------------------------------------------------------------------------

    def cancel(self) -> None:
        if not self.over and not self._hub.inherited:
            self._hub.post(self._give_up)

    async def open(self) -> Head:
        """Send the request, with its body, and wait for the answer's head."""
        self._hub.post(self._hub.start, self)
        if self.request.body.streams:
            await self._upload()
        while self.head is None or (self._whole and not self.over):
            over = self.over
            if self.error is not None:
                raise self.error
            if not over:
                await self._wait()
        if self.error is not None and self._whole:
            raise self.error
        self._expect(None)
        return self.head

    def take_all(self) -> bytes:
        """The body of a complete answer."""
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        return body

    async def next(self) -> bytes | None:
        """The next part of the body; None at its end."""
        while True:
            over = self.over  # read this first: parts may come before the end
            if self._parts:
                part = self._parts.popleft()
                self._consume(part)
                exchange = self.exchange
                if exchange is not None and exchange.grant_is_due() and not over:
                    self._hub.post(self._grant)
                return part
            if over:
                if self.error is not None:
                    raise self.error
                return None
            self._expect(self._hub.clock())
            try:
                await self._wait()
            finally:
                self._expect(None)

    def _consume(self, part: bytes) -> None:
        if self.exchange is not None:
            self.exchange.consumed += len(part)

    def _expect(self, since: float | None) -> None:
        if self.exchange is not None:
            self.exchange.reading_since = since

    async def _upload(self) -> None:
        """Send the body as the origin accepts it, unless the answer ends before that."""
        sent = 0
        try:
            async with aclosing(self.request.body.iterate()) as pieces:
                async for piece in pieces:
                    sent += await self._upload_piece(piece, sent)
                    if self.over:
                        return
        except BaseException:
            self.cancel()
            raise
        if await self._room(sent, at_least=0) >= 0:
            self._hub.post(self._send_body, b"", False)
            self._expect(self._hub.clock())

    async def _upload_piece(self, piece: bytes, sent: int) -> int:
        """Send a piece of the body, after ``sent`` earlier bytes. Returns how many were sent."""
        rest = memoryview(piece)
        begun = sent
        while rest and not self.over:
            room = await self._room(sent)
            part = bytes(rest[: min(room, _LARGEST_PIECE)])
            rest = rest[len(part) :]
            sent += len(part)
            if part:
                if self._runs_ahead(self.signal):
                    while not (self._taken or self.over):
                        await self._wait()
                self._hub.post(self._send_body, part, True)
        return sent - begun

    async def _room(self, sent: int, at_least: int = 1) -> int:
        """Wait until bytes may be sent; returns their number, 0 or less if the call is over."""
        while not self.over:
            exchange = self.exchange
            if exchange is not None and exchange.granted - sent >= at_least and exchange.heard:
                return exchange.granted - sent
            if exchange is not None:
                exchange.writing_since = self._hub.clock()
            await self._wait()
            if exchange is not None:
                exchange.writing_since = None
        return 0

    def _send_body(self, part: bytes, more: bool) -> None:
        exchange = self.exchange
        if exchange is not None and not exchange.over:
            exchange.send_body(part, more, self._hub.clock())
            self._hub.send_later(self)


class Note(Call):
    """A fire-and-forget request."""

    expects_answer = False

    def begin(self, sender: Sender, now: float) -> bytes:
        packet = first_packet(self.request)
        packet.format = sender.format
        packet.body = self.request.body.whole
        return packet.encode()

    async def post(self) -> None:
        """Send it; returns when it was given to ZeroMQ."""
        self._hub.post(self._hub.start, self)
        while not self.over:
            await self._wait()
        if self.error is not None:
            raise self.error
