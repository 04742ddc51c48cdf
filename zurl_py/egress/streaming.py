"""HTTP transfers with flow control: what nobody has room for stays in the kernel."""

from __future__ import annotations

from collections import deque
from typing import Protocol

import pycurl

from ..http.fields import Head, decoded_headers, is_upgrade, read_head
from ..zhttp import Condition
from .carrier import Carrier
from .errors import ErrorName, TransferError
from .handles import EasyHandle
from .request import HttpRequest, header_lines
from .transfer import HttpTransfer

__all__ = ["StreamSink", "StreamTransfer"]

# Methods that are held back until it is known whether they have a body.
_HELD_BACK = frozenset((b"GET", b"HEAD", b"OPTIONS", b"DELETE"))
# An upload is kept up to this size, to be sent again where a redirect asks for it.
_REPLAY_LIMIT = 1_000_000
# And up to this size for the case that a kept connection dies under it.
_REPEAT_LIMIT = 131_072
_UPLOAD_BUFFER = 131_072  # bytes that one send may have; each costs a tenth of a turn of the loop


class StreamSink(Protocol):
    """Whoever asked for a streamed transfer."""

    def transfer_moved(self) -> None:
        """A head or body came, an upload was taken, or the transfer ended: look at it."""


class StreamTransfer(HttpTransfer):
    """A request whose body is fed and whose answer is read as both sides have room.

    Attributes:
        head: the final response head, once it is complete.
        failure: why the transfer ended without a complete answer, if it did.
        ended_well: the whole answer is here (or was read already).
        taken: bytes of the request body that libcurl took for the network, over all hops
            counted once.
        unsent: bytes of the request body that wait for libcurl.
    """

    __slots__ = (
        "_body",
        "_dirty",
        "_limit",
        "_most",
        "_offset",
        "_position",
        "_read_paused",
        "_received",
        "_redirecting",
        "_refusal",
        "_replay",
        "_replay_limit",
        "_replay_size",
        "_started",
        "_stream_sink",
        "_unsent",
        "_upload_ended",
        "_write_paused",
        "ended_well",
        "failure",
        "head",
        "taken",
        "unsent",
    )

    def __init__(
        self, egress: Carrier, request: HttpRequest, sink: StreamSink, limit: int | None
    ) -> None:
        super().__init__(egress, request)
        self.streamed = True
        self._stream_sink: StreamSink | None = sink
        self._limit = limit  # bytes read ahead; None where the whole answer is collected
        self._most = request.max_size  # bytes of body, where that is bounded
        if limit is None and egress.max_response_size:
            bound = egress.max_response_size
            self._most = bound if self._most is None else min(self._most, bound)
        self._body = bytearray()
        self.head: Head | None = None
        self.failure: TransferError | None = None
        self.ended_well = False
        self._write_paused = False
        self._read_paused = False
        self._redirecting = False
        self._received = 0  # bytes of body of this hop
        self._refusal: TransferError | None = None  # why we made libcurl stop
        self._dirty = False
        self._started = False
        self._unsent: deque[bytes] = deque()
        self._offset = 0  # bytes of the first of these that have gone
        self.unsent = 0
        if request.upload and request.body:
            self._unsent.append(request.body)
            self.unsent = len(request.body)
        self._upload_ended = not request.upload
        self._replay_limit = _REPLAY_LIMIT if request.follow_redirects else _REPEAT_LIMIT
        self._replay: list[bytes] | None = list(self._unsent) if request.upload else None
        self._replay_size = len(request.body)
        if self._replay_size > self._replay_limit:
            self._replay = None
        self._position = 0
        self.taken = 0

    # -- used by sessions --------------------------------------------------------------------

    def start(self) -> None:
        """Send the request, or hold it back until it is known whether it has a body."""
        request = self.request
        if request.upload and request.method in _HELD_BACK and not request.body:
            return
        self._start_now()

    def feed(self, data: bytes) -> None:
        """More of the request body."""
        if not data:
            return
        self._unsent.append(data)
        self.unsent += len(data)
        if self._replay is not None:
            self._replay.append(data)
            self._replay_size += len(data)
            if self._replay_size > self._replay_limit:
                self._replay = None
        if self._started:
            self._resume_upload()
        elif self.request.method == b"HEAD":
            self._end(TransferError(Condition.CONTENT_NOT_ALLOWED, "HEAD with a body"))
        else:
            self._start_now()

    def end_upload(self) -> None:
        """The request body is complete."""
        self._upload_ended = True
        if self._started:
            self._resume_upload()
        elif self.failure is None:
            self.request.upload = False
            self._start_now()

    def _start_now(self) -> None:
        self._started = True
        self._egress.add(self)

    def read(self, size: int) -> bytes | bytearray:
        """Up to ``size`` bytes of the body; nothing if there is nothing now."""
        data: bytes | bytearray
        if size >= len(self._body):
            data, self._body = self._body, bytearray()
        else:
            data = bytes(memoryview(self._body)[:size])
            del self._body[:size]
        if self._write_paused and self._limit is not None and self.buffered * 2 <= self._limit:
            self._write_paused = False
            self._unpause()
        return data

    @property
    def buffered(self) -> int:
        """Bytes of body that wait for ``read``."""
        return len(self._body)

    def cancel(self) -> None:
        """End the transfer; an exchange under way loses its connection. Nothing is reported."""
        self._stream_sink = None
        super().cancel()

    # -- used by the egress ------------------------------------------------------------------

    def prepare(self, handle: EasyHandle) -> None:
        """Set the options of this hop of the request."""
        self._redirecting = False
        self._read_paused = self._write_paused = False
        self._position = self._received = 0
        super().prepare(handle)
        handle.stream(self._header_came, self._body_came)
        if self.request.upload:
            self._prepare_upload(handle)

    def _prepare_upload(self, handle: EasyHandle) -> None:
        request = self.request
        handle.set(pycurl.UPLOAD, 1)
        handle.set(pycurl.CUSTOMREQUEST, request.method)
        handle.set(pycurl.READFUNCTION, self._body_wanted)
        handle.set(pycurl.UPLOAD_BUFFERSIZE, _UPLOAD_BUFFER)
        lines = [*header_lines(request, self._verify_connect_host), b"Expect:"]
        if request.content_length is not None:
            handle.set(pycurl.INFILESIZE_LARGE, request.content_length)
        else:
            lines.append(b"Transfer-Encoding: chunked")
        handle.set(pycurl.HTTPHEADER, lines)

    def moved(self) -> None:
        """Tell the sink, once per turn of the loop."""
        self._dirty = False
        if self._stream_sink is not None:
            self._stream_sink.transfer_moved()

    def ended(self, code: int, message: str) -> None:
        """libcurl is done with the handle, with this result."""
        if self._retry_as_connect_host(code):
            return
        failure = self._refusal or self._failure(code, message)
        if self.head is None:
            self._look_at_head()
        self._egress.remove(self)
        head = self.head
        if head is None:
            failure = failure or TransferError(
                Condition.UNDEFINED_CONDITION, "no response head", error=ErrorName.NOT_HTTP
            )
        elif self._redirecting and (
            # The body of a redirect counts for nothing, and neither does its size.
            failure is None or failure.condition == Condition.MAX_SIZE_EXCEEDED
        ):
            try:
                self._send_again(head)
                return
            except TransferError as stop:
                failure = stop
        self._end(failure)

    def fail(self, failure: TransferError) -> None:
        """End without an answer, for a reason that is not libcurl's."""
        self._egress.remove(self)
        self._end(failure)

    def _end(self, failure: TransferError | None) -> None:
        self.failure = failure
        self.ended_well = failure is None
        self._mark()

    def rewind(self) -> bool:
        """Make ready to send all of the request again; whether that can be done."""
        if self.request.upload and self._position:
            if self._replay is None:
                return False
            self._unsent = deque(self._replay)
            self._offset, self.unsent = 0, self._replay_size
        return True

    def _send_again(self, head: Head) -> None:
        self.head = None
        self._redirecting = False
        if head.code == 303:
            self._unsent.clear()
            self._offset = self.unsent = 0
        elif self.request.upload:
            if self._replay is None:
                raise TransferError(
                    Condition.UNDEFINED_CONDITION,
                    f"a redirect asks for a body over {_REPLAY_LIMIT} bytes again",
                    error=ErrorName.BAD_REDIRECT,
                )
            self._unsent = deque(self._replay)
            self._offset, self.unsent = 0, self._replay_size
        self._follow(head.first(b"location") or b"", head.code)

    # -- called by libcurl: record, never raise, never call libcurl ------------------------------

    def _mark(self) -> None:
        if not self._dirty:
            self._dirty = True
            self._egress.moved.append(self)

    def _header_came(self, line: bytes) -> int | None:
        assert self.handle is not None
        lines = self.handle.header_lines
        lines.append(line)
        if len(line) <= 2 and self.head is None:
            self._look_at_head()
            if self.head is None:
                if is_upgrade(lines):
                    return self._stop(Condition.UNDEFINED_CONDITION, "101 to a plain request")
                lines.clear()  # an interim head: not to be read again with each that follows
        return None

    def _look_at_head(self) -> None:
        assert self.handle is not None
        try:
            head = read_head(self.handle.header_lines)
        except ValueError:
            return  # libcurl refuses it as well, or the end of the transfer will show it
        if head is None:
            return
        self._redirecting = self._is_redirect(head)
        head.headers = decoded_headers(head)
        self.head = head
        if not self._redirecting:
            self._mark()

    def _body_came(self, data: memoryview) -> int | None:
        if self._redirecting:
            return None
        most = self._most
        if most is not None and self._received + len(data) > most:
            return self._stop(Condition.MAX_SIZE_EXCEEDED, f"more than {most} bytes")
        body = self._body
        if self._limit is not None and body and len(body) + len(data) > self._limit:
            self._write_paused = True
            return int(pycurl.WRITEFUNC_PAUSE)  # the same bytes come again
        body += data
        self._received += len(data)
        if not self._dirty:
            self._mark()
        return None

    def _stop(self, condition: bytes, detail: str) -> int:
        """End the transfer from a callback: libcurl takes "nothing written" for an error."""
        self._refusal = TransferError(condition, detail)
        return 0

    def _body_wanted(self, size: int) -> bytes | int:
        if not self.unsent:
            if self._upload_ended:
                return b""
            self._read_paused = True
            return int(pycurl.READFUNC_PAUSE)
        data = self._take(size)
        self._position += len(data)
        if self._position > self.taken:
            self.taken = self._position
            self._mark()
        return data

    def _take(self, size: int) -> bytes:
        """The next bytes of the request body, ``size`` at most: many small pieces in one."""
        pieces, start = self._unsent, self._offset
        data = pieces[0][start : start + size]  # no copy, where it is the whole piece
        self.unsent -= len(data)
        if start + len(data) < len(pieces[0]):
            self._offset = start + len(data)
            return data
        pieces.popleft()
        self._offset = 0
        if pieces and len(data) + len(pieces[0]) <= size:
            parts, total = [data], len(data)
            while pieces and total + len(pieces[0]) <= size:
                total += len(pieces[0])
                parts.append(pieces.popleft())
            self.unsent -= total - len(data)
            data = b"".join(parts)
        return data

    # ------------------------------------------------------------------------------------------

    def _resume_upload(self) -> None:
        if self._read_paused and self.handle is not None:
            self._read_paused = False
            self._unpause()

    def _unpause(self) -> None:
        """Resume both directions; libcurl may call back before this returns, and pause again."""
        if self.handle is not None:
            try:
                self.handle.curl.unpause()
            except pycurl.error as error:
                self._egress.remove(self)
                self._end(TransferError.from_curl(*error.args[:2]))
