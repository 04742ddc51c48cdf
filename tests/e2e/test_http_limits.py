"""Bounds: open requests, memory, sizes, what strangers may cost us."""

import socket
import threading
import time
from collections.abc import Callable

import pytest

from tests.support import Connection, Daemon, ScriptedOrigin, Worker, reply, wait_until
from tests.support.daemon import cpu_idle

Start = Callable[..., tuple[Daemon, Worker]]
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
_MB = 1_000_000


def _flooding(connection: Connection) -> None:
    """As much body as the peer takes."""
    connection.read_request()
    connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
    block = b"x" * 100_000
    for _ in range(1000):
        connection.send(block)


def test_paused_downloads_keep_memory_bounded(start_daemon: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start_daemon(buffer_size=50_000)
    origin.script = _flooding
    first = worker.start(method="GET", uri=origin.url(), stream=True, credits=1)
    first.skip(b"keep-alive")
    before = daemon.memory()
    sessions = [
        worker.start(method="GET", uri=origin.url(), stream=True, credits=1) for _ in range(40)
    ]
    for session in sessions:
        assert session.skip(b"keep-alive")["code"] == 200
    worker.request(method="GET", uri="x:")
    assert daemon.memory() - before < 40 * 4 * 50_000 + 8 * _MB
    for session in sessions[:5]:
        session.credit(120_000)
        while len(session.body) < 120_001:
            session.next()
    assert all(len(m.body) <= 50_000 for s in sessions for m in s.messages)


def test_upload_to_a_stalled_origin_is_not_granted_more(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    """What the origin does not take is not granted to the worker."""
    daemon, worker = start_daemon(buffer_size=50_000)

    def stalled(connection: Connection) -> None:
        connection.read_head()
        connection.wait_for("read on")
        connection.read_body(connection.origin.requests[-1])
        connection.send(_OK)

    origin.script = stalled
    session = worker.start(method="POST", uri=origin.url(), stream=True, credits=99, more=True)
    total = granted = 0
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < 0.5:
        worker.drain()
        while worker._queues.get(session.id):
            granted += session.next().get("credits", 0)
        if granted:
            session.send(body=b"x" * granted, more=True)
            total, granted, quiet_since = total + granted, 0, time.monotonic()
        else:
            worker.sub.poll(20)
    assert total < 20 * _MB, "the kernel's buffers and ours, not everything"
    assert daemon.memory() < 150 * _MB
    origin.let("read on")
    session.send(body=b"end")
    assert session.finish()[-1].body == b"hi"
    assert len(origin.requests[0].body) == total + 3


def test_a_discarded_answer_is_not_collected(start_daemon: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start_daemon()
    origin.script = reply(_OK, close=True)
    worker.request(method="GET", uri=origin.url())
    before = daemon.memory()
    origin.script = _flooding
    for _ in range(3):
        worker.push({"method": "POST", "uri": origin.url(), "body": "hook"})
    origin.wait_closed(4)
    assert daemon.memory() - before < 20 * _MB


def test_buffered_answer_is_bounded(start_daemon: Start, origin: ScriptedOrigin) -> None:
    _, worker = start_daemon(max_response_size=100_000)
    origin.script = _flooding
    assert worker.request(method="GET", uri=origin.url())["condition"] == b"max-size-exceeded"
    session = worker.start(method="GET", uri=origin.url())
    assert session.finish()[-1]["condition"] == b"max-size-exceeded"


def test_buffered_answer_within_its_bound(start_daemon: Start, origin: ScriptedOrigin) -> None:
    _, worker = start_daemon(max_response_size=100_000)
    origin.script = reply(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000)
    assert len(worker.request(method="GET", uri=origin.url()).body) == 100_000


@pytest.mark.parametrize(("count", "accepted"), [(2000, True), (2001, False)])
def test_header_fields_of_a_request_are_limited(
    worker: Worker, origin: ScriptedOrigin, count: int, accepted: bool
) -> None:
    """libcurl's list takes quadratic time: a hundred thousand held the loop for eight seconds."""
    origin.script = reply(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    headers = [[f"X-{number}", "v"] for number in range(count)]
    answer = worker.request(method="GET", uri=origin.url(), headers=headers)
    if accepted:
        assert answer["code"] == 200
        assert sum(name.startswith(b"X-") for name, _ in origin.requests[-1].headers) == count
    else:
        assert answer["condition"] == b"bad-request"
        assert answer["ext"]["error"] == b"bad-header"
        assert b"2000" in answer["ext"]["detail"]


def test_max_open_requests_pushes_back(start_daemon: Start, origin: ScriptedOrigin) -> None:
    """Requests beyond the limit stay in ZeroMQ's queues and are all served in the end."""
    _, worker = start_daemon(max_open_requests=5)

    def gated(connection: Connection) -> None:
        while True:
            connection.read_request()
            connection.wait_for("answer")
            connection.send(_OK)

    origin.script = gated
    sessions = [
        worker.start(method="GET", uri=origin.url(), stream=True, credits=9) for _ in range(30)
    ]
    for _ in range(10):
        worker.send_req({"method": "GET", "uri": origin.url()})
    origin.wait_request(5)
    # follow-ups are read all the same: the answer shows that the daemon has gone on turning
    worker.follow({"from": worker.address, "id": "unknown", "type": "keep-alive"})
    assert worker.next_of(b"unknown").type == b"cancel"
    assert len(origin.requests) == 5
    origin.let("answer")
    assert all(session.finish()[-1].body == b"hi" for session in sessions)
    assert all(worker.recv_req()["code"] == 200 for _ in range(10))


class _Holding:
    """An origin that answers thousands of connections at once, when the test says so."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.listener.getsockname()[1]
        self.held: list[socket.socket] = []
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self) -> None:
        while True:
            try:
                self.held.append(self.listener.accept()[0])
            except OSError:
                return

    def answer(self) -> None:
        for sock in self.held:
            sock.recv(65536)
            sock.sendall(_OK)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in self.held:
            sock.close()


def test_thousands_of_open_requests(start_daemon: Start) -> None:
    """Each waits at little cost, and all are answered."""
    count = 2000
    daemon, worker = start_daemon(arguments=("--loglevel=1",), max_open_requests=10_000)
    holding = _Holding()
    try:
        before = daemon.memory()
        for number in range(count):
            worker.send_req(
                {"method": "GET", "uri": f"http://127.0.0.1:{holding.port}/", "id": str(number)}
            )
        wait_until(lambda: len(holding.held) == count, "all are connected", 60)
        assert daemon.memory() - before < count * 40_000
        wait_until(
            lambda: cpu_idle(daemon, 0.5) < 0.4, "all is sent, and waiting costs nothing", 60
        )
        holding.answer()
        ids = {worker.recv_req().id for _ in range(count)}
        assert len(ids) == count
    finally:
        holding.close()


def test_flood_of_bad_messages(start_daemon: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start_daemon(arguments=("--loglevel=1",))
    origin.script = reply(_OK)
    worker.request(method="GET", uri=origin.url())
    before = daemon.memory()
    for number in range(20_000):
        worker.push(b"T%d:x" % number)
        worker.follow(b"J{")
        if number % 100 == 0:
            assert worker.request(method="GET", uri=origin.url())["code"] == 200
    worker.fence(60)
    assert daemon.alive
    assert daemon.memory() - before < 30 * _MB


def test_a_worker_that_does_not_read_does_not_delay_others(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    daemon, worker = start_daemon(out_hwm=10)
    origin.script = reply(_OK)
    with Worker(daemon, address=b"lazy", hwm=1) as lazy:
        lazy.ready()
        body = b"x" * 100_000
        for number in range(300):
            lazy.push(
                {"from": "lazy", "id": str(number), "method": "GET", "uri": "x:", "user-data": body}
            )
        daemon.wait_log("is slow")
        for _ in range(20):
            session = worker.start(method="GET", uri=origin.url(), stream=True, credits=9)
            assert session.finish()[-1].body == b"hi"
        got = {lazy.next().id for _ in range(300)}  # nothing is lost, either
        assert len(got) == 300


def test_descriptors_and_memory_come_back(start_daemon: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start_daemon(arguments=("--loglevel=1",), connection_max_time=1)
    origin.script = reply(_OK)

    def rounds(count: int) -> None:
        for _ in range(count):
            for _ in range(20):
                worker.send_req({"method": "GET", "uri": origin.url()})
            for _ in range(20):
                assert worker.recv_req()["code"] == 200

    rounds(25)
    before = daemon.memory()
    rounds(100)
    assert daemon.memory() - before < 4 * _MB


@pytest.mark.parametrize("size", [0, 1, 49_999, 50_000, 50_001, 300_000])
def test_bodies_around_the_buffer_size(
    start_daemon: Start, origin: ScriptedOrigin, size: int
) -> None:
    _, worker = start_daemon(buffer_size=50_000)
    content = bytes(range(256)) * (size // 256 + 1)
    origin.script = reply(
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, content[:size])
    )
    session = worker.start(method="GET", uri=origin.url(), stream=True, credits=50_000)
    while not (session.messages and session.messages[-1].is_final):
        message = session.next()
        assert len(message.body) <= 50_000
        if message.body and not message.is_final:
            session.credit(len(message.body) + 1)
    assert session.body == content[:size]
