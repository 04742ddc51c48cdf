"""Receivers that subscribed to what is meant for others, and hang."""

from __future__ import annotations

import time
from collections.abc import Callable

import zmq

from tests.support import DEADLINE, Daemon, Worker, wait_until

Start = Callable[..., tuple[Daemon, Worker]]
_PACKETS = 1500
_AT_ONCE = 50  # fewer than out_hwm: the worker itself is never slow
_PADDING = "x" * 2000  # so that what the kernel holds is not worth mentioning


def _onlooker(worker: Worker, daemon: Daemon, topic: bytes) -> zmq.Socket[bytes]:
    sub = worker.context.socket(zmq.SUB)
    sub.linger = 0
    sub.set_hwm(10)
    sub.subscribe(topic)
    sub.connect(daemon.endpoints["out_spec"])
    wait_until(lambda: _answers(worker, 1) and sub.poll(50), "the subscription to hold")
    return sub


def _answers(worker: Worker, count: int) -> float:
    """Seconds that so many small requests and their answers take."""
    start = time.monotonic()
    for first in range(0, count, _AT_ONCE):
        numbers = range(first, min(first + _AT_ONCE, count))
        for number in numbers:
            worker.push({"from": worker.address, "id": b"%d" % number, "user-data": _PADDING})
        for number in numbers:
            assert worker.next_of(b"%d" % number).get("condition") == b"bad-request"
    return time.monotonic() - start


def test_an_onlooker_that_hangs_delays_no_worker(start_daemon: Start) -> None:
    daemon, worker = start_daemon(interfaces=("stream",), out_hwm=100)
    alone = _answers(worker, _PACKETS)
    everything, some = (_onlooker(worker, daemon, topic) for topic in (b"", b"work"))
    assert _answers(worker, _PACKETS) < 3 * alone + 10
    second = Worker(daemon, address=b"worker-2").ready()
    assert _answers(second, _PACKETS) < 3 * alone + 10
    second.close()
    daemon.wait_log("subscribed to more than one worker's packets does not read them")
    assert "slow" not in daemon.log()
    # When they read again, they get what comes from then on.
    for sub in (everything, some):
        while sub.poll(200):
            sub.recv()
    worker.push({"from": worker.address, "id": b"from then on"})
    assert worker.next_of(b"from then on").get("condition") == b"bad-request"
    for sub in (everything, some):
        while sub.poll(int(DEADLINE * 1000)):
            if b"from then on" in sub.recv():
                break
        else:
            raise AssertionError("it got nothing more")


def test_a_worker_that_is_slow_loses_nothing_because_of_an_onlooker(start_daemon: Start) -> None:
    settings = {"interfaces": ("stream",), "out_hwm": 100}
    daemon, worker = start_daemon(worker={"hwm": 10}, **settings)
    onlooker = _onlooker(worker, daemon, b"")
    for number in range(_PACKETS):
        worker.push({"from": worker.address, "id": b"%d" % number, "user-data": _PADDING})
    daemon.wait_log("the worker 'worker' is slow")
    seen = 0
    while onlooker.poll(500):
        seen += onlooker.recv().startswith(b"worker ")
    assert seen < _PACKETS  # it is held up, and not passed over
    for number in range(_PACKETS):
        assert worker.next_of(b"%d" % number).get("condition") == b"bad-request"


def test_a_subscription_behind_the_address_gets_the_first_packet_at_once(
    start_daemon: Start,
) -> None:
    daemon, worker = start_daemon(interfaces=("stream",))
    sub = worker.context.socket(zmq.SUB)
    sub.linger = 0
    sub.subscribe(b"narrow T")
    sub.connect(daemon.endpoints["out_spec"])
    request = {"from": "narrow", "id": "1", "seq": 0, "method": "GET", "uri": "x:"}
    start = time.monotonic()
    worker.push(request)
    assert sub.poll(10_000)
    assert time.monotonic() - start < 2  # who has not subscribed is waited for for 3 s
    assert sub.recv().startswith(b"narrow T")
