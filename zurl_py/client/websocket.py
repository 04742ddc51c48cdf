"""WebSockets, with the interface of the ``websockets`` library."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from typing import Any, Self

from . import errors
from .request import Request
from .response import Given, Head, Response
from .running import iterate, run
from .websocket_call import MAX_SIZE, Messages, WebSocketCall

__all__ = ["MAX_SIZE", "AsyncWebSocket", "OpeningWebSocket", "WebSocket", "open_websocket"]


async def open_websocket(call: WebSocketCall) -> None:
    """Wait for the handshake.

    Raises:
        InvalidStatus: the origin refused; it has the origin's answer.
    """
    try:
        await call.open()
    except errors.InvalidStatus as error:
        rejected = call.rejected
        if rejected is not None:
            error.response = _whole(call.request, rejected.head, rejected.body)
            status = f"{error.response.status_code} {error.response.reason}".rstrip()
            error.args = (f"{call.request.shown_url}: the origin refused the WebSocket: {status}",)
        raise


def _whole(request: Request, head: Head, body: bytes) -> Response:
    answer = Response(request, Given(head))
    answer._content = body
    return answer


class _WebSocket:
    """The common part of both kinds of WebSockets.

    Attributes:
        request: the request of the handshake.
        response: the origin's answer to it.
    """

    def __init__(self, call: WebSocketCall, client: object = None) -> None:
        assert call.head is not None
        self._call = call
        self._client = client  # kept, as it ends its WebSockets when it is garbage-collected
        self.request = call.request
        self.response = _whole(call.request, call.head, b"")

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was negotiated; None: there is none."""
        return self.response.headers.get("sec-websocket-protocol")

    @property
    def close_code(self) -> int | None:
        """Once it is closed: code of the origin's close frame; 1006 if there was none."""
        return self._call.close_code

    @property
    def close_reason(self) -> str | None:
        """Once it is closed: text of the origin's close frame."""
        return self._call.close_reason

    def __repr__(self) -> str:
        state = "open" if self.close_code is None else f"closed with {self.close_code}"
        return f"<{type(self).__name__} {self.request.shown_url} {state}>"


