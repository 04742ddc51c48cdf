"""The store in PostgreSQL: several processes share one queue and take over from one another.

A lease is the number of its process beside the delivery, and a fence that each new lease moves on.
It holds as long as the process says that it is alive, and ends at once when its session has gone,
which its advisory lock tells; those of ordered keys end with the time only, as an attempt may
still be under way.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

import psycopg

from ..attempts import State
from ..endpoints import by_uri, name_of_uri
from ..messages import Stats
from ..model import (
    Accepted,
    Claim,
    Claimed,
    Delivery,
    Endpoint,
    Finish,
    Finished,
    NewDelivery,
    Recovered,
)
from .base import Query, QueryResult, StoreError, StoreUnavailable
from .postgres_listener import Listener
from .postgres_schema import migrate
from .postgres_session import Session
from .postgres_state import PostgresState
from .queries import Queries
from .secrets import SecretBox
from .state import attempt_row, first_due, leased_at_once, order_of

__all__ = ["PostgresStore", "Tables", "pack_headers"]

# Should a process have gone on after others had struck it off.
_FREE_ORPHANS: Final = """
UPDATE delivery SET owner = NULL WHERE seq IN (
    SELECT seq FROM delivery WHERE owner IS NOT NULL AND owner NOT IN (SELECT owner FROM process)
    FOR UPDATE SKIP LOCKED)
"""
_XMIN_AGE: Final = "SELECT max(age(backend_xmin)) FROM pg_stat_activity"
_SOON: Final = 0.5  # seconds until a claim is repeated that came while our lease was over
_CLASS: Final = 0x5A55  # "ZU": of the advisory locks that processes hold

_INSERT_DELIVERIES: Final = """
INSERT INTO delivery (id, endpoint, blocked, due, size, accepted, expires, okey, owner, fence)
SELECT new.id, endpoint, blocked, due, size, accepted, expires, okey, CASE WHEN open THEN owner END,
    (open AND owner IS NOT NULL)::int
FROM unnest(%s::text[], %s::bigint[], %s::smallint[], %s::float8[], %s::int[], %s::float8[],
    %s::float8[], %s::text[], %s::bigint[])
    WITH ORDINALITY AS new (id, endpoint, blocked, due, size, accepted, expires, okey, owner, place)
JOIN (SELECT id AS number, disabled = '' AND deleted = 0 AND
    hold_until <= extract(epoch FROM clock_timestamp()) AS open FROM endpoint) AS e
    ON number = endpoint
ORDER BY place
ON CONFLICT (id) DO NOTHING RETURNING id, seq, owner
"""
_INSERT_PAYLOADS: Final = """
INSERT INTO payload (seq, event, key, headers, secrets, body)
SELECT seq, event, key, headers::jsonb, secrets, body
FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %b::bytea[], %b::bytea[])
    AS new (seq, event, key, headers, secrets, body)
"""
_KNOWN: Final = """
SELECT d.id, e.name, d.endpoint, p.body, p.event, p.key, p.headers FROM delivery d
JOIN payload p USING (seq) JOIN endpoint e ON e.id = d.endpoint WHERE d.id = ANY(%s)
"""
_DUE: Final = """
SELECT due, size FROM delivery
WHERE endpoint = %s AND state = 0 AND blocked = 0 AND owner IS NULL ORDER BY due LIMIT %s
"""
_CLAIM: Final = """
WITH picked AS (
    SELECT seq FROM delivery
    WHERE endpoint = %s AND state = 0 AND blocked = 0 AND owner IS NULL AND due <= %s
    AND EXISTS (SELECT FROM endpoint e WHERE e.id = delivery.endpoint AND e.disabled = ''
        AND e.deleted = 0 AND e.hold_until <= extract(epoch FROM clock_timestamp()))
    ORDER BY due LIMIT %s FOR UPDATE SKIP LOCKED
)
UPDATE delivery d SET owner = %s, fence = d.fence + 1
FROM picked JOIN payload p USING (seq) WHERE d.seq = picked.seq
RETURNING d.seq, d.id, d.due, d.accepted, d.attempt, d.tries, d.expires, d.okey, d.fence,
    p.event, p.headers, p.secrets, p.body
