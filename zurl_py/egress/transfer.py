"""HTTP transfers: one request on one easy handle, hop by hop through redirects.

``BufferedTransfer`` collects its answer by libcurl calling ``list.append``, which costs no Python
code per chunk; ``StreamTransfer`` in ``streaming.py`` has flow control in both directions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import pycurl

from .. import url
from ..http.fields import Head, decoded_headers, read_head
from ..zhttp import Condition
from .carrier import Carrier
from .errors import ErrorName, TransferError
from .handles import EasyHandle
from .multi import Multi
from .permission import check_names
from .request import HttpRequest

__all__ = ["MAX_REDIRECTS", "BufferedTransfer", "HttpTransfer", "ResponseSink"]

MAX_REDIRECTS = 8


class HttpTransfer:
    """What all HTTP transfers have in common.

    Attributes:
        request: the request of the current hop.
        hops: redirects followed.
        schemes: those that a redirect may lead to.

    The others are the engine's; see `Carried`.
    """

    schemes: tuple[str, ...] = ("http", "https")

    __slots__ = (
        "_egress",
        "_verify_connect_host",
        "attempts",
        "avoids_kept",
        "handle",
        "hops",
        "leave",
        "multi",
        "names_since",
        "patience",
        "request",
        "rules",
        "streamed",
    )

    def __init__(self, egress: Carrier, request: HttpRequest) -> None:
        self._egress = egress
        self.request = request
        self._verify_connect_host = False
        self.hops = 0
        self.rules = egress.rules
        self.handle: EasyHandle | None = None
        self.multi: Multi | None = None
        self.leave: Callable[[], None] | None = None
        self.attempts = 0
        self.avoids_kept = False
        self.names_since = 0.0
        self.patience = 0.0
        self.streamed = False

    def cancel(self) -> None:
        """End the transfer; an exchange under way loses its connection. Nothing is reported."""
        self._egress.remove(self)

    def prepare(self, handle: EasyHandle) -> None:
        """Set the options of the current hop."""
        handle.apply(self.request, self._verify_connect_host)

    def rewind(self) -> bool:
        """Make ready to send all of the request again; whether that can be done."""
        return True

    def ended(self, code: int, message: str) -> None:
        """libcurl is done with the handle, with this result."""
        raise NotImplementedError

    def fail(self, failure: TransferError) -> None:
        """End without an answer, for a reason that is not libcurl's."""
        raise NotImplementedError

    def _failure(self, code: int, message: str) -> TransferError | None:
        """The failure that a libcurl result means; None for success."""
        if code == 0:
            return None
        handle = self.handle
        assert handle is not None
        if handle.broken:
            return TransferError(
                Condition.UNDEFINED_CONDITION, "an error of the gateway", error=ErrorName.INTERNAL
            )
        refused = handle.refused
        if refused is not None and (
            code == pycurl.E_ABORTED_BY_CALLBACK
            or (code == pycurl.E_COULDNT_CONNECT and not handle.tried)
        ):
            # Every address was refused, or that of a connection which was there already.
            host = self.request.target.host
            return TransferError.from_decision(
                refused, f"{host}: {refused.subject} {refused.reason}"
            )
        return TransferError.from_curl(code, message, handle.curl.getinfo(pycurl.OS_ERRNO))

    def _retry_as_connect_host(self, code: int) -> bool:
        """With trust-connect-host, a certificate for the connect host will do as well.

        libcurl verifies the name it connects by. So where the certificate does not fit the URI's
        host, the hop starts again under the connect host's name; nothing was sent so far.
        """
        request = self.request
        if (
            code != pycurl.E_PEER_FAILED_VERIFICATION
            or self._verify_connect_host
            or not request.trust_connect_host
            or request.connect_host is None
        ):
            return False
        self._verify_connect_host = True
        self._egress.remove(self)
        self._egress.add(self)
        return True

    def _is_redirect(self, head: Head) -> bool:
        return (
            self.request.follow_redirects
            and 300 <= head.code < 400
            and bool(head.first(b"location"))
        )

    def _follow(self, location: bytes, code: int) -> None:
        """Go on at the Location of a redirect; the policy is asked about its name first.

        Raises:
            TransferError: not there, or not again.
        """
        self.hops += 1
        if self.hops > MAX_REDIRECTS:
            raise TransferError(Condition.TOO_MANY_REDIRECTS, f"more than {MAX_REDIRECTS}")
        hop = self.request.redirected(self._resolve(location), code)
        decision = check_names(hop)
        if not decision.allowed:
            detail = f"redirect to {decision.subject}: {decision.reason}"
            raise TransferError.from_decision(decision, detail)
        self._start_hop(hop)

    def _resolve(self, location: bytes) -> url.Target:
        """Where a Location leads.

        Raises:
            TransferError: nowhere that the request can go.
        """
        try:
            target = url.resolve(self.request.target, location)
        except url.BadUrl as error:
            raise TransferError(
                Condition.UNDEFINED_CONDITION,
                f"unusable redirect: {error}",
                error=ErrorName.BAD_REDIRECT,
            ) from None
        if target.scheme not in self.schemes:
            raise TransferError(
                Condition.UNDEFINED_CONDITION,
                f"redirect to the scheme {target.scheme!r}",
                error=ErrorName.BAD_REDIRECT,
            )
        return target

    def _start_hop(self, hop: HttpRequest) -> None:
        """Carry out the next hop."""
        self.request = hop
        self._verify_connect_host = False
        self._egress.add(self)


