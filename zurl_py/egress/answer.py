"""The beginning of an answer: its head, redirects, and the content coding of its body."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from typing import Final

import pycurl

from ..http.codings import BadCoding, BodyDecoder, choose_coding
from ..http.heads import BLANK_LINES, Head, is_upgrade, read_head, read_interim
from ..http.redirects import is_redirect
from ..zhttp import Condition
from .carrier import Carrier
from .decoding import DecodeJob
from .errors import ErrorName, TransferError
from .extras import Extras
from .handles import MOST_PIECES, EasyHandle
from .request import HttpRequest
from .throttle import FIRST_PORTION
from .transfer import HttpTransfer

__all__ = ["LARGE_TEXT", "PIECE", "TEXT_PIECE", "AnswerTransfer", "unasked_upgrade"]

PIECE: Final = 65_536  # bytes of a coded body that are decoded at a time
# Larger whole bodies are encoded as JSON text in pieces of TEXT_PIECE bytes.
LARGE_TEXT: Final = 1 << 18  # bytes
TEXT_PIECE: Final = 1 << 15  # bytes

# RFC 9110 section 15.5.20: the origin may serve the request over another connection, here TCP.
_MISDIRECTED: Final = 421

_NO_BODY: Final = (204, 304)
# libcurl's reasons for refusing an answer by a field about its body.
_ABOUT_BODIES: Final = (ErrorName.BAD_FRAMING, ErrorName.BAD_ENCODING, ErrorName.MAX_SIZE)
_PARTIAL_CONTENT: Final = 206
_SLACK: Final = 1 << 20  # decoded bytes to which max_expansion does not apply
_TCP_INFO_SIZE: Final = 136
_BYTES_RECEIVED: Final = struct.Struct("128xQ")  # tcpi_bytes_received
# Bytes of an answer beyond its heads and its body; a chunk of one byte has five of them.
_FRAMING: Final = 1_000_000
_FRAMING_PER_BYTE: Final = 8
_SINCE_LAST_DATA: Final = struct.Struct("52xI")  # tcpi_last_data_recv of <linux/tcp.h>; ms


class AnswerTransfer(HttpTransfer):
    """The common part of transfers whose answer is read by libcurl.

    Attributes:
        head: the final response head, once it is complete.
        extras: collects what the worker asked for beside the answer; None: nothing.
        yielded: paused until its turn (see `Throttle`).
        portion: bytes that it may read in its turn.
    """

    __slots__ = (
        "_decode_job",
        "_decoded",
        "_decoder",
        "_framing_start",
        "_heard_at",
        "_limited",
        "_pieces",
        "_redirecting",
        "_refusal",
        "_report_queued",
        "_restricted",
        "_seen",
        "extras",
        "head",
        "portion",
        "yielded",
    )

    def __init__(self, egress: Carrier, request: HttpRequest) -> None:
        HttpTransfer.__init__(self, egress, request)
        self.head: Head | None = None
        self.extras = Extras(request) if Extras.wanted(request) else None
        self._decoder: BodyDecoder | None = None
        self._decode_job: DecodeJob | None = None  # another thread uses `_decoder`
        self._decoded: DecodeJob | None = None  # it is done
        self._heard_at = 0.0
        self._seen = (0, 0)  # hops and progress at the last call of `last_activity`
        self._report_queued = False  # `moved` will be called
        self._pieces = 0  # of the body, and interim heads, in this turn
        self.yielded = False
        self.portion = FIRST_PORTION
        self._framing_start: int | None = None  # bytes on this connection that are no payload
        self._limited = False  # a speed limit is set
        self._restricted = False  # it yields before its first piece
        self._redirecting = False  # the head is a redirect, so the body is ignored
        self._refusal: TransferError | None = None  # why we made libcurl stop

    def prepare(self, handle: EasyHandle) -> None:
        """Set the options of the current hop."""
        self.head = self._refusal = self._decoder = None
        self._decode_job = self._decoded = self._framing_start = None
        self._redirecting = self.yielded = self._limited = self._restricted = False
        self._pieces = 0
        handle.apply(self.request, self.verifies_connect_host)

    def moved(self) -> None:
        """Do what callbacks may not do; called once per turn of the loop."""
        raise NotImplementedError

    def _queue_report(self) -> None:
        if not self._report_queued:
            self._report_queued = True
            self._egress.moved.append(self)

    def _must_yield(self) -> bool:
        """Whether libcurl has to pause the transfer, whose next turn resumes it."""
        if not (self._restricted or self._egress.is_late):
            return False
        self._restricted = False
        self.yielded = True
        self._egress.pause_until_turn(self)
        return True

    # -- turns of transfers that take much time, called by `Throttle` ----------------------------

    def restrict(self, limit: int) -> None:
        """Go on, but pause before the next piece of the body, and read little until then."""
        handle = self.handle
        if handle is None or handle.window is not None or self._is_paused():
            return
        self._limited = self._restricted = True
        self.portion = limit
        self._pieces = handle.pieces = MOST_PIECES + 1
        self._limit_speed(handle, limit)

    @property
    def socket(self) -> int:
        """The descriptor of the connection; -1 if there is none."""
        handle = self.handle
        return -1 if handle is None else int(handle.curl.getinfo(pycurl.ACTIVESOCKET))

    def pause(self) -> bool:
        """Pause until the next turn; False if there is nothing to pause."""
        handle = self.handle
        if handle is None or handle.window is not None or self._is_paused():
            return False
        if handle.curl.getinfo(pycurl.INFO_HTTP_VERSION) >= _HTTP_2:
            return False  # its connection is read for others as well, and has windows
        try:
            handle.curl.pause(pycurl.PAUSE_RECV)
        except pycurl.error:  # it has ended
            return False
        self.yielded = True
        return True

    def resume(self, limit: int) -> bool:
        """Go on, for ``limit`` bytes of the body; False if it stays paused."""
        self.yielded = False
        self._pieces = 0
        handle = self.handle
        if handle is None or self._is_paused():
            return False
        if not self._set_paused(handle, pycurl.PAUSE_CONT):
            return False
        # Only now: libcurl resumes a paused transfer whose limit is set.
        if handle.window is None and not self.yielded and not self._is_paused():
            self._limited = True
            handle.limit_speed(limit)
        return True

    def check_framing(self) -> None:
        """End the transfer if its answer consists of chunk extensions or the like."""
        handle, info = self.handle, _tcp_info(self.socket)
        if handle is None or info is None:
            return
        getinfo = handle.curl.getinfo
        if getinfo(pycurl.INFO_HTTP_VERSION) not in _HTTP_1:
            return
        payload = int(getinfo(pycurl.SIZE_DOWNLOAD_T)) + getinfo(pycurl.HEADER_SIZE)
        framing = _BYTES_RECEIVED.unpack_from(info)[0] - payload
        if self._framing_start is None:
            self._framing_start = framing  # earlier answers on this connection are part of it
        elif framing - self._framing_start > _FRAMING + _FRAMING_PER_BYTE * payload:
            detail = f"more than {_FRAMING} bytes of chunk framing for {payload} bytes"
            condition, error = Condition.UNDEFINED_CONDITION, ErrorName.BAD_FRAMING
            self._egress.report(self, self.fail, TransferError(condition, detail, error=error))

    def lift_limit(self) -> None:
        """Go on without a limit."""
        if self._limited and self.handle is not None and not (self.yielded or self._is_paused()):
            self._limited = False
            self._limit_speed(self.handle, 0)

    def _set_paused(self, handle: EasyHandle, directions: int) -> bool:
        """Pause and resume; libcurl may call callbacks. False: the transfer has ended."""
        try:
            handle.curl.pause(directions)
        except pycurl.error as error:
            if error.args[0] != pycurl.E_BAD_FUNCTION_ARGUMENT:  # else libcurl reports its result
                self.ended(*error.args[:2])
            return False
        return True

    def _limit_speed(self, handle: EasyHandle, limit: int) -> None:
        """Change the speed limit of a transfer that may have reached it."""
        handle.limit_speed(limit)
        if self.multi is not None:
            # libcurl waits for up to a second, and looks at the limit when a transfer is resumed.
            with contextlib.suppress(pycurl.error):  # it has ended
                handle.curl.pause(pycurl.PAUSE_CONT)
            self.multi.call()

    def _is_paused(self) -> bool:
        """Whether the transfer is paused because nobody takes its body."""
        return False

    def last_activity(self, now: float) -> float:
        """Time when the origin last sent anything, as far as is known at ``now``.

        Any byte on the connection counts, also a part of a line. Where transfers share the
        connection, only what libcurl has handed on since the last call counts.
        """
        seen, handle = (self.hops, self.progress), self.handle
        came = None
        if handle is not None and handle.curl.getinfo(pycurl.INFO_HTTP_VERSION) < _HTTP_2:
            came = _last_data(handle.curl.getinfo(pycurl.ACTIVESOCKET), now)
        if came is None or seen[0] != self._seen[0]:
            came = now if seen != self._seen else self._heard_at
        self._seen = seen
        self._heard_at = max(self._heard_at, came)
        return self._heard_at

    @property
    def progress(self) -> int:
        """A number that grows as the origin sends and the body is decoded."""
        done = self._decoder.consumed if self._decoder is not None else 0
        handle = self.handle
        if handle is None:
            return done
        return len(handle.header_lines) + int(handle.curl.getinfo(pycurl.SIZE_DOWNLOAD_T))

    # -- called by libcurl: record, never raise, never call libcurl ------------------------------

    def _header_came(self, line: bytes) -> int | None:
        handle = self.handle
        if handle is None:  # a part of a line, of a transfer that is just being removed
            return None
        lines = handle.header_lines
        lines.append(line)
        if len(line) <= 2 and self.head is None and line in BLANK_LINES:
            try:
                return self._block_ended(lines)
            except Exception:
                return handle.fail(0)
        return None

    def _block_ended(self, lines: list[bytes]) -> int | None:
        """A head is complete. Remove its lines: lines after the final head are trailers."""
        if self._pieces > MOST_PIECES and self._must_yield():
            lines.pop()
            return int(pycurl.WRITEFUNC_PAUSE)  # the same line comes again
        self._pieces += 1
        try:
            head = read_head(lines)
            if head is not None:
                self._take_head(head)
                if self.extras is not None:
                    self.extras.head_came(head)
            elif is_upgrade(lines):
                self._refusal = unasked_upgrade()
                return 0
            elif self.extras is not None:
                for interim in read_interim(lines):
                    self.extras.interim_came(interim)
        except ValueError as error:
            return self._stop(Condition.UNDEFINED_CONDITION, str(error), ErrorName.NOT_HTTP)
        except TransferError as refusal:
            self._refusal = refusal
            return 0
        lines.clear()
        self._queue_report()
        return None

    def _take_head(self, head: Head) -> None:
        """Handle the final head.

        Raises:
            TransferError: its content coding cannot be decoded.
        """
        self.head = head
        if head.code == _MISDIRECTED and head.version == "3" and not self.request.upload:
            self._redirecting = True
        else:
            self._redirecting = self.request.follow_redirects and is_redirect(head)
        if head.codings and not self._redirecting:
            self._decoder = self._choose_decoder(head)

    def _is_refused_redirect(self, failure: TransferError) -> bool:
        """Whether libcurl refused a redirect because of fields about its body, which is ignored.

        The head is known up to there: where Location comes behind it, there is no redirect.
        """
        handle = self.handle
        if self.head is not None or handle is None or failure.error not in _ABOUT_BODIES:
            return False
        if not self.request.follow_redirects:
            return False
        try:
            head = read_head([*handle.header_lines, b"\r\n"])
        except ValueError:
            return False
        if head is None or not is_redirect(head):
            return False
        self.head = head
        return True

    def _stop(self, condition: bytes, detail: str, error: str = "") -> int:
        """End the transfer from a callback: for libcurl, "nothing written" is an error."""
        self._refusal = TransferError(condition, detail, error=error)
        return 0

    # -- the body's coding -----------------------------------------------------------------------

    def _choose_decoder(self, head: Head) -> BodyDecoder | None:
        """The decoder for this answer's body; None where it is handed on as it is.

        Raises:
            TransferError: it has several codings.
        """
        request = self.request
        codings = head.codings
        if not request.offers_codings or request.discard:
            return None
        if head.code == _PARTIAL_CONTENT or head.code in _NO_BODY:
            return None
        try:
            coding = choose_coding(codings)
        except BadCoding as error:
            raise _bad_encoding(error) from None
        if coding is None:
            return None
        head.drop_length()
        return BodyDecoder(coding)

    def _unpack_piece(self, decoder: BodyDecoder, size: int) -> bytes | None:
        """Decode a piece of the body.

        Returns:
            None while another thread decodes it.

        Raises:
            TransferError: the body does not fit its coding, or exceeds ``max_expansion``.
        """
        try:
            if self._decoded is not None:
                job, self._decoded = self._decoded, None
                piece = job.result()
            elif decoder.takes_long:
                self._decode_job = job = DecodeJob(decoder, size, self._piece_decoded)
                self._egress.decode(job)
                return None
            else:
                piece = decoder.read(size)
        except BadCoding as error:
            raise _bad_encoding(error) from None
        most = self._egress.max_expansion
        if most and decoder.produced > most * decoder.consumed + _SLACK:
            detail = f"the body unpacks to more than {most} times its size"
            raise TransferError(Condition.MAX_SIZE_EXCEEDED, detail, error=ErrorName.MAX_EXPANSION)
        return piece

    def _piece_decoded(self, job: DecodeJob) -> None:
        if job is self._decode_job:  # else it belongs to a hop before, or an earlier attempt
            self._decode_job, self._decoded = None, job
            self._queue_report()

    # -- redirects -----------------------------------------------------------------------------

    def _leave_response(self) -> None:
        """Follow a redirect without its body, or repeat a 421 over TCP."""
        head, self.head = self.head, None
        assert head is not None
        if head.code == _MISDIRECTED:
            self._egress.leave_quic(self)
            return
        self._egress.remove(self)
        try:
            self._follow(head.location, head.code)
        except TransferError as stop:
            self.fail(stop)

    def _follow(self, location: bytes, code: int) -> None:
        """Follow a redirect, and note this hop in the extras.

        Raises:
            TransferError: the redirect may not be followed.
        """
        super()._follow(location, code)
        if self.extras is not None:
            self.extras.redirected(self.request, code)


_HTTP_1: Final = (pycurl.CURL_HTTP_VERSION_1_0, pycurl.CURL_HTTP_VERSION_1_1)
_HTTP_2: Final = pycurl.CURL_HTTP_VERSION_2_0


def _last_data(fd: int, now: float) -> float | None:
    """Time when bytes last came on a TCP connection."""
    info = _tcp_info(fd)
    return None if info is None else now - _SINCE_LAST_DATA.unpack_from(info)[0] / 1000.0


def _tcp_info(fd: int) -> bytes | None:
    """``struct tcp_info`` of <linux/tcp.h>; None if there is none."""
    if fd < 0:
        return None
    try:
        with socket.socket(fileno=os.dup(fd)) as connection:
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
    except OSError:  # not a TCP socket, or no descriptor left to examine it
        return None
    return info if len(info) == _TCP_INFO_SIZE else None  # shorter on old kernels


def unasked_upgrade() -> TransferError:
    """The failure of a request that was answered with 101, although it asked for no protocol."""
    return TransferError(
        Condition.UNDEFINED_CONDITION,
        "101 to a request that asks for no other protocol",
        error=ErrorName.NOT_HTTP,
    )


def _bad_encoding(error: BadCoding) -> TransferError:
    return TransferError(
        Condition.UNDEFINED_CONDITION, f"Content-Encoding: {error}", error=ErrorName.BAD_ENCODING
    )
