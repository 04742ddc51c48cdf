"""Packets that overtook the first one of their session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.clock import Clock, let_pass
from zurl_py.loop import Loop
from zurl_py.messaging import reorder
from zurl_py.messaging.reorder import ReorderBuffer
from zurl_py.zhttp import RequestPacket

KEY = (b"w", b"1")


def packet(seq: int) -> RequestPacket:
    return RequestPacket.parse(b'J{"from":"w","id":"1","type":"credit","seq":%d}' % seq)


class Lab:
    def __init__(self) -> None:
        self.clock = Clock()
        self.loop = Loop(self.clock)
        self.blocked = False
        self.given_up: list[tuple[int | None, bytes]] = []
        self.early = ReorderBuffer(
            self.loop, lambda: self.blocked, lambda p, id: self.given_up.append((p.seq, id))
        )

    def keep(self, key: tuple[bytes, bytes], seq: int, size: int = 100) -> bool:
        return self.early.keep(key, packet(seq), seq, size)

    def wait(self, seconds: float) -> None:
        let_pass(seconds, self.clock, self.loop, step=0.005)


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = Lab()
    yield lab
    lab.loop.close()


def test_a_session_gets_its_packets_in_their_order_and_once(lab: Lab) -> None:
    assert lab.keep(KEY, 1)
    assert lab.keep((b"w", b"2"), 1)
    assert lab.keep(KEY, 2)
    assert [seq for _, seq in lab.early.take(KEY)] == [1, 2]
    assert lab.early.take(KEY) == []
    lab.wait(1)
    assert lab.given_up == [(1, b"2")]


def test_packets_without_a_session_are_given_up_soon(lab: Lab) -> None:
    lab.keep(KEY, 1)
    lab.wait(0.01)
    assert lab.given_up == []
    lab.keep((b"w", b"2"), 7)
    lab.wait(0.1)
    assert lab.given_up == [(1, b"1"), (7, b"2")]
    # And there is no end to it.
    lab.keep(KEY, 3)
    lab.wait(0.1)
    assert lab.given_up[2:] == [(3, b"1")]


def test_while_first_packets_queue_the_wait_is_longer_but_limited(lab: Lab) -> None:
    lab.blocked = True
    lab.keep(KEY, 1)
    lab.wait(reorder._LONG_GRACE - 1)
    assert lab.given_up == []
    lab.wait(2)
    assert lab.given_up == [(1, b"1")]


def test_the_number_of_waiting_packets_is_limited(lab: Lab) -> None:
    for number in range(reorder._MAX_WAITING):
        assert lab.keep((b"w", b"%d" % (number % 10)), number)
    assert not lab.keep((b"w", b"x"), 1)
    lab.early.take((b"w", b"0"))
    assert lab.keep((b"w", b"x"), 1)
    lab.wait(1)
    assert len(lab.given_up) == reorder._MAX_WAITING - reorder._MAX_WAITING // 10 + 1


def test_bytes_are_bounded_as_well(lab: Lab) -> None:
    """A thousand large packets would be gigabytes: 16 MiB wait at most."""
    for number in range(16):
        assert lab.keep((b"w", b"%d" % number), 1, size=1 << 20)
    assert not lab.keep((b"w", b"x"), 1, size=1)
    lab.early.take((b"w", b"0"))
    assert lab.keep((b"w", b"x"), 1, size=1 << 20)
    assert not lab.keep((b"w", b"y"), 1, size=1)
    lab.wait(10)
    assert lab.keep((b"w", b"y"), 1, size=16 << 20)
