"""Changes of many deliveries, for both stores: enable, replay, and the sweep.

Each goes in slices, a transaction of a few milliseconds each: accepts and results are written
between them, and in PostgreSQL a batch that takes seconds is cut off. A slice is complete in
itself, so that nothing is lost where a crash ends it before the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from ..messages import QuestionError, Replay
from ..model import Recovered
from .base import Continued, QueryResult, Sweep
from .state import DEAD, PENDING, WAITS, SqlState, as_json, unknown_delivery

__all__ = ["SLICE", "Changes", "Enabling", "Replaying"]

SLICE: Final = 1000  # rows changed by one transaction
_READ: Final = 5000  # rows that are looked at for these
_KEYS: Final = 100  # ordering keys of these rows, of which each takes a few statements
_BYTES: Final = 16 << 20  # bytes of bodies that are deleted by one transaction

# Conditions on deliveries, which the indices have as well.
_OPEN: Final = "(state = 0 OR blocked = 2)"  # pending, or dead and in the way of its key
_OLD: Final = "forget <= ? AND blocked <> 2"

_NUMBERS: Final = {"pending": PENDING, "held": PENDING, "done": 1, "dead": DEAD}


class Enabling(Continued):
    """The rest of an ``endpoint-enable``."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint


class Replaying(Continued):
    """The rest of a ``replay`` of many deliveries.

    Attributes:
        last: the last delivery that existed when the replay began.
        after: the last that was looked at.
        count: of those that were replayed.
    """

    def __init__(self, query: Replay, endpoint: int, last: int) -> None:
        self.query = query
        self.endpoint = endpoint
        self.last = last
        self.after = 0
        self.count = 0


