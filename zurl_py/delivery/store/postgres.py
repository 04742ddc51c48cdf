"""The store in PostgreSQL: several processes share one queue and take over from each other.

A lease is the number of its process in the row of the delivery, with a fence that grows with each
lease. It is valid as long as the process renews it. It ends at once when the process's session is
gone, which releases its advisory lock. Only leases of ordered deliveries always last until they
expire, as an attempt may still be in flight.
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
from .base import Query, QueryResult, StoreError, StoreFull, StoreUnavailable, Sweep
from .postgres_listener import Listener
from .postgres_schema import COUNT_ALL, migrate
from .postgres_session import DiskFull, Run, Session
from .postgres_state import PostgresState
from .queries import Queries
from .secrets import SecretBox
from .state import as_json, attempt_row, first_due, leased_at_once, order_of

__all__ = ["PostgresStore", "Tables", "pack_headers"]

# In case a process has gone on after others had removed it.
_FREE_ORPHANS: Final = """
UPDATE delivery SET owner = NULL WHERE seq IN (
    SELECT seq FROM delivery WHERE owner IS NOT NULL AND owner NOT IN (SELECT owner FROM process)
    FOR UPDATE SKIP LOCKED)
"""
_XMIN_AGE: Final = "SELECT max(age(backend_xmin)) FROM pg_stat_activity"
_SOON: Final = 0.5  # seconds until a claim is repeated that came after our lease had expired
_CLASS: Final = 0x5A55  # "ZU": the first key of the advisory locks of processes

# Rows are passed as one JSON text, and bodies as one value that is split: with arrays psycopg would
# need a call or more per element. A batch is written by one statement.
_ACCEPT: Final = """
WITH new AS (
    SELECT * FROM json_to_recordset(%s::json) AS r (place int, id text, endpoint bigint,
        blocked smallint, due float8, size int, accepted float8, expires float8, okey text,
        owner bigint, event text, key text, headers text, secrets bytea, start int)
), written AS (
    INSERT INTO delivery (id, endpoint, blocked, due, size, accepted, expires, okey, owner, fence)
    SELECT new.id, endpoint, blocked, due, size, accepted, expires, okey,
        CASE WHEN open THEN owner END, (open AND owner IS NOT NULL)::int
    FROM new JOIN (SELECT id AS number, disabled = '' AND deleted = 0 AND
        hold_until <= extract(epoch FROM clock_timestamp()) AS open FROM endpoint) AS e
        ON number = endpoint
    ORDER BY place
    ON CONFLICT (id) DO NOTHING RETURNING id, seq, endpoint, owner
), kept AS (
    INSERT INTO payload (seq, event, key, headers, secrets, body)
    SELECT seq, event, key, headers::jsonb, secrets, substring(%b::bytea FROM start FOR size)
    FROM written JOIN new USING (id)
), counted AS (
    INSERT INTO change (endpoint, pending) SELECT endpoint, count(*) FROM written GROUP BY endpoint
)
SELECT id, seq, owner FROM written
"""
_KNOWN: Final = """
SELECT d.id, e.name, d.endpoint, p.body, p.event, p.key, p.headers FROM delivery d
JOIN payload p USING (seq) JOIN endpoint e ON e.id = d.endpoint WHERE d.id = ANY(%s)
"""
_DUE: Final = """
SELECT place, d.due, d.size
FROM json_to_recordset(%s::json) AS wish (place int, endpoint bigint, most int),
LATERAL (SELECT due, size FROM delivery WHERE endpoint = wish.endpoint AND state = 0
    AND blocked = 0 AND owner IS NULL ORDER BY due LIMIT wish.most) AS d
ORDER BY place, d.due
"""
_CLAIM: Final = """
WITH picked AS (
    SELECT d.seq FROM json_to_recordset(%s::json) AS wish (endpoint bigint, most int)
    JOIN endpoint e ON e.id = wish.endpoint AND e.disabled = '' AND e.deleted = 0
        AND e.hold_until <= extract(epoch FROM clock_timestamp()),
    LATERAL (SELECT seq FROM delivery WHERE endpoint = wish.endpoint AND state = 0
        AND blocked = 0 AND owner IS NULL AND due <= %s
        ORDER BY due LIMIT wish.most FOR UPDATE SKIP LOCKED) AS d
)
UPDATE delivery d SET owner = %s, fence = d.fence + 1
FROM picked JOIN payload p USING (seq) WHERE d.seq = picked.seq
RETURNING d.endpoint, d.seq, d.id, d.due, d.accepted, d.attempt, d.tries, d.expires, d.okey,
    d.fence, p.event, p.headers, p.secrets, p.body
