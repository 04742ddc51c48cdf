"""The rules of one attempt, the breaker, Retry-After: pure, so every case costs nothing."""

from __future__ import annotations

import pytest

from zurl_py.delivery.attempts import (
    DEFAULT_SCHEDULE,
    Health,
    Outcome,
    State,
    horizon,
    judge,
    retry_after,
)
from zurl_py.delivery.breaker import Breaker

NOW = 1_800_000_000.0


def judged(attempt: int = 1, schedule: tuple[float, ...] = (0, 10, 100), **fields: object):  # type: ignore[no-untyped-def]
    expires_at = fields.pop("expires_at", None)
    outcome = Outcome(NOW - 1, **fields)  # type: ignore[arg-type]
    return judge(outcome, attempt, schedule, expires_at, NOW, lambda: 0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("code", [200, 201, 204, 299])
def test_success(code: int) -> None:
    verdict = judged(code=code)
    assert (verdict.state, verdict.success, verdict.health) == (State.DONE, True, Health.GOOD)


@pytest.mark.parametrize(
    ("code", "health"),
    [
        (100, Health.GOOD),
        (302, Health.GOOD),
        (400, Health.GOOD),
        (404, Health.GOOD),
        (429, Health.BAD),
        (500, Health.BAD),
        (503, Health.BAD),
    ],
)
def test_other_status(code: int, health: Health) -> None:
    verdict = judged(code=code)
    assert (verdict.state, verdict.due, verdict.health) == (State.PENDING, NOW + 10, health)
    assert judged(2, code=code).due == NOW + 100
    verdict = judged(3, code=code)
    assert (verdict.state, verdict.reason) == (State.DEAD, "schedule-used-up")


@pytest.mark.parametrize(
    "condition",
    [
        "remote-connection-failed",
        "connection-timeout",
        "tls-error",
        "session-timeout",
        "undefined-condition",
    ],
)
def test_no_answer(condition: str) -> None:
    verdict = judged(condition=condition)
    assert (verdict.state, verdict.health) == (State.PENDING, Health.BAD)


@pytest.mark.parametrize("condition", ["bad-request", "policy-violation"])
def test_errors_that_are_not_retried(condition: str) -> None:
    verdict = judged(condition=condition)
    assert (verdict.state, verdict.reason) == (State.DEAD, condition)
    assert verdict.health is Health.UNKNOWN


def test_uncharged() -> None:
    verdict = judged(3, uncharged=True)
    assert (verdict.state, verdict.charged, verdict.health) == (
        State.PENDING,
        False,
        Health.UNKNOWN,
    )


def test_jitter() -> None:
    for number, expected in ((0.0, 8.0), (0.5, 10.0), (1.0, 12.0)):
        outcome = Outcome(NOW, code=500)
        verdict = judge(outcome, 1, (0, 10), None, NOW, lambda number=number: number)  # type: ignore[misc]
        assert verdict.due == pytest.approx(NOW + expected)


@pytest.mark.parametrize("code", [200, 404, 500])
def test_hints(code: int) -> None:
    verdict = judged(code=code, headers=[(b"Webhook-Delivery", b" Abort-Message ")])
    assert (verdict.state, verdict.reason, verdict.disable) == (
        State.DEAD,
        "abort-message",
        False,
    )
    verdict = judged(code=code, headers=[(b"webhook-delivery", b"disable")])
    assert (verdict.state, verdict.disable) == (State.DEAD, True)
    verdict = judged(code=code, headers=[(b"webhook-delivery", b"whatever")])
    assert verdict.state is (State.DONE if code == 200 else State.PENDING)


def test_gone() -> None:
    verdict = judged(code=410)
    assert (verdict.state, verdict.disable, verdict.reason) == (State.DEAD, True, "gone")


def test_expired() -> None:
    assert judged(code=500, expires_at=NOW - 1).reason == "expired"
    assert judged(code=500, expires_at=NOW + 1).state is State.PENDING
    assert judged(code=200, expires_at=NOW - 1).state is State.DONE


@pytest.mark.parametrize("code", [301, 404, 429, 500, 503])
def test_retry_after_counts_on_any_status_but_2xx(code: int) -> None:
    verdict = judged(code=code, headers=[(b"Retry-After", b"50")])
    assert (verdict.hold_until, verdict.due) == (NOW + 50, NOW + 50)
    verdict = judged(2, code=code, headers=[(b"Retry-After", b"50")])
    assert (verdict.hold_until, verdict.due) == (NOW + 50, NOW + 100)
    assert judged(code=200, headers=[(b"Retry-After", b"50")]).hold_until == 0


@pytest.mark.parametrize("code", [429, 502, 504])
def test_overload_halves_and_holds(code: int) -> None:
    verdict = judged(code=code)
    assert (verdict.halve, verdict.hold_until) == (True, NOW + 10)
    assert judged(2, (0, 10, 5000), code=code).hold_until == NOW + 300
    # The last attempt of a message speaks for the endpoint as well.
    assert judged(3, code=code).hold_until == NOW + 100


def test_503_holds_nothing_without_retry_after() -> None:
    verdict = judged(code=503)
    assert (verdict.halve, verdict.hold_until) == (False, 0)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        (b"0", None),
        (b"1", 1),
        (b" 120 ", 120),
        (b"86400", 86_400),
        (b"99999999999999999999999", 86_400),
        (b"-1", None),
        (b"1.5", None),
        (b"+5", None),
        (b"soon", None),
        (b"", None),
        (b"\xff", None),
        ("\u0663".encode(), None),
        (b"Fri, 15 Jan 2027 08:00:00 GMT", None),
        (b"Fri, 15 Jan 2027 08:01:00 GMT", 60),
        (b"Friday, 15-Jan-27 08:01:00 GMT", 60),
        (b"Fri Jan 15 08:01:00 2027", 60),
        (b"Sat, 15 Jan 2028 08:00:00 GMT", 86_400),
        (b"Fri, 15 Jan 1927 08:00:00 GMT", None),
        (b"Fri, 99 Jan 2027 08:00:00 GMT", None),
    ],
)
def test_retry_after(value: bytes | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


def test_default_schedule_is_that_of_standard_webhooks() -> None:
    hours = 3600.0
    assert (
        0,
        5,
        300,
        1800,
        2 * hours,
        5 * hours,
        10 * hours,
        14 * hours,
        20 * hours,
        24 * hours,
    ) == DEFAULT_SCHEDULE
    assert horizon(DEFAULT_SCHEDULE) == pytest.approx(1.2 * sum(DEFAULT_SCHEDULE))


class TestBreaker:
    def ten_failures(self) -> Breaker:
        breaker = Breaker()
        for number in range(10):
            breaker.started()
            assert breaker.ended(Health.BAD, NOW - 1, NOW) is (number == 9)
        return breaker

    def test_opens_after_ten_in_a_row(self) -> None:
        breaker = self.ten_failures()
        assert (breaker.state, breaker.opens_at()) == ("open", NOW + 30)

    def test_an_answer_resets_the_count_of_failures(self) -> None:
        breaker = Breaker()
        for _ in range(5):
            breaker.ended(Health.GOOD, NOW, NOW)
        for _ in range(9):
            assert not breaker.ended(Health.BAD, NOW, NOW)
        assert not breaker.ended(Health.GOOD, NOW, NOW)
        assert breaker.opens_at() == 0

    def test_opens_at_seventy_percent(self) -> None:
        breaker = Breaker()
        opened = []
        for number in range(20):
            bad = number % 10 < 7  # never ten in a row
            opened.append(breaker.ended(Health.BAD if bad else Health.GOOD, NOW, NOW + number))
        assert opened.index(True) == 10  # 8 of 11: it is a failure that opens it

    def test_old_failures_are_forgotten(self) -> None:
        breaker = Breaker()
        for number in range(40):
            bad = number % 10 != 0
            assert not breaker.ended(Health.BAD if bad else Health.GOOD, NOW, NOW + 61 * number)

    def test_an_unknown_outcome_does_not_count(self) -> None:
        breaker = Breaker()
        for _ in range(50):
            assert not breaker.ended(Health.UNKNOWN, NOW, NOW)

    def test_one_probe(self) -> None:
        breaker = self.ten_failures()
        later = NOW + 31
        assert breaker.opens_at() <= later
        breaker.started()
        assert (breaker.state, breaker.opens_at()) == ("half-open", float("inf"))
        assert not breaker.ended(Health.GOOD, later, later)
        assert (breaker.state, breaker.opens_at()) == ("closed", 0)

    def test_wait_doubles_to_half_an_hour(self) -> None:
        breaker = self.ten_failures()
        now, waits = NOW, []
        for _ in range(9):
            now = breaker.opens_at()
            breaker.started()
            assert breaker.ended(Health.BAD, now, now)
            waits.append(breaker.opens_at() - now)
        assert waits == [60, 120, 240, 480, 960, 1800, 1800, 1800, 1800]

    def test_an_attempt_in_flight_when_the_breaker_opened_is_no_probe(self) -> None:
        breaker = self.ten_failures()
        assert not breaker.ended(Health.BAD, NOW - 5, NOW + 1)
        assert not breaker.ended(Health.GOOD, NOW - 5, NOW + 1)
        assert breaker.opens_at() == NOW + 30
        breaker.started()
        assert not breaker.ended(Health.BAD, NOW - 5, NOW + 31)  # an old one, during the probe
        assert breaker.opens_at() == float("inf")

    def test_a_probe_without_outcome_is_repeated(self) -> None:
        breaker = self.ten_failures()
        breaker.started()
        assert not breaker.ended(Health.UNKNOWN, NOW + 31, NOW + 32)
        assert (breaker.state, breaker.opens_at()) == ("open", NOW + 30)
