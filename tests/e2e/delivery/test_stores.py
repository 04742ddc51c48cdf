"""Both stores by their verbs: counts that stay true, duplicates, upgrades, and no scans."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.e2e.delivery.bench import Bench
from tests.e2e.delivery.postgres import Postgres
from zurl_py.delivery.attempts import Outcome, State
from zurl_py.delivery.messages import (
    DeliveryList,
    EndpointVerb,
    Replay,
)
from zurl_py.delivery.model import Claim, Finish, SaveEndpoint
from zurl_py.delivery.store import postgres_schema, queries
from zurl_py.delivery.store.base import (
    CountPending,
    StoreUnavailable,
    Sweep,
)
from zurl_py.delivery.store.sqlite import SqliteStore


def life(bench: Bench) -> Iterator[int]:
    """Deliveries of all kinds; yields how many are held whenever something has changed."""
    bench.put("a")
    bench.put("b", order="key", dead_head="stop")
    bench.accept("a", 10)
    bench.accept("b", 6, key="k")
    yield 0
    leased = bench.claim("a", "b")
    assert len(leased) == 11
    bench.finish(leased[:4], State.DONE)
    bench.finish(leased[4:6], State.DEAD, "gone")
    bench.finish(leased[6:7], State.PENDING)
    bench.finish(leased[10:], State.DEAD, "gone")
    yield 0
    bench.ask(EndpointVerb, "endpoint-disable", endpoint="a")
    yield 4
    bench.ask(EndpointVerb, "endpoint-enable", endpoint="a")
    bench.ask(Replay, "replay", endpoint="a", state="dead")
    yield 0
    bench.ask(Replay, "replay", id="m11")
    bench.finish(bench.claim("b"), State.DONE)
    yield 0
    bench.accept("a", 3, expires_at=bench.now + 5)
    bench.now += 10
    bench.query(Sweep(bench.now))
    yield 0
    bench.ask(EndpointVerb, "endpoint-delete", endpoint="b")
    bench.query(Sweep(bench.now))
    yield 0
    bench.now += 10 * 86_400
    bench.query(Sweep(bench.now))
    yield 0
    bench.now += 60 * 86_400
    bench.query(Sweep(bench.now))
    yield 0


def test_counts_stay_true(bench: Bench) -> None:
    seen = []
    for held in life(bench):
        seen.append(bench.check_counts(held))
    assert [sum(states.values()) for states in seen] == [16] * 5 + [19, 19, 14, 6]
    assert seen[-1]["pending"] == 6
    assert bench.rows("SELECT count(*) FROM payload") == [(6,)]
    bench.reopen()
    assert bench.check_counts() == seen[-1]


def test_repeats_within_and_between_batches(bench: Bench) -> None:
    bench.put("a")
    first, again, other = bench.store.accept(
        [bench.new("a", id="x"), bench.new("a", id="x"), bench.new("a", id="x", body=b"other")],
        bench.now,
    )
    assert (first.duplicate, first.error) == (False, None)
    assert (again.duplicate, again.error) == (True, None)
    assert other.error is not None
    assert other.error[0] == "conflict"
    (again,) = bench.accept("a", id="x")
    assert again.duplicate
    assert bench.check_counts()["pending"] == 1


def test_bodies_of_one_batch_are_not_mixed_up(bench: Bench) -> None:
    """They are written together."""
    bench.put("a")
    bodies = [b"", b"\x00\xff", b"one", b"", b"x" * 100_000, b"\\x00"]
    batch = [
        bench.new("a", body=body, event=f"e'{{\"{n}\\", headers=((b"X-A", b"\xe9%d" % n),))
        for n, body in enumerate(bodies)
    ]
    bench.store.accept(batch, bench.now)
    leased = bench.claim("a")
    assert [delivery.body for delivery in leased] == bodies
    assert [delivery.event for delivery in leased] == [new.event for new in batch]
    assert [delivery.headers for delivery in leased] == [new.headers for new in batch]
    bench.finish(leased, State.DONE)
    answers = bench.rows("SELECT seq, body FROM attempt ORDER BY seq")
    assert [bytes(body) for _, body in answers] == [b"answer %d" % seq for seq, _ in answers]


def test_claims_of_many_endpoints(bench: Bench) -> None:
    for name in "abc":
        bench.put(name)
    bench.accept("a", 3)
    bench.accept("b", 2, not_before=bench.now + 100)
    a, b, c = (bench.number_of(name) for name in "abc")
    claims = [Claim(c, 5, 1000), Claim(a, 2, 1000), Claim(b, 5, 1000), Claim(99, 5, 1000)]
    results = bench.store.claim(claims, bench.now)
    assert [result.endpoint for result in results] == [c, a, b, 99]
    assert [len(result.deliveries) for result in results] == [0, 2, 0, 0]
    assert [result.next_due for result in results] == [None, bench.now, bench.now + 100, None]
    (rest,) = bench.store.claim([Claim(a, 5, 1)], bench.now)  # one at least, whatever its size
    assert len(rest.deliveries) == 1
    assert rest.next_due is None


def listed(bench: Bench, **fields: Any) -> list[str]:
    """All that ``delivery-list`` finds, page by page."""
    found: list[str] = []
    after = ""
    while True:
        answer = bench.ask(DeliveryList, "delivery-list", after=after, limit=2, **fields).answer
        found += [delivery["id"] for delivery in answer["deliveries"]]
        after = answer.get("next", "")
        if not after:
            return found


@pytest.mark.parametrize("few", [100, 0])
def test_lists_have_all_of_a_state(bench: Bench, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the index of each endpoint, and by a walk through the table."""
    monkeypatch.setattr(queries, "_FEW", few)
    monkeypatch.setattr(queries, "_SLICE", 3)
    for name in "abc":
        bench.put(name)
    bench.put("keyed", order="key")
    for number in range(6):
        for name in ("a", "b", "c", "keyed"):
            bench.accept(name, id=f"{name}{number}", key="k")
    leased = bench.claim("a", "b", limit=4)
    bench.finish([delivery for delivery in leased if delivery.id in ("a0", "b1")], State.DONE)
    bench.finish([delivery for delivery in leased if delivery.id in ("a2", "b2")], State.DEAD)
    bench.store.in_flight = {delivery.seq for delivery in leased if delivery.id in ("a1", "b3")}
    bench.ask(EndpointVerb, "endpoint-disable", endpoint="c")
    keyed = [f"keyed{number}" for number in range(6)]
    assert listed(bench, state="done") == ["a0", "b1"]
    assert listed(bench, state="dead") == ["a2", "b2"]
    assert listed(bench, state="dead", endpoint="b") == ["b2"]
    assert listed(bench, state="dead", endpoint="c") == []
    assert {"a1", "b3"} <= set(listed(bench, state="leased"))
    assert listed(bench, state="held") == [f"c{number}" for number in range(6)]
    assert listed(bench, state="held", endpoint="a") == []
    assert listed(bench, state="pending", endpoint="c") == []
    assert listed(bench, state="pending", endpoint="keyed") == keyed
    pending = listed(bench, state="pending")
    assert [id for id in pending if id[:-1] in ("b", "keyed")][-4:] == [
        "b4",
        "keyed4",
        "b5",
        "keyed5",
    ]
    assert set(keyed) < set(pending)
    assert len(listed(bench)) == 24


