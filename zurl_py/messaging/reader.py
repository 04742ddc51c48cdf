"""Reads a ZeroMQ socket from the loop, in batches, at little cost.

A ZeroMQ socket's descriptor signals once that something happened; only the socket knows whether a
message is there. To ask it (``EVENTS``) costs ten times as much as a receive that finds a message,
and a receive that finds none twenty times as much. So a socket is read only where its descriptor
signalled, or where it was used otherwise since, which may reset a signal.
"""

from __future__ import annotations

from collections.abc import Callable

import zmq

from ..config.curve import CurveClient
from ..loop import READ, Loop
from .access import Access

__all__ = ["TIME_SHARE", "SocketReader"]

_NOBLOCK = int(zmq.NOBLOCK)
_EVENTS = zmq.EVENTS
_POLLIN = int(zmq.POLLIN)

# Messages that are read in one turn, whatever the time. Further ones are read for TIME_SHARE only:
# other work waits for the end of the turn, and a request takes three or four turns.
_MIN_MESSAGES = 8
TIME_SHARE = 0.0005
"""Seconds of one turn for messages beyond the first eight, by default."""


class SocketReader:
    """Reads one socket: each turn of the loop calls ``read``, and at its end ``check``.

    Args:
        answers: the socket is also written to, later in the turn; it is enough to ask after that
            whether more messages wait.
        access: identifies the client that has sent a message; None: clients have no keys.
        share: seconds of one turn for messages beyond the first eight.

    Attributes:
        backlog: messages wait, or may wait; if not, ``read`` has nothing to do.
        must_check: whether messages wait is unknown; if not, ``check`` has nothing to do.
        count: number of messages read so far.
        client: the client that has sent the message that is being handled; None: not known.
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        loop: Loop,
        answers: bool = False,
        access: Access | None = None,
        share: float = TIME_SHARE,
    ) -> None:
        # Bound methods are kept, as pyzmq looks up each attribute by a Python function.
        self._receive = socket.recv
        self._option = socket.getsockopt
        self._clock = loop.clock
        self._time_share = share
        self._answers = answers
        self._access = access
        # A ROUTER's messages begin with an identity, and other frames follow it. It is read as
        # bytes: a frame object, which can say whether more follow, takes .5 µs longer.
        self._has_envelopes = access is None and socket.getsockopt(zmq.TYPE) == zmq.ROUTER
        self.client: CurveClient | None = None
        self.backlog = True
        self.must_check = False
        self._many = False  # the last read found more than one message
        self.count = 0
        loop.watch(int(socket.getsockopt(zmq.FD)), READ, self._signal, urgent=True)

    def __repr__(self) -> str:
        return (
            f"<SocketReader count={self.count} backlog={self.backlog} must_check={self.must_check}>"
        )

    def used(self) -> None:
        """Note that the socket was used otherwise than for reading."""
        self.must_check = True

    def read(
        self,
        batch: int,
        handle: Callable[[list[bytes]], None],
        may_take: Callable[[], bool] | None = None,
    ) -> None:
        """Read messages while there is room and time, and hand on the frames of each.

        Args:
            batch: number of messages at most.
        """
        if not self.backlog:
            return
        receive, until = self._receive, 0.0
        self.must_check = True
        for number in range(batch):
            # Single messages tend to follow single ones: then it is cheaper to ask than to try
            # another receive.
            if number == 1 and not self._many and (self._answers or not self.check()):
                return
            if number >= _MIN_MESSAGES:
                if number == _MIN_MESSAGES:
                    until = self._clock() + self._time_share
                elif self._clock() > until:
                    return
            if may_take is not None and not may_take():
                return
            try:
                if self._has_envelopes:
                    frames, more = [receive(_NOBLOCK)], True
                else:
                    frame = receive(_NOBLOCK, False)
                    frames, more = [frame.bytes], frame.more
            except zmq.Again:
                self.backlog = self.must_check = False
                self._many = number > 1
                return
            self.count += 1
            if self._access is not None:
                self.client = self._access.identify(frame)
            while more:
                frame = receive(_NOBLOCK, False)
                frames.append(frame.bytes)
                more = frame.more
            handle(frames)

    def check(self) -> bool:
        """Whether messages wait; if not, the descriptor signals when one comes."""
        if self.must_check:
            # This also makes libzmq reset its descriptor, which would go on signalling else.
            self.must_check = False
            self._many = self.backlog = bool(int(self._option(_EVENTS)) & _POLLIN)
        return self.backlog

    def _signal(self, _fd: int, _events: int) -> None:
        self.backlog = True
