"""HTTP transfers with flow control: bytes for which there is no room stay in the kernel."""

from __future__ import annotations

from typing import Final, Protocol

import pycurl

from ..http.codings import BodyDecoder
from ..http.heads import Head, trailer_fields
from ..zhttp import Condition, JsonText
from .answer import LARGE_TEXT, PIECE, TEXT_PIECE, AnswerTransfer
from .carrier import Carrier
from .errors import ErrorName, TransferError
from .handles import MOST_PIECES, PIECE_SHIFT, EasyHandle
from .request import HttpRequest, header_lines
from .upload import UploadBody

__all__ = ["StreamSink", "StreamTransfer"]

# Requests with these methods are not sent before it is known whether they have a body.
_HELD_BACK: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"DELETE"))
_UPLOAD_BUFFER: Final = 131_072  # bytes of one send, which takes a tenth of a turn
# Bytes of an upload that are kept so that they can be sent again, after a redirect or when a kept
# connection is lost.
_REPLAY_LIMIT: Final = 1_000_000
_REPEAT_LIMIT: Final = 131_072
_CODED_AHEAD: Final = 65_536  # bytes of body that may wait for the decoder


class StreamSink(Protocol):
    """The owner of a streamed transfer: a session."""

    def transfer_moved(self) -> None:
        """Called when a head or body has come, upload was sent, or the transfer has ended."""


