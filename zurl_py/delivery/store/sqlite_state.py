"""What the SQLite store knows beside the file: endpoints, leases, counts; and helpers on rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Sequence
from dataclasses import replace
from typing import Any, Final

from ..attempts import horizon
from ..endpoints import from_text
from ..model import Endpoint, Recovered
from .secrets import SecretBox

__all__ = ["DEAD", "DONE", "PENDING", "STOPS", "WAITS", "SqliteState", "values"]

PENDING, DONE, DEAD = range(3)
WAITS, STOPS = 1, 2  # values of ``blocked``

_DAY: Final = 86_400.0  # seconds
_DEAD_DAYS: Final = 30  # that dead letters are kept beyond the others
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


class SqliteState:
    """Endpoints, leases and counts of one store.

    Attributes:
        endpoints: by number, the deleted ones included.
        by_name: those that are not deleted.
        leases: numbers of deliveries that are leased, by the number of their endpoint.
        counts: deliveries by state.
        in_flight: numbers of the deliveries that an attempt of is under way.
        synchronous: of the connection.
    """

    def __init__(
        self, connection: sqlite3.Connection, box: SecretBox, schedule: tuple[float, ...]
    ) -> None:
        self.connection = connection
        self.box = box
        self.schedule = schedule
        self.in_flight: Container[int] = ()
        self.synchronous = "FULL"
        self.endpoints: dict[int, Endpoint] = {}
        self.by_name: dict[str, Endpoint] = {}
        self.leases: dict[int, set[int]] = {}
        self.counts: dict[int, int] = dict(
            connection.execute("SELECT state, number FROM counter").fetchall()
        )
        self._counted: dict[int, int] = {}  # by the transaction under way
        self._load_endpoints()

    # -- endpoints -----------------------------------------------------------------------------

    def _load_endpoints(self) -> None:
        rows = self.connection.execute(
            "SELECT id, name, settings, secrets, disabled, hold_until, failing_since, noticed,"
            " deleted FROM endpoint"
        ).fetchall()
        stale = []
        for id, name, settings, secrets, *state, deleted in rows:
            if not self.box.is_current(secrets):
                stale.append(id)
            disabled, hold_until, failing_since, noticed = state
            self.remember(
                Endpoint(
                    id,
                    name,
                    from_text(settings, self.schedule),
                    self.box.open(secrets),
                    disabled,
                    hold_until,
                    failing_since,
                    noticed,
                    bool(deleted),
                )
            )
        for id in stale:  # kept in the clear until now
            self.connection.execute(
                "UPDATE endpoint SET secrets = ? WHERE id = ?",
                (self.box.close(self.endpoints[id].secrets), id),
            )

    def remember(self, endpoint: Endpoint) -> None:
        """An endpoint is new or changed."""
        self.endpoints[endpoint.id] = endpoint
        if not endpoint.deleted:
            self.by_name[endpoint.name] = endpoint
            return
        named = self.by_name.get(endpoint.name)
        if named is not None and named.id == endpoint.id:  # and no new one of that name
            del self.by_name[endpoint.name]

    def recover(self) -> list[Recovered]:
        """All endpoints, and when each has something to do."""
        due = dict(self.connection.execute(_NEXT_DUE).fetchall())
        return [
            Recovered(replace(endpoint), due.get(endpoint.id))
            for endpoint in self.endpoints.values()
            if not endpoint.deleted
        ]

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

    def settle(self) -> None:
        """The transaction was committed."""
        for state, change in self._counted.items():
            self.counts[state] += change
        self._counted = {}

    def unsettle(self) -> None:
        """The transaction was rolled back."""
        self._counted = {}

    # -- rows ----------------------------------------------------------------------------------

    def head(self, endpoint: int, okey: str) -> tuple[int, int, int, float] | None:
        """The first that is open of a key: seq, state, blocked and due."""
        found: tuple[int, int, int, float] | None = self.connection.execute(
            "SELECT seq, state, blocked, due FROM delivery"
            " WHERE endpoint = ? AND okey = ? AND okey IS NOT NULL AND (state = 0 OR blocked = 2)"
            " ORDER BY seq LIMIT 1",
            (endpoint, okey),
        ).fetchone()
        return found

    def unblock(self, endpoint: int, okey: str) -> float | None:
        """Let the next of a key go. Returns when it is due; None: there is none that may."""
        head = self.head(endpoint, okey)
        if head is None:
            return None
        seq, state, blocked, due = head
        if state != PENDING:
            return None
        if blocked:
            self.connection.execute("UPDATE delivery SET blocked = 0 WHERE seq = ?", (seq,))
        return due

    def forget_at(self, endpoint: Endpoint, accepted: float, ended: float, state: int) -> float:
        """When a delivery that has ended is forgotten, and its id with it."""
        remembered = max(accepted + horizon(endpoint.settings.schedule), ended) + _DAY
        return remembered + _DEAD_DAYS * _DAY if state == DEAD else remembered
