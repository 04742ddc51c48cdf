"""``python -m benchmarks``: run the cases, print the table, write it down."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from . import report
from .cases import CASES, Case, Setting
from .daemons import Daemon, available, raise_descriptor_limit
from .driver import Result
from .origin import Sites, running_sites

_QUICK = 0.005  # share of the requests in a smoke run
_DOCS = Path(__file__).resolve().parent.parent / "docs"

Results = dict[str, dict[str, Result]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("cases", nargs="*", help="names, or beginnings of names, of cases; or all")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each; medians count")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the requests")
    parser.add_argument("--quick", action="store_true", help="a smoke run that measures nothing")
    parser.add_argument("--daemons", help="ours,zurl,condure,floor; all that are here if left out")
    parser.add_argument(
        "--write",
        type=Path,
        nargs="?",
        const=_DOCS,
        help="folder of benchmarks.md and of its plots; cases that are not run keep their numbers",
    )
    options = parser.parse_args()
    chosen = [c for c in CASES if c.name.startswith(tuple(options.cases) or "")]
    if not chosen:
        parser.error(f"no such case; there are {', '.join(case.name for case in CASES)}")
    if options.list:
        print("\n".join(case.name for case in chosen))
        return
    if not shutil.which("caddy"):
        print("versions is skipped: caddy is not installed (make peers)", file=sys.stderr)
        chosen = [case for case in chosen if case.group != "versions"]
    raise_descriptor_limit()
    versions = available()
    if options.daemons:
        names = options.daemons.split(",")
        versions = {name: version for name, version in versions.items() if name in names}
    rounds = 1 if options.quick else options.rounds
    results: Results = {}
    scale = _QUICK if options.quick else options.scale
    for case, found in _run(chosen, list(versions), rounds, scale):
        results[case.name] = found
        if options.write is not None:
            report.write(options.write, {case.name: found}, versions)
    print(report.tables(chosen, results))


def _run(
    cases: list[Case], daemons: list[str], rounds: int, scale: float
) -> Iterator[tuple[Case, dict[str, Result]]]:
    with running_sites() as (root, sites):
        for case in cases:
            found = _measure(case, daemons, rounds, scale, root, sites)
            print(report.progress(case, found), file=sys.stderr, flush=True)
            yield case, found


def _measure(
    case: Case, daemons: list[str], rounds: int, scale: float, root: Path, sites: Sites
) -> dict[str, Result]:
    names = [name for name in case.daemons if name in daemons]
    runs: dict[str, list[Result]] = {name: [] for name in names}
    for number in range(min(rounds, case.rounds)):
        # In turn, each time another one first: so a change of the machine's mood meets all of them.
        first = number % len(names) if names else 0
        for name in names[first:] + names[:first]:
            directory = root / name
            directory.mkdir()
            daemon = Daemon(name, directory, sites.ca_file, case.buffer_size)
            try:
                runs[name].append(case.run(Setting(daemon, sites, scale)))
            except SystemExit as error:
                # A peer may lose an answer now and then; ours must not.
                if name == "ours":
                    raise
                print(f"{case.name}: a run of {name} is left out: {error}", file=sys.stderr)
            finally:
                daemon.stop()
                shutil.rmtree(directory)
    return {name: Result.middle(each) for name, each in runs.items() if each}


if __name__ == "__main__":
    main()
