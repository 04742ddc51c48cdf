"""Runs the laboratory: python -m tests.labs.faults [ours|zurl] [--seconds N] [--seed N]."""

from __future__ import annotations

import argparse
import random
import time

from tests.labs.faults import origin
from tests.labs.faults.lab import WAYS, Lab, Want, some, wants_of
from tests.support import Daemon, ScriptedOrigin


def main() -> None:
    """Every fault once, or mixes of all for so many seconds."""
    parser = argparse.ArgumentParser(prog="python -m tests.labs.faults")
    parser.add_argument("kind", nargs="?", default="ours", choices=("ours", "zurl"))
    parser.add_argument("--seconds", type=float, default=0.0, help="mixes for so long")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with Daemon(kind=options.kind, arguments=("--loglevel=2",), timeout=10) as daemon:
        lab = Lab(daemon)
        if options.seconds:
            _soak(lab, chance, time.monotonic() + options.seconds)
        else:
            for fault, (_, count) in origin.FAULTS.items():
                with ScriptedOrigin(origin.script) as served:
                    numbers = some(chance, count, 200)
                    print(
                        f"{fault}: {lab.play(wants_of(served, fault, numbers, WAYS))}", flush=True
                    )
                    served.errors.clear()
        lab.close()


def _soak(lab: Lab, chance: random.Random, end: float) -> None:
    while time.monotonic() < end:
        with ScriptedOrigin(origin.script) as served:
            wants = [_by_chance(served, chance) for _ in range(2000)]
            books = lab.play(wants, at_once=100)
            served.errors.clear()
        print(books, flush=True)
        assert not books.unanswered, books.unanswered
        assert not books.doubled, books.doubled


def _by_chance(served: ScriptedOrigin, chance: random.Random) -> Want:
    fault, (_, count) = chance.choice(list(origin.FAULTS.items()))
    return Want(served.url(f"/{fault}/{chance.randrange(count)}"), chance.choice(WAYS))


if __name__ == "__main__":
    main()
