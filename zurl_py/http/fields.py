"""Header rules: what of a worker's headers goes out, and how a response head is read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from ..cache import remember

__all__ = [
    "HOP_BY_HOP",
    "SECRETS",
    "BadHeader",
    "Head",
    "RequestHeaders",
    "check_field",
    "check_method",
    "decoded_headers",
    "is_upgrade",
    "read_head",
]

# RFC 9110 section 5.6.2: token.
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# RFC 9110 section 5.5: CR, LF and NUL are dangerous in a field value.
_DANGEROUS = re.compile(rb"[\r\n\0]")
_BLANKS: Final = b" \t"
_ONE_BLANK: Final = (b" ", b"\t")

SECRETS: Final = frozenset((b"authorization", b"cookie", b"proxy-authorization"))
"""Fields (in lower case) that stay with the origin they were meant for."""

HOP_BY_HOP: Final = frozenset(
    (
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""Fields (in lower case) about one connection: not for the next (RFC 9110 section 7.6.1)."""

_PASS, _DROP, _LENGTH, _TYPE, _ACCEPT, _AUTH, _SECRET = range(7)
_KINDS: Final = {
    # The connection and its framing are libcurl's, and so are the codings it can undo.
    b"connection": _DROP,
    b"keep-alive": _DROP,
    b"accept-encoding": _DROP,
    b"content-encoding": _DROP,
    b"transfer-encoding": _DROP,
    b"expect": _DROP,
    # Made from the URI: another one would address a site that the policy did not see.
    b"host": _DROP,
    b"content-length": _LENGTH,
    b"content-type": _TYPE,
    b"authorization": _AUTH,
    b"cookie": _SECRET,
    b"proxy-authorization": _SECRET,
}
_MAX_CACHED = 1000
_MAX_CACHED_LENGTH = 128  # bytes
# Most headers are the same in many messages.
_kind_of_name: dict[bytes, int] = {}  # as workers spell them
_kind_and_line: dict[tuple[bytes, bytes], tuple[int, bytes]] = {}  # of workers' names and values
_name_and_value: dict[bytes, tuple[bytes, bytes]] = {}  # of origins' lines


class BadHeader(ValueError):
    """A header that must not go out; the text says which and why."""


class RequestHeaders:
    """The headers of a request in libcurl's form.

    Attributes:
        lines: ``Name: value`` lines for ``CURLOPT_HTTPHEADER``, in the worker's order.
        content_length: what the worker said about the length of the body, if it did.
        has_type: a Content-Type is among the lines.
        has_authorization: an Authorization is among the lines.
    """

    __slots__ = ("content_length", "has_authorization", "has_type", "lines")

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        self.lines: list[bytes] = []
        self.content_length: bytes | None = None
        self.has_type = False
        self.has_authorization = False
        known = _kind_and_line
        for pair in pairs:
            kind, line = known.get(pair) or _checked(pair)
            if kind == _DROP:
                continue
            if kind == _LENGTH:
                self.content_length = pair[1].strip(_BLANKS)
                continue
            if kind == _TYPE:
                self.has_type = True
            elif kind == _AUTH:
                self.has_authorization = True
            self.lines.append(line)

    def without_secrets(self) -> RequestHeaders:
        """The same for another origin: credentials stay behind (RFC 9110 section 15.4)."""
        rest = RequestHeaders(())
        for line in self.lines:
            name = line.partition(b":")[0].rstrip(b";")
            if _classify(name) not in (_AUTH, _SECRET):
                rest.lines.append(line)
        rest.content_length = self.content_length
        rest.has_type = self.has_type
        return rest


def _checked(pair: tuple[bytes, bytes]) -> tuple[int, bytes]:
    """What kind of header a name and a value are, and their line."""
    name, value = pair
    kind = _kind_of_name.get(name)
    if kind is None:
        kind = _classify(name)
    text = _checked_value(name, value)
    # A line that ends after the colon would tell libcurl to leave the header out.
    line = b"%b: %b" % (name, text) if text else name + b";"
    if kind not in (_AUTH, _SECRET) and len(line) <= _MAX_CACHED_LENGTH:
        remember(_kind_and_line, pair, (kind, line), _MAX_CACHED)
    return kind, line


