"""Flow control of streamed answers: worthwhile pieces, and nothing that waits for ever."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support import Connection, Daemon, ScriptedOrigin, Session, Worker

Start = Callable[..., tuple[Daemon, Worker]]
SOON = 10.0  # seconds
_SIZE = 20_000_000


def _large(connection: Connection) -> None:
    connection.read_request()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % _SIZE)
    for _ in range(_SIZE // 100_000):
        connection.send(bytes(100_000))


@pytest.mark.parametrize("credits", [200_000, 1_000_000])
def test_a_download_comes_in_worthwhile_pieces(
    worker: Worker, origin: ScriptedOrigin, credits: int
) -> None:
    """The worker gives back what it gets; a packet costs both sides as much as many kilobytes."""
    origin.script = _large
    session = worker.start(method="GET", uri=origin.url(), stream=True, credits=credits)
    sizes: list[int] = []
    while not (session.messages and session.messages[-1].is_final):
        message = session.next()
        if message.body:
            sizes.append(len(message.body))
            if not message.is_final:
                session.credit(len(message.body))
    assert sum(sizes) == _SIZE
    assert len(sizes) < 2.5 * _SIZE / 200_000
    assert len([size for size in sizes if size < 10_000]) <= len(sizes) // 5


def _read(session: Session, size: int) -> None:
    while len(session.body) < size:
        session.next(SOON)


@pytest.mark.parametrize("granted", [1, 1000, 30_000])
def test_few_credits_are_used_although_more_were_given_once(
    worker: Worker, origin: ScriptedOrigin, granted: int
) -> None:
    """A worker may mean to take less from now on."""
    origin.script = _large
    session = worker.start(method="GET", uri=origin.url(), stream=True, credits=100_000)
    _read(session, 100_000)
    for number in range(1, 4):
        session.credit(granted)
        _read(session, 100_000 + number * granted)
    assert len(session.body) == 100_000 + 3 * granted
    session.cancel()


def test_credits_in_small_pieces_are_put_together(worker: Worker, origin: ScriptedOrigin) -> None:
    origin.script = _large
    session = worker.start(method="GET", uri=origin.url(), stream=True, credits=100_000)
    _read(session, 100_000)
    before = len(session.messages)
    for _ in range(100):
        session.credit(1000)
    _read(session, 200_000)
    assert len(session.messages) - before < 20
    session.cancel()


def test_available_data_is_sent_at_once(worker: Worker, origin: ScriptedOrigin) -> None:
    """Where data is what is short, nothing waits."""

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        for number in range(5):
            connection.send(b"event %d\n" % number)
            connection.wait_for(f"event {number} was read")

    origin.script = script
    session = worker.start(method="GET", uri=origin.url(), stream=True, credits=200_000)
    for number in range(5):
        while not session.body.endswith(b"event %d\n" % number):
            session.next(SOON)
        origin.let(f"event {number} was read")
    session.finish(SOON)
