"""From the text of a value to the value, or what is allowed in its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .ini import Entry

__all__ = ["Invalid", "boolean", "choice", "endpoints", "items", "number", "octal_mode", "text"]

_MAX_IPC_PATH = 107  # bytes of a Unix socket's path


class Invalid(ValueError):
    """A value that cannot be used; the text says what is allowed."""


def text(entry: Entry) -> str:
    """Any text."""
    return entry.text


def items(entry: Entry) -> tuple[str, ...]:
    """A comma-separated list."""
    return entry.items


def boolean(entry: Entry) -> bool:
    """``true`` or ``false``, as Qt reads them."""
    value = entry.text.lower()
    if value in ("true", "1"):
        return True
    if value in ("false", "0", ""):
        return False
    raise Invalid("true or false")


def number(least: int, most: int) -> Callable[[Entry], int]:
    """A whole number from ``least`` to ``most``."""

    def convert(entry: Entry) -> int:
        value = entry.text
        if value.removeprefix("-").isdecimal() and value.isascii() and len(value) < 20:
            found = int(value)
            if least <= found <= most:
                return found
        raise Invalid(f"a whole number from {least} to {most}")

    return convert


def choice(*allowed: str) -> Callable[[Entry], str]:
    """One of a few words."""

    def convert(entry: Entry) -> str:
        if entry.text in allowed:
            return entry.text
        raise Invalid(" or ".join(allowed))

    return convert


def octal_mode(entry: Entry) -> int | None:
    """A file mode in octal; empty: as the umask makes it."""
    value = entry.text
    if not value:
        return None
    if value.isascii() and value.isdigit() and len(value) <= 4 and not set(value) & set("89"):
        mode = int(value, 8)
        if mode <= 0o777:
            return mode
    raise Invalid("an octal file mode such as 660")


def endpoints(entry: Entry) -> tuple[str, ...]:
    """ZeroMQ endpoints to bind: ipc or tcp."""
    for spec in entry.items:
        if spec.startswith("ipc://"):
            length = len(spec.removeprefix("ipc://").encode())
            if not 0 < length <= _MAX_IPC_PATH:
                raise Invalid(f"an ipc path of at most {_MAX_IPC_PATH} bytes")
        elif not spec.startswith("tcp://"):
            raise Invalid("endpoints such as ipc:///run/zurl/zurl-in or tcp://127.0.0.1:5555")
    return entry.items


Converter = Callable[[Entry], Any]
