"""Answers: complete, or with a body that is read as it comes."""

from __future__ import annotations

import codecs
import json as jsonlib
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self, TypeVar

from .errors import HTTPStatusError, StreamError
from .headers import Headers
from .request import Request, shown
from .running import run

__all__ = [
    "AsyncResponse",
    "BaseResponse",
    "BodySource",
    "Given",
    "Head",
    "Redirect",
    "Response",
]


@dataclass(slots=True)
class Head:
    """The head of an answer."""

    code: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    ext: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Redirect:
    """One redirect that was followed: the URI that answered, and its status."""

    url: str
    status_code: int


class BodySource(Protocol):
    """The source of an answer's body."""

    head: Head | None
    last_ext: dict[str, Any]

    async def next(self) -> bytes | None:
        """The next part; None at the end."""

    def cancel(self) -> None:
        """Cancel the rest at the gateway."""


class Given:
    """A body that is in memory, or that can no longer be read."""

    def __init__(self, head: Head | None, last_ext: dict[str, Any] | None = None) -> None:
        self.head = head
        self.last_ext = last_ext or {}

    async def next(self) -> bytes | None:
        """Nothing."""
        return None

    def cancel(self) -> None:
        """Do nothing: there is no session to cancel."""


_TIMING: Final = (
    "resolve",
    "connect",
    "tls",
    "first-byte",
    "total",
    "reused",
    "http-version",
    "address",
)
_CHARSET = re.compile(r"charset\s*=\s*\"?([^\s\";]+)", re.IGNORECASE)


class BaseResponse:
    """The common part of both kinds of answers.

    Attributes:
        request: the request.
        status_code: such as 200.
        reason: the reason phrase; empty over HTTP/2 and 3.
        headers: as the origin sent them; ``Content-Encoding`` stays when the gateway decodes.
        encoding: character encoding of ``text``, from ``Content-Type``, else UTF-8; may be set.
    """

    def __init__(self, request: Request, source: BodySource) -> None:
        head = source.head
        assert head is not None
        self.request = request
        self.status_code = head.code
        self.reason = head.reason.decode("latin-1")
        self.headers = Headers.of_pairs(head.headers)
        self._first_ext = head.ext
        self._source = source
        self._content: bytes | None = None
        self._encoding: str | None = None
        self._consumed = False
        self._closed = False
        self._client: object = None  # kept, as it ends its requests when it is garbage-collected

    def __getstate__(self) -> dict[str, Any]:
        # So that an exception with a response can be pickled; unread parts are left out.
        source = Given(self._source.head, self._source.last_ext)
        return {**self.__dict__, "_source": source, "_closed": True, "_client": None}

    def __del__(self) -> None:
        # If it was neither closed nor read, its session would stay open at the gateway.
        if not self.__dict__.get("_closed", True):
            self._close()

    # -- the head

    @property
    def ext(self) -> dict[str, Any]:
        """``ext`` of the gateway's first packet and of its last."""
        return {**self._first_ext, **self._source.last_ext}

    @property
    def url(self) -> str:
        """The last URI; that of the request unless the option ``history`` was set."""
        uri = self._first_ext.get("uri")
        return uri if isinstance(uri, str) else self.request.url

    @property
    def history(self) -> list[Redirect]:
        """The redirects that were followed, if the option ``history`` was set."""
        return [
            Redirect(str(entry.get("uri", "")), int(entry.get("code", 0)))
            for entry in self._first_ext.get("redirects", ())
            if isinstance(entry, dict)
        ]

    @property
    def user_data(self) -> Any:
        """The request's ``user_data``."""
        return self.request.options.get("user_data")

    @property
    def timing(self) -> dict[str, Any]:
        """Phases in microseconds, if the option was set. Complete when the body has been read."""
        ext = self.ext
        return {name: ext[name] for name in _TIMING if name in ext}

    @property
    def http_version(self) -> str | None:
        """HTTP version of the origin's answer, such as ``"1.1"``, if ``timing`` was set."""
        version = self.timing.get("http-version")
        return str(version) if version else None

    @property
    def truncated(self) -> bool:
        """Whether the body was cut at ``max_size``. Known when it has been read."""
        return self.ext.get("truncated") is True

    @property
    def trailers(self) -> Headers:
        """The trailers, if the option was set. Known when the body has been read."""
        return Headers(map(tuple, self.ext.get("trailers", ())))

    @property
    def interim(self) -> list[dict[str, Any]]:
        """The heads of 1xx, if the option was set: ``code``, ``reason``, ``headers``."""
        interim = self._first_ext.get("interim", [])
        return list(interim) if isinstance(interim, list) else [interim]

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status_code < 300

    @property
    def is_redirect(self) -> bool:
        """Whether the status is 3xx, with a Location."""
        return 300 <= self.status_code < 400 and "location" in self.headers

    @property
    def is_error(self) -> bool:
        """Whether the status is 4xx or 5xx."""
        return 400 <= self.status_code < 600

    def raise_for_status(self) -> Self:
        """Return the answer, unless its status is 400 or higher.

        Raises:
            HTTPStatusError: it is.
        """
        if self.status_code < 400:
            return self
        text = f"{self.request.method} {shown(self.url)}: {self.status_code} {self.reason}".rstrip()
        error = HTTPStatusError(text, request=self.request)
        error.response = self
        raise error

    # -- the body

    @property
    def content(self) -> bytes:
        """The body.

        Raises:
            StreamError: it has not been read.
        """
        if self._content is None:
            raise StreamError(
                "the body was not read: call read(), or iterate", request=self.request
            )
        return self._content

    @property
    def encoding(self) -> str:
        """Name of the character encoding."""
        if self._encoding is None:
            found = _CHARSET.search(self.headers.get("content-type", ""))
            self._encoding = found.group(1) if found and _is_codec(found.group(1)) else "utf-8"
        return self._encoding

    @encoding.setter
    def encoding(self, name: str) -> None:
        self._encoding = name

    @property
    def text(self) -> str:
        """The body as text; bytes that cannot be decoded become U+FFFD."""
        return self.content.decode(self.encoding, "replace")

    def json(self, **options: Any) -> Any:
        """The body as JSON.

        Args:
            options: of ``json.loads``.
        """
        return jsonlib.loads(self.content, **options)

    def _begin(self) -> None:
        """Check that the body may be read part by part."""
        if self._closed:
            raise StreamError("the answer is closed", request=self.request)
        if self._consumed:
            raise StreamError("the body was read already, part by part", request=self.request)
        self._consumed = True

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self._source.cancel()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status_code} {self.reason}>"


