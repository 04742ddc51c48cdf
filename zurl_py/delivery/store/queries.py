"""The verb ``query`` of both stores: endpoints, lists, and stats.

A query that may read or change many rows does it in slices: it returns the rest as another query,
so that other work is done between them. Those that change many are in ``changes``.
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
    Replay,
    Stats,
)
from ..model import Endpoint, Recovered, SaveEndpoint
from .base import Continued, CountPending, Query, QueryResult, SetSchedule, Sweep
from .changes import Changes, Enabling, Replaying
from .ordering import Ordering, Orderings, disabled_as, is_marked, reason_of
from .state import DEAD, DONE, PENDING, WAITS, SqlState, as_json, unknown_delivery

__all__ = ["Queries"]

_SLICE: Final = 5000  # rows read by one query
_FEW: Final = 100  # endpoints whose deliveries are looked for one by one

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
        self._changes = Changes(state)
        self._orderings = Orderings(state)
        self._kinds: dict[type, Callable[[Any, float], QueryResult]] = {
            EndpointPut: self._put,
            EndpointVerb: self._endpoint_verb,
            EndpointList: self._list_endpoints,
            DeliveryGet: self._get,
            DeliveryList: self._list,
            Replay: self._changes.replay,
            Stats: self._stats,
            SetSchedule: self._set_schedule,
            CountPending: self._count_pending,
            Sweep: self._sweep,
            _Listing: self._continue_listing,
            Enabling: self._enable,
            Ordering: self._orderings.go_on,
            Replaying: self._changes.continue_replay,
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
        before = (known.settings.order, known.settings.dead_head)
        if before != (settings.order, settings.dead_head) or is_marked(known.disabled):
            return self._orderings.begin(endpoint, now)
        state.write_endpoint(endpoint)
        return QueryResult(changed=[Recovered(replace(endpoint))])

    def _endpoint_verb(self, verb: EndpointVerb, now: float) -> QueryResult:
        endpoint = self._state.known_by_name(verb.endpoint)
        if verb.type == "endpoint-get":
            return QueryResult(describe(endpoint))
        if verb.type == "endpoint-delete":
            return self._delete(endpoint, now)
        if verb.type == "endpoint-enable":
            return self._enable(verb, now)
        if not reason_of(endpoint.disabled):
            endpoint = replace(endpoint, disabled=disabled_as(endpoint.disabled, "operator"))
            self._state.write_endpoint(endpoint)
        return QueryResult(changed=[Recovered(replace(endpoint))])

    def _sweep(self, sweep: Sweep, now: float) -> QueryResult:
        return self._orderings.resume(now) or self._changes.sweep(sweep, now)

    def _enable(self, query: EndpointVerb | Enabling, now: float) -> QueryResult:
        """Enable an endpoint, after all of its pending deliveries were made due at once.

        Until they are, it stays disabled: if a crash comes first, there is no answer, and the
        question is asked again.
        """
        endpoint = self._state.known_by_name(query.endpoint)
        if endpoint.disabled and self._changes.make_due(endpoint.id, now):
            return QueryResult(again=Enabling(query.endpoint))
        enabled = replace(endpoint, hold_until=0.0, failing_since=0.0, noticed=0)
        if is_marked(endpoint.disabled):
            enabled.disabled = disabled_as(endpoint.disabled, "")
            return self._orderings.begin(enabled, now)
        enabled.disabled = ""
        self._state.write_endpoint(enabled)
        due = self._state.next_due(endpoint.id)
        return QueryResult(changed=[Recovered(replace(enabled), due)])

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
                    disabled=disabled_as(endpoint.disabled, save.disabled)
                    if save.disabled
                    else endpoint.disabled,
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

    # -- deliveries ----------------------------------------------------------------------------

    def _get(self, query: DeliveryGet, now: float) -> QueryResult:
        row = self._execute(f"{self._state.SHOWN} WHERE id = ?", (query.id,)).fetchone()
        if row is None:
            raise unknown_delivery(query.id)
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
        endpoint = self._state.known_by_name(query.endpoint) if query.endpoint else None
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
                listing.values = (as_json(few),)
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
        return [row[0] for number in pending for row in self._state.pending(number, "seq", _SLICE)]

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
            raise unknown_delivery(id)
        seq: int = row[0]
        return seq

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
