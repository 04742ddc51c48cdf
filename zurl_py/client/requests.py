"""requests through a gateway, by changing one line.

::

    session = requests.Session()
    session.mount("https://", ZurlAdapter("embedded"))
    session.mount("http://", ZurlAdapter("embedded"))

requests itself does redirects, cookies, authentication and decoding; the gateway has connections,
TLS and the policy. Proxies, also those of the environment, are not used: the gateway has its own.
"""

from __future__ import annotations

import http.client
import io
import threading
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any, Final, Unpack
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPHeaderDict, HTTPResponse
from urllib3.exceptions import (
    ConnectTimeoutError,
    DecodeError,
    MaxRetryError,
    ProtocolError,
    ReadTimeoutError,
)
from urllib3.util import SKIP_HEADER, Retry
from urllib3.util import Timeout as Urllib3Timeout

from . import errors
from .adapting import ADAPTED, ArgumentRefused, body_of_pieces, decorate, headers_of, version_of
from .address import GatewayAddresses
from .body import PIECE, Body
from .client import Client, ClientOptions
from .failures import failure_of_exception
from .headers import Headers
from .request import Request, RequestOptions
from .response import Response
from .shorthands import read_certificate
from .timeouts import Timeout

__all__ = ["GatewayUnavailable", "MaxSizeExceeded", "PolicyViolation", "ZurlAdapter"]

_VERSIONS: Final = {"HTTP/1.0": 10, "HTTP/2": 20, "HTTP/3": 30}


class PolicyViolation(requests.ConnectionError):
    """The gateway's policy refuses the origin; ``error`` is the code of the rule."""


class GatewayUnavailable(requests.ConnectionError):
    """No gateway answers; the text names its endpoint."""


class MaxSizeExceeded(requests.ConnectionError):
    """The answer is larger than ``max_size``."""


_SPECIAL: Final[dict[type[errors.ZurlError], type[requests.RequestException]]] = {
    errors.PolicyViolation: PolicyViolation,
    errors.GatewayUnavailable: GatewayUnavailable,
    errors.GatewayNotConfigured: GatewayUnavailable,
    errors.MaxSizeExceeded: MaxSizeExceeded,
}


class ZurlAdapter(HTTPAdapter):
    """For ``Session.mount``. Threads may share it; it can be pickled, and used after ``close``.

    Args:
        gateway: gateway address: see ``zurl_py.client.Client``.
        max_retries: number of retries if no connection could be made, or urllib3's ``Retry``. A
            body that can be read only once is not sent again.
        defaults: options of all requests, and ``policy`` of an embedded gateway: see
            ``ClientOptions``.
    """

    __attrs__ = [*HTTPAdapter.__attrs__, "_gateway", "_defaults"]  # noqa: RUF012 - as there

    def __init__(
        self,
        gateway: GatewayAddresses = None,
        max_retries: Retry | int = 0,
        **defaults: Unpack[ClientOptions],
    ) -> None:
        for name in ("headers", "follow_redirects", "max_redirects"):
            if name in defaults:
                raise ArgumentRefused(f"{name}= is for the session, not for its adapter")
        self._gateway = gateway
        self._defaults = defaults
        try:
            client = Client(gateway, **defaults)
        except errors.GatewayUnavailable as error:  # no gateway can be found at all
            raise _translated(error, None) from error
        self._begin(client)
        super().__init__(max_retries=max_retries)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._begin(None)
        super().__setstate__(state)  # type: ignore[no-untyped-call, unused-ignore]

    def _begin(self, client: Client | None) -> None:
        # Reentrant: a garbage collection may end an answer that was not closed.
        self._lock = threading.RLock()
        self._client = client
        self._users: dict[Client, int] = {}  # number of open calls and answers

    def _take_client(self) -> Client:
        """The client, for one call and its answer; it has to be released after that."""
        with self._lock:
            if self._client is None:
                self._client = Client(self._gateway, **self._defaults)
            client = self._client
            self._users[client] = self._users.get(client, 0) + 1
            return client

    def _give_back(self, client: Client) -> None:
        with self._lock:
            self._users[client] -= 1
            if self._users[client]:
                return
            del self._users[client]
            if client is self._client:
                return
        client.close()  # the last answer has ended, and the adapter is closed

    def close(self) -> None:
        """Close the sockets when no answer is read from them any more.

        ``requests.get(stream=True)`` closes its session before it returns the answer.
        """
        with self._lock:
            client, self._client = self._client, None
            if client in self._users:
                client = None
        if client is not None:
            client.close()
        super().close()

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """Send a request; returns when the answer's head has come.

        Args:
            stream: ignored: the session reads the body, or does not.
            timeout: seconds, ``(connect, read)``, or urllib3's ``Timeout``.
            verify: False: ask the gateway to accept any certificate. A path is ignored: the gateway
                has its own CA certificates.
            cert: path of a client certificate with its key, or the paths of both.
            proxies: ignored: they would bypass the gateway.
        """
        client = self._take_client()
        answer = None
        try:
            if timeout is None:
                timeout = self._defaults.get("timeout")
            ours = _request(request, _timeout(timeout), client.request_options)
            if verify is False:
                ours.options["ignore_tls_errors"] = True
            if cert and ours.url[:6].lower() == "https:":
                ours.options.update(read_certificate(cert))  # type: ignore[typeddict-item]
            answer = self._answer(client, ours, request)
        finally:
            if answer is None:
                self._give_back(client)
        return self.build_response(request, answer)

    def _answer(
        self, client: Client, ours: Request, request: requests.PreparedRequest
    ) -> HTTPResponse:
        """The answer, after retries; its end releases the client."""
        retries = self.max_retries
        tries_again = retries.total and ours.body.replayable
        while True:
            try:
                came = client.send(ours, stream=True)
            except errors.ZurlError as error:
                if not tries_again:
                    raise _translated(error, request) from error
                retries = _after_error(retries, error, request)
                continue
            raw = _Raw(came, str(request.url))
            answer = _response(came, raw, request)
            following = _after_answer(retries, answer, request) if tries_again else None
            if following is None:
                raw.on_close = partial(self._give_back, client)
                return answer
            retries = following


