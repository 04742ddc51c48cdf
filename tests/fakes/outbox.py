"""What stands around an outbox: a socket, a log, and a clock that the test moves."""

from __future__ import annotations

from typing import Any, cast

import zmq

from tests.support.clock import Clock, let_pass
from zurl_py.log import Log
from zurl_py.loop import Loop
from zurl_py.messaging.outbox import Publisher


class Socket:
    """An XPUB as the publisher sees it.

    Attributes:
        sent: messages that were taken.
        full: topics whose queue has no room.
    """

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.full: set[bytes] = set()

    def getsockopt(self, option: int) -> int:
        assert option == zmq.EVENTS
        return 0

    def send(self, message: bytes, _flags: int) -> None:
        if message.partition(b" ")[0] in self.full:
            raise zmq.Again
        self.sent.append(message)


class Lines:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, text: str, *_: object) -> None:
        self.lines.append(text)

    error = info = warning


class OutboxLab:
    """What an outlet has around it, and time that stands still.

    Attributes:
        used: how often the outlet said that it used its socket.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.loop = Loop(self.clock)
        self.log = Lines()
        self.used = 0

    def was_used(self) -> None:
        self.used += 1

    def wait(self, seconds: float) -> None:
        let_pass(seconds, self.clock, self.loop)


class Lab(OutboxLab):
    """A publisher."""

    def __init__(self) -> None:
        super().__init__()
        self.socket = Socket()
        self.publisher = Publisher(
            cast(Any, self.socket), self.loop, cast(Log, self.log), self.was_used
        )

    def subscribe(self, prefix: bytes) -> None:
        self.publisher.subscription([b"\1" + prefix])

    def publish(self, *messages: bytes) -> None:
        for message in messages:
            self.publisher.publish(message.partition(b" ")[0], message)
        self.publisher.flush()