class Changes:
    """One method per kind of change, each run in a transaction."""

    def __init__(self, state: SqlState) -> None:
        self._state = state
        self._execute = state.execute

    # -- enable --------------------------------------------------------------------------------

    def make_due(self, endpoint: int, now: float) -> bool:
        """Make a slice of the deliveries that wait for a retry due. Returns if there are more."""
        waiting = [
            row[0]
            for row in self._execute(
                "SELECT seq FROM delivery WHERE endpoint = ? AND state = 0 AND blocked = 0"
                f" AND {self._state.FREE} AND due > ? AND tries > 0 LIMIT ?",
                (endpoint, now, SLICE),
            )
        ]
        free = self._state.lock_free([(endpoint, seq) for seq in waiting])
        if free:
            self._execute(
                f"UPDATE delivery SET due = ? WHERE seq IN ({self._state.LISTED})",
                (now, as_json(free)),
            )
        return len(waiting) == SLICE and bool(free)

    # -- replay --------------------------------------------------------------------------------

    def replay(self, query: Replay, now: float) -> QueryResult:
        """Send one delivery again, or those of an endpoint in one state."""
        if not query.id:
            endpoint = self._state.known_by_name(query.endpoint)
            (last,) = self._execute("SELECT max(seq) FROM delivery").fetchone()
            return self.continue_replay(Replaying(query, endpoint.id, last or 0), now)
        row = self._execute(
            "SELECT seq, endpoint FROM delivery WHERE id = ?", (query.id,)
        ).fetchone()
        if row is None:
            raise unknown_delivery(query.id)
        seq, number = row
        found = self._state.known(number)
        if found.deleted:
            raise QuestionError(
                "unknown-endpoint", "unknown-endpoint", f"{found.name!r} was deleted since"
            )
        return QueryResult({"count": self._revive(number, [seq], now)}, self._recovered(number))

    def continue_replay(self, replaying: Replaying, now: float) -> QueryResult:
        """Replay a slice of the deliveries that existed when the replay began."""
        query = replaying.query
        held = bool(self._state.known(replaying.endpoint).disabled)
        if query.state in ("held", "pending") and held != (query.state == "held"):
            return QueryResult({"count": replaying.count})
        which = "state = 2" if query.state == "dead" else "TRUE"
        rows = self._execute(
            f"SELECT seq, endpoint, state FROM delivery WHERE {which} AND seq > ? AND seq <= ?"
            " ORDER BY seq LIMIT ?",
            (replaying.after, replaying.last, _READ),
        ).fetchall()
        wanted = (replaying.endpoint, _NUMBERS[query.state])
        seqs = [seq for seq, *rest in rows if tuple(rest) == wanted]
        more = len(rows) == _READ or len(seqs) > SLICE
        replaying.after = rows[-1][0] if rows else 0
        if len(seqs) > SLICE:
            seqs = seqs[:SLICE]
            replaying.after = seqs[-1]
        replaying.count += self._revive(replaying.endpoint, seqs, now)
        if more:
            return QueryResult(again=replaying)
        return QueryResult({"count": replaying.count}, self._recovered(replaying.endpoint))

    def _revive(self, endpoint: int, seqs: Sequence[int], now: float) -> int:
        """Make deliveries pending and due. Returns the number of those that were not leased."""
        if not seqs:
            return 0
        keys = self._execute(
            "SELECT DISTINCT okey FROM delivery"
            f" WHERE seq IN ({self._state.LISTED}) AND okey IS NOT NULL ORDER BY okey",
            (as_json(seqs),),
        ).fetchall()
        self._state.hold_keys(endpoint, [okey for (okey,) in keys])
        free = self._state.lock_free([(endpoint, seq) for seq in seqs])
        rows = self._execute(
            f"SELECT seq, state, okey FROM delivery WHERE seq IN ({self._state.LISTED})"
            " ORDER BY seq",
            (as_json(free),),
        ).fetchall()
        # Of each key one may go; the others wait for its end.
        open_ = self._open_keys(endpoint, [okey for (okey,) in keys], free)
        waiting = []
        for seq, _, okey in rows:
            if okey is not None and okey in open_:
                waiting.append(seq)
            elif okey is not None:
                open_.add(okey)
        going = sorted({*free} - {*waiting})
        for chosen, blocked in ((waiting, WAITS), (going, 0)):
            # An expired delivery that is replayed is to be sent nevertheless.
            self._execute(
                "UPDATE delivery SET state = 0, blocked = ?, due = ?, attempt = 0, reason = NULL,"
                " forget = NULL, expires = CASE WHEN expires > ? THEN expires END"
                f" WHERE seq IN ({self._state.LISTED})",
                (blocked, now, now, as_json(chosen)),
            )
        for _, state, _ in rows:
            if state != PENDING:
                self._state.count(endpoint, (state, -1), (PENDING, 1))
        return len(rows)

    def _open_keys(self, endpoint: int, okeys: Sequence[str], without: Sequence[int]) -> set[str]:
        """Those of the keys of which another delivery is sent or may be sent."""
        if not okeys:
            return set()
        found = self._execute(
            f"SELECT value FROM ({self._state.LISTED_TEXT}) AS wanted WHERE EXISTS"
            " (SELECT 1 FROM delivery AS d WHERE d.endpoint = ? AND d.okey = wanted.value"
            " AND d.okey IS NOT NULL AND d.state = 0 AND d.blocked = 0"
            f" AND d.seq NOT IN ({self._state.LISTED}))",
            (as_json(okeys), endpoint, as_json(without)),
        ).fetchall()
        return {okey for (okey,) in found}

    def _recovered(self, endpoint: int) -> list[Recovered]:
        return [Recovered(replace(self._state.known(endpoint)), self._state.next_due(endpoint))]

    # -- sweep ---------------------------------------------------------------------------------

    def sweep(self, sweep: Sweep, now: float) -> QueryResult:
        """Handle a slice of expired deliveries, those of deleted endpoints, and old ones."""
        result = QueryResult()
        expired = self._execute(
            "SELECT seq, id, endpoint, state, okey, accepted FROM delivery"
            f" WHERE expires <= ? AND {_OPEN} ORDER BY expires LIMIT ?",
            (now, SLICE),
        ).fetchall()
        chosen = _few_keys(expired)
        # A slice of which all are leased is not repeated at once: they end by themselves.
        more = self._kill(chosen, "expired", now, result) and (
            len(expired) == SLICE or len(chosen) < len(expired)
        )
        orphans = self._orphans()  # now: some may have expired as well
        more |= self._kill(orphans, "endpoint-deleted", now, result) and len(orphans) == SLICE
        more |= self._delete_old(now)
        if more:
            result.again = sweep
        (result.next_sweep,) = self._execute(
            f"SELECT min(expires) FROM delivery WHERE expires > ? AND {_OPEN}",
            (now,),
        ).fetchone()
        return result

    def _orphans(self) -> list[tuple[Any, ...]]:
        """Pending deliveries of deleted endpoints, blocked ones included."""
        found: list[tuple[Any, ...]] = []
        deleted = [e.id for e in self._state.endpoints.values() if e.deleted]
        for number in self._state.count_pending(deleted):
            if len(found) < SLICE:
                columns = "seq, id, endpoint, state, okey, accepted"
                found += self._state.pending(number, columns, SLICE - len(found))
        return found

    def _kill(
        self, rows: list[tuple[Any, ...]], reason: str, now: float, result: QueryResult
    ) -> bool:
        """Let deliveries die, but for leased ones. Returns whether there were any."""
        # What is leased is decided at the end of its lease.
        found = self._lock([(number, seq) for seq, _, number, *_ in rows], _OPEN)
        dying = [row for row in rows if row[0] in found]
        if not dying:
            return False
        forget = [
            (seq, self._state.forget_at(self._state.known(number), accepted, now, DEAD))
            for seq, _, number, _, _, accepted in dying
        ]
        self._execute(
            "UPDATE delivery SET state = ?, blocked = 0, reason = coalesce(reason, ?),"
            f" forget = pair.number FROM ({self._state.PAIRS}) AS pair"
            " WHERE delivery.seq = pair.seq",
            (DEAD, reason, as_json(forget)),
        )
        for seq, id, number, *_ in dying:
            if found[seq] == PENDING:
                self._state.count(number, (PENDING, -1), (DEAD, 1))
                result.dead.append((id, reason))
        self._let_next_go(dying, result)
        return True

    def _lock(
        self, rows: Sequence[tuple[int, int]], condition: str, *values: float
    ) -> dict[int, int]:
        """Lock deliveries that are not leased, and of which a condition is true.

        It has to be asked again: before the lock another process may have changed them.

        Args:
            rows: numbers of an endpoint and of its delivery.

        Returns:
            The state of each delivery, by its number.
        """
        if not rows:
            return {}
        found = self._execute(
            f"SELECT seq, state FROM delivery WHERE seq IN ({self._state.LISTED}) AND {condition}",
            (as_json(self._state.lock_free(rows)), *values),
        )
        return dict(found.fetchall())

    def _let_next_go(self, dead: Iterable[tuple[Any, ...]], result: QueryResult) -> None:
        """Unblock the deliveries that waited for dead ones."""
        keys = {(number, okey) for _, _, number, _, okey, _ in dead if okey is not None}
        for number, okey in sorted(keys):
            endpoint = self._state.known(number)
            due = None if endpoint.deleted else self._state.unblock(number, okey)
            if due is not None:
                result.changed.append(Recovered(replace(endpoint), due))

    def _delete_old(self, now: float) -> bool:
        """Delete old deliveries. Returns whether there may be more."""
        rows = self._execute(
            f"SELECT seq, endpoint, size FROM delivery WHERE {_OLD} LIMIT ?", (now, SLICE)
        ).fetchall()
        chosen = _few_bytes(rows)
        found = self._lock([(number, seq) for seq, number, _ in chosen], _OLD, now)
        seqs = as_json([*found])
        for table in ("attempt", "payload", "delivery") if found else ():
            self._execute(f"DELETE FROM {table} WHERE seq IN ({self._state.LISTED})", (seqs,))
        for seq, number, _ in chosen:
            if seq in found:
                self._state.count(number, (found[seq], -1))
        return len(rows) == SLICE or len(chosen) < len(rows)


def _few_keys(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The first rows, with at most ``_KEYS`` ordering keys."""
    keys: set[tuple[int, str]] = set()
    for place, (_, _, number, _, okey, _) in enumerate(rows):
        if okey is not None:
            keys.add((number, okey))
            if len(keys) > _KEYS:
                return rows[:place]
    return rows


def _few_bytes(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The first rows, at least one, with at most ``_BYTES`` of bodies."""
    room = _BYTES
    for place, (*_, size) in enumerate(rows):
        room -= size
        if room < 0 and place:
            return rows[:place]
    return rows
