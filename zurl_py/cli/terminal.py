"""Output for a terminal, in which control characters from origins are escaped."""

from __future__ import annotations

import json
import os
import sys
from typing import IO, Final

__all__ = ["colours", "escape", "is_terminal", "looks_binary", "pretty_json"]

_NAMED: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# C0 and C1 controls, DEL, and characters that change the direction of text (Bidi_Control).
_CONTROLS: Final = {
    *range(0x20),
    *range(0x7F, 0xA0),
    *(0x61C, 0x200E, 0x200F, 0x2028, 0x2029),
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
}
_ALL: Final = {code: _NAMED.get(chr(code), f"\\x{code:02x}") for code in _CONTROLS}
_KEEP_LINES: Final = {code: text for code, text in _ALL.items() if code not in (0x09, 0x0A)}


def escape(text: str | bytes, lines: bool = False) -> str:
    """Text for a terminal, with escapes for control characters.

    Args:
        lines: keep line feeds and tabs, and change ``\\r\\n`` to a line feed.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    if lines:
        return text.replace("\r\n", "\n").translate(_KEEP_LINES)
    return text.translate(_ALL)


def is_terminal(stream: IO[str] | IO[bytes] | None) -> bool:
    """Whether a stream is a terminal; Python has None for one that the parent has closed."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def colours(stream: IO[str]) -> bool:
    """Whether colours may be used: on a terminal, unless ``NO_COLOR`` is set (no-color.org)."""
    dumb = os.environ.get("TERM") == "dumb" or bool(os.environ.get("NO_COLOR"))
    return is_terminal(stream) and not dumb


def looks_binary(data: bytes) -> bool:
    """Whether bytes are not text."""
    return b"\0" in data[:2000]


def pretty_json(text: str) -> str | None:
    """JSON with line breaks and indentation; None if the text is no JSON."""
    try:
        return json.dumps(json.loads(text), indent=4, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None


def highlight(text: str, language: str) -> str:
    """Text with syntax highlighting for a terminal; it is escaped first.

    Args:
        language: ``json`` or ``http``.
    """
    from io import StringIO

    from rich.console import Console
    from rich.syntax import Syntax

    width = max((len(line) for line in text.splitlines()), default=0) + 1
    out = StringIO()
    console = Console(file=out, force_terminal=True, color_system="standard", width=max(width, 20))
    console.print(Syntax(text, language, theme="ansi_dark", background_color="default"))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def tell(text: str) -> None:
    """Print a line on standard error."""
    print(text, file=sys.stderr, flush=True)
