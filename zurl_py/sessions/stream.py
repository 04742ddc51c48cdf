"""An HTTP session of the streaming interface: packets both ways, with credits both ways."""

from __future__ import annotations

from ..egress import BufferedTransfer, HttpRequest, StreamTransfer, TransferError
from ..http.fields import Head
from ..zhttp import Condition, RequestPacket
from .base import MAX_OVERSTEP, Services, Session, show_id
from .opening import Refused, open_http
from .single import _LOOKS_PER_TIMEOUT, _show

__all__ = ["KEEP_ALIVE_INTERVAL", "SESSION_EXPIRY", "StreamSession"]

KEEP_ALIVE_INTERVAL = 30.0  # seconds between keep-alives to the worker
SESSION_EXPIRY = 60.0  # seconds without a word of the worker until the session is dropped

# Each packet of credits costs as much as the upload of many kilobytes. So they are not given more
# often than this, or when so much of the window waits for them (as HTTP/2's stacks do it).
_GRANT_INTERVAL = 0.02  # seconds
_GRANT_SHARE = 0.5


class StreamSession(Session):
    """HTTP by packets over in_spec, in_stream_spec and out_spec.

    The worker's packets come in through ``receive``; what the transfer has to tell, through
    ``transfer_moved`` (streamed) or ``response_came`` and ``request_failed`` (whole answers).
    """

    __slots__ = (
        "_credits",
        "_deadline",
        "_grant_at",
        "_grant_waits",
        "_granted",
        "_head_sent",
        "_in_seq",
        "_input_ended",
        "_keep_alive_at",
        "_last_activity",
        "_last_heard",
        "_multi",
        "_progress",
        "_sent",
        "_stream",
        "_transfer",
        "_upload_left",
    )

    def __init__(self, services: Services, packet: RequestPacket) -> None:
        super().__init__(services, packet, packet.sender)
        now = self._started
        self._credits = packet.credits or 0  # bytes the worker takes
        self._granted = 0  # bytes of upload credited so far
        self._grant_at = now  # when what the network took is credited, however little it is
        self._grant_waits = False
        self._head_sent = False
        self._in_seq = packet.seq or 0
        self._input_ended = not packet.more
        self._keep_alive_at = now + KEEP_ALIVE_INTERVAL
        self._last_activity = now
        self._last_heard = now
        self._deadline: float | None = None
        self._multi = packet.multi
        self._progress = 0
        self._sent = 0  # bytes of response body given to the worker
        self._stream = packet.stream
        self._transfer: BufferedTransfer | StreamTransfer | None = None
        self._upload_left: int | None = None  # bytes of body due by the request's Content-Length

    # -- the worker's packets ------------------------------------------------------------------

    def start(self, packet: RequestPacket) -> None:
        """Handle the first packet."""
        s = self._s
        try:
            request = open_http(packet, s.policy)
            if packet.more and packet.seq != 0:
                raise Refused(Condition.BAD_REQUEST, "seq must be 0 where more follows")
        except Refused as refused:
            self._log_in(f"{_show(packet.method)} {refused.uri}")
            self._end_with_failure(refused)
            return
        self._log_in(f"{_show(packet.method)} {request.target.text}")
        if packet.timeout is not None:
            self._deadline = self._started + packet.timeout / 1000.0
        if request.upload:
            self._upload_left = request.content_length
            self._send({"type": b"credit", "credits": s.buffer_size})
        else:
            self._send({"type": b"keep-alive"})
        if packet.timeout == 0:
            self._end_with_error(Condition.SESSION_TIMEOUT, "a timeout of 0 is at once")
            return
        self._start_transfer(request)
        self._set_timer()

    def _start_transfer(self, request: HttpRequest) -> None:
        s = self._s
        if not (self._stream or request.upload):
            self._transfer = BufferedTransfer(s.egress, request, self)
        else:
            limit = s.buffer_size if self._stream else None
            self._transfer = StreamTransfer(s.egress, request, self, limit)
            if not self._count_upload(request.body):
                return
        self._transfer.start()

    def receive(self, packet: RequestPacket, seq: int | None) -> None:
        """Handle a later packet."""
        if packet.type == b"cancel":
            self._log_out(f"id={show_id(self.id)} cancelled by the worker")
            self._finish(None)
            return
        if seq != self._in_seq + 1:
            self._log_out(f"id={show_id(self.id)} out of sequence: {seq} after {self._in_seq}")
            self._finish({"type": b"cancel"})
            return
        self._in_seq = seq
        self._last_heard = self._s.loop.now
        if packet.credits:
            self._credits += packet.credits
        if packet.type is None:
            self._receive_body(packet)
        if self.open and packet.credits:
            self._flush()

    def _receive_body(self, packet: RequestPacket) -> None:
        if self._input_ended:
            self._end_with_error(Condition.BAD_REQUEST, "data after the end of the body")
            return
        self._last_activity = self._s.loop.now
        if not self._count_upload(packet.body):
            return
        transfer = self._transfer
        assert isinstance(transfer, StreamTransfer)
        transfer.feed(packet.body)
        if transfer.unsent > MAX_OVERSTEP * self._s.buffer_size + len(packet.body):
            self._end_with_error(Condition.BAD_REQUEST, "far more than the credits given")
            return
        if not packet.more:
            self._input_ended = True
            if self._upload_left:
                detail = f"the body is {self._upload_left} bytes short of its Content-Length"
                self._end_with_error(Condition.BAD_REQUEST, detail)
                return
            transfer.end_upload()

    def _count_upload(self, body: bytes) -> bool:
        """Hold the body to the worker's own Content-Length, so that none runs into the next
        request on that connection. Returns False if that ended the session."""
        if self._upload_left is not None:
            self._upload_left -= len(body)
            if self._upload_left < 0:
                self._end_with_error(Condition.BAD_REQUEST, "more body than Content-Length")
                return False
        return True

    # -- reports of the transfer ---------------------------------------------------------------

    def response_came(self, head: Head, body: bytes) -> None:
        """A whole answer is here."""
        self._send_last(head, body)

    def request_failed(self, failure: TransferError) -> None:
        """There will be no answer."""
        self._end_with_failure(failure)

    def transfer_moved(self) -> None:
        """A streamed transfer has a head, body, room or an end to tell of."""
        self._last_activity = self._s.loop.now
        if self.open:
            self._grant_upload()
            self._flush()

    def _grant_upload(self) -> None:
        """Credit what the network took, as long as more body is to come."""
        transfer = self._transfer
        assert isinstance(transfer, StreamTransfer)
        due = transfer.taken - self._granted
        if self._input_ended or due <= 0:
            self._grant_waits = False
            return
        now = self._s.loop.now
        if now >= self._grant_at or due >= self._s.buffer_size * _GRANT_SHARE:
            self._grant_at = now + _GRANT_INTERVAL
            self._grant_waits = False
            self._granted = transfer.taken
            self._send({"type": b"credit", "credits": due})
        elif not self._grant_waits:
            self._grant_waits = True
            self._set_timer()

    # -- what the worker is told ---------------------------------------------------------------

    def _flush(self) -> None:
        """Send what there is, as far as credits and the size of a packet allow."""
        transfer = self._transfer
        if not isinstance(transfer, StreamTransfer):
            return
        if not self._stream:
            self._flush_whole(transfer)
            return
        limit = self._s.buffer_size
        while transfer.head is not None:
            room = min(self._credits, limit)
            body = transfer.read(room) if room > 0 and transfer.buffered else b""
            last = transfer.ended_well and not transfer.buffered
            if last:
                self._send_last(None if self._head_sent else transfer.head, body)
                return
            if not body and self._head_sent:
                break
            fields: dict[str, object] = {"body": body, "more": True}
            if not self._head_sent:
                self._head_sent = True
                head = transfer.head
                fields["code"] = head.code
                fields["reason"] = head.reason
                fields["headers"] = head.headers
            self._credits -= len(body)
            self._sent += len(body)
            self._send(fields)
        if transfer.failure is not None and not transfer.buffered:
            self._end_with_failure(transfer.failure)

    def _flush_whole(self, transfer: StreamTransfer) -> None:
        if transfer.failure is not None:
            self._end_with_failure(transfer.failure)
        elif transfer.ended_well:
            self._send_last(transfer.head, transfer.read(transfer.buffered))

    def _send_last(self, head: Head | None, body: bytes | bytearray) -> None:
        self._sent += len(body)
        fields: dict[str, object] = {"body": body}
        if head is not None:
            fields["code"] = head.code
            fields["reason"] = head.reason
            fields["headers"] = head.headers
        code = head.code if head is not None else self._transfer_code()
        self._log_out(f"id={show_id(self.id)} code={code} {self._sent}")
        self._finish(fields)

    def _transfer_code(self) -> int:
        transfer = self._transfer
        assert isinstance(transfer, StreamTransfer)
        assert transfer.head is not None
        return transfer.head.code

    def _send(self, fields: dict[str, object]) -> None:
        assert self.sender is not None
        fields["seq"] = self._out_seq
        if self._out_seq == 0 and self._multi and fields.get("type") != b"error":
            fields["ext"] = {"multi": True}
        self._out_seq += 1
        self._s.publish(self.sender, self._envelope.encode(fields))

    # -- time ----------------------------------------------------------------------------------

    def _release(self) -> None:
        if self._transfer is not None:
            self._transfer.cancel()

    def _set_timer(self) -> None:
        s = self._s
        when = min(self._keep_alive_at, self._last_heard + SESSION_EXPIRY)
        if isinstance(self._transfer, StreamTransfer):
            when = min(when, self._last_activity + s.activity_timeout)
        else:
            when = min(when, s.loop.now + s.activity_timeout / _LOOKS_PER_TIMEOUT)
        if self._deadline is not None:
            when = min(when, self._deadline)
        if self._grant_waits:
            when = min(when, self._grant_at)
        s.loop.set_timer(self._timer, when)

    def _timer_fired(self) -> None:
        s = self._s
        now = s.loop.now
        if isinstance(self._transfer, BufferedTransfer):
            progress = self._transfer.progress
            if progress != self._progress:
                self._progress = progress
                self._last_activity = now
        if self._deadline is not None and now >= self._deadline:
            self._end_with_error(Condition.SESSION_TIMEOUT, "timeout of the request")
        elif now >= self._last_heard + SESSION_EXPIRY:
            self._log_out(f"id={show_id(self.id)} expired: nothing heard of the worker")
            self._finish(None)
        elif now >= self._last_activity + s.activity_timeout:
            self._end_with_error(Condition.SESSION_TIMEOUT, "no activity")
        else:
            if now >= self._keep_alive_at:
                self._keep_alive_at = now + KEEP_ALIVE_INTERVAL
                self._send({"type": b"keep-alive"})
            if self._grant_waits:
                self._grant_upload()
            self._set_timer()
