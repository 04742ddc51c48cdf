"""Packets from the gateway to a worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from . import fields as check
from .packet import Packet, rules, table, written

__all__ = ["ResponsePacket"]


@dataclass(eq=False, repr=False, kw_only=True)
class ResponsePacket(Packet):
    """A packet from the gateway: the first with data holds the response's head.

    Attributes:
        reason: of the response, as the origin's status line has it.
        error: in ``ext``, with errors: a stable short name for what is wrong.
        detail: in ``ext``, with errors: what is wrong, for people.
    """

    reason: bytes | None = None
    error: bytes | None = None
    detail: bytes | None = None

    _RULES = rules(("reason", "reason", check.text))
    _EXT_RULES = table(
        ("multi", "multi", check.true_or_nothing),
        ("error", "error", check.text),
        ("detail", "detail", check.text),
    )
    _NAMES: ClassVar[Sequence[tuple[str, str]]] = written(_RULES)
    _EXT_NAMES: ClassVar[Sequence[tuple[str, str]]] = written(_EXT_RULES)

    @property
    def final(self) -> bool:
        """Whether an HTTP session, or one request with one answer, ends with this packet."""
        return not self.more if self.type is None else self.type in (b"error", b"cancel")

    def fields(self) -> dict[str, Any]:
        """What is not at its default; a data packet always has its body, as Zurl's have."""
        result = super().fields()
        if self.type is None:
            result.setdefault("body", b"")
        return result
