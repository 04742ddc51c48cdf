"""How an answer begins: its head, whether that leads elsewhere, and what its body is coded with."""

from __future__ import annotations

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
from .errors import ErrorName, TransferError
from .extras import Extras
from .handles import EasyHandle
from .request import HttpRequest
from .transfer import HttpTransfer

__all__ = ["PIECE", "AnswerTransfer"]

PIECE: Final = 65_536  # bytes of a coded body that are undone at a time

_NO_BODY: Final = (204, 304)
_PARTIAL_CONTENT: Final = 206
_SLACK: Final = 1 << 20  # bytes that a few may always stand for, however few they are
_TCP_INFO_SIZE: Final = 104
_SINCE_LAST_DATA: Final = struct.Struct("52xI")  # tcpi_last_data_recv of <linux/tcp.h>; ms


class AnswerTransfer(HttpTransfer):
    """What transfers have in common whose answer is read by libcurl.

    Attributes:
        head: the final response head, once it is complete.
        extras: what the worker asked for besides, if it did.
    """

    __slots__ = (
        "_decoder",
        "_dirty",
        "_heard_at",
        "_redirecting",
        "_refusal",
        "_seen",
        "extras",
        "head",
    )

    def __init__(self, egress: Carrier, request: HttpRequest) -> None:
        super().__init__(egress, request)
        self.head: Head | None = None
        self.extras = Extras(request) if Extras.wanted(request) else None
        self._decoder: BodyDecoder | None = None
        self._heard_at = 0.0
        self._seen = (0, 0)  # hops and progress, when they were last looked at
        self._dirty = False  # `moved` is going to be called
        self._redirecting = False  # the head says where to go on, and so the body does not count
        self._refusal: TransferError | None = None  # why we made libcurl stop

    def prepare(self, handle: EasyHandle) -> None:
        """Set the options of the current hop."""
        self.head = self._refusal = self._decoder = None
        self._redirecting = False
        super().prepare(handle)

    def moved(self) -> None:
        """Go on with what callbacks could not do; called once per turn of the loop."""
        raise NotImplementedError

    def _mark(self) -> None:
        if not self._dirty:
            self._dirty = True
            self._egress.moved.append(self)

    def sign_of_life(self, now: float) -> float:
        """When the origin last gave a sign of life, as far as can be known at ``now``.

        Whatever comes by its connection is one, half a line as well. Where many share one, it is
        only what libcurl has handed on since this was asked last.
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
        """A number that grows as the origin sends and its body is undone."""
        done = self._decoder.consumed if self._decoder is not None else 0
        handle = self.handle
        if handle is None:
            return done
        return len(handle.header_lines) + int(handle.curl.getinfo(pycurl.SIZE_DOWNLOAD))

    # -- called by libcurl: record, never raise, never call libcurl ------------------------------

    def _header_came(self, line: bytes) -> int | None:
        handle = self.handle
        if handle is None:  # half a line, of a transfer that is just being taken out
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
        """A head is complete. Its lines go: what is in the list after the last one are trailers."""
        try:
            head = read_head(lines)
            if head is not None:
                self._take_head(head)
                if self.extras is not None:
                    self.extras.head_came(head)
            elif is_upgrade(lines):
                return self._stop(Condition.UNDEFINED_CONDITION, "101 to a plain request")
            elif self.extras is not None:
                for interim in read_interim(lines):
                    self.extras.interim_came(interim)
        except ValueError as error:
            return self._stop(Condition.UNDEFINED_CONDITION, str(error), ErrorName.NOT_HTTP)
        except TransferError as refusal:
            self._refusal = refusal
            return 0
        lines.clear()
        self._mark()
        return None

    def _take_head(self, head: Head) -> None:
        """The final head is here.

        Raises:
            TransferError: its body is in no coding that we take.
        """
        self.head = head
        self._redirecting = self.request.follow_redirects and is_redirect(head)
        if head.codings and not self._redirecting:
            self._decoder = self._choose_decoder(head)

    def _stop(self, condition: bytes, detail: str, error: str = "") -> int:
        """End the transfer from a callback: libcurl takes "nothing written" for an error."""
        self._refusal = TransferError(condition, detail, error=error)
        return 0

    # -- the body's coding -----------------------------------------------------------------------

    def _choose_decoder(self, head: Head) -> BodyDecoder | None:
        """What undoes the coding of this answer's body; None where it is handed on as it comes.

        Raises:
            TransferError: it has several.
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

    def _unpack_piece(self, decoder: BodyDecoder, size: int) -> bytes:
        """Undo a piece of the body.

        Raises:
            TransferError: the coding does not fit, or the body is too good to be true.
        """
        try:
            piece = decoder.read(size)
        except BadCoding as error:
            raise _bad_encoding(error) from None
        most = self._egress.max_expansion
        if most and decoder.produced > most * decoder.consumed + _SLACK:
            detail = f"the body unpacks to more than {most} times its size"
            raise TransferError(Condition.MAX_SIZE_EXCEEDED, detail, error=ErrorName.MAX_EXPANSION)
        return piece

    # -- redirects -----------------------------------------------------------------------------

    def _follow(self, location: bytes, code: int) -> None:
        """Go on at a Location, with what was told of this hop on record.

        Raises:
            TransferError: not there, or not again.
        """
        super()._follow(location, code)
        if self.extras is not None:
            self.extras.redirected(self.request, code)


_HTTP_2: Final = pycurl.CURL_HTTP_VERSION_2_0


def _last_data(fd: int, now: float) -> float | None:
    """When bytes last came by a TCP connection, whatever they were."""
    if fd < 0:
        return None
    try:
        with socket.socket(fileno=os.dup(fd)) as connection:
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
    except OSError:  # not a TCP socket, or no descriptor left to look at it
        return None
    milliseconds: int = _SINCE_LAST_DATA.unpack_from(info)[0]
    return now - milliseconds / 1000.0


def _bad_encoding(error: BadCoding) -> TransferError:
    return TransferError(
        Condition.UNDEFINED_CONDITION, f"Content-Encoding: {error}", error=ErrorName.BAD_ENCODING
    )
