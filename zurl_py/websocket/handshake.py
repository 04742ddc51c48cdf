"""The opening handshake, from the client's side, without I/O (RFC 6455 section 4.1)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from websockets.utils import accept_key, generate_key

from ..errors import Error
from ..http.fields import HOP_BY_HOP, SECRETS, BadHeader, check_field
from . import extensions
from .deflate import Deflate
from .errors import BadInput
from .response import Response

__all__ = ["Accepted", "Handshake", "HandshakeError"]

_OURS: Final = HOP_BY_HOP | frozenset(
    (
        b"host",
        b"sec-websocket-key",
        b"sec-websocket-version",
        # The body of a refusal is not decoded.
        b"accept-encoding",
        # There is no body: with these, the origin would take the first frames for one.
        b"content-length",
        b"expect",
    )
)
# Fields that Connection names are hop-by-hop and not sent; these are sent nevertheless.
_NEVER_HOP_BY_HOP: Final = SECRETS | frozenset(
    (b"origin", b"sec-websocket-extensions", b"sec-websocket-protocol")
)


class HandshakeError(Error):
    """The origin answered 101, but not as the handshake demands.

    Attributes:
        name: the check that failed: ``wrong-upgrade``, ``wrong-accept``, ``wrong-subprotocol`` or
            ``wrong-extension``.
        detail: what was wrong, for a log line.
    """

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(name, detail)
        self.name = name
        self.detail = detail


@dataclass(slots=True)
class Accepted:
    """A handshake that the origin has accepted.

    Attributes:
        headers: the origin's, without the extension that was negotiated by the gateway.
        deflate: compressor and decompressor, if permessage-deflate was negotiated.
    """

    headers: list[tuple[bytes, bytes]] = field(repr=False)
    deflate: Deflate | None


class Handshake:
    """Writes the request of a handshake, and checks the answer.

    Args:
        headers: the worker's, in order.
        compression: offer permessage-deflate.

    Raises:
        BadInput: a header must not be sent; the text says which and why.
    """

    def __init__(self, headers: Iterable[tuple[bytes, bytes]], compression: bool) -> None:
        self._compression = compression
        self._pairs: list[tuple[bytes, bytes]] = []
        self._has_authorization = False
        self._subprotocols: set[bytes] = set()
        self._offered: set[bytes] = set()
        self._key = ""
        headers = list(headers)
        named = _tokens([value for name, value in headers if name.lower() == b"connection"])
        left_out = _OURS | (named - _NEVER_HOP_BY_HOP)
        for name, value in headers:
            self._add(name, value, left_out)
        if compression:
            self._pairs.append((b"Sec-WebSocket-Extensions", extensions.OUR_OFFER))

    def _add(self, name: bytes, value: bytes, left_out: frozenset[bytes]) -> None:
        try:
            value = check_field(name, value)
        except BadHeader as error:
            raise BadInput(str(error)) from None
        kind = name.lower()
        if kind in left_out:
            return
        if kind == b"sec-websocket-protocol":
            named = [item.strip() for item in value.split(b",") if item.strip()]
            if not named:  # an empty value is malformed (RFC 6455 section 4.1), and is refused
                return
            self._subprotocols.update(named)
        elif kind == b"sec-websocket-extensions":
            value = extensions.offerable(value)
            if not value:
                return
            self._offered.update(offer for offer, _ in extensions.items(value))
        elif kind == b"authorization":
            self._has_authorization = True
        self._pairs.append((name, value))

    def drop_secrets(self) -> None:
        """Remove credentials: the next request goes to another origin."""
        self._pairs = [pair for pair in self._pairs if pair[0].lower() not in SECRETS]
        self._has_authorization = False

    def request(self, target: bytes, host: bytes, authorization: bytes | None = None) -> bytes:
        """The request, with a new key each time.

        Args:
            target: path and query.
            host: value of the Host header.
            authorization: from the URI's user and password; used unless the worker gave its own.
        """
        self._key = generate_key()
        lines = [b"GET %b HTTP/1.1\r\nHost: %b\r\n" % (target, host)]
        lines.extend(b"%b: %b\r\n" % pair for pair in self._pairs)
        if authorization is not None and not self._has_authorization:
            lines.append(b"Authorization: %b\r\n" % authorization)
        lines.append(
            b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: %b\r\n\r\n" % self._key.encode()
        )
        return b"".join(lines)

    def accept(self, response: Response) -> Accepted:
        """Check the 101 answer to the last request (RFC 6455 section 4.1).

        Raises:
            HandshakeError: it does not complete this handshake.
        """
        if b"websocket" not in _tokens(response.all(b"upgrade")):
            raise HandshakeError("wrong-upgrade", "no Upgrade: websocket in the answer")
        if b"upgrade" not in _tokens(response.all(b"connection")):
            raise HandshakeError("wrong-upgrade", "no Connection: Upgrade in the answer")
        if response.all(b"sec-websocket-accept") != [accept_key(self._key).encode()]:
            raise HandshakeError("wrong-accept", "Sec-WebSocket-Accept does not fit the key")
        chosen = response.all(b"sec-websocket-protocol")
        if len(chosen) > 1 or not self._subprotocols.issuperset(chosen):
            shown = b", ".join(chosen)[:64].decode("latin-1")
            raise HandshakeError("wrong-subprotocol", f"subprotocol {shown!r} was not offered")
        try:
            deflate = extensions.accept(
                b",".join(response.all(b"sec-websocket-extensions")),
                self._offered,
                self._compression,
            )
        except extensions.BadExtensions as error:
            raise HandshakeError("wrong-extension", str(error)) from None
        headers = response.headers
        if deflate is not None:
            headers = [pair for pair in map(_without_deflate, headers) if pair is not None]
        return Accepted(headers, deflate)


def _tokens(values: list[bytes]) -> frozenset[bytes]:
    """The tokens of a comma-separated field, in lower case."""
    return frozenset(token.strip().lower() for value in values for token in value.split(b","))


def _without_deflate(pair: tuple[bytes, bytes]) -> tuple[bytes, bytes] | None:
    name, value = pair
    if name.lower() != b"sec-websocket-extensions":
        return pair
    value = extensions.without_deflate(value)
    return (name, value) if value else None