def test_a_stale_result_is_dropped_and_the_current_one_is_kept(bench: Bench) -> None:
    if isinstance(bench.store, SqliteStore):
        return  # nobody else can have the file
    bench.put("a")
    bench.accept("a")
    (first,) = bench.claim("a")
    bench.rows("UPDATE delivery SET owner = NULL RETURNING seq")
    (second,) = bench.claim("a")
    late, good = bench.store.finish(
        [
            Finish(delivery, State.DONE, 0.0, 1, Outcome(bench.now, code=code), "", bench.now)
            for delivery, code in ((first, 201), (second, 202))
        ],
        bench.now,
    )
    assert late.stale
    assert not good.stale
    assert bench.rows("SELECT code FROM attempt") == [(202,)]


def test_a_result_does_not_undo_what_the_operator_did(bench: Bench) -> None:
    """It may have been made before the loop knew."""
    bench.put("a")
    number = bench.number_of("a")
    bench.accept("a", 2)
    first, second = bench.claim("a")
    bench.ask(EndpointVerb, "endpoint-disable", endpoint="a")
    save = SaveEndpoint(number, "", 0.0, bench.now, 0)
    finish = Finish(first, State.PENDING, bench.now, 1, Outcome(bench.now, code=500), save=save)
    bench.store.finish([finish], bench.now)
    answer = bench.ask(EndpointVerb, "endpoint-get", endpoint="a").answer
    assert (answer["disabled"], answer["reason"]) == (True, "operator")
    save = SaveEndpoint(number, "gone", 0.0, bench.now, 0)
    finish = Finish(second, State.DEAD, 0.0, 1, Outcome(bench.now, code=410), "gone", save=save)
    bench.store.finish([finish], bench.now)
    assert bench.ask(EndpointVerb, "endpoint-get", endpoint="a").answer["reason"] == "gone"


