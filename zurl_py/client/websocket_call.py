"""A WebSocket, as it is shared by its caller and the hub; the same for threads and tasks."""

from __future__ import annotations

import codecs
import threading
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Final

from . import errors
from .call import Call
from .exchange import Data, Event, Failed, Opened, Room, Sender
from .request import Request
from .response import Head
from .running import Runtime, Signal
from .websocket_exchange import Closed, Pong, Rejected, WebSocketExchange

if TYPE_CHECKING:
    from .hub import Hub

__all__ = ["MAX_SIZE", "Message", "Messages", "WebSocketCall"]

MAX_SIZE: Final = 1 << 20
"""Bytes of a message that are taken, unless said otherwise."""

CLOSE_TIMEOUT: Final = 10.0  # seconds for the origin to answer our close frame
_MOST_QUEUED: Final = 100_000  # frames that may wait to be read: empty ones cost no credits
_LARGEST_PIECE: Final = 100_000  # bytes of a message in one packet
_MOST_CONTROL: Final = 125  # bytes of a control frame's payload, RFC 6455 section 5.5
_FINE: Final = (1000, 1001, 1005)  # codes of a normal closure

Message = str | bytes | bytearray | memoryview
"""What can be sent: text as text, bytes as binary."""

_Verb = Callable[[WebSocketExchange, float], None]

Messages = Message | Iterable[Message] | AsyncIterable[Message]
"""A message, or the parts of one."""


