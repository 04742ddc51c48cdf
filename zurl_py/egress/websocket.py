"""WebSocket connections: opened by libcurl like any other, then read and written by us.

With ``CURLOPT_CONNECT_ONLY`` libcurl resolves, asks the policy, connects and does TLS, and leaves
the connection to ``curl_easy_send`` and ``curl_easy_recv``. No second path to the network.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import pycurl

from .. import url
from ..loop import Loop, Timer
from ..websocket import (
    BadResponse,
    Connection,
    Event,
    Handshake,
    HandshakeError,
    Response,
    ResponseReader,
)
from ..zhttp import Condition
from .carrier import Carrier
from .errors import ErrorName, TransferError
from .handles import EasyHandle
from .permission import check_names
from .request import HttpRequest
from .stream_socket import StreamSocket
from .transfer import MAX_REDIRECTS, HttpTransfer

__all__ = ["WebSocketError", "WebSocketSink", "WebSocketTransfer"]

_SCHEMES = 1 << 30 | 1 << 31  # CURLPROTO_WS and CURLPROTO_WSS, which pycurl does not name
_LINGER = 2.0  # seconds that the origin has to hang up after the closing handshake
# A handshake is HTTP, and servers redirect it as such.
_REDIRECT_SCHEMES = ((b"http:", b"ws:"), (b"https:", b"wss:"))


class WebSocketError(TransferError):
    """A failure that only WebSockets have.

    Attributes:
        name: of the rule that the origin broke, for the worker.
    """

    def __init__(self, condition: bytes, name: str, detail: str) -> None:
        super().__init__(condition, detail, error=name)
        self.name = name


class WebSocketSink(Protocol):
    """Whoever asked for a connection. All are called from the loop's turn, none after an end."""

    def websocket_opened(self, response: Response) -> None:
        """The handshake succeeded; events may be there already."""

    def websocket_rejected(self, response: Response) -> None:
        """The origin answered with something else than 101. This is an end."""

    def websocket_failed(self, failure: TransferError) -> None:
        """There is no connection. This is an end."""

    def websocket_moved(self) -> None:
        """There may be events, or `WebSocketTransfer.lost` may be set."""

    def websocket_wrote(self, credits: int) -> None:
        """A frame that had to wait has gone out whole; ``credits`` were given with it."""


