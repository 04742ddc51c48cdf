"""Ids of messages, and the digest by which another content of the same id is told."""

from __future__ import annotations

import hashlib
import os
import time

import msgspec

from .messages import Deliver

__all__ = ["digest_of", "new_id"]

_DIGEST = 16  # bytes
_pack = msgspec.msgpack.Encoder().encode


def new_id() -> str:
    """``msg_`` and a UUID of version 7 (RFC 9562, section 5.7): ids sort by time."""
    random = int.from_bytes(os.urandom(10), "big")
    value = (time.time_ns() // 1_000_000 & (1 << 48) - 1) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"msg_{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


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
