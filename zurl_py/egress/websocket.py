"""WebSocket connections: libcurl opens them like all others, then they are read and written here.

With ``CURLOPT_CONNECT_ONLY`` libcurl connects, with the same callbacks for the policy, and does
TLS; then ``curl_easy_send`` and ``curl_easy_recv`` transfer bytes. So there is no second path to
the network.
"""

from __future__ import annotations

import enum
from typing import Final, Protocol

from .. import url
from ..loop import Loop, Timer
from ..websocket import (
    BadResponse,
    Connection,
    Data,
    Event,
    Handshake,
    HandshakeError,
    Response,
    ResponseReader,
)
from ..zhttp import Condition
from .alert import may_have_lost_an_alert
from .carrier import Carrier
from .errors import ErrorName, TransferError
from .extras import Extras
from .handles import EasyHandle
from .request import HttpRequest
from .stream_socket import StreamSocket, connect_only
from .transfer import HttpTransfer

__all__ = ["WebSocketSink", "WebSocketTransfer"]

_LINGER: Final = 2.0  # seconds for the origin to hang up after the closing handshake
# A refusal is handed on with the part of its body that comes within this time (seconds).
_BODY_SILENCE: Final = 1.0
_BODY_TIME: Final = 3.0
# Events of one turn of a connection: one read may hold 30,000. A large event counts as several.
_EVENTS_PER_TURN: Final = 32
_BYTES_PER_EVENT: Final = 4096


class _State(enum.Enum):
    """State of a connection; `_NEXT` has the transitions."""

    CONNECTING = enum.auto()  # libcurl connects
    HANDSHAKE = enum.auto()  # our request was sent, the answer has not come
    OPEN = enum.auto()
    LINGERING = enum.auto()  # the session has ended; the origin has some time to hang up
    ENDED = enum.auto()


# Looking up a member of an enumeration takes as long as ten other attributes.
_CONNECTING, _HANDSHAKE, _OPEN, _LINGERING, _ENDED = _State

_NEXT: Final = {
    _CONNECTING: (_CONNECTING, _HANDSHAKE, _ENDED),
    # A redirect leads to CONNECTING again.
    _HANDSHAKE: (_CONNECTING, _OPEN, _ENDED),
    _OPEN: (_LINGERING, _ENDED),
    _LINGERING: (_ENDED,),
    _ENDED: (_ENDED,),
}


class WebSocketSink(Protocol):
    """The owner of a connection: a session. Called from the loop's turn; not after an end."""

    def websocket_opened(self, response: Response) -> None:
        """The handshake succeeded; there may be events already."""

    def websocket_rejected(self, response: Response) -> None:
        """The origin answered otherwise than with 101. This is an end."""

    def websocket_failed(self, failure: TransferError) -> None:
        """There is no connection. This is an end."""

    def websocket_moved(self) -> None:
        """There may be events, or ``lost`` or ``hung_up`` may have been set."""

    def websocket_wrote(self, size: int) -> None:
        """A worker's frame that had to wait was sent completely; its payload had ``size`` bytes."""


