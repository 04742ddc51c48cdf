"""What a worker may not ask for."""

from __future__ import annotations

from ..errors import Error

__all__ = ["BadInput"]


class BadInput(Error, ValueError):
    """The worker asked for something that must not reach the wire; the text says what."""
