"""Transports for httpx and httpx2, which have the same interface, but different classes.

The modules ``httpx`` and ``httpx2`` name the classes; the implementation is here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from . import errors
from .adapting import ADAPTED, ArgumentRefused, body_of_pieces, decorate, headers_of, version_of
from .body import WHOLE_SIZE, Body
from .client import AsyncClient, Client, ClientOptions
from .failures import failure_of_exception
from .headers import Headers
from .request import Request, RequestOptions
from .response import AsyncResponse, BaseResponse, Response
from .timeouts import Timeout

__all__ = ["AsyncStream", "AsyncTransport", "Library", "Stream", "Transport", "split_arguments"]

_SCHEMES: Final = ("http", "https")


@dataclass(frozen=True)
class Library:
    """The classes of httpx or of httpx2.

    Attributes:
        module: the library's module.
        special: subclasses of the library's exceptions, by our exceptions.
    """

    module: Any
    special: Mapping[type[errors.ZurlError], type[Exception]]

    def translated(self, error: errors.ZurlError, request: Any) -> Exception:
        """The library's exception for one of ours."""
        kind: Any = self.special.get(type(error))
        if kind is None:
            kind = getattr(self.module, failure_of_exception(error).httpx)
        made: Exception = kind(str(error), request=request)
        decorate(made, error)
        return made


def _request(library: Library, request: Any, body: Body, defaults: RequestOptions) -> Request:
    """Our request for one of the library's."""
    url = request.url
    if url.scheme not in _SCHEMES:
        text = (
            f"Request URL has an unsupported protocol '{url.scheme}://'."
            if url.scheme
            else "Request URL is missing an 'http://' or 'https://' protocol."
        )
        raise library.module.UnsupportedProtocol(text, request=request)
    netloc = url.netloc  # without user and password, for which httpx has added a header
    options: RequestOptions = {**defaults}
    raw = []
    for name, value in request.headers.raw:
        if name.lower() == b"host":
            if value.lower() != netloc.lower():
                options["host"] = value.decode("latin-1")
        else:
            raw.append((name, value))
    limits = request.extensions.get("timeout") or {}
    return Request(
        request.method,
        f"{url.scheme}://{netloc.decode('ascii')}{url.raw_path.decode('ascii')}",
        Headers.of_pairs(raw),
        body,
        Timeout(**{name: limits.get(name) for name in ("connect", "read", "write", "pool")}),
        options,
    )


def _length(request: Any) -> int | None:
    """Bytes of a request's body; None where it is chunked."""
    length = request.headers.get("content-length", "")
    if length.isdigit():
        return int(length)
    return None if "transfer-encoding" in request.headers else 0


_Answer = TypeVar("_Answer", bound=BaseResponse)


class _Mapped(Generic[_Answer]):
    """A body that raises the library's errors."""

    def __init__(self, answer: _Answer, library: Library, request: Any) -> None:
        self._answer = answer
        self._library = library
        self._request = request

    def _translated(self, error: errors.ZurlError) -> Exception:
        return self._library.translated(error, self._request)


class Stream(_Mapped[Response]):
    """The body of an answer."""

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._answer.iter_bytes()
        except errors.ZurlError as error:
            raise self._translated(error) from error

    def close(self) -> None:
        """Cancel the rest of the body."""
        self._answer.close()


