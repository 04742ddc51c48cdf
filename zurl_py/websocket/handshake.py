"""The opening handshake, from the client's side, without I/O (RFC 6455 section 4.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from websockets.utils import accept_key, generate_key

from . import extensions
from .connection import BadInput
from .deflate import Deflate
from .response import Response

__all__ = ["Accepted", "Handshake", "HandshakeError"]

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_DANGEROUS = re.compile(rb"[\r\n\0]")

_OURS: Final = frozenset(
    (
        b"host",
        b"connection",
        b"upgrade",
        b"sec-websocket-key",
        b"sec-websocket-version",
        # A refusal's body is handed on as it comes.
        b"accept-encoding",
        # There is no body: what says otherwise would swallow the first frames.
        b"transfer-encoding",
        b"expect",
    )
)
_SECRETS: Final = frozenset((b"authorization", b"cookie", b"proxy-authorization"))


class HandshakeError(Exception):
    """The origin switched protocols, but not to what was asked for.

    Attributes:
        name: which check failed: ``wrong-upgrade``, ``wrong-accept``, ``wrong-subprotocol`` or
            ``wrong-extension``.
        detail: how, for a log line.
    """

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(name, detail)
        self.name = name
        self.detail = detail


@dataclass(slots=True)
class Accepted:
    """A good answer.

    Attributes:
        headers: the origin's, less the extension that we negotiated for ourselves.
        deflate: both compressors, if permessage-deflate was negotiated.
    """

    headers: list[tuple[bytes, bytes]]
    deflate: Deflate | None


class Handshake:
    """What the worker's headers make of the request, and what of the answer is right.

    Args:
        headers: the worker's, in order.
        compression: offer permessage-deflate.

    Raises:
        BadInput: a header must not go out as it is; the text says which and why.
    """

    def __init__(self, headers: Iterable[tuple[bytes, bytes]], compression: bool) -> None:
        self._compression = compression
        self._pairs: list[tuple[bytes, bytes]] = []
        self._subprotocols: set[bytes] = set()
        self._offered: set[bytes] = set()
        self._key = ""
        for name, value in headers:
            self._add(name, value)
        if compression:
            self._pairs.append((b"Sec-WebSocket-Extensions", extensions.OUR_OFFER))

    def _add(self, name: bytes, value: bytes) -> None:
        if not _TOKEN.fullmatch(name):
            raise BadInput(f"header name {name[:64]!r} is not a token")
        if _DANGEROUS.search(value):
            raise BadInput(f"header {name.decode()}: CR, LF or NUL in its value")
        kind = name.lower()
        value = value.strip(b" \t")
        if kind in _OURS or (kind == b"content-length" and value.strip(b"0")):
            return
        if kind == b"sec-websocket-protocol":
            self._subprotocols.update(item.strip() for item in value.split(b",") if item.strip())
        elif kind == b"sec-websocket-extensions":
            value = extensions.without_deflate(value)
            if not value:
                return
            self._offered.update(offer for offer, _ in extensions.items(value))
        self._pairs.append((name, value))

    def drop_secrets(self) -> None:
        """Leave credentials behind: the next request goes to another origin."""
        self._pairs = [pair for pair in self._pairs if pair[0].lower() not in _SECRETS]

    def request(self, target: bytes, host: bytes) -> bytes:
        """The request, with a new key each time.

        Args:
            target: path and query.
            host: value of the Host header.
        """
        self._key = generate_key()
        lines = [b"GET %b HTTP/1.1\r\nHost: %b\r\n" % (target, host)]
        lines.extend(b"%b: %b\r\n" % pair for pair in self._pairs)
        lines.append(
            b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: %b\r\n\r\n" % self._key.encode()
        )
        return b"".join(lines)

    def accept(self, response: Response) -> Accepted:
        """Check a 101 answer to the last request.

        Raises:
            HandshakeError: it does not agree to this handshake.
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


def _tokens(values: list[bytes]) -> set[bytes]:
    return {token.strip().lower() for value in values for token in value.split(b",")}


def _without_deflate(pair: tuple[bytes, bytes]) -> tuple[bytes, bytes] | None:
    name, value = pair
    if name.lower() != b"sec-websocket-extensions":
        return pair
    value = extensions.without_deflate(value)
    return (name, value) if value else None
