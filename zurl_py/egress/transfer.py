"""The common part of all transfers: one request on one easy handle, hop by hop through redirects.

``BufferedTransfer`` (``buffered.py``) collects the whole answer, ``StreamTransfer``
(``streaming.py``) has flow control in both directions, ``WebSocketTransfer`` (``websocket.py``) is
a connection.
"""

from __future__ import annotations

from collections.abc import Callable

import pycurl

from ..zhttp import Condition
from .carrier import Carrier
from .errors import ErrorName, TransferError
from .handles import EasyHandle
from .multi import Multi
from .redirects import next_hop
from .request import HttpRequest

__all__ = ["HttpTransfer"]


class HttpTransfer:
    """The common part of all transfers.

    Attributes:
        request: the request of the current hop.
        hops: number of redirects followed.

    The other attributes are for the engine; see `Carried`.
    """

    __slots__ = (
        "_egress",
        "attempts",
        "avoids_kept",
        "handle",
        "hops",
        "leave",
        "multi",
        "names_since",
        "request",
        "rules",
        "share_until",
        "streamed",
        "verifies_connect_host",
    )

    def __init__(self, egress: Carrier, request: HttpRequest) -> None:
        self._egress = egress
        self.request = request
        self.verifies_connect_host = False
        self.hops = 0
        self.rules = egress.rules
        self.handle: EasyHandle | None = None
        self.multi: Multi | None = None
        self.leave: Callable[[], None] | None = None
        self.attempts = 0
        self.avoids_kept = False
        self.names_since = 0.0
        self.share_until = 0.0
        self.streamed = False

    def __repr__(self) -> str:
        state = "in libcurl" if self.handle is not None else "outside libcurl"
        return f"<{type(self).__name__} {self.request!r} {state} hops={self.hops}>"

    @property
    def stage(self) -> str:
        """The current stage, in a word for people."""
        if self.handle is None:
            return "queued" if self.leave is None else "resolving"
        get = self.handle.curl.getinfo
        if get(pycurl.STARTTRANSFER_TIME):
            return "receiving"
        if get(pycurl.PRETRANSFER_TIME):
            return "waiting"
        return "handshaking" if get(pycurl.CONNECT_TIME) else "connecting"

    def cancel(self) -> None:
        """End the transfer without a report; an open exchange loses its connection."""
        if self.handle is not None or self.leave is not None:
            self._egress.remove(self)

    @property
    def is_connecting(self) -> bool:
        """Whether no connection was made so far, for any hop."""
        if self.hops:
            return False
        if self.handle is None:
            return self.leave is not None and not self.attempts
        return not self.handle.curl.getinfo(pycurl.PRETRANSFER_TIME)

    def overdue(self, elapsed: float) -> TransferError | None:
        """The failure if connecting has taken all of its own time, after ``elapsed`` seconds.

        For a request whose timeout has come, perhaps at the same time.
        """
        limit = self.request.connect_timeout
        if not limit or elapsed * 1000 < limit or not self.is_connecting:
            return None
        return TransferError(
            Condition.CONNECTION_TIMEOUT, f"not connected within {limit} milliseconds"
        )

    def timed_out(self) -> None:
        """Note the session's timeout; `cancel` follows."""
        self._egress.timed_out(self)

    def prepare(self, handle: EasyHandle) -> None:
        """Set the options of the current hop."""
        handle.apply(self.request, self.verifies_connect_host)

    def rewind(self) -> bool:
        """Prepare to send the request again from its beginning; False if that is impossible."""
        return True

    def ended(self, code: int, message: str) -> None:
        """libcurl is done with the handle, with this result."""
        raise NotImplementedError

    def fail(self, failure: TransferError) -> None:
        """End without an answer, for a reason other than a libcurl result."""
        raise NotImplementedError

    def _failure(self, code: int, message: str) -> TransferError | None:
        """The failure for a libcurl result; None for success."""
        if code == 0:
            return None
        handle = self.handle
        assert handle is not None
        if handle.broken:
            return TransferError(
                Condition.UNDEFINED_CONDITION,
                "a bug in the gateway, whose log has the details",
                error=ErrorName.INTERNAL,
            )
        refused = handle.refused
        if refused is not None and (
            code == pycurl.E_ABORTED_BY_CALLBACK
            or (code == pycurl.E_COULDNT_CONNECT and not handle.tried)
        ):
            # The policy refused every address, or that of a kept connection.
            host = self.request.target.host
            return TransferError.from_decision(
                refused, f"{host}: {refused.subject} {refused.reason}"
            )
        if handle.out_of_descriptors and code == pycurl.E_COULDNT_CONNECT:
            return TransferError(
                Condition.REMOTE_CONNECTION_FAILED, handle.problem, error=ErrorName.NO_DESCRIPTORS
            )
        os_errno = handle.curl.getinfo(pycurl.OS_ERRNO)
        text = handle.problem or message
        return TransferError.from_curl(
            code, text, os_errno, handle.proxied, handle.shows_certificate
        )

    def _retry_as_connect_host(self, code: int) -> bool:
        """With trust-connect-host, try again with a certificate for the connect host.

        libcurl verifies one name. Where the certificate is not for the URI's host, the hop starts
        again with the connect host's name; no request was sent so far.
        """
        request = self.request
        if (
            code != pycurl.E_PEER_FAILED_VERIFICATION
            or self.verifies_connect_host
            or not request.trust_connect_host
            or request.connect_host is None
        ):
            return False
        self.verifies_connect_host = True
        self._egress.remove(self)
        self._egress.add(self)
        return True

    def _follow(self, location: bytes, code: int) -> None:
        """Follow a redirect, if the policy allows its host.

        Raises:
            TransferError: the redirect may not be followed.
        """
        hop = next_hop(self.request, code, location, self.hops)
        self.hops += 1
        self._start_hop(hop)

    def _start_hop(self, hop: HttpRequest) -> None:
        """Start the next hop.

        Raises:
            TransferError: the request cannot be sent again.
        """
        self.request = hop
        self.verifies_connect_host = False
        self._egress.add(self)