class ResponseSink(Protocol):
    """Whoever asked for a buffered transfer.

    Exactly one of the two is called, once, from the loop's turn; none after ``cancel``.
    """

    def response_came(self, head: Head, body: bytes) -> None: ...

    def request_failed(self, failure: TransferError) -> None: ...


class BufferedTransfer(HttpTransfer):
    """A request whose answer is wanted whole."""

    __slots__ = ("_sink",)

    def __init__(self, egress: Carrier, request: HttpRequest, sink: ResponseSink) -> None:
        super().__init__(egress, request)
        self._sink: ResponseSink | None = sink

    def start(self) -> None:
        """Send the request."""
        self._egress.add(self)

    def cancel(self) -> None:
        """End the transfer; an exchange under way loses its connection. Nothing is reported."""
        self._sink = None
        super().cancel()

    @property
    def progress(self) -> int:
        """A number that grows as long as the origin sends."""
        handle = self.handle
        if handle is None:
            return 0
        if self.request.discard:
            return len(handle.header_lines) + int(handle.curl.getinfo(pycurl.SIZE_DOWNLOAD))
        return len(handle.header_lines) + len(handle.chunks)

    def ended(self, code: int, message: str) -> None:
        """libcurl is done with the handle, with this result."""
        if self._retry_as_connect_host(code):
            return
        handle = self.handle
        assert handle is not None
        try:
            head = read_head(handle.header_lines)
        except ValueError:
            head = None
        failure = self._failure(code, message)
        chunks = handle.chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._egress.remove(self)
        if head is None:
            failure = failure or TransferError(
                Condition.UNDEFINED_CONDITION, "no response head", error=ErrorName.NOT_HTTP
            )
        elif self._is_redirect(head):
            # The body of a redirect counts for nothing, and neither does its size.
            if failure is None or failure.condition == Condition.MAX_SIZE_EXCEEDED:
                failure = self._try_to_follow(head)
                if failure is None:
                    return
        elif failure is None:
            # libcurl's own limit cannot be zero.
            if self.request.max_size is None or len(body) <= self.request.max_size:
                head.headers = decoded_headers(head)
                if self._sink is not None:
                    self._sink.response_came(head, body)
                return
            failure = TransferError(Condition.MAX_SIZE_EXCEEDED, f"{len(body)} bytes")
        assert failure is not None
        self._report(failure)

    def _try_to_follow(self, head: Head) -> TransferError | None:
        try:
            self._follow(head.first(b"location") or b"", head.code)
        except TransferError as failure:
            return failure
        return None

    def fail(self, failure: TransferError) -> None:
        """End without an answer, for a reason that is not libcurl's."""
        self._egress.remove(self)
        self._report(failure)

    def _report(self, failure: TransferError) -> None:
        if self._sink is not None:  # None: cancelled by a report before this one
            self._sink.request_failed(failure)
