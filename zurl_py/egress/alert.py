"""Which TLS alert an origin sends where it should send its answer.

A TLS 1.3 server judges our certificate when its own handshake is over. It says in an alert what is
wrong, and closes; if our request was on its way by then, the connection is reset and libcurl has no
time to read the alert. So a connection that ends like that is made again, and only listened to.
"""

from __future__ import annotations

from collections.abc import Callable

import pycurl

from ..loop import READ, Loop, Timer
from .carrier import Carrier
from .errors import TransferError
from .handles import EasyHandle
from .request import HttpRequest
from .transfer import HttpTransfer

__all__ = ["AlertProbe"]

_PATIENCE = 1.0  # seconds that an alert may take


class AlertProbe(HttpTransfer):
    """A connection by which nothing is sent.

    Args:
        found: called once, with the failure that an alert stands for; None if none came.
    """

    __slots__ = ("_fd", "_found", "_loop", "_timer")

    def __init__(
        self,
        egress: Carrier,
        loop: Loop,
        request: HttpRequest,
        found: Callable[[TransferError | None], None],
    ) -> None:
        super().__init__(egress, request)
        self._loop = loop
        self._found = found
        self._fd = -1
        self._timer = Timer(self._give_up)

    def start(self) -> None:
        """Connect."""
        self._loop.set_timer(self._timer, self._loop.now + _PATIENCE)
        self._egress.add(self)

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        self._found = _nothing
        self._end(None)

    def prepare(self, handle: EasyHandle) -> None:
        """Set the options of a connection that is only made."""
        super().prepare(handle)
        handle.limit_to_http1()
        handle.set(pycurl.CONNECT_ONLY, 1)
        handle.set(pycurl.FRESH_CONNECT, 1)

    def ended(self, code: int, message: str) -> None:
        """libcurl has connected, or has not."""
        if code:
            self._end(self._failure(code, message))
            return
        assert self.handle is not None
        self._fd = self.handle.curl.getinfo(pycurl.ACTIVESOCKET)
        self._loop.watch(self._fd, READ, self._readable)

    def fail(self, failure: TransferError) -> None:
        """End, for a reason that is not libcurl's."""
        self._end(None)

    def _readable(self, _fd: int, _events: int) -> None:
        assert self.handle is not None
        try:
            if self.handle.curl.recv(1):
                self._end(None)  # it speaks first: this is no alert
        except BlockingIOError:
            pass  # a session ticket, perhaps
        except pycurl.error as error:
            self._end(TransferError.from_curl(*error.args[:2]))

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
    """What is called where nobody waits."""