def check_field(name: bytes, value: bytes) -> bytes:
    """The value of a request's field, without the blanks around it.

    Raises:
        BadHeader: name or value could break the request's head.
    """
    _check_name(name)
    return _checked_value(name, value)


def _check_name(name: bytes) -> None:
    if not _TOKEN.fullmatch(name):
        raise BadHeader(f"header name {_show(name)} is not a token (RFC 9110 section 5.1)")


def _checked_value(name: bytes, value: bytes) -> bytes:
    if _DANGEROUS.search(value):
        raise BadHeader(f"header {_show(name)}: CR, LF or NUL in its value")
    return value.strip(_BLANKS)


def _classify(name: bytes) -> int:
    _check_name(name)
    kind = _KINDS.get(name.lower(), _PASS)
    if len(name) <= _MAX_CACHED_LENGTH:
        remember(_kind_of_name, name, kind, _MAX_CACHED)
    return kind


def _show(name: bytes) -> str:
    return repr(name[:64].decode("latin-1"))


class Head:
    """The head of a final response.

    Attributes:
        code: status code.
        reason: reason phrase; empty over HTTP/2.
        headers: names and values, in order, case kept.
    """

    __slots__ = ("code", "headers", "reason")

    def __init__(self, code: int, reason: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.code = code
        self.reason = reason
        self.headers = headers

    def first(self, name: bytes) -> bytes | None:
        """The value of the first header with this (lower-case) name."""
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return None


def read_head(lines: list[bytes]) -> Head | None:
    """The final response head among header lines as libcurl gives them.

    Interim (1xx) heads, the heads of a proxy's CONNECT and trailers may be among the lines.
    Returns None while the final head is not complete.

    Raises:
        ValueError: the status line has no code of three digits.
    """
    head: Head | None = None
    complete = False
    at_start = True
    headers: list[tuple[bytes, bytes]] = []
    known = _name_and_value
    for line in lines:
        pair = known.get(line)
        if pair is not None and not (at_start or complete):
            headers.append(pair)
        elif at_start and line[:5] == b"HTTP/":
            version_code_reason = line.rstrip(b"\r\n").split(b" ", 2)
            reason = version_code_reason[2] if len(version_code_reason) > 2 else b""
            headers = []
            code = int(version_code_reason[1])
            if not 100 <= code <= 999:
                raise ValueError(f"status code {code}")
            head = Head(code, reason, headers)
            at_start = complete = False
        elif len(line) <= 2:
            at_start = True
            complete = head is not None and head.code >= 200
        elif complete:
            break  # trailers
        elif line[0] in _BLANKS:
            if headers:  # a folded line (RFC 9112 section 5.2) continues the value before it
                name, value = headers[-1]
                headers[-1] = (name, value + b" " + line.strip())
        else:
            name, _, value = line.partition(b":")
            value = value.rstrip(b"\r\n")
            pair = (name, value[1:] if value[:1] in _ONE_BLANK else value)
            headers.append(pair)
            if line[-1:] == b"\n" and len(line) <= _MAX_CACHED_LENGTH:
                remember(known, line, pair, _MAX_CACHED)
    return head if complete else None


def is_upgrade(lines: list[bytes]) -> bool:
    """The last head among the lines is a 101: what follows it is no HTTP."""
    heads = [line for line in lines if line[:5] == b"HTTP/"]
    return bool(heads) and heads[-1].split(b" ", 2)[1:2] == [b"101"]


def decoded_headers(head: Head) -> list[tuple[bytes, bytes]]:
    """The headers as they are true of a body whose content encoding libcurl has undone.

    Content-Encoding stays, as with Zurl; Content-Length, which counts encoded bytes, goes.
    """
    coding = head.first(b"content-encoding")
    if coding is None or coding.strip().lower() in (b"identity", b""):
        return head.headers
    return [pair for pair in head.headers if pair[0].lower() != b"content-length"]


def check_method(method: bytes) -> None:
    """Refuse a method that is no token (RFC 9110 section 9.1).

    Raises:
        BadHeader: it would be able to break the request line.
    """
    if method not in _COMMON_METHODS and not _TOKEN.fullmatch(method):
        raise BadHeader(f"method {_show(method)} is not a token (RFC 9110 section 9.1)")


_COMMON_METHODS: Final = frozenset((b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"PATCH"))
