"""Every attempt against our daemon has to hold: zero is the only pass."""

import os

import pytest

from tests.labs.ssrf import namespace
from tests.labs.ssrf.document import documented, rows
from tests.labs.ssrf.lab import ATTEMPTS, OPEN, OURS, Result
from tests.labs.ssrf.network import PUBLIC4
from tests.labs.ssrf.play import load, play

load()


@pytest.fixture(scope="module")
def namespaces() -> None:
    """Network namespaces: skipped where there are none, a failure in CI."""
    if not namespace.available():
        if os.environ.get("ZURL_REQUIRE_PEERS"):
            pytest.fail("no network namespace can be made")
        pytest.skip("no network namespace can be made")


@pytest.fixture(scope="module")
def results(namespaces: None) -> dict[str, Result]:
    """What our daemon did with all attempts."""
    return play(OURS)


@pytest.mark.parametrize("name", ATTEMPTS)
def test_attempt(name: str, results: dict[str, Result]) -> None:
    result = results[name]
    assert not result.skipped
    assert result.answers, "the worker was told nothing"
    assert not [answer for answer in result.answers if answer.startswith("(")]
    assert [arrival for arrival in result.arrivals if arrival.is_breach] == []
    assert not result.leak


def test_without_rules_the_attempts_arrive(namespaces: None) -> None:
    """Without rules most of the same attempts do arrive."""
    seen = play(OPEN, "ipv4-*", "embedded-*", "name-of-*", "websocket-1*", "redirect-private")
    arrived = {name for name, result in seen.items() if not result.held}
    assert len(arrived) > 0.9 * len(seen), set(seen) - arrived
    assert {"ipv4-10.0.0.1", "embedded-mapped-private", "redirect-private"} <= arrived


@pytest.mark.parametrize(
    "name",
    [
        "name-silent",
        "name-mixed-private-first",
        "name-mixed-private-last",
        "name-mixed-nat64",
        "environment-proxies-get",
        "environment-public-proxies-name",
        "rebinding-to-mixed",
    ],
)
def test_public_addresses_are_still_reached(name: str, results: dict[str, Result]) -> None:
    assert results[name].answers[0] == f"200 this is {PUBLIC4}"


def test_there_are_enough_attempts_and_they_are_documented(results: dict[str, Result]) -> None:
    assert len(ATTEMPTS) >= 200
    text = documented()
    for group, (held, tried) in rows(results).items():
        assert held == tried
        (row,) = [line for line in text.splitlines() if line.startswith(f"| {group} |")]
        assert row.endswith(f"| {held} of {tried} |"), row
