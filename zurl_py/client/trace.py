"""A look at every packet, as ``--packets`` shows them."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..zhttp.codec import DecodeError, Format, decode

__all__ = ["Direction", "PacketTrace", "Tracer"]


class Direction(enum.Enum):
    """Which way a packet went."""

    SENT = "sent"
    RECEIVED = "received"


@dataclass(frozen=True, slots=True)
class PacketTrace:
    """One ZHTTP message.

    Attributes:
        direction: sent by us or received.
        socket: ``in``, ``in_stream``, ``out`` or ``req``.
        gateway: the endpoint by which the gateway is known.
        message: format letter and packet.
    """

    direction: Direction
    socket: str
    gateway: str
    message: bytes

    @property
    def format(self) -> Format | None:
        """Its format; None if it is in none."""
        try:
            return Format(self.message[:1])
        except ValueError:
            return None

    @property
    def fields(self) -> dict[str, Any]:
        """Its fields, by name; empty if it cannot be read."""
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
        """Its number in its session."""
        seq = self.fields.get("seq")
        return seq if isinstance(seq, int) else None


Tracer = Callable[[PacketTrace], None]
"""Told of every packet, in the client's own thread: it must not block, nor call the client."""
