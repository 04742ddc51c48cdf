"""Which transfers wait for a connection that another one is making."""

from __future__ import annotations

import pytest

from tests.support.clock import Clock, let_pass
from zurl_py.egress import origins as module
from zurl_py.egress.origins import SHARE_TIMEOUT, FirstConnections, Origins
from zurl_py.loop import Loop


def test_waiting_transfers_continue_when_the_connection_is_made() -> None:
    firsts: FirstConnections[str] = FirstConnections(Loop(Clock()))
    firsts.lead("key", "leader")
    assert firsts.leads("key")
    for waiter in ("one", "two", "three"):
        firsts.wait("key", waiter)
    firsts.leave("key", "two")
    firsts.settle("key", "another", True)
    assert firsts.released == []
    firsts.settle("key", "leader", True)
    assert firsts.released == ["one", "three"]
    assert not firsts.leads("key")
    firsts.leave("key", "three")
    assert firsts.released == ["one"]
    assert firsts.waiting() == []


def test_the_wait_for_a_connection_is_limited() -> None:
    clock = Clock()
    loop = Loop(clock)
    firsts: FirstConnections[str] = FirstConnections(loop)
    firsts.lead("key", "leader")
    firsts.wait("key", "one")
    let_pass(SHARE_TIMEOUT + 0.1, clock, loop)
    assert firsts.released == ["one"]
    assert firsts.leads("key")


def test_the_number_of_remembered_origins_is_limited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_MAX_ORIGINS", 10)
    origins = Origins()
    for number in range(100):
        origins.spoke((f"n{number}.test", 443), 2)
    assert origins.version(("n99.test", 443)) == 2
    assert origins.version(("n0.test", 443)) is None
    assert len(origins._versions) <= 10


@pytest.mark.parametrize("connected", [True, False])
def test_after_a_recent_connection_no_transfer_waits(connected: bool) -> None:
    clock = Clock()
    loop = Loop(clock)
    firsts: FirstConnections[str] = FirstConnections(loop)
    firsts.lead("key", "leader")
    assert not firsts.is_warm("key")
    firsts.settle("key", "leader", connected)
    assert firsts.is_warm("key") is connected
    let_pass(1.1, clock, loop)
    assert not firsts.is_warm("key")
