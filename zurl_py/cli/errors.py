"""How commands report an error of the client."""

from __future__ import annotations

from ..client import GatewayError, ZurlError, exit_code
from .terminal import escape, tell

__all__ = ["tell_error"]


def tell_error(error: ZurlError) -> int:
    """Print an error on standard error; returns the exit status for it."""
    status = exit_code(error)
    lines = isinstance(error, GatewayError)  # an embedded gateway's has the last lines of its log
    tell(f"zurl-py: ({status}) {escape(str(error), lines)}")
    return status