"""
_FINISH: Final = """
WITH v AS (
    SELECT * FROM json_to_recordset(%s::json) AS r (seq bigint, fence bigint, state smallint,
        blocked smallint, due float8, attempt int, tries int, reason text, forget float8,
        okey text, number int, time float8, code int, condition text, error text, phases text,
        start int, size int)
), ended AS (
    UPDATE delivery d SET state = v.state,
        blocked = CASE v.state WHEN 0 THEN d.blocked ELSE v.blocked END, due = v.due,
        attempt = v.attempt, tries = v.tries, reason = v.reason, forget = v.forget, owner = NULL
    FROM v WHERE d.seq = v.seq AND d.fence = v.fence AND d.state = 0
        AND d.okey IS NOT DISTINCT FROM v.okey
    RETURNING d.seq, d.fence, d.endpoint, d.state
), kept AS (
    INSERT INTO attempt (seq, number, time, code, condition, error, phases, body)
    SELECT seq, number, time, code, condition, error, phases,
        substring(%b::bytea FROM start FOR size)
    FROM ended JOIN v USING (seq, fence) WHERE number IS NOT NULL ON CONFLICT DO NOTHING
), counted AS (
    INSERT INTO change SELECT endpoint, -count(*), count(*) FILTER (WHERE state = 1),
        count(*) FILTER (WHERE state = 2)
    FROM ended WHERE state <> 0 GROUP BY endpoint
)
SELECT seq, fence FROM ended
"""
_RELEASE: Final = """
UPDATE delivery d SET owner = NULL FROM unnest(%s::bigint[], %s::bigint[]) AS v (seq, fence)
WHERE d.seq = v.seq AND d.fence = v.fence AND d.owner IS NOT NULL RETURNING d.seq
"""
# A process without its lock is gone; one whose time is over hangs, or has lost its connection.
_DEAD_PROCESSES: Final = """
SELECT owner, alive_until < extract(epoch FROM clock_timestamp()) AS late FROM process
WHERE owner <> %s AND (alive_until < extract(epoch FROM clock_timestamp()) OR NOT EXISTS (
    SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid = owner::int
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())))
"""


_ATTEMPT: Final = ("seq", "number", "time", "code", "condition", "error", "phases")

_Taken = tuple[NewDelivery, Accepted, Endpoint]


class Tables(Protocol):
    """The rows of another store."""

    def tables(self) -> Mapping[str, tuple[str, Iterable[Sequence[Any]]]]:
        """The columns and rows of each table, by its name."""


class PostgresStore:
    """The six verbs on PostgreSQL.

    Args:
        url: ``postgresql://…``.
        box: encrypts secrets.
        schedule: the default, seconds.
        max_body: bytes of a body that the function for applications accepts.
        lease: seconds after which others take over from a process that does not renew.

    Attributes:
        lease: seconds.
        lease_until: until when our leases are valid, on the monotonic clock.
        lost: our leased deliveries that are not in flight were released for all processes.
        processes: number of processes that share the queue, this one included.
        takeovers: number of deliveries that we released after their process had died.

    Raises:
        StoreError: the database cannot be used.
    """

    claims_at_once = 16  # in one statement
    max_bytes = 0  # the database has its own limits

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
        """Prepare a new session: the schema, our row among the processes, our advisory lock."""
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
        """Register this process under a new number. Returns until when that is valid."""
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
        """Go on under a new number, after the connection and its lock were lost, or the lease.

        Deliveries in flight are moved to the new number, if they are still ours. All others are
        given back: it is not known what a commit whose answer was lost has leased.
        """
        before = self._owner
        self.lost, self.lease_until = True, 0.0  # no leases until the loop has noted it
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
        """Numbers of the deliveries with an attempt in flight."""
        return self._state.in_flight

    @in_flight.setter
    def in_flight(self, numbers: Container[int]) -> None:
        self._state.in_flight = numbers

    def endpoint(self, number: int) -> Endpoint:
        """A copy of an endpoint."""
        return replace(self._state.endpoints[number])

    def listen(self, told: Callable[[str], None]) -> None:
        """Listen for changes by other processes."""
        self._listener = Listener(self._url, told)

    def close(self) -> None:
        """Unregister this process and release its leases."""
        try:
            with self._session as connection:
                connection.execute(
                    "UPDATE delivery SET owner = NULL WHERE owner = %s", (self._owner,)
                )
                connection.execute("DELETE FROM process WHERE owner = %s", (self._owner,))
        except StoreUnavailable:  # other processes will release them
            pass
        if self._listener is not None:
            self._listener.close()
        self._session.close()

    # -- accept --------------------------------------------------------------------------------

    def accept(self, batch: Sequence[NewDelivery], now: float) -> list[Accepted]:
        """Write deliveries."""
        try:
            if all(self._is_plain(new) for new in batch):
                results, repeats = self._accept(batch, now, self._session.run)
            else:
                with self._session as self._state.connection:
                    results, repeats = self._accept(batch, now, self._state.run)
        except DiskFull as error:
            raise StoreFull(str(error)) from None
        if repeats:
            self._compare(repeats)
        return results

    def _is_plain(self, new: NewDelivery) -> bool:
        """Whether it can be written without reading or changing other rows, in one statement."""
        endpoint = self._state.by_name.get(new.endpoint or name_of_uri(new.uri))
        return endpoint is not None and order_of(endpoint, new.key) is None

    def _accept(
        self, batch: Sequence[NewDelivery], now: float, run: Run
    ) -> tuple[list[Accepted], list[_Taken]]:
        """Write the rows; returns the results, and those whose id existed already."""
        results = [Accepted(new.token, new.id) for new in batch]
        taken: list[_Taken] = []
        repeats: list[_Taken] = []
        ids: set[str] = set()
        for new, result in zip(batch, results, strict=True):
            endpoint = self._endpoint_of(new)
            if endpoint is None:
                result.error = ("unknown-endpoint", f"there is no endpoint {new.endpoint!r}")
            elif new.id in ids:
                repeats.append((new, result, endpoint))
            else:
                ids.add(new.id)
                taken.append((new, result, endpoint))
        if not taken:
            return results, repeats
        rows: list[dict[str, Any]] = []
        start = 1
        for (new, _, endpoint), blocked in zip(taken, self._blocked(taken), strict=True):
            rows.append(self._row(new, endpoint, blocked, now, len(rows), start))
            start += len(new.body)
        bodies = b"".join([new.body for new, _, _ in taken])
        written = {id: (seq, owner) for id, seq, owner in run(_ACCEPT, (as_json(rows), bodies))}
        for item, row in zip(taken, rows, strict=True):
            new, result, endpoint = item
            found = written.get(new.id)
            if found is None:
                repeats.append(item)
                continue
            seq, owner = found
            result.endpoint = endpoint.id
            result.due = None if row["blocked"] else row["due"]
            if owner is not None:
                result.delivery = leased_at_once(new, endpoint, seq, row["due"], fence=1)
        return results, repeats

    def _endpoint_of(self, new: NewDelivery) -> Endpoint | None:
        state = self._state
        if new.endpoint:
            return state.find_cached(new.endpoint)
        name = name_of_uri(new.uri)
        known = state.find_cached(name)
        return known or state.insert_endpoint(name, by_uri(new.uri, state.schedule))

    def _blocked(self, taken: Sequence[_Taken]) -> list[int]:
        """The deliveries that have to wait behind another one with their key."""
        keys = [(endpoint.id, order_of(endpoint, new.key)) for new, _, endpoint in taken]
        ordered = sorted({(id, okey) for id, okey in keys if okey is not None})
        for key in ordered:  # always in the same order, so that there is no deadlock
            self._state.hold_key(*key)
        busy = {key for key in ordered if self._state.head(*key) is not None}
        blocked = []
        for id, okey in keys:
            blocked.append(int(okey is not None and (id, okey) in busy))
            if okey is not None:
                busy.add((id, okey))
        return blocked

    def _row(
        self,
        new: NewDelivery,
        endpoint: Endpoint,
        blocked: int,
        now: float,
        place: int,
        start: int,
    ) -> dict[str, Any]:
        due = first_due(new, endpoint)
        claim = new.claim and not blocked and due <= now and not endpoint.disabled
        return {
            "place": place,
            "id": new.id,
            "endpoint": endpoint.id,
            "blocked": blocked,
            "due": due,
            "size": len(new.body),
            "accepted": new.accepted,
            "expires": new.expires_at,
            "okey": order_of(endpoint, new.key),
            "owner": self._owner if claim and self._may_lease else None,
            "event": new.event,
            "key": new.key,
            "headers": pack_headers(new.headers),
            "secrets": _hexadecimal(self._state.box.close(new.secrets)),
            "start": start,
        }

    def _compare(self, repeats: Sequence[_Taken]) -> None:
        """Handle known ids: with the same content a duplicate, with different content a conflict.

        The rest of the batch is written already, so if this fails only these get an error.
        """
        ids = [new.id for new, _, _ in repeats]
        known: dict[str, tuple[Any, ...]] = {}
        reason = "it was forgotten this moment"
        try:
            known = {row[0]: row[1:] for row in self._session.run(_KNOWN, (ids,))}
        except StoreUnavailable as error:
            reason = str(error)
        for new, result, endpoint in repeats:
            if new.id not in known:
                result.error = (
                    "unavailable",
                    f"the id {new.id} is known, its content not: {reason}",
                )
                continue
            packed = pack_headers(new.headers)
            content = (new.body, new.event, new.key, json.loads(packed) if packed else None)
            name, number, *kept = known[new.id]
            # For the sender, an endpoint that was deleted and made again is the same.
            same_place = number == endpoint.id or name == endpoint.name
            if same_place and tuple(kept) == content:
                result.duplicate = True
            else:
                result.error = ("conflict", f"the id {new.id} is another message's")

    # -- claim ---------------------------------------------------------------------------------

    def claim(self, batch: Sequence[Claim], now: float) -> list[Claimed]:
        """Lease due deliveries, in order, without those that other processes are taking."""
        results = [Claimed(claim.endpoint, [], None) for claim in batch]
        endpoints = self._state.endpoints
        open_ = [
            place
            for place, claim in enumerate(batch)
            if (endpoint := endpoints.get(claim.endpoint)) is not None
            and not endpoint.disabled
            and not endpoint.deleted
        ]
        if not self._may_lease:
            for place in open_:
                results[place].next_due = now + _SOON
            return results
        limits = self._limits(batch, open_, results, now)
        wishes = [{"endpoint": batch[p].endpoint, "most": most} for p, most in limits.items()]
        rows = self._session.run(_CLAIM, (as_json(wishes), now, self._owner)) if wishes else []
        leased: dict[int, list[Delivery]] = {}
        for row in rows:
            leased.setdefault(row[0], []).append(self._delivery(row))
        for place in limits:
            result = results[place]
            result.deliveries = leased.get(result.endpoint, [])
            result.deliveries.sort(key=lambda delivery: (delivery.due, delivery.seq))
            if not result.deliveries:  # others have taken them, or the endpoint was just disabled
                result.next_due = max(result.next_due or 0.0, now + _SOON)
        return results

    def _limits(
        self, batch: Sequence[Claim], places: Sequence[int], results: list[Claimed], now: float
    ) -> dict[int, int]:
        """For each claim: how many deliveries to lease, and when the next one is due."""
        wishes = [
            {"place": place, "endpoint": batch[place].endpoint, "most": batch[place].limit + 1}
            for place in places
        ]
        limits: dict[int, int] = {}
        room = {place: batch[place].max_bytes for place in places}
        for place, due, size in self._session.run(_DUE, (as_json(wishes),)) if wishes else ():
            limit = limits.get(place, 0)
            if results[place].next_due is not None:
                continue
            if due > now or limit == batch[place].limit or (limit and room[place] < size):
                results[place].next_due = due
                continue
            limits[place] = limit + 1
            room[place] -= size
        return limits

    def _delivery(self, row: Sequence[Any]) -> Delivery:
        endpoint, seq, id, due, accepted, attempt, tries, expires, okey, fence, *payload = row
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
        """End leases; a result is dropped if a later lease has increased the fence."""
        released = [f for f in batch if f.gives_back]
        ended = [f for f in batch if not f.gives_back]
        # Locks are taken in one order: of endpoints, by their numbers, and then of deliveries.
        saves = sorted((f.save for f in batch if f.save is not None), key=lambda save: save.id)
        if not released and not saves and all(f.delivery.okey is None for f in ended):
            results = self._end(ended, self._session.run)
            stale = [result.finish for result in results if result.stale]
            if not stale:
                return results
            with self._session as self._state.connection:
                again = iter(self._end_ordered(stale))
            return [next(again) if result.stale else result for result in results]
        results = []
        with self._session as self._state.connection:
            for save in saves:
                self._queries.save(save)
            if released:
                pairs = [(f.delivery.seq, f.delivery.fence) for f in released]
                self._state.connection.execute(_RELEASE, _columns(pairs))
                results += [Finished(finish) for finish in released]
            if ended:
                results += self._end_ordered(ended)
        return results

    def _end_ordered(self, ended: Sequence[Finish]) -> list[Finished]:
        """The same for deliveries that may be ordered, or may have been when they were leased."""
        self._state.read_keys([finish.delivery for finish in ended])
        results = self._end(ended, self._state.run)
        self._unblock(results)
        return results

    def _end(self, ended: Sequence[Finish], run: Run) -> list[Finished]:
        rows: list[dict[str, Any]] = []
        bodies: list[bytes] = []
        start = 1
        for finish in ended:
            row = self._finish_row(finish)
            if finish.outcome is not None:
                *attempt, body = attempt_row(finish)
                row.update(zip(_ATTEMPT, attempt, strict=True), start=start, size=len(body))
                bodies.append(body)
                start += len(body)
            rows.append(row)
        written = set(run(_FINISH, (as_json(rows), b"".join(bodies))))
        return [
            Finished(finish, (finish.delivery.seq, finish.delivery.fence) not in written)
            for finish in ended
        ]

    def _unblock(self, results: Sequence[Finished]) -> None:
        """Unblock the next delivery of each key whose first one has ended."""
        over = [
            (result, (result.finish.delivery.endpoint, result.finish.delivery.okey))
            for result in results
            if not result.stale
            and result.finish.state is not State.PENDING
            and result.finish.delivery.okey is not None
        ]
        keys = sorted({(endpoint, okey) for _, (endpoint, okey) in over if okey is not None})
        unblocked = {key: self._state.unblock(*key) for key in keys}
        for result, (endpoint, okey) in over:
            result.unblocked = unblocked[endpoint, okey or ""]

    def _finish_row(self, finish: Finish) -> dict[str, Any]:
        ending = self._state.ending(finish)
        return {
            "seq": finish.delivery.seq,
            "fence": finish.delivery.fence,
            "state": ending.state,
            "blocked": ending.blocked,
            "due": finish.due,
            "attempt": finish.attempt,
            "tries": ending.tries,
            "reason": ending.reason,
            "forget": ending.forget,
            "okey": finish.delivery.okey,
        }

    # -- renew, recover, query -----------------------------------------------------------------

    def renew(self, now: float) -> None:
        """Extend the leases of this process; sets ``lost`` if it is too late for that."""
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
        """Release the leases of dead processes; returns all endpoints with deliveries to send."""
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
            connection.execute(COUNT_ALL)
            for table, column in (("endpoint", "id"), ("delivery", "seq")):
                connection.execute(
                    f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'),"
                    f" (SELECT coalesce(max({column}), 1) FROM {table}))"
                )
        return copied

    def query(self, query: Query, now: float) -> QueryResult:
        """Everything else; each query is a transaction."""
        self._state.counted = {}
        with self._session as self._state.connection:
            result = self._queries.run(query, now)
            self._state.write_counts()
            if isinstance(query, Sweep):
                if self._state.fold_counts():
                    result.again = result.again or query
            elif isinstance(query, Stats):
                # Old transactions of any client keep dead rows from being removed, which slows
                # claims.
                row = self._state.connection.execute(_XMIN_AGE).fetchone()
                result.answer["xmin-age"] = (row and row[0]) or 0
            return result


def _columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows as columns, each of which becomes an array in PostgreSQL."""
    return [list(column) for column in zip(*rows, strict=True)]


def _hexadecimal(value: bytes | None) -> str | None:
    """Bytes in PostgreSQL's hexadecimal format."""
    return None if value is None else "\\x" + value.hex()


def pack_headers(headers: tuple[tuple[bytes, bytes], ...]) -> str | None:
    """Headers as JSON, like the function for applications; bytes that are no UTF-8 have a mark."""
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
