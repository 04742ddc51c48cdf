"""Leases and counts of the SQLite store, in memory; and statements for many rows."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from typing import Any, ClassVar, Final

from ..model import Endpoint
from .secrets import SecretBox
from .state import PENDING, SqlState

__all__ = ["SqliteState", "values"]

_CHUNKS: Final = (64, 16, 4, 1)  # rows in one statement; few sizes need few prepared statements

_ADD_COUNTS: Final = (
    " ON CONFLICT (endpoint) DO UPDATE SET pending = pending + excluded.pending,"
    " done = done + excluded.done, dead = dead + excluded.dead"
)

# A skip scan: it goes from one endpoint in the index to the next, without reading all deliveries.
_NEXT_DUE: Final = """
WITH RECURSIVE next(endpoint) AS (
    SELECT min(endpoint) FROM delivery WHERE state = 0 AND blocked = 0
    UNION ALL
    SELECT (SELECT min(endpoint) FROM delivery
            WHERE state = 0 AND blocked = 0 AND endpoint > next.endpoint)
    FROM next WHERE endpoint IS NOT NULL
)
SELECT endpoint,
       (SELECT min(due) FROM delivery
        WHERE state = 0 AND blocked = 0 AND delivery.endpoint = next.endpoint)
FROM next WHERE endpoint IS NOT NULL
"""


@cache
def _statement(before: str, behind: str, rows: int, columns: int) -> str:
    one = "(" + ", ".join("?" * columns) + ")"
    return before + ", ".join([one] * rows) + behind


def values(
    connection: sqlite3.Connection, before: str, rows: Sequence[tuple[Any, ...]], behind: str = ""
) -> int:
    """Run ``before (?, …), (?, …) behind`` for rows, many at once. Returns the number changed."""
    changed = 0
    start = 0
    for size in _CHUNKS:
        while len(rows) - start >= size:
            chunk = rows[start : start + size]
            sql = _statement(before, behind, size, len(chunk[0]))
            cursor = connection.execute(sql, list(chain.from_iterable(chunk)))
            changed += cursor.rowcount
            start += size
    return changed


class SqliteState(SqlState):
    """Endpoints, leases and counts of one file.

    Attributes:
        failed: of a commit whose write or sync failed. The system drops pages that it could not
            write, and a later sync succeeds without them; so nothing is committed until
            ``checkpoint`` has written all of the WAL into the file.
        leases: numbers of deliveries that are leased, by the number of their endpoint.
        synchronous: of the connection.
    """

    SHOWN: ClassVar = (
        "SELECT seq, id, endpoint, state, due, attempt, accepted, reason, blocked, 0 FROM delivery"
    )
    FREE: ClassVar = "TRUE"
    LOCKED: ClassVar = ""
    LISTED: ClassVar = "SELECT value FROM json_each(?)"
    LISTED_TEXT: ClassVar = LISTED
    PAIRS: ClassVar = (
        "SELECT json_extract(value, '$[0]') AS seq, json_extract(value, '$[1]') AS number"
        " FROM json_each(?)"
    )

    def __init__(
        self, connection: sqlite3.Connection, box: SecretBox, schedule: tuple[float, ...]
    ) -> None:
        super().__init__(box, schedule)
        self.connection = connection
        self.synchronous = "FULL"
        self.failed: sqlite3.Error | None = None
        self.leases: dict[int, set[int]] = {}
        self._counts: dict[int, list[int]] = {}  # of each state, by endpoint
        self._totals = [0, 0, 0]
        for endpoint, *counts in connection.execute(
            "SELECT endpoint, pending, done, dead FROM counter"
        ):
            self._add(endpoint, counts)
        self._touched = False  # endpoints in memory were changed by the transaction
        self.load()
        self.encrypt_secrets()

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run a statement."""
        return self.connection.execute(sql, values)

    def refresh(self) -> None:
        """Do nothing: no other process can use the file."""

    def hold_key(self, endpoint: int, okey: str) -> None:
        """Do nothing: no other process can use the file."""

    def hold_keys(self, endpoint: int, okeys: Sequence[str]) -> None:
        """Do nothing: no other process can use the file."""

    def next_dues(self) -> dict[int, float]:
        """Times when each endpoint has a delivery due next."""
        return dict(self.connection.execute(_NEXT_DUE).fetchall())

    def checkpoint(self) -> None:
        """Try to write all of the WAL into the file, and to sync that."""
        with contextlib.suppress(sqlite3.Error):
            (busy, *_) = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy:
                self.failed = None

    # -- leases --------------------------------------------------------------------------------

    def lease(self, endpoint: int, seqs: Iterable[int]) -> None:
        """Note that deliveries are leased."""
        self.leases.setdefault(endpoint, set()).update(seqs)

    def lock_free(self, deliveries: Sequence[tuple[int, int]]) -> list[int]:
        """Those that are not leased."""
        leases = self.leases
        return [seq for endpoint, seq in deliveries if seq not in leases.get(endpoint, ())]

    def release(self, endpoint: int, seqs: Iterable[int]) -> None:
        """Note that the leases of deliveries have ended."""
        leases = self.leases.get(endpoint)
        if leases is not None:
            leases.difference_update(seqs)
            if not leases:
                del self.leases[endpoint]

    # -- counts --------------------------------------------------------------------------------

    def count_states(self, endpoint: int = 0) -> dict[int, int]:
        """Numbers of deliveries in each state."""
        if endpoint:
            return dict(enumerate(self._counts.get(endpoint, (0, 0, 0))))
        return dict(enumerate(self._totals))

    def leased(self) -> list[int]:
        """The numbers of deliveries that are leased."""
        return [seq for seqs in self.leases.values() for seq in seqs]

    def count_pending(self, endpoints: Sequence[int]) -> dict[int, int]:
        """Numbers of pending deliveries of endpoints that have any."""
        return {
            endpoint: counts[PENDING]
            for endpoint in endpoints
            if (counts := self._counts.get(endpoint)) and counts[PENDING]
        }

    def write_counts(self) -> None:
        """Write the changes of counts; called before the transaction is committed."""
        rows = [(endpoint, *changes) for endpoint, changes in self.counted.items()]
        values(self.connection, "INSERT INTO counter VALUES ", rows, _ADD_COUNTS)

    def settle(self) -> None:
        """Keep the changes in memory: the transaction was committed."""
        for endpoint, changes in self.counted.items():
            self._add(endpoint, changes)
        self.counted = {}
        self._touched = False

    def _add(self, endpoint: int, changes: Sequence[int]) -> None:
        counts = self._counts.setdefault(endpoint, [0, 0, 0])
        for state, change in enumerate(changes):
            counts[state] += change
            self._totals[state] += change

    def unsettle(self) -> None:
        """Undo the changes in memory: the transaction was rolled back."""
        self.counted = {}
        if self._touched:
            self._touched = False
            self.endpoints.clear()
            self.by_name.clear()
            self.load()

    def remember(self, endpoint: Endpoint) -> None:
        """Keep a new or changed endpoint in memory."""
        self._touched = True
        super().remember(endpoint)
