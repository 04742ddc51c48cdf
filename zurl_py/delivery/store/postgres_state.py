"""Endpoints of the PostgreSQL store in memory; other processes change them as well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final, LiteralString

import psycopg

from ..endpoints import to_text
from ..model import Endpoint, Settings
from .secrets import SecretBox
from .state import Rows, SqlState, as_json

__all__ = ["PostgresState"]

_OVERLAP: Final = 30.0  # seconds: a change is committed, and so seen, later than its timestamp

_TOTALS: Final = """
SELECT coalesce(sum(pending), 0)::bigint, coalesce(sum(done), 0)::bigint,
    coalesce(sum(dead), 0)::bigint
FROM (SELECT * FROM counter UNION ALL SELECT * FROM change) AS counted
"""
_PENDING: Final = """
SELECT endpoint, sum(pending)::bigint FROM (SELECT * FROM counter UNION ALL SELECT * FROM change)
AS counted WHERE endpoint = ANY(?) GROUP BY endpoint HAVING sum(pending) > 0
"""
# A log: with a single row, all transactions would wait for each other.
_ADD_COUNTS: Final = """
INSERT INTO change SELECT (row ->> 0)::bigint, (row ->> 1)::bigint, (row ->> 2)::bigint,
    (row ->> 3)::bigint FROM json_array_elements(?::json) AS row
"""
_FOLD_COUNTS: Final = """
WITH gone AS (
    DELETE FROM change WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM change LIMIT ? FOR UPDATE SKIP LOCKED)) RETURNING *
)
INSERT INTO counter SELECT endpoint, sum(pending), sum(done), sum(dead) FROM gone
GROUP BY endpoint ORDER BY endpoint
ON CONFLICT (endpoint) DO UPDATE SET pending = counter.pending + excluded.pending,
    done = counter.done + excluded.done, dead = counter.dead + excluded.dead
"""
_COUNT_LOG: Final = "SELECT count(*) FROM (SELECT 1 FROM change LIMIT ?) AS entries"
_FOLDED: Final = 10_000  # entries of the log that are added by one transaction

_NEXT_DUE: Final = """
WITH RECURSIVE next(endpoint) AS (
    SELECT min(endpoint) FROM delivery WHERE state = 0 AND blocked = 0 AND owner IS NULL
    UNION ALL
    SELECT (SELECT min(endpoint) FROM delivery WHERE state = 0 AND blocked = 0
            AND owner IS NULL AND endpoint > next.endpoint)
    FROM next WHERE endpoint IS NOT NULL
)
SELECT endpoint, (SELECT min(due) FROM delivery WHERE state = 0 AND blocked = 0
                  AND owner IS NULL AND delivery.endpoint = next.endpoint)
