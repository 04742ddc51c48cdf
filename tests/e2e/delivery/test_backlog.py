"""A store with many pending deliveries; ``python -m benchmarks.webhooks_backlog`` has millions."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path

from benchmarks.webhooks_backlog import fill, memory
from tests.e2e.delivery.process import Deliver
from tests.e2e.delivery.receiver import Receiver
from tests.support.daemon import free_port
from tests.support.deadline import wait_until

_PENDING = 200_000
_MOST_MEMORY = 150_000  # kB


def test_many_pending(
    start_deliver: Callable[..., Deliver], receiver: Receiver, tmp_path: Path
) -> None:
    path = tmp_path / "store.db"
    fill(path, _PENDING, 50, receiver.url())
    address = f"127.0.0.1:{free_port()}"
    deliver = start_deliver(store=f"sqlite://{path}", http_listen=address, loglevel=1)
    worker = deliver.wait_started(30).worker()
    wait_until(lambda: worker.ask("stats")["states"]["done"] >= 500, "deliveries", 30)
    new = worker.deliver(uri=receiver.url("/new"))
    receiver.wait_for(new)
    for number in range(1, 51):
        assert worker.ask("endpoint-disable", endpoint=f"e{number}")["type"] == "ok"
    wait_until(lambda: worker.ask("stats")["states"]["leased"] == 0, "attempts to end")
    worker.wait_state(new, "done")
    states = worker.ask("stats")["states"]
    assert states["pending"] == states["dead"] == 0
    assert states["held"] + states["done"] == _PENDING + 1
    assert worker.ask("delivery-list", state="dead")["deliveries"] == []
    assert len(worker.ask("delivery-list", state="held", limit=10)["deliveries"]) == 10
    page = urllib.request.urlopen(f"http://{address}/endpoint?name=e1", timeout=60).read().decode()
    assert "held" in page
    assert memory(deliver) < _MOST_MEMORY
