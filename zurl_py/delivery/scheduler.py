"""The scheduler: which attempt is next. Fair among endpoints, within their limits, bounded memory.

Attempts, leased deliveries and bytes of their bodies are bounded for all endpoints together. An
endpoint may have all of the first half of each, small shares of the next quarter, and tiny ones of
the last: if many endpoints hang, some is left for others.

It has no I/O and no clock: it is given leased deliveries and the time, and returns attempts to
make. Pending deliveries are in the store; of each endpoint only a few that are due are leased in
advance, and the time when the next one is due is known. So one timer is enough for millions.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .attempts import Outcome, State, Verdict, judge
from .lane import NEVER, Lane
from .model import Claim, Claimed, Delivery, Endpoint, Finish

__all__ = ["Flight", "Scheduler"]

MAX_IN_FLIGHT: Final = 1024
MAX_BYTES: Final = 64 << 20  # bytes of bodies of leased deliveries, in flight or ready
_MAX_READY: Final = 4096
_CLAIM_BYTES: Final = 1 << 20  # bytes of bodies of one claim
_MAX_CLAIMS: Final = 16  # claims that are not answered
_FEW_READY: Final = 4  # leased deliveries that wait, of one lane, while there are many
_FEW_BYTES: Final = 4 << 20  # bytes of leased bodies of one lane, while there are many
_MAX_SKIPPED: Final = 100  # lanes without room that one call passes over


@dataclass(slots=True)
class Flight:
    """An attempt in flight.

    Attributes:
        started: seconds since 1970.
    """

    delivery: Delivery
    lane: Lane
    started: float


class Scheduler:
    """Lanes, their round robin, and attempts in flight.

    Args:
        random: returns numbers from 0 to 1, for jitter; tests give their own.

    Attributes:
        lanes: lanes, by the number of the endpoint.
        flights: numbers of the deliveries with an attempt in flight.
        ready: number of leased deliveries that wait for their turn.
        leased_bytes: bytes of bodies of leased deliveries.
        paused: no attempt may start: there is no gateway, or we stop.
    """

    def __init__(self, random: Callable[[], float] = random.random) -> None:
        self.lanes: dict[int, Lane] = {}
        self._by_name: dict[str, Lane] = {}
        self.flights: set[int] = set()  # numbers of deliveries
        self.ready = 0
        self.leased_bytes = 0
        self.paused = False
        self._random = random
        self._round_robin: deque[Lane] = deque()
        self._may_claim: dict[int, Lane] = {}  # lanes with deliveries in the store, in order
        self._wakes: list[tuple[float, int]] = []  # a heap: times when to look at lanes again
        self._claims = 0
        self._processes = 1
        self._active_lanes = 0  # number of lanes with attempts in flight
        self._expired: list[Finish] = []

    def __repr__(self) -> str:
        return (
            f"<Scheduler lanes={len(self.lanes)} in_flight={len(self.flights)} ready={self.ready}"
            f" paused={self.paused}>"
        )

    # -- endpoints -----------------------------------------------------------------------------

    def put_endpoint(self, endpoint: Endpoint, next_due: float | None = None) -> Lane:
        """Add or change an endpoint; ``next_due`` is that of the store."""
        lane = self.lanes.get(endpoint.id)
        if lane is None:
            lane = self.lanes[endpoint.id] = Lane(endpoint)
            lane.processes = self._processes
        else:
            lane.put(endpoint)
        if endpoint.deleted:
            lane.next_due = NEVER
            if self._by_name.get(endpoint.name) is lane:
                del self._by_name[endpoint.name]
        else:
            self._by_name[endpoint.name] = lane
        if next_due is not None:
            lane.next_due = min(lane.next_due, next_due)
        self.check_lane(lane)
        return lane

    def lane_of(self, name: str) -> Lane | None:
        """The lane of an endpoint; None if the scheduler does not have it."""
        return self._by_name.get(name)

    def forget_idle(self, most: int) -> None:
        """Remove lanes of ``uri`` that have no state, where there are more than ``most``."""
        if len(self.lanes) <= most:
            return
        for lane in list(self.lanes.values()):
            endpoint = lane.endpoint
            busy = lane.ready or lane.in_flight or lane.claiming or lane.changed or lane.saves
            marked = endpoint.disabled or endpoint.hold_until or endpoint.failing_since
            if (
                lane.next_due == NEVER
                and not busy
                and not marked
                and endpoint.name.startswith("uri:")
            ):
                del self.lanes[endpoint.id]
                self._by_name.pop(endpoint.name, None)

    def forget_secrets(self) -> None:
        """Read secrets by reference again when they are used next."""
        for lane in self.lanes.values():
            lane.forget_secrets()

    # -- what is due ---------------------------------------------------------------------------

    def may_lease(self, lane: Lane | None, now: float, waiting: int = 0) -> bool:
        """Whether a delivery that is accepted now should be leased at once.

        Args:
            waiting: bytes of bodies that may be leased before this one.
        """
        if self.paused or self.ready >= _MAX_READY or self.leased_bytes + waiting >= MAX_BYTES:
            return False
        if lane is None:
            return True
        # If others wait in the store, it has to wait behind them.
        return (
            lane.next_due == NEVER
            and len(lane.ready) < self._most_ready(lane)
            and self._has_bytes(lane, waiting)
            and not lane.is_blocked(now)
        )

    def _most_ready(self, lane: Lane) -> int:
        return min(lane.ahead(), _share(self.ready, _MAX_READY, _FEW_READY))

    def _has_bytes(self, lane: Lane, waiting: int = 0) -> bool:
        share = _share(self.leased_bytes + waiting, MAX_BYTES, _FEW_BYTES)
        return lane.leased_bytes + waiting < share

    def leased(self, delivery: Delivery) -> None:
        """Add a delivery that was leased to this process."""
        lane = self.lanes[delivery.endpoint]
        lane.ready.append(delivery)
        self.ready += 1
        self._add_bytes(lane, len(delivery.body))
        if not lane.queued:
            lane.queued = True
            self._round_robin.append(lane)

    def _add_bytes(self, lane: Lane, number: int) -> None:
        lane.leased_bytes += number
        self.leased_bytes += number

    def due(self, endpoint: int, when: float) -> None:
        """Note that a delivery in the store is due at ``when``."""
        lane = self.lanes.get(endpoint)
        if lane is not None and when < lane.next_due:
            lane.next_due = when
            self.check_lane(lane)

    def check_lane(self, lane: Lane) -> None:
        """Check whether a lane that has changed may start an attempt, or needs a claim."""
        if lane.ready and not lane.queued:
            lane.queued = True
            self._round_robin.append(lane)
        if lane.next_due < NEVER:
            self._may_claim[lane.endpoint.id] = lane

    # -- claims --------------------------------------------------------------------------------

    def claims(self, now: float) -> list[Claim]:
        """The claims to send to the store."""
        self._wake(now)
        claims: list[Claim] = []
        skipped: list[Lane] = []
        while self._may_claim and not self.paused and len(skipped) < _MAX_SKIPPED:
            if self.ready >= _MAX_READY or self.leased_bytes >= MAX_BYTES:
                break
            if self._claims >= _MAX_CLAIMS:
                break
            number = next(iter(self._may_claim))
            lane = self._may_claim.pop(number)
            if not self._has_bytes(lane):
                skipped.append(lane)
                continue
            claim = self._claim(lane, now)
            if claim is not None:
                lane.claiming = True
                self._claims += 1
                claims.append(claim)
        for lane in skipped:
            self._may_claim[lane.endpoint.id] = lane
        return claims

    def _claim(self, lane: Lane, now: float) -> Claim | None:
        if lane.claiming or lane.next_due == NEVER:
            return None
        when = max(lane.next_due, lane.opens_at(now))
        if when > now:
            self._wake_at(lane, when)
            return None
        room = self._most_ready(lane) - len(lane.ready)
        if room <= 0 or (lane.ready and 2 * len(lane.ready) > lane.ahead()):
            return None  # checked again when these were sent
        return Claim(lane.endpoint.id, room, _CLAIM_BYTES)

    def claimed(self, result: Claimed) -> None:
        """Take the store's answer to a claim."""
        lane = self.lanes[result.endpoint]
        self._claim_over(lane)
        lane.next_due = NEVER if result.next_due is None else result.next_due
        for delivery in result.deliveries:
            self.leased(delivery)
        self.check_lane(lane)

    def claim_failed(self, endpoint: int, retry_at: float) -> None:
        """Note that a claim failed; repeat it at ``retry_at``."""
        lane = self.lanes[endpoint]
        self._claim_over(lane)
        self._wake_at(lane, retry_at)

    def _claim_over(self, lane: Lane) -> None:
        lane.claiming = False
        self._claims -= 1

    # -- attempts ------------------------------------------------------------------------------

    def take(self, now: float) -> Flight | None:
        """The next attempt to make; None: there is none now."""
        round_ = self._round_robin
        if self.paused or len(self.flights) >= MAX_IN_FLIGHT:
            return None
        few = MAX_IN_FLIGHT // (self._active_lanes + 1) or 1
        share = _share(len(self.flights), MAX_IN_FLIGHT, few)
        for _ in range(len(round_)):
            lane = round_.popleft()
            if lane.in_flight >= share:
                round_.append(lane)
                continue
            lane.queued = False
            if lane.ready and lane.ready[0].expires_at is not None:
                self._drop_expired(lane, now)
            if not lane.ready or lane.full:
                continue  # it returns to the round with a delivery, or when an attempt ends
            when = lane.opens_at(now)
            if when > now:
                self._wake_at(lane, when)
                continue
            return self._start(lane, now)
        return None

    def _start(self, lane: Lane, now: float) -> Flight:
        delivery = lane.ready.popleft()
        self.ready -= 1
        self._active_lanes += lane.in_flight == 0
        lane.started(now)
        self.flights.add(delivery.seq)
        self.check_lane(lane)
        return Flight(delivery, lane, now)

    def _drop_expired(self, lane: Lane, now: float) -> None:
        ready = lane.ready
        while ready and ready[0].expires_at is not None and ready[0].expires_at <= now:
            delivery = ready.popleft()
            self.ready -= 1
            self._add_bytes(lane, -len(delivery.body))
            finish = Finish(delivery, State.DEAD, 0.0, delivery.attempt, None, "expired", now)
            self._expired.append(finish)

    def take_expired(self) -> list[Finish]:
        """Remove deliveries that expired while they waited for their turn."""
        taken, self._expired = self._expired, []
        return taken

    def ended(
        self, flight: Flight, outcome: Outcome, now: float
    ) -> tuple[Finish, Verdict, list[str]]:
        """Handle the end of an attempt; returns the result to write, and events to report."""
        delivery, lane = flight.delivery, flight.lane
        self.flights.discard(delivery.seq)
        self._add_bytes(lane, -len(delivery.body))
        attempt = delivery.attempt + 1
        settings = lane.endpoint.settings
        verdict = judge(outcome, attempt, settings.schedule, delivery.expires_at, now, self._random)
        events = lane.ended(outcome, verdict, now)
        self._active_lanes -= lane.in_flight == 0
        finish = Finish(
            delivery,
            verdict.state,
            verdict.due,
            attempt if verdict.charged else delivery.attempt,
            outcome if verdict.charged else None,
            verdict.reason,
            now,
        )
        self.check_lane(lane)
        return finish, verdict, events

    def release(self, lane: Lane, now: float) -> list[Finish]:
        """Give the leased deliveries of a lane back to the store, uncharged."""
        finishes = [
            Finish(delivery, State.PENDING, delivery.due, delivery.attempt, None, "", now)
            for delivery in lane.ready
        ]
        self._clear(lane)
        return finishes

    def drop_ready(self) -> None:
        """Drop leased deliveries, which other processes may have by now, and claim again."""
        for lane in self.lanes.values():
            self._clear(lane)

    def _clear(self, lane: Lane) -> None:
        self.ready -= len(lane.ready)
        self._add_bytes(lane, -sum(len(delivery.body) for delivery in lane.ready))
        lane.ready.clear()

    def share_with(self, processes: int) -> None:
        """Divide rates and concurrencies by the number of processes."""
        if processes != self._processes:
            self._processes = processes
            for lane in self.lanes.values():
                lane.processes = processes

    # -- time ----------------------------------------------------------------------------------

    def next_wake(self) -> float:
        """Time when ``claims`` and ``take`` should be called again, seconds since 1970."""
        return self._wakes[0][0] if self._wakes else NEVER

    def _wake(self, now: float) -> None:
        wakes = self._wakes
        while wakes and wakes[0][0] <= now:
            _, number = heapq.heappop(wakes)
            lane = self.lanes.get(number)
            if lane is not None and lane.wake_at <= now:
                lane.wake_at = NEVER
                self.check_lane(lane)

    def _wake_at(self, lane: Lane, when: float) -> None:
        # An earlier wake-up comes first, and sets the next one.
        if when < lane.wake_at:
            lane.wake_at = when
            heapq.heappush(self._wakes, (when, lane.endpoint.id))


def _share(used: int, most: int, few: int) -> int:
    """How much of something one lane may have.

    Args:
        used: what all lanes have of it.
        most: what they may have together.
        few: a small share.
    """
    if 2 * used < most:
        return most
    return few if 4 * used < 3 * most else max(1, few // 8)
