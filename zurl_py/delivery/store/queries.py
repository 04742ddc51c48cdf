"""The verb ``query`` of both stores: endpoints, lists, replay, stats, and the sweep.

A query that may read or change many rows does it in slices: it returns the rest as another query,
so that other work is done between them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import msgspec

from ..endpoints import describe, settings_from
from ..messages import (
    DeliveryGet,
    DeliveryList,
    EndpointList,
    EndpointPut,
    EndpointVerb,
    QuestionError,
    Replay,
    Stats,
)
from ..model import Endpoint, Recovered, SaveEndpoint
from .base import Continued, CountPending, Query, QueryResult, SetSchedule, Sweep
from .state import DEAD, DONE, PENDING, STOPS, WAITS, SqlState

__all__ = ["Queries"]

_SLICE: Final = 5000  # rows read by one query
_FEW: Final = 100  # endpoints whose deliveries are looked for one by one
_SWEPT: Final = 1000  # rows of each kind changed by one sweep

_NAMES: Final = {PENDING: "pending", DONE: "done", DEAD: "dead"}
_NUMBERS: Final = {
    "pending": PENDING,
    "leased": PENDING,
    "held": PENDING,
    "done": DONE,
    "dead": DEAD,
}


class Queries:
    """One method per kind of query, each run in a transaction."""

    def __init__(self, state: SqlState) -> None:
        self._state = state
        self._execute = state.execute
        self._kinds: dict[type, Callable[[Any, float], QueryResult]] = {
            EndpointPut: self._put,
            EndpointVerb: self._endpoint_verb,
            EndpointList: self._list_endpoints,
            DeliveryGet: self._get,
            DeliveryList: self._list,
            Replay: self._replay,
            Stats: self._stats,
            SetSchedule: self._set_schedule,
            CountPending: self._count_pending,
            Sweep: self._sweep,
            _Listing: self._continue_listing,
            _Replaying: self._continue_replay,
        }

    def run(self, query: Query, now: float) -> QueryResult:
        """The answer to a query."""
        return self._kinds[type(query)](query, now)

    # -- endpoints -----------------------------------------------------------------------------

    def _put(self, put: EndpointPut, now: float) -> QueryResult:
        state = self._state
        known = state.find(put.endpoint)
        kept = known.secrets if known else ()
        settings, secrets = settings_from(put, kept, state.schedule)
        if known is None:
            endpoint = state.insert_endpoint(put.endpoint, settings, secrets)
            return QueryResult(changed=[Recovered(replace(endpoint))])
        endpoint = replace(known, settings=settings, secrets=secrets)
        state.write_endpoint(endpoint)
        next_due = None
        before = (known.settings.order, known.settings.dead_head)
        if before != (settings.order, settings.dead_head):
            self._order_anew(endpoint)
            next_due = self._next_due(endpoint.id)
        return QueryResult(changed=[Recovered(replace(endpoint), next_due)])

    def _order_anew(self, endpoint: Endpoint) -> None:
        """Compute again which deliveries are blocked, after a change of ordering or dead policy."""
        order = endpoint.settings.order
        key = {"key": "(SELECT key FROM payload WHERE payload.seq = delivery.seq)", "none": "NULL"}
        self._execute(
            f"UPDATE delivery SET okey = {key.get(order, chr(39) * 2)}, blocked = 0"
            " WHERE endpoint = ? AND (state = 0 OR blocked = 2)",
            (endpoint.id,),
        )
        if order != "none":
            self._execute(
                "UPDATE delivery SET blocked = ? WHERE endpoint = ? AND state = 0"
                " AND okey IS NOT NULL AND seq NOT IN (SELECT min(seq) FROM delivery"
                " WHERE endpoint = ? AND state = 0 AND okey IS NOT NULL GROUP BY okey)",
                (WAITS, endpoint.id, endpoint.id),
            )

    def _endpoint_verb(self, verb: EndpointVerb, now: float) -> QueryResult:
        endpoint = self._known(verb.endpoint)
        if verb.type == "endpoint-get":
            return QueryResult(describe(endpoint))
        if verb.type == "endpoint-delete":
            return self._delete(endpoint, now)
        if verb.type == "endpoint-enable":
            return self._enable(endpoint, now)
        if not endpoint.disabled:
            endpoint = replace(endpoint, disabled="operator")
            self._state.write_endpoint(endpoint)
        return QueryResult(changed=[Recovered(replace(endpoint))])

    def _enable(self, endpoint: Endpoint, now: float) -> QueryResult:
        """Enable an endpoint; all of its pending deliveries are due at once."""
        if endpoint.disabled:
            self._execute(
                "UPDATE delivery SET due = ? WHERE endpoint = ? AND state = 0 AND blocked = 0"
                f" AND {self._state.FREE} AND due > ? AND tries > 0",
                (now, endpoint.id, now),
            )
        enabled = replace(endpoint, disabled="", hold_until=0.0, failing_since=0.0, noticed=0)
        self._state.write_endpoint(enabled)
        return QueryResult(changed=[Recovered(replace(enabled), self._next_due(endpoint.id))])

    def _delete(self, endpoint: Endpoint, now: float) -> QueryResult:
        deleted = replace(endpoint, deleted=True, secrets=())
        self._state.write_endpoint(deleted)
        return QueryResult(changed=[Recovered(replace(deleted))], again=Sweep(now))

    def _list_endpoints(self, query: EndpointList, now: float) -> QueryResult:
        self._state.refresh()
        names = sorted(name for name in self._state.by_name if name > query.after)
        answer: dict[str, Any] = {
            "endpoints": [describe(self._state.by_name[name]) for name in names[: query.limit]]
        }
        if len(names) > query.limit:
            answer["next"] = names[query.limit - 1]
        return QueryResult(answer)

    def save(self, save: SaveEndpoint) -> None:
        """Write the changes of an endpoint by an attempt."""
        endpoint = self._state.find_number(save.id)
        if endpoint is not None and not endpoint.deleted:
            self._state.write_endpoint(
                replace(
                    endpoint,
                    disabled=save.disabled,
                    hold_until=save.hold_until,
                    failing_since=save.failing_since,
                    noticed=save.noticed,
                )
            )

    def _set_schedule(self, query: SetSchedule, now: float) -> QueryResult:
        state = self._state
        state.schedule = query.schedule
        result = QueryResult()
        for endpoint in list(state.endpoints.values()):
            if "schedule" not in endpoint.settings.given:
                settings = replace(endpoint.settings, schedule=query.schedule)
                state.remember(replace(endpoint, settings=settings))
                result.changed.append(Recovered(replace(endpoint, settings=settings)))
        return result

    def _known(self, name: str) -> Endpoint:
        endpoint = self._state.find(name)
        if endpoint is None:
            raise QuestionError(
                "unknown-endpoint", "unknown-endpoint", f"there is no endpoint {name!r}"
            )
        return endpoint

    def _next_due(self, endpoint: int) -> float | None:
        (due,) = self._execute(
            "SELECT min(due) FROM delivery WHERE endpoint = ? AND state = 0 AND blocked = 0"
            f" AND {self._state.FREE}",
            (endpoint,),
        ).fetchone()
        found: float | None = due
        return found

    # -- deliveries ----------------------------------------------------------------------------

    def _get(self, query: DeliveryGet, now: float) -> QueryResult:
        row = self._execute(f"{self._state.SHOWN} WHERE id = ?", (query.id,)).fetchone()
        if row is None:
            raise _unknown(query.id)
        shown = self._show(row)
        shown["attempts"] = [
            _show_attempt(attempt)
            for attempt in self._execute(
                "SELECT time, code, condition, error, phases, body FROM attempt"
                " WHERE seq = ? ORDER BY number",
                (row[0],),
            )
        ]
        return QueryResult({"id": query.id, "deliveries": [shown]})

    def _list(self, query: DeliveryList, now: float) -> QueryResult:
        endpoint = self._known(query.endpoint) if query.endpoint else None
        after = self._seq_of(query.after) if query.after else 0
        listing = _Listing(query, endpoint.id if endpoint else 0, after)
        if query.state:
            listing.left = self._state.count_states(listing.endpoint)[_NUMBERS[query.state]]
        if query.state == "dead":
            listing.which = "state = 2"
        elif query.state in ("leased", "pending", "held") and listing.left:
            few = self._find_few(query.state, endpoint)
            if few is not None:
                listing.which = f"seq IN ({self._state.LISTED})"
                listing.values = (msgspec.json.encode(few).decode(),)
        return self._continue_listing(listing, now)

    def _find_few(self, state: str, endpoint: Endpoint | None) -> list[int] | None:
        """The deliveries of a state by the indices, in any order; None if there are many."""
        if state == "leased":
            return self._state.leased()
        endpoints = [endpoint] if endpoint else list(self._state.by_name.values())
        numbers = [e.id for e in endpoints if bool(e.disabled) == (state == "held")]
        pending = self._state.count_pending(numbers)
        if len(pending) > _FEW or sum(pending.values()) > _SLICE:
            return None
        return [row[0] for number in pending for row in self._pending(number, "seq", _SLICE)]

    def _pending(self, endpoint: int, columns: str, limit: int) -> list[tuple[Any, ...]]:
        """An endpoint's pending deliveries without a lease, by two indices: due, or blocked."""
        found: list[tuple[Any, ...]] = []
        for which in (f"blocked = 0 AND {self._state.FREE}", "okey IS NOT NULL AND blocked = 1"):
            found += self._execute(
                f"SELECT {columns} FROM delivery WHERE endpoint = ? AND state = 0 AND {which}"
                " LIMIT ?",
                (endpoint, limit - len(found)),
            ).fetchall()
        return found

    def _continue_listing(self, listing: _Listing, now: float) -> QueryResult:
        query = listing.query
        found = listing.found
        rows = []
        if listing.left is None or listing.left > 0:
            rows = self._execute(
                f"{self._state.SHOWN} WHERE {listing.which} AND seq > ? ORDER BY seq LIMIT ?",
                (*listing.values, listing.after, _SLICE),
            ).fetchall()
        for row in rows:
            listing.after = row[0]
            if listing.endpoint and row[2] != listing.endpoint:
                continue
            if query.state and row[3] != _NUMBERS[query.state]:
                continue
            shown = self._show(row)
            if not query.state or shown["state"] == query.state:
                found.append(shown)
                if len(found) > query.limit:
                    break
            if listing.left is not None:
                listing.left -= 1
                if not listing.left:  # there are no more
                    break
        more = len(rows) == _SLICE and listing.left != 0
        if more and len(found) <= query.limit:
            return QueryResult(again=listing)
        answer: dict[str, Any] = {"deliveries": found[: query.limit]}
        if len(found) > query.limit:
            answer["next"] = found[query.limit - 1]["id"]
        return QueryResult(answer)

    def _show(self, row: tuple[Any, ...]) -> dict[str, Any]:
        seq, id, number, state, due, attempt, accepted, reason, blocked, leased = row
        endpoint = self._state.known(number)
        shown: dict[str, Any] = {"id": id, "endpoint": endpoint.name, "accepted": accepted}
        shown["state"] = _NAMES[state]
        shown["tried"] = attempt
        if state == PENDING:
            if endpoint.deleted:
                shown["state"], reason = "dead", "endpoint-deleted"
            elif leased or seq in self._state.in_flight:
                shown["state"] = "leased"
            elif endpoint.disabled:
                shown["state"] = "held"
            else:
                shown["due"] = due
            if blocked == WAITS:
                shown["waits"] = True
        if reason:
            shown["reason"] = reason
        return shown

    def _seq_of(self, id: str) -> int:
        row = self._execute("SELECT seq FROM delivery WHERE id = ?", (id,)).fetchone()
        if row is None:
            raise _unknown(id)
        seq: int = row[0]
        return seq

    # -- replay --------------------------------------------------------------------------------

    def _replay(self, query: Replay, now: float) -> QueryResult:
        if query.id:
            row = self._execute(
                "SELECT seq, endpoint, state FROM delivery WHERE id = ?", (query.id,)
            ).fetchone()
            if row is None:
                raise _unknown(query.id)
            self._refuse_deleted(row[1])
            count = self._revive([row[0]], now)
            return QueryResult({"count": count}, self._recovered(row[1]))
        endpoint = self._known(query.endpoint)
        (last,) = self._execute("SELECT max(seq) FROM delivery").fetchone()
        return self._continue_replay(_Replaying(query, endpoint.id, last or 0), now)

    def _continue_replay(self, replaying: _Replaying, now: float) -> QueryResult:
        """Replay a slice of the deliveries that existed when the replay began."""
        query = replaying.query
        which = "state = 2" if query.state == "dead" else "TRUE"
        rows = self._execute(
            f"SELECT seq, endpoint, state FROM delivery WHERE {which} AND seq > ? AND seq <= ?"
            " ORDER BY seq LIMIT ?",
            (replaying.after, replaying.last, _SLICE),
        ).fetchall()
        held = bool(self._state.known(replaying.endpoint).disabled)
        wanted = _NUMBERS[query.state]
        if query.state in ("held", "pending") and held != (query.state == "held"):
            rows = []
        replaying.count += self._revive(
            [s for s, endpoint, state in rows if (endpoint, state) == (replaying.endpoint, wanted)],
            now,
        )
        if len(rows) == _SLICE:
            replaying.after = rows[-1][0]
            return QueryResult(again=replaying)
        return QueryResult({"count": replaying.count}, self._recovered(replaying.endpoint))

    def _revive(self, seqs: list[int], now: float) -> int:
        """Make deliveries pending and due. Returns the number of those that were not leased."""
        count = 0
        for seq in seqs:
            endpoint, state, okey, expires = self._execute(
                "SELECT endpoint, state, okey, expires FROM delivery WHERE seq = ?", (seq,)
            ).fetchone()
            if self._state.is_leased(endpoint, seq):
                continue
            blocked = 0
            if okey is not None:
                # If another one with its key is open, it has to wait for its end.
                (others,) = self._execute(
                    "SELECT count(*) FROM delivery WHERE endpoint = ? AND okey = ?"
                    " AND okey IS NOT NULL AND state = 0 AND blocked = 0 AND seq <> ?",
                    (endpoint, okey, seq),
                ).fetchone()
                blocked = WAITS if others else 0
            # An expired delivery that is replayed is to be sent nevertheless.
            self._execute(
                "UPDATE delivery SET state = 0, blocked = ?, due = ?, attempt = 0, reason = NULL,"
                " forget = NULL, expires = ? WHERE seq = ?",
                (blocked, now, expires if expires and expires > now else None, seq),
            )
            if state != PENDING:
                self._state.count(endpoint, (state, -1), (PENDING, 1))
            count += 1
        return count

    def _recovered(self, endpoint: int) -> list[Recovered]:
        return [Recovered(replace(self._state.known(endpoint)), self._next_due(endpoint))]

    def _refuse_deleted(self, endpoint: int) -> None:
        found = self._state.known(endpoint)
        if found.deleted:
            raise QuestionError(
                "unknown-endpoint", "unknown-endpoint", f"{found.name!r} was deleted since"
            )

    # -- stats ---------------------------------------------------------------------------------

    def _stats(self, query: Stats, now: float) -> QueryResult:
        oldest: float | None = None
        disabled = [e.id for e in self._state.by_name.values() if e.disabled]
        held = sum(self._state.count_pending(disabled).values())
        for recovered in self._state.recover():
            due = recovered.next_due
            if due is not None and not recovered.endpoint.disabled:
                oldest = due if oldest is None else min(oldest, due)
        counts = self._state.count_states()
        states = {
            "pending": counts[PENDING] - held,
            "held": held,
            "done": counts[DONE],
            "dead": counts[DEAD],
        }
        return QueryResult({"states": states, "oldest-due": oldest})

    def _count_pending(self, query: CountPending, now: float) -> QueryResult:
        dues = self._state.next_dues()
        numbers = [*query.wanted, *sorted(dues, key=dues.__getitem__)]
        shown = list(dict.fromkeys(numbers[: query.limit]))
        pending = self._state.count_pending(shown)
        found = {number: (pending.get(number, 0), dues.get(number)) for number in shown}
        return QueryResult({"endpoints": found})

    # -- sweep ---------------------------------------------------------------------------------

    def _sweep(self, sweep: Sweep, now: float) -> QueryResult:
        """Handle a slice of expired deliveries, those of deleted endpoints, and old ones."""
        result = QueryResult()
        expired = self._execute(
            "SELECT seq, id, endpoint, state, okey, accepted FROM delivery"
            " WHERE expires <= ? AND (state = 0 OR blocked = 2) ORDER BY expires LIMIT ?",
            (now, _SWEPT),
        ).fetchall()
        killed = self._kill(expired, "expired", now, result)
        killed += self._kill(self._orphans(), "endpoint-deleted", now, result)
        if max(killed, self._delete_old(now)) >= _SWEPT:
            result.again = sweep
        (result.next_sweep,) = self._execute(
            "SELECT min(expires) FROM delivery WHERE expires > ? AND (state = 0 OR blocked = 2)",
            (now,),
        ).fetchone()
        return result

    def _orphans(self) -> list[tuple[Any, ...]]:
        """Pending deliveries of deleted endpoints, blocked ones included."""
        found: list[tuple[Any, ...]] = []
        deleted = [e.id for e in self._state.endpoints.values() if e.deleted]
        for number in self._state.count_pending(deleted):
            if len(found) < _SWEPT:
                columns = "seq, id, endpoint, state, okey, accepted"
                found += self._pending(number, columns, _SWEPT - len(found))
        return found

    def _kill(
        self, rows: list[tuple[Any, ...]], reason: str, now: float, result: QueryResult
    ) -> int:
        """Let deliveries die. Returns their number."""
        killed = 0
        for seq, id, number, state, okey, accepted in rows:
            if self._state.is_leased(number, seq):
                continue  # decided at the end of its lease
            killed += 1
            endpoint = self._state.known(number)
            self._execute(
                "UPDATE delivery SET state = ?, blocked = 0, reason = coalesce(reason, ?),"
                " forget = ? WHERE seq = ?",
                (DEAD, reason, self._state.forget_at(endpoint, accepted, now, DEAD), seq),
            )
            if state == PENDING:
                self._state.count(number, (PENDING, -1), (DEAD, 1))
                result.dead.append((id, reason))
            if okey is not None and not endpoint.deleted:
                due = self._state.unblock(number, okey)
                if due is not None:
                    result.changed.append(Recovered(replace(endpoint), due))
        return killed

    def _delete_old(self, now: float) -> int:
        """Delete old deliveries. Returns their number."""
        rows = self._execute(
            "SELECT seq, endpoint, state FROM delivery WHERE forget <= ? AND blocked <> ? LIMIT ?",
            (now, STOPS, _SWEPT),
        ).fetchall()
        seqs = msgspec.json.encode([seq for seq, _, _ in rows]).decode()
        for table in ("attempt", "payload", "delivery") if rows else ():
            self._execute(f"DELETE FROM {table} WHERE seq IN ({self._state.LISTED})", (seqs,))
        for _, endpoint, state in rows:
            self._state.count(endpoint, (state, -1))
        return len(rows)


