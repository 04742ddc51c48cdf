"""A request with one whole answer, or none: the request interface, and fire and forget."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..egress import BufferedTransfer, TransferError
from ..http.fields import Head
from ..zhttp import Condition, RequestPacket
from .base import Services, Session, show_id
from .opening import Refused, open_http

__all__ = ["SingleSession"]

# libcurl collects the answer without telling us when bytes come. So a session looks this often,
# within its activity timeout, whether there are more than before.
_LOOKS_PER_TIMEOUT = 8


class SingleSession(Session):
    """One request packet in, one answer packet out.

    Args:
        reply: sends the answer; None for fire and forget: then the body is discarded as it comes.

    A fire-and-forget request that names its worker, but no id, is answered in one case only: when
    it is refused at once.
    """

    __slots__ = ("_deadline", "_last_activity", "_progress", "_reply", "_transfer")

    def __init__(
        self, services: Services, packet: RequestPacket, reply: Callable[[bytes], None] | None
    ) -> None:
        super().__init__(services, packet, packet.sender if reply is None else None)
        self._reply = reply
        self._transfer: BufferedTransfer | None = None
        self._progress = 0
        self._last_activity = self._started
        self._deadline: float | None = None

    def start(self, packet: RequestPacket) -> None:
        """Carry out the request; any outcome is reported later, refusals at once."""
        s = self._s
        try:
            if packet.more:
                raise Refused(Condition.BAD_REQUEST, "more: this interface takes whole requests")
            request = open_http(packet, s.policy)
        except Refused as refused:
            self._log_in(f"{_show(packet.method)} {refused.uri}")
            if self._reply is None and self.sender:
                self._reply = partial(s.publish, self.sender)
            self._end_with_failure(refused)
            return
        self._log_in(f"{_show(packet.method)} {request.target.text}")
        request.discard = self._reply is None
        if packet.timeout == 0:
            self._end_with_error(Condition.SESSION_TIMEOUT, "a timeout of 0 is at once")
            return
        if packet.timeout is not None:
            self._deadline = self._started + packet.timeout / 1000.0
        self._transfer = BufferedTransfer(s.egress, request, self)
        self._transfer.start()
        self._set_timer()

    # -- reports of the transfer ---------------------------------------------------------------

    def response_came(self, head: Head, body: bytes) -> None:
        """The answer is here."""
        self._log_out(f"id={show_id(self.id)} code={head.code} {len(body)}")
        self._finish(
            {"code": head.code, "reason": head.reason, "headers": head.headers, "body": body}
        )

    def request_failed(self, failure: TransferError) -> None:
        """There will be no answer."""
        self._end_with_failure(failure)

    # ------------------------------------------------------------------------------------------

    def _send(self, fields: dict[str, object]) -> None:
        if self._reply is not None:
            if self.id:
                fields["seq"] = 0
            self._reply(self._envelope.encode(fields))

    def _release(self) -> None:
        if self._transfer is not None:
            self._transfer.cancel()

    def _set_timer(self) -> None:
        loop = self._s.loop
        when = loop.now + self._s.activity_timeout / _LOOKS_PER_TIMEOUT
        if self._deadline is not None and self._deadline < when:
            when = self._deadline
        loop.set_timer(self._timer, when)

    def _timer_fired(self) -> None:
        now = self._s.loop.now
        progress = self._transfer.progress if self._transfer is not None else 0
        if progress != self._progress:
            self._progress = progress
            self._last_activity = now
        if self._deadline is not None and now >= self._deadline:
            self._end_with_error(Condition.SESSION_TIMEOUT, "timeout of the request")
        elif now - self._last_activity >= self._s.activity_timeout:
            self._end_with_error(Condition.SESSION_TIMEOUT, "no activity")
        else:
            self._set_timer()


def _show(method: bytes | None) -> str:
    return (method or b"-")[:32].decode("ascii", "replace")
