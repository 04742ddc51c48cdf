"""Rates, concurrency, fairness, the breaker: seen from the receiver."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from statistics import quantiles
from typing import Any

from tests.e2e.delivery.process import Deliver, Worker
from tests.e2e.delivery.receiver import Busy, Receiver, Reply, Webhook
from tests.support.deadline import wait_until
from tests.support.origin import dead_port

Start = Callable[..., Deliver]


def test_concurrency(worker: Worker, receiver: Receiver) -> None:
    busy = Busy(0.05)
    receiver.reply = busy
    worker.put("three", receiver.url(), concurrency=3)
    ids = [worker.deliver(endpoint="three") for _ in range(30)]
    worker.wait_state(ids[-1], "done")
    assert busy.most == 3


def test_rate_allows_a_burst_of_one_second(worker: Worker, receiver: Receiver) -> None:
    worker.put("rated", receiver.url(), rate=5)
    worker.ask("endpoint-disable", endpoint="rated")
    for _ in range(15):
        worker.deliver(endpoint="rated")
    worker.ask("endpoint-enable", endpoint="rated")
    times = [hook.time for hook in receiver.wait(15)]
    assert times[4] - times[0] < 0.75  # the burst, for which one after the other takes 0.8
    assert 1.6 <= times[14] - times[0] <= 10.0  # 10 more at 5 a second
    for first, later in zip(times, times[7:], strict=False):
        assert later - first >= 0.2


def test_rate_below_one(worker: Worker, receiver: Receiver) -> None:
    worker.put("seldom", receiver.url(), rate=0.5)
    ids = [worker.deliver(endpoint="seldom") for _ in range(2)]
    for id in ids:
        worker.wait_state(id, "done")
    first, second = (hook.time for hook in receiver.webhooks)
    assert second - first >= 1.5  # two, as far as they arrive as fast as each other


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

        def beside() -> list[float]:
            return [
                hook.time - sent[hook.id]
                for hook in list(receiver.webhooks)
                if hook.id in sent and int(hook.id[2:]) >= 100
            ]

        wait_until(lambda: len(beside()) == 100, "the quick ones")
    # Generous, for a machine under load; a queue behind the slow ones would take seconds.
    assert quantiles(beside(), n=100)[97] < max(1.5, 2 * quantiles(alone, n=100)[97])


def test_large_bodies_that_hang_do_not_stop_the_others(worker: Worker, receiver: Receiver) -> None:
    """Bodies in flight are bounded for all endpoints together; one must not use up the room."""
    over = threading.Event()

    def reply(hook: Webhook) -> Reply:
        if hook.path == "/hangs":
            over.wait(60)
        return Reply()

    receiver.reply = reply
    try:
        worker.put("hangs", receiver.url("/hangs"), timeout=60_000, concurrency=100)
        for _ in range(80):
            worker.deliver("x" * 1_000_000, endpoint="hangs")
        receiver.wait(20, 30.0)
        other = worker.deliver(uri=receiver.url("/other"))
        receiver.wait_for(other)
        assert len(receiver.ids("/hangs")) < 80
    finally:
        over.set()


def test_the_operator_is_notified(start_deliver: Start, receiver: Receiver) -> None:
    with_events: dict[str, Any] = {"on_endpoint_event": receiver.url("/operator")}
    worker = start_deliver(**with_events).worker()
    receiver.reply = lambda hook: Reply(410 if hook.path == "/gone" else 200)
    worker.put("gone", receiver.url("/gone"))
    worker.deliver(endpoint="gone")
    wait_until(lambda: receiver.ids("/operator"), "the notice")
    (notice,) = [hook for hook in receiver.webhooks if hook.path == "/operator"]
    assert notice.headers["webhook-event"] == "endpoint.disabled"
    assert b'"endpoint":"gone"' in notice.body
