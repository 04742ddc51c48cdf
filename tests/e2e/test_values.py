"""Values that a worker may send and that are beyond what we, or libcurl, can hold."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.support import DEADLINE, Connection, Daemon, ScriptedOrigin, Worker, reply, wait_until

Start = Callable[..., tuple[Daemon, Worker]]

HUGE = 10**30
BUG = "Traceback"


def test_a_max_size_beyond_64_bits_stops_nobody(
    worker: Worker, shared_daemon: Daemon, origin: ScriptedOrigin
) -> None:
    uri = origin.url(host="localhost")  # a name: others may wait for its look-up
    origin.script = reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    answer = worker.request(method="GET", uri=uri, max_size=HUGE)
    assert answer.get("code") == 200 or answer.get("condition") == b"bad-request"
    assert worker.request(method="GET", uri=uri, timeout_=10_000).get("code") == 200
    assert BUG not in shared_daemon.log()


@pytest.mark.parametrize("field", ["timeout_", "credits", "seq", "code", "connect_port"])
@pytest.mark.parametrize(
    "value", [10**400, -(10**400), HUGE, -HUGE], ids=["400", "-400", "30", "-30"]
)
def test_numbers_of_any_size_are_no_bug(
    start_daemon_once: tuple[Daemon, Worker], origin: ScriptedOrigin, field: str, value: int
) -> None:
    daemon, worker = start_daemon_once
    before = len(daemon.log())
    answer = worker.request(method="GET", uri=origin.url(), **{field: value})  # type: ignore[arg-type]
    assert answer.get("code") == 200 or answer.get("condition") in (
        b"bad-request",
        b"session-timeout",
    )
    assert BUG not in daemon.log()[before:]


@pytest.fixture(scope="module")
def start_daemon_once() -> Iterator[tuple[Daemon, Worker]]:
    daemon = Daemon(interfaces=("req",)).start()
    worker = Worker(daemon)
    try:
        yield daemon, worker.ready()
    finally:
        worker.close()
        daemon.close()


def nested(format: str, depth: int) -> bytes:
    """user-data of lists in lists."""
    if format == "J":
        return b"[" * depth + b"]" * depth
    data = b"0:]"
    for _ in range(depth):
        data = b"%d:%b]" % (len(data), data)
    return data


@pytest.mark.parametrize("format", ["J", "T"])
def test_user_data_nested_to_any_depth_is_answered(
    start_daemon: Start, origin: ScriptedOrigin, format: str
) -> None:
    daemon, worker = start_daemon(interfaces=("req",))
    depths = range(940, 1000) if format == "J" else range(440, 520)
    for depth in depths:
        data = nested(format, depth)
        if format == "J":
            message = b'J{"id":"%d","user-data":%b}' % (depth, data)
        else:
            fields = b"2:id,%d:%d,9:user-data,%b" % (len(str(depth)), depth, data)
            message = b"T%d:%b}" % (len(fields), fields)
        worker.send_req(message)
    end = time.monotonic() + DEADLINE
    answers = 0
    while answers < len(depths) and worker.dealer.poll(
        max(0, int(1000 * (end - time.monotonic())))
    ):
        worker.dealer.recv_multipart()
        answers += 1
    assert answers == len(depths)
    assert BUG not in daemon.log()


def test_user_data_nested_to_any_depth_leaves_no_session_behind(start_daemon: Start) -> None:
    """Ids stay in use, and places taken, where a session does not come to its end."""
    daemon, worker = start_daemon(interfaces=("stream",), max_open_requests=3)
    for depth in range(940, 1000):
        data = nested("J", depth)
        worker.push(
            b'J{"from":"worker","id":"%d","method":"GET","uri":"x-none:","user-data":%b}'
            % (depth, data)
        )
    worker.push({"from": "worker", "id": "the-last", "method": "GET", "uri": "x-none:"})
    # Read as they are: the tests' own JSON library does not go as deep.
    while worker.sub.poll(int(DEADLINE * 1000)):
        if b"the-last" in worker.sub.recv():
            return
    raise AssertionError(f"no answer after {daemon.log().count('IN id=')} sessions")


def test_a_head_request_with_a_body_never_leaves(worker: Worker, origin: ScriptedOrigin) -> None:
    """Not even where a connection is there to send it at once."""
    uri = origin.url()
    assert worker.request(method="GET", uri=uri).get("code") == 200
    for _ in range(5):
        session = worker.start(method="HEAD", uri=uri, more=True, stream=True, credits=100)
        session.next()
        session.send(body="x")
        assert session.finish()[-1].get("condition") == b"content-not-allowed"
    assert worker.request(method="GET", uri=uri).get("code") == 200
    assert [request.line[:4] for request in origin.requests] == [b"GET ", b"GET "]


def test_interim_heads_without_end_do_not_stop_the_daemon(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    daemon, worker = start_daemon()

    def flood(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 103\r\n\r\n" * 3000)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    origin.script = flood
    before = daemon.cpu_seconds()
    session = worker.start(method="GET", uri=origin.url(), stream=True, credits=100)
    assert session.skip(b"keep-alive", timeout=DEADLINE).get("code") == 200
    assert daemon.cpu_seconds() - before < 1.0  # of 50 kB


def test_a_download_that_nobody_waits_for_is_activity(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    """Fire and forget: the body goes nowhere, but it comes."""
    pieces = 22

    def trickle(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % pieces)
        for _ in range(pieces):
            connection.send(b"x")
            if connection.origin.gate("stop").wait(0.2):
                return

    origin.script = trickle
    daemon, worker = start_daemon(timeout=3, interfaces=("stream",))
    worker.push({"method": "GET", "uri": origin.url()})
    wait_until(lambda: "OUT " in daemon.log().partition("IN id=-")[2], "an end in the log")
    assert "session-timeout" not in daemon.log()
