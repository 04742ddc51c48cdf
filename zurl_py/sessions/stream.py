"""An HTTP session of the streaming interface: packets both ways, with credits both ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..egress import BufferedTransfer, Extras, HttpRequest, StreamTransfer
from ..http.heads import Head
from ..zhttp import JsonText, RequestPacket
from ..zhttp.session import IDLE, SENDING
from .base import MAX_OVERSTEP, Services, entry
from .http import HttpSession, add_ext, add_head
from .refusal import Refused
from .worker import WorkerSide

__all__ = ["StreamSession"]

# A packet of credits costs as much as the upload of many kilobytes. So credits are granted in this
# interval, or when this share of the window waits for them, as implementations of HTTP/2 do.
_GRANT_INTERVAL = 0.02  # seconds
_GRANT_SHARE = 0.5

# A packet of data costs as much as many kilobytes, too. So while credits are short, data is not
# sent in small pieces, but when this share of the worker's window is free, or when it has waited
# this long (RFC 9293 section 3.8.6.2.1: the sender's silly window avoidance).
_WINDOW_DIVISOR = 2  # the share is half of the window
_SEND_DELAY = 0.02  # seconds


class StreamSession(HttpSession, WorkerSide):
    """HTTP by packets over in_spec, in_stream_spec and out_spec.

    ``receive`` takes the worker's packets. The transfer calls ``transfer_moved`` (streamed
    answers), or ``response_came`` and ``request_failed`` (buffered answers).
    """

    __slots__ = (
        "_flush_at",
        "_grant_at",
        "_granted",
        "_next_grant",
        "_stream",
        "_upload_left",
        "_window",
    )

    def __init__(
        self,
        services: Services,
        packet: RequestPacket,
        ended: Callable[[Any], None],
        arrived: float | None = None,
    ) -> None:
        super().__init__(services, packet, packet.sender, ended, arrived)
        self._granted = 0  # bytes of upload credited so far
        self._next_grant = services.loop.now  # time of the next grant, however few the bytes are
        self._grant_at: float | None = None  # the same, while there are bytes to grant credits for
        self._flush_at: float | None = None  # time when data is sent, however few the credits are
        self._window = 0  # the largest number of credits at one time
        self._stream = packet.stream
        self._upload_left: int | None = None  # bytes of body still to come by Content-Length

    @property
    def withheld(self) -> int:
        """Bytes of the worker for which it got no new credits, as the origin has not taken them."""
        transfer = self._transfer
        if not isinstance(transfer, StreamTransfer):
            return 0
        return transfer.unsent + max(0, transfer.taken - self._granted)

    @property
    def bytes_held(self) -> int:
        """Bytes of bodies that are held, of both directions, and for the next worker."""
        last = self._final_packet
        return super().bytes_held + (len(last.get("body", b"")) if last is not None else 0)

    # -- the worker's packets ------------------------------------------------------------------

    @entry
    def start(self, packet: RequestPacket) -> None:
        """Handle the first packet."""
        request = self._open(packet)
        if request is None:
            return
        if request.upload:
            self._upload_left = request.content_length
            self._send({"type": b"credit", "credits": self._s.buffer_size})
        else:
            self._send({"type": b"keep-alive"})
        if self._set_deadline(packet):
            self._start_transfer(request)
            if self._deadline is not None:
                self._set_timer()

    def _check_upload(self, packet: RequestPacket) -> None:
        if packet.seq != 0:
            raise Refused.bad_request(f"seq must be 0 where more is true, not {packet.seq}")

    def _start_transfer(self, request: HttpRequest) -> None:
        s = self._s
        if not (self._stream or request.upload):
            self._transfer = BufferedTransfer(s.egress, request, self)
        else:
            limit = s.buffer_size if self._stream else None
            self._transfer = StreamTransfer(s.egress, request, self, limit)
            if request.upload and not self._count_upload(request.body):
                return
        self._transfer.start()

    def _receive(self, packet: RequestPacket) -> None:
        if packet.type is None:
            self._receive_body(packet)
        if self.open and packet.credits:
            self._flush()

    def _receive_body(self, packet: RequestPacket) -> None:
        self._last_activity = self._s.loop.now
        if not self._count_upload(packet.body):
            return
        transfer = self._transfer
        assert isinstance(transfer, StreamTransfer)
        transfer.feed(packet.body)
        if transfer.unsent > MAX_OVERSTEP * self._s.buffer_size + len(packet.body):
            self._end_with_bad_request(
                f"{transfer.unsent} bytes of body wait for the origin, far more than the credits"
                " allow: wait for credits before you send more"
            )
        elif not packet.more:
            if self._upload_left:
                self._end_with_bad_request(
                    f"the body is {self._upload_left} bytes short of its Content-Length"
                )
            else:
                transfer.end_upload()

    def _count_upload(self, body: bytes) -> bool:
        """Check the body against the worker's Content-Length; False if that has ended the session.

        Surplus bytes would become part of the next request on the connection.
        """
        if self._upload_left is not None:
            self._upload_left -= len(body)
            if self._upload_left < 0:
                self._end_with_bad_request(
                    f"the body is {-self._upload_left} bytes longer than its Content-Length"
                )
                return False
        return True

    # -- reports of a streamed transfer --------------------------------------------------------

    @entry
    def transfer_moved(self) -> None:
        """Handle progress of the transfer: a head, body, room for upload, or its end."""
        if self.open:
            self._last_activity = self._s.loop.now
            if self._endpoint.theirs is SENDING:
                self._grant_upload()
            transfer = self._transfer
            if self._stream and transfer is not None and transfer.extras is not None:
                self._send_interim(transfer.extras)
            self._flush()

    def _send_interim(self, extras: Extras) -> None:
        """Send interim heads, which need no credits."""
        for head in extras.take_interim():
            interim: dict[str, Any] = {}
            add_head(interim, head)
            self._send({"type": b"keep-alive", "ext": {"interim": interim}})

    def _grant_upload(self) -> None:
        """Grant credits for the upload that was sent, as long as more body is to come."""
        transfer = self._transfer
        assert isinstance(transfer, StreamTransfer)
        due = transfer.taken - self._granted
        if self._endpoint.theirs is not SENDING or due <= 0:
            self._grant_at = None
            return
        now = self._s.loop.now
        if self._worker_is_slow:
            self._wait_for_worker()
        elif due >= self._s.buffer_size * _GRANT_SHARE or now >= self._next_grant:
            self._next_grant = now + _GRANT_INTERVAL
            self._grant_at = None
            self._granted = transfer.taken
            self._send({"type": b"credit", "credits": due})
        elif self._grant_at is None:
            self._grant_at = self._next_grant
            self._set_timer()

    # -- packets to the worker -----------------------------------------------------------------

    def _resume_sending(self) -> None:
        if isinstance(self._transfer, StreamTransfer):
            self._grant_upload()
            self._flush()

    def _flush(self) -> None:
        """Send the data that has come, within the credits and the size of a packet."""
        transfer = self._transfer
        if not isinstance(transfer, StreamTransfer):
            return
        if not self._stream:
            self._flush_whole(transfer)
            return
        while transfer.head is not None:
            if self._worker_is_slow:
                # Credits limit bytes only; many small chunks would be as many packets.
                self._wait_for_worker()
                return
            if not self._flush_packet(transfer, transfer.head):
                break
        if self.open and transfer.failure is not None and not transfer.buffered:
            self._end_with_failure(transfer.failure)

    def _flush_packet(self, transfer: StreamTransfer, head: Head) -> bool:
        """Send one packet; False if there is nothing more to send now."""
        credits = self._endpoint.credits
        if credits > self._window:
            self._window = credits
        room = min(credits, self._s.buffer_size)
        buffered = transfer.buffered
        if 0 < room < buffered and self._should_wait_for_credits(room):
            return False
        body = transfer.read(room) if room > 0 and buffered else b""
        first = self._endpoint.ours is IDLE
        if transfer.ended_well and buffered == len(body):
            self._send_last(head, body, first)
            return False
        if not body and not first:
            return False
        fields: dict[str, Any] = {"body": body, "more": True}
        if first:
            self._add_head(fields, head)
            if transfer.extras is not None:
                add_ext(fields, transfer.extras.with_head())
        self._body_sent += len(body)
        self._send(fields)
        return transfer.ended_well or buffered > len(body)

    def _should_wait_for_credits(self, room: int) -> bool:
        """Whether to wait for more credits, as there is more data than credits."""
        now = self._s.loop.now
        share = min(self._window, self._s.buffer_size) // _WINDOW_DIVISOR
        if room >= share or (self._flush_at is not None and now >= self._flush_at):
            self._flush_at = None
            return False
        if self._flush_at is None:
            self._flush_at = now + _SEND_DELAY
            self._set_timer()
        return True

    def _flush_whole(self, transfer: StreamTransfer) -> None:
        if transfer.failure is not None:
            self._end_with_failure(transfer.failure)
        elif transfer.ended_well:
            assert transfer.head is not None
            body = transfer.read_whole()
            if body is not None:
                self._send_last(transfer.head, body, True)

    def _send_last(self, head: Head, body: bytes | bytearray | JsonText, first: bool) -> None:
        self._body_sent += len(body)
        fields: dict[str, Any] = {"body": body}
        if first:
            self._add_head(fields, head)
        self._record_answered(head.code)
        extras = self._transfer.extras if self._transfer is not None else None
        if extras is not None:
            add_ext(fields, self._last_extras(extras, first))
        self._finish(fields)

    def _last_extras(self, extras: Extras, first: bool) -> dict[str, Any]:
        if not self._stream:
            return extras.whole()
        return {**(extras.with_head() if first else {}), **extras.at_end()}

    # -- time ----------------------------------------------------------------------------------

    def _next_alarm(self) -> float:
        when = self._next_check()
        if self._flush_at is not None:
            when = min(when, self._flush_at)
        return when if self._grant_at is None else min(when, self._grant_at)

    def _handle_timer(self, now: float) -> None:
        if not self._check_time_limits():
            return
        if self._grant_at is not None:
            self._grant_upload()
        if self._flush_at is not None:
            self._flush()
