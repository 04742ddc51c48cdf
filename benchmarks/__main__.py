"""``python -m benchmarks``: run the cases, print the table, write it down."""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import zmq

from . import report
from .cases import CASES, Case, Sites
from .daemons import Daemon, available
from .driver import Result, Worker
from .origin import HoldingOrigin, Nginx

_QUICK = 0.02  # share of the requests in a smoke run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("cases", nargs="*", help="names of cases; all if none is given")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, medians count")
    parser.add_argument("--quick", action="store_true", help="a smoke run: few requests, one round")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the requests")
    parser.add_argument("--daemons", help="comma-separated; all that are here if left out")
    parser.add_argument("--write", type=Path, help="folder of benchmarks.md and its plots")
    options = parser.parse_args()
    known = {case.name: case for case in CASES}
    unknown = [name for name in options.cases if name not in known]
    if unknown:
        parser.error(f"unknown case {unknown[0]}; known are {', '.join(known)}")
    chosen = [known[name] for name in options.cases] or list(CASES)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    versions = available()
    if options.daemons:
        versions = {name: versions[name] for name in options.daemons.split(",")}
    scale = _QUICK if options.quick else options.scale
    results = _run(chosen, versions, 1 if options.quick else options.rounds, scale)
    print(report.table(chosen, results))
    if options.write is not None:
        report.write(options.write, chosen, results, versions)


def _run(
    cases: list[Case], versions: dict[str, str], rounds: int, scale: float
) -> dict[str, dict[str, Result]]:
    root = Path(tempfile.mkdtemp(prefix="bench-"))
    root.chmod(0o755)
    (root / "nginx").mkdir()
    sites = Sites(Nginx(root / "nginx"), HoldingOrigin())
    results: dict[str, dict[str, Result]] = {}
    try:
        for case in cases:
            names = [name for name in case.daemons if name in versions]
            runs: dict[str, list[Result]] = {name: [] for name in names}
            for number in range(rounds):
                # In turn, so that a change of the machine's mood meets all of them.
                for name in names:
                    directory = root / f"{case.name[:8]}{number}{name[0]}"
                    directory.mkdir()
                    runs[name].append(_run_once(case, name, directory, sites, scale))
            results[case.name] = {name: _median(each) for name, each in runs.items() if each}
            print(report.row(case, results[case.name]), file=sys.stderr, flush=True)
    finally:
        sites.nginx.stop()
        sites.holding.stop()
        shutil.rmtree(root, ignore_errors=True)
    return results


def _run_once(case: Case, name: str, directory: Path, sites: Sites, scale: float) -> Result:
    daemon = Daemon(name, directory, case.extra)
    worker = Worker(daemon)
    try:
        return case.run(worker, sites, scale)
    except zmq.Again:
        raise SystemExit(f"{name}, {case.name}: an answer did not come") from None
    finally:
        worker.close()
        daemon.stop()


def _median(runs: list[Result]) -> Result:
    """The run with the median CPU cost."""
    middle = statistics.median_low([run.cpu_each for run in runs])
    return next(run for run in runs if run.cpu_each == middle)


if __name__ == "__main__":
    main()
