"""WebSocket connections: opened by libcurl like any other, then read and written by us.

With ``CURLOPT_CONNECT_ONLY`` libcurl resolves, asks the policy, connects and does TLS, and leaves
the connection to ``curl_easy_send`` and ``curl_easy_recv``. No second path to the network.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import pycurl

from .. import url
from ..loop import READ, WRITE, Loop, Timer
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
from .failures import Failure
from .handles import EasyHandle
from .request import HttpRequest
from .transfer import MAX_REDIRECTS, HttpTransfer

if TYPE_CHECKING:
    from .engine import Egress

__all__ = ["WebSocketFailure", "WebSocketSink", "WebSocketTransfer"]

_SCHEMES = 1 << 30 | 1 << 31  # CURLPROTO_WS and CURLPROTO_WSS, which pycurl does not name
_READ_SIZE = 65536
_READS_PER_TURN = 16  # then other connections have their turn
_LINGER = 2.0  # seconds that the origin has to hang up after the closing handshake
_Paste = tuple[bytes, bytes]
# A handshake is HTTP, and servers redirect it as such.
_REDIRECT_SCHEMES: tuple[_Paste, ...] = ((b"http:", b"ws:"), (b"https:", b"wss:"))


class WebSocketFailure(Failure):
    """A failure that only WebSockets have.

    Attributes:
        name: of the rule that the origin broke, for the worker.
    """

    def __init__(self, condition: bytes, name: str, detail: str) -> None:
        super().__init__(condition, detail)
        self.name = name


class WebSocketSink(Protocol):
    """Whoever asked for a connection. All are called from the loop's turn, none after an end."""

    def websocket_opened(self, response: Response) -> None:
        """The handshake succeeded; events may be there already."""

    def websocket_rejected(self, response: Response) -> None:
        """The origin answered with something else than 101. This is an end."""

    def websocket_failed(self, failure: Failure) -> None:
        """There is no connection. This is an end."""

    def websocket_moved(self) -> None:
        """There may be events, or `WebSocketTransfer.lost` may be set."""

    def websocket_wrote(self, credits: int) -> None:
        """A frame that had to wait has gone out whole; ``credits`` are those given with it."""


