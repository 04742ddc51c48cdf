"""From the first packet of a session to what is asked of the egress, or why it is refused."""

from __future__ import annotations

from ..egress import HttpRequest, check_names
from ..http.fields import BadHeader, RequestHeaders, check_method
from ..policy import Decision, Policy
from ..url import BadUrl, Target, parse
from ..zhttp import Condition, RequestPacket

__all__ = ["Refused", "open_http", "open_target"]

_MAX_PORT = 65535


class Refused(Exception):
    """A request that is not carried out.

    Attributes:
        condition: the ZHTTP error condition of the answer.
        reason: why, for the log.
        decision: the policy's decision, where that was the reason.
        uri: the URI, fit for a log line, where it could be parsed.
    """

    def __init__(self, condition: bytes, reason: str, decision: Decision | None = None) -> None:
        super().__init__(condition, reason)
        self.condition = condition
        self.reason = reason
        self.decision = decision
        self.uri = "-"


def open_target(packet: RequestPacket, schemes: tuple[str, ...]) -> Target:
    """The URI of a first packet, if its scheme is among ``schemes``.

    Raises:
        Refused: no URI, or one that cannot be used.
    """
    if not packet.uri:
        raise Refused(Condition.BAD_REQUEST, "uri is missing")
    try:
        target = parse(packet.uri)
    except BadUrl as error:
        raise Refused(Condition.BAD_REQUEST, f"uri: {error}") from None
    if target.scheme not in schemes:
        raise Refused(
            Condition.BAD_REQUEST, f"uri: the scheme {target.scheme!r} cannot be used here"
        )
    return target


def open_http(packet: RequestPacket, policy: Policy) -> HttpRequest:
    """The HTTP request that a first packet asks for, as far as the policy lets it.

    Raises:
        Refused: with the condition of the answer.
    """
    target = open_target(packet, ("http", "https"))
    try:
        return _request_to(target, packet, policy)
    except Refused as refused:
        refused.uri = target.text
        raise


def _request_to(target: Target, packet: RequestPacket, policy: Policy) -> HttpRequest:
    method = packet.method
    if not method:
        raise Refused(Condition.BAD_REQUEST, "method is missing")
    try:
        headers = RequestHeaders(packet.headers)
        check_method(method)
    except BadHeader as error:
        raise Refused(Condition.BAD_REQUEST, str(error)) from None
    if packet.body and method == b"HEAD":
        raise Refused(Condition.CONTENT_NOT_ALLOWED, "HEAD with a body")
    request = HttpRequest(target, method, headers, policy, body=packet.body)
    if packet.more:
        request.upload = True
        request.content_length = _upload_length(headers)
    if packet.max_size is not None:
        request.max_size = packet.max_size
    request.follow_redirects = packet.follow_redirects
    apply_transport(request, packet, policy)
    return request


def apply_transport(request: HttpRequest, packet: RequestPacket, policy: Policy) -> None:
    """Privileges, connect-host and TLS options, and the policy's word on the names.

    Raises:
        Refused: a privilege that is not granted, or a name that is not allowed.
    """
    if (
        packet.ignore_policies
        or packet.ignore_tls_errors
        or packet.trust_connect_host
        or (packet.connect_host is not None or packet.connect_port is not None)
    ):
        _apply_privileges(request, packet, policy)
    decision = check_names(request)
    if not decision.allowed:
        raise _refused_by(decision)


def _refused_by(decision: Decision) -> Refused:
    return Refused(Condition.POLICY_VIOLATION, f"{decision.subject} {decision.reason}", decision)


def _apply_privileges(request: HttpRequest, packet: RequestPacket, policy: Policy) -> None:
    decision = policy.check_privileges(
        ignore_policies=packet.ignore_policies,
        ignore_tls_errors=packet.ignore_tls_errors,
        connect_host=packet.connect_host is not None or packet.connect_port is not None,
        trust_connect_host=packet.trust_connect_host,
    )
    if not decision.allowed:
        raise _refused_by(decision)
    if packet.ignore_policies:
        request.privileged = True
        request.policy = policy.privileged()
    request.ignore_tls_errors = packet.ignore_tls_errors
    if packet.connect_port is not None:
        if not 0 < packet.connect_port <= _MAX_PORT:
            raise Refused(Condition.BAD_REQUEST, f"connect-port {packet.connect_port}")
        request.connect_port = packet.connect_port
    if packet.connect_host:
        request.connect_host = _connect_host(packet.connect_host)
        request.trust_connect_host = packet.trust_connect_host


def _connect_host(text: bytes) -> str:
    """connect-host goes through the URL parser, so that it means the same to policy and libcurl."""
    bracketed = b"[" + text + b"]" if b":" in text and not text.startswith(b"[") else text
    try:
        target = parse(b"http://" + bracketed + b"/")
    except BadUrl as error:
        raise Refused(Condition.BAD_REQUEST, f"connect-host: {error}") from None
    more = text.startswith(b"[") and not text.endswith(b"]")
    if more or target.port != 80 or any(mark in text for mark in (b"/", b"?", b"#", b"@")):
        raise Refused(Condition.BAD_REQUEST, "connect-host is not a host name or address")
    return target.host


def _upload_length(headers: RequestHeaders) -> int | None:
    text = headers.content_length
    if text is None:
        return None
    if not text.isdigit() or len(text) > 18:
        raise Refused(Condition.BAD_REQUEST, "Content-Length is not a number")
    return int(text)
