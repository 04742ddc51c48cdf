"""Fair shares of the loop's time."""

from collections.abc import Iterator

import pytest

from zurl_py.egress.turns import TurnQueue
from zurl_py.loop import Loop


class Bench:
    """A queue whose items take time on the test's clock, and some of which come back."""

    def __init__(self) -> None:
        self.time = 1.0
        self.loop = Loop(lambda: self.time)
        self.served: list[str] = []
        self.cost = 0.0
        self.come_back = True
        self.queue: TurnQueue[str] = TurnQueue(self.loop, self._serve)

    def _serve(self, item: str) -> None:
        self.served.append(item)
        self.time += self.cost
        if self.come_back:
            self.queue.append(item)

    def turn(self) -> str:
        """Those served in one turn of the loop, which runs the queue twice."""
        self.loop.turn(wait=False)
        self.served.clear()
        self.queue.run()
        self.queue.run()
        return "".join(self.served)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.loop.close()


def test_each_once(bench: Bench) -> None:
    for item in "abc":
        bench.queue.append(item)
    bench.come_back = False
    assert bench.turn() == "abc"
    assert len(bench.queue) == 0
    assert bench.turn() == ""


def test_unserved_items_are_first_in_the_next_turn(bench: Bench) -> None:
    bench.come_back = False
    bench.cost = 0.00055
    for item in "abcde":
        bench.queue.append(item)
    assert [bench.turn() for _ in range(4)] == ["ab", "cd", "e", ""]


def test_unfinished_items_have_a_small_share(bench: Bench) -> None:
    bench.cost = 0.00015
    for item in "abcde":
        bench.queue.append(item)
    # All of them once, and two more that were not done; then two in each turn.
    assert [bench.turn() for _ in range(4)] == ["abcdeab", "cd", "ea", "bc"]


def test_fresh_items_do_not_wait_for_unfinished_ones(bench: Bench) -> None:
    bench.cost = 0.0006
    for item in "ab":
        bench.queue.append(item)
    assert bench.turn() == "aba"
    bench.queue.append("x")
    assert bench.turn() == "xb"
    assert bench.turn() == "a"


def test_at_least_one_item_is_served_in_every_turn(bench: Bench) -> None:
    bench.cost = 1.0
    for item in "ab":
        bench.queue.append(item)
    assert [bench.turn() for _ in range(4)] == ["aa", "ba", "b", "a"]
