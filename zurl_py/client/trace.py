"""Tracing of packets, as for ``--packets``."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..zhttp.codec import DecodeError, Format, decode

__all__ = ["Direction", "PacketTrace", "Tracer"]


class Direction(enum.Enum):
    """The direction of a packet."""

    SENT = "sent"
    RECEIVED = "received"


@dataclass(frozen=True, slots=True)
class PacketTrace:
    """One ZHTTP message.

    Attributes:
        direction: sent or received.
        socket: ``in``, ``in_stream``, ``out`` or ``req``.
        gateway: the endpoint that identifies the gateway.
        message: the byte that names the format, and the packet.
    """

    direction: Direction
    socket: str
    gateway: str
    message: bytes

    @property
    def format(self) -> Format | None:
        """Its format; None if that is unknown."""
        try:
            return Format(self.message[:1])
        except ValueError:
            return None

    @property
    def fields(self) -> dict[str, Any]:
        """Its fields, by name; empty if it cannot be decoded."""
        try:
            _, fields = decode(self.message)
        except DecodeError:
            return {}
        return {
            key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key): value
            for key, value in fields.items()
        }

    @property
    def seq(self) -> int | None:
        """Its sequence number."""
        seq = self.fields.get("seq")
        return seq if isinstance(seq, int) else None


Tracer = Callable[[PacketTrace], None]
"""Told of every packet, in the client's own thread: it must not block, nor call the client."""
