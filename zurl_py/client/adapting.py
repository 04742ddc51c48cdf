"""What the adapters to other libraries have in common."""

from __future__ import annotations

from typing import Any, Final

from ..errors import Error
from .body import WHOLE_SIZE, Body
from .errors import ZurlError
from .response import BaseResponse

__all__ = ["ADAPTED", "ArgumentRefused", "body_of_pieces", "decorate", "headers_of", "version_of"]

ADAPTED: Final[dict[str, Any]] = {
    "raw": True,  # the library undoes Content-Encoding, and would do so twice
    "history": True,  # a gateway that says what it asked knows of "raw", too
    "timing": True,  # the protocol's version is among it
}
"""Options of every request of an adapter."""

_LENGTH, _CODING = b"content-length", b"content-encoding"


class ArgumentRefused(Error, TypeError, ValueError):
    """An argument that the gateway would make meaningless, or that would go around it."""


def headers_of(answer: BaseResponse) -> list[tuple[bytes, bytes]]:
    """The answer's headers, as they are true of the body that is handed on.

    Zurl, and older daemons of ours, undo ``Content-Encoding`` and leave the header where it is.
    """
    raw = answer.headers.raw
    if "uri" in answer.ext or not any(name.lower() == _CODING for name, _ in raw):
        return raw
    if any(name.lower() == _LENGTH for name, _ in raw):
        return raw  # what was decoded has lost it
    return [pair for pair in raw if pair[0].lower() != _CODING]


def version_of(answer: BaseResponse) -> str:
    """The protocol of the origin's answer: ``HTTP/1.0``, ``1.1``, ``2`` or ``3``.

    The gateway says so with the last packet, which in a short answer is the first one. Else it is
    guessed: HTTP/2 and 3 have no reason, and all names in lower case.
    """
    known = answer.http_version
    if known is not None:
        return f"HTTP/{known}"
    plain = answer.reason or any(name != name.lower() for name, _ in answer.headers.raw)
    return "HTTP/1.1" if plain else "HTTP/2"


def body_of_pieces(pieces: Any, length: int | None) -> Body:
    """A body that is read from ``pieces``; a short one is read at once."""
    if length is not None and length <= WHOLE_SIZE and not hasattr(pieces, "__aiter__"):
        whole = b"".join(pieces)
        return Body(whole, None, len(whole), at_once=True)
    return Body(pieces=pieces, length=length)


def decorate(error: Exception, cause: ZurlError) -> None:
    """Let another library's exception say what ours says."""
    for name in ("condition", "error", "detail"):
        setattr(error, name, getattr(cause, name))
