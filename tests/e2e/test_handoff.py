"""A session goes from one worker to another (RFC 33: handoff-start, handoff-proceed)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support import Connection, Daemon, Message, ScriptedOrigin, Worker
from tests.support.websocket import TEXT, accept, frame

Start = Callable[..., tuple[Daemon, Worker]]


@pytest.fixture
def other(start_daemon: Start) -> Iterator[tuple[Worker, Worker]]:
    """Two workers of one daemon."""
    daemon, worker = start_daemon()
    with Worker(daemon, address=b"other") as second:
        yield worker, second.ready()


def hand_off(session: object) -> Message:
    """The gateway's word that it says nothing more."""
    session.send(type="handoff-start")  # type: ignore[attr-defined]
    message: Message = session.next()  # type: ignore[attr-defined]
    assert message.type == b"handoff-proceed", message
    return message


def take_over(worker: Worker, id: bytes, seq: int, **fields: object) -> None:
    worker.follow({"from": worker.address, "id": id, "seq": seq, **fields})


def test_a_download_goes_on_at_another_worker(
    other: tuple[Worker, Worker], origin: ScriptedOrigin
) -> None:
    first, second = other

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none")
        connection.wait_for("handed off")
        connection.send(b"two")

    origin.script = script
    session = first.start(id="s", method="GET", uri=origin.url(), stream=True, credits=100)
    while session.body != b"one":
        session.next()
    proceed = hand_off(session)
    origin.let("handed off")
    # Nobody has the session: another worker's packet out of order does not get it.
    take_over(second, b"s", 7, type="keep-alive")
    assert second.next_of(b"s").type == b"cancel"
    first.fence()
    assert not [m for m in first.received if m.id == b"s" and m["seq"] > proceed["seq"]]
    take_over(second, b"s", 2, type="keep-alive")
    rest = second.next_of(b"s")
    assert rest["seq"] == proceed["seq"] + 1
    assert rest.body == b"two"
    assert not rest.get("more")
    # It is over for the first: what it says is of no session any more.
    take_over(first, b"s", 3, type="keep-alive")
    assert first.next_of(b"s").type == b"cancel"


def test_an_upload_goes_on_at_another_worker(
    other: tuple[Worker, Worker], origin: ScriptedOrigin
) -> None:
    first, second = other

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    origin.script = script
    session = first.start(
        id="u", method="POST", uri=origin.url(), stream=True, credits=100, more=True, body="a"
    )
    session.next()
    session.send(type="handoff-start")
    session.skip(b"credit")
    take_over(second, b"u", 2, body="b")
    answer = second.next_of(b"u")
    while answer.type != b"data" or answer.get("more"):
        answer = second.next_of(b"u")
    assert origin.requests[-1].body == b"ab"


def test_a_websocket_goes_on_at_another_worker(
    other: tuple[Worker, Worker], origin: ScriptedOrigin
) -> None:
    first, second = other

    def script(connection: Connection) -> None:
        accept(connection)
        connection.wait_for("handed off")
        connection.send(frame(TEXT, b"for the second"))
        connection.expect_end()

    origin.script = script
    session = first.start(id="w", uri=origin.url("/", "ws"), credits=100)
    assert session.next()["code"] == 101
    hand_off(session)
    origin.let("handed off")
    take_over(second, b"w", 2, type="credit", credits=10)
    assert second.next_of(b"w").body == b"for the second"
    take_over(second, b"w", 3, type="cancel")
    origin.wait_closed()


def test_the_same_worker_may_take_its_session_back(
    other: tuple[Worker, Worker], origin: ScriptedOrigin
) -> None:
    first, _ = other

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.wait_for("handed off")
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    origin.script = script
    session = first.start(method="GET", uri=origin.url(), stream=True, credits=100)
    session.next()
    hand_off(session)
    origin.let("handed off")
    session.send(type="keep-alive")
    assert session.finish()[-1].body == b"hi"


@pytest.mark.parametrize("fields", [{"stream": True, "credits": 9}, {}])
@pytest.mark.parametrize(
    "end", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"garbage\r\n\r\n"]
)
def test_an_end_during_a_handoff_is_reported_to_the_next_worker(
    other: tuple[Worker, Worker], origin: ScriptedOrigin, fields: dict[str, object], end: bytes
) -> None:
    first, second = other

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.wait_for("handed off")
        connection.send(end)
        connection.close()

    origin.script = script
    session = first.start(id="e", method="GET", uri=origin.url(), **fields)
    session.next()
    proceed = hand_off(session)
    origin.let("handed off")
    origin.wait_closed()
    first.fence()
    second.fence()
    take_over(second, b"e", 2, type="keep-alive")
    answer = second.next_of(b"e")
    assert answer["seq"] == proceed["seq"] + 1
    if end.startswith(b"HTTP"):
        assert (answer["code"], answer.body) == (200, b"hi")
    else:
        assert answer["condition"] == b"undefined-condition"
    assert not [m for m in first.received if m.id == b"e" and m["seq"] > proceed["seq"]]
