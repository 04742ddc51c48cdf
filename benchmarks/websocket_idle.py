"""What open WebSockets cost that have nothing to say: memory each, CPU time per minute.

usage: python -m benchmarks.websocket_idle [--count 2000] [--seconds 60] [--compression]

The worker sends a keep-alive for each connection every 25 seconds, as real ones do, so that they
stay; the daemon sends its own.
"""

import argparse
import multiprocessing
import resource
import time

from benchmarks.websocket_echo import Load, origin
from tests.support import Daemon, Worker

_KEEP_ALIVE_INTERVAL = 25.0


def rest(load: Load, seconds: float) -> None:
    """Keep all connections open for a while, doing nothing with them."""
    end = time.monotonic() + seconds
    due = time.monotonic() + _KEEP_ALIVE_INTERVAL
    while (now := time.monotonic()) < end:
        if now >= due:
            due = now + _KEEP_ALIVE_INTERVAL
            for id in load.seqs:
                load.send(id, type=b"keep-alive")
        if load.sub.poll(int(1000 * max(0.0, min(end, due) - now))):
            load.sub.recv()


def measure(kind: str, port: int, count: int, seconds: float, compression: bool) -> None:
    """Print what ``count`` idle connections cost a daemon."""
    settings = {"websocket_compression": "true"} if compression and kind == "ours" else {}
    with Daemon(kind=kind, arguments=("--loglevel=1",), max_open_requests=100_000, **settings) as d:
        Worker(d).ready().close()
        load = Load(d)
        load.open(port, 10)
        before = d.memory()
        load.seqs.clear()
        load.open(port, count, first=10)
        memory = d.memory() - before
        cpu = d.cpu_seconds()
        rest(load, seconds)
        cpu = d.cpu_seconds() - cpu
        print(
            f"  {kind:5} {memory / count / 1024:6.1f} KiB per connection, "
            f"{cpu * 60 / seconds:6.2f} s of CPU per minute"
        )
        load.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--compression", action="store_true")
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=origin, args=(theirs,), daemon=True)
    process.start()
    port = ours.recv()
    print(f"{arguments.count} idle connections")
    for kind in ("ours", "zurl"):
        measure(kind, port, arguments.count, arguments.seconds, arguments.compression)
    process.terminate()


if __name__ == "__main__":
    main()
