"""Order, rates, concurrency, fairness, the breaker: seen from the receiver."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from statistics import quantiles
from typing import Any

import pytest

from tests.e2e.delivery.process import Deliver, Worker
from tests.e2e.delivery.receiver import Receiver, Reply, Webhook
from tests.support.deadline import wait_until
from tests.support.origin import dead_port

Start = Callable[..., Deliver]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def store_kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


class Busy:
    """Counts how many webhooks a receiver has at once."""

    def __init__(self, wait: float) -> None:
        self.wait = wait
        self.now = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, _hook: Webhook) -> Reply:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(self.wait)
        with self._lock:
            self.now -= 1
        return Reply()


def test_order_per_key(worker: Worker, receiver: Receiver) -> None:
    failing = itertools.count()

    def reply(hook: Webhook) -> Reply:
        # The head of one key fails twice; its followers wait, those of the other key do not.
        if hook.id == "a-0" and next(failing) < 2:
            return Reply(500)
        return Reply(wait=0.01)

    receiver.reply = reply
    worker.put("ordered", receiver.url(), order="key", schedule=[0, 0.4, 0.4])
    for number in range(10):
        for key in "ab":
            worker.deliver(endpoint="ordered", key=key, id=f"{key}-{number}")
    worker.deliver(endpoint="ordered", id="keyless")
    worker.wait_state("a-9", "done")
    of_a = [id for id in receiver.ids() if id.startswith("a")]
    of_b = [id for id in receiver.ids() if id.startswith("b")]
    assert of_a == ["a-0"] * 3 + [f"a-{n}" for n in range(1, 10)]
    assert of_b == [f"b-{n}" for n in range(10)]
    ids = receiver.ids()
    assert ids.index("b-9") < ids.index("a-1")
    assert ids.index("keyless") < ids.index("a-1")


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
    worker.deliver(endpoint="until", id="exp-0", expires=1)
    worker.deliver(endpoint="until", id="exp-1")
    worker.wait_state("exp-0", "dead")
    assert worker.state("exp-1") == "pending"
    worker.wait_state("exp-1", "done")
    assert receiver.of("exp-1")[0].time - receiver.of("exp-0")[0].time >= 0.9


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


def test_concurrency(worker: Worker, receiver: Receiver) -> None:
    busy = Busy(0.05)
    receiver.reply = busy
    worker.put("three", receiver.url(), concurrency=3)
    ids = [worker.deliver(endpoint="three") for _ in range(30)]
    worker.wait_state(ids[-1], "done")
    assert busy.most == 3


def test_rate_allows_a_burst_of_one_second(worker: Worker, receiver: Receiver) -> None:
    worker.put("rated", receiver.url(), rate=10)
    ids = [worker.deliver(endpoint="rated") for _ in range(25)]
    worker.wait_state(ids[-1], "done", 10.0)
    times = [hook.time for hook in receiver.webhooks]
    assert times[9] - times[0] < 0.8  # the burst
    assert 1.3 <= times[24] - times[0] <= 3.0  # 15 more at 10 a second
    for first, later in zip(times, times[11:], strict=False):
        assert later - first >= 0.08


def test_rate_below_one(worker: Worker, receiver: Receiver) -> None:
    worker.put("seldom", receiver.url(), rate=0.8)
    ids = [worker.deliver(endpoint="seldom") for _ in range(2)]
    for id in ids:
        worker.wait_state(id, "done")
    first, second = (hook.time for hook in receiver.webhooks)
    assert second - first >= 1.2


def test_breaker_opens_and_uses_up_no_attempts(start_deliver: Start, receiver: Receiver) -> None:
    deliver = start_deliver(schedule="0,0.1,0.1,0.1,0.1")
    worker = deliver.worker()
    worker.put("failing", receiver.url(), concurrency=1)
    receiver.reply = lambda _hook: Reply(500)
    ids = [worker.deliver(endpoint="failing", id=f"br-{n}") for n in range(20)]
    deliver.wait_log("breaker-opened")
    came = len(receiver.webhooks)
    assert came == 10
    time.sleep(1.0)
    assert len(receiver.webhooks) == came
    # Nothing of what waits has lost an attempt to it.
    tried = sum(len(worker.delivery(id)["attempts"]) for id in ids)
    assert tried == 10
    receiver.reply = lambda _hook: Reply()
    worker.ask("endpoint-disable", endpoint="failing")
    worker.ask("endpoint-enable", endpoint="failing")
    for id in ids:
        worker.wait_state(id, "done")


def test_client_errors_do_not_open_the_breaker(worker: Worker, receiver: Receiver) -> None:
    receiver.reply = lambda hook: Reply(200 if hook.id == "last" else 404)
    worker.put("picky", receiver.url(), schedule=[0])
    ids = [worker.deliver(endpoint="picky") for _ in range(15)]
    for id in ids:
        worker.wait_state(id, "dead")
    worker.wait_state(worker.deliver(endpoint="picky", id="last"), "done")


def latencies(receiver: Receiver, sent: dict[str, float], path: str) -> list[float]:
    return [hook.time - sent[hook.id] for hook in receiver.webhooks if hook.path == path]


def test_a_dead_and_a_slow_endpoint_do_not_slow_the_others(
    start_deliver: Start, receiver: Receiver
) -> None:
    worker = start_deliver(loglevel=1).worker()
    receiver.reply = lambda hook: Reply(wait=2.0 if hook.path == "/slow" else 0.0)
    worker.put("slow", receiver.url("/slow"), concurrency=20)
    sent: dict[str, float] = {}

    def send(count: int) -> None:
        for number in range(count):
            id = f"q-{len(sent)}"
            sent[id] = time.time()
            worker.deliver(uri=receiver.url(f"/quick-{number % 3}"), id=id)

    send(100)
    alone = [hook.time - sent[hook.id] for hook in receiver.wait(100)]
    with dead_port() as port:
        worker.put("dead", f"http://127.0.0.1:{port}/")
        for _ in range(300):
            worker.deliver(endpoint="slow")
            worker.deliver(endpoint="dead")
        send(100)
        wait_until(lambda: worker.state("q-199") == "done", "the quick ones")
    beside = [
        hook.time - sent[hook.id]
        for hook in receiver.webhooks
        if hook.id in sent and int(hook.id[2:]) >= 100
    ]
    assert len(beside) == 100
    # Generous, for a machine under load; a queue behind the slow ones would take seconds.
    assert quantiles(beside, n=100)[97] < max(0.5, 2 * quantiles(alone, n=100)[97])


def test_operator_is_told(start_deliver: Start, receiver: Receiver) -> None:
    with_events: dict[str, Any] = {"on_endpoint_event": receiver.url("/operator")}
    worker = start_deliver(**with_events).worker()
    receiver.reply = lambda hook: Reply(410 if hook.path == "/gone" else 200)
    worker.put("gone", receiver.url("/gone"))
    worker.deliver(endpoint="gone")
    wait_until(lambda: receiver.ids("/operator"), "the notice")
    (notice,) = [hook for hook in receiver.webhooks if hook.path == "/operator"]
    assert notice.headers["webhook-event"] == "endpoint.disabled"
    assert b'"endpoint":"gone"' in notice.body


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
    receiver.wait(count, 30.0)
    wait_until(lambda: worker.ask("stats")["states"]["done"] == count, "all done")
    assert len(receiver.webhooks) == count
    numbers = [int(id[1:]) for id in receiver.ids()]
    assert sorted(numbers) == list(range(count))
    assert all(abs(place - number) < 300 for place, number in enumerate(numbers))
