"""The error for what a worker may not send over a WebSocket."""

from __future__ import annotations

from ..errors import Error

__all__ = ["BadInput"]


class BadInput(Error, ValueError):
    """The worker asked for something that must not be sent; the text says what."""
