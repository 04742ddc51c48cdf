"""A gateway for a module, receivers, and ``deliver`` processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.delivery.process import Deliver, Worker
from tests.e2e.delivery.receiver import Receiver
from tests.support import Daemon


@pytest.fixture(scope="module")
def gateway() -> Iterator[Daemon]:
    """A gateway that lets through to this machine."""
    daemon = Daemon(interfaces=("req",), arguments=("--loglevel=2",)).start()
    yield daemon
    daemon.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that takes everything, until it is told otherwise."""
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def start_deliver(gateway: Daemon) -> Iterator[Callable[..., Deliver]]:
    """Starts a ``deliver`` with settings of the test's own."""
    started: list[Deliver] = []

    def start(**settings: Any) -> Deliver:
        settings.setdefault("gateway", str(gateway.config_path))
        process = Deliver(**settings).start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.close()


@pytest.fixture(scope="module")
def shared_deliver(gateway: Daemon) -> Iterator[Deliver]:
    """One ``deliver`` for a module, with a schedule that is soon used up."""
    process = Deliver(str(gateway.config_path), schedule="0,0.3,0.3").start()
    yield process
    process.close()


@pytest.fixture
def worker(shared_deliver: Deliver) -> Iterator[Worker]:
    """A worker of the shared process."""
    made = Worker(shared_deliver.endpoint)
    yield made
    made.close()
