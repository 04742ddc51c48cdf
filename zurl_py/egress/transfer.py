"""What all transfers have in common: one request on one easy handle, hop by hop through redirects.

``BufferedTransfer`` in ``buffered.py`` collects its answer, ``StreamTransfer`` in ``streaming.py``
has flow control in both directions, ``WebSocketTransfer`` in ``websocket.py`` is a connection.
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
    """What all HTTP transfers have in common.

    Attributes:
        request: the request of the current hop.
        hops: redirects followed.

    The others are the engine's; see `Carried`.
    """

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

    @property
    def stage(self) -> str:
        """How far it is, in a word for people."""
        if self.handle is None:
            return "queued" if self.leave is None else "resolving"
        get = self.handle.curl.getinfo
        if get(pycurl.STARTTRANSFER_TIME):
            return "receiving"
        if get(pycurl.PRETRANSFER_TIME):
            return "waiting"
        return "handshaking" if get(pycurl.CONNECT_TIME) else "connecting"

    def cancel(self) -> None:
        """End the transfer; an exchange under way loses its connection. Nothing is reported."""
        if self.handle is not None or self.leave is not None:
            self._egress.remove(self)

    def timed_out(self) -> None:
        """The session's time is up; `cancel` follows."""
        self._egress.timed_out(self)

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
        if handle.starved and code == pycurl.E_COULDNT_CONNECT:
            return TransferError(
                Condition.REMOTE_CONNECTION_FAILED, handle.problem, error=ErrorName.NO_DESCRIPTORS
            )
        os_errno = handle.curl.getinfo(pycurl.OS_ERRNO)
        text = handle.problem or message
        return TransferError.from_curl(code, text, os_errno, handle.proxied)

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

    def _follow(self, location: bytes, code: int) -> None:
        """Go on at the Location of a redirect; the policy is asked about its name first.

        Raises:
            TransferError: not there, or not again.
        """
        hop = next_hop(self.request, code, location, self.hops)
        self.hops += 1
        self._start_hop(hop)

    def _start_hop(self, hop: HttpRequest) -> None:
        """Carry out the next hop.

        Raises:
            TransferError: it cannot be made.
        """
        self.request = hop
        self._verify_connect_host = False
        self._egress.add(self)
