"""The benchmarks of deliver run, and print their tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import require_peer

_ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("command", "part"),
    [
        (
            (
                "benchmarks.webhooks",
                "--stores=floor,sqlite",
                "--messages=200",
                "--rate=50",
                "--seconds=1",
                "--rounds=1",
            ),
            "| sqlite | ",
        ),
        (
            (
                "benchmarks.webhooks_backlog",
                "--pending=2000",
                "--endpoints=20",
                "--seconds=0.5",
                "--sweep=0",
            ),
            "| list dead | ",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_the_benchmark_runs(command: tuple[str, ...], part: str) -> None:
    require_peer("nginx")
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert part in done.stdout
