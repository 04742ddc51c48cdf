"""What a worker can ask for beside the answer (``ext``): timing, redirects, trailers and so on."""

from __future__ import annotations

from time import monotonic
from typing import Any, Final

import pycurl

from ..http.heads import MAX_INTERIM, Head, Pair
from .handles import EasyHandle
from .request import HttpRequest

__all__ = ["Extras"]

_MICROSECONDS: Final = 1_000_000
# CURLINFO_HTTP_VERSION, as people write it.
_VERSIONS: Final = {
    pycurl.CURL_HTTP_VERSION_1_0: "1.0",
    pycurl.CURL_HTTP_VERSION_1_1: "1.1",
    pycurl.CURL_HTTP_VERSION_2_0: "2",
    30: "3",
}


class Extras:
    """Collects what the worker asked for, for one transfer, hop by hop.

    Attributes:
        interim: interim heads of the current hop that were not sent yet, a few at most.
        trailers: of the answer.
        truncated: the body was cut at the worker's ``max-size``.
    """

    __slots__ = (
        "_head",
        "_interim_count",
        "_redirects",
        "_request",
        "_started",
        "_timing",
        "interim",
        "trailers",
        "truncated",
    )

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._redirects: list[dict[str, Any]] = []
        self._timing: dict[str, Any] = {}
        self._started = monotonic()
        self._interim_count = 0  # number of interim heads of this hop, sent or waiting
        self._head: Head | None = None  # the final head of this hop, if the engine did not read it
        self.interim: list[Head] = []
        self.trailers: list[Pair] = []
        self.truncated = False

    @staticmethod
    def wanted(request: HttpRequest) -> bool:
        """Whether the worker asked for any of them."""
        return (
            request.history
            or request.timing
            or request.trailers
            or request.interim
            or request.truncate
        )

    # -- while it goes on ----------------------------------------------------------------------

    def redirected(self, hop: HttpRequest, code: int) -> None:
        """Note that the current hop was answered with a redirect, and ``hop`` is next."""
        self._redirects.append({"uri": self._request.target.text, "code": code})
        self._request = hop
        self._head = None
        self.interim.clear()
        self._interim_count = 0

    def head_came(self, head: Head) -> None:
        """Note the final head of the current hop."""
        self._head = head

    def interim_came(self, head: Head) -> bool:
        """Add an interim head; returns whether it is to be sent to the worker."""
        if not self._request.interim or self._interim_count >= MAX_INTERIM:
            return False
        self._interim_count += 1
        self.interim.append(head)
        return True

    def take_interim(self) -> list[Head]:
        """The interim heads since the last call."""
        taken, self.interim = self.interim, []
        return taken

    def ended(self, handle: EasyHandle, first_byte: float | None = None) -> None:
        """Read the times of the last hop from its handle.

        Args:
            first_byte: seconds from request to answer, where libcurl did not send the request.
        """
        if self._request.timing:
            self._timing = _timing(self._request, handle, monotonic() - self._started)
            if first_byte is not None:
                self._timing["first-byte"] = _phase(0.0, first_byte)
                self._timing["http-version"] = "1.1"  # a WebSocket, which always uses it

    # -- for the field ext -----------------------------------------------------------------------

    def with_head(self) -> dict[str, Any]:
        """Items for the packet with the head of the answer, or for an error."""
        if not self._request.history:
            return {}
        ext = {"uri": self._request.target.text, "redirects": self._redirects}
        if self._request.timing and self._head is not None:
            ext["http-version"] = self._head.version  # who asks for both need not wait for it
        return ext

    def at_end(self) -> dict[str, Any]:
        """Items for the last packet of an answer."""
        ext: dict[str, Any] = dict(self._timing)
        if self._request.trailers:
            ext["trailers"] = self.trailers
        if self.truncated:
            ext["truncated"] = True
        return ext

    def whole(self) -> dict[str, Any]:
        """Items for an answer of one packet."""
        ext = {**self.with_head(), **self.at_end()}
        if self._request.interim:
            ext["interim"] = [interim_fields(head) for head in self.interim]
        return ext


def interim_fields(head: Head) -> dict[str, Any]:
    """The fields of a packet for an interim head."""
    return {"code": head.code, "reason": head.reason, "headers": head.headers}


def _timing(request: HttpRequest, handle: EasyHandle, total: float) -> dict[str, Any]:
    """The phases of the last hop and the total time, in microseconds."""
    get = handle.curl.getinfo
    resolved, connected = get(pycurl.NAMELOOKUP_TIME), get(pycurl.CONNECT_TIME)
    secured, asked = get(pycurl.APPCONNECT_TIME), get(pycurl.PRETRANSFER_TIME)
    timing: dict[str, Any] = {
        "resolve": _phase(0.0, resolved),
        "connect": _phase(resolved, connected),
        "tls": _phase(connected, secured),
        "first-byte": _phase(asked, get(pycurl.STARTTRANSFER_TIME)),
        "total": _phase(0.0, total),
        "reused": not get(pycurl.NUM_CONNECTS),
        "http-version": _VERSIONS.get(get(pycurl.INFO_HTTP_VERSION), ""),
    }
    address = handle.peer
    target = request.target
    # A worker is told the address only if it may send requests to the address itself.
    if (
        address is not None
        and not handle.proxied
        and request.policy.check_name(address, target.port, target.scheme).allowed
    ):
        timing["address"] = address
    return timing


def _phase(begin: float, end: float) -> int:
    return max(0, round((end - begin) * _MICROSECONDS))
