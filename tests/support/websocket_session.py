"""One WebSocket session, seen from the worker and from the wire."""

from __future__ import annotations

import queue
from typing import Any

from tests.support import DEADLINE, Connection, Message, ScriptedOrigin, Session, Worker
from tests.support.origin import Script
from tests.support.websocket import (
    CLOSE,
    FIN,
    accept,
    read_frame,
)

BUFFER = 200_000


class Wire:
    """What the origin saw, and a hand on what it does; use ``script`` as a script."""

    def __init__(self, *first: bytes) -> None:
        self.frames: queue.Queue[tuple[int, bytes] | None] = queue.Queue()
        self.first = b"".join(first)
        self.connection: Connection | None = None

    def script(self, connection: Connection) -> None:
        self.connection = connection  # before the worker hears of it, as the test may use it then
        accept(connection, tail=self.first)
        try:
            while True:
                self.frames.put(read_frame(connection))
        finally:
            self.frames.put(None)

    def next(self) -> tuple[int, bytes] | None:
        """The next frame that the origin got; None for the end of the connection."""
        return self.frames.get(timeout=DEADLINE)

    def send(self, *frames: bytes) -> None:
        assert self.connection is not None
        self.connection.send(b"".join(frames))

    def hang_up(self) -> None:
        assert self.connection is not None
        self.connection.close()


def begin(worker: Worker, origin: ScriptedOrigin, script: Script, **fields: Any) -> Session:
    """A session whose handshake is done."""
    origin.script = script
    fields.setdefault("credits", BUFFER)
    session = worker.start(uri=origin.url("/p?q", "ws"), **fields)
    opened = session.next()
    assert opened.get("code") == 101, opened
    return session


def expect(message: Message, type: bytes, **fields: Any) -> None:
    """Asserts type and fields of a packet, and that it has none of body, code, more besides."""
    assert message.type == type, message
    for name in ("body", "code", "more", "condition", "content-type", "credits"):
        wanted = fields.get(name.replace("-", "_"))
        assert message.get(name) == wanted, (name, wanted, message)


def expect_cut(wire: Wire) -> None:
    assert wire.next() is None


def expect_closed(wire: Wire, code: int) -> None:
    """The origin gets a close frame, and then the end of the connection."""
    assert wire.next() == (FIN | CLOSE, code.to_bytes(2))
    wire.hang_up()
