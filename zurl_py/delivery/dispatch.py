"""Sends leased deliveries to their receivers, and gives the results to the store."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from ..log import Log
from ..signatures import SecretError
from .attempts import Outcome, State, Verdict
from .counts import Counts
from .gateway import ANSWER_KEPT, GatewayLink
from .history import History
from .lane import Lane
from .model import Claim, Claimed, Finish, Finished, Recovered
from .requests import RequestEncoder
from .scheduler import Flight, Scheduler
from .store.base import Store
from .store.thread import StoreThread

__all__ = ["Dispatcher"]

_RETRY: Final = 1.0  # seconds until a claim that failed is repeated
_MAX_KEPT: Final = 100_000  # results that wait for the store; while there are more, none starts


class Dispatcher:
    """Moves deliveries from the store to the gateway, and results back.

    Args:
        store: only its ``lease_until`` is read here; the store belongs to its thread.
        on_event: called with an endpoint and an event of it, for the operator.
    """

    def __init__(
        self,
        thread: StoreThread,
        store: Store,
        scheduler: Scheduler,
        log: Log,
        counts: Counts,
        on_event: Callable[[Lane, str], None],
    ) -> None:
        self._thread = thread
        self._store = store
        self._scheduler = scheduler
        self._log = log
        self._counts = counts
        self._on_event = on_event
        self._finishes: list[Finish] = []
        self._links: list[GatewayLink] = []
        self._next_link = 0
        self.stopping = False
        self.history = History()

    def use(self, links: list[GatewayLink]) -> None:
        """Set the gateways to send by."""
        self._links = links

    def links_changed(self) -> None:
        """Note that a gateway came or went."""
        self._scheduler.paused = self.stopping or not any(link.up for link in self._links)

    # -- attempts ------------------------------------------------------------------------------

    def turn(self) -> None:
        """Claim deliveries that are due, and start attempts that may start."""
        scheduler = self._scheduler
        now = time.time()
        if self._thread.kept < _MAX_KEPT and time.monotonic() < self._store.lease_until:
            claims = scheduler.claims(now)
            if claims:
                self._thread.claim(claims)
            while (flight := scheduler.take(now)) is not None:
                self._start(flight)
        for finish in scheduler.take_expired():
            self._finishes.append(finish)
            self._log_end(finish)
        self.flush()

    def flush(self) -> None:
        """Give results to the store."""
        if self._finishes:
            self._thread.finish(self._finishes)
            self._finishes = []

    def _start(self, flight: Flight) -> None:
        delivery, lane = flight.delivery, flight.lane
        id = delivery.id.encode()
        try:
            signature = lane.signer(delivery).headers(id, int(flight.started), delivery.body)
        except SecretError as error:
            self._log.error(f"webhook {delivery.id}: cannot be signed: {error}")
            self.ended(flight, Outcome(flight.started, condition="unsigned", error=str(error)))
            return
        settings = lane.endpoint.settings
        encoder = lane.encoder
        if encoder is None:
            encoder = lane.encoder = RequestEncoder(settings, ANSWER_KEPT)
        self._link().send(
            flight,
            lambda number: encoder.encode(number, delivery, signature),
            settings.timeout / 1000,
        )

    def _link(self) -> GatewayLink:
        """The next gateway that is there, in turn; while there is none, ``paused`` is set."""
        links = self._links
        if len(links) == 1:
            return links[0]
        for _ in links:
            self._next_link = (self._next_link + 1) % len(links)
            if links[self._next_link].up:
                break
        return links[self._next_link]

    def ended(self, flight: Flight, outcome: Outcome) -> None:
        """Handle the end of an attempt."""
        now = time.time()
        lane = flight.lane
        finish, verdict, events = self._scheduler.ended(flight, outcome, now)
        self._finishes.append(finish)
        self._count(verdict, outcome)
        if verdict.charged:
            self.history.add(lane.endpoint.id, verdict.success, now)
        if self._log.info_on:
            self._log_attempt(flight, outcome)
            self._log_end(finish)
        if lane.changed:
            finish.save = lane.take_changes()
        if lane.ready and lane.is_blocked(now):
            self._finishes += self._scheduler.release(lane, now)
        for event in events:
            name = lane.endpoint.name
            self._log.warning(f"endpoint {name}: {event}")
            self._on_event(lane, event)

    def _count(self, verdict: Verdict, outcome: Outcome) -> None:
        counts = self._counts
        counts.attempt(outcome.code, outcome.condition, outcome.uncharged)
        if verdict.state is State.DONE:
            counts.done += 1
        elif verdict.state is State.DEAD:
            counts.dead += 1

    def _log_attempt(self, flight: Flight, outcome: Outcome) -> None:
        delivery = flight.delivery
        if outcome.uncharged:
            what = "gateway gone"
        else:
            what = str(outcome.code or outcome.condition)
            if outcome.error:
                what += f" ({outcome.error})"
        took = outcome.phases.get("total", 0) // 1000
        self._log.info(
            f"webhook {delivery.id}: attempt {delivery.attempt + 1} at"
            f" {flight.lane.endpoint.name}: {what}, {took} ms"
        )

    def _log_end(self, finish: Finish) -> None:
        if finish.state is State.DEAD:
            self._log.warning(f"webhook {finish.delivery.id}: dead, {finish.reason}")
        elif finish.state is State.DONE and self._log.debug_on:
            self._log.debug(f"webhook {finish.delivery.id}: done")

    def release_all(self) -> None:
        """Give all leased deliveries that wait back to the store, at a stop."""
        now = time.time()
        for lane in list(self._scheduler.lanes.values()):
            if lane.ready:
                self._finishes += self._scheduler.release(lane, now)
        self.flush()

    # -- results of the store ------------------------------------------------------------------

    def claimed(self, results: list[Claimed]) -> None:
        """Take deliveries that were leased."""
        now = time.time()
        for result in results:
            self._scheduler.claimed(result)
            lane = self._scheduler.lanes[result.endpoint]
            if lane.ready and lane.is_blocked(now):
                self._finishes += self._scheduler.release(lane, now)

    def not_claimed(self, claims: list[Claim], _error: Exception) -> None:
        """Handle claims that failed: they are repeated later."""
        for claim in claims:
            self._scheduler.claim_failed(claim.endpoint, time.time() + _RETRY)

    def finished(self, results: list[Finished]) -> None:
        """Handle results that were written: note when deliveries are due again."""
        for result in results:
            finish = result.finish
            endpoint = finish.delivery.endpoint
            if finish.save is not None:
                lane = self._scheduler.lanes.get(endpoint)
                if lane is not None:
                    lane.saved()
            if result.stale:
                self._counts.stale += 1
                self._log.warning(f"webhook {finish.delivery.id}: a result came too late, dropped")
            elif finish.state is State.PENDING:
                self._scheduler.due(endpoint, finish.due)
            if result.unblocked is not None:
                self._scheduler.due(endpoint, result.unblocked)

    def changed(self, items: list[Recovered]) -> None:
        """Handle endpoints that are new, changed, or have something new to do."""
        now = time.time()
        for item in items:
            lane = self._scheduler.put_endpoint(item.endpoint, item.next_due)
            if lane.ready and lane.is_blocked(now):
                self._finishes += self._scheduler.release(lane, now)