FROM next WHERE endpoint IS NOT NULL
"""


class PostgresState(SqlState):
    """Endpoints of one database.

    Attributes:
        connection: of the current batch.
    """

    SHOWN: ClassVar = (
        "SELECT seq, id, endpoint, state, due, attempt, accepted, reason, blocked,"
        " (owner IS NOT NULL)::int FROM delivery"
    )
    FREE: ClassVar = "owner IS NULL"
    LOCKED: ClassVar = "ORDER BY seq FOR UPDATE"
    LISTED: ClassVar = "SELECT value::bigint FROM json_array_elements_text(?::json)"
    LISTED_TEXT: ClassVar = "SELECT value FROM json_array_elements_text(?::json)"
    PAIRS: ClassVar = (
        "SELECT (value ->> 0)::bigint AS seq, (value ->> 1)::float8 AS number"
        " FROM json_array_elements(?::json)"
    )

    def __init__(self, box: SecretBox, schedule: tuple[float, ...]) -> None:
        super().__init__(box, schedule)
        self.connection: psycopg.Connection[Any] | None = None
        self._refreshed = 0.0  # seconds since 1970, by the clock of the database
        self._statements: dict[str, str] = {}

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Rows:
        """Run a statement."""
        statement = self._statements.get(sql)
        if statement is None:
            statement = self._statements[sql] = sql.replace("?", "%s")
        assert self.connection is not None
        rows: Rows = self.connection.execute(statement, values)
        return rows

    def run(self, statement: LiteralString, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Run a statement in PostgreSQL's syntax, within the current batch. Returns its rows."""
        assert self.connection is not None
        return self.connection.execute(statement, values).fetchall()

    def lock_free(self, deliveries: Sequence[tuple[int, int]]) -> list[int]:
        """Those that are not leased; they are locked, so that nobody can lease them."""
        rows = self.execute(
            f"SELECT seq FROM delivery WHERE seq IN ({self.LISTED}) AND owner IS NULL"
            " ORDER BY seq FOR UPDATE",
            (as_json([seq for _, seq in deliveries]),),
        )
        return [seq for (seq,) in rows]

    def count_states(self, endpoint: int = 0) -> dict[int, int]:
        """Numbers of deliveries in each state."""
        if endpoint:
            counts = self.execute(f"{_TOTALS} WHERE endpoint = ?", (endpoint,))
        else:
            counts = self.execute(_TOTALS)
        return dict(enumerate(counts.fetchone()))

    def leased(self) -> list[int]:
        """The numbers of deliveries that are leased."""
        rows = self.execute("SELECT seq FROM delivery WHERE owner IS NOT NULL").fetchall()
        return [row[0] for row in rows]

    def count_pending(self, endpoints: Sequence[int]) -> dict[int, int]:
        """Numbers of pending deliveries of endpoints that have any."""
        return dict(self.execute(_PENDING, (list(endpoints),)).fetchall()) if endpoints else {}

    def write_counts(self) -> None:
        """Write the changes of counts; called before the transaction is committed."""
        if self.counted:
            rows = [(endpoint, *changes) for endpoint, changes in self.counted.items()]
            self.execute(_ADD_COUNTS, (as_json(rows),))
            self.counted = {}

    def fold_counts(self) -> bool:
        """Add entries of the log of changes to the table. Returns whether there may be more."""
        (before,) = self.execute(_COUNT_LOG, (_FOLDED,)).fetchone()
        self.execute(_FOLD_COUNTS, (_FOLDED,))
        return bool(before == _FOLDED)

    def next_dues(self) -> dict[int, float]:
        """Times when each endpoint has a delivery due next."""
        return dict(self.execute(_NEXT_DUE).fetchall())

    def hold_key(self, endpoint: int, okey: str) -> None:
        """Lock a key until the end of the transaction."""
        self.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", (f"{endpoint}:{okey}",)
        )

    def hold_keys(self, endpoint: int, okeys: Sequence[str]) -> None:
        """Lock keys, which are in order, until the end of the transaction."""
        if okeys:
            names = as_json([f"{endpoint}:{okey}" for okey in okeys])
            self.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(value, 0))"
                f" FROM ({self.LISTED_TEXT}) AS key",
                (names,),
            )

    # -- endpoints -----------------------------------------------------------------------------

    def refresh(self) -> None:
        """Read endpoints that other processes have changed."""
        self.changed()

    def changed(self) -> list[Endpoint]:
        """Endpoints that were changed since the last call, and some that were changed before."""
        (now,) = self.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
        found = self.load("WHERE changed > to_timestamp(?)", (self._refreshed - _OVERLAP,))
        self._refreshed = now
        return found

    def find(self, name: str) -> Endpoint | None:
        """The current endpoint of a name, locked until the transaction ends."""
        found = self.load("WHERE name = ? AND deleted = 0 FOR UPDATE", (name,))
        if found:
            return found[0]
        self.by_name.pop(name, None)
        return None

    def find_cached(self, name: str) -> Endpoint | None:
        """The endpoint of a name in memory, which may be a little old."""
        return self.by_name.get(name) or self.find_fresh(name)

    def find_fresh(self, name: str) -> Endpoint | None:
        """The current endpoint of a name, without a lock."""
        found = self.load("WHERE name = ? AND deleted = 0", (name,))
        return found[0] if found else None

    def find_number(self, number: int) -> Endpoint | None:
        """The current endpoint of a number."""
        found = self.load("WHERE id = ? FOR UPDATE", (number,))
        return found[0] if found else None

    def known(self, number: int) -> Endpoint:
        """The endpoint that a delivery refers to."""
        endpoint = self.endpoints.get(number)
        return endpoint if endpoint is not None else self.load("WHERE id = ?", (number,))[0]

    def insert_endpoint(
        self, name: str, settings: Settings, secrets: tuple[str, ...] = ()
    ) -> Endpoint:
        """Make an endpoint, unless another process has just made it."""
        row = self.execute(
            "INSERT INTO endpoint (name, settings, secrets, ordered, first_wait)"
            " VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) WHERE deleted = 0 DO NOTHING RETURNING id",
            (
                name,
                to_text(settings),
                self.box.close(secrets),
                settings.order,
                settings.schedule[0],
            ),
        ).fetchone()
        if row is None:
            found = self.find_fresh(name)
            assert found is not None
            return found
        endpoint = Endpoint(row[0], name, settings, secrets)
        self.remember(endpoint)
        self._notify()
        return endpoint

    def write_endpoint(self, endpoint: Endpoint) -> None:
        """Write a changed endpoint, and notify the other processes."""
        super().write_endpoint(endpoint)
        settings = endpoint.settings
        self.execute(
            "UPDATE endpoint SET ordered = ?, first_wait = ?, changed = clock_timestamp()"
            " WHERE id = ?",
            (settings.order, settings.schedule[0], endpoint.id),
        )
        self._notify()

    def _notify(self) -> None:
        self.execute("SELECT pg_notify('zurl', 'endpoints')")
