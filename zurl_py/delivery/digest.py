"""The digest by which messages with the same id and different content are recognised."""

from __future__ import annotations

import hashlib

import msgspec

from .messages import Deliver

__all__ = ["digest_of"]

_DIGEST = 16  # bytes
_pack = msgspec.msgpack.Encoder().encode


def digest_of(message: Deliver) -> bytes:
    """A digest of endpoint, URI, body, headers, event and key."""
    content = (
        message.endpoint,
        message.uri,
        message.body,
        message.headers,
        message.event,
        message.key,
    )
    return hashlib.blake2b(_pack(content), digest_size=_DIGEST).digest()