class AsyncStream(_Mapped[AsyncResponse], AsyncIterator[bytes]):
    """The body of an answer."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._parts = self._answer.iter_bytes()
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._parts)
        except errors.ZurlError as error:
            raise self._translated(error) from error

    async def aclose(self) -> None:
        """Cancel the rest of the body."""
        await self._answer.close()


def _response(library: Library, answer: BaseResponse, stream: Any) -> Any:
    extensions = {
        "http_version": version_of(answer).encode("ascii"),
        "reason_phrase": answer.reason.encode("latin-1"),
    }
    return library.module.Response(
        status_code=answer.status_code,
        headers=headers_of(answer),
        stream=stream,
        extensions=extensions,
    )


def _event(answer: BaseResponse) -> tuple[str, dict[str, Any]]:
    """The event that httpcore passes to the extension ``trace`` for an answer's head.

    Earlier events are about connections, which only the gateway has.
    """
    version = version_of(answer)
    head = (
        version.encode(),
        answer.status_code,
        answer.reason.encode("latin-1"),
        headers_of(answer),
    )
    name = "http2" if version == "HTTP/2" else "http11"
    return f"{name}.receive_response_headers.complete", {"return_value": head}


class Transport:
    """The implementation of a synchronous transport."""

    _library: Library
    _stream: type[Stream]
    _client: Client
    _options: RequestOptions

    def _open(self, gateway: Any, defaults: ClientOptions) -> None:
        _check_defaults(defaults)
        try:
            self._client = Client(gateway, **defaults)
        except errors.GatewayUnavailable as error:  # no gateway can be found at all
            raise self._library.translated(error, None) from error
        self._options = _adapted(self._client)

    def _handle(self, request: Any) -> Any:
        body = body_of_pieces(request.stream, _length(request))
        ours = _request(self._library, request, body, self._options)
        try:
            answer = self._client.send(ours, stream=True)
        except errors.ZurlError as error:
            raise self._library.translated(error, request) from error
        made = _response(self._library, answer, self._stream(answer, self._library, request))
        trace = request.extensions.get("trace")
        if trace is not None:
            trace(*_event(answer))
        return made

    def close(self) -> None:
        """Cancel open requests, and close the sockets."""
        self._client.close()


class AsyncTransport:
    """The implementation of an asynchronous transport."""

    _library: Library
    _stream: type[AsyncStream]
    _client: AsyncClient
    _options: RequestOptions

    def _open(self, gateway: Any, defaults: ClientOptions) -> None:
        _check_defaults(defaults)
        try:
            self._client = AsyncClient(gateway, **defaults)
        except errors.GatewayUnavailable as error:
            raise self._library.translated(error, None) from error
        self._options = _adapted(self._client)

    async def _handle(self, request: Any) -> Any:
        length = _length(request)
        pieces: Any = request.stream
        if length is not None and length <= WHOLE_SIZE:
            pieces = [part async for part in pieces]
        body = body_of_pieces(pieces, length)
        ours = _request(self._library, request, body, self._options)
        try:
            answer = await self._client.send(ours, stream=True)
        except errors.ZurlError as error:
            raise self._library.translated(error, request) from error
        made = _response(self._library, answer, self._stream(answer, self._library, request))
        trace = request.extensions.get("trace")
        if trace is not None:
            await trace(*_event(answer))
        return made

    async def aclose(self) -> None:
        """Cancel open requests, and close the sockets."""
        await self._client.close()


def _adapted(client: Client | AsyncClient) -> RequestOptions:
    """The options of all requests, as the library itself decodes and follows redirects."""
    return RequestOptions(**{**client.request_options, **ADAPTED})  # type: ignore[typeddict-item]


def _check_defaults(defaults: ClientOptions) -> None:
    for name in _THEIRS:
        if name in defaults:
            raise ArgumentRefused(f"{name}= is for the client, not for its transport")


# -- the factories' arguments ----------------------------------------------------------------------

_REFUSED: Final = {
    "proxy": "requests would go through it, around the gateway and its policy",
    "mounts": "requests to what is mounted would go around the gateway and its policy",
    "transport": "requests would go around the gateway and its policy",
    "verify": "the gateway verifies certificates; ignore_tls_errors=True asks it not to",
    "cert": "the gateway shows certificates: give client_cert= and client_key= their text",
    "http1": "the gateway uses HTTP/1.1 where the origin has nothing else",
}
_HARMLESS: Final = {
    "proxy": None,
    "mounts": None,
    "transport": None,
    "verify": True,
    "cert": None,
    "http1": True,
}
_THEIRS: Final = frozenset(("headers", "timeout", "follow_redirects", "max_redirects"))
_OURS: Final = ClientOptions.__annotations__.keys() - _THEIRS


def split_arguments(arguments: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A factory's arguments, split into those of our transport and those of the library's client.

    Raises:
        ArgumentRefused: an argument would bypass the gateway, or have no effect.
    """
    for name, why in _REFUSED.items():
        if name in arguments and arguments.pop(name) is not _HARMLESS[name]:
            raise ArgumentRefused(f"{name}= cannot be used with a gateway: {why}")
    ours = {name: arguments.pop(name) for name in list(arguments) if name in _OURS}
    return ours, arguments