class _Turns:
    """A lock for threads and tasks, so that the parts of a message are not interleaved."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._lock = threading.Lock()
        self._busy = False
        self._waiting: deque[Signal] = deque()

    async def enter(self) -> None:
        with self._lock:
            if not self._busy:
                self._busy = True
                return
            signal = self._runtime.signal()
            self._waiting.append(signal)
        try:
            await signal.wait()
        except BaseException:
            with self._lock:
                waits = signal in self._waiting
                if waits:
                    self._waiting.remove(signal)
            if not waits:  # it had the lock already
                self.leave()
            raise

    def leave(self) -> None:
        with self._lock:
            if not self._waiting:
                self._busy = False
                return
            signal = self._waiting.popleft()
        self._runtime.wake([signal])


class WebSocketCall(Call):
    """A WebSocket: what the hub needs for it, and what it has received for the caller.

    Args:
        max_size: bytes of a message; None is no limit.

    Attributes:
        rejected: the origin's answer, if it refused the handshake.
        close_code: once it is closed: code of the origin's close frame; 1006 if there was none.
        close_reason: text of that frame.
    """

    exchange: WebSocketExchange | None

    def __init__(self, hub: Hub, request: Request, runtime: Runtime, max_size: int | None) -> None:
        super().__init__(hub, request, runtime)
        self.runtime = runtime
        self.rejected: Rejected | None = None
        self.close_code: int | None = None
        self.close_reason: str | None = None
        self._max_size = max_size
        self._frames: deque[Data] = deque()
        self._room = runtime.signal()
        self._closers: list[Signal] = []
        self._sent = 0  # bytes
        self._sending = _Turns(runtime)
        self._receiving = False
        self._begun: list[bytes] = []  # parts of a message whose end has not come
        self._closing = False
        self._pings: deque[tuple[bytes, Callable[[bool], None]]] = deque()

    # -- for the hub, in its thread ------------------------------------------------------------

    def begin(self, sender: Sender, now: float) -> bytes:
        self.exchange = WebSocketExchange(sender, self.request, now, self.started)
        return self.exchange.first

    def deliver(self, event: Event) -> bool:
        if isinstance(event, Data):
            return self._deliver_frame(event)
        if isinstance(event, Room):
            self._hub.wake(self._room)
            return False
        if isinstance(event, Pong):
            self._match_pong(event.payload)
            self._grant()
            return False
        if isinstance(event, Opened):
            self.head = event.head
        elif isinstance(event, Closed):
            self._end(_closed(event.code, event.reason, self.request), event.code, event.reason)
        elif isinstance(event, Failed):
            if isinstance(event, Rejected):
                self.rejected = event
            self._end(event.error)
        return True

    def _deliver_frame(self, frame: Data) -> bool:
        exchange = self.exchange
        assert exchange is not None
        if self._closing:
            exchange.consumed += len(frame.body)
            self._grant()
            return False
        self._frames.append(frame)
        if len(self._frames) > _MOST_QUEUED:
            exchange.cancel(self._hub.clock())
            self._hub.send_later(self)
            text = f"more than {_MOST_QUEUED} frames wait to be read"
            self._end(errors.ConnectionClosedError(text, request=self.request))
        return True

    def _discard(self) -> None:
        """Grant credits and drop frames, so that the origin's close frame can come."""
        exchange = self.exchange
        while self._frames and exchange is not None:
            exchange.consumed += len(self._frames.popleft().body)
        self._grant()

    def _end(self, error: errors.ZurlError, code: int = 1006, reason: str = "") -> None:
        if self.over:
            return
        self.close_code, self.close_reason = code, reason
        self.error = error
        self.over = True
        for signal in (self.signal, self._room, *self._closers):
            self._hub.wake(signal)
        while self._pings:
            self._pings.popleft()[1](False)

    def _match_pong(self, payload: bytes) -> None:
        """Match a pong with the ping of its payload and earlier ones. Zurl drops payloads."""
        if payload and not any(payload == sent for sent, _ in self._pings):
            return
        while self._pings:
            sent, tell = self._pings.popleft()
            tell(True)
            if not payload or sent == payload:
                return

    def _grant(self) -> None:
        if self.exchange is not None and self.exchange.grant_is_due():
            self.exchange.grant(self._hub.clock())
            self._hub.send_later(self)

    def _do(self, verb: _Verb) -> None:
        exchange = self.exchange
        if exchange is not None and not exchange.over and not exchange.close_sent:
            verb(exchange, self._hub.clock())
            self._hub.send_later(self)

    def _do_ping(self, payload: bytes, tell: Callable[[bool], None]) -> None:
        if self.over:
            tell(False)
            return
        self._pings.append((payload, tell))
        self._do(lambda exchange, now: exchange.send_ping(payload, now))

    def _cut(self) -> None:
        self._hub.cancel(self)
        self._end(errors.ConnectionClosedError("the WebSocket was given up", request=self.request))

    # -- for the caller: opening and closing ---------------------------------------------------

    async def open(self) -> Head:
        """Wait for the handshake.

        Raises:
            InvalidStatus: the origin refused.
            ZurlError: there is no connection.
        """
        self._hub.post(self._hub.start, self)
        while self.head is None:
            if self.error is not None:
                raise self.error
            await self._wait()
        return self.head

    def cut(self) -> None:
        """Close at once, without a close frame."""
        if not self._hub.inherited:
            self._hub.post(self._cut)

    def fail(self, code: int, reason: str) -> errors.ConnectionClosedError:
        """Close with an error code. Returns the error for the caller."""
        error = errors.ConnectionClosedError(f"closed with {code}: {reason}", request=self.request)
        error.code, error.reason = code, reason
        self._closing = True
        self._frames.clear()
        self._hub.post(self._do, lambda exchange, now: exchange.send_close(code, reason, now))
        self._hub.post(self._end, error)
        self._hub.post(self._hub.cancel, self)
        return error

    def send_close(self, code: int, reason: str) -> None:
        """Send the close frame; further messages of the origin can be received."""
        _check_close(code, reason)
        if not self.over:
            self._hub.post(self._do, lambda exchange, now: exchange.send_close(code, reason, now))

    async def close(self, code: int, reason: str) -> None:
        """Send the close frame, and wait for the origin's."""
        _check_close(code, reason)
        if self.over:
            return
        self._closing = True
        signal = self.runtime.signal()
        self._closers.append(signal)
        self._hub.post(self._discard)
        self._hub.post(self._do, lambda exchange, now: exchange.send_close(code, reason, now))
        until = self._hub.clock() + CLOSE_TIMEOUT
        self._hub.post(self._hub.wake_at, until, signal)
        try:
            while not self.over and self._hub.clock() < until:
                await signal.wait()
        except BaseException:
            self.cut()
            raise
        if not self.over:
            self.cut()

    async def wait_closed(self) -> None:
        """Wait until it is closed, by whichever side."""
        self._hub.check_process()
        signal = self.runtime.signal()
        self._closers.append(signal)
        try:
            while not self.over:
                await signal.wait()
        finally:
            self._closers.remove(signal)

    # -- for the caller: receiving -------------------------------------------------------------

    async def recv(self, timeout: float | None = None, decode: bool | None = None) -> str | bytes:
        """The next message.

        Raises:
            TimeoutError: none was complete within ``timeout`` seconds; parts of one are kept.
            ConnectionClosed: none will come.
        """
        until = None if timeout is None else self._hub.clock() + timeout
        self._begin_receiving()
        try:
            while True:
                frame = await self._next_frame(until)
                self._begun.append(frame.body)
                if self._max_size is not None and sum(map(len, self._begun)) > self._max_size:
                    raise self.fail(1009, f"a message is larger than {self._max_size} bytes")
                if not frame.more:
                    data, self._begun = b"".join(self._begun), []
                    return self._decoded(data, not frame.binary if decode is None else decode)
        finally:
            self._receiving = False

    async def recv_streaming(self) -> AsyncIterator[str | bytes]:
        """The parts of the next message, as they come."""
        self._begin_receiving()
        try:
            decoder = codecs.getincrementaldecoder("utf-8")()
            while True:
                frame = await self._next_frame(None)
                if frame.binary:
                    yield frame.body
                else:
                    yield decoder.decode(frame.body, not frame.more)
                if not frame.more:
                    return
        finally:
            self._receiving = False

    def _begin_receiving(self) -> None:
        if self._receiving:
            raise RuntimeError("a message is being received already, in another thread or task")
        self._receiving = True

    def _decoded(self, data: bytes, text: bool) -> str | bytes:
        if not text:
            return data
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise self.fail(1007, f"text that is not UTF-8: {error}") from None

    async def _next_frame(self, until: float | None) -> Data:
        if until is not None:
            self._hub.post(self._hub.wake_at, until, self.signal)
        while True:
            over = self.over  # read this first: frames may come before the end
            frame = None if self._closing else self._take()
            if frame is not None:
                return frame
            if over or self._closing:
                raise self._ended()
            if until is not None and self._hub.clock() >= until:
                raise TimeoutError("no message came in time")
            self._hub.check_process()
            await self.signal.wait()

    def _take(self) -> Data | None:
        try:
            frame = self._frames.popleft()
        except IndexError:
            return None
        exchange = self.exchange
        if exchange is not None:
            exchange.consumed += len(frame.body)
            if exchange.grant_is_due():
                self._hub.post(self._grant)
        return frame

    def _ended(self) -> errors.ZurlError:
        if self.error is None:
            return errors.ConnectionClosedOK("the WebSocket is being closed", request=self.request)
        return self.error.with_traceback(None)

    # -- for the caller: sending ---------------------------------------------------------------

    async def send(self, message: Messages, text: bool | None = None) -> None:
        """Send a message, as far as there are credits; an iterable is one message in parts.

        Args:
            text: whether as text or as binary; None: by type.

        Raises:
            ConnectionClosed: it cannot be sent.
        """
        await self._sending.enter()
        begun = False
        try:
            pending: bytes | None = None
            async for part in _parts(message):
                if pending is not None:
                    begun = True
                    await self._send_part(pending, bool(text), more=True)
                if text is None:
                    text = isinstance(part, str)
                pending = part.encode() if isinstance(part, str) else bytes(part)
            if pending is not None:
                begun = len(pending) > _LARGEST_PIECE
                await self._send_part(pending, bool(text), more=False)
        except BaseException:
            if begun:  # the message cannot be completed
                self.cut()
            raise
        finally:
            self._sending.leave()

    async def _send_part(self, data: bytes, text: bool, more: bool) -> None:
        rest = memoryview(data)
        while True:
            if self._runs_ahead(self._room):
                while not (self._taken or self.over or self._closing):
                    await self._room.wait()
            room = await self._room_for(1 if rest else 0)
            piece = bytes(rest[: min(room, _LARGEST_PIECE)])
            rest = rest[len(piece) :]
            follows = more or bool(rest)
            self._sent += len(piece)
            self._hub.post(self._do, _data(piece, not text, follows))
            if not rest:
                return

    async def _room_for(self, least: int) -> int:
        while True:
            exchange = self.exchange
            if self.over or self._closing or exchange is None:
                raise self._ended()
            room = exchange.granted - self._sent
            if room >= least:
                return room
            self._hub.check_process()
            await self._room.wait()

    def ping(self, payload: bytes, tell: Callable[[bool], None]) -> None:
        """Send a ping.

        Args:
            tell: called in the hub's thread, with whether it was answered.
        """
        _check_control(payload)
        if self.over or self._closing:
            raise self._ended()
        self._hub.post(self._do_ping, payload, tell)

    def pong(self, payload: bytes) -> None:
        """Send an unsolicited pong."""
        _check_control(payload)
        if self.over or self._closing:
            raise self._ended()
        self._hub.post(self._do, lambda exchange, now: exchange.send_pong(payload, now))

    def wake(self, signal: Signal) -> None:
        """Set a signal; for the hub's thread only."""
        self._hub.wake(signal)


