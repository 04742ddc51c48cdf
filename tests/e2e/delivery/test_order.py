"""Order of keys and endpoints, and of a backlog: seen from the receiver, on both stores."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.delivery.process import Deliver, Worker
from tests.e2e.delivery.receiver import Busy, Receiver, Reply, Webhook
from tests.support.deadline import wait_until

Start = Callable[..., Deliver]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def store_kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


def test_order_per_key(worker: Worker, receiver: Receiver) -> None:
    def reply(hook: Webhook) -> Reply:
        # The head of one key fails until the others are there: its followers wait, they do not.
        if hook.id == "a-0" and not {"b-9", "keyless"} <= set(receiver.ids()):
            return Reply(500)
        return Reply(wait=0.01)

    receiver.reply = reply
    worker.put("ordered", receiver.url(), order="key", schedule=[0] + [0.4] * 60)
    for number in range(10):
        for key in "ab":
            worker.deliver(endpoint="ordered", key=key, id=f"{key}-{number}")
    worker.deliver(endpoint="ordered", id="keyless")
    worker.wait_state("a-9", "done")
    of_a = [id for id in receiver.ids() if id.startswith("a")]
    of_b = [id for id in receiver.ids() if id.startswith("b")]
    failed = of_a.count("a-0") - 1
    assert failed > 0
    assert of_a == ["a-0"] * failed + [f"a-{n}" for n in range(10)]
    assert of_b == [f"b-{n}" for n in range(10)]


def test_order_per_endpoint(worker: Worker, receiver: Receiver) -> None:
    busy = Busy(0.01)
    receiver.reply = busy
    worker.put("serial", receiver.url(), order="endpoint")
    ids = [worker.deliver(endpoint="serial", id=f"s-{n}", key=str(n)) for n in range(20)]
    worker.wait_state(ids[-1], "done")
    assert receiver.ids() == ids
    assert busy.most == 1


def test_dead_head_is_skipped(worker: Worker, receiver: Receiver) -> None:
    receiver.reply = lambda hook: Reply(400 if hook.id == "skip-0" else 200)
    worker.put("skipping", receiver.url(), order="endpoint", schedule=[0, 0.2])
    for number in range(3):
        worker.deliver(endpoint="skipping", id=f"skip-{number}")
    worker.wait_state("skip-2", "done")
    assert worker.state("skip-0") == "dead"
    assert receiver.ids() == ["skip-0", "skip-0", "skip-1", "skip-2"]


def test_dead_head_stops_its_key_until_it_is_replayed(
    start_deliver: Start, receiver: Receiver
) -> None:
    deliver = start_deliver()
    worker = deliver.worker()
    codes = {"stop-0": 400}
    receiver.reply = lambda hook: Reply(codes.get(hook.id, 200))
    worker.put("stopping", receiver.url(), order="key", dead_head="stop", schedule=[0])
    for number in range(3):
        worker.deliver(endpoint="stopping", key="k", id=f"stop-{number}")
    worker.deliver(endpoint="stopping", key="other", id="other")
    worker.wait_state("stop-0", "dead")
    worker.wait_state("other", "done")
    deliver.kill()
    deliver.start()
    late = worker.deliver(endpoint="stopping", key="k", id="stop-3")
    assert [worker.state(f"stop-{n}") for n in range(4)] == ["dead"] + ["pending"] * 3
    codes.clear()
    assert worker.ask("replay", id="stop-0")["count"] == 1
    worker.wait_state(late, "done")
    ids = [id for id in receiver.ids() if id != "other"]
    assert ids == ["stop-0", "stop-0", "stop-1", "stop-2", "stop-3"]


def test_dead_head_stops_its_key_until_it_expires(worker: Worker, receiver: Receiver) -> None:
    receiver.reply = lambda hook: Reply(400 if hook.id == "exp-0" else 200)
    worker.put("until", receiver.url(), order="endpoint", dead_head="stop", schedule=[0])
    worker.deliver(endpoint="until", id="exp-0", expires=2.5)
    worker.deliver(endpoint="until", id="exp-1")
    worker.wait_state("exp-0", "dead")
    assert worker.state("exp-1") == "pending"
    worker.wait_state("exp-1", "done")
    assert receiver.of("exp-1")[0].time - receiver.of("exp-0")[0].time >= 1.5


def test_order_put_later(worker: Worker, receiver: Receiver) -> None:
    """An order that an endpoint gets holds for what waits already."""
    worker.put("reordered", receiver.url())
    worker.ask("endpoint-disable", endpoint="reordered")
    for number in range(6):
        worker.deliver(endpoint="reordered", key=str(number % 2), id=f"re-{number}")
    busy = Busy(0.05)
    receiver.reply = busy
    worker.put("reordered", receiver.url(), order="key")
    worker.ask("endpoint-enable", endpoint="reordered")
    worker.wait_state("re-4", "done")
    worker.wait_state("re-5", "done")
    assert [id for id in receiver.ids() if int(id[-1]) % 2 == 0] == ["re-0", "re-2", "re-4"]
    assert [id for id in receiver.ids() if int(id[-1]) % 2 == 1] == ["re-1", "re-3", "re-5"]
    assert busy.most == 2


def test_order_put_while_an_attempt_is_in_flight(worker: Worker, receiver: Receiver) -> None:
    """What gets behind the delivery in flight goes when that has ended."""
    receiver.reply = lambda _hook: Reply(wait=0.5)
    worker.put("late", receiver.url(), concurrency=1)
    ids = [worker.deliver(endpoint="late", key="k", id=f"late-{number}") for number in range(3)]
    receiver.wait_for(ids[0])
    worker.put("late", receiver.url(), order="key")
    worker.wait_state(ids[-1], "done")
    assert receiver.ids() == ids


@pytest.mark.parametrize("count", [3000])
def test_backlog_larger_than_what_is_leased(
    start_deliver: Start, receiver: Receiver, count: int
) -> None:
    """What waits lies in the store; it goes out in order of its being due, none twice."""
    deliver = start_deliver(loglevel=1)
    worker = deliver.worker()
    worker.put("backlog", receiver.url())
    worker.ask("endpoint-disable", endpoint="backlog")
    for number in range(count):
        worker.send({"type": "deliver", "endpoint": "backlog", "body": "", "id": f"n{number}"})
    assert all(worker.receive()["type"] == "accepted" for _ in range(count))
    worker.ask("endpoint-enable", endpoint="backlog")
    receiver.wait(count, 60.0)
    wait_until(lambda: worker.ask("stats")["states"]["done"] == count, "all done")
    assert len(receiver.webhooks) == count
    numbers = [int(id[1:]) for id in receiver.ids()]
    assert sorted(numbers) == list(range(count))
    # Roughly, as the receiver takes each on a thread of its own.
    assert all(abs(place - number) < count // 2 for place, number in enumerate(numbers))
