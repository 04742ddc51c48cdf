"""Transfers whose answer is handed over whole.

libcurl calls ``list.append`` for each header line, which runs no Python code, and the easy handle
collects the body. Python callbacks are used only for redirects, which are followed as soon as their
head has come, and for bodies that are to be truncated.
"""

from __future__ import annotations

from io import BytesIO
from typing import Final, Protocol

import pycurl

from ..http.codings import BodyDecoder
from ..http.heads import Head, is_upgrade, read_head, read_interim, read_trailers, trailer_fields
from ..zhttp import Condition, JsonText
from .answer import LARGE_TEXT, PIECE, TEXT_PIECE, AnswerTransfer, unasked_upgrade
from .carrier import Carrier
from .errors import ErrorName, TransferError
from .handles import MOST_PIECES, PIECE_SHIFT, EasyHandle, with_slack
from .request import HttpRequest
from .transfer import HttpTransfer

__all__ = ["BufferedTransfer", "ResponseSink"]

# Bodies that expand to more than this are decoded one after the other, as each is held whole.
_LARGE: Final = 1 << 20  # bytes


class ResponseSink(Protocol):
    """Receives the result of a buffered transfer.

    Exactly one of the two is called, once, from the loop's turn; none after ``cancel``.
    """

    def response_came(self, head: Head, body: bytes | JsonText) -> None:
        """Called with the whole answer."""

    def request_failed(self, failure: TransferError) -> None:
        """Called if there will be no answer."""


