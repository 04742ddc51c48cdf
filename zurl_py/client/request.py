"""Requests, their options, and their first packet."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict
from urllib.parse import urlencode

from .. import __version__
from ..zhttp import RequestPacket
from .body import Body, ContentTypes, DataTypes, FileTypes, encode_body
from .headers import Headers
from .shorthands import expand
from .timeouts import Timeout, TimeoutTypes

__all__ = ["Request", "RequestArguments", "RequestOptions", "build_request", "first_packet"]

_USER: Final = re.compile(r"//[^/?#]*@")

USER_AGENT: Final = f"zurl-py/{__version__}"

ParamTypes = Mapping[str, Any] | Sequence[tuple[str, Any]] | str


class RequestOptions(TypedDict, total=False):
    """Options of a request; those given to a client apply to all of its requests.

    Attributes:
        follow_redirects: let the gateway follow redirects.
        max_redirects: limit of redirects, 0 to 20; needs ``follow_redirects``.
        redirect_method: ``"get"``: 301 and 302 change POST to GET, as in browsers.
        max_size: limit of the answer's body, bytes, decoded; None: no limit.
        truncate: cut a larger answer at ``max_size``; its ``truncated`` is True then.
        raw: do not decode the body (``Content-Encoding``).
        timing: the answer's ``timing`` has the durations of the phases.
        trailers: the answer has its trailers.
        interim: the answer has the heads of 1xx.
        history: the answer has the redirects that were followed.
        http_version: the highest version to use: ``"1.1"``, ``"2"``, ``"3"``.
        http2: True or False: the same as ``http_version`` ``"2"`` or ``"1.1"``.
        http3: True: the same as ``http_version`` ``"3"``.
        host: value of ``Host``, if the gateway permits another one than the URI's.
        connect_host: host to connect to in place of the URI's.
        connect_port: port to connect to.
        trust_connect_host: accept a certificate for ``connect_host`` as well.
        client_cert: client certificate in PEM; needs ``client_key``.
        client_key: its private key in PEM.
        cert: path of a PEM file with both, or a pair of paths; read at once.
        ignore_policies: ask the gateway not to apply its policy; it may refuse.
        ignore_tls_errors: accept any certificate.
        user_data: any value; the gateway returns it.
        quiet: let the gateway log this request at debug level.
        credits: bytes of the answer that the gateway may send before they are read.
        ext: further items of the packet's ``ext``.
    """

    follow_redirects: bool
    max_redirects: int
    redirect_method: str
    max_size: int | None
    truncate: bool
    raw: bool
    timing: bool
    trailers: bool
    interim: bool
    history: bool
    http_version: str
    http2: bool | None
    http3: bool | None
    host: str
    connect_host: str
    connect_port: int
    trust_connect_host: bool
    client_cert: str | bytes
    client_key: str | bytes
    cert: Any
    ignore_policies: bool
    ignore_tls_errors: bool
    user_data: Any
    quiet: bool
    credits: int
    ext: Mapping[str, Any]


class RequestArguments(RequestOptions, total=False):
    """Arguments of a client's methods beside the URL.

    Attributes:
        params: added to the URL's query.
        headers: in addition to those of the client.
        content: the body: bytes, text, a file, an iterator of bytes.
        json: the body, as JSON.
        data: the body, as a form.
        files: the body, as ``multipart/form-data``, with ``data`` for its other fields.
        timeout: seconds, or a ``Timeout``.
    """

    params: ParamTypes | None
    headers: Any
    content: ContentTypes | None
    json: Any
    data: DataTypes | None
    files: FileTypes | None
    timeout: TimeoutTypes


@dataclass(slots=True)
class Request:
    """A request.

    Attributes:
        method: as given.
        url: with its query.
        headers: all that the client sends; the gateway may add more.
        body: the body.
        timeout: time limits.
        options: all other options.
    """

    method: str
    url: str
    headers: Headers
    body: Body
    timeout: Timeout
    options: RequestOptions = field(default_factory=lambda: RequestOptions())

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.shown_url}>"

    @property
    def shown_url(self) -> str:
        """The URL without what may be secret: user, password and query."""
        return shown(self.url)

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions with a request are pickled; a body that can be read only once is left out.
        body = self.body if self.body.replayable else Body()
        return Request, (
            self.method, self.url, self.headers, body, self.timeout, self.options,
        )  # fmt: skip


def shown(url: str) -> str:
    """A URL without what may be secret: user, password and query."""
    return _USER.sub("//", url, count=1).partition("?")[0]


def build_request(
    method: str,
    url: str,
    arguments: RequestArguments,
    headers: Headers,
    timeout: Timeout,
    options: RequestOptions,
) -> Request:
    """The request of a call.

    Args:
        headers: the client's, for names that the call does not give.
        timeout: the client's, if the call gives none.
        options: the client's, for those that the call does not give.

    Raises:
        TypeError: an argument is unknown, or has a wrong type.
    """
    if not isinstance(url, str):
        url = str(url)
    if not isinstance(method, str):
        raise TypeError(f"the method is text, not {type(method).__name__}")
    rest: dict[str, Any] = dict(arguments)
    params = rest.pop("params", None)
    own = Headers(rest.pop("headers", None))
    body = encode_body(
        rest.pop("content", None),
        rest.pop("json", None),
        rest.pop("data", None),
        rest.pop("files", None),
    )
    if "timeout" in rest:
        timeout = Timeout.of(rest.pop("timeout"))
    expand(rest)
    unknown = rest.keys() - RequestOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"no such argument: {', '.join(sorted(unknown))}")
    merged = RequestOptions(**{**options, **rest})  # type: ignore[typeddict-item]
    if params:
        url = _with_params(url, params)
    return Request(method, url, _headers(own, headers, body), body, timeout, merged)


def _headers(own: Headers, common: Headers, body: Body) -> Headers:
    """Headers of the call, then of the client, then those that the body implies."""
    names = {name.lower() for name, _ in own.raw}
    raw = list(own.raw)
    raw += [pair for pair in common.raw if pair[0].lower() not in names]
    if body.content_type is not None and not any(k.lower() == b"content-type" for k, _ in raw):
        raw.append((b"Content-Type", body.content_type.encode()))
    if (
        body.streams
        and body.length is not None
        and not any(key.lower() in (b"content-length", b"transfer-encoding") for key, _ in raw)
    ):
        raw.append((b"Content-Length", b"%d" % body.length))
    return Headers.of_pairs(raw)


def _with_params(url: str, params: ParamTypes) -> str:
    """The URL with parameters added; its own query is not changed."""
    if isinstance(params, str):
        query = params.lstrip("?")
    else:
        pairs: Iterable[tuple[str, Any]]
        pairs = params.items() if isinstance(params, Mapping) else params
        query = urlencode([(k, _param(v)) for k, v in pairs if v is not None], doseq=True)
    start, hash_, fragment = url.partition("#")
    if query:
        start += ("&" if start[-1:] not in "?&" else "") if "?" in start else "?"
    return f"{start}{query}{hash_}{fragment}"


def _param(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value


# -- the packet ------------------------------------------------------------------------------------


def first_packet(request: Request, websocket: bool = False) -> RequestPacket:
    """The first packet of a session, without address, id and body."""
    packet = RequestPacket(uri=request.url.encode(), headers=request.headers.raw)
    if not websocket:
        packet.method = request.method.encode()
    options: dict[str, Any] = dict(request.options)
    extra = options.pop("ext", None)
    if "user_data" in options:
        packet.user_data = options.pop("user_data")
    for name, value in options.items():  # options have the names of the packet's attributes
        if value is not None:
            setattr(packet, name, value.encode() if isinstance(value, str) else value)
    timeout = request.timeout
    own = extra is not None and "connect-timeout" in extra
    if timeout.connect is not None and timeout.connect > 0 and not own:
        packet.connect_timeout = milliseconds(timeout.connect)
    if timeout.total is not None:
        packet.timeout = milliseconds(timeout.total)
    if extra:
        packet.ext = dict(extra)
    return packet


def milliseconds(seconds: float) -> int:
    """Seconds as milliseconds for ZHTTP: at least 1 if positive, at most thirty years."""
    return min(max(round(seconds * 1000), 1 if seconds > 0 else 0), 10**12)
