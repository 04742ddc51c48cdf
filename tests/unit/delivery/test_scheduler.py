"""Whose turn it is: the scheduler by itself, with a clock that is moved by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from zurl_py.delivery.attempts import Outcome, State
from zurl_py.delivery.lane import DISABLE_AFTER, NEVER, Lane
from zurl_py.delivery.model import Claimed, Delivery, Endpoint, Settings
from zurl_py.delivery.scheduler import MAX_BYTES, MAX_IN_FLIGHT, Flight, Scheduler

NOW = 1_800_000_000.0


class Bench:
    """A scheduler with endpoints that are put by name."""

    def __init__(self) -> None:
        self.scheduler = Scheduler(random=lambda: 0.5)
        self.now = NOW
        self.seq = 0

    def put(self, number: int, **settings: Any) -> Lane:
        endpoint = Endpoint(number, f"e{number}", Settings(uri="http://x/", **settings))
        return self.scheduler.put_endpoint(endpoint)

    def lease(self, number: int, count: int = 1, body: bytes = b"", **fields: Any) -> None:
        for _ in range(count):
            self.seq += 1
            delivery = Delivery(self.seq, f"m{self.seq}", number, body, NOW, NOW, **fields)
            self.scheduler.leased(delivery)

    def take(self, most: int = 10_000) -> list[Flight]:
        flights: list[Flight] = []
        while len(flights) < most and (flight := self.scheduler.take(self.now)) is not None:
            flights.append(flight)
        return flights

    def end(self, flight: Flight, code: int = 200, **fields: Any) -> Any:
        outcome = Outcome(flight.started, code=code, **fields)
        return self.scheduler.ended(flight, outcome, self.now)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_round_robin(bench: Bench) -> None:
    for number in (1, 2, 3):
        bench.put(number)
    bench.lease(1, 10)
    bench.lease(2, 2)
    bench.lease(3, 2)
    order = [flight.delivery.endpoint for flight in bench.take(8)]
    assert order == [1, 2, 3, 1, 2, 3, 1, 1]


def test_concurrency_of_a_lane(bench: Bench) -> None:
    bench.put(1, concurrency=3)
    bench.lease(1, 10)
    flights = bench.take()
    assert len(flights) == 3
    bench.end(flights[0])
    assert len(bench.take()) == 1


def test_in_flight_is_bounded_and_shared(bench: Bench) -> None:
    for number in range(40):
        bench.put(number)
        bench.lease(number, 64)
    flights = bench.take()
    assert len(flights) <= MAX_IN_FLIGHT
    counts = [sum(f.delivery.endpoint == number for f in flights) for number in range(40)]
    assert min(counts) >= 10


def test_slow_lanes_leave_room_for_a_late_one(bench: Bench) -> None:
    for number in range(20):
        bench.put(number)
        bench.lease(number, 64)
    bench.take()
    bench.put(99)
    bench.lease(99, 5)
    assert [flight.delivery.endpoint for flight in bench.take()].count(99) == 5


@pytest.mark.parametrize("hanging", [1, 16, 40, 64, 100, 200])
def test_many_lanes_that_hang_leave_room_for_a_late_one(bench: Bench, hanging: int) -> None:
    """As attempts, as leased deliveries, and as claims."""
    scheduler = bench.scheduler
    for number in range(hanging):
        bench.put(number)
        scheduler.due(number, NOW)
    for _ in range(300):
        for claim in scheduler.claims(NOW):
            bench.seq += 100
            deliveries = [
                Delivery(bench.seq + n, f"m{bench.seq + n}", claim.endpoint, b"", NOW, NOW)
                for n in range(claim.limit)
            ]
            scheduler.claimed(Claimed(claim.endpoint, deliveries, NOW))
        bench.take()
    late = bench.put(999)
    assert scheduler.may_lease(late, NOW)
    scheduler.due(999, NOW)
    assert 999 in [claim.endpoint for claim in scheduler.claims(NOW)]
    bench.lease(999)
    assert [flight.delivery.endpoint for flight in bench.take()] == [999]


@pytest.mark.parametrize("hanging", [1, 3, 15])
def test_large_bodies_of_lanes_that_hang_leave_room_for_a_late_one(
    bench: Bench, hanging: int
) -> None:
    scheduler = bench.scheduler
    body = b"x" * 1_000_000
    for number in range(hanging):
        bench.put(number)
        scheduler.due(number, NOW)
    for _ in range(200):
        for claim in scheduler.claims(NOW):
            bench.lease(claim.endpoint, body=body)
            scheduler.claimed(Claimed(claim.endpoint, [], NOW))
        bench.take()
    assert scheduler.leased_bytes >= MAX_BYTES // 2
    late = bench.put(999)
    assert scheduler.may_lease(late, NOW)
    assert not scheduler.may_lease(late, NOW, MAX_BYTES // 2)
    scheduler.due(999, NOW)
    assert [claim.endpoint for claim in scheduler.claims(NOW)] == [999]
    bench.lease(999, body=body)
    flights = bench.take()
    assert [flight.delivery.endpoint for flight in flights] == [999]
    bench.end(flights[0])
    assert scheduler.lanes[999].leased_bytes == 0


def test_halved_and_grown_again(bench: Bench) -> None:
    bench.put(1, concurrency=8, schedule=(0.0, 0.0))
    bench.lease(1, 60)
    flights = bench.take()
    bench.end(flights[0], 429)
    bench.end(flights[1], 504)
    for flight in flights[2:]:
        bench.end(flight, 404)
    assert len(bench.take()) == 2
    for expected in (3, 4, 5, 6, 7, 8, 8):
        flight = Flight(Delivery(0, "x", 1, b"", NOW, NOW), bench.scheduler.lanes[1], NOW)
        bench.scheduler.lanes[1].in_flight += 1
        bench.end(flight, 200)
        bench.take()
        assert bench.scheduler.lanes[1].in_flight == expected


def test_rate(bench: Bench) -> None:
    bench.put(1, rate=5.0)
    bench.lease(1, 12)
    assert len(bench.take()) == 5
    wake = bench.scheduler.next_wake()
    assert wake == pytest.approx(NOW + 0.2)
    bench.now = wake
    bench.scheduler.claims(bench.now)
    assert len(bench.take()) == 1
    bench.now += 10.0  # no more than a second's worth is saved
    bench.scheduler.claims(bench.now)
    assert len(bench.take()) == 5


def test_hold_of_the_endpoint(bench: Bench) -> None:
    lane = bench.put(1)
    bench.lease(1, 3)
    (flight,) = bench.take(1)
    finish, verdict, _ = bench.end(flight, 503, headers=[(b"retry-after", b"60")])
    assert (finish.state, finish.due) == (State.PENDING, NOW + 60)
    assert verdict.hold_until == NOW + 60
    assert bench.take() == []
    assert lane.changed
    assert lane.is_blocked(NOW)
    back = bench.scheduler.release(lane, NOW)
    assert [item.outcome for item in back] == [None, None]
    assert bench.scheduler.ready == 0


def test_claims_follow_the_lane(bench: Bench) -> None:
    scheduler = bench.scheduler
    bench.put(1, concurrency=4)
    scheduler.due(1, NOW + 5)
    assert scheduler.claims(NOW) == []
    assert scheduler.next_wake() == NOW + 5
    (claim,) = scheduler.claims(NOW + 5)
    assert (claim.endpoint, claim.limit) == (1, 8)
    assert scheduler.claims(NOW + 5) == []  # one at a time
    deliveries = [Delivery(n, str(n), 1, b"", NOW, NOW) for n in range(8)]
    scheduler.claimed(Claimed(1, deliveries, NOW))
    bench.now = NOW + 5
    assert scheduler.claims(bench.now) == []
    bench.take()
    assert scheduler.claims(bench.now) == []  # four are ready still


def test_new_deliveries_wait_behind_those_in_the_store(bench: Bench) -> None:
    lane = bench.put(1)
    assert bench.scheduler.may_lease(lane, NOW)
    bench.scheduler.due(1, NOW + 100)
    assert not bench.scheduler.may_lease(lane, NOW)


def test_paused(bench: Bench) -> None:
    lane = bench.put(1)
    bench.lease(1)
    bench.scheduler.paused = True
    assert bench.take() == []
    assert not bench.scheduler.may_lease(lane, NOW)
    assert not bench.scheduler.may_lease(None, NOW)


def test_an_expired_delivery_is_not_tried(bench: Bench) -> None:
    bench.put(1)
    bench.lease(1, expires_at=NOW - 1)
    bench.lease(1)
    (flight,) = bench.take()
    assert flight.delivery.seq == 2
    (finish,) = bench.scheduler.take_expired()
    assert (finish.state, finish.reason, finish.delivery.seq) == (State.DEAD, "expired", 1)


def test_breaker_lets_one_probe_through(bench: Bench) -> None:
    lane = bench.put(1, schedule=(0.0, 0.0))
    bench.lease(1, 30)
    flights = bench.take()
    events: list[str] = []
    for flight in flights[:10]:
        events += bench.end(flight, 500)[2]
    assert events == ["breaker-opened"]
    for flight in flights[10:]:
        bench.end(flight, 500)
    assert lane.opens_at(NOW) == NOW + 30
    bench.scheduler.due(1, NOW)
    bench.now = NOW + 30
    (claim,) = bench.scheduler.claims(bench.now)
    assert claim.limit == 1
    bench.scheduler.claimed(Claimed(1, [Delivery(100, "p", 1, b"", NOW, NOW)], NOW))
    (probe,) = bench.take()
    bench.lease(1, 5)
    assert bench.take() == []
    bench.end(probe, 200)
    assert len(bench.take()) == 5


def test_disabled_after_five_days_of_failures(bench: Bench) -> None:
    lane = bench.put(1, concurrency=1000, schedule=(0.0,) * 100)
    told: list[str] = []
    for percent in (0, 10, 49, 51, 60, 71, 89, 91, 99, 100):
        bench.now = NOW + DISABLE_AFTER * percent / 100
        lane.breaker.reset()
        bench.lease(1)
        (flight,) = bench.take()
        finish, _, events = bench.end(flight, 404)
        told += [event for event in events if event != "breaker-opened"]
    assert told == ["failing-50", "failing-70", "failing-90", "disabled"]
    assert finish.state is State.PENDING  # held with the others
    assert lane.endpoint.disabled == "failing"
    assert lane.opens_at(bench.now) == NEVER


def test_a_success_ends_the_count_of_failures(bench: Bench) -> None:
    lane = bench.put(1)
    bench.lease(1, 2)
    first, second = bench.take()
    bench.end(first, 500)
    assert lane.endpoint.failing_since == NOW
    bench.end(second, 200)
    assert lane.endpoint.failing_since == 0


def test_changes_of_the_operator_are_not_undone_by_an_older_lane(bench: Bench) -> None:
    """A result that is on its way to the store must not enable or disable anything by the way."""
    lane = bench.put(1)
    bench.lease(1, 3)
    first, second, third = bench.take()
    bench.end(first, 500)
    save = lane.take_changes()
    assert (save.disabled, save.failing_since) == ("", NOW)
    lane.put(replace(lane.endpoint, disabled="operator", failing_since=0.0))
    assert (lane.endpoint.disabled, lane.endpoint.failing_since) == ("operator", NOW)
    lane.saved()
    bench.end(second, 200)
    save = lane.take_changes()
    assert save.disabled == ""
    lane.put(replace(lane.endpoint, disabled=""))
    assert not lane.endpoint.disabled
    lane.saved()
    bench.end(third, 410)
    save = lane.take_changes()
    assert save.disabled == "gone"
    lane.put(replace(lane.endpoint, disabled=""))
    assert lane.is_blocked(NOW)  # the store did not have that yet
    lane.saved()
    lane.put(replace(lane.endpoint, disabled=""))
    assert not lane.endpoint.disabled


def test_policy_violations_do_not_disable(bench: Bench) -> None:
    lane = bench.put(1)
    bench.lease(1)
    (flight,) = bench.take()
    bench.end(flight, 0, condition="policy-violation")
    assert lane.endpoint.failing_since == 0


def test_one_timer_for_millions(bench: Bench) -> None:
    """Looks at a lane are planned once per moment, not once per delivery."""
    bench.put(1)
    for number in range(10_000):
        bench.scheduler.due(1, NOW + 1000 - number / 100)
        bench.scheduler.claims(NOW)
    assert len(bench.scheduler._wakes) <= 10_000
    bench.put(2, rate=1.0)
    bench.lease(2, 1000)
    before = len(bench.scheduler._wakes)
    for _ in range(1000):
        bench.take()
        bench.scheduler.claims(NOW)
    assert len(bench.scheduler._wakes) - before <= 2
