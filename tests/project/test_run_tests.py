"""``tools/run-tests.sh``: a few tests that fail beside others are run once more, and named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support import ROOT

# Each of these tests fails as often as FAILURES says, and leaves a line for each run of it.
TESTS = """
import os
from pathlib import Path

import pytest


@pytest.mark.parametrize("number", range(int(os.environ["TESTS"])))
def test_in_time(number):
    runs = Path(f"runs-{number}")
    count = int(runs.read_text()) if runs.exists() else 0
    runs.write_text(str(count + 1))
    assert count >= int(os.environ["FAILURES"])
"""


def run(folder: Path, tests: int, failures: int) -> tuple[int, str, list[str]]:
    """The exit status, the output, and how often each test was run."""
    (folder / "pyproject.toml").write_text('[tool.coverage.run]\nsource = ["test_it"]\n')
    (folder / "test_it.py").write_text(TESTS)
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COVERAGE", "COV_", "PYTEST"))
    }
    ran = subprocess.run(
        ["sh", ROOT / "tools/run-tests.sh", "-q"],
        cwd=folder,
        env={
            **inherited,
            "PYTHON": sys.executable,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "TESTS": str(tests),
            "FAILURES": str(failures),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    runs = [(folder / f"runs-{number}").read_text() for number in range(tests)]
    return ran.returncode, ran.stdout + ran.stderr, runs


def test_tests_that_pass_run_once(tmp_path: Path) -> None:
    status, output, runs = run(tmp_path, tests=2, failures=0)
    assert status == 0, output
    assert runs == ["1", "1"]
    assert "by themselves" not in output


def test_a_test_that_fails_beside_others_is_run_once_more_and_named(tmp_path: Path) -> None:
    status, output, runs = run(tmp_path, tests=5, failures=1)
    assert status == 0, output
    assert runs == ["2"] * 5
    assert output.endswith("\ntest_it.py::test_in_time[4]\n")


def test_a_test_that_fails_twice_fails_the_run(tmp_path: Path) -> None:
    status, output, runs = run(tmp_path, tests=1, failures=2)
    assert status == 1, output
    assert runs == ["2"]
    assert "by themselves" not in output


def test_many_failures_are_not_repeated(tmp_path: Path) -> None:
    status, output, runs = run(tmp_path, tests=6, failures=1)
    assert status == 1, output
    assert runs == ["1"] * 6
    assert output.endswith("6 tests failed: too many to run them again\n")


def test_an_error_outside_tests_fails_the_run(tmp_path: Path) -> None:
    """A module that cannot be imported: pytest is interrupted, and no test has run."""
    (tmp_path / "test_broken.py").write_text("import nothing_of_this_name\n")
    status, output, _ = run(tmp_path, tests=0, failures=0)
    assert status == 2, output
