"""``Client`` and ``AsyncClient``, which share one implementation."""

from __future__ import annotations

import threading
import weakref
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, Final, Self, Unpack

from ..zhttp import Format
from . import errors
from .address import GatewayAddresses, Policy, resolve
from .call import HttpCall, Note
from .headers import Headers
from .hub import Hub
from .request import USER_AGENT, Request, RequestArguments, RequestOptions, build_request
from .response import AsyncResponse, Response
from .running import Runtime, ThreadRuntime, current_runtime, run
from .shorthands import expand
from .timeouts import DEFAULT_TIMEOUT, Timeout, TimeoutTypes
from .trace import Tracer
from .websocket import (
    MAX_SIZE,
    AsyncWebSocket,
    OpeningWebSocket,
    WebSocket,
    open_websocket,
)
from .websocket_call import WebSocketCall

__all__ = ["AsyncClient", "Client"]

_THREADS: Final = ThreadRuntime()
_LARGEST_ANSWER: Final = 100_000_000  # bytes: the default of max_size for an answer held in memory


class ClientOptions(RequestOptions, total=False):
    """Options of a client beside the gateway: its own, and those of all its requests.

    Attributes:
        policy: settings of an embedded gateway, by the keys of ``zurl.conf``.
        headers: for all requests.
        timeout: for all requests: seconds, or a ``Timeout``.
        format: of packets: ``"T"`` (TNetString, which every daemon knows) or ``"M"``
            (MessagePack). ``"J"`` is for debugging: JSON cannot hold bodies that are not UTF-8.
        on_packet: called with every packet, in a thread of the client.
    """

    policy: Policy | None
    headers: Any
    timeout: TimeoutTypes
    format: str
    on_packet: Tracer | None


class WebSocketArguments(RequestOptions, total=False):
    """Arguments of ``websocket`` beside the URL.

    Attributes:
        params: added to the URL's query.
        headers: for the handshake, in addition to those of the client.
        subprotocols: to offer.
        origin: value of the header ``Origin``.
        timeout: for the handshake: seconds, or a ``Timeout``.
    """

    params: Any
    headers: Any
    subprotocols: Sequence[str] | None
    origin: str | None
    timeout: TimeoutTypes


