"""Random WebSocket sessions for as long as is wanted, with books kept of every one.

    python -m tests.labs.faults.websocket_soak --seconds 600 --seed 7

Origins and workers are drawn by chance from the laboratory's, the same for the same seed: how they
behave, when they close, cancel or say what they may not. Each session has to have one end, and
afterwards the gateway is where it was.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.labs.faults.websocket_lab import Lab, Player
from tests.labs.faults.websocket_origins import FAULTS

__all__ = ["soak"]

_TOGETHER = 30  # sessions in one round
_NUMBERS = 350  # a fault's number is below this

_MISDEEDS: tuple[dict[str, Any], ...] = (
    {"body": b"\xff\xfe"},
    {"body": "text", "more": True},
    {"body": b"x" * 300_000, "content_type": "binary"},
    {"body": "x", "seq": 1000},
    {"type": "ping", "body": "x" * 126},
    {"type": "ping", "body": "p"},
    {"type": "close", "code": 1005},
    {"type": "close", "code": 4999, "body": "why not"},
    {"type": "credit", "credits": 2**40},
    {"type": "credit", "credits": -(2**40)},
    {"type": "error", "condition": "so what"},
    {"type": "handoff-start"},
)


def _first_fields(chance: random.Random) -> dict[str, Any]:
    fields: dict[str, Any] = {"credits": chance.choice((0, 1, 1000, 200_000, 10**9))}
    if chance.random() < 0.3:
        fields["timeout"] = chance.randrange(0, 2000)
    if chance.random() < 0.2:
        fields["ext"] = {"auto-pong": True}
    if chance.random() < 0.3:
        fields["user_data"] = {"n": chance.randrange(1000)}
    return fields


def _begin(lab: Lab, chance: random.Random) -> Player:
    fault = chance.choice(sorted(FAULTS))
    pay = chance.random() < 0.7
    player = lab.start(fault, chance.randrange(_NUMBERS), pay=pay, **_first_fields(chance))
    if chance.random() < 0.2:  # before the handshake's outcome
        _misbehave(player, chance)
    return player


def _misbehave(player: Player, chance: random.Random) -> None:
    fields = chance.choice(_MISDEEDS)
    if fields.get("type") == "close" and fields.get("code") == 4999:
        player.outcome.closed_by_us = True
    player.session.send(**fields)


def _interfere(players: list[Player], chance: random.Random) -> None:
    """What workers do on their own account in the middle of it."""
    for player in players:
        draw = chance.random()
        if draw < 0.2:
            _misbehave(player, chance)
        elif draw < 0.6:
            player.close()
        else:
            player.cancel()


def soak(lab: Lab, seconds: float, seed: int) -> Counter[str]:
    """Plays rounds until the time is over; how the sessions ended."""
    chance = random.Random(seed)
    ends: Counter[str] = Counter()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        players = [_begin(lab, chance) for _ in range(_TOGETHER)]
        then: Callable[[], None] = lambda: _interfere(players, chance)  # noqa: B023, E731
        lab.play_for(players, chance.uniform(0.05, 0.6), then)
        ends.update(player.outcome.condition for player in players)
    lab.assert_nothing_left()
    return ends


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    lab = Lab()
    try:
        ends = soak(lab, arguments.seconds, arguments.seed)
        print(f"{ends.total()} sessions, each with one end: {dict(ends.most_common())}")
        print(f"memory grown: {(lab.daemon.memory() - lab.memory) / 1e6:.0f} MB")
    finally:
        lab.close()


if __name__ == "__main__":
    main()
