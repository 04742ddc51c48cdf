"""A time-boxed part of the fuzzing, and whatever a longer one found. `make fuzz` does more."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from tests.labs.fuzz.live import fuzz as fuzz_live
from tests.labs.fuzz.run import FOUND, fuzz
from tests.labs.fuzz.targets import SEEDS, TARGETS
from tests.labs.ssrf.namespace import available

_SECONDS = 2  # for each target
_MESSAGES = 20_000


def _kept() -> list[Path]:
    return sorted(FOUND.glob("*/*"))


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_seeds(target: str) -> None:
    assert SEEDS[target]
    for seed in SEEDS[target]:
        TARGETS[target](seed)


@pytest.mark.parametrize("path", _kept(), ids=lambda path: f"{path.parent.name}/{path.name[:20]}")
def test_inputs_that_failed_before(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_nothing_new_is_found_in_a_moment(target: str) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: it has wheels for x86_64 and Python 3.11 to 3.13")
    assert fuzz(target, _SECONDS) == 0, f"see the new file in {FOUND / target}"


def test_damaged_messages_leave_nothing_behind() -> None:
    """Bounds: 20 descriptors and 40 MB above what the daemon had before, and no traceback."""
    if not available():
        assert not os.environ.get("ZURL_REQUIRE_PEERS"), "namespaces are not available"
        pytest.skip("no network namespace may be made here: needs root, or user namespaces")
    found = fuzz_live(_MESSAGES, 1)
    assert found["tracebacks"] == 0, found["log"]
    assert found["status"] == 0
    assert found["sent"] == _MESSAGES
    assert found["answers"] > _MESSAGES // 10
    before, after = found["before"], found["after"]
    assert after["descriptors"] <= before["descriptors"] + 20
    assert after["bytes"] <= before["bytes"] + 40_000_000
