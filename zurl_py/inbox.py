"""Reading a ZeroMQ socket from the loop, in batches, for little.

A ZeroMQ socket's descriptor signals once that something happened; whether a message is there, only
the socket can tell. Asking it (``EVENTS``) costs ten times a receive that finds a message, and a
receive that finds none costs twenty times as much. So a socket is asked only where its descriptor
signalled, or where it was used otherwise since, which may swallow a signal.
"""

from __future__ import annotations

from collections.abc import Callable

import zmq

from .loop import READ, Loop

__all__ = ["Inbox"]

_NOBLOCK = int(zmq.NOBLOCK)
_EVENTS = zmq.EVENTS
_POLLIN = int(zmq.POLLIN)


class Inbox:
    """The messages of one socket.

    Args:
        handle: takes one message, as its frames.
        may_start: False while no message may be taken; None: always.
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        loop: Loop,
        handle: Callable[[list[bytes]], None],
        may_start: Callable[[], bool] | None = None,
    ) -> None:
        self._socket = socket
        self._handle = handle
        self._may_start = may_start
        self._signalled = True  # messages may be waiting
        loop.watch(int(socket.getsockopt(zmq.FD)), READ, self._signal)

    def used(self) -> None:
        """The socket was used for something else than reading."""
        self._signalled = True

    def read(self, batch: int) -> bool:
        """Handle up to ``batch`` messages.

        Returns:
            True if more may be waiting and can be taken now.
        """
        if not self._signalled:
            return False
        socket = self._socket
        may_start = self._may_start
        # This also makes libzmq take note of what its descriptor signals; it would go on else.
        if not int(socket.getsockopt(_EVENTS)) & _POLLIN:
            self._signalled = False
            return False
        for number in range(batch):
            # Most often one message has come alone: then asking again is cheaper than failing.
            if number == 1 and not int(socket.getsockopt(_EVENTS)) & _POLLIN:
                self._signalled = False
                return False
            if may_start is not None and not may_start():
                return False
            try:
                frame = socket.recv(_NOBLOCK, False)
            except zmq.Again:
                self._signalled = False
                return False
            frames = [frame.bytes]
            while frame.more:
                frame = socket.recv(_NOBLOCK, False)
                frames.append(frame.bytes)
            self._handle(frames)
        return True

    def _signal(self, _fd: int, _events: int) -> None:
        self._signalled = True