def test_an_older_sqlite_store_is_upgraded(tmp_path: Path) -> None:
    bench = Bench(f"sqlite:///{tmp_path}/store.db")
    list(life(bench))
    bench.accept("a", 2)
    bench.store.close()
    connection = sqlite3.connect(tmp_path / "store.db")
    connection.executescript(
        "DROP INDEX delivery_open; DROP INDEX delivery_dead; DROP TABLE counter;"
        "CREATE TABLE counter (state INTEGER PRIMARY KEY, number INTEGER); PRAGMA user_version = 1"
    )
    connection.close()
    bench.store = bench.open()
    assert bench.check_counts()["pending"] == 8
    bench.reopen()
    assert bench.check_counts()["pending"] == 8
    bench.store.close()


def test_an_older_postgresql_schema_is_upgraded(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.make_database()
    latest = postgres_schema.MIGRATIONS
    monkeypatch.setattr(postgres_schema, "MIGRATIONS", latest[:1])
    monkeypatch.setattr(postgres_schema, "LATEST", 1)
    with psycopg.connect(url, autocommit=True) as connection:
        postgres_schema.migrate(connection)
        connection.execute("INSERT INTO zurl.endpoint (name, settings) VALUES ('a', '{}')")
        connection.execute(
            "INSERT INTO zurl.delivery (id, endpoint, state, due, size, accepted)"
            " VALUES ('1', 1, 0, 0, 0, 0), ('2', 1, 1, 0, 0, 0)"
        )
        monkeypatch.setattr(postgres_schema, "MIGRATIONS", latest)
        monkeypatch.setattr(postgres_schema, "LATEST", len(latest))
        postgres_schema.migrate(connection)
        connection.execute("SELECT zurl.deliver('a', '3')")
        counted = connection.execute(
            "SELECT sum(pending), sum(done), sum(dead) FROM"
            " (SELECT * FROM zurl.counter UNION ALL SELECT * FROM zurl.change) AS counted"
        ).fetchone()
    assert counted == (2, 1, 0)


class Recorder:
    """Keeps every statement that a store runs."""

    def __init__(self, store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.statements: dict[str, Sequence[Any]] = {}
        if isinstance(store, SqliteStore):
            self._connection: Any = store._state.connection
            recorded = _Recorded(self._connection, self.statements)
            monkeypatch.setattr(store._state, "connection", recorded)
        else:
            self._connection = store._session.connection()
            execute = self._connection.execute
            monkeypatch.setattr(
                self._connection,
                "execute",
                lambda sql, values=(): (
                    self.statements.update({sql: values}),
                    execute(sql, values),
                )[1],
            )
            self._explain = execute

    def plans(self) -> Iterator[tuple[str, str]]:
        """Statements, each with its plan."""
        for sql, values in self.statements.items():
            if sql.split()[0] not in ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH"):
                continue
            if isinstance(self._connection, sqlite3.Connection):
                rows = self._connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
                yield sql, "\n".join(row[3] for row in rows)
            else:
                rows = self._explain(f"EXPLAIN {sql}", values).fetchall()
                yield sql, "\n".join(row[0] for row in rows)


class _Recorded:
    """A connection to SQLite that keeps statements."""

    def __init__(self, connection: sqlite3.Connection, statements: dict[str, Any]) -> None:
        self._connection = connection
        self._statements = statements

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        self._statements[sql] = values
        return self._connection.execute(sql, values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def test_no_statement_looks_at_every_delivery(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the tables' sizes, and whether or not the planner knows them."""
    recorder = Recorder(bench.store, monkeypatch)
    for _ in life(bench):
        pass
    bench.accept("a", 3, claim=True, key="k")
    for order in ("key", "endpoint", "none"):
        bench.put("a", order=order)
        bench.accept("a", key="k")
    bench.finish(bench.claim("a"), State.DEAD, "gone")
    bench.put("a", order="key")
    bench.ask(Replay, "replay", endpoint="a", state="dead")
    bench.query(CountPending((1,), 10))
    for state in ("pending", "dead", "held", "leased", "done"):
        bench.ask(DeliveryList, "delivery-list", state=state, endpoint="a", limit=10)
        bench.ask(DeliveryList, "delivery-list", state=state, limit=10)
    bench.store.recover(bench.now)
    looked_at = list(recorder.plans())
    assert len(looked_at) > 30
    for sql, plan in looked_at:
        for line in plan.splitlines():
            whole = "SCAN delivery" in line or "Seq Scan on delivery" in line
            assert not whole or "GROUP BY state" in sql, f"{sql}\n{plan}"


def test_checkpoints_are_small(tmp_path: Path) -> None:
    """An accept that comes during one waits for all of its pages."""
    bench = Bench(f"sqlite:///{tmp_path}/store.db")
    bench.put("a")
    for _ in range(40):
        bench.accept("a", 64, body=b"x" * 1000)
    wal = (tmp_path / "store.db-wal").stat().st_size
    bench.store.close()
    assert wal < 4 << 20


class _Failing(_Recorded):
    """A connection whose commits and checkpoints fail while ``failing`` holds their first word."""

    failing: tuple[str, ...] = ()

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        self._statements[sql] = values
        if sql.startswith(self.failing) and self.failing:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
            raise error
        return self._connection.execute(sql, values)


def test_after_a_failed_sync_the_wal_goes_into_the_file_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system forgets what it could not write: later commits would stand on nothing."""
    checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)"
    bench = Bench(f"sqlite:///{tmp_path}/store.db")
    bench.put("a")
    store: Any = bench.store
    statements: dict[str, Any] = {}
    connection = _Failing(store._state.connection, statements)
    monkeypatch.setattr(store._state, "connection", connection)
    bench.accept("a")
    assert checkpoint not in statements
    connection.failing = ("COMMIT",)
    with pytest.raises(StoreUnavailable):
        bench.accept("a")
    connection.failing = ("PRAGMA wal_checkpoint",)
    for _ in range(2):  # until it has succeeded
        statements.clear()
        with pytest.raises(StoreUnavailable):
            bench.accept("a")
        assert checkpoint in statements
    connection.failing = ()
    statements.clear()
    bench.accept("a")
    assert list(statements).index(checkpoint) < list(statements).index("BEGIN IMMEDIATE")
    statements.clear()
    bench.accept("a")
    assert checkpoint not in statements
    assert bench.check_counts()["pending"] == 3
    bench.store.close()