class WebSocketTransfer(HttpTransfer):
    """One connection: opened hop by hop, then a `Connection` on a `StreamSocket`.

    Args:
        max_frame: payload bytes of the largest event.
        split: hand on larger frames in pieces; else they end the connection.

    Attributes:
        extras: collects what the worker asked for beside the answer; None: nothing.
        heard_at: time when bytes last came from the origin (seconds on the loop's clock).
    """

    __slots__ = (
        "_asked_at",
        "_broken",
        "_connection",
        "_continues",
        "_events_left",
        "_handshake",
        "_loop",
        "_max_frame",
        "_queued",
        "_reader",
        "_refused_at",
        "_sink",
        "_socket",
        "_split",
        "_state",
        "_timer",
        "extras",
        "heard_at",
    )

    def __init__(
        self,
        egress: Carrier,
        loop: Loop,
        request: HttpRequest,
        handshake: Handshake,
        sink: WebSocketSink,
        max_frame: int,
        split: bool = True,
    ) -> None:
        super().__init__(egress, request)
        self._loop = loop
        self._handshake = handshake
        self._sink: WebSocketSink | None = sink
        self._max_frame = max_frame
        self._split = split
        self._state = _CONNECTING
        self._reader: ResponseReader | None = None
        self._refused_at: float | None = None  # time when the head of a refusal came
        self._socket: StreamSocket | None = None
        self._connection: Connection | None = None
        self._queued = False  # waits for a turn
        self._continues = False  # a frame of the origin's current message has come
        self._events_left = _EVENTS_PER_TURN
        self._timer: Timer | None = None  # of a refusal's body, or of lingering
        self._broken: TransferError | None = None
        self._asked_at = 0.0
        self.heard_at = loop.now
        self.extras = Extras(request) if Extras.wanted(request) else None

    def __repr__(self) -> str:
        return f"<WebSocketTransfer {self.request!r} {self._state.name}>"

    def _enter(self, state: _State) -> None:
        assert state in _NEXT[self._state], f"{self._state} to {state}"
        self._state = state

    # -- used by sessions: reading ---------------------------------------------------------------

    def start(self) -> None:
        """Open the connection."""
        self._egress.add(self)

    def next_event(self) -> Event | None:
        """The next event; reads from the socket if necessary.

        None if there is none now. Also None where other connections have their turn first;
        ``websocket_moved`` is then called again.
        """
        connection = self._connection
        assert connection is not None
        if self._events_left <= 0:
            self._queue_turn()
            return None
        while True:
            event = connection.next_event()
            if event is not None:
                self._events_left -= 1
                if isinstance(event, Data):
                    self._events_left -= len(event.payload) // _BYTES_PER_EVENT
                if self._egress.meter is not None:
                    self._egress.meter.frame_came(event, self._continues)
                    self._continues = not event.fin if isinstance(event, Data) else self._continues
                return event
            socket = self._socket
            data = socket.read() if socket is not None else b""
            if not data:
                if socket is not None and socket.has_more:
                    self._queue_turn()
                return None
            self.heard_at = self._loop.now
            connection.receive(data)

    @property
    def drained(self) -> bool:
        """Whether there certainly is no event: `next_event` need not be called."""
        connection, socket = self._connection, self._socket
        return connection is not None and connection.drained and (socket is None or socket.drained)

    @property
    def lost(self) -> TransferError | None:
        """Why no more events will come, once ``next_event`` has returned all."""
        if self._queued:
            return None  # there may be more events
        if self._broken is None and self._socket is not None:
            self._broken = self._socket.lost
        return self._broken

    @property
    def hung_up(self) -> bool:
        """Whether the origin sends no more; not all may have been read yet."""
        return self._socket is None or self._socket.hung_up or self._socket.lost is not None

    def pause(self) -> None:
        """Do not report events until `resume`: what is not read stays in the kernel."""
        if self._socket is not None:
            self._socket.pause()

    def resume(self) -> None:
        """Report events again; the caller has just taken all of them."""
        if self._socket is not None:
            self._socket.resume()

    def look_ahead(self) -> None:
        """Allow `next_event` some events more, while paused."""
        self._events_left = _EVENTS_PER_TURN
        if self._socket is not None:
            self._socket.begin_turn()
            self._socket.pause()

    # -- used by sessions: writing ---------------------------------------------------------------

    @property
    def close_sent(self) -> bool:
        """Whether our close frame was sent: no frame may follow it."""
        return self._connection is not None and self._connection.close_sent

    def send_data(self, payload: bytes, binary: bool, more: bool) -> bool:
        """Send a data frame; see `Connection.send_data`.

        Returns:
            Whether all of it was sent; if not, ``websocket_wrote`` is called later.

        Raises:
            BadInput: the frame may not be sent, and was not.
        """
        return self._write(self._frames.send_data(payload, binary, more), len(payload))

    def send_ping(self, payload: bytes, *, tell: bool = True) -> bool:
        """Send a ping; as `send_data`, but ``websocket_wrote`` is called only with ``tell``."""
        return self._write(self._frames.send_ping(payload), 0 if tell else None)

    def send_pong(self, payload: bytes, *, tell: bool = True) -> bool:
        """Send a pong; as `send_ping`."""
        return self._write(self._frames.send_pong(payload), 0 if tell else None)

    def send_close(self, code: int | None, reason: bytes = b"") -> None:
        """Send a close frame; ``websocket_wrote`` is not called for it.

        Raises:
            BadInput: the frame may not be sent, and was not.
        """
        self._write(self._frames.send_close(code, reason), None)

    @property
    def _frames(self) -> Connection:
        assert self._connection is not None
        return self._connection

    def _write(self, wire: bytes, mark: int | None) -> bool:
        if self._egress.meter is not None and wire:
            self._egress.meter.frame_went(wire)
        # Without a socket the connection is lost, which `lost` reports.
        return self._socket is None or self._socket.write(wire, mark)

    @property
    def unsent(self) -> int:
        """Bytes of frames that wait for room in the kernel."""
        return self._socket.unsent if self._socket is not None else 0

    # -- used by sessions: ends ------------------------------------------------------------------

    @property
    def is_connecting(self) -> bool:
        """Whether no connection was made so far, for any hop."""
        return self._state is _CONNECTING and super().is_connecting

    def timed_out(self) -> None:
        """Note the session's timeout during the handshake; `cancel` or `finish` follows."""
        if self._reader is None or self._reader.empty:
            super().timed_out()

    def give_up(self) -> Response | None:
        """End the handshake without a report; returns the refusal, if its head has come."""
        reader = self._reader
        self.timed_out()
        self._note_timing()
        self._sink = None
        self._remove()
        return reader.end() if reader is not None and reader.refused else None

    def finish(self, code: int | None = None, reason: bytes = b"") -> None:
        """End orderly, with a close frame if none was sent, and without a report.

        The connection stays open for a while, until everything is sent and the origin hangs up: to
        close it with unread bytes would reset it, and our last frame might be lost.
        """
        self._sink = None
        if self._socket is None or self._state is not _OPEN:
            self._remove()
            return
        if not self.close_sent:
            self.send_close(code, reason)
        self._enter(_LINGERING)
        self._egress.lingering.add(self)
        self._set_timer(self._loop.now + _LINGER)
        self._socket.resume()
        self._socket.try_reading()
        self._queue_turn()

    def cancel(self) -> None:
        """Close the connection at once, without a report."""
        self._sink = None
        self._remove()

    # -- used by the egress ------------------------------------------------------------------

    def prepare(self, handle: EasyHandle) -> None:
        """Set the options of this hop."""
        super().prepare(handle)
        connect_only(handle, self.request, self.verifies_connect_host)

    def ended(self, code: int, message: str) -> None:
        """libcurl has connected, or has failed to."""
        if self._retry_as_connect_host(code):
            return
        failure = self._failure(code, message)
        if failure is not None:
            self.fail(failure)
            return
        assert self.handle is not None
        self._enter(_HANDSHAKE)
        target = self.request.target
        self._socket = StreamSocket(
            self._loop,
            self.handle.curl,
            target.scheme == "wss",
            self._queue_turn,
            self._wrote,
            self.handle.shows_certificate,
        )
        self._reader = ResponseReader(self.request.follow_redirects)
        # A TLS 1.3 origin that demands a certificate sends an alert after the handshake, and hangs
        # up. A write would then fail, and the alert would not be read.
        self._socket.try_reading()
        early = self._socket.read()
        if self._socket.lost is not None:
            self._lose(self._socket, self._reader)
            return
        request = self._handshake.request(
            _request_target(target), self.request.host_header, target.authorization
        )
        self._asked_at = self._loop.clock()
        self._socket.write(request, None)
        if early:  # an answer before our request: a refusal
            self._read_response(early)

    def fail(self, failure: TransferError) -> None:
        """The connection is lost, or was never made."""
        was_open = self._state is _OPEN
        self._remove()
        sink = self._sink
        if sink is None:
            return
        if was_open:
            self._broken = self._broken or failure
            sink.websocket_moved()
        else:
            self._sink = None
            sink.websocket_failed(failure)

    def moved(self) -> None:
        """Do the work of this connection's turn."""
        self._queued = False
        self._events_left = _EVENTS_PER_TURN
        if self._socket is not None:
            self._socket.begin_turn()
        if self._state is _LINGERING:
            self._discard()
        elif self._state is _HANDSHAKE:
            self._read_response()
        elif self._sink is not None and self._connection is not None:
            self._sink.websocket_moved()

    def _remove(self) -> None:
        """Release the handle, and with it the socket."""
        if self._state is not _ENDED:
            self._enter(_ENDED)
        self._drop_connection()
        self._egress.lingering.discard(self)

    def _drop_connection(self) -> None:
        if self._timer is not None:
            self._loop.cancel_timer(self._timer)
            self._timer = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._egress.remove(self)

    # -- the socket --------------------------------------------------------------------------

    def _queue_turn(self) -> None:
        """Queue for a turn."""
        if not self._queued:
            self._queued = True
            self._egress.moved.append(self)

    def _wrote(self, size: int) -> None:
        if self._sink is not None and self._state is _OPEN:
            self._egress.report(self, self._sink.websocket_wrote, size)

    def _discard(self) -> None:
        socket = self._socket
        assert socket is not None
        while socket.read():
            pass
        if socket.lost is not None:
            self._remove()
        elif socket.has_more:
            self._queue_turn()

    def _set_timer(self, when: float) -> None:
        if self._timer is None:
            self._timer = Timer(self._time_is_over)
        self._loop.set_timer(self._timer, when)

    def _time_is_over(self) -> None:
        if self._state is _HANDSHAKE:
            self._egress.report(self, self._reject)
        else:
            self._remove()

    # -- the handshake -----------------------------------------------------------------------

    def _read_response(self, data: bytes = b"") -> None:
        """Read more of the answer; ``data`` are the next bytes."""
        try:
            response = self._next_response(data)
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
            self.fail(TransferError(Condition.UNDEFINED_CONDITION, error.detail, error=error.name))
        except TransferError as failure:
            self.fail(failure)

    def _lose(self, socket: StreamSocket, reader: ResponseReader) -> None:
        """Report a connection that was lost before the head of an answer was complete."""
        lost = socket.lost
        assert lost is not None
        if reader.empty and socket.ended:
            self.fail(
                TransferError(
                    Condition.UNDEFINED_CONDITION,
                    f"no answer: {lost.detail}",
                    error=ErrorName.EMPTY_ANSWER,
                )
            )
        elif (
            reader.empty
            and self.request.target.scheme == "wss"
            and may_have_lost_an_alert(lost.detail)
        ):
            self._enter(_CONNECTING)
            self._drop_connection()
            self._egress.look_for_an_alert(self, lost)
        else:
            self.fail(lost)

    def _next_response(self, data: bytes) -> Response | None:
        """The answer, as soon as it is complete.

        Raises:
            BadResponse: the bytes are no HTTP response.
        """
        socket, reader = self._socket, self._reader
        assert socket is not None
        assert reader is not None
        while data := data or socket.read():
            self.heard_at = self._loop.now
            response = reader.feed(data)
            data = b""
            if response is not None:
                return response
            self._wait_for_body(reader)
        if socket.has_more:
            self._queue_turn()
        elif socket.lost is not None:
            if reader.refused:
                return reader.end()
            self._lose(socket, reader)
        return None

    def _wait_for_body(self, reader: ResponseReader) -> None:
        """Limit the wait for the body of a refusal: its head is what matters."""
        if reader.refused:
            now = self._loop.now
            if self._refused_at is None:
                self._refused_at = now
            self._set_timer(min(now + _BODY_SILENCE, self._refused_at + _BODY_TIME))

    def _take_response(self, response: Response) -> None:
        sink = self._sink
        assert sink is not None
        if response.code == 101:
            accepted = self._handshake.accept(response)
            self._note_timing()
            self._reader = None
            self._enter(_OPEN)
            self._connection = Connection(self._max_frame, accepted.deflate, self._split)
            self._connection.receive(response.rest)
            response.headers = accepted.headers
            sink.websocket_opened(response)
        elif self.request.follow_redirects and response.location is not None:
            self._follow(response.location.strip(b" \t"), response.code)
            if self.extras is not None:
                self.extras.redirected(self.request, response.code)
        else:
            self._reject()

    def _reject(self) -> None:
        """Report the origin's refusal."""
        sink, reader = self._sink, self._reader
        assert sink is not None
        assert reader is not None
        self._note_timing()
        self._sink = None
        self._remove()
        sink.websocket_rejected(reader.end())

    def _note_timing(self) -> None:
        if self.extras is not None and self.handle is not None:
            self.extras.ended(self.handle, self._loop.clock() - self._asked_at)

    # -- redirects ---------------------------------------------------------------------------

    def _start_hop(self, hop: HttpRequest) -> None:
        if hop.target.origin != self.request.target.origin:
            self._handshake.drop_secrets()
        self._enter(_CONNECTING)
        self._drop_connection()
        self._reader = None
        super()._start_hop(hop)


def _request_target(target: url.Target) -> bytes:
    """Path and query, as libcurl sends them (RFC 9112 section 3.2.1)."""
    return target.text[target.text.index("/", len(target.scheme) + len("://")) :].encode()
