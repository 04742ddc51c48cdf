"""What waits for workers: for those that are slow, and for those that have not subscribed yet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.outbox import Lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = Lab()
    yield lab
    lab.loop.close()


@pytest.mark.parametrize("prefix", [b"w ", b"w", b""])
def test_packets_with_a_subscription_are_sent_at_once(lab: Lab, prefix: bytes) -> None:
    lab.subscribe(prefix)
    lab.publish(b"w one", b"w two")
    assert lab.socket.sent == [b"w one", b"w two"]
    assert not lab.publisher.slow


@pytest.mark.parametrize("prefix", [b"w T", b"w T5:", b"w T5:hello,"])
def test_a_subscription_may_go_on_behind_the_address(lab: Lab, prefix: bytes) -> None:
    lab.subscribe(prefix)
    lab.publish(b"w T5:hello,", b"w J{}")
    assert lab.socket.sent == [b"w T5:hello,"]
    assert set(lab.publisher.slow) == {b"w"}


def test_such_a_subscription_ends_the_wait(lab: Lab) -> None:
    lab.publish(b"w T0:}")
    lab.wait(0.5)
    lab.subscribe(b"w T")
    lab.wait(0.1)
    assert lab.socket.sent == [b"w T0:}"]


def test_packets_without_a_subscription_wait_in_order(lab: Lab) -> None:
    lab.subscribe(b"w ")
    lab.publish(b"ww one", b"w first", b"ww two")
    assert lab.socket.sent == [b"w first"]
    assert set(lab.publisher.slow) == {b"ww"}
    assert lab.used  # the signal of a subscription may have been swallowed by a send
    lab.wait(1)
    lab.subscribe(b"ww ")
    lab.publish(b"ww three")
    lab.wait(0.2)
    assert lab.socket.sent == [b"w first", b"ww one", b"ww two", b"ww three"]
    assert not lab.publisher.slow
    assert [line for line in lab.log.lines if "not subscribed" in line] == lab.log.lines != []


def test_packets_wait_for_a_subscription_once_and_for_a_limited_time(lab: Lab) -> None:
    lab.publish(b"gone one")
    lab.wait(2.5)
    assert lab.socket.sent == []
    lab.wait(1)
    assert lab.socket.sent == [b"gone one"]  # to nobody, says the socket
    lab.publish(b"gone two")
    assert lab.socket.sent == [b"gone one", b"gone two"]
    assert not lab.publisher.slow


def test_a_worker_that_connects_anew_misses_nothing(lab: Lab) -> None:
    lab.subscribe(b"w ")
    lab.publish(b"w one")
    lab.publisher.subscription([b"\0w "])
    lab.publish(b"w two")
    assert lab.socket.sent == [b"w one"]
    lab.subscribe(b"w ")
    lab.wait(0.2)
    assert lab.socket.sent == [b"w one", b"w two"]


def test_the_end_of_a_wait_is_reported_to_those_that_wait(lab: Lab) -> None:
    told: list[str] = []
    lab.publish(b"w one")
    lab.publisher.when_caught_up(b"w", lambda: told.append("over"))
    lab.wait(0.5)
    assert told == []
    lab.subscribe(b"w ")
    lab.wait(0.2)
    assert told == ["over"]


def test_a_slow_worker_holds_up_nobody_else(lab: Lab) -> None:
    lab.subscribe(b"")
    lab.socket.full.add(b"slow")
    lab.publish(b"slow one", b"quick one", b"slow two")
    lab.wait(10)
    assert lab.socket.sent == [b"quick one"]
    lab.socket.full.clear()
    lab.wait(0.2)
    assert lab.socket.sent == [b"quick one", b"slow one", b"slow two"]


def test_the_number_of_remembered_addresses_is_limited(lab: Lab) -> None:
    lab.subscribe(b"many")
    for number in range(10_050):
        lab.publish(b"many%d x" % number)
    assert len(lab.publisher._subscribed) <= 10_000
    assert len(lab.socket.sent) == 10_050


def test_packets_that_wait_for_one_worker_are_limited(lab: Lab) -> None:
    for _ in range(10_001):
        lab.publish(b"w x")
    assert lab.publisher.dropped == 1
