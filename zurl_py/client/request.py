"""A request, and its first packet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict
from urllib.parse import urlencode

from .. import __version__
from ..zhttp import RequestPacket
from .body import Body, ContentTypes, DataTypes, FileTypes, encode_body
from .headers import Headers
from .timeouts import Timeout, TimeoutTypes

__all__ = ["Request", "RequestArguments", "RequestOptions", "build_request", "first_packet"]

USER_AGENT: Final = f"zurl-py/{__version__}"

ParamTypes = Mapping[str, Any] | Sequence[tuple[str, Any]] | str


class RequestOptions(TypedDict, total=False):
    """What may be said of any request, and given to a client for all of them.

    Attributes:
        follow_redirects: follow them, in the gateway.
        max_redirects: at most so many, 0 to 20; needs ``follow_redirects``.
        redirect_method: ``"get"``: 301 and 302 turn POST into GET, as in browsers.
        max_size: bytes of the answer's body that are taken, decoded; None is no limit.
        truncate: cut a larger answer at ``max_size``; ``truncated`` of the answer says so.
        raw: the body as the origin sent it, without undoing its ``Content-Encoding``.
        timing: have the phases' durations in ``timing`` of the answer.
        trailers: have the answer's trailers.
        interim: have the heads of 1xx.
        history: have the redirects that were followed.
        http_version: the highest to be used: ``"1.1"``, ``"2"``, ``"3"``.
        host: another ``Host`` than the URI's, if the gateway lets clients.
        connect_host: connect there, not to the URI's host.
        connect_port: connect to that port.
        trust_connect_host: accept a certificate for ``connect_host``.
        client_cert: PEM of the certificate to show to the origin; with ``client_key``.
        client_key: PEM of its key.
        ignore_policies: ask the gateway to set its policy aside; it may decline.
        ignore_tls_errors: accept any certificate.
        user_data: anything; the gateway echoes it.
        quiet: have the gateway log this at debug level.
        credits: bytes of the answer that the gateway may send ahead of the reader.
        ext: further entries of the packet's ``ext``.
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
    host: str
    connect_host: str
    connect_port: int
    trust_connect_host: bool
    client_cert: str | bytes
    client_key: str | bytes
    ignore_policies: bool
    ignore_tls_errors: bool
    user_data: Any
    quiet: bool
    credits: int
    ext: Mapping[str, Any]


class RequestArguments(RequestOptions, total=False):
    """What the methods of a client take besides the URL.

    Attributes:
        params: added to the URL's query.
        headers: sent with those of the client.
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
    """What is asked for.

    Attributes:
        method: verbatim.
        url: with its query.
        headers: as sent, but for what the gateway adds.
        body: the body.
        timeout: its limits.
        options: the rest.
    """

    method: str
    url: str
    headers: Headers
    body: Body
    timeout: Timeout
    options: RequestOptions = field(default_factory=lambda: RequestOptions())

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.url}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception that holds one goes to other processes; a body that is read once does not.
        body = self.body if self.body.replayable else Body()
        return Request, (
            self.method, self.url, self.headers, body, self.timeout, self.options,
        )  # fmt: skip


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
        timeout: where the call gives none.
        options: where the call gives none.

    Raises:
        TypeError: an argument that there is not, or of a wrong type.
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
    unknown = rest.keys() - RequestOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"no such argument: {', '.join(sorted(unknown))}")
    merged = RequestOptions(**{**options, **rest})  # type: ignore[typeddict-item]
    if params:
        url = _with_params(url, params)
    return Request(method, url, _headers(own, headers, body), body, timeout, merged)


def _headers(own: Headers, common: Headers, body: Body) -> Headers:
    """Those of the call, then those of the client, then what the body brings."""
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
    """The URL with more query. Its own query stays byte for byte."""
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
    """The first packet of a session, but for who sends it, and the body."""
    packet = RequestPacket(uri=request.url.encode(), headers=request.headers.raw)
    if not websocket:
        packet.method = request.method.encode()
    options: dict[str, Any] = dict(request.options)
    extra = options.pop("ext", None)
    if "user_data" in options:
        packet.user_data = options.pop("user_data")
    for name, value in options.items():  # named as the packet's attributes
        if value is not None:
            setattr(packet, name, value.encode() if isinstance(value, str) else value)
    timeout = request.timeout
    if timeout.connect is not None and timeout.connect > 0:
        packet.connect_timeout = milliseconds(timeout.connect)
    if timeout.total is not None:
        packet.timeout = milliseconds(timeout.total)
    if extra:
        packet.ext = dict(extra)
    return packet


def milliseconds(seconds: float) -> int:
    """As ZHTTP counts; more than nothing is a millisecond at least. Thirty years at most."""
    return min(max(round(seconds * 1000), 1 if seconds > 0 else 0), 10**12)
