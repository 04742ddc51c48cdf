"""A session goes from one worker to another (RFC 33: handoff-start, handoff-proceed)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.operators.asking import metrics
from tests.support import Connection, Daemon, Message, ScriptedOrigin, Worker, free_port, wait_until
from tests.support.websocket import CLOSE, TEXT, accept, frame, read_frame

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


def answers_during_the_handoff(connection: Connection) -> None:
    connection.read_request()
    connection.wait_for("handed off")
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")


def breaks_off_after_the_timeout(connection: Connection) -> None:
    connection.read_request()
    connection.wait_for("timed out")


def waits_for_the_end(connection: Connection) -> None:
    connection.read_request()
    connection.expect_end()


def closes_and_hangs_up(connection: Connection) -> None:
    accept(connection)
    read_frame(connection)  # the worker's close
    connection.wait_for("handed off")
    connection.send(frame(CLOSE, b"\x03\xe8"))
    connection.close()


@pytest.mark.parametrize("then", ["keep-alive", "cancel", "out of sequence", "stop"])
@pytest.mark.parametrize(
    "script", [answers_during_the_handoff, breaks_off_after_the_timeout, closes_and_hangs_up]
)
def test_a_request_that_ends_during_a_handoff_is_counted_once(
    start_daemon: Start, origin: ScriptedOrigin, script: Callable[[Connection], None], then: str
) -> None:
    """Whatever becomes of its last packet."""
    daemon, worker = start_daemon(metrics_listen=f"127.0.0.1:{free_port()}")

    def ends() -> int:
        return sum("OUT " in line and " id=s1 " in line for line in daemon.log().splitlines())

    origin.script = script
    if script is closes_and_hangs_up:
        session = worker.start(id="s1", uri=origin.url("/", "ws"), credits=100)
        session.next()
        session.send(type="close", code=1000)
    else:
        timeout = 300 if script is breaks_off_after_the_timeout else 10_000
        session = worker.start(id="s1", method="GET", uri=origin.url(), timeout=timeout)
        session.next()
    hand_off(session)
    origin.let("handed off")
    wait_until(ends, "its end")
    origin.let("timed out")
    if script is not answers_during_the_handoff:
        origin.wait_closed()
    if then == "out of sequence":
        session.send(type="keep-alive", seq=99)
        assert session.next().type == b"cancel"
    elif then == "keep-alive":
        session.send(type="keep-alive")
        assert session.next().type in (b"data", b"error", b"close")
    elif then == "cancel":
        session.cancel()
    worker.fence()
    assert metrics(daemon).sum("zurl_sessions_open") == 0
    daemon.stop()
    assert ends() == 1


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"type": "keep-alive", "seq": 9}, {"type": b"cancel"}),
        ({"body": b"after the end"}, {"type": b"error", "condition": b"bad-request"}),
    ],
)
def test_a_packet_that_breaks_the_protocol_is_answered_at_once_during_a_handoff(
    other: tuple[Worker, Worker],
    origin: ScriptedOrigin,
    fields: dict[str, object],
    answer: dict[str, object],
) -> None:
    first, _ = other
    origin.script = waits_for_the_end
    session = first.start(method="GET", uri=origin.url())
    session.next()
    hand_off(session)
    session.send(**fields)
    last = session.next()
    assert {key: last.get(key) for key in answer} == answer, last
    origin.wait_closed()  # and its request is over


def test_the_next_worker_closes_a_websocket_that_the_origin_has_closed(
    other: tuple[Worker, Worker], origin: ScriptedOrigin
) -> None:
    first, second = other

    def script(connection: Connection) -> None:
        accept(connection)
        connection.wait_for("handed off")
        connection.send(frame(CLOSE, b"\x03\xe8"))
        connection.close()

    origin.script = script
    session = first.start(id="w", uri=origin.url("/", "ws"), credits=100)
    session.next()
    hand_off(session)
    origin.let("handed off")
    first.daemon.wait_log("id=w condition=")  # the connection's end
    take_over(second, b"w", 2, type="close", code=1000)
    assert second.next_of(b"w").type == b"close"
    second.fence()
    assert [m.type for m in second.received if m.id == b"w"] == [b"close"]
    assert "Traceback" not in first.daemon.log()
