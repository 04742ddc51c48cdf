"""What others feel of attacks, as a table: python -m tests.labs.faults.isolation.

With ``--kind zurl`` for Debian's. The figures are good for a machine that does nothing else, or as
root with ``--realtime``: bystanders get a processor first (``sched(7)``, SCHED_RR), then the
daemon, then the attackers, and then what else the machine does.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.labs.faults import lab as http_lab
from tests.labs.faults import origin
from tests.labs.faults.bystanders import Took, percentile
from tests.labs.faults.origin import CODINGS
from tests.labs.faults.websocket_lab import Lab
from tests.support import ScriptedOrigin

ATTACKS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("flood-pings", {"ext": {"auto-pong": True}}),
    ("flood-pings", {"credits": 0}),
    ("flood-pongs", {"credits": 1000}),
    ("flood-messages", {"credits": 1_000_000_000}),
    ("flood-fragments", {"credits": 1_000_000_000}),
    ("flood-bytes", {"credits": 1_000_000}),
    ("bomb", {"credits": 1_000_000}),
    ("bomb-of-nothing", {"credits": 1_000_000}),
)
"""WebSockets: the origin's fault, and fields of the worker's first packet."""

_ENDLESS = (
    *("head", "interim heads", "body", "redirect's body", "trailers"),
    *("chunks of one byte", "chunk extension", "reason"),
)
# The origin's fault, its number if only one is wanted, and what it is.
_FAULTS: tuple[tuple[str, int | None, str], ...] = (
    *(("bomb", number, f"bomb of {name}") for number, name in enumerate(CODINGS)),
    *(("endless", number, f"endless {name}") for number, name in enumerate(_ENDLESS)),
    *((name, None, name) for name in ("trickle", "reset", "stall", "redirects", "early")),
)
_SECONDS = 3.0
# Bystanders have an origin at 127.0.0.1: the gateway treats addresses by what they have sent.
_ELSEWHERE = "127.0.0.2"
_AT_ONCE = 100  # packets of a worker that does not wait for answers


def _websockets(lab: Lab) -> Iterator[tuple[str, Callable[[], None]]]:
    for fault, fields in ATTACKS:

        def play(fault: str = fault, fields: dict[str, Any] = fields) -> None:
            player = lab.start(fault, **fields)
            lab.play([player], player.cancel, seconds=_SECONDS * 10, after=_SECONDS)

        what = ", ".join(f"{key} {value}" for key, value in fields.items())
        yield f"WebSocket: {fault} ({what})", play


def _origins(asker: http_lab.Lab) -> Iterator[tuple[str, Callable[[], None]]]:
    for fault, number, name in _FAULTS:

        def play(fault: str = fault, number: int | None = number) -> None:
            end = time.monotonic() + _SECONDS
            numbers = list(range(40)) if number is None else [number] * 40
            with ScriptedOrigin(origin.script, host=_ELSEWHERE) as served:
                while time.monotonic() < end:
                    asker.play(http_lab.wants_of(served, fault, numbers, http_lab.WAYS))
                served.errors.clear()

        yield f"HTTP: 40 at once, {name}", play


def _workers(asker: http_lab.Lab) -> Iterator[tuple[str, Callable[[], None]]]:
    def flood(uri: str) -> None:
        end, number, worker = time.monotonic() + _SECONDS, 0, asker.worker
        while time.monotonic() < end:
            for _ in range(_AT_ONCE):
                number += 1
                worker.push({"from": worker.address, "id": b"f%d" % number, "uri": uri, "seq": 0,
                             "method": "GET", "credits": 1000})  # fmt: skip
            worker.drain()
            worker._queues.clear()
            worker._order.clear()
            worker.received.clear()

    yield "worker: packets without end", lambda: flood("x-probe:")
    with ScriptedOrigin(origin.script, host=_ELSEWHERE) as served:
        yield "worker: requests without end", lambda: flood(served.url("/fine/0"))
        served.errors.clear()


def _row(lab: Lab, name: str, play: Callable[[], None]) -> str:
    lab.others.begin(_SECONDS)
    play()
    times = lab.others.times()
    grown = (lab.daemon.memory() - lab.memory) / 1e6
    return _line(name, times, f"{grown:.0f}")


def _line(name: str, times: list[Took], grown: str) -> str:
    seconds = [each.seconds for each in times]
    median, worst = percentile(seconds, 0.5) * 1000, percentile(seconds, 0.99) * 1000
    return f"| {name} | {len(times)} | {median:.2f} | {worst:.2f} | {grown} |"


def _set_priority(pid: int, priority: int) -> None:
    for task in os.listdir(f"/proc/{pid}/task"):
        os.sched_setscheduler(int(task), os.SCHED_RR, os.sched_param(priority))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kind", default="ours", choices=("ours", "zurl"))
    parser.add_argument("--realtime", action="store_true")
    options = parser.parse_args()
    if options.realtime:
        _set_priority(os.getpid(), 1)
    lab = Lab(options.kind)
    asker = http_lab.Lab(lab.daemon)
    try:
        if options.realtime:
            _set_priority(lab.daemon.pid, 2)
            _set_priority(lab.others.pid, 3)
        lab.others.learn_usual(_SECONDS)
        print("| attack | others' requests | median, ms | p99, ms | memory grown, MB |")
        print("|---|---|---|---|---|")
        print(_line("none", lab.others.usual, "0"))
        for attacks in (_websockets(lab), _origins(asker), _workers(asker)):
            for name, play in attacks:
                print(_row(lab, name, play), flush=True)
    finally:
        asker.close()
        lab.close()


if __name__ == "__main__":
    main()
