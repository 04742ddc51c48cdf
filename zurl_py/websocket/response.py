"""An incremental parser for the answer to a handshake: head, and body of a refusal (RFC 9112)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from ..errors import Error
from ..http.fields import TOKEN

__all__ = ["MAX_BODY", "MAX_HEAD", "BadResponse", "Response", "ResponseReader"]

MAX_HEAD: Final = 100_000
"""Bytes of a response head, interim (1xx) heads before it included."""
MAX_BODY: Final = 100_000
"""Bytes of a refusal's body that are handed on."""

_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9][0-9])(?: ([^\r\n\0]*))?")
# Lenient, as libcurl: blanks after a name are ignored.
_FIELD = re.compile(rb"([^\0-\x20:][^\r\n\0:]*?)[ \t]*:[ \t]*([^\r\n\0]*)")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?")
_MAX_CHUNK_LINE = 4096


class BadResponse(Error, ValueError):
    """The origin's answer is no HTTP, or is incomplete; the text says what is wrong."""


@dataclass(slots=True)
class Response:
    """A final response.

    Attributes:
        code: status code, 101 or 200 to 999.
        reason: reason phrase.
        headers: names and values, in order, case kept.
        body: of a refusal; empty for a 101 and for a redirect that is to be followed.
        rest: bytes that followed the head of a 101: the first frames.
    """

    code: int
    reason: bytes
    headers: list[tuple[bytes, bytes]] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    rest: bytes = field(default=b"", repr=False)

    def all(self, name: bytes) -> list[bytes]:
        """The values of the headers with this (lower-case) name."""
        return [value for key, value in self.headers if key.lower() == name]

    @property
    def location(self) -> bytes | None:
        """Location of a redirect that keeps the method; None if this is no such redirect."""
        if self.code in (301, 302, 303, 307, 308):
            for value in self.all(b"location"):
                return value or None
        return None


