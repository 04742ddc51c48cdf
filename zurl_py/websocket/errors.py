"""What a worker may not ask for."""

from __future__ import annotations

__all__ = ["BadInput"]


class BadInput(ValueError):
    """The worker asked for something that must not reach the wire; the text says what."""
