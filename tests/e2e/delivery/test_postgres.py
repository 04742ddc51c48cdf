"""PostgreSQL as the store: the function for applications, several processes, all that may break."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, LiteralString

import psycopg
import pytest

from tests.e2e.delivery.bench import Bench
from tests.e2e.delivery.postgres import Postgres
from tests.e2e.delivery.process import Deliver
from tests.e2e.delivery.receiver import Receiver, Reply
from tests.support import Daemon
from tests.support.deadline import wait_until
from zurl_py.delivery.attempts import Outcome, State
from zurl_py.delivery.model import Finish, Finished, SaveEndpoint
from zurl_py.delivery.store.base import QueryResult, Sweep

Start = Callable[..., Deliver]
Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def store_kind() -> str:
    return "postgresql"


@pytest.fixture
def pair(start_deliver: Start, postgres: Postgres) -> tuple[Deliver, Deliver]:
    """Two processes on one database, with a short lease."""
    url = postgres.make_database()
    first = start_deliver(store=url, lease=3, schedule="0,0.3,0.3").wait_started()
    return first, start_deliver(store=url, lease=3, schedule="0,0.3,0.3").wait_started()


@pytest.fixture
def application(start_deliver: Start) -> Iterator[tuple[Connection, Deliver]]:
    """An application's connection to the database of a ``deliver``."""
    deliver = start_deliver(schedule="0,0.3", max_body=1000).wait_started()
    with psycopg.connect(deliver.settings["store"]) as connection:
        connection.autocommit = True
        yield connection, deliver


def deliver_sql(connection: Connection, *values: Any, **named: Any) -> str:
    arguments = ["%s"] * len(values) + [f"{name} => %({name})s" for name in named]
    if named:
        positional = {f"p{number}": value for number, value in enumerate(values)}
        arguments = [f"%({name})s" for name in positional]
        arguments += [f"{name} => %({name})s" for name in named]
        row = connection.execute(
            f"SELECT zurl.deliver({', '.join(arguments)})", {**positional, **named}
        ).fetchone()
    else:
        row = connection.execute(f"SELECT zurl.deliver({', '.join(arguments)})", values).fetchone()
    assert row is not None
    id: str = row[0]
    return id


