"""What others feel of WebSocket floods, as a table: python -m tests.labs.faults.websocket_report.

With ``--kind zurl`` for Debian's. The figures are good for a machine that does nothing else.
"""

from __future__ import annotations

import argparse
from typing import Any

from tests.labs.faults.bystanders import percentile
from tests.labs.faults.websocket_lab import Lab

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
_SECONDS = 3.0


def _row(lab: Lab, fault: str, fields: dict[str, Any]) -> str:
    player = lab.start(fault, **fields)
    lab.others.begin(_SECONDS)
    lab.play([player], player.cancel, seconds=_SECONDS * 10, after=_SECONDS)
    times = lab.others.times()
    median, worst = percentile(times, 0.5) * 1000, percentile(times, 0.99) * 1000
    what = ", ".join(f"{key} {value}" for key, value in fields.items())
    grown = (lab.daemon.memory() - lab.memory) / 1e6
    return f"| {fault} ({what}) | {len(times)} | {median:.2f} | {worst:.2f} | {grown:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kind", default="ours", choices=("ours", "zurl"))
    lab = Lab(parser.parse_args().kind)
    try:
        usual = lab.others.usual
        print("| attack | others' requests | median, ms | p99, ms | memory grown, MB |")
        print("|---|---|---|---|---|")
        print(
            f"| none | {len(usual)} | {percentile(usual, 0.5) * 1000:.2f}"
            f" | {percentile(usual, 0.99) * 1000:.2f} | 0 |"
        )
        for fault, fields in ATTACKS:
            print(_row(lab, fault, fields), flush=True)
    finally:
        lab.close()


if __name__ == "__main__":
    main()
