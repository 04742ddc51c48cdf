"""Finds the TLS alert that an origin sends in place of an answer.

A TLS 1.3 server checks our certificate after its own handshake. It sends an alert that says what is
wrong, and closes. If our request was on its way by then, the connection is reset before libcurl can
read the alert; and libcurl does not report an alert of a QUIC connection at all. So such a
connection is made once more, over TCP, and only read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pycurl

from ..loop import READ, Loop, Timer
from .carrier import Carrier
from .errors import TransferError
from .handles import EasyHandle
from .request import HttpRequest
from .stream_socket import connect_only
from .transfer import HttpTransfer

__all__ = ["AlertProbe", "may_have_lost_an_alert"]

_ALERT_TIMEOUT = 1.0  # seconds to wait for an alert


def may_have_lost_an_alert(message: str) -> bool:
    """Whether an alert may have been lost with a connection that ended before an answer.

    A connection that the origin closed properly was read to its end: it had no alert.

    Args:
        message: libcurl's text about the end.
    """
    return not ("alert" in message or "unexpected eof" in message)


class AlertProbe(HttpTransfer):
    """A connection over which no request is sent.

    Args:
        verifies_connect_host: the certificate must be the connect host's, not the URI's.
        found: called once, with the failure that the alert means; None if none came.
    """

    __slots__ = ("_fd", "_found", "_loop", "_timer")

    def __init__(
        self,
        egress: Carrier,
        loop: Loop,
        request: HttpRequest,
        verifies_connect_host: bool,
        found: Callable[[TransferError | None], None],
    ) -> None:
        super().__init__(egress, replace(request, http_version="1.1"))
        self.verifies_connect_host = verifies_connect_host
        self._loop = loop
        self._found = found
        self._fd = -1
        self._timer = Timer(self._give_up)

    def start(self) -> None:
        """Connect."""
        self._loop.set_timer(self._timer, self._loop.now + _ALERT_TIMEOUT)
        self._egress.add(self)

    def cancel(self) -> None:
        """End without a call of ``found``."""
        self._found = _nothing
        self._end(None)

    def prepare(self, handle: EasyHandle) -> None:
        """Set the options for a connection without a request (``CURLOPT_CONNECT_ONLY``)."""
        super().prepare(handle)
        connect_only(handle, self.request, self.verifies_connect_host)

    def ended(self, code: int, message: str) -> None:
        """libcurl has connected, or has failed to."""
        if code:
            self._end(self._failure(code, message))
            return
        assert self.handle is not None
        self._fd = self.handle.curl.getinfo(pycurl.ACTIVESOCKET)
        self._loop.watch(self._fd, READ, self._readable)

    def fail(self, failure: TransferError) -> None:
        """End for a reason other than a libcurl result."""
        self._end(None)

    def _readable(self, _fd: int, _events: int) -> None:
        assert self.handle is not None
        try:
            if self.handle.curl.recv(1):
                self._end(None)  # application data: this is no alert
        except BlockingIOError:
            pass  # it may be a session ticket
        except pycurl.error as error:
            code, message = error.args[:2]
            shows = self.handle.shows_certificate
            self._end(TransferError.from_curl(code, message, shows_certificate=shows))

    def _give_up(self) -> None:
        self._end(None)

    def _end(self, failure: TransferError | None) -> None:
        self._loop.cancel_timer(self._timer)
        if self._fd >= 0:
            self._loop.unwatch(self._fd)
            self._fd = -1
        self._egress.remove(self)
        found, self._found = self._found, _nothing
        found(failure)


def _nothing(_failure: TransferError | None) -> None:
    """The callback after ``cancel``."""
