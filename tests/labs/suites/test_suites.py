"""The suites of requests, httpx and HTTPie hold with our classes, but for what is listed."""

from __future__ import annotations

import os

import pytest

from tests.labs.ssrf.namespace import available
from tests.labs.suites.cannot_hold import SUITES
from tests.labs.suites.run import directory, run_suite

_AT_LEAST = {"requests": 124, "httpx": 70, "httpie": 380}
"""Tests that reach the gateway and pass; fewer would mean that our classes were not used."""


@pytest.mark.last
@pytest.mark.parametrize("name", SUITES)
def test_the_suite_passes(name: str) -> None:
    if not (directory() / "made").exists() or not available():
        if os.environ.get("ZURL_REQUIRE_PEERS"):
            pytest.fail(
                "the suites are not there, or no namespace can be made: make peers, as root"
            )
        pytest.skip("needs the suites and root: make peers")
    report = run_suite(name)
    assert report["failed"] == {}
    assert len(set(report["reached"]) & set(report["passed"])) >= _AT_LEAST[name]
