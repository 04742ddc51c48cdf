"""A session's request to the egress: one HTTP request with all of its options."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Protocol

import pycurl

from ..client_certificate import ClientCertificate
from ..http.fields import RequestHeaders
from ..http.redirects import MAX_REDIRECTS, keeps_body, next_method
from ..policy import Decision
from ..url import Target

__all__ = ["AddressPolicy", "HttpRequest", "connect_host_url", "connect_to", "header_lines"]


_HTTP2_FIELDS: Final = 60_000  # bytes: nghttp2 sends 64 KiB at most, with what libcurl adds


class AddressPolicy(Protocol):
    """The policy for a request's connections: the whole one, or that for ignore-policies."""

    def check_name(self, host: str, port: int, scheme: str) -> Decision:
        """See `Policy.check_name`."""
        ...

    def check_address(self, address: str, port: int, scheme: str, host: str = "") -> Decision:
        """See `Policy.check_address`."""
        ...

    def check_privileges(
        self,
        *,
        ignore_policies: bool,
        ignore_tls_errors: bool,
        connect_host: bool,
        trust_connect_host: bool,
        host_override: bool = False,
    ) -> Decision: ...


@dataclass(slots=True, repr=False)
class HttpRequest:
    """One HTTP request, with the worker's options.

    Attributes:
        raw: the body is not decoded, and Accept-Encoding is the worker's.
        truncate: a body larger than ``max_size`` is cut, not refused.
        timing, trailers, interim, history: the worker wants these in ``ext``.
        redirect_as_get: 301 and 302 change POST to GET.
    """

    target: Target
    method: bytes
    headers: RequestHeaders
    policy: AddressPolicy
    privileged: bool = False  # ignore-policies was requested and granted
    body: bytes = b""  # the whole body, or the first part of an upload
    upload: bool = False  # the rest of the body follows
    content_length: int | None = None  # bytes of an upload, if the worker gave it
    connect_host: str | None = None
    connect_port: int | None = None
    trust_connect_host: bool = False
    ignore_tls_errors: bool = False
    follow_redirects: bool = False
    max_size: int | None = None  # bytes of decoded response body
    discard: bool = False  # the answer is not needed
    client_certificate: ClientCertificate | None = None  # from the message; precedes the settings'
    http_version: str = ""  # the highest version to use; "": that of the settings
    host: bytes | None = None  # value of Host, in place of the URI's host
    worker: bytes = b""  # the worker that sent the request
    connect_timeout: int = 0  # milliseconds until a connection is made; 0: libcurl's default
    as_json: bool = False  # the session encodes a buffered answer in JSON
    raw: bool = False
    truncate: bool = False
    timing: bool = False
    trailers: bool = False
    interim: bool = False
    history: bool = False
    max_redirects: int = MAX_REDIRECTS
    redirect_as_get: bool = False

    def __repr__(self) -> str:
        return f"<HttpRequest {self.method.decode('latin-1')} {self.target!r}>"

    @property
    def host_header(self) -> bytes:
        """Value of the Host header."""
        return self.host or self.target.host_header

    @property
    def connects_elsewhere(self) -> bool:
        """Whether the connection goes to another host or port than the URI's."""
        return self.connect_host is not None or self.connect_port is not None

    @property
    def is_beyond_http2(self) -> bool:
        """Whether fields and target (a field in HTTP/2) are larger than HTTP/2 can carry."""
        return self.headers.size + len(self.target.text) > _HTTP2_FIELDS

    @property
    def offers_codings(self) -> bool:
        """Whether the gateway offers content codings, and decodes them.

        It does not with HEAD, whose answer should have the length of a body without coding, nor
        with Range, because a part of encoded data cannot be decoded.
        """
        return not (self.raw or self.headers.has_range or self.method == b"HEAD")

    def redirected(self, target: Target, code: int) -> HttpRequest:
        """The request of the next hop, after an answer with ``code`` (RFC 9110 section 15.4).

        ``http.redirects`` has the rules for methods. Credentials are removed if the origin differs,
        fields that describe the body if there is none.
        """
        here, there = self.target, target
        same_origin = here.origin == there.origin
        if same_origin and there.authorization is None and here.authorization is not None:
            target = replace(there, authorization=here.authorization)
        hop = replace(
            self,
            target=target,
            headers=self.headers if same_origin else self.headers.without_secrets(),
            client_certificate=self.client_certificate if same_origin else None,
            host=self.host if same_origin else None,
        )
        hop.method = next_method(self.method, code, as_get=self.redirect_as_get)
        if not keeps_body(self.method, code, as_get=self.redirect_as_get):
            hop.headers = hop.headers.without_content()
            hop.body = b""
            hop.upload = False
            hop.content_length = None
        return hop


def connect_to(request: HttpRequest) -> str | None:
    """``CURLOPT_CONNECT_TO`` for this request: connect to that host and port for any URL."""
    if not request.connects_elsewhere:
        return None
    host = request.connect_host or ""
    if ":" in host:
        host = f"[{host}]"
    return f"::{host}:{request.connect_port if request.connect_port is not None else ''}"


def connect_host_url(request: HttpRequest) -> pycurl.CurlUrl:
    """The request's URL with the connect host's name, so that libcurl verifies that name."""
    url = pycurl.CurlUrl(request.target.curl_url.url, pycurl.U_PATH_AS_IS)
    host = request.connect_host or ""
    url.host = f"[{host}]" if ":" in host else host
    return url


def header_lines(request: HttpRequest, verify_connect_host: bool) -> list[bytes]:
    """The worker's header lines, with those that come from the URI."""
    lines = request.headers.lines
    authorization = request.target.authorization
    if authorization is not None and not request.headers.has_authorization:
        lines = [*lines, b"Authorization: " + authorization]
    if request.headers.coded and (request.body or request.upload):
        lines = [*lines, *request.headers.coded]
    # As `offers_codings`, whose call would take as long as the rest of this function.
    if request.raw or request.headers.has_range or request.method == b"HEAD":
        # "Accept-Encoding:" keeps libcurl from adding its own.
        accepted = request.headers.accepted if request.raw else ()
        lines = [*lines, *(accepted or (b"Accept-Encoding:",))]
    if request.trailers:
        lines = [*request.headers.without_te(lines), b"TE: trailers", b"Connection: TE"]
    if verify_connect_host or request.host is not None:
        lines = [*lines, b"Host: " + request.host_header]
    return lines
