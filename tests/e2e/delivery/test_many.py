"""Changes of many deliveries go in slices: other work goes on between them, and a crash loses none.

By the verbs of both stores, and with a ``deliver`` that is killed in the middle.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.webhooks_backlog import fill
from tests.e2e.delivery.bench import Bench
from tests.e2e.delivery.process import Deliver
from tests.e2e.delivery.receiver import Receiver
from zurl_py.delivery.attempts import State
from zurl_py.delivery.messages import EndpointPut, EndpointVerb, Replay
from zurl_py.delivery.store import changes, ordering
from zurl_py.delivery.store.base import Query, QueryResult, Store, Sweep
from zurl_py.zhttp import Format

_SLICE = 10


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "SLICE", _SLICE)
    monkeypatch.setattr(changes, "_READ", 3 * _SLICE)
    monkeypatch.setattr(changes, "_KEYS", 2)
    monkeypatch.setattr(ordering, "_SLICE", _SLICE)
    monkeypatch.setattr(ordering, "_READ", 3 * _SLICE)
    monkeypatch.setattr(ordering, "_KEYS", 2)


def in_slices(bench: Bench, query: Query) -> Iterator[QueryResult]:
    """The results of a query, slice by slice; between them others are accepted and delivered."""
    if not bench.rows("SELECT 1 FROM endpoint WHERE name = 'other'"):
        bench.put("other")
    before = snapshot(bench)
    while True:
        result = bench.store.query(query, bench.now)
        after = snapshot(bench)
        changed = [seq for seq, row in before.items() if after.get(seq) != row]
        assert len(changed) <= _SLICE + 2, "more than a slice"
        yield result
        if result.again is None:
            return
        query = result.again
        (accepted,) = bench.accept("other")
        assert accepted.error is None
        bench.finish(bench.claim("other"), State.DONE)
        before = snapshot(bench)


def snapshot(bench: Bench) -> dict[int, tuple[Any, ...]]:
    rows = bench.rows("SELECT seq, state, blocked, due, okey FROM delivery")
    return {row[0]: tuple(row[1:]) for row in rows}


def waiting_for_a_retry(bench: Bench, count: int, **fields: Any) -> None:
    """An endpoint ``e`` that is disabled, with deliveries that have failed once."""
    bench.put("e", **fields)
    for _ in range(count):
        bench.accept("e")
    bench.finish(bench.claim("e", limit=count), State.PENDING)
    bench.ask(EndpointVerb, "endpoint-disable", endpoint="e")


def disabled(bench: Bench) -> str:
    ((found,),) = bench.rows("SELECT disabled FROM endpoint WHERE name = 'e'")
    return str(found)


def in_state(bench: Bench, state: int) -> int:
    ((count,),) = bench.rows(
        "SELECT count(*) FROM delivery WHERE endpoint ="
        f" (SELECT id FROM endpoint WHERE name = 'e') AND state = {state}"
    )
    return int(count)


def enable() -> EndpointVerb:
    return EndpointVerb(Format.JSON, "endpoint-enable", endpoint="e")


def test_enable(bench: Bench) -> None:
    waiting_for_a_retry(bench, 35)
    results = in_slices(bench, enable())
    for _ in range(3):
        assert next(results).again is not None
        assert disabled(bench) == "operator"
        assert bench.claim("e") == []
    (last,) = results
    assert [(item.endpoint.name, item.next_due) for item in last.changed] == [("e", bench.now)]
    assert disabled(bench) == ""
    assert len(bench.claim("e", limit=100)) == 35


def test_enable_and_a_crash(bench: Bench) -> None:
    waiting_for_a_retry(bench, 35)
    assert next(in_slices(bench, enable())).again is not None
    bench.reopen()
    assert bench.check_counts(held=35)["pending"] == 0
    assert disabled(bench) == "operator"
    bench.query(enable())
    assert len(bench.claim("e", limit=100)) == 35


def test_enable_of_an_endpoint_that_is_deleted_meanwhile(bench: Bench) -> None:
    waiting_for_a_retry(bench, 15)
    result = next(in_slices(bench, enable()))
    assert result.again is not None
    bench.ask(EndpointVerb, "endpoint-delete", endpoint="e")
    with pytest.raises(Exception, match="no endpoint"):
        bench.store.query(result.again, bench.now)
    bench.query(Sweep(bench.now))
    assert in_state(bench, 2) == 15


@pytest.mark.parametrize("order", ["none", "key"])
def test_replay(bench: Bench, order: str) -> None:
    bench.put("e", order=order)
    for number in range(33):
        bench.accept("e", key=f"k{number % 3}")
        bench.finish(bench.claim("e"), State.DEAD, "gone")
    replay = Replay(Format.JSON, "replay", endpoint="e", state="dead")
    results = list(in_slices(bench, replay))
    assert len(results) > 3
    assert results[-1].answer == {"count": 33}
    bench.check_counts()
    sent = bench.claim("e", limit=100)
    assert len(sent) == (33 if order == "none" else 3)
    while sent:  # each key in its order, to the end
        bench.finish(sent, State.DONE)
        sent = bench.claim("e", limit=100)
    assert in_state(bench, 1) == 33


def test_replay_and_a_crash(bench: Bench) -> None:
    bench.put("e")
    bench.accept("e", 33)
    bench.finish(bench.claim("e"), State.DEAD, "gone")
    replay = Replay(Format.JSON, "replay", endpoint="e", state="dead")
    assert next(in_slices(bench, replay)).again is not None
    bench.reopen()
    bench.check_counts()
    assert in_state(bench, 0) == _SLICE
    assert bench.query(replay).answer == {"count": 33 - _SLICE}
    assert len(bench.claim("e")) == 33


def test_replay_behind_one_that_waits(bench: Bench) -> None:
    """Those of its key wait for it, although they were accepted before."""
    bench.put("e", order="key")
    for _ in range(3):
        bench.accept("e", key="k")
        bench.finish(bench.claim("e"), State.DEAD, "gone")
    bench.accept("e", key="k")
    bench.finish(bench.claim("e"), State.PENDING)
    assert bench.ask(Replay, "replay", endpoint="e", state="dead").answer == {"count": 3}
    assert bench.claim("e") == []
    bench.now += 60
    seen = []
    while sent := bench.claim("e"):
        seen.append([delivery.id for delivery in sent])
        bench.finish(sent, State.DONE)
    assert seen == [["m4"], ["m1"], ["m2"], ["m3"]]


@pytest.mark.parametrize("order", ["none", "key"])
def test_delete(bench: Bench, order: str) -> None:
    bench.put("e", order=order)
    for number in range(35):
        bench.accept("e", key=f"k{number % 3}")
    results = list(in_slices(bench, EndpointVerb(Format.JSON, "endpoint-delete", endpoint="e")))
    assert len(results) >= 4
    assert sum(len(result.dead) for result in results) == 35
    bench.check_counts()
    assert in_state(bench, 2) == 35


@pytest.mark.parametrize("order", ["none", "key"])
def test_expired(bench: Bench, order: str) -> None:
    bench.put("e", order=order)
    for number in range(35):
        bench.accept("e", key=f"k{number % 7}", expires_at=bench.now + 5)
    bench.accept("e", key="k0")
    bench.now += 10
    results = list(in_slices(bench, Sweep(bench.now)))
    assert len(results) >= 4
    assert sum(len(result.dead) for result in results) == 35
    assert [delivery.id for delivery in bench.claim("e", limit=100)] == ["m36"]


def test_expired_and_its_endpoint_deleted(bench: Bench) -> None:
    """Each dies once, and is counted once."""
    bench.put("e")
    bench.accept("e", 3, expires_at=bench.now + 5)
    bench.accept("e", 2)
    bench.now += 10
    results = list(in_slices(bench, EndpointVerb(Format.JSON, "endpoint-delete", endpoint="e")))
    dead = [id for result in results for id, _ in result.dead]
    assert sorted(dead) == ["m1", "m2", "m3", "m4", "m5"]
    bench.check_counts()


def test_forgotten(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """In slices of rows, and of bytes."""
    monkeypatch.setattr(changes, "_BYTES", 1000)
    bench.put("e")
    bench.accept("e", 8, body=b"x" * 400)
    bench.accept("e", 25)
    bench.finish(bench.claim("e"), State.DONE)
    bench.now += 30 * 86_400
    results = list(in_slices(bench, Sweep(bench.now)))
    assert len(results) >= 6
    assert in_state(bench, 1) == 0
    assert bench.rows("SELECT count(*) FROM payload")[0][0] == len(results) - 1


def order_by(order: str, **fields: Any) -> EndpointPut:
    uri = "http://127.0.0.1/"
    return EndpointPut(Format.JSON, "endpoint-put", endpoint="e", uri=uri, order=order, **fields)


def drained(bench: Bench) -> list[list[str]]:
    """What is sent together, until nothing is left."""
    rounds = []
    while sent := bench.claim("e", limit=100):
        rounds.append(sorted((delivery.id for delivery in sent), key=lambda id: int(id[1:])))
        bench.finish(sent, State.DONE)
    return rounds


@pytest.mark.parametrize("before", ["none", "endpoint"])
def test_ordering(bench: Bench, before: str) -> None:
    bench.put("e", order=before)
    for number in range(33):
        bench.accept("e", key=f"k{number % 3}")
    bench.accept("e")
    results = in_slices(bench, order_by("key"))
    assert next(results).again is not None
    assert bench.claim("e") == []
    shown = bench.ask(EndpointVerb, "endpoint-get", endpoint="e").answer
    assert (shown["disabled"], shown["reason"], shown["order"]) == (True, "ordering", "key")
    bench.accept("e", key="k0", id="m900")
    list(results)
    assert disabled(bench) == ""
    rounds = drained(bench)
    assert rounds[0] == ["m1", "m2", "m3", "m34"]
    assert rounds[1] == ["m4", "m5", "m6"]
    assert rounds[-1] == ["m900"]
    assert in_state(bench, 1) == 35


def test_ordering_no_more(bench: Bench) -> None:
    bench.put("e", order="endpoint")
    for _ in range(35):
        bench.accept("e")
    assert len(list(in_slices(bench, order_by("none")))) >= 4
    assert [len(sent) for sent in drained(bench)] == [35]


def test_ordering_of_what_a_dead_one_stops(bench: Bench) -> None:
    bench.put("e", order="key", dead_head="stop")
    for number in range(24):
        bench.accept("e", key=f"k{number % 12}")
    bench.finish(bench.claim("e"), State.DEAD, "gone")
    assert bench.claim("e") == []
    list(in_slices(bench, order_by("key", dead_head="skip")))
    assert [len(sent) for sent in drained(bench)] == [12]


@pytest.fixture
def other(bench: Bench) -> Iterator[Store]:
    """The store by which the order is changed: with PostgreSQL another process's."""
    if bench.url.startswith("sqlite"):
        yield bench.store
        return
    made = bench.open()
    yield made
    made.close()


