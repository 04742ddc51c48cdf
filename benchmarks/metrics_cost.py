"""What metrics cost per request, on and off in one run: python -m benchmarks.metrics_cost.

A daemon with ``metrics_listen`` and one without it take turns. Beside that, the hot path by itself,
and what a scrape takes of the loop.
"""

from __future__ import annotations

import argparse
import shutil
import timeit
from functools import partial
from pathlib import Path
from statistics import median

from zurl_py.metrics import OPENMETRICS, TEXT, Metrics, render

from .daemons import Daemon, raise_descriptor_limit
from .driver import drive, encode
from .origin import running_sites


class _Watched(Daemon):
    """Ours, with the status listener."""

    def _command(self, ca_file: Path) -> list[str]:
        command = super()._command(ca_file)
        with (self.directory / "zurl.conf").open("a") as config:
            config.write(f"metrics_listen=unix:{self.directory}/status\n")
        return command


def measure(rounds: int, count: int) -> None:
    """Print the medians of CPU time per request."""
    found: dict[str, list[float]] = {"off": [], "on": []}
    kinds: dict[str, type[Daemon]] = {"off": Daemon, "on": _Watched}
    with running_sites() as (root, sites):
        uri = f"http://127.0.0.1:{sites.plain}/hello"
        message = encode("J", {"id": "1", "method": "GET", "uri": uri, "headers": []})
        for number in range(rounds):
            # In turn, each time another one first.
            for name in ("off", "on") if number % 2 else ("on", "off"):
                directory = root / name
                directory.mkdir()
                daemon = kinds[name]("ours", directory, sites.ca_file)
                try:
                    result = drive(daemon, "req", [message], count, 100, count // 20)
                    found[name].append(result.cpu_each)
                finally:
                    daemon.stop()
                    shutil.rmtree(directory)
    for name, values in found.items():
        spread = f"{min(values):.1f} to {max(values):.1f}"
        print(f"metrics {name:3}  {median(values):6.2f} µs per request, of {spread}")
    print(f"difference  {median(found['on']) - median(found['off']):6.2f} µs")


def measure_parts() -> None:
    """Print what the slots take by themselves, and an exposition."""
    metrics = Metrics()

    def request() -> None:
        metrics.open[1] += 1  # as the journal does
        metrics.ended(1, 0, "2xx", 0.004)
        metrics.observe_turn(0.0002)  # in which values are sorted into buckets now and then

    runs = 100_000
    print(f"slots, with a turn  {1e6 * min(timeit.repeat(request, number=runs)) / runs:6.2f} µs")
    for name, kind in (("text", TEXT), ("OpenMetrics", OPENMETRICS)):
        seconds = min(timeit.repeat(partial(scrape, metrics, kind), number=20))
        print(f"a scrape, {name:11}{1e3 * seconds / 20:6.2f} ms")


def scrape(metrics: Metrics, kind: str) -> bytes:
    """What ``/metrics`` has to do."""
    return render(metrics.families(), kind)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrics_cost", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=20_000)
    options = parser.parse_args()
    raise_descriptor_limit()
    measure_parts()
    measure(options.rounds, options.requests)


if __name__ == "__main__":
    main()
