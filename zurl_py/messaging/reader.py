"""Reading a ZeroMQ socket from the loop, in batches, for little.

A ZeroMQ socket's descriptor signals once that something happened; whether a message is there, only
the socket can tell. Asking it (``EVENTS``) costs ten times a receive that finds a message, and a
receive that finds none costs twenty times as much. So a socket is read only where its descriptor
signalled, or where it was used otherwise since, which may swallow a signal.
"""

from __future__ import annotations

from collections.abc import Callable

import zmq

from ..config.curve import CurveClient
from ..loop import READ, Loop
from .access import Access

__all__ = ["SocketReader"]

_NOBLOCK = int(zmq.NOBLOCK)
_EVENTS = zmq.EVENTS
_POLLIN = int(zmq.POLLIN)


class SocketReader:
    """The messages of one socket: in each turn of the loop ``read``, and at its end ``settle``.

    Args:
        answers: the socket is written to as well, later in the turn; so it is enough to ask then
            whether more messages wait.
        access: says who has sent a message; None: clients are not known.

    Attributes:
        backlog: messages wait, or may wait; where not, there is nothing to ``read``.
        unasked: whether any wait is to be asked; where not, there is nothing to ``settle``.
        count: messages that were read, in all.
        client: who has sent the message that is being handled; None: not known.
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        loop: Loop,
        answers: bool = False,
        access: Access | None = None,
    ) -> None:
        self._socket = socket
        self._answers = answers
        self._access = access
        self.client: CurveClient | None = None
        self.backlog = True
        self.unasked = False
        self._many = False  # the last time, more than one was
        self.count = 0
        loop.watch(int(socket.getsockopt(zmq.FD)), READ, self._signal, urgent=True)

    def used(self) -> None:
        """The socket was used for something else than reading."""
        self.unasked = True

    def read(
        self,
        batch: int,
        handle: Callable[[list[bytes]], None],
        may_take: Callable[[], bool] | None = None,
    ) -> None:
        """Handle up to ``batch`` messages, each as its frames, while one more may be taken."""
        if not self.backlog:
            return
        socket = self._socket
        self.unasked = True
        for number in range(batch):
            # One that comes alone is followed by one alone: then asking is cheaper than failing.
            if number == 1 and not self._many and (self._answers or not self._ask()):
                return
            if may_take is not None and not may_take():
                return
            try:
                frame = socket.recv(_NOBLOCK, False)
            except zmq.Again:
                self.backlog = self.unasked = False
                self._many = number > 1
                return
            self.count += 1
            if self._access is not None:
                self.client = self._access.identify(frame)
            frames = [frame.bytes]
            while frame.more:
                frame = socket.recv(_NOBLOCK, False)
                frames.append(frame.bytes)
            handle(frames)

    def settle(self) -> bool:
        """True if messages are waiting; False: the descriptor will signal."""
        if self.unasked:
            self._ask()
        return self.backlog

    def _ask(self) -> bool:
        # This also makes libzmq take note of what its descriptor signals; it would go on else.
        self.unasked = False
        self._many = self.backlog = bool(int(self._socket.getsockopt(_EVENTS)) & _POLLIN)
        return self.backlog

    def _signal(self, _fd: int, _events: int) -> None:
        self.backlog = True