@pytest.mark.parametrize("state", [State.DONE, State.DEAD])
def test_ordering_with_one_in_flight(bench: Bench, other: Store, state: State) -> None:
    bench.put("e")
    for _ in range(3):
        bench.accept("e", key="k")
    first = bench.claim("e", limit=1)
    other.query(order_by("key"), bench.now)
    bench.finish(first, state)
    assert drained(bench) == [["m2"], ["m3"]]
    bench.check_counts()


def test_ordering_with_retries_of_what_is_in_flight(bench: Bench, other: Store) -> None:
    bench.put("e")
    for _ in range(3):
        bench.accept("e", key="k")
    sent = bench.claim("e")
    other.query(order_by("key"), bench.now)
    bench.finish([sent[0], sent[2]], State.PENDING)
    bench.finish([sent[1]], State.DONE)
    bench.now += 60
    assert drained(bench) == [["m1"], ["m3"]]


def test_ordering_no_more_with_one_in_flight(bench: Bench, other: Store) -> None:
    """A dead one stops nobody then, and is forgotten."""
    bench.put("e", order="key", dead_head="stop")
    for _ in range(2):
        bench.accept("e", key="k")
    first = bench.claim("e")
    other.query(order_by("none", dead_head="stop"), bench.now)
    bench.finish(first, State.DEAD)
    assert drained(bench) == [["m2"]]
    bench.now += 60 * 86_400
    bench.query(Sweep(bench.now))
    assert bench.rows("SELECT count(*) FROM delivery") == [(0,)]


