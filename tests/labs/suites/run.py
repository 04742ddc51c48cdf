"""The test suites of requests, httpx and HTTPie with our classes in the place of theirs.

``python -m tests.labs.suites.run [--theirs] [--all] [SUITE...]``: each runs in a network namespace
with loopback alone, as such suites try addresses all over the world. ``--theirs`` runs them as they
are, to see what fails by itself here; ``--all`` runs what cannot hold as well.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.labs.ssrf.namespace import run_inside
from tests.labs.suites.cannot_hold import CANNOT_HOLD, SUITES, Suite
from tests.support import ROOT, Daemon, Worker

__all__ = ["directory", "run_suite"]

_MOST = 1800  # seconds that a suite may take on a machine that is busy


def directory() -> Path:
    """Where setup.sh has put them: ``$ZURL_SUITES``, else ``.suites`` here."""
    return Path(os.environ.get("ZURL_SUITES", ROOT / ".suites"))


def run_suite(name: str, theirs: bool = False, everything: bool = False) -> dict[str, Any]:
    """Runs a suite in a namespace.

    Args:
        theirs: with the library's own classes.
        everything: what cannot hold, too.

    Returns:
        ``passed``, ``reached`` (lists of tests), ``failed`` (tests with what was said).
    """
    flags = ["--inside", *(["--theirs"] if theirs else []), *(["--all"] if everything else [])]
    report = run_inside("tests.labs.suites.run", *flags, name, timeout=_MOST)
    assert isinstance(report, dict)
    return report


def _isolate(scratch: Path) -> None:
    """Loopback up; no name service; one network that swallows all, for tests of timeouts."""
    resolver = scratch / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    for command in (
        "ip link set lo up",
        "ip route add 10.255.255.0/24 dev lo",
        f"mount --bind {resolver} {os.path.realpath('/etc/resolv.conf')}",
    ):
        subprocess.run(command.split(), check=True)


def _inside(name: str, theirs: bool, everything: bool) -> dict[str, Any]:
    _isolate(Path(tempfile.mkdtemp()))  # in a directory that the caller removes
    python = directory() / "venv/bin/python"
    where = "import pytest_httpbin.certs as c; print(c.where())"
    store = subprocess.run([python, "-c", where], capture_output=True, check=True, text=True)
    with (
        Daemon(
            environment={"SSL_CERT_FILE": store.stdout.strip()},
            arguments=("--loglevel=1",),
            allow_ipv6="true",
            allow_host_override="true",
        ) as daemon,
        Worker(daemon) as worker,
    ):
        worker.ready()
        suite = SUITES[name]
        files: list[Path | None] = [None]
        if suite.apart:
            files = [*sorted((directory() / suite.directory / "tests").glob("test_*.py"))]
        skipped = [] if everything or theirs else [*CANNOT_HOLD[name]]
        swap = "theirs" if theirs else name
        return _joined(
            _pytest(suite, swap, skipped, daemon, [] if file is None else [str(file)])
            for file in files
        )


def _pytest(
    suite: Suite, swap: str, skipped: list[str], daemon: Daemon, files: list[str]
) -> dict[str, Any]:
    """Runs tests of a suite; all of them if there are no files."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report"
        environment = {
            **os.environ,
            "HOME": scratch,
            "PYTHONPATH": str(Path(__file__).parent),  # "tests" is theirs
            "SUITE": swap,
            "SUITE_REPORT": str(report),
            "ZURL_CONNECT": str(daemon.config_path),
        }
        for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT"):
            environment.pop(variable, None)
        subprocess.run(
            [
                directory() / "venv/bin/python", "-m", "pytest", "-q", "-p", "swap_classes",
                "-p", "no:cacheprovider", "--timeout=30", *(files or ["tests"]),
                *(f"--deselect={test}" for test in skipped),
            ],
            cwd=directory() / suite.directory,
            env=environment,
            stdout=sys.stderr,
            check=False,
        )  # fmt: skip
        made: dict[str, Any] = json.loads(report.read_text())
        return made


def _joined(reports: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """One report of several."""
    joined: dict[str, Any] = {"passed": [], "reached": [], "failed": {}}
    for report in reports:
        joined["passed"] += report["passed"]
        joined["reached"] += report["reached"]
        joined["failed"] |= report["failed"]
    return joined


def _show(name: str, report: dict[str, Any]) -> None:
    reached = set(report["reached"])
    good = len(reached & set(report["passed"]))
    print(f"{name}: {len(report['passed'])} passed, {len(report['failed'])} failed;", end=" ")
    print(f"{good} of the {len(reached)} that reach the gateway passed")
    for test, text in report["failed"].items():
        lines = [line for line in text.splitlines() if line.startswith("E ")]
        print(f"  {test}\n      {(lines or [text[-200:]])[0][:150]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="*", default=[*SUITES], metavar="SUITE")
    parser.add_argument("--theirs", action="store_true")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    for name in arguments.suites:
        if arguments.inside:
            print(json.dumps(_inside(name, arguments.theirs, arguments.all)))
        else:
            _show(name, run_suite(name, arguments.theirs, arguments.all))


if __name__ == "__main__":
    main()
