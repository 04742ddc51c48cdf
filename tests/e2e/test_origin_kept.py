"""Unsolicited bytes of origins on kept connections."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tests.support import DEADLINE, Connection, ScriptedOrigin, Worker

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
_TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlate"
SOON = DEADLINE


def answering(afterwards: Callable[[Connection], None]) -> Callable[[Connection], None]:
    """Script: one good answer on each connection, and then something unasked."""

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(_OK)
        threading.Event().wait(0.05)
        afterwards(connection)
        connection.origin.let(f"said {connection.number}")
        connection.expect_end()

    return script


def _late(connection: Connection) -> None:
    connection.send(_TIMED_OUT)
    connection.close()


def _late_and_open(connection: Connection) -> None:
    connection.send(_TIMED_OUT)


def _stray(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray")


def _half(connection: Connection) -> None:
    connection.half_close()


def _gone(connection: Connection) -> None:
    connection.close()


def _reset(connection: Connection) -> None:
    connection.reset()


@pytest.mark.parametrize("way", ["whole", "streamed", "post", "upload"])
@pytest.mark.parametrize(
    "afterwards", [_late, _late_and_open, _stray, _half, _gone, _reset], ids=lambda f: f.__name__
)
def test_the_next_request_gets_its_own_answer(
    worker: Worker, origin: ScriptedOrigin, afterwards: Callable[[Connection], None], way: str
) -> None:
    origin.script = answering(afterwards)
    for number in range(3):
        if way == "whole":
            assert worker.request(SOON, method="GET", uri=origin.url()).body == b"hi"
        elif way == "post":
            answer = worker.request(SOON, method="POST", uri=origin.url(), body="x")
            assert answer.body == b"hi"
        else:
            fields = {"method": "POST", "more": True} if way == "upload" else {"method": "GET"}
            session = worker.start(uri=origin.url(), stream=True, credits=99, **fields)
            if way == "upload":
                session.send(body="abc")
            assert session.finish(SOON)[-1].type == b"data"
            assert session.body == b"hi"
        assert origin.gate(f"said {number}").wait(SOON)
        worker.fence()
