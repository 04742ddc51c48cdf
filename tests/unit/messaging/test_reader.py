"""How much of a socket is read in one turn of the loop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import zmq

from tests.support.clock import Clock
from zurl_py.loop import Loop
from zurl_py.messaging.reader import _MIN_MESSAGES, SocketReader

_SHARE = 0.001


class Lab:
    """A socket that others flood."""

    def __init__(self) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.clock = Clock()
        self.loop = Loop(self.clock)
        pull, self.push = self.context.socket(zmq.PULL), self.context.socket(zmq.PUSH)
        pull.bind("inproc://in")
        self.push.connect("inproc://in")
        self.sockets = pull, self.push
        self.reader = SocketReader(pull, self.loop, share=_SHARE)
        self.read: list[list[bytes]] = []
        self.costs = 0.0  # seconds for each message

    def handle(self, frames: list[bytes]) -> None:
        self.read.append(frames)
        self.clock.now += self.costs

    def turn(self) -> int:
        """Reads, and returns the number of messages."""
        before = len(self.read)
        self.reader.read(64, self.handle)
        self.reader.check()
        return len(self.read) - before


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    for socket in made.sockets:
        socket.close(linger=0)
    made.context.term()
    made.loop.close()


def test_messages_that_take_long_are_read_in_several_turns(lab: Lab) -> None:
    for number in range(50):
        lab.push.send(b"%d" % number)
    lab.costs = _SHARE * 2
    turns = []
    while lab.reader.backlog:
        turns.append(lab.turn())
    assert lab.read == [[b"%d" % number] for number in range(50)]
    assert set(turns[:-1]) == {_MIN_MESSAGES + 1}


def test_messages_that_cost_little_are_read_together(lab: Lab) -> None:
    for number in range(50):
        lab.push.send_multipart([b"%d" % number, b"frame"])
    lab.costs = _SHARE / 100
    assert lab.turn() == 50
    assert lab.read[-1] == [b"49", b"frame"]
    assert not lab.reader.backlog
