"""Packets from the gateway to a worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from . import fields as check
from .packet import Packet, defaults, rules, table, written

__all__ = ["ResponsePacket"]


@dataclass(eq=False, repr=False, kw_only=True)
class ResponsePacket(Packet):
    """A packet from the gateway: the first with data holds the response's head.

    Attributes:
        reason: reason phrase of the origin's status line.
        error: in ``ext`` of an error: a stable short name for what is wrong.
        detail: in ``ext`` of an error: what is wrong, in words for people.
    """

    reason: bytes | None = None
    error: bytes | None = None
    detail: bytes | None = None

    _RULES = rules(("reason", "reason", check.text))
    _EXT_RULES = table(
        ("multi", "multi", check.lenient_flag),
        ("error", "error", check.text),
        ("detail", "detail", check.text),
    )
    _NAMES: ClassVar[Sequence[tuple[str, str]]] = written(_RULES)
    _EXT_NAMES: ClassVar[Sequence[tuple[str, str]]] = written(_EXT_RULES)

    @property
    def final(self) -> bool:
        """Whether this packet is the last of an HTTP session, or the answer on a request socket."""
        return not self.more if self.type is None else self.type in (b"error", b"cancel")

    def fields(self) -> dict[str, Any]:
        """Fields that differ from their defaults; data always has its body, as with Zurl."""
        result = super().fields()
        if self.type is None:
            result.setdefault("body", b"")
        return result


ResponsePacket._DEFAULTS = defaults(ResponsePacket)
