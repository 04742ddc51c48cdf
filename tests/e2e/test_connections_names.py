"""Look-ups from outside: in a namespace where the name server is ours (see ``dns/inside.py``)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import require_peer
from tests.labs.ssrf.namespace import available, run_inside

NOT_RESOLVED = ["remote-connection-failed", "name-not-resolved"]


@pytest.fixture(scope="module")
def outcomes() -> Any:
    for program in ("unshare", "ip"):
        require_peer(program)
    if not available():
        pytest.skip("no namespaces here: they need root, or user namespaces")
    return run_inside("tests.e2e.dns.inside", timeout=240)


def test_a_name_that_did_not_exist_is_looked_up_again(outcomes: Any) -> None:
    before, after = outcomes["a_name_that_is_made_later"]
    assert before == [NOT_RESOLVED, "remote-connection-failed"]
    assert after == [200, "whole"]


def test_no_such_name_is_remembered_if_so_set(outcomes: Any) -> None:
    assert outcomes["no_such_name_is_remembered_if_so_set"] == [NOT_RESOLVED, NOT_RESOLVED, 1]


def test_a_name_that_changes_its_address_loses_no_request(outcomes: Any) -> None:
    assert outcomes["a_name_that_moves"] == [200, 200]


def test_a_silent_address_is_looked_up_again(outcomes: Any) -> None:
    for what, found in outcomes["a_silent_address_is_looked_up_again"].items():
        assert found == ["session-timeout", 403], what


def test_requests_to_one_name_share_a_look_up(outcomes: Any) -> None:
    assert outcomes["one_look_up_for_all"] == [[200], 1]


def test_silent_name_servers_delay_no_other_names(outcomes: Any) -> None:
    assert outcomes["silent_names_delay_no_others"] == [[200, 200], True, True]


def test_lifetimes_of_names(outcomes: Any) -> None:
    assert outcomes["lifetimes"] == [3, 1]