class TestFunction:
    def test_both_or_neither(
        self, application: tuple[Connection, Deliver], receiver: Receiver
    ) -> None:
        connection, deliver = application
        worker = deliver.worker()
        worker.put("shop", receiver.url())
        connection.execute("CREATE TABLE orders (number int)")
        with connection.transaction():
            connection.execute("INSERT INTO orders VALUES (1)")
            kept = deliver_sql(connection, "shop", b"kept", event="order.paid")
            time.sleep(0.3)
            assert receiver.webhooks == []  # not before the commit
        with connection.transaction():
            connection.execute("INSERT INTO orders VALUES (2)")
            lost = deliver_sql(connection, "shop", b"lost")
            raise psycopg.Rollback
        (hook,) = receiver.wait_for(kept)
        assert (hook.body, hook.headers["webhook-event"]) == (b"kept", "order.paid")
        assert worker.ask("delivery-get", id=lost)["condition"] == "unknown-delivery"
        assert connection.execute("SELECT number FROM orders").fetchall() == [(1,)]
        worker.wait_state(kept, "done")

    def test_all_arguments(
        self, application: tuple[Connection, Deliver], receiver: Receiver
    ) -> None:
        connection, deliver = application
        worker = deliver.worker()
        worker.put("shop", receiver.url(), headers=[["X-A", "endpoint"]])
        id = deliver_sql(
            connection,
            "shop",
            b"\x00\xff",
            id="mine",
            event="e",
            headers='{"x-a": "é", "X-B": "2"}',
            key="k",
            expires="1 hour",
        )
        assert id == "mine"
        (hook,) = receiver.wait_for("mine")
        assert hook.body == b"\x00\xff"
        assert hook.headers["x-a"].encode("latin-1").decode() == "é"
        assert hook.headers["x-b"] == "2"
        made = deliver_sql(connection, "shop", b"", headers='[["X-C", "3"]]')
        assert receiver.wait_for(made)[0].headers["x-c"] == "3"
        assert made.startswith("msg_")
        assert made[18] == "7"

    def test_duplicates_whatever_way_they_come(
        self, application: tuple[Connection, Deliver], receiver: Receiver
    ) -> None:
        connection, deliver = application
        worker = deliver.worker()
        worker.put("shop", receiver.url())
        fields: dict[str, Any] = {"endpoint": "shop", "body": "b", "id": "one", "event": "e"}
        assert worker.ask("deliver", **fields, headers=[["A", "b"]])["duplicate"] is False
        headers = '{"A": "b"}'
        assert deliver_sql(connection, "shop", b"b", "one", "e", headers) == "one"
        with pytest.raises(psycopg.errors.UniqueViolation, match="conflict"):
            deliver_sql(connection, "shop", b"b", "one", "e")
        with pytest.raises(psycopg.errors.UniqueViolation, match="conflict"):
            deliver_sql(connection, "shop", b"c", "one", "e", headers)
        assert deliver_sql(connection, "shop", b"b", "two") == "two"
        answer = worker.ask("deliver", endpoint="shop", body="b", id="two")
        assert answer["duplicate"] is True
        answer = worker.ask("deliver", endpoint="shop", body="c", id="two")
        assert answer["condition"] == "conflict"
        worker.wait_state("two", "done")
        assert sorted(receiver.ids()) == ["one", "two"]

    @pytest.mark.parametrize(
        ("values", "part"),
        [
            (("nobody", b""), "unknown-endpoint"),
            ((None, b""), "unknown-endpoint"),
            (("shop", None), "body"),
            (("shop", b"x" * 1001), "1000 bytes"),
            (("shop", b"", ""), "id"),
            (("shop", b"", "a b"), "id"),
            (("shop", b"", None, ""), "event"),
            (("shop", b"", None, "a\nb"), "event"),
            (("shop", b"", None, None, '{"A B": "c"}'), "headers"),
            (("shop", b"", None, None, '{"webhook-id": "c"}'), "headers"),
            (("shop", b"", None, None, '{"A": "b\\nc"}'), "headers"),
            (("shop", b"", None, None, '{"A": 5}'), "headers"),
            (("shop", b"", None, None, '"A: b"'), "headers"),
            (("shop", b"", None, None, None, None, "-1 second"), "expires"),
            (("shop", b"", None, None, None, None, "0"), "expires"),
        ],
    )
    def test_refused(self, shared_deliver: Deliver, values: tuple[Any, ...], part: str) -> None:
        shared_deliver.wait_started()
        with psycopg.connect(shared_deliver.settings["store"], autocommit=True) as connection:
            worker = shared_deliver.worker()
            worker.put("shop", "http://127.0.0.1:1/")
            connection.execute("UPDATE zurl.setting SET value = '1000' WHERE name = 'max_body'")
            with pytest.raises(psycopg.Error, match=f"zurl.deliver: .*{part}"):
                deliver_sql(connection, *values)

    def test_an_application_without_rights_to_the_tables(
        self, application: tuple[Connection, Deliver], receiver: Receiver
    ) -> None:
        connection, deliver = application
        deliver.worker().put("shop", receiver.url())
        connection.execute("DROP ROLE IF EXISTS application")
        connection.execute("CREATE ROLE application")
        connection.execute("GRANT USAGE ON SCHEMA zurl TO application")
        connection.execute("SET ROLE application")
        receiver.wait_for(deliver_sql(connection, "shop", b""))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM zurl.endpoint")
        connection.execute("RESET ROLE")
        connection.execute("DROP OWNED BY application")
        connection.execute("DROP ROLE application")

    def test_order_is_that_of_the_commits(
        self, application: tuple[Connection, Deliver], receiver: Receiver
    ) -> None:
        connection, deliver = application
        deliver.worker().put("shop", receiver.url(), order="key")
        url = deliver.settings["store"]

        def send(start: int) -> None:
            with psycopg.connect(url) as other:
                for number in range(start, start + 10):
                    with other.transaction():
                        deliver_sql(other, "shop", b"", f"o{number}", key="k")

        threads = [threading.Thread(target=send, args=(start,)) for start in (0, 10, 20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        receiver.wait(30)
        rows = connection.execute("SELECT id FROM zurl.delivery ORDER BY seq").fetchall()
        assert receiver.ids() == [row[0] for row in rows]


class TestSeveralProcesses:
    def test_each_delivery_once(self, pair: tuple[Deliver, Deliver], receiver: Receiver) -> None:
        workers = [deliver.worker() for deliver in pair]
        workers[0].put("shared", receiver.url())
        workers[0].ask("endpoint-disable", endpoint="shared")
        for number in range(300):
            workers[0].deliver(endpoint="shared", id=f"n{number}")
        workers[0].ask("endpoint-enable", endpoint="shared")
        receiver.wait(300)
        wait_until(lambda: workers[1].ask("stats")["states"]["done"] == 300, "all done")
        assert len(receiver.webhooks) == 300

    def test_endpoints_are_known_to_the_others(
        self, pair: tuple[Deliver, Deliver], receiver: Receiver
    ) -> None:
        first, second = (deliver.worker() for deliver in pair)
        first.put("new", receiver.url("/one"))
        second.wait_state(second.deliver(endpoint="new"), "done")  # without a wait
        first.put("new", receiver.url("/two"))

        def arrived() -> bool:
            second.deliver(endpoint="new")
            return bool(receiver.ids("/two"))

        wait_until(arrived, "the new URI to be used", interval=0.2)
        first.ask("endpoint-disable", endpoint="new")
        held = ""

        def known() -> bool:
            nonlocal held
            held = second.deliver(endpoint="new")
            return second.state(held) == "held"

        wait_until(known, "the other one to know", interval=0.2)
        assert second.ask("endpoint-get", endpoint="new")["disabled"] is True
        second.ask("endpoint-enable", endpoint="new")
        first.wait_state(held, "done")

    def test_take_over_after_a_death(
        self, pair: tuple[Deliver, Deliver], receiver: Receiver
    ) -> None:
        first, second = pair
        slow = itertools.chain([Reply(wait=60)] * 20, itertools.repeat(Reply()))
        receiver.reply = lambda _hook: next(slow)
        worker = first.worker()
        ids = [worker.deliver(uri=receiver.url()) for _ in range(20)]
        receiver.wait(20)
        first.kill()
        began = time.monotonic()
        other = second.worker()
        for id in ids:
            other.wait_state(id, "done")
        assert time.monotonic() - began < 30.0
        assert all(len(receiver.of(id)) == 2 for id in ids)

    def test_order_over_a_take_over(
        self, pair: tuple[Deliver, Deliver], receiver: Receiver
    ) -> None:
        """The lease of an ordered key ends with its time only."""
        first, second = pair
        slow = itertools.chain([Reply(wait=1.5)], itertools.repeat(Reply()))
        receiver.reply = lambda _hook: next(slow)
        worker = first.worker()
        worker.put("line", receiver.url(), order="endpoint")
        ids = [worker.deliver(endpoint="line", id=f"l{number}") for number in range(5)]
        receiver.wait(1)
        first.kill()
        other = second.worker()
        other.wait_state(ids[-1], "done")
        assert receiver.ids() == ["l0", *ids]
        assert receiver.webhooks[1].time - receiver.webhooks[0].time >= 1.5

    def test_stopped_past_its_lease(
        self, pair: tuple[Deliver, Deliver], receiver: Receiver
    ) -> None:
        first, second = pair
        slow = itertools.chain([Reply(wait=1.0)] * 5, itertools.repeat(Reply()))
        receiver.reply = lambda _hook: next(slow)
        worker = first.worker()
        ids = [worker.deliver(uri=receiver.url()) for _ in range(5)]
        receiver.wait(5)
        first.process.send_signal(signal.SIGSTOP)  # type: ignore[union-attr]
        try:
            other = second.worker()
            for id in ids:
                other.wait_state(id, "done")
        finally:
            first.process.send_signal(signal.SIGCONT)  # type: ignore[union-attr]
        first.wait_log("too late")
        first.wait_log("leases were lost")
        assert all(len(other.delivery(id)["attempts"]) == 1 for id in ids)
        # It goes on as one of the two.
        worker.wait_state(worker.deliver(uri=receiver.url("/after")), "done")

    def test_the_rate_is_divided_among_processes(
        self, pair: tuple[Deliver, Deliver], receiver: Receiver
    ) -> None:
        workers = [deliver.worker() for deliver in pair]
        workers[0].put("rated", receiver.url(), rate=10, concurrency=2)
        time.sleep(1.5)
        for number in range(40):
            workers[number % 2].deliver(endpoint="rated")
        receiver.wait(40)
        times = [hook.time for hook in receiver.webhooks]
        assert times[-1] - times[0] >= 2.5  # 10 at once, 30 at 10 a second

    def test_a_process_that_stops_releases_its_leases(
        self, pair: tuple[Deliver, Deliver], receiver: Receiver
    ) -> None:
        first, second = pair
        receiver.reply = lambda hook: Reply(wait=8.0 if len(receiver.of(hook.id)) == 1 else 0)
        worker = first.worker()
        worker.put("line", receiver.url(), order="endpoint")
        id = worker.deliver(endpoint="line")
        receiver.wait_for(id)
        assert first.stop() == 0
        second.worker().wait_state(id, "done")


@pytest.fixture
def bench(postgres: Postgres) -> Iterator[Bench]:
    """A store with one endpoint."""
    made = Bench(postgres.make_database())
    made.put("e")
    yield made
    made.store.close()


def behind(bench: Bench, work: Callable[[], None], change: LiteralString, then: str = "") -> None:
    """Do what has to wait for what another process changes; ``then`` it changes more."""
    doing = threading.Thread(target=work)
    with psycopg.connect(bench.url) as other, psycopg.connect(bench.url) as looking:
        looking.autocommit = True
        other.execute(change)
        doing.start()
        wait_until(
            lambda: looking.execute("SELECT FROM pg_locks WHERE NOT granted").rowcount == 1,
            "a lock to be waited for",
        )
        other.execute(then)
    doing.join()


@pytest.mark.parametrize("gives_back", [False, True])
def test_results_with_changes_of_endpoints_cause_no_deadlock(
    bench: Bench, gives_back: bool
) -> None:
    """Locks are taken in one order: of endpoints, by their numbers, and then of deliveries."""
    bench.put("f")
    bench.accept("f", 2)
    sent = bench.claim("f")
    finishes = [Finish(d, State.PENDING, bench.now, 1, Outcome(bench.now, 500)) for d in sent]
    finishes[0].save = SaveEndpoint(bench.number_of("f"), "", 0.0, bench.now, 0)
    finishes[1].save = SaveEndpoint(bench.number_of("e"), "", 0.0, bench.now, 0)
    if gives_back:
        finishes[1].outcome = finishes[1].save = None
        finishes[1].attempt = 0
    results: list[Finished] = []
    behind(
        bench,
        lambda: results.extend(bench.store.finish(finishes, bench.now)),
        f"SELECT FROM zurl.endpoint WHERE name = '{'f' if gives_back else 'e'}' FOR UPDATE",
        f"SELECT FROM zurl.{'delivery' if gives_back else 'endpoint'} FOR UPDATE",
    )
    assert [result.stale for result in results] == [False, False]


class TestSweepsAtOnce:
    """Between reading and locking its rows a sweep may have to wait for another process."""

    def sweep_behind(self, bench: Bench, change: LiteralString) -> QueryResult:
        """Sweep while another process changes all deliveries."""
        results: list[QueryResult] = []
        behind(bench, lambda: results.append(bench.query(Sweep(bench.now))), change)
        return results[0]

    def test_of_what_has_died_already(self, bench: Bench) -> None:
        bench.accept("e", 3, expires_at=bench.now + 5)
        bench.now += 10
        result = self.sweep_behind(
            bench,
            "UPDATE zurl.delivery SET state = 2;"
            "INSERT INTO zurl.change (endpoint, pending, dead) SELECT id, -3, 3 FROM zurl.endpoint",
        )
        assert result.dead == []
        bench.check_counts()

    def test_of_what_was_replayed(self, bench: Bench) -> None:
        """It is not forgotten, as it is to be sent."""
        bench.accept("e", 3)
        bench.finish(bench.claim("e"), State.DONE)
        bench.now += 30 * 86_400
        self.sweep_behind(
            bench,
            "UPDATE zurl.delivery SET state = 0, due = 0, forget = NULL;"
            "INSERT INTO zurl.change (endpoint, pending, done) SELECT id, 3, -3 FROM zurl.endpoint",
        )
        assert len(bench.claim("e")) == 3
        bench.check_counts()

    def test_of_what_is_forgotten_already(self, bench: Bench) -> None:
        bench.accept("e", 3)
        bench.finish(bench.claim("e"), State.DONE)
        bench.now += 30 * 86_400
        self.sweep_behind(
            bench,
            "DELETE FROM zurl.attempt; DELETE FROM zurl.payload; DELETE FROM zurl.delivery;"
            "INSERT INTO zurl.change (endpoint, done) SELECT id, -3 FROM zurl.endpoint",
        )
        bench.check_counts()


class TestDatabaseAway:
    @pytest.fixture
    def server(self) -> Iterator[Postgres]:
        made = Postgres().start()
        yield made
        made.close()

    def test_killed_and_back(
        self, server: Postgres, start_deliver: Start, receiver: Receiver
    ) -> None:
        deliver = start_deliver(store=server.url, schedule="0,1,1").wait_started()
        worker = deliver.worker()
        waits = itertools.chain([Reply(wait=1.0)], itertools.repeat(Reply()))
        receiver.reply = lambda _hook: next(waits)
        under_way = worker.deliver(uri=receiver.url())
        receiver.wait_for(under_way)
        server.kill()
        began = time.monotonic()
        answer = worker.ask("deliver", uri=receiver.url(), body="", id="again")
        assert answer["condition"] == "unavailable"
        assert time.monotonic() - began < 20.0
        assert worker.ask("stats")["condition"] == "unavailable"
        server.start()
        wait_until(
            lambda: (
                worker.ask("deliver", uri=receiver.url(), body="", id="again")["type"] == "accepted"
            ),
            "it to be accepted",
            interval=0.2,
        )
        worker.wait_state("again", "done")
        # The result of what was under way was kept until it could be written.
        shown = worker.wait_state(under_way, "done")
        assert len(shown["attempts"]) == 1
        assert len(receiver.of(under_way)) == 1

    def test_hanging(self, server: Postgres, start_deliver: Start, receiver: Receiver) -> None:
        deliver = start_deliver(store=server.url).wait_started()
        worker = deliver.worker()
        worker.deliver(uri=receiver.url())
        server.signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            answer = worker.ask("deliver", uri=receiver.url(), body="")
            assert answer["condition"] == "unavailable"
            assert answer["ext"]["detail"].startswith("no answer within 6 seconds")
            assert time.monotonic() - began < 20.0
        finally:
            server.signal(signal.SIGCONT)
        wait_until(
            lambda: worker.ask("deliver", uri=receiver.url(), body="")["type"] == "accepted",
            "it to be accepted",
            interval=0.2,
        )

    def test_connections_cut(
        self, server: Postgres, start_deliver: Start, receiver: Receiver
    ) -> None:
        worker = start_deliver(store=server.url).wait_started().worker()
        for number in range(3):
            server.cut_connections()
            wait_until(
                lambda number=number: (
                    worker.ask(  # type: ignore[misc]
                        "deliver", uri=receiver.url(), body="", id=f"c{number}"
                    )["type"]
                    == "accepted"
                ),
                "it to be accepted",
            )
            worker.wait_state(f"c{number}", "done")

    def test_read_only_for_a_while(
        self, server: Postgres, start_deliver: Start, receiver: Receiver
    ) -> None:
        """As while the disk is full, or another server takes over: sessions cannot be prepared."""
        worker = start_deliver(store=server.url).wait_started().worker()
        url = receiver.url()

        with server.connect() as connection:
            connection.execute("ALTER DATABASE postgres SET default_transaction_read_only = on")
        server.cut_connections()
        wait_until(
            lambda: "read-only" in worker.ask("deliver", uri=url, body="")["ext"]["detail"],
            "the reason to be told",
            interval=0.2,
        )
        with server.connect() as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute("ALTER DATABASE postgres RESET default_transaction_read_only")
        wait_until(
            lambda: worker.ask("deliver", uri=url, body="", id="again")["type"] == "accepted",
            "it to be accepted",
            interval=0.2,
        )
        worker.wait_state("again", "done")

    @pytest.mark.parametrize("fields", [{}, {"key": "k"}])
    def test_its_disk_is_full(
        self,
        server: Postgres,
        start_deliver: Start,
        receiver: Receiver,
        fields: dict[str, Any],
    ) -> None:
        worker = start_deliver(store=server.url).wait_started().worker()
        worker.put("shop", receiver.url(), order="key")
        receiver.reply = lambda _hook: Reply(wait=1.0)
        under_way = worker.deliver(endpoint="shop", **fields)
        with server.connect() as connection:
            connection.execute(
                "CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                " RAISE 'could not extend file' USING ERRCODE = 'disk_full'; END $$;"
                "CREATE TRIGGER fill BEFORE INSERT ON zurl.payload EXECUTE FUNCTION fill()"
            )
            answer = worker.ask("deliver", endpoint="shop", body="", id="again", **fields)
            assert answer["condition"] == "store-full"
            worker.wait_state(under_way, "done")
            connection.execute("DROP TRIGGER fill ON zurl.payload")
        assert worker.deliver(endpoint="shop", id="again", **fields) == "again"
        worker.wait_state("again", "done")
        assert receiver.ids() == [under_way, "again"]

    def test_a_session_that_could_not_be_prepared_is_not_used(
        self, server: Postgres, start_deliver: Start, receiver: Receiver
    ) -> None:
        """Without its lock a process counts as dead, and others send what it has in flight."""
        pair = [start_deliver(store=server.url).wait_started() for _ in range(2)]
        receiver.reply = lambda _hook: Reply(wait=2.5)
        with psycopg.connect(server.url) as locking, server.connect() as connection:
            locking.execute("LOCK TABLE zurl.setting IN ACCESS EXCLUSIVE MODE")
            connection.execute("ALTER DATABASE postgres SET statement_timeout = '200ms'")
            server.cut_connections()
            for deliver in pair:
                deliver.wait_log("statement timeout")
            connection.execute("ALTER DATABASE postgres RESET statement_timeout")
        for deliver in pair:
            deliver.wait_log("the store works again")
        worker = pair[0].worker()
        ids = [worker.deliver(uri=receiver.url()) for _ in range(10)]
        for id in ids:
            worker.wait_state(id, "done")
        assert sorted(receiver.ids()) == sorted(ids)

    def test_no_start_without_it(self, gateway: Daemon) -> None:
        url = "postgresql://zurl@/postgres?host=/nonexistent"
        deliver = Deliver(str(gateway.config_path), store=url).start()
        try:
            assert deliver.wait() > 0
            lines = [line for line in deliver.log().splitlines() if "[ERR]" in line]
            assert len(lines) == 1
            assert "/nonexistent" in lines[0]
        finally:
            deliver.close()
