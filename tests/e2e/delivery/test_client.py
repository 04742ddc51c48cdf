"""``zurl_py.client.Webhooks`` and ``AsyncWebhooks``."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from tests.e2e.delivery.process import PATIENCE, Deliver
from tests.e2e.delivery.receiver import Receiver
from zurl_py.client import AsyncWebhooks, Webhooks
from zurl_py.client.errors import GatewayUnavailable
from zurl_py.client.webhooks import (
    WebhookConflict,
    WebhookRefused,
    WebhookUnconfirmed,
    verify,
)

Start = Callable[..., Deliver]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_every_verb(start_deliver: Start, receiver: Receiver) -> None:
    deliver = start_deliver(schedule="0,0.2")
    with Webhooks(deliver.config_path) as webhooks:
        webhooks.put_endpoint(
            "shop",
            receiver.url("/shop"),
            secrets=[SECRET],
            rate=100,
            schedule=[0, 0.25],
            headers={"X-A": "é"},
        )
        shown = webhooks.get_endpoint("shop")
        assert (shown["rate"], shown["schedule"], shown["disabled"]) == (100, [0, 0.25], False)
        accepted = webhooks.send("shop", {"order": 17}, event="order.paid", key="17")
        assert accepted.duplicate is False
        (hook,) = receiver.wait_for(accepted.id)
        received = verify(hook.body, hook.headers, SECRET)
        assert (received.id, received.event) == (accepted.id, "order.paid")
        assert received.json() == {"order": 17}
        again = webhooks.send("shop", {"order": 17}, event="order.paid", key="17", id=accepted.id)
        assert again.duplicate is True
        with pytest.raises(WebhookConflict):
            webhooks.send("shop", "other", id=accepted.id)
        with pytest.raises(WebhookRefused) as refused:
            webhooks.send("nobody", "x")
        assert refused.value.condition == "unknown-endpoint"
        with pytest.raises(WebhookRefused, match="expires"):
            webhooks.send("shop", "x", expires=-1)
        by_uri = webhooks.send(receiver.url("/uri"), b"\xff\x00", headers=[("X-B", "1")])
        assert receiver.wait_for(by_uri.id)[0].body == b"\xff\x00"
        webhooks.disable_endpoint("shop")
        held = webhooks.send("shop", "held")
        assert webhooks.get_delivery(held.id)["state"] == "held"
        assert [item["id"] for item in webhooks.deliveries(state="held")] == [held.id]
        webhooks.enable_endpoint("shop")
        receiver.wait_for(held.id)
        assert webhooks.replay(accepted.id) == 1
        assert webhooks.stats()["states"]["dead"] == 0
        names = [item["endpoint"] for item in webhooks.endpoints()]
        assert names[0] == "shop"
        assert names[1].startswith("uri:")
        when = time.time() + 0.7
        later = webhooks.send("shop", "later", not_before=when)
        assert receiver.wait_for(later.id)[0].time >= when
        webhooks.delete_endpoint("shop")
        with pytest.raises(WebhookRefused):
            webhooks.get_endpoint("shop")


def test_lists_of_many(start_deliver: Start, receiver: Receiver) -> None:
    deliver = start_deliver(loglevel=1)
    with Webhooks(deliver.endpoint) as webhooks:
        webhooks.put_endpoint("off", receiver.url())
        webhooks.disable_endpoint("off")
        ids = [webhooks.send("off", "").id for _ in range(450)]
        assert [item["id"] for item in webhooks.deliveries(endpoint="off")] == ids


def test_repeats_until_it_is_there(start_deliver: Start, receiver: Receiver) -> None:
    deliver = start_deliver()
    deliver.stop()
    results: list[str] = []

    def send() -> None:
        with Webhooks(deliver.endpoint) as webhooks:
            results.append(webhooks.send(receiver.url(), "late").id)

    thread = threading.Thread(target=send)
    thread.start()
    deliver.start()
    thread.join(PATIENCE)
    assert len(results) == 1
    receiver.wait_for(results[0])


def test_deadline(tmp_path: Path) -> None:
    with Webhooks(f"ipc://{tmp_path}/nobody", timeout=0.3) as webhooks:
        began = time.monotonic()
        with pytest.raises(WebhookUnconfirmed) as caught:
            webhooks.send("shop", "x", id="mine")
        assert time.monotonic() - began < 10
        assert caught.value.id == "mine"
        assert "nobody" in str(caught.value)
        assert isinstance(caught.value, TimeoutError)


def test_asked_again_while_the_store_is_full(start_deliver: Start, receiver: Receiver) -> None:
    deliver = start_deliver(store_max_bytes=1).wait_started()
    with Webhooks(deliver.endpoint, timeout=2) as webhooks:
        with pytest.raises(WebhookUnconfirmed, match="store-full"):
            webhooks.send(receiver.url(), "x")
        deliver.write_config(store_max_bytes=0)
        os.kill(deliver.pid, signal.SIGHUP)
        receiver.wait_for(webhooks.send(receiver.url(), "x", timeout=PATIENCE).id)


def test_one_object_for_many_threads(start_deliver: Start, receiver: Receiver) -> None:
    deliver = start_deliver(loglevel=1)
    with Webhooks(deliver.endpoint) as webhooks:
        ids: list[str] = []

        def send() -> None:
            for _ in range(20):
                ids.append(webhooks.send(receiver.url(), "x").id)

        threads = [threading.Thread(target=send) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        receiver.wait(160)
        assert set(receiver.ids()) == set(ids)


async def _use(webhooks: AsyncWebhooks, uri: str) -> list[str]:
    async with webhooks:
        ids = [(await webhooks.send(uri, "x")).id for _ in range(3)]
        listed = [item["id"] async for item in webhooks.deliveries()]
    assert listed == ids
    return ids


def test_asyncio(start_deliver: Start, receiver: Receiver) -> None:
    deliver = start_deliver()
    ids = asyncio.run(_use(AsyncWebhooks(deliver.endpoint), receiver.url()))
    receiver.wait(3)
    assert sorted(receiver.ids()) == sorted(ids)


def test_trio(start_deliver: Start, receiver: Receiver) -> None:
    deliver = start_deliver()
    ids = trio.run(_use, AsyncWebhooks(deliver.endpoint), receiver.url())
    receiver.wait(3)
    assert sorted(receiver.ids()) == sorted(ids)


def test_many_tasks_and_cancellation(start_deliver: Start, receiver: Receiver) -> None:
    deliver = start_deliver(loglevel=1)

    async def use() -> int:
        async with AsyncWebhooks(deliver.endpoint) as webhooks:
            sent = await asyncio.gather(*(webhooks.send(receiver.url(), "x") for _ in range(200)))
        async with AsyncWebhooks("ipc:///nonexistent/deliver") as nobody:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(nobody.send("shop", "x"), 0.2)
        return len({item.id for item in sent})

    assert asyncio.run(use()) == 200


def test_where_it_is_not_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(GatewayUnavailable, match="/nonexistent"):
        Webhooks("/nonexistent/deliver.conf")
    (tmp_path / "empty.conf").write_text("[General]\n")
    monkeypatch.setenv("ZURL_DELIVER_CONNECT", str(tmp_path / "empty.conf"))
    with pytest.raises(GatewayUnavailable, match="deliver_spec"):
        Webhooks()
