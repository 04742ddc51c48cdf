"""Response heads and trailers, read from the header lines that libcurl gives, by their position.

Interim heads come first, each with a blank line after it, then the final head with its blank line.
All lines after that are trailers, even one that looks like a status line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from operator import indexOf
from typing import Final

from ..cache import Memo
from .fields import TOKEN

__all__ = [
    "BLANK_LINES",
    "MAX_INTERIM",
    "Head",
    "is_forwarded_interim",
    "read_head",
    "read_interim",
    "read_trailers",
    "trailer_fields",
]

Pair = tuple[bytes, bytes]

BLANK_LINES: Final = frozenset((b"\r\n", b"\n"))  # a lone CR is the end of a head that was cut off
MAX_INTERIM: Final = 16  # interim heads that are handed on
_SWITCHING: Final = 101

# RFC 9112 section 4, as leniently as libcurl reads it: a tab counts as a blank, and the blank after
# the code may be missing. A code has three digits, no more.
_STATUS: Final = re.compile(
    rb"HTTP/[0-9.]+[ \t]+([0-9]{3})(?![0-9])[ \t]*([^\r\n]*)", re.IGNORECASE
)
# libcurl's own status lines. By HTTP/1 it takes none of these for an answer; what claims to be
# HTTP/2 or 3 in other words is 1.0 to it.
_ITS_OWN: Final = re.compile(rb"HTTP/([23]) [0-9]{3} \r\n")
_BLANKS: Final = b" \t"
_ONE_BLANK: Final = (b" ", b"\t")

# The meaning of a line for the framing of the message, as bits.
_LENGTH, _CODING, _TRANSFER, _ODD, _REPEATED, _FOLDED = 1, 2, 4, 8, 16, 32
_FRAMING: Final = {
    b"content-length": _LENGTH,
    b"content-encoding": _CODING,
    b"transfer-encoding": _TRANSFER,
}
_DROPPED: Final[Pair] = (b"", b"")  # stands for a line that is not handed on

_MAX_CACHED = 1000
_MAX_CACHED_LENGTH = 128  # bytes


class Head:
    """The head of a response.

    Attributes:
        code: status code.
        reason: reason phrase; empty over HTTP/2 and 3.
        headers: names and values, in order, case kept.
        codings: the values of all Content-Encoding fields.
        version: of HTTP: "1.0", "1.1", "2" or "3".
    """

    __slots__ = ("_kinds", "code", "codings", "headers", "reason", "version")

    def __init__(
        self, code: int, reason: bytes, headers: list[Pair], kinds: int = 0, version: str = "1.1"
    ) -> None:
        self.code = code
        self.reason = reason
        self.headers = headers
        self._kinds = kinds
        self.codings: list[bytes] = []
        if kinds & _CODING:
            self.codings = [v for name, v in headers if name.lower() == b"content-encoding"]
        self.version = version

    def __repr__(self) -> str:
        return f"<Head HTTP/{self.version} {self.code} headers={len(self.headers)}>"

    def first(self, name: bytes) -> bytes | None:
        """The value of the first header with this (lower-case) name."""
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return None

    @property
    def location(self) -> bytes:
        """The value of Location, without the blanks around it (RFC 9110 section 5.5)."""
        return (self.first(b"location") or b"").strip(_BLANKS)

    def drop_length(self) -> None:
        """Remove Content-Length: it is the length before decoding."""
        if self._kinds & _LENGTH:
            self.headers = [p for p in self.headers if p[0].lower() != b"content-length"]


def read_head(lines: list[bytes]) -> Head | None:
    """The final head among all header lines of one exchange; None while it is not complete.

    Raises:
        ValueError: a status line has no status code, or there are two different lengths.
    """
    start, blanks = 0, map(_is_blank, lines)
    while (end := _next(blanks, start)) is not None:
        status = _known_statuses[lines[start]]
        if status[0] >= 200:
            return _read_fields(status, lines[start + 1 : end])
        start = end + 1
    return None


def read_interim(lines: list[bytes]) -> list[Head]:
    """The interim heads before the final one that are forwarded to workers, a few at most.

    Raises:
        ValueError: as ``read_head``.
    """
    heads: list[Head] = []
    start, blanks = 0, map(_is_blank, lines)
    while (end := _next(blanks, start)) is not None and len(heads) < MAX_INTERIM:
        status = _known_statuses[lines[start]]
        if status[0] >= 200:
            break
        if is_forwarded_interim(status[0]):
            heads.append(_read_fields(status, lines[start + 1 : end]))
        start = end + 1
    return heads


def is_forwarded_interim(code: int) -> bool:
    """Whether an interim head is forwarded to workers; 100 and 101 concern one connection only."""
    return 102 <= code <= 199


def read_trailers(lines: list[bytes]) -> list[Pair]:
    """The trailer fields after the final head, names spelled as the origin did.

    Raises:
        ValueError: as ``read_head``.
    """
    start, blanks = 0, map(_is_blank, lines)
    while (end := _next(blanks, start)) is not None:
        if _known_statuses[lines[start]][0] >= 200:
            return trailer_fields(lines[end + 1 :])
        start = end + 1
    return []


def trailer_fields(lines: Iterable[bytes]) -> list[Pair]:
    """Names and values of trailer lines."""
    pairs = []
    for line in lines:
        if line not in BLANK_LINES:
            name, _, value = line.partition(b":")
            pairs.append((name, value.strip(b" \t\r\n")))
    return pairs


def is_upgrade(lines: list[bytes]) -> bool:
    """Whether these lines hold a whole 101 head: what follows it is no HTTP.

    Raises:
        ValueError: as ``read_head``.
    """
    start, blanks = 0, map(_is_blank, lines)
    while (end := _next(blanks, start)) is not None:
        code = _known_statuses[lines[start]][0]
        if code >= 200:  # the final head
            return False
        if code == _SWITCHING:
            return True
        start = end + 1
    return False


_is_blank: Final = BLANK_LINES.__contains__


def _next(blanks: Iterator[bool], start: int) -> int | None:
    """Index of the next blank line; the first line that ``blanks`` has an answer for is ``start``.

    One iterator goes through all lines, and that in C: interim heads may come by thousands.
    """
    try:
        return start + indexOf(blanks, True)
    except ValueError:
        return None


def _status(line: bytes) -> tuple[int, bytes, str]:
    """Code, reason and version of a status line."""
    match = _STATUS.match(line)
    if match is None:
        raise ValueError(f"no status line: {line[:60]!r}")
    return int(match[1]), match[2], _version(line)


def _version(line: bytes) -> str:
    """The version of HTTP that a status line tells of, as libcurl understands it."""
    if line.startswith(b"HTTP/1.1"):
        return "1.1"
    match = _ITS_OWN.fullmatch(line)
    return "1.0" if match is None else match[1].decode()


def _read_fields(status: tuple[int, bytes, str], lines: list[bytes]) -> Head:
    headers: list[Pair] = []
    kinds = 0
    for pair, kind in map(_known_lines.__getitem__, lines):
        if kind:
            if kind == _FOLDED:
                _unfold(headers, pair[1])
                continue
            kinds |= kind | (_REPEATED if kinds & kind & _LENGTH else 0)
        headers.append(pair)
    if kinds & ~(_LENGTH | _CODING):
        headers = _agreeing(headers, kinds)
    code, reason, version = status
    return Head(code, reason, headers, kinds, version)


def _unfold(headers: list[Pair], more: bytes) -> None:
    """A folded line (RFC 9112 section 5.2) continues the value before it."""
    if headers and headers[-1] is not _DROPPED:
        name, value = headers[-1]
        headers[-1] = (name, value + b" " + more)


def _classify(line: bytes) -> tuple[Pair, int]:
    """Name, value and framing bits of a line."""
    if line[0] in _BLANKS:
        return (b"", line.strip()), _FOLDED
    name, _, value = line.partition(b":")
    value = value.rstrip(b"\r\n")
    pair = (name, value[1:] if value[:1] in _ONE_BLANK else value)
    kind = _FRAMING.get(name.lower(), 0)
    if not kind and not TOKEN.fullmatch(name):
        # RFC 9112 section 5.1: blanks after the name are to be removed. libcurl did not remove
        # them, and so did not see a framing field in this line.
        name = name.rstrip(_BLANKS)
        kind = _ODD
        usable = TOKEN.fullmatch(name) and name.lower() not in _FRAMING
        pair = (name, pair[1]) if usable else _DROPPED
    elif kind == _LENGTH and b"," in value:
        kind |= _ODD
    return pair, kind


def _agreeing(headers: list[Pair], kinds: int) -> list[Pair]:
    """The headers without those that contradict the framing.

    Content-Length is dropped where there is Transfer-Encoding (RFC 9112 section 6.3). It may be
    repeated with the same value (RFC 9110 section 8.6).
    """
    kept = [pair for pair in headers if pair is not _DROPPED]
    lengths = [pair for pair in kept if pair[0].lower() == b"content-length"]
    if kinds & _TRANSFER:
        return [pair for pair in kept if pair not in lengths]
    if len({part.strip(_BLANKS) for _, value in lengths for part in value.split(b",")}) > 1:
        raise ValueError("lengths that differ")
    return kept


def _is_short(line: bytes) -> bool:
    return len(line) <= _MAX_CACHED_LENGTH


# Most lines are the same in many answers.
_known_lines: Final = Memo(_classify, _is_short, _MAX_CACHED)
_known_statuses: Final = Memo(_status, _is_short, _MAX_CACHED)
