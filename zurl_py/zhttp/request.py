"""Packets from a worker to the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from . import fields as check
from .packet import Packet, rules, table, written

__all__ = ["RequestPacket"]

_LONGEST: Final = 10**12  # milliseconds; some thirty years
_LARGEST: Final = 2**62  # bytes


@dataclass(eq=False, repr=False, kw_only=True)
class RequestPacket(Packet):
    """A packet from a worker: the first of a session holds the request, later ones continue it.

    Attributes:
        stream: the response may come in several packets, as far as credits reach.
        max_size: refuse a larger response body; bytes.
        timeout: of request and response together; milliseconds.
        method: of the request, any token.
        uri: absolute; its scheme is http, https, ws or wss.
        connect_host: connect there in place of the URI's host.
        connect_port: connect there in place of the URI's port.
        trust_connect_host: a certificate for the connect host is accepted, too.
        ignore_policies: a privilege: what allow and deny say does not hold.
        ignore_tls_errors: a privilege: any certificate will do.
        follow_redirects: see `max_redirects` for how many.
        client_cert: the certificate (PEM, a chain) shown to an origin that asks for one.
        client_key: its key (PEM, without a pass phrase).
        quiet: an ``ext`` flag: log this request at debug level.
        auto_pong: an ``ext`` flag: the gateway answers pings of a WebSocket.
        raw: an ``ext`` flag: the body as the origin sent it, Accept-Encoding as the worker gave it.
        truncate: an ``ext`` flag: cut a body beyond `max_size` where it would be refused.
        timing: an ``ext`` flag: tell how long each phase took.
        connect_timeout: also in ``ext``: until there is a connection; milliseconds.
        host: also in ``ext``, a privilege: another Host than the URI's.
        http_version: in ``ext``: the highest to be used: ``1.1``, ``2`` or ``3``.
        trailers: an ``ext`` flag: the answer's trailers are wanted.
        interim: an ``ext`` flag: interim (1xx) heads are wanted.
        history: an ``ext`` flag: the last URI and the redirects before it are wanted.
        max_redirects: in ``ext``: 0 to 20.
        worker: whose connection it came by, or whose address it names; not in the message.
        redirect_method: in ``ext``: ``get`` lets 301 and 302 turn POST into GET.
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
        ("max-size", "max_size", check.number),
        ("timeout", "timeout", check.number),
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
        # These two are understood in ``ext``, too.
        ("connect-timeout", "connect_timeout", check.number_alone),
        ("host", "host", check.text),
    )
    # Zurl takes no notice of the first two where they are no booleans.
    _EXT_RULES = table(
        ("multi", "multi", check.true_or_nothing),
        ("quiet", "quiet", check.true_or_nothing),
        ("auto-pong", "auto_pong", check.boolean),
        ("raw", "raw", check.boolean),
        ("truncate", "truncate", check.boolean),
        ("timing", "timing", check.boolean),
        ("connect-timeout", "connect_timeout", check.number_alone),
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
        if not uri or uri[0] not in b"wW":  # nearly all
            return False
        return uri[:4].lower() in (b"ws:/", b"wss:")

    def _settle(self) -> None:
        if self.timeout is not None:
            self.timeout = min(self.timeout, _LONGEST) if self.timeout >= 0 else None
        if self.connect_timeout is not None:
            timeout = self.connect_timeout
            self.connect_timeout = min(timeout, _LONGEST) if timeout >= 0 else None
        if self.max_size is not None:
            self.max_size = min(self.max_size, _LARGEST)
