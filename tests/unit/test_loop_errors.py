"""What one handler or timer raises is not for the others to suffer."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.clock import Clock
from zurl_py.loop import READ, Loop, Timer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def loop(clock: Clock) -> Iterator[Loop]:
    loop = Loop(clock)
    yield loop
    loop.close()


def fail() -> None:
    raise RuntimeError("a bug in one timer")


def turn(loop: Loop) -> None:
    """As the daemon does it: log what is raised, and go on."""
    try:
        loop.turn(wait=False)
    except RuntimeError:
        pass


@pytest.mark.parametrize("delay", [1.0, 30.0])
def test_a_timer_that_raises_does_not_stop_others(loop: Loop, clock: Clock, delay: float) -> None:
    fired: list[int] = []
    # A set has no order: among so many some come behind those that raise.
    for number in range(20):
        when = clock.now + delay
        loop.set_timer(Timer(fail), when)
        loop.set_timer(Timer(lambda number=number: fired.append(number)), when)  # type: ignore[misc]
    for _ in range(200):
        clock.now += 1
        turn(loop)
    assert sorted(fired) == list(range(20))


def test_a_timer_can_be_set_again_whatever_others_raised(loop: Loop, clock: Clock) -> None:
    fired: list[int] = []
    timers = [Timer(lambda number=n: fired.append(number)) for n in range(20)]  # type: ignore[misc]
    for timer in timers:
        loop.set_timer(Timer(fail), clock.now + 1)
        loop.set_timer(timer, clock.now + 1)
    clock.now += 2
    turn(loop)
    fired.clear()
    for timer in timers:  # sessions that are active move their deadlines
        loop.set_timer(timer, clock.now + 1)
    for _ in range(100):
        clock.now += 1
        turn(loop)
    assert set(fired) == set(range(20))


def test_a_handler_that_raises_loses_no_event(loop: Loop) -> None:
    pipes = [os.pipe() for _ in range(4)]
    seen: set[int] = set()

    def handle(fd: int, _events: int) -> None:
        os.read(fd, 1)
        seen.add(fd)
        raise RuntimeError("a bug in one handler")

    for reader, writer in pipes:
        loop.watch(reader, READ, handle)
        os.write(writer, b"x")
    for _ in pipes:
        turn(loop)
    assert seen == {reader for reader, _ in pipes}
    for pipe in pipes:
        for fd in pipe:
            os.close(fd)
