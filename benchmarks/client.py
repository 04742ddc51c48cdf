"""What the client library costs beside httpx, which asks the origin itself.

usage: python -m benchmarks.client [--rounds 5] [--scale 1]

One at a time: wall time and the client's processor time, all of its threads, per request. A hundred
at once, with asyncio: requests per second. The origin is nginx on loopback. Rounds of all take
turns, and medians count.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

import zurl_py.client.httpx
from zurl_py.client import AsyncClient, Client

from .daemons import Daemon
from .origin import Sites

_AT_ONCE = 100


@dataclass(frozen=True)
class Cost:
    """Of one request: microseconds of wall time, and of the client's processor time."""

    wall: float
    processor: float


def _measured(count: int, work: Callable[[], object]) -> Cost:
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return Cost(
        (time.perf_counter() - wall) / count * 1e6,
        (time.process_time() - processor) / count * 1e6,
    )


def _in_turn(get: Callable[[str], object], url: str, count: int) -> Cost:
    for _ in range(20):
        get(url)

    def work() -> None:
        for _ in range(count):
            get(url)

    return _measured(count, work)


async def _many(client: httpx.AsyncClient | AsyncClient, url: str, count: int) -> None:
    """As many workers as requests are to be under way at once."""
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            await client.get(url)

    await asyncio.gather(*(worker() for _ in range(_AT_ONCE)))


def _at_once(made: Callable[[], httpx.AsyncClient | AsyncClient], url: str, count: int) -> Cost:
    async def run() -> Cost:
        client = made()
        await _many(client, url, 2 * _AT_ONCE)
        wall, processor = time.perf_counter(), time.process_time()
        await _many(client, url, count)
        cost = Cost(
            (time.perf_counter() - wall) / count * 1e6,
            (time.process_time() - processor) / count * 1e6,
        )
        await client.aclose()
        return cost

    return asyncio.run(run())


def _cases(conf: str, url: str, scale: float) -> dict[str, Callable[[], Cost]]:
    singles, many = max(20, round(2000 * scale)), max(200, round(6000 * scale))
    limits = httpx.Limits(max_connections=_AT_ONCE, max_keepalive_connections=_AT_ONCE)

    def direct() -> Cost:
        with httpx.Client() as client:
            return _in_turn(client.get, url, singles)

    def ours() -> Cost:
        with Client(conf) as client:
            return _in_turn(client.get, url, singles)

    def adapted() -> Cost:
        with zurl_py.client.httpx.Client(conf) as client:
            return _in_turn(client.get, url, singles)

    return {
        "one at a time: httpx.Client": direct,
        "one at a time: zurl_py.client": ours,
        "one at a time: httpx with our transport": adapted,
        "100 at once: httpx.AsyncClient": lambda: _at_once(
            lambda: httpx.AsyncClient(limits=limits, timeout=60), url, many
        ),
        "100 at once: zurl_py.client": lambda: _at_once(lambda: AsyncClient(conf), url, many),
        "100 at once: httpx with our transport": lambda: _at_once(
            lambda: zurl_py.client.httpx.AsyncClient(conf, timeout=60), url, many
        ),
    }


def measure(rounds: int, scale: float) -> dict[str, Cost]:
    """The medians of all cases."""
    with (
        tempfile.TemporaryDirectory(prefix="zb-") as scratch,
        tempfile.TemporaryDirectory(prefix="zb-") as home,
    ):
        sites = Sites(Path(scratch))
        daemon = Daemon("ours", Path(home), sites.ca_file)
        try:
            url = f"http://127.0.0.1:{sites.plain}/hello"
            cases = _cases(f"{home}/zurl.conf", url, scale)
            found: dict[str, list[Cost]] = {name: [] for name in cases}
            for _ in range(rounds):
                for name, run in cases.items():
                    found[name].append(run())
        finally:
            daemon.stop()
            sites.stop()
    return {
        name: Cost(
            statistics.median(cost.wall for cost in costs),
            statistics.median(cost.processor for cost in costs),
        )
        for name, costs in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.client", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the requests")
    options = parser.parse_args()
    print("| case | µs per request | client's CPU, µs | requests per second |")
    print("|---|---|---|---|")
    for name, cost in measure(options.rounds, options.scale).items():
        print(f"| {name} | {cost.wall:.0f} | {cost.processor:.0f} | {1e6 / cost.wall:,.0f} |")


if __name__ == "__main__":
    main()