@pytest.mark.parametrize("again", ["put", "enable", "sweep"])
def test_ordering_and_a_crash(bench: Bench, again: str) -> None:
    bench.put("e")
    for number in range(33):
        bench.accept("e", key=f"k{number % 3}")
    results = in_slices(bench, order_by("key"))
    assert [next(results).again is not None for _ in range(2)] == [True, True]
    bench.reopen()
    assert bench.check_counts(held=33)["dead"] == 0
    questions: dict[str, Query] = {
        "put": order_by("key"),
        "enable": enable(),
        "sweep": Sweep(bench.now),
    }
    bench.query(questions[again])
    assert disabled(bench) == ""
    assert [len(sent) for sent in drained(bench)] == [3] * 11


def test_ordering_of_a_disabled_endpoint_does_not_enable_it(bench: Bench) -> None:
    waiting_for_a_retry(bench, 35)
    list(in_slices(bench, order_by("key")))
    assert disabled(bench) == "operator"


def test_ordering_and_the_operator(bench: Bench) -> None:
    """What disables the endpoint meanwhile, or enables it, is not lost."""
    bench.put("e")
    for _ in range(35):
        bench.accept("e", key="k")
    first = next(in_slices(bench, order_by("key")))
    bench.ask(EndpointVerb, "endpoint-disable", endpoint="e")
    assert first.again is not None
    bench.query(first.again)
    assert disabled(bench) == "operator"
    second = next(in_slices(bench, order_by("none")))
    assert second.again is not None
    bench.query(enable())
    assert disabled(bench) == ""
    assert bench.query(second.again).answer == {}
    assert [len(sent) for sent in drained(bench)] == [35]


