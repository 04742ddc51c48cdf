"""The common part of the adapters to other libraries."""

from __future__ import annotations

from typing import Any, Final

from ..errors import Error
from .body import WHOLE_SIZE, Body
from .errors import ZurlError
from .response import BaseResponse

__all__ = ["ADAPTED", "ArgumentRefused", "body_of_pieces", "decorate", "headers_of", "version_of"]

ADAPTED: Final[dict[str, Any]] = {
    "raw": True,  # the library itself decodes the body
    "history": True,  # a gateway that answers this supports "raw" as well
    "timing": True,  # includes the HTTP version
}
"""Options of every request of an adapter."""

_LENGTH, _CODING = b"content-length", b"content-encoding"


class ArgumentRefused(Error, TypeError, ValueError):
    """An argument has no effect with a gateway, or would bypass it."""


def headers_of(answer: BaseResponse) -> list[tuple[bytes, bytes]]:
    """The answer's headers, in agreement with the body that is handed on.

    Zurl, and older versions of our daemon, decode the body and keep ``Content-Encoding``.
    """
    raw = answer.headers.raw
    if "uri" in answer.ext or not any(name.lower() == _CODING for name, _ in raw):
        return raw
    if any(name.lower() == _LENGTH for name, _ in raw):
        return raw  # a decoded body has no such header
    return [pair for pair in raw if pair[0].lower() != _CODING]


def version_of(answer: BaseResponse) -> str:
    """The protocol of the origin's answer: ``HTTP/1.0``, ``1.1``, ``2`` or ``3``.

    The last packet has it, which is also the first one of a short answer. Otherwise it is guessed:
    HTTP/2 and 3 have no reason phrase, and header names in lower case.
    """
    known = answer.http_version
    if known is not None:
        return f"HTTP/{known}"
    plain = answer.reason or any(name != name.lower() for name, _ in answer.headers.raw)
    return "HTTP/1.1" if plain else "HTTP/2"


def body_of_pieces(pieces: Any, length: int | None) -> Body:
    """A body that is read from ``pieces``; one that is short is read at once."""
    if length is not None and length <= WHOLE_SIZE and not hasattr(pieces, "__aiter__"):
        whole = b"".join(pieces)
        return Body(whole, None, len(whole), at_once=True)
    return Body(pieces=pieces, length=length)


def decorate(error: Exception, cause: ZurlError) -> None:
    """Copy the attributes of our exception to another library's."""
    for name in ("condition", "error", "detail"):
        setattr(error, name, getattr(cause, name))
