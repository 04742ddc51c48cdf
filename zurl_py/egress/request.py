"""What a session asks of the egress: one HTTP request, with everything that shapes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import pycurl

from ..client_certificate import ClientCertificate
from ..http.fields import RequestHeaders
from ..http.redirects import MAX_REDIRECTS, keeps_body, next_method
from ..policy import Decision
from ..url import Target

__all__ = ["AddressPolicy", "HttpRequest", "connect_host_url", "connect_to", "header_lines"]


class AddressPolicy(Protocol):
    """The part of a policy that a request carries: the whole one, or what a privilege leaves."""

    def check_name(self, host: str, port: int, scheme: str) -> Decision: ...

    def check_address(self, address: str, port: int, scheme: str, host: str = "") -> Decision: ...

    def check_privileges(
        self,
        *,
        ignore_policies: bool,
        ignore_tls_errors: bool,
        connect_host: bool,
        trust_connect_host: bool,
        host_override: bool = False,
    ) -> Decision: ...


@dataclass(slots=True)
class HttpRequest:
    """One HTTP request, with what the worker said about how to carry it out.

    Attributes:
        raw: the body is handed on as the origin sent it, and the worker says what it can undo.
        truncate: a body beyond ``max_size`` is cut, where it would be refused.
        timing, trailers, interim, history: the worker wants to be told of these.
        redirect_as_get: 301 and 302 make a GET of POST.
    """

    target: Target
    method: bytes
    headers: RequestHeaders
    policy: AddressPolicy
    privileged: bool = False  # ignore-policies was asked for and granted
    body: bytes = b""  # the whole body, or the first part of an upload
    upload: bool = False  # more body will be fed
    content_length: int | None = None  # bytes of an upload, where the worker said
    connect_host: str | None = None
    connect_port: int | None = None
    trust_connect_host: bool = False
    ignore_tls_errors: bool = False
    follow_redirects: bool = False
    max_size: int | None = None  # bytes of decoded response body
    discard: bool = False  # nobody wants the answer
    client_certificate: ClientCertificate | None = None  # of the message; wins over the settings'
    http_version: str = ""  # the highest that may be used; "": as the settings say
    host: bytes | None = None  # the Host header, where it is not to be the URI's
    worker: bytes = b""  # who asks
    connect_timeout: int = 0  # milliseconds until there is a connection; 0: as libcurl has it
    as_json: bool = False  # a whole answer is told in JSON
    raw: bool = False
    truncate: bool = False
    timing: bool = False
    trailers: bool = False
    interim: bool = False
    history: bool = False
    max_redirects: int = MAX_REDIRECTS
    redirect_as_get: bool = False

    @property
    def host_header(self) -> bytes:
        """Value of the Host header."""
        return self.host or self.target.host_header

    @property
    def connects_elsewhere(self) -> bool:
        """The connection goes to another host or port than the URI's."""
        return self.connect_host is not None or self.connect_port is not None

    @property
    def offers_codings(self) -> bool:
        """The gateway says which content codings it can undo, and undoes them.

        Not with HEAD, whose answer is to tell the length that a GET without codings would have,
        nor with Range, as a part of coded data cannot be undone.
        """
        return not (self.raw or self.headers.has_range or self.method == b"HEAD")

    def redirected(self, target: Target, code: int) -> HttpRequest:
        """The request of the next hop, after an answer with ``code`` (RFC 9110 section 15.4).

        ``http.redirects`` has the rules of methods. To another origin, credentials stay behind;
        without a body, what was said about it.
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
    """``CURLOPT_CONNECT_TO`` for this request: from any host and port to the one named."""
    if not request.connects_elsewhere:
        return None
    host = request.connect_host or ""
    if ":" in host:
        host = f"[{host}]"
    return f"::{host}:{request.connect_port if request.connect_port is not None else ''}"


def connect_host_url(request: HttpRequest) -> pycurl.CurlUrl:
    """The request's URL with the connect host's name in it, for libcurl to verify by that."""
    url = pycurl.CurlUrl(request.target.curl_url.url, pycurl.U_PATH_AS_IS)
    host = request.connect_host or ""
    url.host = f"[{host}]" if ":" in host else host
    return url


def header_lines(request: HttpRequest, verify_connect_host: bool) -> list[bytes]:
    """The worker's headers, with what the URI itself stands for."""
    lines = request.headers.lines
    authorization = request.target.authorization
    if authorization is not None and not request.headers.has_authorization:
        lines = [*lines, b"Authorization: " + authorization]
    if request.headers.coded and (request.body or request.upload):
        lines = [*lines, *request.headers.coded]
    if not request.offers_codings:
        # An empty one keeps libcurl from making its own.
        accepted = request.headers.accepted if request.raw else ()
        lines = [*lines, *(accepted or (b"Accept-Encoding:",))]
    if request.trailers:
        lines = [*request.headers.without_te(lines), b"TE: trailers", b"Connection: TE"]
    if verify_connect_host or request.host is not None:
        lines = [*lines, b"Host: " + request.host_header]
    return lines
