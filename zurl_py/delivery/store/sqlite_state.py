"""What the SQLite store keeps in memory: leases and counts; and many rows in one statement."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from ..model import Endpoint
from .secrets import SecretBox
from .state import SqlState

__all__ = ["SqliteState", "values"]

_CHUNKS: Final = (64, 16, 4, 1)  # rows in one statement; so few statements are kept prepared

# A skip scan: from one endpoint of the index to the next, whatever the number of its deliveries.
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


def values(
    connection: sqlite3.Connection, before: str, rows: Sequence[tuple[Any, ...]], behind: str = ""
) -> int:
    """Run ``before (?, …), (?, …) behind`` over rows, many at once. Returns how many it changed."""
    changed = 0
    start = 0
    for size in _CHUNKS:
        while len(rows) - start >= size:
            chunk = rows[start : start + size]
            one = "(" + ", ".join("?" * len(chunk[0])) + ")"
            sql = before + ", ".join([one] * size) + behind
            cursor = connection.execute(sql, [value for row in chunk for value in row])
            changed += cursor.rowcount
            start += size
    return changed


class SqliteState(SqlState):
    """Endpoints, leases and counts of one file.

    Attributes:
        leases: numbers of deliveries that are leased, by the number of their endpoint.
        synchronous: of the connection.
    """

    SHOWN: ClassVar = (
        "SELECT seq, id, endpoint, state, due, attempt, accepted, reason, blocked, 0 FROM delivery"
    )

    def __init__(
        self, connection: sqlite3.Connection, box: SecretBox, schedule: tuple[float, ...]
    ) -> None:
        super().__init__(box, schedule)
        self.connection = connection
        self.synchronous = "FULL"
        self.leases: dict[int, set[int]] = {}
        self._counts: dict[int, int] = dict(
            connection.execute("SELECT state, number FROM counter").fetchall()
        )
        self._counted: dict[int, int] = {}  # by the transaction under way
        self._touched = False  # it changed what we know of endpoints
        self.load()
        self.encrypt_secrets()

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run a statement."""
        return self.connection.execute(sql, values)

    def refresh(self) -> None:
        """Nobody else can have the file."""

    def hold_key(self, endpoint: int, okey: str) -> None:
        """Nobody else can have the file."""

    def next_dues(self) -> dict[int, float]:
        """When each endpoint has something to do next."""
        return dict(self.connection.execute(_NEXT_DUE).fetchall())

    # -- leases --------------------------------------------------------------------------------

    def lease(self, endpoint: int, seq: int) -> None:
        """A delivery is leased."""
        self.leases.setdefault(endpoint, set()).add(seq)

    def is_leased(self, endpoint: int, seq: int) -> bool:
        """Whether it is."""
        return seq in self.leases.get(endpoint, ())

    def release(self, endpoint: int, seq: int) -> None:
        """Its lease has ended."""
        leases = self.leases.get(endpoint)
        if leases is not None:
            leases.discard(seq)
            if not leases:
                del self.leases[endpoint]

    # -- counts --------------------------------------------------------------------------------

    def count(self, changes: dict[int, int]) -> None:
        """Count within the transaction under way."""
        for state, change in changes.items():
            if change:
                self._counted[state] = self._counted.get(state, 0) + change
                self.connection.execute(
                    "UPDATE counter SET number = number + ? WHERE state = ?", (change, state)
                )

    def count_states(self) -> dict[int, int]:
        """How many deliveries there are in each state."""
        return self._counts

    def settle(self) -> None:
        """The transaction was committed."""
        for state, change in self._counted.items():
            self._counts[state] += change
        self._counted = {}
        self._touched = False

    def unsettle(self) -> None:
        """The transaction was rolled back; so is what was learnt of endpoints in it."""
        self._counted = {}
        if self._touched:
            self._touched = False
            self.endpoints.clear()
            self.by_name.clear()
            self.load()

    def remember(self, endpoint: Endpoint) -> None:
        """An endpoint is new or changed."""
        self._touched = True
        super().remember(endpoint)
