"""Crash by crash: what was acknowledged is not lost, and a repeat is a duplicate."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Callable

import pytest

from tests.e2e.delivery.process import Deliver
from tests.e2e.delivery.receiver import Receiver, Reply
from tests.support.deadline import wait_until

Start = Callable[..., Deliver]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def store_kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


def test_killed_with_deliveries_pending(start_deliver: Start, receiver: Receiver) -> None:
    deliver = start_deliver(schedule="0,1,1")
    worker = deliver.worker()
    receiver.reply = lambda _hook: Reply(503)
    ids = [worker.deliver(uri=receiver.url(), id=f"m-{number}") for number in range(50)]
    deliver.kill()
    receiver.reply = lambda _hook: Reply()
    deliver.start()
    for id in ids:
        worker.wait_state(id, "done")
    # The repeat of what was acknowledged before the crash is known.
    answer = worker.ask("deliver", uri=receiver.url(), body="{}", id=ids[0])
    assert answer == {"type": "accepted", "id": ids[0], "duplicate": True}


def test_killed_in_flight_goes_again_with_the_same_id(
    start_deliver: Start, receiver: Receiver
) -> None:
    deliver = start_deliver()
    worker = deliver.worker()
    waits = itertools.chain([Reply(wait=1.5)], itertools.repeat(Reply()))
    receiver.reply = lambda _hook: next(waits)
    id = worker.deliver(uri=receiver.url())
    receiver.wait_for(id)
    deliver.kill()
    deliver.start()
    worker.wait_state(id, "done")
    first, second = receiver.of(id)
    assert first.body == second.body


def test_held_and_retries_survive_a_restart(start_deliver: Start, receiver: Receiver) -> None:
    deliver = start_deliver(schedule="0,3")
    worker = deliver.worker()
    receiver.reply = lambda _hook: Reply(503, {"Retry-After": "3"})
    worker.put("busy", receiver.url("/busy"))
    worker.put("gone", receiver.url("/gone"))
    busy = worker.deliver(endpoint="busy")
    wait_until(lambda: worker.delivery(busy)["attempts"], "the first attempt")
    began = receiver.webhooks[0].time
    assert worker.ask("endpoint-disable", endpoint="gone")["type"] == "ok"
    held = worker.deliver(endpoint="gone")
    later = worker.deliver(uri=receiver.url("/later"), not_before=began + 3)
    deliver.kill()
    deliver.start()
    receiver.reply = lambda _hook: Reply()
    other = worker.deliver(endpoint="busy")
    assert worker.state(held) == "held"
    worker.wait_state(other, "done")
    worker.wait_state(busy, "done")
    worker.wait_state(later, "done")
    assert all(hook.time - began >= 2.4 for hook in receiver.webhooks[1:])
    assert len(worker.delivery(busy)["attempts"]) == 2
    assert receiver.ids("/gone") == []


def test_stop_lets_attempts_finish(start_deliver: Start, receiver: Receiver) -> None:
    deliver = start_deliver()
    worker = deliver.worker()
    receiver.reply = lambda _hook: Reply(wait=1.0)
    id = worker.deliver(uri=receiver.url())
    receiver.wait_for(id)
    assert deliver.stop() == 0
    deliver.start()
    assert worker.wait_state(id, "done")
    assert len(receiver.of(id)) == 1


def test_stop_gives_back_what_takes_too_long(start_deliver: Start, receiver: Receiver) -> None:
    deliver = start_deliver()
    worker = deliver.worker()
    waits = itertools.chain([Reply(wait=12)], itertools.repeat(Reply()))
    receiver.reply = lambda _hook: next(waits)
    worker.put("slow", receiver.url(), timeout=30_000, schedule=[0])
    id = worker.deliver(endpoint="slow")
    receiver.wait_for(id)
    began = time.monotonic()
    assert deliver.stop(10.0) == 0
    assert time.monotonic() - began < 10.0
    deliver.start()
    shown = worker.wait_state(id, "done")
    assert len(shown["attempts"]) == 1


def test_gateway_that_hangs_is_not_charged(start_deliver: Start, receiver: Receiver) -> None:
    from tests.support import Daemon

    with Daemon(interfaces=("req",)) as gateway:
        deliver = start_deliver(gateway=str(gateway.config_path), schedule="0")
        worker = deliver.worker()
        worker.put("e", receiver.url(), timeout=200)
        deliver.wait_log("is there")
        gateway.signal(signal.SIGSTOP)
        id = worker.deliver(endpoint="e")
        deliver.wait_log("hangs")
        assert worker.delivery(id)["attempts"] == []
        gateway.signal(signal.SIGCONT)
        shown = worker.wait_state(id, "done")
        assert len(shown["attempts"]) == 1