class WebSocketTransfer(HttpTransfer):
    """One connection: opened hop by hop, then a `Connection` on a socket.

    Attributes:
        connection: the frames' rules, once open.
        lost: why no more will come from the origin, once all that came has been taken.
        unsent: bytes of frames that wait for room in the socket.
    """

    __slots__ = (
        "_compression",
        "_fd",
        "_handshake",
        "_linger_timer",
        "_loop",
        "_make_connection",
        "_may_read",
        "_paused",
        "_queue",
        "_reader",
        "_reads_left",
        "_rescheduled",
        "_sink",
        "_watched",
        "connection",
        "lost",
        "unsent",
    )

    def __init__(
        self,
        egress: Egress,
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
        self._make_connection: Callable[..., Connection] = lambda deflate: Connection(
            max_frame, deflate
        )
        self._reader: ResponseReader | None = None
        self._fd = -1
        self._watched = 0
        self._may_read = False
        self._reads_left = 0
        self._rescheduled = False
        self._paused = False
        self._queue: deque[tuple[bytes | memoryview, int]] = deque()
        self._linger_timer: Timer | None = None
        self.connection: Connection | None = None
        self.lost: Failure | None = None
        self.unsent = 0

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
            data = self._read()
            if not data:
                return None
            connection.receive(data)

    def send(self, frame: bytes, credits: int) -> bool:
        """Send a frame.

        Returns:
            Whether all of it has gone out; else ``websocket_wrote`` tells, with ``credits``.
        """
        if not self._queue:
            sent = self._write(frame)
            if sent == len(frame):
                return True
            self._queue.append((memoryview(frame)[sent:], credits))
            self.unsent = len(frame) - sent
            self._watch()
        else:
            self._queue.append((frame, credits))
            self.unsent += len(frame)
        return False

    def pause(self) -> None:
        """Take nothing more out of the kernel until `resume`."""
        if not self._paused:
            self._paused = True
            self._watch()

    def resume(self) -> None:
        """Go on reading; the caller has just taken all events."""
        if self._paused:
            self._paused = False
            self._watch()

    def finish(self) -> None:
        """Let what was sent go out and the origin hang up, within bounds. Nothing is reported.

        A connection closed with unread bytes in it is reset, and our last frame might be lost.
        """
        self._sink = None
        if self.lost is not None and not self._queue:
            self._egress.remove(self)
            return
        self._linger_timer = Timer(self.cancel)
        self._loop.set_timer(self._linger_timer, self._loop.now + _LINGER)
        self._paused = False
        self._watch()

    def cancel(self) -> None:
        """Cut the connection. Nothing is reported."""
        self._sink = None
        self._egress.remove(self)

    # -- used by the egress ------------------------------------------------------------------

    def prepare(self, handle: EasyHandle) -> None:
        """Set the options of this hop."""
        super().prepare(handle)
        handle.set(pycurl.CONNECT_ONLY, 1)
        handle.set(pycurl.PROTOCOLS, _SCHEMES)
        # Neither from the pool nor into it, and no HTTP/2 by ALPN.
        handle.set(pycurl.FRESH_CONNECT, 1)
        handle.set(pycurl.FORBID_REUSE, 1)
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
        self._fd = self.handle.curl.getinfo(pycurl.ACTIVESOCKET)
        self._watched = 0
        self._reader = ResponseReader(self.request.follow_redirects)
        target = self.request.target
        self.send(self._handshake.request(target.request_target, target.host_header), 0)
        self._watch()

    def released(self) -> None:
        """The egress takes the handle back, and with it the socket."""
        if self._linger_timer is not None:
            self._loop.cancel_timer(self._linger_timer)
            self._linger_timer = None
        if self._fd >= 0:
            if self._watched:
                self._loop.unwatch(self._fd)
            self._fd = -1
        self._watched = 0
        self._queue.clear()
        self.unsent = 0

    def fail(self, failure: Failure) -> None:
        """The connection is lost, or never came about."""
        self._egress.remove(self)
        sink = self._sink
        if sink is None:
            return
        if self.connection is None:
            self._sink = None
            sink.websocket_failed(failure)
        else:
            self.lost = self.lost or failure
            sink.websocket_moved()

    def moved(self) -> None:
        """Go on after a pause for the sake of other connections."""
        self._rescheduled = False
        self._advance()

    # -- the socket --------------------------------------------------------------------------

    def _watch(self) -> None:
        """Tell the epoll what we wait for.

        Not for reading while paused: what nobody takes stays in the kernel. And then not at all
        without a reason to write, as a hang-up is reported whether it was asked for or not.
        """
        if self._fd < 0:
            return
        wanted = 0 if self._paused or self.lost is not None else READ
        if self._queue:
            wanted |= WRITE
        if wanted == self._watched:
            return
        self._watched = wanted
        if wanted:
            self._loop.watch(self._fd, wanted, self._ready)
        else:
            self._loop.unwatch(self._fd)

    def _ready(self, _fd: int, events: int) -> None:
        if events & WRITE or (events & ~READ and self._queue):
            self._flush()
        if events & ~WRITE and not self._paused:
            self._may_read = True
            self._advance()

    def _advance(self) -> None:
        self._reads_left = _READS_PER_TURN
        if self._sink is None:
            self._discard()
        elif self.connection is None:
            self._read_response()
        else:
            self._sink.websocket_moved()

    def _read(self) -> bytes:
        """What the socket has; b"" for nothing, or nothing any more, which ``lost`` tells."""
        if self.lost is not None or not (self._may_read or self._paused):
            return b""
        if self._reads_left <= 0:
            self._come_back()
            return b""
        self._reads_left -= 1
        handle = self.handle
        if handle is None:
            return b""
        try:
            data = handle.curl.recv(_READ_SIZE)
        except BlockingIOError:
            self._may_read = False
            return b""
        except pycurl.error as error:
            self._end_of_input(f"connection lost: {error.args[-1]}")
            return b""
        if not data:
            self._end_of_input("connection closed by the origin")
        elif len(data) < _READ_SIZE and self.request.target.scheme == "ws":
            # All there was; epoll tells of more. TLS reads end at each record.
            self._may_read = False
        return bytes(data)

    def _end_of_input(self, detail: str) -> None:
        self.lost = Failure(Condition.UNDEFINED_CONDITION, detail)
        self._may_read = False
        self._watch()

    def _come_back(self) -> None:
        if not self._rescheduled:
            self._rescheduled = True
            self._egress.moved.append(self)

    def _discard(self) -> None:
        while self._read():
            pass
        if self.lost is not None:
            self._egress.remove(self)

    def _write(self, data: bytes | memoryview) -> int:
        """Bytes that went out. If the connection is broken all count as gone: reading will tell."""
        handle = self.handle
        if handle is None:
            return len(data)
        try:
            return handle.curl.send(data)
        except BlockingIOError:
            return 0
        except pycurl.error:
            return len(data)

    def _flush(self) -> None:
        queue = self._queue
        while queue:
            data, credits = queue[0]
            sent = self._write(data)
            self.unsent -= sent
            if sent < len(data):
                queue[0] = (memoryview(data)[sent:], credits)
                return
            queue.popleft()
            if self._sink is not None and self.connection is not None:
                self._sink.websocket_wrote(credits)
        self._watch()

    # -- the handshake -----------------------------------------------------------------------

    def _read_response(self) -> None:
        reader = self._reader
        assert reader is not None
        try:
            response: Response | None = None
            while response is None:
                data = self._read()
                if data:
                    response = reader.feed(data)
                elif self.lost is not None:
                    response = reader.end()
                else:
                    return
            self._take_response(response)
        except BadResponse as error:
            detail = f"handshake: {error}"
            self.fail(Failure(Condition.UNDEFINED_CONDITION, detail))
        except HandshakeError as error:
            self.fail(WebSocketFailure(Condition.UNDEFINED_CONDITION, error.name, error.detail))
        except Failure as failure:
            self.fail(failure)

    def _take_response(self, response: Response) -> None:
        sink = self._sink
        assert sink is not None
        if response.code == 101:
            accepted = self._handshake.accept(response)
            self._reader = None
            connection = self._make_connection(accepted.deflate)
            connection.receive(response.rest)
            self.connection = connection
            response.headers = accepted.headers
            sink.websocket_opened(response)
            return
        location = response.location
        if self.request.follow_redirects and location is not None:
            self._follow_location(location)
            return
        self._egress.remove(self)
        self._sink = None
        sink.websocket_rejected(response)

    def _follow_location(self, location: bytes) -> None:
        """The next hop of a redirect; the policy is asked about its name first.

        Raises:
            Failure: not there, or not again.
        """
        self.hops += 1
        if self.hops > MAX_REDIRECTS:
            raise Failure(Condition.TOO_MANY_REDIRECTS, f"more than {MAX_REDIRECTS}")
        for http, websocket in _REDIRECT_SCHEMES:
            if location[: len(http)].lower() == http:
                location = websocket + location[len(http) :]
        here = self.request
        try:
            target = url.resolve(here.target, location)
        except url.BadUrl as error:
            raise Failure(Condition.UNDEFINED_CONDITION, f"unusable redirect: {error}") from None
        if target.scheme not in ("ws", "wss"):
            detail = f"redirect to the scheme {target.scheme!r}"
            raise Failure(Condition.UNDEFINED_CONDITION, detail)
        decision = here.policy.check_name(target.host, target.port, target.scheme)
        if not decision.allowed:
            detail = f"redirect to {target.host}: {decision.reason}"
            raise Failure(Condition.POLICY_VIOLATION, detail)
        if target.origin != here.target.origin:
            self._handshake.drop_secrets()
        self._egress.remove(self)
        self._may_read = False
        self._reader = None
        self._verify_connect_host = False
        self.request = replace(here, target=target)
        self._egress.add(self)
