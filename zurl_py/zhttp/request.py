"""Packets from a worker to the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from . import fields as check
from .packet import Packet, defaults, rules, table, written

__all__ = ["RequestPacket"]


@dataclass(eq=False, repr=False, kw_only=True)
class RequestPacket(Packet):
    """A packet from a worker: the first of a session holds the request, later ones continue it.

    Attributes:
        stream: the response may be sent in several packets, as far as credits allow.
        max_size: bytes; a larger response body is refused.
        timeout: milliseconds for request and response together.
        method: of the request, any token.
        uri: absolute; its scheme is http, https, ws or wss.
        connect_host: host to connect to in place of the URI's.
        connect_port: port to connect to in place of the URI's.
        trust_connect_host: accept a certificate for the connect host as well.
        ignore_policies: a privilege: allow and deny do not apply.
        ignore_tls_errors: a privilege: accept any certificate.
        follow_redirects: follow redirects, `max_redirects` of them at most.
        client_cert: client certificate (PEM, with its chain) for an origin that asks for one.
        client_key: its private key (PEM, without a pass phrase).
        quiet: an ``ext`` flag: log this request at debug level.
        auto_pong: an ``ext`` flag: the gateway answers pings of a WebSocket.
        raw: an ``ext`` flag: Accept-Encoding goes out as given, the body is not decoded.
        truncate: an ``ext`` flag: cut a body that is larger than `max_size`, do not refuse it.
        timing: an ``ext`` flag: the answer says how long each phase took.
        connect_timeout: milliseconds until a connection is made; also in ``ext``.
        host: a privilege: the value of Host, in place of the URI's host; also in ``ext``.
        http_version: in ``ext``: the highest version to use: ``1.1``, ``2`` or ``3``.
        trailers: an ``ext`` flag: the answer has the trailers.
        interim: an ``ext`` flag: interim (1xx) heads are sent to the worker.
        history: an ``ext`` flag: the answer has the last URI and the redirects before it.
        max_redirects: in ``ext``: 0 to 20.
        worker: the worker that sent the packet, by its connection or the address that it gives;
            not in the message.
        redirect_method: in ``ext``: with ``get``, 301 and 302 turn POST into GET.
    """

    stream: bool = False
    max_size: int | None = None
    timeout: int | None = None
    method: bytes | None = None
    uri: bytes | None = None
    connect_host: bytes | None = None
    connect_port: int | None = None
    trust_connect_host: bool = False
    ignore_policies: bool = False
    ignore_tls_errors: bool = False
    follow_redirects: bool = False
    client_cert: bytes | None = None
    client_key: bytes | None = None
    quiet: bool = False
    auto_pong: bool = False
    raw: bool = False
    truncate: bool = False
    timing: bool = False
    connect_timeout: int | None = None
    host: bytes | None = None
    http_version: bytes | None = None
    trailers: bool = False
    interim: bool = False
    history: bool = False
    max_redirects: int | None = None
    redirect_method: bytes | None = None
    worker: bytes = b""

    _RULES = rules(
        ("stream", "stream", check.boolean),
        ("max-size", "max_size", check.size),
        ("timeout", "timeout", check.milliseconds),
        ("method", "method", check.text),
        ("uri", "uri", check.text),
        ("peer-address", "_ignored", check.text),
        ("peer-port", "_ignored", check.number),
        ("connect-host", "connect_host", check.text),
        ("connect-port", "connect_port", check.number),
        ("trust-connect-host", "trust_connect_host", check.boolean),
        ("ignore-policies", "ignore_policies", check.boolean),
        ("ignore-tls-errors", "ignore_tls_errors", check.boolean),
        ("follow-redirects", "follow_redirects", check.boolean),
        ("client-cert", "client_cert", check.text),
        ("client-key", "client_key", check.text),
        # These two may be in ``ext`` as well.
        ("connect-timeout", "connect_timeout", check.strict_milliseconds),
        ("host", "host", check.text),
    )
    # Zurl ignores the first two where they are no booleans.
    _EXT_RULES = table(
        ("multi", "multi", check.lenient_flag),
        ("quiet", "quiet", check.lenient_flag),
        ("auto-pong", "auto_pong", check.boolean),
        ("raw", "raw", check.boolean),
        ("truncate", "truncate", check.boolean),
        ("timing", "timing", check.boolean),
        ("connect-timeout", "connect_timeout", check.strict_milliseconds),
        ("host", "host", check.text),
        ("http-version", "http_version", check.one_of(b"1.1", b"2", b"3")),
        ("trailers", "trailers", check.boolean),
        ("interim", "interim", check.boolean),
        ("history", "history", check.boolean),
        ("max-redirects", "max_redirects", check.number_between(0, 20)),
        ("redirect-method", "redirect_method", check.one_of(b"get")),
        ("deliver", "_deliver", check.refuse("is for the delivery service, not for the gateway")),
    )
    _NAMES: ClassVar[Sequence[tuple[str, str]]] = written(_RULES)
    _EXT_NAMES: ClassVar[Sequence[tuple[str, str]]] = written(_EXT_RULES)

    @property
    def is_websocket(self) -> bool:
        """Whether a first packet asks for a WebSocket."""
        uri = self.uri
        if not uri or uri[0] not in b"wW":  # nearly all requests
            return False
        return uri[:4].lower() in (b"ws:/", b"wss:")


RequestPacket._DEFAULTS = defaults(RequestPacket)
