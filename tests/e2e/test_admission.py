"""Which requests begin when there is not room for all, and which packets flow control sends."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from tests.support import Connection, Daemon, ScriptedOrigin, Worker, reply, wait_until

Start = Callable[..., tuple[Daemon, Worker]]
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def _tarpit(connection: Connection) -> None:
    """Answers what asks for /quick, and nothing else."""
    while True:
        request = connection.read_request()
        if b"/quick" not in request.line:
            connection.wait_for("the end")
        connection.send(_OK)


def test_one_worker_s_tarpit_does_not_stop_the_others(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    daemon, greedy = start_daemon(max_open_requests=10)
    origin.script = _tarpit
    for _ in range(60):
        greedy.start(method="GET", uri=origin.url("/tarpit"), stream=True, credits=9)
    origin.wait_request(8)
    with Worker(daemon, address=b"other") as other:
        other.ready()
        for number in range(20):
            began = time.monotonic()
            session = other.start(method="GET", uri=origin.url("/quick"), stream=True, credits=9)
            assert session.finish()[-1].body == b"hi"
            assert time.monotonic() - began < 10, number
            assert other.request(method="GET", uri=origin.url("/quick"))["code"] == 200
    assert sum(b"/tarpit" in request.line for request in origin.requests) < 10
    origin.let("the end")


def test_requests_that_waited_for_their_worker_s_share_are_all_answered(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    _, worker = start_daemon(max_open_requests=10, max_requests_per_client=3)
    origin.script = _tarpit
    sessions = [
        worker.start(method="GET", uri=origin.url(), stream=True, credits=9) for _ in range(40)
    ]
    origin.wait_request(3)
    worker.follow({"from": worker.address, "id": "unknown", "type": "keep-alive"})
    assert worker.next_of(b"unknown", timeout=10).type == b"cancel"
    assert len(origin.requests) == 3
    # One that waits can be cancelled, and times out as if it had begun.
    sessions[30].cancel()
    late = worker.start(method="GET", uri=origin.url(), stream=True, credits=9, timeout=300)
    error = late.finish()[-1]
    assert error["condition"] == b"session-timeout"
    assert error["ext"]["error"] == b"total-timeout"
    origin.let("the end")
    for number, session in enumerate(sessions):
        if number != 30:
            assert session.finish()[-1].body == b"hi"
    assert len(origin.requests) == 39


def test_the_request_interface_does_not_wait_behind_the_streaming_one(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    """Slots become free one by one, and both interfaces have requests waiting for them."""
    _, worker = start_daemon(max_open_requests=2)

    def slow(connection: Connection) -> None:
        while True:
            connection.read_request()
            connection.wait_for("all are sent")
            time.sleep(0.02)
            connection.send(_OK)

    origin.script = slow
    for number in range(200):
        worker.push({"from": worker.address, "id": f"s{number}", "method": "GET",
                     "uri": origin.url("/stream")})  # fmt: skip
    origin.wait_request(2)
    for _ in range(5):
        worker.send_req({"method": "GET", "uri": origin.url("/request")})
    origin.let("all are sent")
    for _ in range(5):
        assert worker.recv_req()["code"] == 200
    served = [b"/request" in request.line for request in origin.requests]
    assert sum(served) == 5
    assert len(served) < 100  # and not all of the two hundred first


def test_a_cancel_without_address_ends_no_session(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    daemon, worker = start_daemon()
    origin.script = _tarpit
    session = worker.start(id="mine", method="GET", uri=origin.url(), stream=True, credits=9)
    origin.wait_request(1)
    with Worker(daemon, address=b"other") as other:
        other.ready()
        for fields in ({"type": "cancel"}, {"type": "cancel", "seq": 1}, {"seq": 5, "body": "x"}):
            other.follow({"id": "mine", **fields})
        other.fence()
    origin.let("the end")
    assert session.finish()[-1].body == b"hi"


def test_a_download_comes_in_worthwhile_packets(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    """The worker gives back what it gets, and the origin is faster than that."""
    size = 20_000_000
    _, worker = start_daemon()
    origin.script = reply(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
    session = worker.start(method="GET", uri=origin.url(), stream=True, credits=200_000)
    sizes: list[int] = []
    while True:
        message = session.next()
        if message.type == b"data":
            sizes.append(len(message.body))
            if message.is_final:
                break
            session.credit(len(message.body))
    assert sum(sizes) == size
    assert len(sizes) < 400  # of 50 kB on average
    assert sum(size < 10_000 for size in sizes) < 40


def test_a_trickle_to_a_slow_worker_is_bounded_and_whole(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    """Credits count bytes; a thousand small chunks would be as many packets that wait."""
    daemon, worker = start_daemon(worker={"hwm": 5}, out_hwm=5)
    enough = origin.gate("enough")
    sent = 0

    def trickle(connection: Connection) -> None:
        nonlocal sent
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not enough.wait(0.0002):
            connection.send(b"1\r\nx\r\n")
            sent += 1
        connection.send(b"0\r\n\r\n")

    origin.script = trickle
    session = worker.start(method="GET", uri=origin.url(), stream=True, credits=1_000_000)
    daemon.wait_log("its packets wait")
    origin.let("enough")
    session.finish()
    assert session.body == b"x" * sent
    assert "dropping packets" not in daemon.log()


def test_a_stop_answers_every_request(start_daemon: Start, origin: ScriptedOrigin) -> None:
    """Those that were never begun, too: they would be lost with the sockets."""
    daemon, worker = start_daemon(max_open_requests=2, drain_timeout=3)
    origin.script = _tarpit
    sessions = [
        worker.start(method="GET", uri=origin.url(), stream=True, credits=9) for _ in range(150)
    ]
    for number in range(150):
        worker.send_req({"id": f"r{number}", "method": "GET", "uri": origin.url()})
    origin.wait_request(2)
    daemon.signal(signal.SIGTERM)
    finals = [session.finish()[-1] for session in sessions]
    finals += [worker.recv_req() for _ in range(150)]
    assert {final["ext"]["error"] for final in finals} == {b"stopping"}
    assert daemon.wait() == 0
    assert len(origin.requests) == 2


def test_a_stop_under_load_loses_no_answer(start_daemon: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start_daemon(drain_timeout=20)

    def slow(connection: Connection) -> None:
        while True:
            connection.read_request()
            time.sleep(0.2)
            connection.send(_OK)

    origin.script = slow
    sessions = [
        worker.start(method="GET", uri=origin.url(), stream=True, credits=9) for _ in range(60)
    ]
    for _ in range(60):
        worker.send_req({"method": "GET", "uri": origin.url()})
    origin.wait_request(20)
    daemon.signal(signal.SIGTERM)
    finals = [session.finish()[-1] for session in sessions]
    finals += [worker.recv_req() for _ in range(60)]
    answered = [final for final in finals if final.type == b"data"]
    assert all(final["ext"]["error"] == b"stopping" for final in finals if final not in answered)
    assert len(answered) == len(origin.requests)
    assert daemon.wait() == 0


def test_bodies_held_in_all_are_bounded(start_daemon: Start, origin: ScriptedOrigin) -> None:
    _, worker = start_daemon(max_memory=2_000_000)

    def large(connection: Connection) -> None:
        while True:
            request = connection.read_request()
            if b"/small" in request.line:
                connection.send(_OK)
            else:
                connection.send(
                    b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n" + bytes(400_000)
                )

    origin.script = large
    sessions = [
        worker.start(method="GET", uri=origin.url("/large"), stream=True, credits=1)
        for _ in range(20)
    ]
    for session in sessions:
        session.skip(b"keep-alive")
    took, answer = 0.0, None
    while answer is None or answer.get("code") == 200:  # the sum is made from time to time
        began = time.monotonic()
        answer = worker.request(method="GET", uri=origin.url("/small"))
        took = time.monotonic() - began
    assert took > 2  # it waited for room first
    assert answer["condition"] == b"undefined-condition"
    assert answer["ext"]["error"] == b"max-memory"
    # What is under way goes on, and when there is room again new requests are served.
    for session in sessions:
        session.credit(400_000)
    for session in sessions:
        session.finish()
        assert len(session.body) == 400_000
    wait_until(
        lambda: worker.request(method="GET", uri=origin.url("/small")).get("code") == 200, "room"
    )
