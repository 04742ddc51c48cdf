"""A gateway for a module, receivers, and ``deliver`` processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.delivery.bench import Bench
from tests.e2e.delivery.postgres import Postgres
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


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL for the whole run; each ``deliver`` has a database of its own there."""
    server = Postgres().start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def store_kind() -> str:
    """``sqlite`` or ``postgresql``; modules that run with both override this."""
    return "sqlite"


@pytest.fixture(scope="module")
def make_deliver(
    gateway: Daemon, store_kind: str, request: pytest.FixtureRequest
) -> Callable[..., Deliver]:
    """Makes a ``deliver`` on a store of the kind of this module, not started yet."""

    def make(**settings: Any) -> Deliver:
        settings.setdefault("gateway", str(gateway.config_path))
        if store_kind == "postgresql" and "store" not in settings:
            settings["store"] = request.getfixturevalue("postgres").make_database()
        return Deliver(**settings)

    return make


@pytest.fixture
def start_deliver(make_deliver: Callable[..., Deliver]) -> Iterator[Callable[..., Deliver]]:
    """Starts a ``deliver`` with settings of the test's own."""
    started: list[Deliver] = []

    def start(**settings: Any) -> Deliver:
        process = make_deliver(**settings).start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.close()


@pytest.fixture(scope="module")
def shared_deliver(make_deliver: Callable[..., Deliver]) -> Iterator[Deliver]:
    """One ``deliver`` for a module, with a schedule that is soon used up."""
    process = make_deliver(schedule="0,0.3,0.3").start()
    yield process
    process.close()


@pytest.fixture
def worker(shared_deliver: Deliver) -> Iterator[Worker]:
    """A worker of the shared process."""
    made = Worker(shared_deliver.endpoint)
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    made: str = request.getfixturevalue("postgres").make_database()
    return made


@pytest.fixture
def bench(store_url: str) -> Iterator[Bench]:
    """A store of each kind, used by its verbs."""
    made = Bench(store_url)
    yield made
    made.store.close()
