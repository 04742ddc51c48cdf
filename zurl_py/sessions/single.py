"""A request with one buffered answer, or none: the request interface, and fire and forget."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..egress import BufferedTransfer
from ..journal import PUSH, REQUEST
from ..zhttp import RequestPacket
from .base import Services, entry
from .http import HttpSession
from .refusal import Refused

__all__ = ["SingleSession"]


class SingleSession(HttpSession):
    """One request packet in, one answer packet out.

    Args:
        reply: sends the answer; None for fire and forget, where the body is discarded.

    A fire-and-forget request that has a ``from``, but no id, is answered in one case only: when it
    is refused at once.
    """

    __slots__ = ("_reply",)

    def __init__(
        self,
        services: Services,
        packet: RequestPacket,
        reply: Callable[[bytes], None] | None,
        ended: Callable[[Any], None],
        arrived: float | None = None,
    ) -> None:
        self._reply = reply
        sender = packet.sender if reply is None else None
        interface = PUSH if reply is None else REQUEST
        HttpSession.__init__(self, services, packet, sender, ended, arrived, interface)

    @entry
    def start(self, packet: RequestPacket) -> None:
        """Handle the first packet."""
        request = self._open(packet)
        if request is None:
            return
        request.discard = self._reply is None
        if not self._set_deadline(packet):
            return
        transfer = BufferedTransfer(self._s.egress, request, self)
        self._transfer = transfer
        transfer.start()
        if self._deadline is not None:
            self._set_timer()

    def _check_upload(self, packet: RequestPacket) -> None:
        raise Refused.bad_request(
            "more must be false: only the streaming interface takes a body in several packets"
        )

    def _refuse(self, refused: Refused) -> None:
        if self._reply is None and self.sender:
            self._reply = partial(self._s.outlet.publish, self.sender)
        super()._refuse(refused)

    def _send(self, fields: dict[str, Any]) -> None:
        if self._reply is not None:
            self._reply(self._endpoint.send(fields, self._s.loop.now))

    def _set_timer(self) -> None:
        if self.open:
            self._wake_at(self._next_check())

    def _timer_fired(self) -> None:
        if self._check_time_limits():
            self._set_timer()
