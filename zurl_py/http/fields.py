"""Rules for the fields of requests: which of a worker's headers go out, and to which origins."""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import copy
from typing import Final

from ..cache import remember
from ..errors import Error

__all__ = [
    "COMMON_METHODS",
    "DANGEROUS",
    "HOP_BY_HOP",
    "SECRETS",
    "TOKEN",
    "BadHeader",
    "RequestHeaders",
    "check_field",
    "check_method",
]

# RFC 9110 section 5.6.2: token.
TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# RFC 9110 section 5.5: CR, LF and NUL are dangerous in a field value.
DANGEROUS: Final = re.compile(rb"[\r\n\0]")
_BLANKS: Final = b" \t"

SECRETS: Final = frozenset((b"authorization", b"cookie", b"cookie2", b"proxy-authorization"))
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

_PASS, _DROP, _LENGTH, _TYPE, _CONTENT, _AUTH, _SECRET, _ACCEPT, _RANGE, _TE, _CODING = range(11)
_KINDS: Final = {
    # libcurl decides about the connection and its framing.
    b"connection": _DROP,
    b"keep-alive": _DROP,
    b"transfer-encoding": _DROP,
    b"expect": _DROP,
    # It is made from the URI: another one would address a site that the policy has not checked.
    b"host": _DROP,
    b"content-length": _LENGTH,
    # These describe the body, and go out where it does.
    b"content-type": _TYPE,
    b"content-encoding": _CODING,
    b"content-language": _CONTENT,
    b"content-location": _CONTENT,
    b"content-disposition": _CONTENT,
    b"content-range": _CONTENT,
    b"content-md5": _CONTENT,
    b"content-digest": _CONTENT,
    b"repr-digest": _CONTENT,
    b"digest": _CONTENT,
    b"last-modified": _CONTENT,
    b"accept-encoding": _ACCEPT,
    b"range": _RANGE,
    b"te": _TE,
    b"authorization": _AUTH,
} | dict.fromkeys(SECRETS - {b"authorization"}, _SECRET)
# libcurl's list of lines takes quadratic time: 4 ms for so many, and eight seconds for 100,000.
_MAX_FIELDS = 2000
_MAX_CACHED = 1000
_MAX_CACHED_LENGTH = 128  # bytes
# Caches: most headers are the same in many messages.
_kind_of_name: dict[bytes, int] = {}  # by the name as workers spell it
_kind_and_line: dict[tuple[bytes, bytes], tuple[int, bytes]] = {}  # by name and value


class BadHeader(Error, ValueError):
    """A header that must not go out; the text says which and why."""


class RequestHeaders:
    """The headers of a request in libcurl's form.

    Attributes:
        lines: ``Name: value`` lines for ``CURLOPT_HTTPHEADER``, in the worker's order.
        accepted: the worker's Accept-Encoding lines, which go out only where it decodes itself.
        coded: the worker's Content-Encoding lines, which go out with a body.
        content_length: value of the worker's Content-Length; None if there was none.
        has_type: a Content-Type is among the lines.
        has_authorization: an Authorization is among the lines.
        has_range: a Range is among the lines: the worker wants a part of the body.
    """

    __slots__ = (
        "accepted",
        "coded",
        "content_length",
        "has_authorization",
        "has_range",
        "has_type",
        "lines",
    )

    def __init__(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        if len(pairs) > _MAX_FIELDS:
            raise BadHeader(f"there are more than {_MAX_FIELDS}")
        self.lines: list[bytes] = []
        self.accepted: tuple[bytes, ...] = ()
        self.coded: tuple[bytes, ...] = ()
        self.content_length: bytes | None = None
        self.has_type = False
        self.has_authorization = False
        self.has_range = False
        known = _kind_and_line
        for pair in pairs:
            kind, line = known.get(pair) or _checked(pair)
            if kind != _PASS and not self._note(kind, pair, line):
                continue
            self.lines.append(line)

    def __repr__(self) -> str:
        names = b",".join(line.partition(b":")[0].rstrip(b";") for line in self.lines)
        return f"<RequestHeaders {names.decode('latin-1')}>"

    @property
    def size(self) -> int:
        """Bytes of all lines."""
        return sum(map(len, self.lines))

    def _note(self, kind: int, pair: tuple[bytes, bytes], line: bytes) -> bool:
        """Note a header of a special kind; False if its line does not go out as it is."""
        if kind == _DROP:
            return False
        if kind == _LENGTH:
            self.content_length = pair[1].strip(_BLANKS)
            return False
        if kind == _ACCEPT:
            self.accepted += (line,)
            return False
        if kind == _CODING:
            self.coded += (line,)
            return False
        if kind == _TYPE:
            self.has_type = True
        elif kind == _AUTH:
            self.has_authorization = True
        elif kind == _RANGE:
            self.has_range = True
        return True

    def without_secrets(self) -> RequestHeaders:
        """A copy for another origin, without credentials (RFC 9110 section 15.4)."""
        rest = self._without(_AUTH, _SECRET)
        rest.has_authorization = False
        return rest

    def without_content(self) -> RequestHeaders:
        """A copy for a request without a body, without fields that describe one (section 15.4)."""
        rest = self._without(_TYPE, _CONTENT)
        rest.content_length = None
        rest.coded = ()
        rest.has_type = False
        return rest

    @staticmethod
    def without_te(lines: list[bytes]) -> list[bytes]:
        """The lines without TE, which is about transfer codings (RFC 9110 section 10.1.4)."""
        return [line for line in lines if _kind_of(line) != _TE]

    def _without(self, *kinds: int) -> RequestHeaders:
        rest = copy(self)
        rest.lines = [line for line in self.lines if _kind_of(line) not in kinds]
        return rest


def _kind_of(line: bytes) -> int:
    return _classify(line.partition(b":")[0].rstrip(b";"))


def _checked(pair: tuple[bytes, bytes]) -> tuple[int, bytes]:
    """The kind of a header, and its line."""
    name, value = pair
    kind = _kind_of_name.get(name)
    if kind is None:
        kind = _classify(name)
    text = _checked_value(name, value)
    # CURLOPT_HTTPHEADER: "Name:" removes a header, "Name;" sends it with an empty value.
    line = b"%b: %b" % (name, text) if text else name + b";"
    if kind not in (_AUTH, _SECRET) and len(line) <= _MAX_CACHED_LENGTH:
        remember(_kind_and_line, pair, (kind, line), _MAX_CACHED)
    return kind, line


def check_field(name: bytes, value: bytes) -> bytes:
    """The value of a request's field, without the blanks around it.

    Raises:
        BadHeader: the name is no token, or the value has CR, LF or NUL in it.
    """
    _check_name(name)
    return _checked_value(name, value)


def _check_name(name: bytes) -> None:
    if not TOKEN.fullmatch(name):
        raise BadHeader(f"header name {_show(name)} is not a token (RFC 9110 section 5.1)")


def _checked_value(name: bytes, value: bytes) -> bytes:
    if DANGEROUS.search(value):
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


def check_method(method: bytes) -> None:
    """Refuse a method that is no token (RFC 9110 section 9.1) and could break the request line.

    Raises:
        BadHeader: it is no token.
    """
    if method not in COMMON_METHODS and not TOKEN.fullmatch(method):
        raise BadHeader(f"method {_show(method)} is not a token (RFC 9110 section 9.1)")


COMMON_METHODS: Final = frozenset((b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"PATCH"))
"""Methods that need no check."""
