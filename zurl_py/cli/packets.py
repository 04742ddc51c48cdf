"""``--packets``: prints each ZHTTP message on standard error."""

from __future__ import annotations

import sys
from typing import Any, Final

from ..client import Direction, PacketTrace
from .terminal import colours, escape

__all__ = ["show_packet"]

_MOST: Final = 200  # characters of a value
_FIRST: Final[tuple[str, ...]] = (
    "type",
    "condition",
    "code",
    "reason",
    "method",
    "uri",
    "seq",
    "id",
    "credits",
)
_SECRET: Final = ("client-cert", "client-key")
_COLOURS: Final = {Direction.SENT: "\x1b[36m", Direction.RECEIVED: "\x1b[32m"}


def show_packet(packet: PacketTrace) -> None:
    """Print one message: direction, socket, format, and its fields in a readable order."""
    sent = packet.direction is Direction.SENT
    letter = packet.message[:1].decode("latin-1")
    fields = packet.fields
    names = [name for name in _FIRST if name in fields]
    names += [name for name in fields if name not in _FIRST]
    shown = " ".join(f"{name}={_shown(name, fields[name])}" for name in names)
    line = f"{'-->' if sent else '<--'} {packet.socket:<9} {letter} {shown or '(no packet)'}"
    if colours(sys.stderr):
        line = f"{_COLOURS[packet.direction]}{line}\x1b[0m"
    print(line, file=sys.stderr, flush=True)


def _shown(name: str, value: Any) -> str:
    """A field's value; for a secret only its size."""
    if name in _SECRET and isinstance(value, (bytes, str)):
        return f"({len(value)} bytes, not shown)"
    return _value(value)


def _value(value: Any) -> str:
    if isinstance(value, (bytes, str)):
        size = len(value)
        text = escape(value[:_MOST])
        text = f'"{text}"' if " " in text or not text or size > _MOST else text
        return f"{text}… ({size} bytes)" if size > _MOST else text
    if isinstance(value, dict):
        inner = ", ".join(f"{_value(key)}: {_value(item)}" for key, item in value.items())
        return f"{{{inner}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
