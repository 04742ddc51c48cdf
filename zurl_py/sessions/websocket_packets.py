"""Conversion between ZHTTP packets and WebSocket handshakes and frames."""

from __future__ import annotations

from ..egress import Extras, HttpRequest
from ..http.fields import RequestHeaders
from ..url import Target
from ..websocket import BadInput, Close, Data, Handshake, Ping, Pong, Response
from ..zhttp import Condition, RequestPacket
from .base import Services
from .opening import apply_transport, open_target, with_user_agent
from .refusal import Refused

__all__ = [
    "close_fields",
    "frame_fields",
    "open_websocket",
    "opened_fields",
    "rejected_fields",
]


def open_websocket(packet: RequestPacket, services: Services) -> tuple[HttpRequest, Handshake]:
    """The request and handshake of a first packet, if the policy allows them.

    Raises:
        Refused: the request is malformed or not allowed.
    """
    target = open_target(packet, ("ws", "wss"))
    try:
        return _connection_to(target, packet, services)
    except Refused as refused:
        refused.target = target
        raise


def _connection_to(
    target: Target, packet: RequestPacket, services: Services
) -> tuple[HttpRequest, Handshake]:
    if packet.seq != 0:
        raise Refused.bad_request(f"seq must be 0 in a first packet, not {packet.seq}")
    try:
        headers = with_user_agent(packet.headers, services.user_agent)
        handshake = Handshake(headers, services.websocket.compression)
    except BadInput as error:
        raise Refused.bad_request(f"headers: {error}", "bad-header") from None
    request = HttpRequest(target, b"GET", RequestHeaders(()), services.policy)
    request.follow_redirects = packet.follow_redirects
    request.history = packet.history
    request.timing = packet.timing
    if packet.max_redirects is not None:
        request.max_redirects = packet.max_redirects
    apply_transport(request, packet, services.policy)
    return request, handshake


def opened_fields(response: Response, credits: int, extras: Extras | None) -> dict[str, object]:
    """The fields of the packet that answers the first one."""
    fields: dict[str, object] = {
        "code": response.code,
        "reason": response.reason,
        "headers": response.headers,
        "credits": credits,
    }
    if extras is not None:
        fields["ext"] = extras.whole()
    return fields


def rejected_fields(response: Response, extras: Extras | None) -> dict[str, object]:
    """The fields of the error for an answer other than 101; its headers fit the body in it."""
    framing = (b"content-length", b"transfer-encoding")
    headers = [pair for pair in response.headers if pair[0].lower() not in framing]
    return {
        "type": b"error",
        "condition": Condition.REJECTED,
        "code": response.code,
        "reason": response.reason,
        "headers": [*headers, (b"Content-Length", b"%d" % len(response.body))],
        "body": response.body,
        "ext": {
            "error": "rejected",
            "detail": f"the origin answered {response.code}",
            **(extras.whole() if extras is not None else {}),
        },
    }


def frame_fields(frame: Data | Ping | Pong) -> dict[str, object]:
    """The fields of the packet for a frame of the origin."""
    fields: dict[str, object]
    if isinstance(frame, Data):
        fields = {"body": frame.payload}
        if frame.binary:
            fields["content-type"] = b"binary"
        if not frame.fin:
            fields["more"] = True
        return fields
    fields = {"type": b"ping" if isinstance(frame, Ping) else b"pong"}
    if frame.payload:
        fields["body"] = frame.payload
    return fields


def close_fields(close: Close) -> dict[str, object]:
    """The fields of the packet for the origin's close; an empty one has neither code nor body."""
    fields: dict[str, object] = {"type": b"close"}
    if close.code is not None:
        fields["code"] = close.code
        fields["body"] = close.reason
    return fields