class WebSocket(_WebSocket):
    """A WebSocket. Any number of threads may send; only one at a time may receive."""

    def recv(self, timeout: float | None = None, decode: bool | None = None) -> str | bytes:
        """The next message: text as ``str``, binary as ``bytes``.

        Args:
            timeout: seconds; None is for ever.
            decode: True has binary as ``str``, too; False has text as ``bytes``.

        Raises:
            TimeoutError: none came in time.
            ConnectionClosed: none will come.
        """
        return run(self._call.recv(timeout, decode))

    def recv_streaming(self) -> Iterator[str | bytes]:
        """The parts of the next message, as they come."""
        return iterate(self._call.recv_streaming())

    def send(self, message: Messages, text: bool | None = None) -> None:
        """Send a message; returns when the gateway has room for it.

        Args:
            message: text, bytes, or an iterable of these: one message in parts.
            text: whether as text or as binary; None: by type.

        Raises:
            ConnectionClosed: it cannot be sent.
        """
        run(self._call.send(message, text))

    def ping(self, data: str | bytes | None = None) -> threading.Event:
        """Send a ping. The event is set when its pong comes, or the WebSocket is closed.

        Args:
            data: its payload; None is a random one.
        """
        answered = threading.Event()
        self._call.ping(_payload(data), lambda _: answered.set())
        return answered

    def pong(self, data: str | bytes = b"") -> None:
        """Send an unsolicited pong. Pings are answered automatically."""
        self._call.pong(_payload(data))

    def send_close(self, code: int = 1000, reason: str = "") -> None:
        """Send the close frame and return; further messages of the origin can be received."""
        self._call.send_close(code, reason)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, and wait for the origin to do so too, ten seconds at most."""
        run(self._call.close(code, reason))

    def wait_closed(self) -> None:
        """Wait until it is closed, by whichever side."""
        run(self._call.wait_closed())

    def __iter__(self) -> Iterator[str | bytes]:
        """Messages, until it is closed normally."""
        try:
            while True:
                yield self.recv()
        except errors.ConnectionClosedOK:
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        code = _code_after(kind)
        if code is None:
            self._call.cut()
        else:
            self.close(code)


class AsyncWebSocket(_WebSocket):
    """A WebSocket for ``AsyncClient``. Any number of tasks may send; one at a time may receive."""

    async def recv(self, timeout: float | None = None, decode: bool | None = None) -> str | bytes:
        """The next message: text as ``str``, binary as ``bytes``. It may be cancelled.

        Args:
            timeout: seconds; None is for ever.
            decode: True has binary as ``str``, too; False has text as ``bytes``.

        Raises:
            TimeoutError: none came in time.
            ConnectionClosed: none will come.
        """
        return await self._call.recv(timeout, decode)

    def recv_streaming(self) -> AsyncIterator[str | bytes]:
        """The parts of the next message, as they come."""
        return self._call.recv_streaming()

    async def send(self, message: Messages, text: bool | None = None) -> None:
        """Send a message; returns when the gateway has room for it.

        Args:
            message: text, bytes, or an iterable of these: one message in parts.
            text: whether as text or as binary; None: by type.

        Raises:
            ConnectionClosed: it cannot be sent.
        """
        await self._call.send(message, text)

    async def ping(self, data: str | bytes | None = None) -> Awaitable[None]:
        """Send a ping. Await what is returned for its pong.

        Args:
            data: its payload; None is a random one.
        """
        waiter = _PongWaiter(self._call)
        self._call.ping(_payload(data), waiter.settle)
        return waiter

    async def pong(self, data: str | bytes = b"") -> None:
        """Send an unsolicited pong. Pings are answered automatically."""
        self._call.pong(_payload(data))

    def send_close(self, code: int = 1000, reason: str = "") -> None:
        """Send the close frame and return; further messages of the origin can be received."""
        self._call.send_close(code, reason)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, and wait for the origin to do so too, ten seconds at most."""
        await self._call.close(code, reason)

    async def wait_closed(self) -> None:
        """Wait until it is closed, by whichever side."""
        await self._call.wait_closed()

    def __aiter__(self) -> Self:
        """Messages, until it is closed normally."""
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self.recv()
        except errors.ConnectionClosedOK:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        code = _code_after(kind)
        if code is None:
            self._call.cut()
        else:
            await self.close(code)


class OpeningWebSocket:
    """The result of ``AsyncClient.websocket``: await it, or use it in ``async with``."""

    def __init__(self, opening: Callable[[], Coroutine[Any, Any, AsyncWebSocket]]) -> None:
        self._opening = opening
        self._opened: AsyncWebSocket | None = None

    def __await__(self) -> Generator[Any, Any, AsyncWebSocket]:
        return self._opening().__await__()

    async def __aenter__(self) -> AsyncWebSocket:
        self._opened = await self
        return self._opened

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        assert self._opened is not None
        await self._opened.__aexit__(kind, *rest)


class _PongWaiter:
    """Waits for a pong; awaited by one task."""

    def __init__(self, call: WebSocketCall) -> None:
        self._call = call
        self._signal = call.runtime.signal()
        self._answered: bool | None = None

    def settle(self, answered: bool) -> None:
        """End the wait; called in the hub's thread."""
        self._answered = answered
        self._call.wake(self._signal)

    def __await__(self) -> Generator[Any, Any, None]:
        while self._answered is None:
            yield from self._signal.wait().__await__()
        if not self._answered and self._call.error is not None:
            raise self._call.error.with_traceback(None)


def _payload(data: str | bytes | None) -> bytes:
    if data is None:
        return os.urandom(4)
    return data.encode() if isinstance(data, str) else bytes(data)


def _code_after(kind: type[BaseException] | None) -> int | None:
    """The close code at the end of a ``with`` block; None: close at once, without one."""
    if kind is None:
        return 1000
    return 1011 if issubclass(kind, Exception) else None
