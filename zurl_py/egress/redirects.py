"""The next hop of a redirect, and whether it may be followed, for HTTP and for WebSockets."""

from __future__ import annotations

from typing import Final

from .. import url
from ..zhttp import Condition
from .errors import ErrorName, TransferError
from .permission import check_names
from .request import HttpRequest

__all__ = ["next_hop"]

# Schemes that a redirect may lead to, by the scheme of the request.
_SCHEMES: Final = {
    "http": ("http", "https"),
    "https": ("http", "https"),
    "ws": ("ws", "wss"),
    "wss": ("wss",),
}
# For servers a handshake is HTTP, so they redirect it to http and https.
_AS_WEBSOCKET: Final = {b"http:": b"ws:", b"https:": b"wss:"}


def next_hop(request: HttpRequest, code: int, location: bytes, hops: int) -> HttpRequest:
    """The request of the next hop.

    Args:
        request: the request that was answered with the redirect.
        code: the answer's status code.
        location: value of its Location, without blanks around it.
        hops: number of redirects followed so far.

    Raises:
        TransferError: there are too many redirects, the Location is malformed, or the policy
            refuses it.
    """
    if hops >= request.max_redirects:
        raise TransferError(
            Condition.TOO_MANY_REDIRECTS, f"more than {request.max_redirects} redirects"
        )
    here = request.target.scheme
    if here in ("ws", "wss"):
        scheme, colon, rest = location.partition(b":")
        location = _AS_WEBSOCKET.get(scheme.lower() + colon, scheme + colon) + rest
    try:
        target = url.resolve(request.target, location)
    except url.BadUrl as error:
        raise _bad_redirect(f"invalid Location of a redirect: {error}") from None
    if here == "wss" and target.scheme == "ws":
        # As browsers do: a request over TLS does not continue without.
        raise TransferError(
            Condition.POLICY_VIOLATION,
            f"redirect from wss to {target.text}, which is not encrypted",
            error=ErrorName.INSECURE_REDIRECT,
        )
    if target.scheme not in _SCHEMES[here]:
        raise _bad_redirect(f"redirect from {here} to the scheme {target.scheme!r}")
    hop = request.redirected(target, code)
    decision = check_names(hop)
    if not decision.allowed:
        detail = f"redirect to {decision.subject}: {decision.reason}"
        raise TransferError.from_decision(decision, detail)
    return hop


def _bad_redirect(detail: str) -> TransferError:
    return TransferError(Condition.UNDEFINED_CONDITION, detail, error=ErrorName.BAD_REDIRECT)
