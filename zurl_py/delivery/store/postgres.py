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

import msgspec
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
from .base import Query, QueryResult, StoreError, StoreUnavailable, Sweep
from .postgres_listener import Listener
from .postgres_schema import COUNT_ALL, migrate
from .postgres_session import Run, Session
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

# Rows go in as one JSON text, and bodies as one value that is cut up: arrays of PostgreSQL's would
# cost psycopg a call or more for each element. All that a batch writes is one statement.
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
        number int, time float8, code int, condition text, error text, phases text, start int,
        size int)
), ended AS (
    UPDATE delivery d SET state = v.state, blocked = v.blocked, due = v.due, attempt = v.attempt,
        tries = v.tries, reason = v.reason, forget = v.forget, owner = NULL
    FROM v WHERE d.seq = v.seq AND d.fence = v.fence AND d.state = 0
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
# A process without its lock has gone; one whose time is up has stopped, or lost its connection.
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
        if all(self._is_plain(new) for new in batch):
            results, repeats = self._accept(batch, now, self._session.run)
        else:
            with self._session as self._state.connection:
                results, repeats = self._accept(batch, now, self._state.run)
        if repeats:
            self._compare(repeats)
        return results

    def _is_plain(self, new: NewDelivery) -> bool:
        """Nothing but its own row has to be looked at or written: it may go in one statement."""
        endpoint = self._state.by_name.get(new.endpoint or name_of_uri(new.uri))
        return endpoint is not None and order_of(endpoint, new.key) is None

    def _accept(
        self, batch: Sequence[NewDelivery], now: float, run: Run
    ) -> tuple[list[Accepted], list[_Taken]]:
        """Returns the results, and those whose id was there."""
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
        written = {id: (seq, owner) for id, seq, owner in run(_ACCEPT, (_text(rows), bodies))}
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
        """An id that is known: with the same content a duplicate, with another a conflict.

        The rest of the batch is written already; so of these it is said where that fails.
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
            # An endpoint that was deleted and made anew since is the same to the sender.
            same_place = number == endpoint.id or name == endpoint.name
            if same_place and tuple(kept) == content:
                result.duplicate = True
            else:
                result.error = ("conflict", f"the id {new.id} is another message's")

    # -- claim ---------------------------------------------------------------------------------

    def claim(self, batch: Sequence[Claim], now: float) -> list[Claimed]:
        """Lease due deliveries, the oldest due first; those that others take are passed over."""
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
        rows = self._session.run(_CLAIM, (_text(wishes), now, self._owner)) if wishes else []
        leased: dict[int, list[Delivery]] = {}
        for row in rows:
            leased.setdefault(row[0], []).append(self._delivery(row))
        for place in limits:
            result = results[place]
            result.deliveries = leased.get(result.endpoint, [])
            result.deliveries.sort(key=lambda delivery: (delivery.due, delivery.seq))
            if not result.deliveries:  # others were quicker, or it was closed this moment
                result.next_due = max(result.next_due or 0.0, now + _SOON)
        return results

    def _limits(
        self, batch: Sequence[Claim], places: Sequence[int], results: list[Claimed], now: float
    ) -> dict[int, int]:
        """How many to lease for each claim that finds something due, and what is due after."""
        wishes = [
            {"place": place, "endpoint": batch[place].endpoint, "most": batch[place].limit + 1}
            for place in places
        ]
        limits: dict[int, int] = {}
        room = {place: batch[place].max_bytes for place in places}
        for place, due, size in self._session.run(_DUE, (_text(wishes),)) if wishes else ():
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
        """End leases; a result whose fence another lease has moved on is dropped."""
        released = [f for f in batch if f.gives_back]
        ended = [f for f in batch if not f.gives_back]
        saves = [f.save for f in batch if f.save is not None]
        if not released and not saves and all(f.delivery.okey is None for f in ended):
            return self._end(ended, self._session.run)
        results: list[Finished] = []
        with self._session as self._state.connection:
            if released:
                pairs = [(f.delivery.seq, f.delivery.fence) for f in released]
                self._state.connection.execute(_RELEASE, _columns(pairs))
                results += [Finished(finish) for finish in released]
            for save in saves:
                self._queries.save(save)
            if ended:
                results += self._end(ended, self._state.run)
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
        written = set(run(_FINISH, (_text(rows), b"".join(bodies))))
        return [
            Finished(finish, (finish.delivery.seq, finish.delivery.fence) not in written)
            for finish in ended
        ]

    def _unblock(self, results: Sequence[Finished]) -> None:
        """Let the next of the keys go whose heads have ended."""
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
        }

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
            connection.execute(COUNT_ALL)
            for table, column in (("endpoint", "id"), ("delivery", "seq")):
                connection.execute(
                    f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'),"
                    f" (SELECT coalesce(max({column}), 1) FROM {table}))"
                )
        return copied

    def query(self, query: Query, now: float) -> QueryResult:
        """All the rest; each query is a transaction."""
        self._state.counted = {}
        with self._session as self._state.connection:
            result = self._queries.run(query, now)
            self._state.write_counts()
            if isinstance(query, Sweep):
                self._state.fold_counts()
            elif isinstance(query, Stats):
                # An old transaction anywhere keeps dead rows alive, which slows claims.
                row = self._state.connection.execute(_XMIN_AGE).fetchone()
                result.answer["xmin-age"] = (row and row[0]) or 0
            return result


def _columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows as columns, each an array of PostgreSQL's."""
    return [list(column) for column in zip(*rows, strict=True)]


def _text(rows: Sequence[dict[str, Any]]) -> str:
    return msgspec.json.encode(rows).decode()


def _hexadecimal(value: bytes | None) -> str | None:
    """Bytes as PostgreSQL reads them from a text."""
    return None if value is None else "\\x" + value.hex()


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
