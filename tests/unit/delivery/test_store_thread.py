"""The thread that owns the store: batches, results that are kept, bugs that end nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.deadline import wait_until
from zurl_py.delivery.attempts import DEFAULT_SCHEDULE, Outcome, State
from zurl_py.delivery.messages import Stats
from zurl_py.delivery.model import (
    Accepted,
    Claim,
    Claimed,
    Finish,
    Finished,
    NewDelivery,
    Recovered,
)
from zurl_py.delivery.store.base import QueryResult, StoreFull, StoreUnavailable
from zurl_py.delivery.store.secrets import SecretBox
from zurl_py.delivery.store.sqlite import SqliteStore
from zurl_py.delivery.store.thread import StoreThread
from zurl_py.zhttp import Format


class Breaking(SqliteStore):
    """A store that breaks when it is told to."""

    error: Exception | None = None
    gate: threading.Event | None = None
    busy = False
    batches: list[int]
    finishes: list[int]
    verbs: list[str]

    def accept(self, batch: Sequence[NewDelivery], now: float) -> list[Accepted]:
        if self.error is not None:
            raise self.error
        self.batches.append(len(batch))
        self.verbs.append("accept")
        return super().accept(batch, now)

    def finish(self, batch: Sequence[Finish], now: float) -> list[Finished]:
        if self.error is not None:
            raise self.error
        self.finishes.append(len(batch))
        self.verbs.append("finish")
        return super().finish(batch, now)

    def claim(self, batch: Sequence[Claim], now: float) -> list[Claimed]:
        self.verbs.append("claim")
        if self.gate is not None:
            self.busy = True
            self.gate.wait(10)
        return super().claim(batch, now)

    def recover(self, now: float) -> list[Recovered]:
        if self.gate is not None:
            self.busy = True
            self.gate.wait(10)
        return super().recover(now)


class Bench:
    """A thread, and what came back from it."""

    def __init__(self, path: Path) -> None:
        self.store = Breaking(f"sqlite:///{path}", SecretBox(), DEFAULT_SCHEDULE)
        self.store.batches = []
        self.store.finishes = []
        self.store.verbs = []
        self.sent = 0
        self.accepted: list[Accepted] = []
        self.refused: list[tuple[int, Exception]] = []
        self.finished: list[Finished] = []
        self.troubles: list[Exception | None] = []
        self.thread = StoreThread(
            self.store,
            time.time,
            on_accepted=lambda _batch, results, _new: self.accepted.extend(results),
            on_not_accepted=lambda batch, error: self.refused.append((len(batch), error)),
            on_claimed=lambda _results: None,
            on_not_claimed=lambda _claims, _error: None,
            on_finished=self.finished.extend,
            on_recovered=lambda _items: None,
            on_lost=lambda: None,
            on_trouble=self.troubles.append,
        )

    def accept(self, count: int, **fields: Any) -> None:
        now = time.time()
        start, self.sent = self.sent, self.sent + count
        self.thread.accept(
            [
                NewDelivery(None, f"m{start + n}", "", "http://x/", b"", b"d" * 16, now, **fields)
                for n in range(count)
            ]
        )

    def wait(self, condition: Any) -> None:
        def met() -> bool:
            self.thread.deliver_results()
            return bool(condition())

        wait_until(met, "the store's answer")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "store.db")
    yield made
    made.store.error = None
    if made.thread._thread.is_alive():
        assert made.thread.stop(5)


def test_messages_are_committed_64_at_a_time_at_most(bench: Bench) -> None:
    for _ in range(20):
        bench.accept(10)
    bench.thread.start()
    bench.wait(lambda: len(bench.accepted) == 200)
    assert sum(bench.store.batches) == 200
    assert max(bench.store.batches) == 64
    assert len(bench.store.batches) <= 5


@pytest.mark.parametrize("error", [StoreFull("full"), StoreUnavailable("away"), KeyError("a bug")])
def test_messages_that_cannot_be_written_are_answered_with_an_error(
    bench: Bench, error: Exception
) -> None:
    bench.thread.start()
    bench.store.error = error
    bench.accept(3)
    bench.wait(lambda: bench.refused)
    ((count, told),) = bench.refused
    assert count == 3
    assert isinstance(told, StoreFull | StoreUnavailable)
    bench.store.error = None
    bench.accept(1)
    bench.wait(lambda: bench.accepted)
    assert bench.troubles[-1] is None


def test_results_are_kept_and_written_in_order(bench: Bench) -> None:
    bench.thread.start()
    bench.accept(1, claim=True)
    bench.wait(lambda: bench.accepted)
    delivery = bench.accepted[0].delivery
    assert delivery is not None
    bench.store.error = StoreFull("full")
    now = time.time()
    outcome = Outcome(now, code=500)
    bench.thread.finish([Finish(delivery, State.PENDING, now + 100, 1, outcome, "", now)])
    bench.wait(lambda: bench.thread.kept == 1)
    assert bench.finished == []
    bench.store.error = None
    bench.wait(lambda: bench.finished)
    assert bench.thread.kept == 0
    assert not bench.finished[0].stale


def test_a_bug_does_not_end_the_thread(bench: Bench) -> None:
    answers: list[QueryResult | Exception] = []
    bench.thread.start()
    bench.thread.query("no query", answers.append)  # type: ignore[arg-type]
    bench.thread.query(Stats(Format.JSON, "stats"), answers.append)
    bench.wait(lambda: len(answers) == 2)
    assert isinstance(answers[0], StoreUnavailable)
    assert "internal error" in str(answers[0])
    assert isinstance(answers[1], QueryResult)


def test_waiting_results_are_written_together(bench: Bench) -> None:
    bench.thread.start()
    bench.accept(30, claim=True)
    bench.wait(lambda: len(bench.accepted) == 30)
    now = time.time()
    finishes = [
        Finish(accepted.delivery, State.DONE, 0.0, 1, Outcome(now, code=200), "", now)
        for accepted in bench.accepted
        if accepted.delivery is not None
    ]
    gate = threading.Event()
    bench.store.verbs.clear()
    bench.store.gate = gate  # the thread is busy while they come in
    bench.thread.recover()
    wait_until(lambda: bench.store.busy, "the thread to be busy")
    for start in range(0, 30, 3):
        bench.thread.finish(finishes[start : start + 3])
    bench.accept(1)
    gate.set()
    bench.wait(lambda: len(bench.finished) == 30)
    assert bench.store.finishes == [30]
    assert bench.store.verbs == ["accept", "finish"]  # senders wait for their answer


def test_messages_need_not_wait_for_all_claims(bench: Bench) -> None:
    bench.thread.start()
    bench.accept(1)
    bench.wait(lambda: bench.accepted)
    gate = bench.store.gate = threading.Event()
    bench.store.verbs.clear()
    bench.thread.claim([Claim(1, 1, 1) for _ in range(3)])
    wait_until(lambda: bench.store.busy, "the thread to be busy")
    bench.accept(1)
    gate.set()
    bench.wait(lambda: len(bench.store.verbs) == 4)
    assert bench.store.verbs == ["claim", "accept", "claim", "claim"]