def _translated(error: errors.ZurlError, request: requests.PreparedRequest | None) -> Exception:
    kind = _SPECIAL.get(type(error))
    if kind is None:
        kind = getattr(requests.exceptions, failure_of_exception(error).requests)
    inner: Any = str(error)
    if kind is requests.ReadTimeout and request is not None:
        # Programs search for these words in this place.
        pool: Any = "gateway"
        inner = ReadTimeoutError(pool, str(request.url), f"Read timed out. ({error})")
    made = kind(inner, request=request)
    decorate(made, error)
    return made


# -- retries, as in urllib3 ------------------------------------------------------------------------


def _after_error(
    retries: Retry, error: errors.ZurlError, request: requests.PreparedRequest
) -> Retry:
    """Wait after an error; returns the retries that are left."""
    cause: Exception
    if isinstance(error, (errors.ConnectError, errors.ConnectTimeout)):
        cause = ConnectTimeoutError(str(error))
    elif isinstance(error, (errors.BadRequest, errors.PolicyViolation, errors.TlsError)):
        raise _translated(error, request) from error
    else:
        cause = ProtocolError(str(error))
    try:
        following = retries.increment(request.method, str(request.url), error=cause)
    except (MaxRetryError, ProtocolError):
        raise _translated(error, request) from error
    following.sleep()
    return following


def _after_answer(
    retries: Retry, answer: HTTPResponse, request: requests.PreparedRequest
) -> Retry | None:
    """Wait after an answer that is to be retried; returns the retries left, None for no retry."""
    has_time = "Retry-After" in answer.headers
    if not retries.is_retry(str(request.method), answer.status, has_time):
        return None
    try:
        following = retries.increment(request.method, str(request.url), response=answer)
    except MaxRetryError as error:
        if not retries.raise_on_status:
            return None
        answer.close()
        raise requests.exceptions.RetryError(error, request=request) from error
    answer.close()
    following.sleep(answer)
    return following


# -- the request -----------------------------------------------------------------------------------


def _request(
    request: requests.PreparedRequest, timeout: Timeout, defaults: RequestOptions
) -> Request:
    url = urlsplit(str(request.url))
    netloc = url.netloc.rpartition("@")[2]
    options = RequestOptions(**{**defaults, **ADAPTED})  # type: ignore[typeddict-item]
    raw = []
    for name, value in (request.headers or {}).items():
        if value == SKIP_HEADER:
            continue
        key, content = _bytes(name), _bytes(value)
        if key.lower() != b"host":
            raw.append((key, content))
        elif content.decode("latin-1").lower() != netloc.lower():
            options["host"] = content.decode("latin-1")
    target = url._replace(netloc=netloc, fragment="").geturl()
    method = _bytes(request.method or "GET").decode("latin-1")
    return Request(method, target, Headers.of_pairs(raw), _body(request), timeout, options)


def _bytes(text: str | bytes) -> bytes:
    """Text in the encoding of http.client's header fields."""
    if isinstance(text, bytes):
        return text
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode()