class WebSocketTransfer(HttpTransfer):
    """One connection: opened hop by hop, then a `Connection` on a `StreamSocket`.

    Attributes:
        connection: the frames' rules, once open.
    """

    __slots__ = (
        "_broken",
        "_handshake",
        "_linger_timer",
        "_loop",
        "_max_frame",
        "_reader",
        "_rescheduled",
        "_sink",
        "_socket",
        "connection",
    )

    def __init__(
        self,
        egress: Carrier,
        loop: Loop,
        request: HttpRequest,
        handshake: Handshake,
        sink: WebSocketSink,
        max_frame: int,
    ) -> None:
        super().__init__(egress, request)
        self._loop = loop
        self._handshake = handshake
        self._sink: WebSocketSink | None = sink
        self._max_frame = max_frame
        self._reader: ResponseReader | None = None
        self._socket: StreamSocket | None = None
        self._rescheduled = False
        self._linger_timer: Timer | None = None
        self._broken: TransferError | None = None
        self.connection: Connection | None = None

    # -- used by sessions --------------------------------------------------------------------

    def start(self) -> None:
        """Open the connection."""
        self._egress.add(self)

    def next_event(self) -> Event | None:
        """The next event, read from the socket if need be; None if there is none now."""
        connection = self.connection
        assert connection is not None
        while True:
            event = connection.next_event()
            if event is not None:
                return event
            data = self._socket.read() if self._socket is not None else b""
            if not data:
                return None
            connection.receive(data)

    @property
    def lost(self) -> TransferError | None:
        """Why no more events will come, once ``next_event`` has returned all."""
        if self._broken is None and self._socket is not None and self._socket.lost is not None:
            self._broken = TransferError(
                Condition.UNDEFINED_CONDITION, self._socket.lost, error=ErrorName.CONNECTION_RESET
            )
        return self._broken

    def send(self, frame: bytes, credits: int) -> bool:
        """Send a frame.

        Returns:
            Whether all of it has gone out; else ``websocket_wrote`` tells, with ``credits``.
        """
        # Without a socket the connection is lost, and the next event will say so.
        return self._socket is None or self._socket.write(frame, credits)

    @property
    def unsent(self) -> int:
        """Bytes of frames that wait for room in the kernel."""
        return self._socket.unsent if self._socket is not None else 0

    def pause(self) -> None:
        """Do not tell of events until `resume`: what is not asked for stays in the kernel."""
        if self._socket is not None:
            self._socket.pause()

    def resume(self) -> None:
        """Tell again; the caller has just taken all events."""
        if self._socket is not None:
            self._socket.resume()

    def finish(self) -> None:
        """Let what was sent go out and the origin hang up, within bounds. Nothing is reported.

        A connection closed with unread bytes in it is reset, and our last frame might be lost.
        """
        self._sink = None
        if self._socket is None:
            self._remove()
            return
        self._linger_timer = Timer(self.cancel)
        self._loop.set_timer(self._linger_timer, self._loop.now + _LINGER)
        self._socket.resume()
        self._socket.try_later()

    def cancel(self) -> None:
        """Cut the connection. Nothing is reported."""
        self._sink = None
        self._remove()

    # -- used by the egress ------------------------------------------------------------------

    def prepare(self, handle: EasyHandle) -> None:
        """Set the options of this hop."""
        super().prepare(handle)
        handle.set(pycurl.CONNECT_ONLY, 1)
        handle.set(pycurl.PROTOCOLS, _SCHEMES)
        # Not from the pool, and no HTTP/2 by ALPN. (With FORBID_REUSE libcurl would close it now.)
        handle.set(pycurl.FRESH_CONNECT, 1)
        handle.set(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        handle.set(pycurl.HTTPPROXYTUNNEL, 1)

    def ended(self, code: int, message: str) -> None:
        """libcurl has connected, or has not."""
        if self._retry_as_connect_host(code):
            return
        failure = self._failure(code, message)
        if failure is not None:
            self.fail(failure)
            return
        assert self.handle is not None
        target = self.request.target
        self._socket = StreamSocket(
            self._loop,
            self.handle.curl,
            target.scheme == "wss",
            self._readable,
            self._wrote,
            self._come_back,
        )
        self._reader = ResponseReader(self.request.follow_redirects)
        self.send(self._handshake.request(_request_target(target), target.host_header), 0)

    def fail(self, failure: TransferError) -> None:
        """The connection is lost, or never came about."""
        self._remove()
        sink = self._sink
        if sink is None:
            return
        if self.connection is None:
            self._sink = None
            sink.websocket_failed(failure)
        else:
            self._broken = self._broken or failure
            sink.websocket_moved()

    def moved(self) -> None:
        """Go on after a pause for the sake of other connections."""
        self._rescheduled = False
        if self._socket is not None:
            self._socket.turn()

    def _remove(self) -> None:
        """Give the handle back, and with it the socket."""
        if self._linger_timer is not None:
            self._loop.cancel_timer(self._linger_timer)
            self._linger_timer = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._egress.remove(self)

    # -- the socket --------------------------------------------------------------------------

    def _come_back(self) -> None:
        if not self._rescheduled:
            self._rescheduled = True
            self._egress.moved.append(self)

    def _wrote(self, credits: int) -> None:
        if self._sink is not None and self.connection is not None:
            self._egress.report(self, self._sink.websocket_wrote, credits)

    def _readable(self) -> None:
        self._egress.report(self, self._advance)

    def _advance(self) -> None:
        """There may be something to read."""
        if self._sink is None:
            self._discard()
        elif self.connection is None:
            self._read_response()
        else:
            self._sink.websocket_moved()

    def _discard(self) -> None:
        socket = self._socket
        assert socket is not None
        while socket.read():
            pass
        if socket.lost is not None:
            self._remove()

    # -- the handshake -----------------------------------------------------------------------

    def _read_response(self) -> None:
        try:
            response = self._next_response()
            if response is not None:
                self._take_response(response)
        except BadResponse as error:
            self.fail(
                TransferError(
                    Condition.UNDEFINED_CONDITION,
                    f"handshake: {error}",
                    error=ErrorName.NOT_HTTP,
                )
            )
        except HandshakeError as error:
            self.fail(WebSocketError(Condition.UNDEFINED_CONDITION, error.name, error.detail))
        except TransferError as failure:
            self.fail(failure)

    def _next_response(self) -> Response | None:
        socket, reader = self._socket, self._reader
        assert socket is not None
        assert reader is not None
        while True:
            data = socket.read()
            if not data:
                return reader.end() if socket.lost is not None else None
            response = reader.feed(data)
            if response is not None:
                return response

    def _take_response(self, response: Response) -> None:
        sink = self._sink
        assert sink is not None
        if response.code == 101:
            accepted = self._handshake.accept(response)
            self._reader = None
            self.connection = Connection(self._max_frame, accepted.deflate)
            self.connection.receive(response.rest)
            response.headers = accepted.headers
            sink.websocket_opened(response)
        elif self.request.follow_redirects and response.location is not None:
            self._follow_location(response.location)
        else:
            self._sink = None
            self._remove()
            sink.websocket_rejected(response)

    def _follow_location(self, location: bytes) -> None:
        """The next hop of a redirect; the policy is asked about its name first.

        Raises:
            TransferError: not there, or not again.
        """
        self.hops += 1
        if self.hops > MAX_REDIRECTS:
            raise TransferError(Condition.TOO_MANY_REDIRECTS, f"more than {MAX_REDIRECTS}")
        for http, websocket in _REDIRECT_SCHEMES:
            if location[: len(http)].lower() == http:
                location = websocket + location[len(http) :]
        here = self.request
        try:
            target = url.resolve(here.target, location)
        except url.BadUrl as error:
            raise TransferError(
                Condition.UNDEFINED_CONDITION,
                f"unusable redirect: {error}",
                error=ErrorName.BAD_REDIRECT,
            ) from None
        if target.scheme not in ("ws", "wss"):
            detail = f"redirect to the scheme {target.scheme!r}"
            raise TransferError(Condition.UNDEFINED_CONDITION, detail, error=ErrorName.BAD_REDIRECT)
        hop = replace(here, target=target)
        decision = check_names(hop)
        if not decision.allowed:
            detail = f"redirect to {decision.subject}: {decision.reason}"
            raise TransferError.from_decision(decision, detail)
        if target.origin != here.target.origin:
            self._handshake.drop_secrets()
        self._remove()
        self._reader = None
        self._verify_connect_host = False
        self.request = hop
        self._egress.add(self)


def _request_target(target: url.Target) -> bytes:
    """Path and query as libcurl would send them (RFC 9112 section 3.2.1)."""
    path: str = target.curl_url.path or "/"
    query: str | None = target.curl_url.query
    return (path if query is None else f"{path}?{query}").encode()
