"""Sec-WebSocket-Extensions: the worker's offer, our offer, and the origin's choice.

An extension may change the meaning of every bit of a frame (RFC 6455 section 9), and only the
gateway sees frames. So extensions that it does not know are not offered. permessage-deflate is
offered by the gateway alone. An extension that does not change frames is passed on.
"""

from __future__ import annotations

import re
from typing import Final

from websockets.exceptions import InvalidHeader, NegotiationError
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.headers import build_extension_item, parse_extension

from ..errors import Error
from .deflate import Deflate

__all__ = ["OUR_OFFER", "BadExtensions", "accept", "items", "offerable", "without_deflate"]

_DEFLATE: Final = b"permessage-deflate"
_FACTORY: Final = ClientPerMessageDeflateFactory(compress_settings={"memLevel": 1})
OUR_OFFER: Final = build_extension_item(_FACTORY.name, list(_FACTORY.get_request_params())).encode()
"""The value of Sec-WebSocket-Extensions that offers permessage-deflate."""

# GRIP is about the content of messages, and is an agreement between Pushpin and the origin.
_LEAVE_FRAMES_ALONE: Final = frozenset((b"grip",))

# An item of a comma list: quoted strings may hold commas (RFC 9110 section 5.6).
_ITEM = re.compile(rb'(?:[^",]|"(?:[^"\\]|\\.)*"?)+')


class BadExtensions(Error, ValueError):
    """The origin chose an extension that was not offered; the text says which."""


def items(value: bytes) -> list[tuple[bytes, bytes]]:
    """The extensions in a header value: for each its name, and the item with its parameters."""
    found = []
    for item in _ITEM.findall(value):
        item = item.strip()
        name = item.partition(b";")[0].strip()
        if name:
            found.append((name, item))
    return found


def offerable(value: bytes) -> bytes:
    """The part of a worker's offer that may be sent; may be empty."""
    split = items(value)
    kept = [item for name, item in split if name.lower() in _LEAVE_FRAMES_ALONE]
    return value if kept and len(kept) == len(split) else b", ".join(kept)


def without_deflate(value: bytes) -> bytes:
    """A header value without its permessage-deflate items; may be empty."""
    split = items(value)
    kept = [item for name, item in split if name.lower() != _DEFLATE]
    return value if len(kept) == len(split) else b", ".join(kept)


def accept(value: bytes, offered: set[bytes], we_offered: bool) -> Deflate | None:
    """Check the origin's choice (RFC 6455 section 9.1, RFC 7692 section 7.1).

    Args:
        value: all its Sec-WebSocket-Extensions headers, joined with commas.
        offered: names of the worker's extensions that were sent.
        we_offered: whether `OUR_OFFER` was sent.

    Returns:
        Compressor and decompressor, if the origin accepted our offer.

    Raises:
        BadExtensions: it chose an extension or parameters that were not offered.
    """
    deflate: Deflate | None = None
    for name, item in items(value):
        if name in offered:
            continue
        if name != _DEFLATE or not we_offered:
            raise BadExtensions(f"extension {name[:64].decode('latin-1')!r} was not offered")
        if deflate is not None:
            raise BadExtensions("permessage-deflate twice")
        deflate = _negotiated(item)
    return deflate


def _negotiated(item: bytes) -> Deflate:
    try:
        ((_, parameters),) = parse_extension(item.decode("ascii"))
        # The library refuses 8 bits, which zlib cannot do. We can: messages then go uncompressed.
        eight = ("client_max_window_bits", "8")
        rest = [parameter for parameter in parameters if parameter != eight]
        agreed = _FACTORY.process_response_params(rest, [])
    except (InvalidHeader, NegotiationError, UnicodeDecodeError, ValueError) as error:
        raise BadExtensions(f"permessage-deflate: {error}") from None
    return Deflate(
        agreed.remote_max_window_bits,
        not agreed.remote_no_context_takeover,
        agreed.local_max_window_bits if len(rest) == len(parameters) else 8,
        not agreed.local_no_context_takeover,
    )
