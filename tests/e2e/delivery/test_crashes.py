"""Crash by crash: what was acknowledged is not lost, and a repeat is a duplicate."""

from __future__ import annotations

import itertools
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
