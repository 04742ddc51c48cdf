"""Whose addresses are whose, where clients are known by keys."""

from __future__ import annotations

from zurl_py.config.curve import CurveClient
from zurl_py.messaging.access import REVOKED, Access

ONE, TWO = CurveClient("1" * 40, "one"), CurveClient("2" * 40, "two")


def test_an_address_belongs_to_the_key_that_used_it_first() -> None:
    access = Access({ONE.key: ONE, TWO.key: TWO})
    assert access.may_use(ONE, b"a")
    assert not access.may_use(TWO, b"a")
    assert access.may_use(TWO, b"b")
    assert not access.may_use(ONE, b"b")
    assert access.may_use(ONE, b"a")


def test_over_ipc_any_address_is_the_operators() -> None:
    access = Access({ONE.key: ONE})
    assert access.may_use(None, b"local")
    assert not access.may_use(ONE, b"local")
    assert access.may_use(ONE, b"a")
    assert access.may_use(None, b"a")


def test_a_revoked_key_may_use_no_address() -> None:
    assert not Access({}).may_use(REVOKED, b"a")


def test_the_number_of_addresses_of_one_key_is_limited() -> None:
    access = Access({ONE.key: ONE, TWO.key: TWO})
    for number in range(1000):
        access.may_use(ONE, b"%d" % number)
    assert access.may_use(ONE, b"0")  # so 1 is the one that was not used for longest
    assert access.may_use(ONE, b"more")
    assert access.may_use(TWO, b"1")
    assert not access.may_use(TWO, b"0")
