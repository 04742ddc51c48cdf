"""A change of the order in which an endpoint's deliveries go, for both stores.

What is pending gets its keys anew, and of each key the first is let go: in slices, like all changes
of many deliveries. Meanwhile nothing of the endpoint may be leased, or a key would be in flight
twice. So it counts as disabled; why it was disabled before is kept behind the mark. A mark that a
crash has left says that the change is to be done again, from the start: by the first sweeps of the
next process, or earlier by ``endpoint-put``, which was not answered, or ``endpoint-enable``.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Final

from ..model import ORDERING, Endpoint, Recovered
from .base import Continued, QueryResult
from .state import PENDING, STOPS, WAITS, SqlState, as_json

__all__ = ["Ordering", "Orderings", "disabled_as", "is_marked", "reason_of"]

_SLICE: Final = 1000  # rows changed by one transaction
_READ: Final = 5000  # rows that are looked at for these
_KEYS: Final = 100  # keys whose first delivery is let go by one transaction

_KEY: Final = {
    "none": "NULL",
    "key": "(SELECT key FROM payload WHERE payload.seq = delivery.seq)",
    "endpoint": "''",
}
# One step for each key, however many deliveries it has.
_NEXT_KEYS: Final = """
WITH RECURSIVE next(okey, place) AS (
    SELECT (SELECT min(okey) FROM delivery WHERE endpoint = ? AND okey {beyond} ?
            AND okey IS NOT NULL AND (state = 0 OR blocked = 2)), 1
    UNION ALL
    SELECT (SELECT min(okey) FROM delivery WHERE endpoint = ? AND okey > next.okey
            AND okey IS NOT NULL AND (state = 0 OR blocked = 2)), place + 1
    FROM next WHERE okey IS NOT NULL AND place < ?
)
SELECT okey FROM next WHERE okey IS NOT NULL
"""


class Ordering(Continued):
    """The rest of a change.

    Attributes:
        mark: of the endpoint; another one means that another change has taken over.
        after: number of the last delivery that was looked at; None: all were.
        key: the last one of which the first delivery was let go; None: there was none yet.
    """

    def __init__(self, endpoint: str, mark: str) -> None:
        self.endpoint = endpoint
        self.mark = mark
        self.after: int | None = 0
        self.key: str | None = None


def is_marked(disabled: str) -> bool:
    """Whether an endpoint is being ordered anew."""
    return disabled.startswith(ORDERING)


def reason_of(disabled: str) -> str:
    """Why an endpoint is disabled otherwise; "" if it is not."""
    return disabled.split(":", 2)[2] if is_marked(disabled) else disabled


def disabled_as(disabled: str, reason: str) -> str:
    """The same with another reason: the mark stays."""
    if not is_marked(disabled):
        return reason
    return ":".join([*disabled.split(":", 2)[:2], reason])


class Orderings:
    """Marks endpoints, and orders their deliveries anew; each call is run in a transaction."""

    def __init__(self, state: SqlState) -> None:
        self._state = state
        self._execute = state.execute
        self._left: list[int] | None = None  # endpoints that a crash has left; None: not known yet

    def resume(self, now: float) -> QueryResult | None:
        """Begin again with an endpoint that was marked when we started; None: there is none."""
        if self._left is None:
            endpoints = self._state.endpoints.values()
            self._left = [e.id for e in endpoints if is_marked(e.disabled) and not e.deleted]
        while self._left:
            endpoint = self._state.find_number(self._left.pop())
            if endpoint is not None and is_marked(endpoint.disabled) and not endpoint.deleted:
                return self.begin(endpoint, now)
        return None

    def begin(self, endpoint: Endpoint, now: float) -> QueryResult:
        """Write an endpoint with its new settings, and order the first deliveries anew."""
        mark = f"{ORDERING}:{os.urandom(8).hex()}"
        marked = replace(endpoint, disabled=f"{mark}:{reason_of(endpoint.disabled)}")
        self._state.write_endpoint(marked)
        return self.go_on(Ordering(endpoint.name, mark), now)

    def go_on(self, ordering: Ordering, now: float) -> QueryResult:
        """Order a slice of the deliveries; with the last one, remove the mark."""
        endpoint = self._state.known_by_name(ordering.endpoint)
        if not endpoint.disabled.startswith(f"{ordering.mark}:"):
            return QueryResult()
        if ordering.after is not None:
            self._set_keys(ordering, endpoint)
        if ordering.after is None and self._let_go(ordering, endpoint):
            settled = replace(endpoint, disabled=reason_of(endpoint.disabled))
            self._state.write_endpoint(settled)
            due = self._state.next_due(endpoint.id)
            return QueryResult(changed=[Recovered(replace(settled), due)])
        return QueryResult(changed=[Recovered(replace(endpoint))], again=ordering)

    def _set_keys(self, ordering: Ordering, endpoint: Endpoint) -> None:
        """Set the keys of a slice, and block all that have one."""
        seqs = self._few(endpoint.id)
        if seqs is None:
            seqs = self._next_slice(ordering, endpoint.id)
        else:
            ordering.after = None
        order = endpoint.settings.order
        key = _KEY[order]
        self._execute(
            f"UPDATE delivery SET okey = {key},"
            f" blocked = CASE WHEN state = 0 AND {key} IS NOT NULL THEN {WAITS} ELSE 0 END"
            f" WHERE seq IN ({self._state.LISTED})",
            (as_json(seqs),),
        )

    def _few(self, endpoint: int) -> list[int] | None:
        """The deliveries to order, by the indices; None if there are too many for a slice."""
        if self._state.count_pending([endpoint]).get(endpoint, 0) > _SLICE:
            return None
        with_keys = self._execute(
            "SELECT seq FROM delivery WHERE endpoint = ? AND okey IS NOT NULL"
            " AND (state = 0 OR blocked = 2) LIMIT ?",
            (endpoint, _SLICE + 1),
        ).fetchall()
        if len(with_keys) > _SLICE:
            return None
        leased = self._execute(
            f"SELECT seq FROM delivery WHERE seq IN ({self._state.LISTED}) AND endpoint = ?",
            (as_json(self._state.leased()), endpoint),
        ).fetchall()
        pending = self._state.pending(endpoint, "seq", _SLICE + 1)
        return sorted({row[0] for row in [*with_keys, *leased, *pending]})

    def _next_slice(self, ordering: Ordering, endpoint: int) -> list[int]:
        """The next deliveries to order, by a walk through the table."""
        rows = self._execute(
            "SELECT seq, endpoint, state, blocked FROM delivery WHERE seq > ? ORDER BY seq LIMIT ?",
            (ordering.after, _READ),
        ).fetchall()
        found = [
            seq
            for seq, number, state, blocked in rows
            if number == endpoint and (state == PENDING or blocked == STOPS)
        ]
        if len(found) > _SLICE:
            ordering.after = found[_SLICE - 1]
            return found[:_SLICE]
        ordering.after = rows[-1][0] if len(rows) == _READ else None
        return found

    def _let_go(self, ordering: Ordering, endpoint: Endpoint) -> bool:
        """Let the first delivery of some keys go. Returns whether there are no more keys."""
        beyond = ">=" if ordering.key is None else ">"
        keys = self._execute(
            _NEXT_KEYS.format(beyond=beyond),
            (endpoint.id, ordering.key or "", endpoint.id, _KEYS),
        ).fetchall()
        for (okey,) in keys:
            self._state.unblock(endpoint.id, okey)
            ordering.key = okey
        return len(keys) < _KEYS
