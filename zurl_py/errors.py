"""What all errors of this package have in common.

Each room defines its own errors, beside what raises them. Those that are about a value that was
given are ``ValueError`` as well.
"""

from __future__ import annotations

__all__ = ["Error", "StartError"]


class Error(Exception):
    """The base of every error that this package raises; what else is raised is a bug.

    The client's are ``zurl_py.client.ZurlError``, which is one of these. Errors of the adapters for
    httpx and requests belong to those libraries.
    """


class StartError(Error):
    """A daemon cannot start; the text is one line that says why."""
