"""How large a worker's message may be."""

from __future__ import annotations

from collections.abc import Callable

from tests.support import Daemon, ScriptedOrigin, Worker, reply
from tests.support.messages import encode

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def test_a_message_that_is_too_large_costs_nothing(
    start_daemon: Callable[..., tuple[Daemon, Worker]], origin: ScriptedOrigin
) -> None:
    daemon, worker = start_daemon(max_message_size=100_000)
    origin.script = reply(_OK)
    request = {"id": "1", "method": "POST", "uri": origin.url(), "body": b"x" * 90_000}
    worker.send_req(request)
    assert worker.recv_req()["code"] == 200
    before = daemon.memory()
    large = encode({**request, "body": b"x" * 50_000_000}, "T")
    worker.send_req(large)
    # The connection is closed, which the worker's socket makes anew.
    other = Worker(daemon, address=b"other").ready()
    other.send_req(request)
    assert other.recv_req()["code"] == 200
    other.close()
    worker.send_req(request)
    assert worker.recv_req()["code"] == 200
    assert len(origin.requests) == 3
    assert daemon.memory() - before < 20_000_000