def _is_codec(name: str) -> bool:
    try:
        return codecs.lookup(name)._is_text_encoding
    except LookupError:
        return False


# -- conversions of the parts of a body, without I/O -----------------------------------------------

_Item = TypeVar("_Item", covariant=True)


class _Cutter(Protocol[_Item]):
    def feed(self, data: bytes) -> Iterable[_Item]: ...

    def end(self) -> Iterable[_Item]: ...


class _AsIs:
    def feed(self, data: bytes) -> Iterable[bytes]:
        return (data,) if data else ()

    def end(self) -> Iterable[bytes]:
        return ()


class _Pieces:
    """Pieces of one size; the last may be smaller."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"chunk_size is {size}; it is 1 or more bytes")
        self._size = size
        self._rest = b""

    def feed(self, data: bytes) -> Iterable[bytes]:
        data = self._rest + data
        end = len(data) - len(data) % self._size
        self._rest = data[end:]
        return (data[at : at + self._size] for at in range(0, end, self._size))

    def end(self) -> Iterable[bytes]:
        return (self._rest,) if self._rest else ()


class _Text:
    def __init__(self, encoding: str) -> None:
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")

    def feed(self, data: bytes) -> Iterable[str]:
        text = self._decoder.decode(data)
        return (text,) if text else ()

    def end(self) -> Iterable[str]:
        text = self._decoder.decode(b"", True)
        return (text,) if text else ()


class _Lines:
    """Lines without their ends, which are ``\\n``, ``\\r\\n`` or ``\\r``."""

    def __init__(self, encoding: str) -> None:
        self._text = _Text(encoding)
        self._begun: list[str] = []

    def feed(self, data: bytes) -> Iterable[str]:
        for text in self._text.feed(data):
            yield from self._cut(text)

    def _cut(self, text: str) -> Iterable[str]:
        if self._begun and self._begun[-1][-1:] == "\r":
            text = self._begun.pop() + text
        # A \r at the end may be half of \r\n.
        held = text[-1:] if text.endswith("\r") else ""
        lines = _LINE_END.split(text[: len(text) - len(held)])
        for line in lines[:-1]:
            yield "".join([*self._begun, line])
            self._begun = []
        if lines[-1]:
            self._begun.append(lines[-1])
        if held:
            self._begun.append(held)

    def end(self) -> Iterable[str]:
        for text in self._text.end():
            yield from self._cut(text)
        if self._begun:
            yield "".join(self._begun).removesuffix("\r")


_LINE_END: Final = re.compile(r"\r\n|\n|\r")


# -- for threads and for tasks ---------------------------------------------------------------------


class Response(BaseResponse):
    """An answer.

    From ``Client.get`` and similar methods it is complete. From ``Client.stream`` the body is still
    to be read, by ``read`` or one of the ``iter_`` methods; to close it earlier cancels the rest.
    """

    def read(self) -> bytes:
        """Read the whole body, which ``max_size`` limits, if given."""
        if self._content is None:
            self._content = b"".join(self._iterate(_AsIs()))
        return self._content

    def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]:
        """The body as it comes, or in pieces of ``chunk_size`` bytes."""
        return self._iterate(_AsIs() if chunk_size is None else _Pieces(chunk_size))

    def iter_text(self) -> Iterator[str]:
        """The body as text, as it comes."""
        return self._iterate(_Text(self.encoding))

    def iter_lines(self) -> Iterator[str]:
        """The body's lines, without their ends."""
        return self._iterate(_Lines(self.encoding))

    def _iterate(self, cutter: _Cutter[_Item]) -> Iterator[_Item]:
        if self._content is not None:
            yield from cutter.feed(self._content)
        else:
            self._begin()
            while (part := run(self._source.next())) is not None:
                yield from cutter.feed(part)
        yield from cutter.end()

    def close(self) -> None:
        """Cancel the rest of the body."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()


async def _nothing() -> bytes | None:
    return None


class _AsyncItems(AsyncIterator[_Item]):
    """An iterator that is no generator: trio requires generators to be closed."""

    def __init__(
        self,
        answer: BaseResponse,
        cutter: _Cutter[_Item],
        more: Callable[[], Awaitable[bytes | None]],
        parts: list[bytes],
        begin: Callable[[], None] | None = None,
    ) -> None:
        self._answer = answer  # cancelled when the response is garbage-collected
        self._cutter = cutter
        self._more = more
        self._begin = begin
        self._items = deque(item for part in parts for item in cutter.feed(part))
        self._ended = False

    async def __anext__(self) -> _Item:
        if self._begin is not None:
            self._begin()
            self._begin = None
        while not self._items:
            if self._ended:
                raise StopAsyncIteration
            part = await self._more()
            if part is None:
                self._ended = True
                self._items.extend(self._cutter.end())
            else:
                self._items.extend(self._cutter.feed(part))
        return self._items.popleft()


class AsyncResponse(BaseResponse):
    """An answer for ``AsyncClient``. The same as ``Response``, with ``await``."""

    async def read(self) -> bytes:
        """Read the whole body, which ``max_size`` limits, if given."""
        if self._content is None:
            self._content = b"".join([part async for part in self._iterate(_AsIs())])
        return self._content

    def iter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        """The body as it comes, or in pieces of ``chunk_size`` bytes."""
        return self._iterate(_AsIs() if chunk_size is None else _Pieces(chunk_size))

    def iter_text(self) -> AsyncIterator[str]:
        """The body as text, as it comes."""
        return self._iterate(_Text(self.encoding))

    def iter_lines(self) -> AsyncIterator[str]:
        """The body's lines, without their ends."""
        return self._iterate(_Lines(self.encoding))

    def _iterate(self, cutter: _Cutter[_Item]) -> AsyncIterator[_Item]:
        if self._content is not None:
            return _AsyncItems(self, cutter, _nothing, [self._content])
        return _AsyncItems(self, cutter, self._source.next, [], self._begin)

    async def close(self) -> None:
        """Cancel the rest of the body."""
        self._close()

    aclose = close

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._close()