class StreamTransfer(AnswerTransfer):
    """A request whose body is fed, and whose answer is read, as far as there is room.

    Args:
        limit: bytes of the answer to read ahead; None: all of it.

    Attributes:
        failure: why the transfer ended without a complete answer, if it did.
        ended_well: the whole answer has come.
    """

    __slots__ = (
        "_body",
        "_coded",
        "_cut",
        "_input_over",
        "_limit",
        "_most",
        "_outcome",
        "_read_paused",
        "_received",
        "_started",
        "_stream_sink",
        "_text",
        "_upload",
        "_write_paused",
        "ended_well",
        "failure",
    )

    def __init__(
        self, egress: Carrier, request: HttpRequest, sink: StreamSink, limit: int | None
    ) -> None:
        super().__init__(egress, request)
        self.streamed = True
        self._stream_sink: StreamSink | None = sink
        self._limit = limit
        self._most = request.max_size  # bytes of body; None: no limit
        if limit is None and egress.max_response_size:
            bound = egress.max_response_size
            self._most = bound if self._most is None else min(self._most, bound)
        self._body = bytearray()
        self._coded = bytearray()  # of the body, not fed to the decoder yet
        self.failure: TransferError | None = None
        self.ended_well = False
        self._cut = False  # the body is complete as far as it is wanted
        self._input_over = False  # libcurl has ended; a part of the body is still to be decoded
        self._outcome: TransferError | None = None  # libcurl's result
        self._text: JsonText | None = None  # the whole body, as far as it is encoded
        self._write_paused = False
        self._read_paused = False
        self._received = 0  # bytes of body of this hop
        self._started = False
        kept = _REPLAY_LIMIT if request.follow_redirects else _REPEAT_LIMIT
        self._upload = UploadBody(request.body if request.upload else b"", kept)
        self._upload.ended = not request.upload

    # -- used by sessions --------------------------------------------------------------------

    @property
    def taken(self) -> int:
        """Bytes of the request body that libcurl has taken, not counted again on later hops."""
        return self._upload.taken

    @property
    def unsent(self) -> int:
        """Bytes of the request body that wait for libcurl."""
        return self._upload.unsent

    def start(self) -> None:
        """Send the request, or hold it back until it is known whether it has a body."""
        request = self.request
        if request.upload and request.method in _HELD_BACK and not request.body:
            return
        self._start_now()

    def feed(self, data: bytes) -> None:
        """Add bytes to the request body."""
        if not data:
            return
        self._upload.feed(data)
        if not self.request.upload:
            self._queue_report()  # a redirect has dropped the body: these bytes count as taken
        elif self._started:
            self._resume_upload()
        elif self.request.method == b"HEAD":
            self._end(TransferError(Condition.CONTENT_NOT_ALLOWED, "HEAD with a body"))
        else:
            self._start_now()

    def end_upload(self) -> None:
        """Note that the request body is complete."""
        self._upload.ended = True
        if self._started:
            self._resume_upload()
        elif self.failure is None:
            self.request.upload = False
            self._start_now()

    def _start_now(self) -> None:
        self._started = True
        self._egress.add(self)

    def read(self, size: int) -> bytes | bytearray:
        """Take up to ``size`` bytes of the body; empty if there are none now."""
        data: bytes | bytearray
        if size >= len(self._body):  # the usual case
            data, self._body = self._body, bytearray()
        else:
            data = bytes(memoryview(self._body)[:size])
            del self._body[:size]
        if self._limit is not None and len(self._body) * 2 <= self._limit:
            if self._decoder is not None:
                if not self._decoder.needs_input:
                    self._queue_report()
            elif self._write_paused:
                self._write_paused = False
                self._unpause()
        return data

    def read_whole(self) -> bytes | bytearray | JsonText | None:
        """Take the whole body of an answer that has ended well.

        A large one for JSON is encoded in pieces, one in each call, after those of others that came
        before: None until it is complete. The sink is told when to call again.
        """
        if self._text is None:
            if not self.request.as_json or len(self._body) <= LARGE_TEXT:
                return self.read(len(self._body))
            self._text = JsonText()
        if not self._egress.large_bodies.enter(self):
            return None
        piece = bytes(self._body[:TEXT_PIECE])
        del self._body[:TEXT_PIECE]
        self._text.feed(piece, last=not self._body)
        if not self._body:
            self._egress.large_bodies.leave(self)
            return self._text
        self._queue_report()
        return None

    @property
    def buffered(self) -> int:
        """Bytes of body that wait for ``read``."""
        return len(self._body)

    def cancel(self) -> None:
        """End the transfer without a report; an open exchange loses its connection."""
        self._stream_sink = None
        if self._text is not None:
            self._egress.large_bodies.leave(self)
        super().cancel()

    # -- used by the egress ------------------------------------------------------------------

    def prepare(self, handle: EasyHandle) -> None:
        """Set the options of this hop of the request."""
        self._read_paused = self._write_paused = self._cut = False
        self._received = 0
        self._coded.clear()
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
        lines = [*header_lines(request, self.verifies_connect_host), b"Expect:"]
        if request.content_length is not None:
            handle.set(pycurl.INFILESIZE_LARGE, request.content_length)
        else:
            lines.append(b"Transfer-Encoding: chunked")
        handle.set(pycurl.HTTPHEADER, lines)

    def moved(self) -> None:
        """Do what callbacks may not do, and report to the sink, once per turn of the loop."""
        self._report_queued = False
        if not self._restricted:
            self._pieces = 0
        if self._stream_sink is None:
            return
        if self._redirecting and self.handle is not None:
            self._leave_response()
            return
        if self._decoder is not None and not self._ended:
            self._unpack(self._decoder)
        self._stream_sink.transfer_moved()

    def ended(self, code: int, message: str) -> None:
        """libcurl is done with the handle, with this result."""
        if code and self._retry_as_connect_host(code):
            return
        if self._redirecting:
            self._leave_response()  # body and result of a redirect are ignored
            return
        handle = self.handle
        assert handle is not None
        failure = None if self._cut else self._refusal
        if code and not self._cut and failure is None:
            failure = self._failure(code, message)
            if failure and self._is_refused_redirect(failure):
                self._leave_response()
                return
        if failure is None and self.head is None:
            failure = TransferError(
                Condition.UNDEFINED_CONDITION, "no response head", error=ErrorName.EMPTY_ANSWER
            )
        if self.extras is not None:
            self.extras.ended(handle)
            self.extras.trailers = trailer_fields(handle.header_lines)
        self._egress.remove(self)
        if self._decoder is None:
            self._end(failure)
            return
        self._input_over = True
        self._outcome = failure
        self._queue_report()

    def fail(self, failure: TransferError) -> None:
        """End without an answer, for a reason other than a libcurl result."""
        self._egress.remove(self)
        self._end(failure)

    @property
    def _ended(self) -> bool:
        return self.ended_well or self.failure is not None

    def _end(self, failure: TransferError | None) -> None:
        self.failure = failure
        self.ended_well = failure is None
        self._queue_report()

    def rewind(self) -> bool:
        """Prepare to send the request again from its beginning; False if that is impossible."""
        return not self.request.upload or self._upload.rewind()

    def _start_hop(self, hop: HttpRequest) -> None:
        """Start the next hop; its body, if it has one, is sent from the beginning."""
        if self.request.upload and not hop.upload:
            self._upload.discard()
            self._queue_report()
        elif hop.upload and not self._upload.rewind():
            detail = f"a redirect asks for a body over {_REPLAY_LIMIT} bytes again"
            raise TransferError(Condition.UNDEFINED_CONDITION, detail, error=ErrorName.BAD_REDIRECT)
        super()._start_hop(hop)

    def _is_paused(self) -> bool:
        return self._write_paused

    # -- the body's coding -----------------------------------------------------------------------

    def _unpack(self, decoder: BodyDecoder) -> None:
        """Decode one piece, if there is room for it; the rest in other turns of the loop."""
        if self._decode_job is not None:
            return
        self._feed_decoder(decoder)
        room = PIECE if self._limit is None else min(PIECE, self._limit - self.buffered)
        if self._decoded is not None or (room > 0 and not decoder.needs_input):
            try:
                piece = self._unpack_piece(decoder, room)
            except TransferError as failure:
                self.fail(failure)
                return
            if piece is None:
                return
            if not self._take(piece):
                self._egress.remove(self)
                self._end(self._refusal)
                return
        if self._write_paused and decoder.waiting * 2 <= _CODED_AHEAD:
            self._write_paused = False
            self._unpause()
        if not decoder.needs_input:
            if self._limit is None or self.buffered < self._limit:
                self._queue_report()
        elif self._input_over:
            self._end(self._outcome)

    def _feed_decoder(self, decoder: BodyDecoder) -> None:
        if self._coded:
            decoder.feed(bytes(self._coded))
            self._coded.clear()

    def _take(self, data: bytes | memoryview) -> bool:
        """Add bytes to the body within its limit; False if the limit is reached."""
        most = self._most
        if most is None or self._received + len(data) <= most:
            self._body += data
            self._received += len(data)
            return True
        if self.request.truncate and self.extras is not None:
            self._body += data[: most - self._received]
            self._received = most
            self._cut = self.extras.truncated = True
        else:
            self._stop(Condition.MAX_SIZE_EXCEEDED, f"more than {most} bytes")
        return False

    # -- called by libcurl: record, never raise, never call libcurl ------------------------------

    def _body_came(self, data: memoryview) -> int | None:
        if self._redirecting:
            return None
        if self._pieces > MOST_PIECES and self._must_yield():
            return int(pycurl.WRITEFUNC_PAUSE)  # the same bytes come again
        self._pieces += 1 + (len(data) >> PIECE_SHIFT)
        if self._decoder is not None:
            return self._coded_came(self._decoder, data)
        body = self._body
        if self._limit is not None and body and len(body) + len(data) > self._limit:
            self._write_paused = True
            return int(pycurl.WRITEFUNC_PAUSE)  # the same bytes come again
        if not self._take(data):
            return 0
        if not self._report_queued:
            self._queue_report()
        return None

    def _coded_came(self, decoder: BodyDecoder, data: memoryview) -> int | None:
        waiting = decoder.waiting + len(self._coded)
        if waiting and waiting + len(data) > _CODED_AHEAD:
            self._write_paused = True
            return int(pycurl.WRITEFUNC_PAUSE)
        if self._decode_job is not None or self._coded:
            self._coded += data  # the decoder is in use by another thread
            return None
        decoder.feed(bytes(data))
        self._queue_report()
        return None

    def _take_head(self, head: Head) -> None:
        super()._take_head(head)
        if not self._redirecting:
            self._upload.keep_no_more()

    def _body_wanted(self, size: int) -> bytes | int:
        upload = self._upload
        if not upload.unsent:
            if upload.ended:
                return b""
            self._read_paused = True
            return int(pycurl.READFUNC_PAUSE)
        before = upload.taken
        data = upload.take(size)
        if upload.taken > before:
            self._queue_report()
        return data

    # ------------------------------------------------------------------------------------------

    def _resume_upload(self) -> None:
        if self._read_paused and self.handle is not None:
            self._read_paused = False
            self._unpause()

    def _unpause(self) -> None:
        """Resume both directions; libcurl may call callbacks, which may pause again.

        A transfer that waits for its turn goes on sending only.
        """
        handle = self.handle
        if handle is not None:
            directions = pycurl.PAUSE_RECV if self.yielded else pycurl.PAUSE_CONT
            if self._set_paused(handle, directions):
                self.lift_limit()
