"""The benchmarks can be run: this measures nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.cases import CASES, Target
from benchmarks.driver import Result
from tests.conftest import require_peer

_CASES = ("json", "streamed", "single", "post-1k", "tls", "http2", "webhooks", "download")
_MORE = ("upload-20k", "echo-20", "open-100", "hosts-10", "paced-echo")
_BY_PYTHON = ("download-python", "upload-5k-python")
_VERSIONS = tuple(
    f"versions-http{number}{what}" for number in (1, 2, 3) for what in ("", "-single", "-download")
)


@pytest.mark.parametrize("cases", [_CASES, (*_MORE, *_BY_PYTHON), _VERSIONS])
def test_a_smoke_run_fills_the_page(tmp_path: Path, cases: tuple[str, ...]) -> None:
    peers = ("caddy",) if cases is _VERSIONS else ("zurl",)
    for peer in (*peers, "nginx", "gcc", "curl-config"):
        require_peer(peer)
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        *cases,
        "--quick",
        "--daemons",
        "ours,zurl,floor",
    ]
    done = subprocess.run(
        [*command, "--write", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "left out" not in done.stderr
    results = json.loads((tmp_path / "benchmarks" / "results.json").read_text())
    for case in CASES:
        if case.name in cases:
            expected = {name for name in case.daemons if name != "condure"}
            assert set(results[case.name]) == expected
            assert all(found["cpu"] > 0 for found in results[case.name].values())
    page = (tmp_path / "benchmarks.md").read_text()
    assert all(case.title in page for case in CASES if case.name in cases)
    if cases is not _VERSIONS:  # of which there is no plot
        assert (tmp_path / "benchmarks" / "requests.svg").exists()


def test_a_target_is_met_or_missed_by_the_ratio() -> None:
    case = next(case for case in CASES if case.target == Target(0.40))
    other = Result(count=1000, cpu=0.2, wall=1.0)
    for cpu, verdict in ((0.08, "met"), (0.081, "**missed**")):
        ours = Result(count=1000, cpu=cpu, wall=1.0)
        assert verdict in report.tables([case], {case.name: {"ours": ours, "zurl": other}})


def test_what_a_cold_request_goes_through() -> None:
    for peer in ("zurl", "nginx", "gcc", "curl-config"):
        require_peer(peer)
    command = [sys.executable, "-m", "benchmarks.cold", "--rate", "50", "--seconds", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for daemon, library in (("ours", "libcurl"), ("zurl", "libQt5Core")):
        assert re.search(rf"^{daemon}: \d+ µs \(\d+ to \d+\), \d\.\d\d × zurl$", done.stdout, re.M)
        assert re.search(rf"^{daemon}: [1-9]\d+ pages for a request$", done.stdout, re.M)
        assert re.search(rf"^ +[1-9]\d* {library}\S*, code$", done.stdout, re.M)