"""
_FINISH: Final = """
UPDATE delivery d SET state = v.state, blocked = v.blocked, due = v.due, attempt = v.attempt,
    tries = v.tries, reason = v.reason, forget = v.forget, owner = NULL
FROM unnest(%s::bigint[], %s::bigint[], %s::smallint[], %s::smallint[], %s::float8[], %s::int[],
    %s::int[], %s::text[], %s::float8[])
    AS v (seq, fence, state, blocked, due, attempt, tries, reason, forget)
WHERE d.seq = v.seq AND d.fence = v.fence AND d.state = 0 RETURNING d.seq
"""
_RELEASE: Final = """
UPDATE delivery d SET owner = NULL FROM unnest(%s::bigint[], %s::bigint[]) AS v (seq, fence)
WHERE d.seq = v.seq AND d.fence = v.fence AND d.owner IS NOT NULL RETURNING d.seq
"""
_INSERT_ATTEMPTS: Final = """
INSERT INTO attempt (seq, number, time, code, condition, error, phases, body)
SELECT * FROM unnest(%s::bigint[], %s::int[], %s::float8[], %s::int[], %s::text[], %s::text[],
    %s::text[], %b::bytea[]) ON CONFLICT DO NOTHING
"""
# A process without its lock has gone; one whose time is up has stopped, or lost its connection.
_DEAD_PROCESSES: Final = """
SELECT owner, alive_until < extract(epoch FROM clock_timestamp()) AS late FROM process
WHERE owner <> %s AND (alive_until < extract(epoch FROM clock_timestamp()) OR NOT EXISTS (
    SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid = owner::int
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())))
"""


class Tables(Protocol):
    """The rows of another store."""

    def tables(self) -> Mapping[str, tuple[str, Iterable[Sequence[Any]]]]:
        """By the name of the table: its columns, and rows."""


class PostgresStore:
    """The six verbs on PostgreSQL.

    Args:
        url: ``postgresql://…``.
        box: keeps secrets.
        schedule: the default, seconds.
        max_body: bytes of a body that the function for applications takes.
        lease: seconds after which others take over from a process that says nothing.

    Attributes:
        lease: seconds.
        lease_until: until when our leases hold, on the monotonic clock.
        lost: what we had leased, but for what is in flight, is free for all since.
        processes: those that share the queue, this one included.
        takeovers: deliveries whose lease was another's that had died.

    Raises:
        StoreError: the database cannot be used.
    """

    max_bytes = 0  # the database's own business

    def __init__(
        self,
        url: str,
        box: SecretBox,
        schedule: tuple[float, ...],
        max_body: int,
        lease: float = 60.0,
    ) -> None:
        self._state = PostgresState(box, schedule)
        self._queries = Queries(self._state)
        self._max_body = max_body
        self.lease = lease
        self._owner = 0
        self._url = url
        self._listener: Listener | None = None
        self.lease_until = 0.0
        self.lost = False
        self.processes = 1
        self.takeovers = 0
        self._session = Session(url, self._prepare)
        with self._session as self._state.connection:
            self._state.load()
            self._state.encrypt_secrets()

    def _prepare(self, connection: psycopg.Connection[Any]) -> None:
        """A new session: the schema, our name among the processes, the lock that says we live."""
        migrate(connection)
        connection.execute(
            "INSERT INTO setting VALUES ('max_body', %s)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (str(self._max_body),),
        )
        if self._owner:
            with connection.transaction():
                self._rejoin(connection)
        else:
            self.lease_until = self._join(connection)

    def _join(self, connection: psycopg.Connection[Any]) -> float:
        """Take a number among the processes. Returns until when it holds."""
        began = time.monotonic()
        row = connection.execute(
            "INSERT INTO process (alive_until)"
            " VALUES (extract(epoch FROM clock_timestamp()) + %s) RETURNING owner",
            (self.lease,),
        ).fetchone()
        assert row is not None
        self._owner = row[0]
        connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (_CLASS, self._owner))
        return began + self.lease

    def _rejoin(self, connection: psycopg.Connection[Any]) -> None:
        """Go on under a new number: the lock was lost with the connection, or the lease is over.

        What is in flight is taken along, as far as it is ours still. All else is given back: of a
        commit whose answer was lost we do not know what it leased.
        """
        before = self._owner
        self.lost, self.lease_until = True, 0.0  # nothing is leased until the loop knows
        self._join(connection)
        in_flight = list(self._state.in_flight)  # type: ignore[call-overload]
        connection.execute(
            "UPDATE delivery SET owner = %s WHERE owner = %s AND seq = ANY(%s::bigint[])",
            (self._owner, before, in_flight),
        )
        connection.execute("UPDATE delivery SET owner = NULL WHERE owner = %s", (before,))
        connection.execute("DELETE FROM process WHERE owner = %s", (before,))

    @property
    def in_flight(self) -> Container[int]:
        """Numbers of the deliveries that an attempt of is under way."""
        return self._state.in_flight

    @in_flight.setter
    def in_flight(self, numbers: Container[int]) -> None:
        self._state.in_flight = numbers

    def endpoint(self, number: int) -> Endpoint:
        """A copy of what is known of an endpoint."""
        return replace(self._state.endpoints[number])

    def listen(self, told: Callable[[str], None]) -> None:
        """Be told of what others do."""
        self._listener = Listener(self._url, told)

    def close(self) -> None:
        """Leave: what we had leased is free at once."""
        try:
            with self._session as connection:
                connection.execute(
                    "UPDATE delivery SET owner = NULL WHERE owner = %s", (self._owner,)
                )
                connection.execute("DELETE FROM process WHERE owner = %s", (self._owner,))
        except StoreUnavailable:  # the others see to it
            pass
        if self._listener is not None:
            self._listener.close()
        self._session.close()

    # -- accept --------------------------------------------------------------------------------

    def accept(self, batch: Sequence[NewDelivery], now: float) -> list[Accepted]:
        """Write deliveries down."""
        results = [Accepted(new.token, new.id) for new in batch]
        with self._session as self._state.connection:
            taken: list[tuple[NewDelivery, Accepted, Endpoint]] = []
            for new, result in zip(batch, results, strict=True):
                endpoint = self._endpoint_of(new)
                if endpoint is None:
                    result.error = ("unknown-endpoint", f"there is no endpoint {new.endpoint!r}")
                else:
                    taken.append((new, result, endpoint))
            blocked = self._blocked(taken)
            rows = [
                self._row(new, endpoint, waits, now)
                for (new, _, endpoint), waits in zip(taken, blocked, strict=True)
            ]
            seqs = self._insert(taken, rows)
            for (new, result, endpoint), row in zip(taken, rows, strict=True):
                written = seqs.pop(new.id, None)  # the first of its id in this batch
                if written is not None:
                    self._accepted(new, result, endpoint, row, *written)
            repeats = [item for item in taken if not item[1].endpoint]
            if repeats:
                self._compare(repeats)
        return results

    def _endpoint_of(self, new: NewDelivery) -> Endpoint | None:
        state = self._state
        if new.endpoint:
            return state.find_cached(new.endpoint)
        name = name_of_uri(new.uri)
        known = state.find_cached(name)
        return known or state.insert_endpoint(name, by_uri(new.uri, state.schedule))

    def _blocked(self, taken: Sequence[tuple[NewDelivery, Accepted, Endpoint]]) -> list[int]:
        """Who has to wait behind another of its key."""
        keys = [(endpoint.id, order_of(endpoint, new.key)) for new, _, endpoint in taken]
        ordered = sorted({(id, okey) for id, okey in keys if okey is not None})
        for key in ordered:  # in one order, so that no two wait for one another
            self._state.hold_key(*key)
        busy = {key for key in ordered if self._state.head(*key) is not None}
        blocked = []
        for id, okey in keys:
            blocked.append(int(okey is not None and (id, okey) in busy))
            if okey is not None:
                busy.add((id, okey))
        return blocked

    def _row(
        self, new: NewDelivery, endpoint: Endpoint, blocked: int, now: float
    ) -> tuple[Any, ...]:
        due = first_due(new, endpoint)
        claim = new.claim and not blocked and due <= now and not endpoint.disabled
        claim = claim and self._may_lease
        return (
            new.id,
            endpoint.id,
            blocked,
            due,
            len(new.body),
            new.accepted,
            new.expires_at,
            order_of(endpoint, new.key),
            self._owner if claim else None,
        )

    def _insert(
        self,
        taken: Sequence[tuple[NewDelivery, Accepted, Endpoint]],
        rows: Sequence[tuple[Any, ...]],
    ) -> dict[str, tuple[int, int | None]]:
        """Write the rows. Returns number and owner by id."""
        if not rows:
            return {}
        connection = self._state.connection
        assert connection is not None
        inserted = connection.execute(_INSERT_DELIVERIES, _columns(rows)).fetchall()
        seqs = {id: (seq, owner) for id, seq, owner in inserted}
        payloads: dict[str, tuple[Any, ...]] = {}
        for new, _, _ in taken:
            if new.id in seqs and new.id not in payloads:
                payloads[new.id] = (
                    seqs[new.id][0],
                    new.event,
                    new.key,
                    pack_headers(new.headers),
                    self._state.box.close(new.secrets),
                    new.body,
                )
        if payloads:
            connection.execute(_INSERT_PAYLOADS, _columns(payloads.values()))
        return seqs

    def _accepted(
        self,
        new: NewDelivery,
        result: Accepted,
        endpoint: Endpoint,
        row: tuple[Any, ...],
        seq: int,
        owner: int | None,
    ) -> None:
        _, _, blocked, due, *_ = row
        result.endpoint = endpoint.id
        result.due = None if blocked else due
        if owner is not None:
            result.delivery = leased_at_once(new, endpoint, seq, due, fence=1)

    def _compare(self, repeats: Sequence[tuple[NewDelivery, Accepted, Endpoint]]) -> None:
        """An id that is known: with the same content a duplicate, with another a conflict."""
        connection = self._state.connection
        assert connection is not None
        ids = [new.id for new, _, _ in repeats]
        known = {row[0]: row[1:] for row in connection.execute(_KNOWN, (ids,)).fetchall()}
        for new, result, endpoint in repeats:
            packed = pack_headers(new.headers)
            content = (new.body, new.event, new.key, json.loads(packed) if packed else None)
            name, number, *kept = known[new.id]
            # An endpoint that was deleted and made anew since is the same to the sender.
            same_place = number == endpoint.id or name == endpoint.name
            if same_place and tuple(kept) == content:
                result.duplicate = True
            else:
                result.error = ("conflict", f"the id {new.id} is another message's")

    # -- claim ---------------------------------------------------------------------------------

    def claim(self, batch: Sequence[Claim], now: float) -> list[Claimed]:
        """Lease due deliveries, the oldest due first; those that others take are passed over."""
        with self._session as self._state.connection:
            return [self._claim(claim, now) for claim in batch]

    def _claim(self, claim: Claim, now: float) -> Claimed:
        connection = self._state.connection
        assert connection is not None
        endpoint = self._state.endpoints.get(claim.endpoint)
        if endpoint is None or endpoint.disabled or endpoint.deleted:
            return Claimed(claim.endpoint, [], None)
        if not self._may_lease:
            return Claimed(claim.endpoint, [], now + _SOON)
        limit, room, next_due = 0, claim.max_bytes, None
        for due, size in connection.execute(_DUE, (claim.endpoint, claim.limit + 1)).fetchall():
            if due > now or limit == claim.limit or (limit and room < size):
                next_due = due
                break
            limit += 1
            room -= size
        deliveries: list[Delivery] = []
        if limit:
            values = (claim.endpoint, now, limit, self._owner)
            rows = connection.execute(_CLAIM, values).fetchall()
            deliveries = [self._delivery(claim.endpoint, row) for row in rows]
            if not deliveries:  # others were quicker, or the endpoint was closed this moment
                next_due = max(next_due or 0.0, now + _SOON)
            deliveries.sort(key=lambda delivery: (delivery.due, delivery.seq))
        return Claimed(claim.endpoint, deliveries, next_due)

    def _delivery(self, endpoint: int, row: Sequence[Any]) -> Delivery:
        seq, id, due, accepted, attempt, tries, expires, okey, fence, *payload = row
        event, headers, secrets, body = payload
        return Delivery(
            seq,
            id,
            endpoint,
            body,
            due,
            accepted,
            attempt,
            tries,
            event,
            _unpack_headers(headers),
            okey,
            expires,
            self._state.box.open(secrets),
            fence,
        )

    # -- finish --------------------------------------------------------------------------------

    def finish(self, batch: Sequence[Finish], now: float) -> list[Finished]:
        """End leases; a result whose fence another lease has moved on is dropped."""
        released = [f for f in batch if f.gives_back]
        ended = [f for f in batch if not f.gives_back]
        results: list[Finished] = []
        with self._session as self._state.connection:
            connection = self._state.connection
            assert connection is not None
            if released:
                pairs = [(f.delivery.seq, f.delivery.fence) for f in released]
                connection.execute(_RELEASE, _columns(pairs))
                results += [Finished(finish) for finish in released]
            for finish in batch:
                if finish.save is not None:
                    self._queries.save(finish.save)
            if ended:
                results += self._end(ended)
        return results

    def _end(self, ended: Sequence[Finish]) -> list[Finished]:
        connection = self._state.connection
        assert connection is not None
        rows = [self._finish_row(finish) for finish in ended]
        written = {row[0] for row in connection.execute(_FINISH, _columns(rows)).fetchall()}
        results = [Finished(finish, finish.delivery.seq not in written) for finish in ended]
        attempts = [
            attempt_row(result.finish)
            for result in results
            if not result.stale and result.finish.outcome is not None
        ]
        if attempts:
            connection.execute(_INSERT_ATTEMPTS, _columns(attempts))
        over = [r for r in results if not r.stale and r.finish.state is not State.PENDING]
        keys = sorted(
            {(r.finish.delivery.endpoint, r.finish.delivery.okey or "") for r in over if _okey(r)}
        )
        unblocked = {key: self._state.unblock(*key) for key in keys}
        for result in over:
            if _okey(result):
                delivery = result.finish.delivery
                result.unblocked = unblocked[delivery.endpoint, delivery.okey or ""]
        return results

    def _finish_row(self, finish: Finish) -> tuple[Any, ...]:
        ending = self._state.ending(finish)
        return (
            finish.delivery.seq,
            finish.delivery.fence,
            ending.state,
            ending.blocked,
            finish.due,
            finish.attempt,
            ending.tries,
            ending.reason,
            ending.forget,
        )

    # -- renew, recover, query -----------------------------------------------------------------

    def renew(self, now: float) -> None:
        """Say that we are alive; where that comes too late, ``lost`` is set."""
        began = time.monotonic()
        with self._session as connection:
            row = connection.execute(
                "UPDATE process SET alive_until = extract(epoch FROM clock_timestamp()) + %s"
                " WHERE owner = %s AND alive_until > extract(epoch FROM clock_timestamp())"
                " RETURNING owner",
                (self.lease, self._owner),
            ).fetchone()
            if row is None:
                connection.execute("SELECT pg_advisory_unlock(%s, %s)", (_CLASS, self._owner))
                self._rejoin(connection)
        if not self.lost:
            self.lease_until = began + self.lease

    @property
    def _may_lease(self) -> bool:
        return time.monotonic() < self.lease_until

    def recover(self, now: float) -> list[Recovered]:
        """What there is to do, once the leases of the dead are taken back."""
        with self._session as self._state.connection:
            connection = self._state.connection
            assert connection is not None
            self._take_over(connection)
            changed = {endpoint.id: endpoint for endpoint in self._state.changed()}
            dues = self._state.next_dues()
            return [
                Recovered(replace(self._state.known(number)), dues.get(number))
                for number in changed.keys() | dues.keys()
            ]

    def _take_over(self, connection: psycopg.Connection[Any]) -> None:
        dead = connection.execute(_DEAD_PROCESSES, (self._owner, _CLASS)).fetchall()
        row = connection.execute("SELECT count(*) FROM process").fetchone()
        self.processes = max(1, (row[0] if row else 1) - len(dead))
        freed = connection.execute(_FREE_ORPHANS)
        self.takeovers += freed.rowcount
        for owner, late in dead:
            condition = "" if late else " AND okey IS NULL"
            freed = connection.execute(
                "UPDATE delivery SET owner = NULL WHERE seq IN (SELECT seq FROM delivery"
                f" WHERE owner = %s{condition} FOR UPDATE SKIP LOCKED)",
                (owner,),
            )
            self.takeovers += freed.rowcount
            if late:
                connection.execute(
                    "DELETE FROM process WHERE owner = %s AND NOT EXISTS"
                    " (SELECT FROM delivery WHERE owner = %s)",
                    (owner, owner),
                )

    def take_in(self, source: Tables) -> dict[str, int]:
        """Copy another store into this one, which must be empty. Returns rows by table.

        Raises:
            StoreError: it is not empty.
        """
        copied: dict[str, int] = {}
        with self._session.without_limit() as connection:
            row = connection.execute("SELECT EXISTS (SELECT FROM delivery)").fetchone()
            if row and row[0]:
                raise StoreError("store: there are webhooks in the schema zurl already")
            for table, (columns, rows) in source.tables().items():
                copied[table] = 0
                statement = f"COPY {table} ({columns}) FROM STDIN"
                with connection.cursor().copy(statement) as copy:
                    for values in rows:
                        copy.write_row(values)
                        copied[table] += 1
            for table, column in (("endpoint", "id"), ("delivery", "seq")):
                connection.execute(
                    f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'),"
                    f" (SELECT coalesce(max({column}), 1) FROM {table}))"
                )
        return copied

    def query(self, query: Query, now: float) -> QueryResult:
        """All the rest; each query is a transaction."""
        with self._session as self._state.connection:
            result = self._queries.run(query, now)
            if isinstance(query, Stats):
                # An old transaction anywhere keeps dead rows alive, which slows claims.
                row = self._state.connection.execute(_XMIN_AGE).fetchone()
                result.answer["xmin-age"] = (row and row[0]) or 0
            return result


def _columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows as columns, each an array of PostgreSQL's."""
    return [list(column) for column in zip(*rows, strict=True)]


def _okey(result: Finished) -> bool:
    return result.finish.delivery.okey is not None


def pack_headers(headers: tuple[tuple[bytes, bytes], ...]) -> str | None:
    """JSON, as the function for applications writes it; what is not UTF-8 is marked by a third."""
    if not headers:
        return None
    pairs: list[list[Any]] = []
    for name, value in headers:
        try:
            pairs.append([name.decode(), value.decode()])
        except UnicodeDecodeError:
            pairs.append([name.decode(), value.decode("latin-1"), 1])
    return json.dumps(pairs)


def _unpack_headers(pairs: list[list[Any]] | None) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(
        (pair[0].encode(), pair[1].encode("latin-1" if len(pair) == 3 else "utf-8"))
        for pair in pairs or ()
    )
