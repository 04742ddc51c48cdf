"""Origins that send far more frames than others have time for."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import Connection, Daemon, ScriptedOrigin, Worker
from tests.support.websocket import PING, TEXT, accept, frame

Start = Callable[..., tuple[Daemon, Worker]]


def latency(worker: Worker, uri: str, count: int) -> float:
    """The daemon's seconds for each of some requests, and for all else that it does meanwhile.

    Of the processor: the clock would count what others on the machine take as well.
    """
    began = worker.daemon.cpu_seconds()
    for _ in range(count):
        assert worker.request(uri=uri, method="GET")["code"] == 200
    return (worker.daemon.cpu_seconds() - began) / count


def flood(wire: bytes, stop: threading.Event) -> Callable[[Connection], None]:
    """Script: sends the same bytes over and over, and reads what comes back."""

    def script(connection: Connection) -> None:
        accept(connection)
        threading.Thread(target=connection.expect_end, daemon=True).start()
        while not stop.is_set():
            connection.send(wire)

    return script


@pytest.mark.parametrize(
    ("wire", "fields"),
    [
        (frame(PING) * 20_000, {"ext": {"auto-pong": True}}),
        (frame(PING, b"xx") * 10_000, {"credits": 1}),
        (frame(TEXT) * 20_000, {"credits": 1_000_000_000}),
        (frame(TEXT, b"x", fin=False) + frame(0, b"", fin=False) * 20_000, {"credits": 10**9}),
    ],
    ids=["pings answered here", "pings that wait", "empty frames", "empty fragments"],
)
def test_tiny_frames_leave_time_for_others(
    start_daemon: Start, origin: ScriptedOrigin, wire: bytes, fields: dict[str, Any]
) -> None:
    """A read holds 30,000 of them; a turn of the loop takes 32 of each, and half a millisecond."""
    daemon, worker = start_daemon()
    quick = ScriptedOrigin()
    stop = threading.Event()
    origin.script = flood(wire, stop)
    try:
        latency(worker, quick.url("/"), 5)
        sessions = [worker.start(uri=origin.url("/", "ws"), **fields) for _ in range(3)]
        for session in sessions:
            assert session.next()["code"] == 101
        time.sleep(0.3)
        before = daemon.memory()
        assert latency(worker, quick.url("/"), 30) < 0.2
        assert daemon.memory() - before < 50_000_000
        for session in sessions:
            session.cancel()
    finally:
        stop.set()
        quick.close()
