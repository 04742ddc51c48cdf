"""Reading a ZeroMQ socket from the loop, in batches, for little.

A ZeroMQ socket's descriptor signals once that something happened; whether a message is there, only
the socket can tell. Asking it (``EVENTS``) costs ten times a receive that finds a message, and a
receive that finds none costs twenty times as much. So a socket is read only where its descriptor
signalled, or where it was used otherwise since, which may swallow a signal.
"""

from __future__ import annotations

from collections.abc import Callable

import zmq

from ..loop import READ, Loop

__all__ = ["SocketReader"]

_NOBLOCK = int(zmq.NOBLOCK)
_EVENTS = zmq.EVENTS
_POLLIN = int(zmq.POLLIN)


class SocketReader:
    """The messages of one socket: in each turn of the loop ``read``, and at its end ``settle``.

    Args:
        handle: takes one message, as its frames.
        may_start: False while no message may be taken; None: always.
        answers: the socket is written to as well, later in the turn; so it is enough to ask then
            whether more messages wait.
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        loop: Loop,
        handle: Callable[[list[bytes]], None],
        may_start: Callable[[], bool] | None = None,
        answers: bool = False,
    ) -> None:
        self._socket = socket
        self._handle = handle
        self._may_start = may_start
        self._answers = answers
        self._signalled = True  # messages may be waiting
        self._unasked = False  # whether they are, is to be asked
        self._many = False  # the last time, more than one was
        loop.watch(int(socket.getsockopt(zmq.FD)), READ, self._signal)

    def used(self) -> None:
        """The socket was used for something else than reading."""
        self._unasked = True

    def read(self, batch: int) -> None:
        """Handle up to ``batch`` messages."""
        if not self._signalled:
            return
        socket = self._socket
        may_start = self._may_start
        self._unasked = True
        for number in range(batch):
            # One that comes alone is followed by one alone: then asking is cheaper than failing.
            if number == 1 and not self._many and (self._answers or not self._ask()):
                return
            if may_start is not None and not may_start():
                return
            try:
                frame = socket.recv(_NOBLOCK, False)
            except zmq.Again:
                self._signalled = self._unasked = False
                self._many = number > 1
                return
            frames = [frame.bytes]
            while frame.more:
                frame = socket.recv(_NOBLOCK, False)
                frames.append(frame.bytes)
            self._handle(frames)

    @property
    def backlog(self) -> bool:
        """Messages wait, or may wait, that were not read in the last turn."""
        return self._signalled

    def settle(self) -> bool:
        """True if messages are waiting and may be taken; False: the descriptor will signal."""
        if self._unasked:
            self._ask()
        if not self._signalled:
            return False
        return self._may_start is None or self._may_start()

    def _ask(self) -> bool:
        # This also makes libzmq take note of what its descriptor signals; it would go on else.
        self._unasked = False
        self._many = self._signalled = bool(int(self._socket.getsockopt(_EVENTS)) & _POLLIN)
        return self._signalled

    def _signal(self, _fd: int, _events: int) -> None:
        self._signalled = True
