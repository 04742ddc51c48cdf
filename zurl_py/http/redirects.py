"""How a redirect changes method and body of a request (RFC 9110 section 15.4)."""

from __future__ import annotations

from typing import Final

from .heads import Head

__all__ = ["MAX_REDIRECTS", "is_redirect", "keeps_body", "next_method"]

MAX_REDIRECTS: Final = 8  # unless the worker gives another number


def is_redirect(head: Head) -> bool:
    """Whether an answer is a redirect: as with Zurl, any 3xx with a Location."""
    return 300 <= head.code < 400 and bool(head.location)


def next_method(method: bytes, code: int, *, as_get: bool) -> bytes:
    """The method of the next hop.

    303 changes every method but HEAD to GET. Other codes keep the method; with ``as_get``, 301 and
    302 change POST to GET, as browsers do.
    """
    if code == 303 and method != b"HEAD":
        return b"GET"
    if as_get and code in (301, 302) and method == b"POST":
        return b"GET"
    return method


def keeps_body(method: bytes, code: int, *, as_get: bool) -> bool:
    """Whether the next hop is sent with the body of this one."""
    return code != 303 and next_method(method, code, as_get=as_get) == method
