"""A host that fails again and again is left alone, and tried by one request after a while."""

from __future__ import annotations

import pytest

from zurl_py.egress import breaker as module
from zurl_py.egress.breaker import OPEN_TIME, HostBreaker

HOST = ("name.test", 443)


def failing(most: int = 2) -> HostBreaker:
    breaker = HostBreaker(most)
    for _ in range(most):
        assert breaker.open_for(HOST, 0.0, "who") == 0.0
        breaker.failed(HOST, 0.0)
    return breaker


def test_the_breaker_opens_after_consecutive_failures() -> None:
    breaker = failing()
    assert breaker.open_for(HOST, 1.0, "who") == OPEN_TIME - 1.0
    assert breaker.open_for(("other.test", 443), 1.0, "who") == 0.0


def test_an_answer_resets_the_count_of_failures() -> None:
    breaker = HostBreaker(2)
    for _ in range(5):
        breaker.failed(HOST, 0.0)
        breaker.answered(HOST)
    assert breaker.open_for(HOST, 0.0, "who") == 0.0


@pytest.mark.parametrize("answers", [True, False])
def test_after_the_open_time_one_request_is_tried(answers: bool) -> None:
    breaker = failing()
    assert breaker.open_for(HOST, OPEN_TIME, "trial") == 0.0
    assert breaker.open_for(HOST, OPEN_TIME, "other") == OPEN_TIME
    assert breaker.open_for(HOST, OPEN_TIME + 1.0, "trial") == 0.0  # it has waited for a look-up
    if answers:
        breaker.answered(HOST)
        assert breaker.open_for(HOST, OPEN_TIME + 2.0, "other") == 0.0
    else:
        breaker.failed(HOST, OPEN_TIME + 2.0)
        assert breaker.open_for(HOST, OPEN_TIME + 3.0, "trial") == OPEN_TIME - 1.0


def test_it_is_off_by_default() -> None:
    breaker = HostBreaker(0)
    for _ in range(100):
        breaker.failed(HOST, 0.0)
    assert breaker.open_for(HOST, 0.0, "who") == 0.0


def test_the_number_of_remembered_hosts_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_HOSTS", 10)
    breaker = HostBreaker(1)
    for number in range(100):
        breaker.failed((f"n{number}.test", 443), 0.0)
    assert len(breaker._failures) <= 10
    assert len(breaker._until) <= 10
