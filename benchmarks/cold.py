"""What a request costs where the daemon has slept before it, and how much memory it goes through.

usage: python -m benchmarks.cold [--rate 200] [--seconds 20] [--daemons ours,zurl]

All daemons run at the same time and get a request each in turn, so a change of the machine's mood
meets all of them alike. Then, for a few single requests, the pages of memory that the kernel has
seen the daemon use: by what is in them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zmq

from .cases import request_message
from .daemons import Daemon, available
from .origin import running_sites

_PARTS = 5  # of a run; their medians count
_PATIENCE = 20_000  # milliseconds until a lost answer is noticed
_SAMPLES = 5  # requests whose pages are counted
_SETTLED = 0.7  # seconds; what a daemon does later, such as to write its log, is done by then
_MOST_ROWS = 12
_KIB_PER_PAGE = 4


class Client:
    """One daemon, and the socket by which it is asked."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], daemon: Daemon, url: str) -> None:
        self.daemon = daemon
        self._message = request_message(daemon.name, "J", url)
        self._socket = context.socket(zmq.REQ)
        self._socket.setsockopt(zmq.RCVTIMEO, _PATIENCE)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(f"{daemon.endpoints}req")

    def ask(self) -> None:
        """One request."""
        self._socket.send(self._message)
        self._socket.recv()

    def close(self) -> None:
        """Leave, and end the daemon."""
        self._socket.close()
        self.daemon.stop()

    def pages(self) -> Counter[str]:
        """The pages that one request uses, by what is in them."""
        process = Path(f"/proc/{self.daemon.pid}")
        (process / "clear_refs").write_text("1")  # all pages are unused now
        self.ask()
        found: Counter[str] = Counter()
        kind = ""
        for line in (process / "smaps").read_text().splitlines():
            words = line.split()
            if words[0] == "Referenced:":
                found[kind] += int(words[1]) // _KIB_PER_PAGE
            elif not words[0].endswith(":"):
                kind = _kind(words)
        return found


def _kind(mapping: list[str]) -> str:
    """What a mapping of /proc/PID/smaps holds."""
    path = mapping[5] if len(mapping) > 5 else ""
    if not path.startswith("/"):
        return "stacks" if path == "[stack]" else "the heap"
    return f"{Path(path).name.partition('.so')[0]}, {'code' if 'x' in mapping[1] else 'data'}"


def in_turn(clients: list[Client], rate: float, count: int) -> None:
    """Ask each of the daemons ``rate`` times a second, ``count`` times in all."""
    when, interval = time.monotonic(), 1 / rate / len(clients)
    for _ in range(count):
        for client in clients:
            client.ask()
            when = max(when + interval, time.monotonic())
            time.sleep(max(0.0, when - time.monotonic()))


def measure(clients: list[Client], rate: float, seconds: float) -> list[list[float]]:
    """Microseconds of processor time of a request, of each daemon, in each part of the run."""
    count = max(1, int(rate * seconds / _PARTS))
    in_turn(clients, rate, count)
    costs: list[list[float]] = [[] for _ in clients]
    for _ in range(_PARTS):
        before = [client.daemon.cpu() for client in clients]
        in_turn(clients, rate, count)
        for cost, client, start in zip(costs, clients, before, strict=True):
            cost.append((client.daemon.cpu() - start) / count * 1e6)
    return costs


def _print_costs(clients: list[Client], costs: list[list[float]]) -> None:
    peer = costs[-1]
    for client, cost in zip(clients, costs, strict=True):
        ratio = statistics.median(own / other for own, other in zip(cost, peer, strict=True))
        print(
            f"{client.daemon.name}: {statistics.median(cost):.0f} µs "
            f"({min(cost):.0f} to {max(cost):.0f}), {ratio:.2f} × {clients[-1].daemon.name}"
        )


def _print_pages(client: Client) -> None:
    samples = []
    for _ in range(_SAMPLES):
        time.sleep(_SETTLED)
        samples.append(client.pages())
    kinds = {kind for sample in samples for kind in sample}
    middle = {kind: int(statistics.median(s[kind] for s in samples)) for kind in kinds}
    rows = sorted(middle.items(), key=lambda row: -row[1])[:_MOST_ROWS]
    print(f"{client.daemon.name}: {sum(middle.values())} pages for a request")
    print("\n".join(f"    {count:5} {kind}" for kind, count in rows if count))


@contextmanager
def _started(names: list[str]) -> Iterator[list[Client]]:
    clients: list[Client] = []
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with running_sites() as (root, sites):
        try:
            for name in names:
                (root / name).mkdir()
                daemon = Daemon(name, root / name, sites.ca_file)
                clients.append(Client(context, daemon, f"http://127.0.0.1:{sites.plain}/hello"))
            yield clients
        finally:
            for client in clients:
                client.close()


def main() -> None:
    """Measure, and print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cold", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rate", type=float, default=200, help="a second, for each daemon")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--daemons", default="ours,zurl")
    options = parser.parse_args()
    there = available()
    names = [name for name in options.daemons.split(",") if name in there]
    with _started(names) as clients:
        _print_costs(clients, measure(clients, options.rate, options.seconds))
        for client in clients:
            _print_pages(client)


if __name__ == "__main__":
    main()
