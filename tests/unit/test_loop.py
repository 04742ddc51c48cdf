"""The event loop: timers that cost nothing to move, descriptors that are replaced unseen."""

import os
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.clock import Clock
from zurl_py.loop import READ, Loop, Timer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def loop(clock: Clock) -> Loop:
    return Loop(clock)


def until(loop: Loop, clock: Clock, when: float, step: float = 0.25) -> None:
    while clock.now < when:
        clock.now = min(when, clock.now + step)
        loop.turn(wait=False)


@given(st.lists(st.floats(0, 900), min_size=1, max_size=20))
def test_each_timer_fires_once_and_not_before_its_time(delays: list[float]) -> None:
    clock = Clock()
    loop = Loop(clock)
    fired: dict[int, float] = {}

    def arm(number: int, delay: float) -> None:
        def fire() -> None:
            fired.setdefault(number, clock.now)

        timer = Timer(fire)
        loop.set_timer(timer, clock.now + delay)

    for number, delay in enumerate(delays):
        arm(number, delay)
    until(loop, clock, 1000.0 + 902, step=1.0)
    assert len(fired) == len(delays)
    for number, delay in enumerate(delays):
        assert 1000.0 + delay <= fired[number] <= 1000.0 + delay + 1.02
    loop.close()


def test_a_timer_that_is_moved_fires_at_the_new_time_only(loop: Loop, clock: Clock) -> None:
    fired: list[float] = []
    timer = Timer(lambda: fired.append(clock.now))
    loop.set_timer(timer, clock.now + 1)
    loop.set_timer(timer, clock.now + 3)
    until(loop, clock, 1002.5)
    assert fired == []
    loop.set_timer(timer, clock.now + 0.1)
    until(loop, clock, 1010)
    assert len(fired) == 1
    assert 1002.6 <= fired[0] <= 1003.0


def test_a_cancelled_timer_does_not_fire(loop: Loop, clock: Clock) -> None:
    fired: list[int] = []
    timer = Timer(lambda: fired.append(1))
    loop.set_timer(timer, clock.now + 1)
    loop.cancel_timer(timer)
    loop.cancel_timer(timer)
    until(loop, clock, 1005)
    assert fired == []


def test_timers_of_one_moment_may_cancel_and_set_each_other(loop: Loop, clock: Clock) -> None:
    fired: list[str] = []

    def first_of_two(name: str) -> None:
        fired.append(name)
        for other in timers.values():
            loop.cancel_timer(other)
        loop.set_timer(timers[name], clock.now + 5)

    timers = {
        name: Timer(lambda name=name: first_of_two(name))  # type: ignore[misc]
        for name in ("a", "b")
    }
    for timer in timers.values():
        loop.set_timer(timer, clock.now + 1)
    until(loop, clock, 1002)
    assert len(fired) == 1
    until(loop, clock, 1007)
    assert fired == [fired[0]] * 2


def test_a_timer_set_in_the_past_by_a_timer_does_not_hang_the_loop(
    loop: Loop, clock: Clock
) -> None:
    fired: list[int] = []

    def again() -> None:
        fired.append(1)
        loop.set_timer(timer, clock.now - 10)

    timer = Timer(again)
    loop.set_timer(timer, clock.now)
    until(loop, clock, 1001)
    assert 2 <= len(fired) <= 6


def test_a_descriptor_closed_and_opened_again_is_watched_again(loop: Loop) -> None:
    reader, writer = os.pipe()
    seen: list[str] = []
    loop.watch(reader, READ, lambda _fd, _events: seen.append("first"))
    os.close(writer)
    other, writer = os.pipe()
    again = os.dup2(other, reader)  # closed and opened in one, or another thread might be given it
    os.close(other)
    loop.watch(again, READ, lambda _fd, _events: seen.append("second"))
    os.write(writer, b"x")
    loop.turn(wait=True)
    assert seen == ["second"]
    loop.unwatch(again)
    loop.unwatch(again)
    loop.turn(wait=False)
    assert seen == ["second"]
    os.close(again)
    os.close(writer)


def test_signals_wake_the_loop_and_are_kept_in_order() -> None:
    before = {n: signal.getsignal(n) for n in (signal.SIGUSR1, signal.SIGUSR2)}
    loop = Loop()
    try:
        loop.catch_signals(signal.SIGUSR1, signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR2)
        loop.turn(wait=True)
        assert loop.take_signals() == [signal.SIGUSR1, signal.SIGUSR2]
        assert loop.take_signals() == []
    finally:
        loop.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def test_the_lateness_of_timers_is_reported() -> None:
    clock = Clock()
    loop = Loop(clock)
    lags: list[float] = []
    loop.observe_lag = lags.append
    timer = Timer(lambda: None)
    loop.set_timer(timer, clock.now + 1.0)
    clock.now += 0.5
    loop.turn(wait=False)
    assert lags == []
    clock.now += 1.0
    loop.turn(wait=False)
    assert lags == [pytest.approx(0.5, abs=0.02)]
    # What was taken back is late for nobody.
    loop.set_timer(timer, clock.now + 1.0)
    loop.cancel_timer(timer)
    clock.now += 5.0
    loop.turn(wait=False)
    assert len(lags) == 1
    loop.close()


def test_a_flood_leaves_time_for_others() -> None:
    """Many descriptors are handled in several turns, urgent ones in every turn."""
    clock = Clock()
    loop = Loop(clock)
    heard: list[int] = []
    pipes = [os.pipe() for _ in range(10)]

    def slow(fd: int, _events: int) -> None:
        heard.append(fd)
        clock.now += 0.0008

    for reader, writer in pipes:
        os.write(writer, b"x")  # is never read: always ready
        loop.watch(reader, READ, slow)
    bell, ringer = os.pipe()
    os.write(ringer, b"x")
    rung: list[int] = []
    loop.watch(bell, READ, lambda fd, _events: rung.append(fd), urgent=True)
    for turn in range(1, 11):
        loop.turn(wait=False)
        assert len(heard) <= 2 * turn
        assert len(rung) == turn
    counts = [heard.count(reader) for reader, _ in pipes]
    assert min(counts) >= 2
    for fd in (bell, ringer, *(end for pipe in pipes for end in pipe)):
        os.close(fd)
    loop.close()
