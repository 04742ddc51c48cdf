"""One name, one look-up: who goes, who waits, and for how long the outcome is known."""

from __future__ import annotations

from typing import Any, cast

import pytest

from zurl_py.egress import lookups
from zurl_py.egress.lookups import NameGate


class Transfer:
    """What the gate sees of a transfer."""

    resolves: str | None = None


def transfer() -> Any:
    return cast(Any, Transfer())


def test_the_first_goes_and_the_others_wait_in_order() -> None:
    gate = NameGate()
    first, second, third = transfer(), transfer(), transfer()
    assert not gate.must_wait("a.test", first, 0.0)
    assert gate.must_wait("a.test", second, 0.0)
    assert gate.must_wait("a.test", third, 0.0)
    assert first.resolves == "a.test"
    assert second.resolves is third.resolves is None
    assert gate.opened("a.test", 0.0) == [second, third]
    assert gate.opened("a.test", 0.0) == []


def test_names_do_not_wait_for_each_other() -> None:
    gate = NameGate()
    assert not gate.must_wait("a.test", transfer(), 0.0)
    assert not gate.must_wait("b.test", transfer(), 0.0)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::a", "::1"])
def test_addresses_never_wait(address: str) -> None:
    gate = NameGate()
    one, two = transfer(), transfer()
    assert not gate.must_wait(address, one, 0.0)
    assert not gate.must_wait(address, two, 0.0)
    assert one.resolves is two.resolves is None


def test_what_is_known_is_so_for_a_minute() -> None:
    gate = NameGate()
    assert not gate.must_wait("a.test", transfer(), 0.0)
    gate.opened("a.test", 0.0)
    later = transfer()
    assert not gate.must_wait("a.test", later, 59.0)
    assert later.resolves is None
    again = transfer()
    assert not gate.must_wait("a.test", again, 61.0)
    assert again.resolves == "a.test"


def test_what_was_not_found_out_is_looked_up_anew() -> None:
    gate = NameGate()
    gate.must_wait("a.test", transfer(), 0.0)
    gate.opened("a.test", None)
    again = transfer()
    assert not gate.must_wait("a.test", again, 0.0)
    assert again.resolves == "a.test"


def test_who_was_cancelled_does_not_come_back() -> None:
    gate = NameGate()
    gate.must_wait("a.test", transfer(), 0.0)
    second, third = transfer(), transfer()
    gate.must_wait("a.test", second, 0.0)
    gate.must_wait("a.test", third, 0.0)
    gate.forget("a.test", second)
    gate.forget("a.test", second)
    gate.forget("b.test", second)
    assert gate.opened("a.test", None) == [third]


def test_names_without_end_are_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "_MAX_KNOWN", 100)
    gate = NameGate()
    for number in range(1000):
        name = f"n{number}.test"
        assert not gate.must_wait(name, transfer(), 0.0)
        gate.opened(name, 0.0)
    assert len(gate._known) <= 100
    assert not gate._waiting
