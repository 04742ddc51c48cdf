"""The common part of HTTP sessions of both interfaces: their transfer, and its time limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..egress import BufferedTransfer, HttpRequest, StreamTransfer, TransferError
from ..http.heads import Head
from ..journal import STREAM
from ..zhttp import Condition, JsonText, RequestPacket
from .base import Services, Session, entry
from .opening import open_http
from .refusal import Refused

__all__ = ["HttpSession"]

# libcurl collects a buffered answer without calling Python. So a session checks this many times in
# its activity timeout whether bytes have come.
_CHECKS_PER_TIMEOUT = 8


class HttpSession(Session):
    """A session with an HTTP transfer."""

    __slots__ = ("_body_sent", "_last_activity", "_transfer")

    def __init__(
        self,
        services: Services,
        packet: RequestPacket,
        sender: bytes | None,
        ended: Callable[[Any], None],
        arrived: float | None = None,
        interface: int = STREAM,
    ) -> None:
        Session.__init__(self, services, packet, sender, ended, arrived, interface)
        self._transfer: BufferedTransfer | StreamTransfer | None = None
        self._body_sent = 0  # bytes of response body sent to the worker
        self._last_activity = services.loop.now

    @property
    def bytes_sent(self) -> int:
        """Bytes of body that were sent to the worker."""
        return self._body_sent

    @property
    def stage(self) -> str:
        """What the session waits for, in a word for people."""
        return "starting" if self._transfer is None else self._transfer.stage

    def _open(self, packet: RequestPacket) -> HttpRequest | None:
        """The request of the first packet; None if it was refused, which has ended the session."""
        try:
            if packet.more:
                self._check_upload(packet)
            request = open_http(packet, self._s.policy, self._s.user_agent)
        except Refused as refused:
            self._record_began(packet, refused.target)
            self._refuse(refused)
            return None
        self._record_began(packet, request.target)
        return request

    def _check_upload(self, packet: RequestPacket) -> None:
        """Check whether this interface accepts a first packet whose body continues in later ones.

        Raises:
            Refused: it does not.
        """

    def _refuse(self, refused: Refused) -> None:
        self._end_with_failure(refused)

    @property
    def bytes_held(self) -> int:
        """Bytes of bodies that are held, of both directions."""
        transfer = self._transfer
        if isinstance(transfer, StreamTransfer):
            return transfer.unsent + transfer.buffered
        return 0 if transfer is None else transfer.held

    # -- reports about a buffered answer -------------------------------------------------------

    @entry
    def response_came(self, head: Head, body: bytes | JsonText) -> None:
        """Send the whole answer to the worker."""
        if self.open:
            assert self._transfer is not None
            self._body_sent = size = len(body)
            self.account.http_version = head.version
            fields: dict[str, Any] = {
                "body": body,
                "code": head.code,
                "reason": head.reason,
                "headers": head.headers,
            }
            self._s.journal.answered_with(self.account, head.code, size)
            if self._transfer.extras is not None:
                add_ext(fields, self._transfer.extras.whole())
            self._finish(fields)

    @entry
    def request_failed(self, failure: TransferError) -> None:
        """Send an error, as the transfer has failed."""
        if self.open:
            self._end_with_failure(failure)

    # ------------------------------------------------------------------------------------------

    def _add_head(self, fields: dict[str, Any], head: Head) -> None:
        """Add the head of the answer to a packet for the worker."""
        self.account.http_version = head.version
        add_head(fields, head)

    def _error_extras(self) -> dict[str, Any]:
        extras = self._transfer.extras if self._transfer is not None else None
        return extras.with_head() if extras is not None else {}

    @entry
    def keep_time(self) -> None:
        """Set the timer of a request without a timeout, once it has been open for a while."""
        if self._is_over():
            return
        self._set_timer()

    def _release(self) -> None:
        if self._transfer is not None:
            self._transfer.cancel()

    def _activity_timeout(self) -> float:
        """Seconds without activity until the session ends; depends on the host of this hop."""
        s = self._s
        if s.host_timeout is None or self._transfer is None:
            return s.activity_timeout
        return s.host_timeout(self._transfer.request.target)

    def _report_timeout(self) -> None:
        """Tell the egress, which counts it as a failure of the origin."""
        if self._transfer is not None:
            self._transfer.timed_out()

    def _is_over(self) -> bool:
        """Whether the origin's 101 has ended a request whose answer is buffered."""
        if isinstance(self._transfer, BufferedTransfer):
            self._transfer.check_upgrade()
        return not self.open

    def _next_check(self) -> float:
        """Time when the time limits are to be checked again."""
        s = self._s
        if isinstance(self._transfer, StreamTransfer):
            when = self._last_activity + self._activity_timeout()
        else:
            when = s.loop.now + self._activity_timeout() / _CHECKS_PER_TIMEOUT
        if self._deadline is not None and self._deadline < when:
            return self._deadline
        return when

    def _check_time_limits(self) -> bool:
        """Check both time limits; False if one is exceeded, which has ended the session."""
        s = self._s
        now = s.loop.now
        if self._is_over():
            return False
        if self._transfer is not None:
            self._last_activity = max(self._last_activity, self._transfer.last_activity(now))
        if self._deadline is not None and now >= self._deadline:
            self._report_timeout()
            overdue = self._transfer and self._transfer.overdue(now - self.account.began)
            if overdue:
                self._end_with_failure(overdue)
            else:
                self._time_out()
        elif now >= self._last_activity + self._activity_timeout():
            self._report_timeout()
            detail = f"no activity for {self._activity_timeout():g} s"
            self._end_with_error(Condition.SESSION_TIMEOUT, "idle-timeout", detail)
        return self.open


def add_head(fields: dict[str, Any], head: Head) -> None:
    """Add a response's head to a packet."""
    fields["code"] = head.code
    fields["reason"] = head.reason
    fields["headers"] = head.headers


def add_ext(fields: dict[str, Any], ext: dict[str, Any]) -> None:
    """Add items to a packet's ``ext``."""
    if ext:
        fields["ext"] = ext