def _body(request: requests.PreparedRequest) -> Body:
    content: Any = request.body
    if not content:
        return Body()
    if isinstance(content, str):
        content = content.encode()
    length = request.headers.get("Content-Length") if request.headers else None
    size = int(length) if length is not None and str(length).isdigit() else None
    if isinstance(content, (bytes, bytearray)):
        return Body(bytes(content), None, len(content))
    return body_of_pieces(_pieces(content), size)


def _pieces(content: Any) -> Iterator[bytes]:
    for part in _read(content) if hasattr(content, "read") else content:
        yield part.encode() if isinstance(part, str) else bytes(part)


def _read(file: Any) -> Iterator[Any]:
    while piece := file.read(PIECE):
        yield piece


def _timeout(timeout: Any) -> Timeout:
    """The limits for a ``timeout`` of requests, where a number limits connecting and reading."""
    if isinstance(timeout, Timeout):
        return timeout
    if isinstance(timeout, tuple):
        try:
            connect, read = timeout
        except ValueError:
            raise ValueError(
                f"Invalid timeout {timeout}. Pass a (connect, read) timeout tuple, or a single "
                "float to set both timeouts to the same value."
            ) from None
        timeout = Urllib3Timeout(connect=connect, read=read)
    elif not isinstance(timeout, Urllib3Timeout):
        timeout = Urllib3Timeout(connect=timeout, read=timeout)
    connect, read = timeout.connect_timeout, timeout.read_timeout
    limits = [limit if isinstance(limit, (int, float)) else None for limit in (connect, read)]
    return Timeout(connect=limits[0], read=limits[1], write=limits[1])


# -- the answer ------------------------------------------------------------------------------------


class _Raw(io.RawIOBase):
    """The body as a file, from which urllib3 reads."""

    def __init__(self, answer: Response, url: str) -> None:
        self._answer = answer
        self._url = url
        self._parts = answer.iter_bytes()
        self._rest = memoryview(b"")
        self.on_close: Callable[[], None] | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        while not self._rest:
            try:
                self._rest = memoryview(next(self._parts))
            except StopIteration:
                return 0
            except errors.ReadTimeout as error:
                pool: Any = self._url  # it is only shown in messages
                raise _carrying(ReadTimeoutError(pool, self._url, str(error)), error) from error
            except errors.DecodingError as error:
                raise _carrying(DecodeError(str(error)), error) from error
            except errors.ZurlError as error:
                raise _carrying(ProtocolError(str(error), error), error) from error
        size = min(len(target), len(self._rest))
        target[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def close(self) -> None:
        if not self.closed:
            self._answer.close()
        super().close()
        on_close, self.on_close = self.on_close, None
        if on_close is not None:
            on_close()


def _carrying(error: Exception, cause: errors.ZurlError) -> Exception:
    decorate(error, cause)
    return error


class _Response(HTTPResponse):
    """urllib3's answer, whose body may be larger than allowed.

    requests reports every error of urllib3 in a body as a chunked encoding error.
    """

    def __init__(self, request: requests.PreparedRequest, **arguments: Any) -> None:
        self._prepared = request
        super().__init__(**arguments)

    def stream(
        self, amt: int | None = 2**16, decode_content: bool | None = None
    ) -> Generator[bytes, None, None]:
        try:
            yield from super().stream(amt, decode_content)
        except ProtocolError as error:
            if isinstance(error.__cause__, errors.MaxSizeExceeded):
                raise _translated(error.__cause__, self._prepared) from error
            raise


class _Original:
    """Stands for the answer of ``http.client``, which has cookies and version."""

    def __init__(self, raw: _Raw, headers: list[tuple[str, str]], version: int) -> None:
        self._raw = raw
        self.version = version
        self.msg = http.client.HTTPMessage()
        for name, value in headers:
            self.msg.add_header(name, value)

    def isclosed(self) -> bool:
        return self._raw.closed

    def close(self) -> None:
        self._raw.close()


def _response(answer: Response, raw: _Raw, request: requests.PreparedRequest) -> HTTPResponse:
    pairs = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in headers_of(answer)]
    headers = HTTPHeaderDict()
    for name, value in pairs:
        headers.add(name, value)
    text = version_of(answer)
    version = _VERSIONS.get(text, 11)
    return _Response(
        request,
        body=raw,
        headers=headers,
        status=answer.status_code,
        version=version,
        version_string=text,
        reason=answer.reason,
        preload_content=False,
        decode_content=False,
        original_response=_Original(raw, pairs, version),
        request_method=request.method,
        request_url=request.url,
    )