class BufferedTransfer(AnswerTransfer):
    """A transfer whose answer is handed over whole."""

    __slots__ = ("_body", "_cut", "_is_large", "_most", "_output", "_sink", "_text")

    def __init__(self, egress: Carrier, request: HttpRequest, sink: ResponseSink) -> None:
        AnswerTransfer.__init__(self, egress, request)
        self._sink: ResponseSink | None = sink
        # Bytes that the decoded body may have.
        most, wanted = egress.max_response_size or None, request.max_size
        self._most = most if wanted is None else wanted if most is None else min(wanted, most)
        self._output: BytesIO | None = None  # the decoded body
        self._body = memoryview(b"")  # the rest to be encoded as JSON text
        self._text: JsonText | None = None
        self._cut = False  # enough of a body to be truncated has come
        self._is_large = False  # it has a place in `Carrier.large_bodies`

    @property
    def held(self) -> int:
        """Bytes of bodies in memory: the request's, and the answer's so far."""
        handle, output = self.handle, self._output
        return (
            len(self.request.body)
            + (0 if handle is None else handle.body.tell())
            + (0 if output is None else output.tell())
        )

    def start(self) -> None:
        """Send the request."""
        self._egress.add(self)

    def cancel(self) -> None:
        """End the transfer without a report; a request in flight loses its connection."""
        self._sink = None
        if self._is_large:
            self._egress.large_bodies.leave(self)
        if self.handle is not None or self.leave is not None:  # else it has ended
            HttpTransfer.cancel(self)

    def prepare(self, handle: EasyHandle) -> None:
        """Set the options of the current hop."""
        AnswerTransfer.prepare(self, handle)
        self._cut = False
        handle.must_yield = self._must_yield
        if self.request.truncate and self._most is not None:
            handle.watch(self._header_came, self._body_came)
        elif self.request.follow_redirects:
            handle.watch(self._header_came, None)

    def check_upgrade(self) -> None:
        """Fail if the origin has switched protocols: libcurl waits for another head."""
        handle = self.handle
        if handle is None or self.head is not None:
            return
        try:
            is_over = is_upgrade(handle.header_lines)
        except ValueError:  # libcurl is going to refuse it
            return
        if is_over:
            self.fail(unasked_upgrade())

    # -- called by libcurl: record, never raise, never call libcurl ------------------------------

    def _body_came(self, data: memoryview) -> int | None:
        """``CURLOPT_WRITEFUNCTION`` of a body to be truncated: enough bytes end the transfer."""
        handle, most = self.handle, self._most
        if handle is None or most is None:
            return None
        if self._pieces > MOST_PIECES and self._must_yield():
            return int(pycurl.WRITEFUNC_PAUSE)  # the same bytes come again
        self._pieces += 1 + (len(data) >> PIECE_SHIFT)
        handle.body.write(data)
        if handle.body.tell() > (most if self._decoder is None else with_slack(most)):
            self._cut = True
            return 0
        return None

    # -- called by the egress ------------------------------------------------------------------

    def moved(self) -> None:
        """Follow a redirect without reading its body, or decode or encode a piece of a body."""
        self._report_queued = False
        if self._sink is None:
            return
        if self.handle is not None:
            if self._redirecting:
                self._leave_response()
        elif self._text is not None:
            self._encode_piece(self._text)
        elif self._decoder is not None:
            self._unpack(self._decoder)

    def ended(self, code: int, message: str) -> None:
        """libcurl is done with the handle, with this result."""
        if code and self._retry_as_connect_host(code):
            return
        if self._redirecting:
            self._leave_response()  # body and result of a redirect are ignored
            return
        handle = self.handle
        assert handle is not None
        failure = self._refusal or (self._failure(code, message) if code else None)
        if failure and self._is_refused_redirect(failure):
            self._leave_response()
            return
        if self._cut:
            failure = None
        if failure is None:
            failure = self._complete_head(handle)
            if self._redirecting:
                self._leave_response()
                return
        body = b"" if failure is not None else handle.body.getvalue()
        if self.extras is not None:
            self.extras.ended(handle)
        self._egress.remove(self)
        if failure is not None:
            self._report(failure)
        elif self._decoder is not None:
            self._output = BytesIO()
            self._decoder.feed(body)
            self._queue_report()
        else:
            self._hand_over(body)

    def _complete_head(self, handle: EasyHandle) -> TransferError | None:
        """Parse the collected head.

        Returns:
            What is wrong with it; None if nothing is.
        """
        lines, extras = handle.header_lines, self.extras
        if self.head is not None:  # `_header_came` has read it
            if extras is not None:
                extras.trailers = trailer_fields(lines)
            return None
        try:
            head = read_head(lines)
            if head is None:
                return TransferError(
                    Condition.UNDEFINED_CONDITION, "no response head", error=ErrorName.EMPTY_ANSWER
                )
            self._take_head(head)
            if extras is not None:
                for interim in read_interim(lines):
                    extras.interim_came(interim)
                extras.trailers = read_trailers(lines)
        except ValueError as error:
            return TransferError(
                Condition.UNDEFINED_CONDITION, str(error), error=ErrorName.NOT_HTTP
            )
        except TransferError as failure:
            return failure
        return None

    def _unpack(self, decoder: BodyDecoder) -> None:
        """Decode one piece; the rest in other turns of the loop."""
        output, most = self._output, self._most
        assert output is not None
        if self._decode_job is not None or (output.tell() > _LARGE and not self._take_turn()):
            return
        try:
            piece = self._unpack_piece(decoder, PIECE)
        except TransferError as failure:
            self._report(failure)
            return
        if piece is None:
            return
        output.write(piece)
        if most is not None and decoder.produced > most:
            self._hand_over(output.getvalue())
        elif not decoder.needs_input:
            self._queue_report()
        else:
            self._hand_over(output.getvalue())

    def _hand_over(self, body: bytes) -> None:
        """Check the size of the decoded body, and hand the answer over."""
        most = self._most
        if most is not None and len(body) > most:
            # libcurl's limit has some slack, and cannot be zero.
            if not (self.request.truncate and self.extras is not None):
                detail = f"more than {most} bytes"
                self._report(TransferError(Condition.MAX_SIZE_EXCEEDED, detail))
                return
            self.extras.truncated = True
            body = body[:most]
        if self.request.as_json and len(body) > LARGE_TEXT:
            self._text, self._body = JsonText(), memoryview(body)
            self._queue_report()
        else:
            self._finish(body)

    def _encode_piece(self, text: JsonText) -> None:
        """Encode one piece as JSON text; the rest in other turns of the loop."""
        if not self._take_turn():
            return
        piece, self._body = self._body[:TEXT_PIECE], self._body[TEXT_PIECE:]
        text.feed(piece, last=not self._body)
        if self._body:
            self._queue_report()
        else:
            self._finish(text)

    def _take_turn(self) -> bool:
        self._is_large = True
        return self._egress.large_bodies.enter(self)

    def _finish(self, body: bytes | JsonText) -> None:
        assert self.head is not None
        if self._is_large:
            self._egress.large_bodies.leave(self)
        if self._sink is not None:  # None: cancelled by a report before this one
            self._sink.response_came(self.head, body)

    def fail(self, failure: TransferError) -> None:
        """End without an answer, for a reason that does not come from libcurl."""
        self._egress.remove(self)
        self._report(failure)

    def _report(self, failure: TransferError) -> None:
        if self._is_large:
            self._egress.large_bodies.leave(self)
        if self._sink is not None:  # None: cancelled by a report before this one
            self._sink.request_failed(failure)
