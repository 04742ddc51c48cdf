"""How far the window of a stream is open, and what all of them may cost."""

from __future__ import annotations

from typing import Any, cast

import pycurl
import pytest

from zurl_py.egress.window import START, ReceiveWindow, StreamBudget


class Curl:
    """An easy handle that keeps the limit of speed."""

    def __init__(self) -> None:
        self.limits: list[int] = []
        self.unpaused = 0

    def setopt(self, option: int, value: int) -> None:
        assert option == pycurl.MAX_RECV_SPEED_LARGE
        self.limits.append(value)

    def unpause(self) -> None:
        self.unpaused += 1


@pytest.fixture
def curl() -> Curl:
    return Curl()


def window(curl: Curl, limit: int = 10**9) -> tuple[ReceiveWindow, StreamBudget]:
    budget = StreamBudget(limit)
    return ReceiveWindow(cast(Any, curl), budget, 0.0), budget


def test_it_is_opened_again_when_half_of_it_is_taken(curl: Curl) -> None:
    made, _ = window(curl)
    made.taken = START // 2 - 1
    assert not made.refill(9.0)
    made.taken += 1
    assert made.refill(9.0)
    assert curl.limits == [START, START]
    assert curl.unpaused == 1
    assert not made.refill(9.0)


def test_it_doubles_while_it_is_taken_quickly_and_not_without_end(curl: Curl) -> None:
    made, budget = window(curl)
    for step in range(20):
        made.taken += made.size
        assert made.refill(step * 0.01)
    assert made.size == 4_194_304
    assert budget.used == 2 * 4_194_304
    made.close()
    made.close()
    assert budget.used == 0


def test_a_reader_without_room_makes_it_small_but_not_cheap(curl: Curl) -> None:
    """What was granted cannot be taken back."""
    made, budget = window(curl)
    for step in range(3):
        made.taken += made.size
        made.refill(step * 0.01)
    used = budget.used
    made.pause()
    made.taken += made.size
    assert not made.refill(1.0)
    made.paused = False
    assert made.refill(1.0)
    assert curl.limits[-1] == START
    assert budget.used == used


def test_it_does_not_grow_beyond_the_budget(curl: Curl) -> None:
    made, budget = window(curl, limit=4 * START)
    for step in range(5):
        made.taken += made.size
        made.refill(step * 0.01)
    assert made.size == 2 * START
    assert budget.used == budget.limit
    assert not budget.allows(1)


def test_a_connection_of_its_own_needs_none(curl: Curl) -> None:
    made, budget = window(curl)
    made.lift()
    assert curl.limits == [START, 0]
    assert budget.used == 0
    made.taken += START
    assert not made.refill(0.0)
