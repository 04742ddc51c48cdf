"""Turns the first packet of a session into a request to the egress, or refuses it."""

from __future__ import annotations

from collections.abc import Sequence

from ..client_certificate import BadClientCertificate, ClientCertificate
from ..egress import HttpRequest, check_names
from ..http.fields import COMMON_METHODS, BadHeader, RequestHeaders, check_method
from ..policy import Policy
from ..url import BadUrl, Target, parse
from ..zhttp import Condition, Format, RequestPacket
from .refusal import Refused

__all__ = ["apply_transport", "open_http", "open_target", "request_headers", "with_user_agent"]

_MAX_PORT = 65535
_JSON = Format.JSON


def open_target(packet: RequestPacket, schemes: tuple[str, ...]) -> Target:
    """The URI of a first packet, if its scheme is among ``schemes``.

    Raises:
        Refused: there is no URI, or it cannot be used.
    """
    if not packet.uri:
        raise Refused.bad_request("uri is missing", "bad-uri")
    try:
        target = parse(packet.uri)
    except BadUrl as error:
        raise Refused.bad_request(f"uri: {error}", "bad-uri") from None
    if target.scheme not in schemes:
        allowed = " and ".join(schemes)
        raise Refused.bad_request(
            f"uri: the scheme {target.scheme!r} cannot be used here, {allowed} can", "bad-uri"
        )
    return target


def open_http(packet: RequestPacket, policy: Policy, user_agent: bytes = b"") -> HttpRequest:
    """The HTTP request of a first packet, if the policy allows it.

    Args:
        user_agent: ``User-Agent`` where the packet has none; b"": none is sent.

    Raises:
        Refused: the request is malformed or not allowed.
    """
    target = open_target(packet, ("http", "https"))
    try:
        return _request_to(target, packet, policy, user_agent)
    except Refused as refused:
        refused.target = target
        raise


def _request_to(
    target: Target, packet: RequestPacket, policy: Policy, user_agent: bytes
) -> HttpRequest:
    method = packet.method
    if not method:
        raise Refused.bad_request("method is missing", "bad-method")
    headers = request_headers(packet, user_agent)
    if method not in COMMON_METHODS:
        try:
            check_method(method)
        except BadHeader as error:
            raise Refused.bad_request(str(error), "bad-method") from None
    if packet.body and method == b"HEAD":
        raise Refused(
            Condition.CONTENT_NOT_ALLOWED, "a HEAD request has no body", "content-not-allowed"
        )
    request = HttpRequest(target, method, headers, policy, body=packet.body)
    if packet.more:
        request.upload = True
        request.content_length = _upload_length(headers)
    if packet.max_size is not None:
        request.max_size = packet.max_size
    request.follow_redirects = packet.follow_redirects
    request.as_json = packet.format is _JSON
    if packet.ext is not None:
        _apply_ext(request, packet)
    apply_transport(request, packet, policy)
    return request


def _apply_ext(request: HttpRequest, packet: RequestPacket) -> None:
    """Apply the options in the packet's ``ext``."""
    request.raw = packet.raw
    request.truncate = packet.truncate
    request.timing = packet.timing
    request.trailers = packet.trailers
    request.interim = packet.interim
    request.history = packet.history
    request.redirect_as_get = packet.redirect_method == b"get"
    if packet.max_redirects is not None:
        request.max_redirects = packet.max_redirects


def with_user_agent(
    headers: Sequence[tuple[bytes, bytes]], user_agent: bytes
) -> Sequence[tuple[bytes, bytes]]:
    """The headers, with the configured ``User-Agent`` where they have none."""
    if not user_agent or any(name.lower() == b"user-agent" for name, _ in headers):
        return headers
    return [*headers, (b"User-Agent", user_agent)]


def request_headers(packet: RequestPacket, user_agent: bytes = b"") -> RequestHeaders:
    """The headers of a first packet.

    Raises:
        Refused: one of them cannot be sent.
    """
    try:
        headers = with_user_agent(packet.headers, user_agent) if user_agent else packet.headers
        return RequestHeaders(headers)
    except BadHeader as error:
        raise Refused.bad_request(f"headers: {error}", "bad-header") from None