def test_a_deliver_that_is_killed_while_it_enables(
    start_deliver: Callable[..., Deliver], receiver: Receiver, tmp_path: Path
) -> None:
    """Meanwhile it accepts; and afterwards everything is there, and is sent."""
    pending = 60_000
    path = tmp_path / "store.db"
    fill(path, pending, 1, receiver.url(), tries=1, due=time.time() + 86_400)
    deliver = start_deliver(store=f"sqlite://{path}", loglevel=1)
    worker = deliver.wait_started(30).worker()
    assert worker.ask("endpoint-disable", endpoint="e1")["type"] == "ok"
    worker.send({"type": "endpoint-enable", "endpoint": "e1", "user-data": "enable"})
    other = worker.deliver(uri=receiver.url("/other"))  # the answer is this one's, not the other's
    receiver.wait_for(other)
    deliver.kill()
    deliver.start().wait_started(30)
    worker = deliver.worker()
    states = worker.ask("stats")["states"]
    assert (states["held"], states["dead"]) == (pending, 0)
    assert worker.ask("endpoint-enable", endpoint="e1", within=60)["type"] == "ok"
    waiting = worker.ask("delivery-list", state="pending", limit=1000)["deliveries"]
    assert all(delivery["due"] <= time.time() for delivery in waiting)
    receiver.wait(100)