class _Listing(Continued):
    """The rest of a ``delivery-list``.

    Attributes:
        which: a condition on the rows, with ``values``.
        left: deliveries of that endpoint and state that were not found yet; None: not known.
    """

    def __init__(self, query: DeliveryList, endpoint: int, after: int) -> None:
        self.query = query
        self.endpoint = endpoint
        self.after = after
        self.found: list[dict[str, Any]] = []
        self.which = "TRUE"
        self.values: tuple[str, ...] = ()
        self.left: int | None = None


class _Replaying(Continued):
    """The rest of a ``replay`` of many deliveries."""

    def __init__(self, query: Replay, endpoint: int, last: int) -> None:
        self.query = query
        self.endpoint = endpoint
        self.last = last
        self.after = 0
        self.count = 0


def _show_attempt(row: tuple[Any, ...]) -> dict[str, Any]:
    time, code, condition, error, phases, body = row
    shown: dict[str, Any] = {"time": time}
    if code:
        shown["code"] = code
    else:
        shown["condition"] = condition
        if error:
            shown["error"] = error
    shown["phases"] = msgspec.json.decode(phases)
    shown["body"] = body
    return shown


def _unknown(id: str) -> QuestionError:
    return QuestionError("unknown-delivery", "unknown-delivery", f"there is no delivery {id!r}")