def apply_transport(request: HttpRequest, packet: RequestPacket, policy: Policy) -> None:
    """Apply privileges, connect-host and TLS options, and check the names by the policy.

    Raises:
        Refused: a privilege is not granted, or a name is not allowed.
    """
    if (
        packet.ignore_policies
        or packet.ignore_tls_errors
        or packet.trust_connect_host
        or packet.host is not None
        or (packet.connect_host is not None or packet.connect_port is not None)
    ):
        _apply_privileges(request, packet, policy)
    request.worker = packet.worker
    if packet.http_version is not None:
        request.http_version = packet.http_version.decode()
    if packet.connect_timeout is not None:
        request.connect_timeout = max(1, packet.connect_timeout)
    if packet.client_cert is not None or packet.client_key is not None:
        _apply_client_certificate(request, packet)
    decision = check_names(request)
    if not decision.allowed:
        raise Refused.by_policy(decision)


def _apply_privileges(request: HttpRequest, packet: RequestPacket, policy: Policy) -> None:
    decision = policy.check_privileges(
        ignore_policies=packet.ignore_policies,
        ignore_tls_errors=packet.ignore_tls_errors,
        connect_host=packet.connect_host is not None or packet.connect_port is not None,
        trust_connect_host=packet.trust_connect_host,
        host_override=packet.host is not None,
    )
    if not decision.allowed:
        raise Refused.by_policy(decision)
    if packet.ignore_policies:
        request.privileged = True
        request.policy = policy.privileged()
    request.ignore_tls_errors = packet.ignore_tls_errors
    if packet.host is not None:
        request.host = _host(packet.host)
    if packet.connect_port is not None:
        if not 0 < packet.connect_port <= _MAX_PORT:
            raise Refused.bad_request(
                f"connect-port must be from 1 to {_MAX_PORT}, not {packet.connect_port}"
            )
        request.connect_port = packet.connect_port
    if packet.connect_host:
        request.connect_host = _connect_host(packet.connect_host)
        request.trust_connect_host = packet.trust_connect_host


def _apply_client_certificate(request: HttpRequest, packet: RequestPacket) -> None:
    """Apply the client certificate of a request over TLS."""
    if request.target.scheme not in ("https", "wss"):
        return
    if packet.client_cert is None or packet.client_key is None:
        given, missing = "client-cert", "client-key"
        if packet.client_cert is None:
            given, missing = missing, given
        raise Refused.bad_request(
            f"{given} is there and {missing} is not; send both, or neither", "bad-client-cert"
        )
    try:
        request.client_certificate = ClientCertificate.checked(
            packet.client_cert, packet.client_key
        )
    except BadClientCertificate as problem:
        raise Refused.bad_request(f"client-cert: {problem}", "bad-client-cert") from None


def _connect_host(text: bytes) -> str:
    """Parse connect-host by the URL parser, so that policy and libcurl read it alike."""
    bracketed = b"[" + text + b"]" if b":" in text and not text.startswith(b"[") else text
    try:
        target = parse(b"http://" + bracketed + b"/")
    except BadUrl as error:
        raise Refused.bad_request(f"connect-host: {error}") from None
    more = text.startswith(b"[") and not text.endswith(b"]")
    if more or target.port != 80 or any(mark in text for mark in (b"/", b"?", b"#", b"@")):
        raise Refused.bad_request(
            f"connect-host must be a host name or an address and nothing else, not {_shown(text)}"
        )
    return target.host


def _host(text: bytes) -> bytes:
    """Check another Host: a name or an address, with a port or without; it is sent unchanged."""
    try:
        target = parse(b"http://" + text + b"/")
    except BadUrl as error:
        raise Refused.bad_request(f"host: {error}") from None
    if target.authorization is not None or any(mark in text for mark in b"/?#@\\ "):
        raise Refused.bad_request(
            f"host must be a host name or an address, with or without a port, not {_shown(text)}"
        )
    return text


def _shown(text: bytes) -> str:
    return repr(text[:64].decode("utf-8", "replace"))


def _upload_length(headers: RequestHeaders) -> int | None:
    text = headers.content_length
    if text is None:
        return None
    if not text.isdigit() or len(text) > 18:
        raise Refused.bad_request(
            f"headers: Content-Length must be a number of bytes, not {_shown(text)}", "bad-header"
        )
    return int(text)
