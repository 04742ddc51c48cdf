"""The base of all errors of this package.

Each room defines its own errors, next to the code that raises them. Errors about a given value are
also ``ValueError``.
"""

from __future__ import annotations

__all__ = ["Error", "StartError"]


class Error(Exception):
    """The base of every error that this package raises.

    The client's errors have ``zurl_py.client.ZurlError`` for their base, which is one of these. The
    adapters for httpx and requests raise subclasses of those libraries' errors.
    """


class StartError(Error):
    """A daemon cannot start; the text is one line that says why."""
