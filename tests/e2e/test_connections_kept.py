"""Kept connections that their origin gives up: no request is lost on one, none stays."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable

import pytest

from tests.support import Connection, Daemon, ScriptedOrigin, Worker, wait_until

Start = Callable[..., tuple[Daemon, Worker]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def answer_once(connection: Connection) -> None:
    """One answer, then the end, although the answer does not say so."""
    connection.read_request()
    connection.send(OK)


def settle(origin: ScriptedOrigin, count: int) -> None:
    """Waits until connections have ended, and a little for their ends to arrive."""
    origin.wait_closed(count)
    time.sleep(0.02)  # on loopback that is long, and less only makes the test easier to pass


@pytest.mark.parametrize("count", [20])
def test_whole_requests_go_by_new_connections(
    worker: Worker, origin: ScriptedOrigin, count: int
) -> None:
    origin.script = answer_once
    for number in range(count):
        answer = worker.request(method="POST" if number % 2 else "GET", uri=origin.url(), body="")
        assert answer.get("code") == 200, answer
        settle(origin, number + 1)


def test_many_requests_after_many_connections_were_lost(
    worker: Worker, origin: ScriptedOrigin
) -> None:
    """libcurl gives up where five connections in a row are dead."""
    origin.script = answer_once
    for turn in range(3):
        for number in range(30):
            worker.send_req({"method": "GET", "uri": origin.url(), "id": f"{number}"})
        codes = [worker.recv_req().get("code") for _ in range(30)]
        assert codes == [200] * 30
        settle(origin, 30 * (turn + 1))


@pytest.mark.parametrize("body", ["", "three parts", "x" * 100_000])
@pytest.mark.parametrize("length", [True, False])
def test_uploads_go_by_new_connections(
    worker: Worker, origin: ScriptedOrigin, body: str, length: bool
) -> None:
    origin.script = answer_once
    headers = [["Content-Length", str(len(body))]] if length else []
    for number in range(4):
        session = worker.start(
            method="POST", uri=origin.url(), stream=True, credits=999, more=True, headers=headers
        )
        session.send(body=body)
        answers = session.finish()
        assert answers[-1].type == b"data", (answers, worker.daemon.log()[-3000:])
        settle(origin, number + 1)
    assert [request.body.decode() for request in origin.requests] == [body] * 4


def test_an_upload_whose_connection_dies_under_it_is_sent_again(
    worker: Worker, origin: ScriptedOrigin
) -> None:
    """The connection is there when the request starts, and is reset while its body is sent."""

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(OK)
        if connection.number == 0:
            request = connection.read_head()
            connection.read_until(b"one")
            del connection.origin.requests[-1]
            assert request.framing == "chunked"
            connection.reset()
        else:
            connection.expect_end()

    origin.script = script
    worker.request(method="GET", uri=origin.url())
    session = worker.start(
        method="PUT", uri=origin.url(), stream=True, credits=999, more=True, body="one"
    )
    origin.wait_closed(1)
    session.next()
    session.send(body="two")
    assert session.finish()[-1].type == b"data"
    assert origin.requests[-1].body == b"onetwo"
    assert origin.connections == 2


def test_a_new_connection_that_is_reset_is_not_tried_again(
    worker: Worker, origin: ScriptedOrigin
) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.reset()

    origin.script = script
    answer = worker.request(method="GET", uri=origin.url())
    assert answer.get("condition") == b"undefined-condition"
    assert origin.connections == 1


@pytest.mark.parametrize("delay", [0.0, 0.05])
@pytest.mark.parametrize("stray", [TIMEOUT, b"x", OK * 2])
@pytest.mark.parametrize("stays", [True, False])
def test_unsolicited_bytes_are_no_answer(
    worker: Worker, origin: ScriptedOrigin, delay: float, stray: bytes, stays: bool
) -> None:
    said = threading.Event()

    def script(connection: Connection) -> None:
        request = connection.read_request()
        connection.send(OK)
        if connection.number == 0:
            time.sleep(delay)
            connection.send(stray)
            said.set()
            if stays:
                connection.expect_end()
        elif b"/second" in request.line:
            connection.expect_end()

    origin.script = script
    assert worker.request(method="GET", uri=origin.url()).body == b"hi"
    assert said.wait(10)
    time.sleep(0.02)
    answer = worker.request(method="GET", uri=origin.url("/second"))
    assert (answer.get("code"), answer.body) == (200, b"hi")
    assert origin.connections == 2


def test_dead_connections_are_closed_without_a_request(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    """In time, and in all multi handles: what is busy is beyond what one of these takes."""
    count = 300

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.wait_for("answer")
        connection.send(OK)

    origin.script = script
    daemon, worker = start_daemon()
    before = descriptors(daemon)
    for number in range(count):
        worker.send_req({"method": "GET", "uri": origin.url(), "id": f"{number}"})
    wait_until(lambda: len(origin.requests) == count, "all requests are there")
    origin.let("answer")
    assert [worker.recv_req().get("code") for _ in range(count)] == [200] * count
    wait_until(lambda: descriptors(daemon) < before + 20, "dead connections are closed")


def descriptors(daemon: Daemon) -> int:
    """How many descriptors the daemon has open."""
    assert daemon.process is not None
    return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))


def test_sockets_are_identified_by_their_local_address() -> None:
    """A descriptor that is used again is not the connection that was dead."""
    from zurl_py.egress.kept_connections import KeptConnections

    lost: list[str] = []
    kept = KeptConnections(lost.append)
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        kept.hosts[one.fileno()] = "name.test"
        server.accept()[0].close()
        wait_until(lambda: kept.signalled(one.fileno()), "its end is seen")
        assert lost[-1] == "name.test"
        kept.forget_closed()
        assert list(kept.dead) == [one.getsockname()]
        # Closed and opened in one, or another thread might be given the descriptor.
        with socket.create_connection(server.getsockname()) as other:
            os.dup2(other.fileno(), one.fileno())
        kept.forget_closed()
        assert not kept.dead
        one.close()
