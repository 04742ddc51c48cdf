"""SIGHUP disturbs no request, and SIGTERM loses none that was accepted."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.support import Connection, Daemon, ScriptedOrigin, Worker, wait_until

Start = Callable[..., tuple[Daemon, Worker]]
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def _serve(connection: Connection) -> None:
    while True:
        connection.read_request()
        connection.send(_OK)


class Load(threading.Thread):
    """Keeps a few requests in flight on the request interface, and counts their outcomes.

    Attributes:
        sent, answered: requests, and final answers.
        wrong: answers that were none of 200.
    """

    def __init__(self, daemon: Daemon, uri: str) -> None:
        super().__init__()
        self.worker = Worker(daemon, address=b"load")
        self.uri = uri
        self.sent = self.answered = 0
        self.wrong: list[object] = []
        self.stopped = threading.Event()

    def run(self) -> None:
        worker = self.worker
        while not self.stopped.is_set() or self.answered < self.sent:
            while self.sent - self.answered < 20 and not self.stopped.is_set():
                worker.send_req({"id": b"%d" % self.sent, "method": "GET", "uri": self.uri})
                self.sent += 1
            answer = worker.recv_req()
            self.answered += 1
            if answer.get("code") != 200:
                self.wrong.append(answer)


@contextmanager
def under_load(daemon: Daemon, uri: str) -> Iterator[Load]:
    load = Load(daemon, uri)
    load.start()
    try:
        wait_until(lambda: load.answered > 100, "the first answers")
        yield load
    finally:
        load.stopped.set()
        load.join()
        load.worker.close()


def test_reloads_disturb_no_request(start_daemon: Start, origin: ScriptedOrigin) -> None:
    daemon, _ = start_daemon(arguments=("--loglevel=2",))
    origin.script = _serve
    with under_load(daemon, origin.url()) as load:
        for number in range(5):
            daemon.write_config(timeout=100 + number)
            daemon.signal(signal.SIGHUP)
            wait_until(
                lambda n=number: daemon.log().count("read anew") > n,  # type: ignore[misc]
                "a reload",
            )
        before = load.answered
        wait_until(lambda: load.answered > before + 100, "answers after the reloads")
    assert load.answered == load.sent
    assert not load.wrong


@pytest.mark.parametrize("interface", ["request", "stream"])
def test_a_stop_answers_all_that_was_accepted(
    start_daemon: Start, origin: ScriptedOrigin, interface: str
) -> None:
    daemon, worker = start_daemon(arguments=("--loglevel=2",), drain_timeout=10)
    origin.script = _serve
    for number in range(300):
        request = {"id": b"load-%d" % number, "method": "GET", "uri": origin.url()}
        if interface == "request":
            worker.send_req(request)
        else:
            worker.push({**request, "from": worker.address, "stream": True, "credits": 9})
        if number == 100:
            origin.wait_request(20)
            daemon.signal(signal.SIGTERM)
    answered: set[bytes] = set()
    socket = worker.dealer if interface == "request" else worker.sub

    def read() -> None:
        while socket.poll(100):
            answer = worker.recv_req() if interface == "request" else worker.next()
            assert answer.id is not None
            if answer.type == b"error":  # was in a queue, and is told so
                assert answer["ext"]["error"] == b"stopping"
            elif answer.type == b"data" and answer.is_final:
                answered.add(answer.id)

    while daemon.alive:
        read()
    assert daemon.wait() == 0
    accepted = {id.encode() for id in re.findall(r"IN id=(load-\d+),", daemon.log())}
    assert 0 < len(accepted) <= 300
    # The last ones may still be on their way to us.
    wait_until(lambda: read() or answered >= accepted, f"{len(accepted)} answers")
    assert answered == accepted