class ResponseReader:
    """Reads one response from the bytes of a connection.

    A response whose head is complete counts, also where its body is not: the body of a refusal is
    handed on as far as it came, and an error in its framing ends it.

    Args:
        follow_redirects: do not wait for the body of a redirect.
    """

    def __init__(self, follow_redirects: bool) -> None:
        self._follow_redirects = follow_redirects
        self._buffer = bytearray()
        self._searched = 0  # bytes of the buffer that hold no end of a head
        self._head_bytes = 0
        self._response: Response | None = None
        self._body = bytearray()
        self._missing: int | None = None  # bytes of body or chunk to come; None: all
        self._chunked = False
        self._chunk_open = False  # the end of line after the chunk's bytes has not come
        self._in_trailer = False

    def __repr__(self) -> str:
        return f"<ResponseReader {self._response!r} unread={len(self._buffer)}>"

    @property
    def empty(self) -> bool:
        """Whether no byte has come."""
        return not self._buffer and not self._head_bytes

    @property
    def refused(self) -> bool:
        """Whether the head of a final answer other than 101 has come."""
        return self._response is not None

    def feed(self, data: bytes) -> Response | None:
        """Add bytes; returns the response as soon as it is complete.

        Raises:
            BadResponse: the bytes are no HTTP response.
        """
        self._buffer += data
        if self._response is None and not self._read_heads():
            return None
        response = self._response
        assert response is not None
        if response.code == 101:
            response.rest = bytes(self._buffer)
            return response
        if self._follow_redirects and response.location is not None:
            return response
        if self._read_chunks() if self._chunked else self._read_plain():
            return self.end()
        return None

    def end(self) -> Response:
        """End reading; returns the response with the part of its body that has come.

        Raises:
            BadResponse: its head is not complete.
        """
        response = self._response
        if response is None:
            raise BadResponse("connection closed before the response was complete")
        response.body = bytes(self._body[:MAX_BODY])
        return response

    # -- head --------------------------------------------------------------------------------

    def _read_heads(self) -> bool:
        """Read heads up to the final one; returns whether that is complete."""
        buffer = self._buffer
        while True:
            if not b"HTTP/1."[: len(buffer)] == buffer[:7]:
                raise BadResponse("not an HTTP/1 response")
            end = _END_OF_HEAD.search(buffer, self._searched)
            if self._head_bytes + (end.end() if end else len(buffer)) > MAX_HEAD:
                raise BadResponse(f"response head of more than {MAX_HEAD} bytes")
            if end is None:
                # The last three bytes may be the beginning of the blank line.
                self._searched = max(0, len(buffer) - 3)
                return False
            response = _parse_head(bytes(buffer[: end.start()]))
            self._head_bytes += end.end()
            del buffer[: end.end()]
            self._searched = 0
            if response.code >= 200 or response.code == 101:
                self._response = response
                self._frame_body(response)
                return True

    def _frame_body(self, response: Response) -> None:
        if response.code in (101, 204, 304):
            self._missing = 0
            return
        coding = b",".join(response.all(b"transfer-encoding")).lower().split(b",")
        if coding[-1].strip() == b"chunked":
            self._chunked = True
            self._missing = 0
        elif coding == [b""]:
            # Repeated equal lengths count as one (RFC 9112 section 6.3).
            given = b",".join(response.all(b"content-length")).split(b",")
            lengths = {length.strip() for length in given}
            if len(lengths) == 1 and _LENGTH.fullmatch(length := lengths.pop()):
                self._missing = int(length)

    # -- body --------------------------------------------------------------------------------

    def _read_plain(self) -> bool:
        self._take()
        # Do not wait for more than the limit.
        return self._missing == 0 or len(self._body) >= MAX_BODY

    def _take(self) -> None:
        """Move bytes of the body from the buffer to it."""
        count = len(self._buffer)
        if self._missing is not None:
            count = min(count, self._missing)
            self._missing -= count
        self._body += self._buffer[:count]
        del self._buffer[:count]

    def _read_chunks(self) -> bool:
        """Read chunks; returns whether the last one has come, or the framing is broken."""
        while True:
            if self._missing:
                self._take()
                if len(self._body) >= MAX_BODY:
                    return True
                if self._missing:
                    return False
                self._chunk_open = True
            end = self._buffer.find(b"\n")
            if end < 0:
                return len(self._buffer) > _MAX_CHUNK_LINE
            line = bytes(self._buffer[:end]).removesuffix(b"\r")
            del self._buffer[: end + 1]
            if self._chunk_line(line):
                return True

    def _chunk_line(self, line: bytes) -> bool:
        """Take a line between chunks; returns whether it ends the body, or is malformed."""
        if self._in_trailer:
            self._head_bytes += len(line)
            return not line or self._head_bytes > MAX_HEAD
        if self._chunk_open:
            self._chunk_open = False
            return bool(line)  # the chunk is longer than its size
        size = _CHUNK_SIZE.fullmatch(line)
        if size is None:
            return True
        self._missing = int(size[1], 16)
        self._in_trailer = not self._missing
        return False


def _parse_head(head: bytes) -> Response:
    lines = head.split(b"\n")
    status = _STATUS_LINE.fullmatch(lines[0].removesuffix(b"\r"))
    if status is None:
        raise BadResponse("invalid status line")
    headers: list[tuple[bytes, bytes]] = []
    for line in lines[1:]:
        line = line.removesuffix(b"\r")
        if line[:1] in (b" ", b"\t") and headers:
            # A folded line (RFC 9112 section 5.2) continues the value before it.
            name, value = headers[-1]
            headers[-1] = (name, value + b" " + line.strip(b" \t"))
            continue
        field = _FIELD.fullmatch(line)
        if field is None:
            raise BadResponse("invalid header line")
        headers.append((field[1], field[2].rstrip(b" \t")))
    # Fields without a valid name are not handed on.
    headers = [pair for pair in headers if TOKEN.fullmatch(pair[0])]
    return Response(int(status[1]), status[2] or b"", headers)