def _data(piece: bytes, binary: bool, more: bool) -> _Verb:
    return lambda exchange, now: exchange.send_data(piece, binary, more, now)


async def _parts(message: Messages) -> AsyncIterator[Message]:
    if isinstance(message, (str, bytes, bytearray, memoryview)):
        yield message
    elif isinstance(message, AsyncIterable):
        async for part in message:
            yield _checked(part)
    elif isinstance(message, Iterable) and not isinstance(message, dict):
        for part in message:
            yield _checked(part)
    else:
        raise _no_message(message)


def _checked(part: Message) -> Message:
    if not isinstance(part, (str, bytes, bytearray, memoryview)):
        raise _no_message(part)
    return part


def _no_message(what: object) -> TypeError:
    return TypeError(f"a message is text, bytes or parts of these, not {type(what).__name__}")


def _closed(code: int, reason: str, request: Request) -> errors.ConnectionClosed:
    kind = errors.ConnectionClosedOK if code in _FINE else errors.ConnectionClosedError
    error = kind(f"closed by {code} {reason}".rstrip(), request=request)
    error.code, error.reason = code, reason
    return error


def _check_control(payload: bytes) -> None:
    if len(payload) > _MOST_CONTROL:
        raise ValueError(f"a control frame has {len(payload)} bytes; {_MOST_CONTROL} are allowed")


def _check_close(code: int, reason: str) -> None:
    """Check code and reason of a close frame (RFC 6455 section 7.4)."""
    if not (1000 <= code < 1015 and code not in (1004, 1005, 1006)) and not 3000 <= code < 5000:
        raise ValueError(f"close code {code}: 1000 to 1003, 1007 to 1014, 3000 to 4999 may be sent")
    _check_control(b"  " + reason.encode())
