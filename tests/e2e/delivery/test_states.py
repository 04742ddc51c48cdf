"""Every row of the state table, from outside: questions in, webhooks out."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.delivery.process import Deliver, Worker
from tests.e2e.delivery.receiver import Receiver, Reply, Webhook
from tests.support import Daemon
from tests.support.deadline import DEADLINE, wait_until
from tests.support.origin import dead_port

Start = Callable[..., Deliver]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def store_kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


def answers(*replies: Reply) -> Callable[[Webhook], Reply]:
    """One after the other, the last one for ever after."""
    rest = itertools.chain(replies, itertools.repeat(replies[-1]))
    return lambda _webhook: next(rest)


def test_accepted_and_delivered(worker: Worker, receiver: Receiver) -> None:
    answer = worker.ask("deliver", uri=receiver.url("/hook"), body="héllo", user_data=[1, "x"])
    assert answer["type"] == "accepted"
    assert answer["duplicate"] is False
    assert answer["user-data"] == [1, "x"]
    (hook,) = receiver.wait_for(answer["id"])
    assert (hook.path, hook.body) == ("/hook", "héllo".encode())
    shown = worker.wait_state(answer["id"], "done")
    (attempt,) = shown["attempts"]
    assert attempt["code"] == 200
    assert attempt["body"] == "ok"
    assert attempt["phases"]["total"] > 0
    assert abs(attempt["time"] - time.time()) < 60


@pytest.mark.parametrize("code", [301, 307, 400, 404, 500, 503])
def test_another_status_is_retried(worker: Worker, receiver: Receiver, code: int) -> None:
    receiver.reply = answers(Reply(code, {"Location": receiver.url("/elsewhere")}), Reply())
    id = worker.deliver(uri=receiver.url(f"/{code}"))
    shown = worker.wait_state(id, "done")
    assert [attempt["code"] for attempt in shown["attempts"]] == [code, 200]
    assert receiver.ids("/elsewhere") == []
    first, second = receiver.of(id)
    assert 0.2 <= second.time - first.time <= 10.0
    assert first.headers["webhook-id"] == second.headers["webhook-id"]


def test_a_timeout_is_retried(worker: Worker, receiver: Receiver) -> None:
    receiver.reply = answers(Reply(wait=4.0), Reply())
    worker.put("slow-once", receiver.url(), timeout=1500)
    shown = worker.wait_state(worker.deliver(endpoint="slow-once"), "done")
    assert shown["attempts"][0]["condition"] == "session-timeout"
    assert "code" not in shown["attempts"][0]
    assert shown["attempts"][1]["code"] == 200


def test_connection_refused_until_the_schedule_is_used_up(worker: Worker) -> None:
    with dead_port() as port:
        id = worker.deliver(uri=f"http://127.0.0.1:{port}/")
        shown = worker.wait_state(id, "dead")
    assert [a["condition"] for a in shown["attempts"]] == ["remote-connection-failed"] * 3
    assert shown["reason"] == "schedule-used-up"


def test_a_tls_error_is_retried(worker: Worker, receiver: Receiver) -> None:
    id = worker.deliver(uri=f"https://127.0.0.1:{receiver.port}/")
    shown = worker.wait_state(id, "dead")
    assert len(shown["attempts"]) == 3


def test_bad_request_is_dead_at_once(worker: Worker) -> None:
    id = worker.deliver(uri="http://127.0.0.1:99999/")
    shown = worker.wait_state(id, "dead")
    assert [attempt["condition"] for attempt in shown["attempts"]] == ["bad-request"]


def test_policy_violation_is_dead_at_once(start_deliver: Start, receiver: Receiver) -> None:
    with Daemon(interfaces=("req",), deny="127.0.0.0/8") as strict:
        worker = start_deliver(gateway=str(strict.config_path)).worker()
        shown = worker.wait_state(worker.deliver(uri=receiver.url()), "dead")
    assert [attempt["condition"] for attempt in shown["attempts"]] == ["policy-violation"]
    assert receiver.webhooks == []


@pytest.mark.parametrize("code", [200, 500])
def test_abort_message(worker: Worker, receiver: Receiver, code: int) -> None:
    receiver.reply = answers(Reply(code, {"Webhook-Delivery": "abort-message"}))
    id = worker.deliver(uri=receiver.url(f"/abort/{code}"))
    assert worker.wait_state(id, "dead")["reason"] == "abort-message"
    assert len(receiver.webhooks) == 1
    # The endpoint goes on.
    receiver.reply = answers(Reply())
    worker.wait_state(worker.deliver(uri=receiver.url(f"/abort/{code}")), "done")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(410),
        Reply(200, {"webhook-delivery": "disable"}),
        Reply(503, {"webhook-delivery": "disable"}),
    ],
)
def test_disabled_by_the_receiver(worker: Worker, receiver: Receiver, reply: Reply) -> None:
    name = f"leaving-{reply.code}-{len(reply.headers)}"
    worker.put(name, receiver.url(), order="endpoint")
    receiver.reply = answers(Reply(500), reply)
    first = worker.deliver(endpoint=name)
    others = [worker.deliver(endpoint=name) for _ in range(3)]
    worker.wait_state(first, "dead")
    for id in others:
        assert worker.state(id) == "held"
    answer = worker.ask("endpoint-get", endpoint=name)
    assert answer["disabled"] is True
    late = worker.deliver(endpoint=name)
    assert worker.state(late) == "held"
    came = len(receiver.webhooks)
    receiver.reply = answers(Reply())
    # Put again, it stays disabled; enabled, what was held goes, and what died does not.
    worker.put(name, receiver.url("/again"), order="endpoint")
    assert worker.ask("endpoint-get", endpoint=name)["disabled"] is True
    assert worker.state(late) == "held"
    assert len(receiver.webhooks) == came
    assert worker.ask("endpoint-enable", endpoint=name)["type"] == "ok"
    for id in [*others, late]:
        worker.wait_state(id, "done")
    assert worker.state(first) == "dead"
    assert worker.ask("replay", id=first)["count"] == 1
    worker.wait_state(first, "done")
    hooks = receiver.of(first)
    assert hooks[-1].headers["webhook-id"] == first


def test_a_held_retry_is_sent_at_once_when_enabled(
    start_deliver: Start, receiver: Receiver
) -> None:
    worker = start_deliver(schedule="0,600").worker()
    receiver.reply = answers(Reply(500), Reply())
    worker.put("e", receiver.url())
    id = worker.deliver(endpoint="e")
    wait_until(lambda: len(worker.delivery(id)["attempts"]) == 1, "the first attempt")
    assert worker.ask("endpoint-disable", endpoint="e")["type"] == "ok"
    assert worker.state(id) == "held"
    assert worker.ask("endpoint-enable", endpoint="e")["type"] == "ok"
    worker.wait_state(id, "done")


def test_expired_while_it_waits(worker: Worker, receiver: Receiver) -> None:
    worker.put("expiring", receiver.url())
    assert worker.ask("endpoint-disable", endpoint="expiring")["type"] == "ok"
    id = worker.deliver(endpoint="expiring", expires=1.5)
    assert worker.state(id) == "held"
    assert worker.wait_state(id, "dead")["reason"] == "expired"
    assert worker.ask("endpoint-enable", endpoint="expiring")["type"] == "ok"
    other = worker.deliver(endpoint="expiring")
    worker.wait_state(other, "done")
    assert receiver.ids() == [other]


def test_expired_between_attempts(worker: Worker, receiver: Receiver) -> None:
    worker.put("hopeless", receiver.url(), schedule=[0, 60, 60])
    receiver.reply = answers(Reply(500))
    id = worker.deliver(endpoint="hopeless", expires=1.5)
    shown = worker.wait_state(id, "dead")
    assert (shown["reason"], len(shown["attempts"])) == ("expired", 1)


def test_not_before(worker: Worker, receiver: Receiver) -> None:
    when = time.time() + 1.5
    id = worker.deliver(uri=receiver.url("/later"), not_before=when)
    assert worker.state(id) == "pending"
    (hook,) = receiver.wait_for(id)
    assert when <= hook.time <= when + 10.0


def test_deleted_endpoint(worker: Worker, receiver: Receiver) -> None:
    worker.put("deleted", receiver.url())
    assert worker.ask("endpoint-disable", endpoint="deleted")["type"] == "ok"
    ids = [worker.deliver(endpoint="deleted") for _ in range(3)]
    assert worker.ask("endpoint-delete", endpoint="deleted")["type"] == "ok"
    for id in ids:
        assert worker.wait_state(id, "dead")["endpoint"] == "deleted"
    answer = worker.ask("deliver", endpoint="deleted", body="")
    assert answer["condition"] == "unknown-endpoint"
    answer = worker.ask("endpoint-get", endpoint="deleted")
    assert answer["condition"] == "unknown-endpoint"
    # A new one of the same name has nothing to do with it.
    worker.put("deleted", receiver.url())
    worker.wait_state(worker.deliver(endpoint="deleted"), "done")
    assert worker.state(ids[0]) == "dead"
    assert len(receiver.webhooks) == 1


def test_a_lost_gateway_is_not_charged(start_deliver: Start, receiver: Receiver) -> None:
    with Daemon(interfaces=("req",)) as gateway:
        deliver = start_deliver(gateway=str(gateway.config_path), schedule="0")
        worker = deliver.worker()
        receiver.reply = answers(Reply(wait=3.0), Reply())
        id = worker.deliver(uri=receiver.url())
        receiver.wait_for(id)
        gateway.signal(9)
        gateway.wait()
        deliver.wait_log("is gone")
        shown = worker.delivery(id)
        assert shown["state"] == "pending"
        assert shown["attempts"] == []
        gateway.start()
        shown = worker.wait_state(id, "done")
    assert [attempt["code"] for attempt in shown["attempts"]] == [200]
    assert len(receiver.of(id)) == 2


def test_states_of_leased(worker: Worker, receiver: Receiver) -> None:
    seen = threading.Event()

    def late(_hook: Webhook) -> Reply:
        seen.wait(DEADLINE)
        return Reply()

    receiver.reply = late
    worker.put("late", receiver.url("/leased"), timeout=60_000)
    id = worker.deliver(endpoint="late")
    receiver.wait_for(id)
    assert worker.state(id) == "leased"
    listed: list[Any] = worker.ask("delivery-list", state="leased")["deliveries"]
    assert [item["id"] for item in listed] == [id]
    seen.set()
    worker.wait_state(id, "done")


@pytest.mark.parametrize(
    ("value", "least"), [("2", 1.9), ("-5", 0), ("soon", 0), ("1.5", 0), ("date", 0.9)]
)
def test_retry_after_holds_the_endpoint(
    worker: Worker, receiver: Receiver, value: str, least: float
) -> None:
    name = f"busy-{value}"
    if value == "date":
        value = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 5))
    receiver.reply = answers(Reply(503, {"Retry-After": value}), Reply())
    worker.put(name, receiver.url())
    first = worker.deliver(endpoint=name)
    worker.wait_state(first, "pending")
    receiver.wait(1)
    wait_until(lambda: len(worker.delivery(first)["attempts"]) == 1, "the first attempt")
    began = receiver.webhooks[0].time
    second = worker.deliver(endpoint=name)
    worker.wait_state(second, "done")
    worker.wait_state(first, "done")
    assert receiver.of(second)[0].time - began >= least
    assert receiver.of(first)[1].time - began >= least
    if not least:
        assert receiver.of(second)[0].time - began < 1.5


def test_429_holds_the_endpoint_for_the_wait_of_the_message(
    worker: Worker, receiver: Receiver
) -> None:
    receiver.reply = answers(Reply(429), Reply())
    worker.put("throttled", receiver.url(), schedule=[0, 1])
    first = worker.deliver(endpoint="throttled")
    wait_until(lambda: worker.delivery(first)["attempts"], "the first attempt")
    second = worker.deliver(endpoint="throttled")
    worker.wait_state(second, "done")
    assert receiver.of(second)[0].time - receiver.of(first)[0].time >= 0.8