class _Core:
    """The common part of both clients."""

    def __init__(
        self,
        gateway: GatewayAddresses = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        rest: dict[str, Any] = dict(options)
        self._gateways = resolve(gateway, rest.pop("policy", None))
        headers = Headers(rest.pop("headers", None))
        if "user-agent" not in headers:
            headers.raw.append((b"User-Agent", USER_AGENT.encode()))
        self._headers = headers
        self._timeout = Timeout.of(rest.pop("timeout", DEFAULT_TIMEOUT))
        self._format = _format(rest.pop("format", "T"))
        self._tracer: Tracer | None = rest.pop("on_packet", None)
        expand(rest)
        unknown = rest.keys() - RequestOptions.__annotations__.keys()
        if unknown:
            raise TypeError(f"no such option of a client: {', '.join(sorted(unknown))}")
        self._options: RequestOptions = RequestOptions(**rest)  # type: ignore[typeddict-item]
        self._hub: Hub | None = None
        self._lock = threading.Lock()
        self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<{type(self).__name__} {self._gateways!r} {state}>"

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed

    @property
    def request_options(self) -> RequestOptions:
        """The options of requests that do not have their own."""
        return self._options

    def build_request(
        self, method: str, url: str, **arguments: Unpack[RequestArguments]
    ) -> Request:
        """The request that a call with these arguments would make."""
        return build_request(method, url, arguments, self._headers, self._timeout, self._options)

    def _connected(self) -> Hub:
        """The hub of this process; after ``fork``, a child gets a new one."""
        hub = self._hub
        if hub is not None and not hub.inherited:
            return hub
        if hub is not None:
            self._lock = threading.Lock()  # another thread of the parent may have held it
        with self._lock:
            if self._closed:
                raise errors.ClientClosed("the client is closed")
            hub = self._hub
            if hub is None or hub.inherited:
                if hub is not None:
                    _inherited.append(hub)
                hub = self._hub = Hub(self._gateways, self._format, self._tracer)
                weakref.finalize(self, hub.close)
        return hub

    async def _whole(self, request: Request, runtime: Runtime) -> tuple[HttpCall, bytes]:
        """Send a request; returns the answer with its complete body."""
        _check(request, websocket=False)
        if "max_size" not in request.options:
            request.options = {**request.options, "max_size": _LARGEST_ANSWER}
        hub = self._connected()
        await _make_sendable(request, hub)
        call = HttpCall(hub, request, runtime, whole=True)
        await call.open()
        return call, call.take_all()

    async def _open(self, request: Request, runtime: Runtime) -> HttpCall:
        """Send a request; returns when the head of the answer has come."""
        _check(request, websocket=False)
        hub = self._connected()
        await _make_sendable(request, hub)
        call = HttpCall(hub, request, runtime, whole=False)
        await call.open()
        return call

    async def _note(self, request: Request, runtime: Runtime) -> None:
        """Send a fire-and-forget request."""
        _check(request, websocket=False)
        hub = self._connected()
        await _make_whole(request)
        await Note(hub, request, runtime).post()

    async def _websocket(
        self, url: str, arguments: WebSocketArguments, runtime: Runtime
    ) -> WebSocketCall:
        """Open a WebSocket."""
        rest: dict[str, Any] = dict(arguments)
        max_size = rest.pop("max_size", MAX_SIZE)
        headers = Headers(rest.pop("headers", None))
        subprotocols = rest.pop("subprotocols", None)
        if subprotocols:
            headers.raw.append((b"Sec-WebSocket-Protocol", ", ".join(subprotocols).encode()))
        origin = rest.pop("origin", None)
        if origin is not None:
            headers.raw.append((b"Origin", origin.encode()))
        request = self.build_request("GET", url, headers=headers, **rest)
        _check(request, websocket=True)
        request.options.pop("max_size", None)
        hub = self._connected()
        if not hub.sessions:
            raise errors.GatewayUnavailable(
                "WebSockets need a gateway's in_spec, in_stream_spec and out_spec",
                error="no-gateway",
                request=request,
            )
        call = WebSocketCall(hub, request, runtime, max_size)
        await open_websocket(call)
        return call

    def _close(self) -> None:
        with self._lock:
            self._closed = True
            hub, self._hub = self._hub, None
        if hub is not None:
            hub.close()


_inherited: list[Hub] = []  # hubs of a parent process, whose sockets must not be used or closed


def _format(letter: str) -> Format:
    try:
        return Format(letter.encode())
    except ValueError:
        raise ValueError(f"format is T, M or J, not {letter!r}") from None


def _check(request: Request, websocket: bool) -> None:
    """Refuse what would not be the request that was meant.

    The gateway opens a WebSocket, or makes a request, by the URL's scheme; and an iterator or a
    file that was sent before is at its end.
    """
    if (request.url.lstrip()[:3].lower() in ("ws:", "wss")) != websocket:
        http, ws = "http and https", "ws and wss"
        wanted, other = (ws, http) if websocket else (http, ws)
        detail = f"{wanted} can be used here; {other} with another method of the client"
        raise errors.BadRequest(
            f"{request.shown_url}: {detail}",
            condition="bad-request",
            error="bad-uri",
            detail=detail,
            request=request,
        )
    if request.body.spent:
        raise errors.StreamError(
            "the request's body was read already: build the request again", request=request
        )


async def _make_sendable(request: Request, hub: Hub) -> None:
    """Read the whole body if there is only the request interface, which needs it at once."""
    if not hub.sessions:
        await _make_whole(request)


async def _make_whole(request: Request) -> None:
    data = b"".join([piece async for piece in request.body.iterate()])
    request.body = replace(request.body, whole=data, pieces=None, length=len(data), at_once=True)


class Client(_Core):
    """Requests through a gateway, for threads that block until the answer comes.

    Threads may share it. After ``fork`` a child has its own sockets.

    Args:
        gateway: path of the daemon's ``zurl.conf``, ``"embedded"``, ``Endpoints``, or a list of
            these. None: ``$ZURL_CONNECT``, else ``/etc/zurl.conf``.
        options: of the client, and of all its requests: see ``ClientOptions``.

    Raises:
        GatewayUnavailable: no gateway is configured where it was looked for.
    """

    def request(self, method: str, url: str, **arguments: Unpack[RequestArguments]) -> Response:
        """Send a request, and wait for the complete answer.

        Args:
            arguments: see ``RequestArguments``.

        Raises:
            ZurlError: the request failed.
        """
        return self.send(self.build_request(method, url, **arguments))

    def send(self, request: Request, stream: bool = False) -> Response:
        """Send a request that was built before.

        Args:
            stream: return when the answer's head has come; the answer has to be closed.
        """
        if stream:
            opened = Response(request, run(self._open(request, _THREADS)))
            opened._client = self
            return opened
        call, content = run(self._whole(request, _THREADS))
        answer = Response(request, call)
        answer._content = content
        return answer

    @contextmanager
    def stream(
        self, method: str, url: str, **arguments: Unpack[RequestArguments]
    ) -> Iterator[Response]:
        """Send a request; the answer's body is read as it comes, within the ``with`` block."""
        with self.send(self.build_request(method, url, **arguments), stream=True) as answer:
            yield answer

    def send_nowait(self, method: str, url: str, **arguments: Unpack[RequestArguments]) -> None:
        """Send a request without waiting for an answer; returns when it was given to ZeroMQ."""
        self.post_nowait(self.build_request(method, url, **arguments))

    def post_nowait(self, request: Request) -> None:
        """The same, for a request that was built before."""
        run(self._note(request, _THREADS))

    def websocket(self, url: str, **arguments: Unpack[WebSocketArguments]) -> WebSocket:
        """Open a WebSocket, to be closed or used in ``with``.

        Args:
            arguments: see ``WebSocketArguments``. ``max_size`` is of a message, 1 MiB if not given.

        Raises:
            InvalidStatus: the origin refused.
            ZurlError: there is no connection.
        """
        return WebSocket(run(self._websocket(url, arguments, _THREADS)), self)

    def get(self, url: str, **arguments: Unpack[RequestArguments]) -> Response:
        """GET; see ``request``."""
        return self.request("GET", url, **arguments)

    def head(self, url: str, **arguments: Unpack[RequestArguments]) -> Response:
        """HEAD; see ``request``."""
        return self.request("HEAD", url, **arguments)

    def options(self, url: str, **arguments: Unpack[RequestArguments]) -> Response:
        """OPTIONS; see ``request``."""
        return self.request("OPTIONS", url, **arguments)

    def post(self, url: str, **arguments: Unpack[RequestArguments]) -> Response:
        """POST; see ``request``."""
        return self.request("POST", url, **arguments)

    def put(self, url: str, **arguments: Unpack[RequestArguments]) -> Response:
        """PUT; see ``request``."""
        return self.request("PUT", url, **arguments)

    def patch(self, url: str, **arguments: Unpack[RequestArguments]) -> Response:
        """PATCH; see ``request``."""
        return self.request("PATCH", url, **arguments)

    def delete(self, url: str, **arguments: Unpack[RequestArguments]) -> Response:
        """DELETE; see ``request``."""
        return self.request("DELETE", url, **arguments)

    def close(self) -> None:
        """Cancel open requests, and close the sockets."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient(_Core):
    """Requests through a gateway, from tasks of asyncio or trio.

    It may be shared by the tasks of any number of event loops.

    Args:
        gateway: path of the daemon's ``zurl.conf``, ``"embedded"``, ``Endpoints``, or a list of
            these. None: ``$ZURL_CONNECT``, else ``/etc/zurl.conf``.
        options: of the client, and of all its requests: see ``ClientOptions``.

    Raises:
        GatewayUnavailable: no gateway is configured where it was looked for.
    """

    async def request(
        self, method: str, url: str, **arguments: Unpack[RequestArguments]
    ) -> AsyncResponse:
        """Send a request, and wait for the complete answer.

        Args:
            arguments: see ``RequestArguments``.

        Raises:
            ZurlError: the request failed.
        """
        return await self.send(self.build_request(method, url, **arguments))

    async def send(self, request: Request, stream: bool = False) -> AsyncResponse:
        """Send a request that was built before.

        Args:
            stream: return when the answer's head has come; the answer has to be closed.
        """
        runtime = current_runtime()
        if stream:
            opened = AsyncResponse(request, await self._open(request, runtime))
            opened._client = self
            return opened
        call, content = await self._whole(request, runtime)
        answer = AsyncResponse(request, call)
        answer._content = content
        return answer

    @asynccontextmanager
    async def stream(
        self, method: str, url: str, **arguments: Unpack[RequestArguments]
    ) -> AsyncIterator[AsyncResponse]:
        """Send a request; the answer's body is read as it comes, within the ``with`` block."""
        request = self.build_request(method, url, **arguments)
        async with await self.send(request, stream=True) as answer:
            yield answer

    async def send_nowait(
        self, method: str, url: str, **arguments: Unpack[RequestArguments]
    ) -> None:
        """Send a request without waiting for an answer; returns when it was given to ZeroMQ."""
        await self._note(self.build_request(method, url, **arguments), current_runtime())

    def websocket(self, url: str, **arguments: Unpack[WebSocketArguments]) -> OpeningWebSocket:
        """Open a WebSocket: await the result, or use it in ``async with``.

        Args:
            arguments: see ``WebSocketArguments``. ``max_size`` is of a message, 1 MiB if not given.

        Raises:
            InvalidStatus: the origin refused.
            ZurlError: there is no connection.
        """

        async def opening() -> AsyncWebSocket:
            return AsyncWebSocket(await self._websocket(url, arguments, current_runtime()), self)

        return OpeningWebSocket(opening)

    async def get(self, url: str, **arguments: Unpack[RequestArguments]) -> AsyncResponse:
        """GET; see ``request``."""
        return await self.request("GET", url, **arguments)

    async def head(self, url: str, **arguments: Unpack[RequestArguments]) -> AsyncResponse:
        """HEAD; see ``request``."""
        return await self.request("HEAD", url, **arguments)

    async def options(self, url: str, **arguments: Unpack[RequestArguments]) -> AsyncResponse:
        """OPTIONS; see ``request``."""
        return await self.request("OPTIONS", url, **arguments)

    async def post(self, url: str, **arguments: Unpack[RequestArguments]) -> AsyncResponse:
        """POST; see ``request``."""
        return await self.request("POST", url, **arguments)

    async def put(self, url: str, **arguments: Unpack[RequestArguments]) -> AsyncResponse:
        """PUT; see ``request``."""
        return await self.request("PUT", url, **arguments)

    async def patch(self, url: str, **arguments: Unpack[RequestArguments]) -> AsyncResponse:
        """PATCH; see ``request``."""
        return await self.request("PATCH", url, **arguments)

    async def delete(self, url: str, **arguments: Unpack[RequestArguments]) -> AsyncResponse:
        """DELETE; see ``request``."""
        return await self.request("DELETE", url, **arguments)

    async def close(self) -> None:
        """Cancel open requests, and close the sockets."""
        self._close()

    aclose = close

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
