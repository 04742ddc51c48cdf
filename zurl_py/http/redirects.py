"""What a redirect makes of a request (RFC 9110 section 15.4), but for where it leads to."""

from __future__ import annotations

from typing import Final

from .heads import Head

__all__ = ["MAX_REDIRECTS", "is_redirect", "keeps_body", "next_method"]

MAX_REDIRECTS: Final = 8  # unless the worker says something else


def is_redirect(head: Head) -> bool:
    """Whether an answer says where to go on: 3xx with a Location, as Zurl has it."""
    return 300 <= head.code < 400 and bool(head.location)


def next_method(method: bytes, code: int, *, as_get: bool) -> bytes:
    """The method of the next hop.

    303 makes a GET of all but HEAD. The other codes repeat the method; with ``as_get`` 301 and 302
    make a GET of POST, as browsers do it.
    """
    if code == 303 and method != b"HEAD":
        return b"GET"
    if as_get and code in (301, 302) and method == b"POST":
        return b"GET"
    return method


def keeps_body(method: bytes, code: int, *, as_get: bool) -> bool:
    """Whether the next hop has the body of this one."""
    return code != 303 and next_method(method, code, as_get=as_get) == method
