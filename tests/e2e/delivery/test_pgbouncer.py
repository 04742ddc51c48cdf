"""PgBouncer in front of PostgreSQL: pooled sessions work, pooled transactions are refused."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tests.e2e.delivery.pgbouncer import PgBouncer
from tests.e2e.delivery.postgres import Postgres
from tests.e2e.delivery.process import Deliver
from tests.e2e.delivery.receiver import Receiver, Reply
from tests.support import Daemon

Start = Callable[..., Deliver]


@pytest.fixture
def start_pooler(postgres: Postgres) -> Iterator[Callable[..., PgBouncer]]:
    started: list[PgBouncer] = []

    def start(mode: str, **settings: Any) -> PgBouncer:
        made = PgBouncer(postgres, mode, **settings)
        started.append(made)
        return made

    yield start
    for pooler in started:
        pooler.close()


def test_session_pooling(
    postgres: Postgres,
    start_pooler: Callable[..., PgBouncer],
    start_deliver: Start,
    receiver: Receiver,
) -> None:
    """A lock tells that a process has ended: the other takes over before the lease ends."""
    url = start_pooler("session").url(postgres.make_database())
    first, second = (start_deliver(store=url).wait_started(30) for _ in range(2))
    slow = itertools.chain([Reply(wait=60)] * 5, itertools.repeat(Reply()))
    receiver.reply = lambda _hook: next(slow)
    worker = first.worker()
    worker.put("shop", receiver.url())
    ids = [worker.deliver(endpoint="shop") for _ in range(5)]
    receiver.wait(5)
    first.kill()
    began = time.monotonic()
    other = second.worker()
    for id in ids:
        other.wait_state(id, "done")
    assert time.monotonic() - began < 30.0  # a lease is a minute
    other.wait_state(other.deliver(endpoint="shop"), "done")


def test_an_application_may_use_transaction_pooling(
    postgres: Postgres,
    start_pooler: Callable[..., PgBouncer],
    start_deliver: Start,
    receiver: Receiver,
) -> None:
    url = postgres.make_database()
    deliver = start_deliver(store=url).wait_started(30)
    deliver.worker().put("shop", receiver.url(), order="key")
    pooled = start_pooler("transaction").url(url)
    with psycopg.connect(pooled, prepare_threshold=None) as connection:
        for number in range(10):
            with connection.transaction():
                connection.execute(
                    "SELECT zurl.deliver('shop', 'x', id => %s, key => 'k')", (f"p{number}",)
                )
    receiver.wait(10)
    assert receiver.ids() == [f"p{number}" for number in range(10)]


@pytest.mark.parametrize(
    ("mode", "settings", "part"),
    [
        ("transaction", {}, "pool_mode=session"),
        ("transaction", {"default_pool_size": 1}, "pool_mode=session"),
        ("statement", {}, "pool_mode=session"),
        ("session", {"default_pool_size": 1}, "two connections"),
    ],
)
def test_poolers_that_deliver_cannot_use_are_refused(
    postgres: Postgres,
    start_pooler: Callable[..., PgBouncer],
    gateway: Daemon,
    mode: str,
    settings: dict[str, Any],
    part: str,
) -> None:
    url = start_pooler(mode, **settings).url(postgres.make_database())
    deliver = Deliver(str(gateway.config_path), store=url).start()
    try:
        assert deliver.wait() > 0
        (line,) = [line for line in deliver.log().splitlines() if "[ERR]" in line]
        assert "store: " in line
        assert part in line
    finally:
        deliver.close()
