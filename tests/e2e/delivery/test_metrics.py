"""What ``metrics_listen`` serves."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.delivery.process import PATIENCE, Deliver
from tests.e2e.delivery.receiver import Receiver, Reply
from tests.support import Daemon
from tests.support.daemon import free_port
from tests.support.deadline import DEADLINE, wait_until

Start = Callable[..., Deliver]


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=DEADLINE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metrics(port: int) -> dict[str, float]:
    """By name and labels, as Prometheus reads them."""
    _, text = get(port, "/metrics")
    return {
        sample.name + "".join(f"/{value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics(start_deliver: Start, receiver: Receiver) -> None:
    port = free_port()
    deliver = start_deliver(metrics_listen=f"127.0.0.1:{port}", schedule="0").wait_started()
    worker = deliver.worker()
    first = metrics(port)
    assert first["zurl_deliver_accepted_total"] == 0
    assert first["zurl_deliver_attempts_total/5xx"] == 0
    assert first["zurl_deliver_stale_finishes_total"] == 0
    receiver.reply = lambda hook: Reply({"/gone": 410, "/bad": 500}.get(hook.path, 200))
    good = worker.deliver(uri=receiver.url(), id="good")
    worker.deliver(uri=receiver.url(), id="good")
    bad = worker.deliver(uri=receiver.url("/bad"))
    worker.deliver(uri=receiver.url("/gone"))
    worker.ask("deliver", endpoint="nobody", body="")
    worker.wait_state(good, "done")
    worker.wait_state(bad, "dead")

    def surveyed() -> dict[str, float] | None:
        found = metrics(port)
        states = (found["zurl_deliver_webhooks/dead"], found["zurl_deliver_webhooks/done"])
        return found if states == (2, 1) else None

    found = wait_until(surveyed, "the survey", PATIENCE, 0.05)
    assert found is not None
    assert found["zurl_deliver_accepted_total"] == 3
    assert found["zurl_deliver_duplicates_total"] == 1
    assert found["zurl_deliver_refused_total/unknown-endpoint"] == 1
    assert found["zurl_deliver_attempts_total/2xx"] == 1
    assert found["zurl_deliver_attempts_total/4xx"] == 1
    assert found["zurl_deliver_attempts_total/5xx"] == 1
    assert found["zurl_deliver_ended_total/dead"] == 2
    assert found["zurl_deliver_webhooks/done"] == 1
    assert found["zurl_deliver_endpoints_disabled"] == 1
    assert found["zurl_deliver_endpoint_events_total/disabled"] == 1
    assert found["zurl_deliver_breakers/closed"] >= 3
    assert found["zurl_deliver_commit_seconds_count"] >= 4
    assert found["zurl_deliver_commit_seconds_bucket/+Inf"] >= 4
    assert found["process_resident_memory_bytes"] > 1_000_000
    status = json.loads(get(port, "/status")[1])
    assert status["gateways"][0]["up"] is True
    assert status["states"]["done"] == 1


def test_health(start_deliver: Start) -> None:
    port = free_port()
    with Daemon(interfaces=("req",)) as gateway:
        deliver = start_deliver(
            metrics_listen=f"127.0.0.1:{port}", gateway=str(gateway.config_path)
        )
        deliver.wait_log("is there")
        assert get(port, "/healthz") == (200, "ok\n")
        gateway.signal(9)
        deliver.wait_log("is gone")
        assert get(port, "/healthz") == (503, "no gateway is there\n")


def test_address_that_cannot_be_used(start_deliver: Start) -> None:
    deliver = start_deliver(metrics_listen="192.0.2.1:9")
    assert deliver.wait() > 0
    assert "192.0.2.1" in deliver.log()
