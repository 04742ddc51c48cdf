"""Stops, and a gateway that hangs: nothing is charged that was not an attempt."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Callable

from tests.e2e.delivery.process import Deliver
from tests.e2e.delivery.receiver import Receiver, Reply

Start = Callable[..., Deliver]


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


def test_a_stop_releases_attempts_that_take_too_long(
    start_deliver: Start, receiver: Receiver
) -> None:
    deliver = start_deliver()
    worker = deliver.worker()
    waits = itertools.chain([Reply(wait=25)], itertools.repeat(Reply()))
    receiver.reply = lambda _hook: next(waits)
    worker.put("slow", receiver.url(), timeout=60_000, schedule=[0])
    id = worker.deliver(endpoint="slow")
    receiver.wait_for(id)
    began = time.monotonic()
    assert deliver.stop() == 0
    assert time.monotonic() - began < 20.0
    deliver.start()
    shown = worker.wait_state(id, "done")
    assert len(shown["attempts"]) == 1


def test_a_gateway_that_hangs_is_not_charged(start_deliver: Start, receiver: Receiver) -> None:
    from tests.support import Daemon

    with Daemon(interfaces=("req",)) as gateway:
        deliver = start_deliver(gateway=str(gateway.config_path), schedule="0")
        worker = deliver.worker()
        worker.put("e", receiver.url(), timeout=2000)
        deliver.wait_log("is there")
        gateway.signal(signal.SIGSTOP)
        id = worker.deliver(endpoint="e")
        deliver.wait_log("hangs")
        assert worker.delivery(id)["attempts"] == []
        gateway.signal(signal.SIGCONT)
        shown = worker.wait_state(id, "done")
        assert len(shown["attempts"]) == 1
