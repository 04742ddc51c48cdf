"""The checker. It reads what senders were told and what the receiver got, and nothing else."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.labs.killing.receiver import PAUSE

__all__ = ["Figures", "Violation", "check"]


class Violation(AssertionError):
    """What was promised and not kept."""


@dataclass
class Figures:
    """What the logs say.

    Attributes:
        acknowledged: messages that a sender was told are on disk.
        arrived: of which so many came.
        duplicates: arrivals beyond the first that was answered with 2xx.
    """

    acknowledged: int
    arrived: int
    dead: int
    duplicates: int


@dataclass
class Arrival:
    time: float
    path: str
    id: str
    key: str
    number: int
    code: int
    good: bool


def check(sent: Path, received: Path, dead: Iterable[str], most_duplicates: int) -> Figures:
    """Check the promises.

    Args:
        sent: a line for each acknowledged message: id and path of the endpoint.
        received: the receiver's log.
        dead: ids that ended without being delivered, as ``deliver`` lists them.
        most_duplicates: deliveries in flight at all crashes together.

    Raises:
        Violation: one is broken.
    """
    acknowledged = [json.loads(line) for line in _lines(sent)]
    arrivals = [Arrival(*json.loads(line)) for line in _lines(received)]
    taken = {item.id for item in arrivals if 200 <= item.code < 300}
    ended = taken | set(dead)
    lost = [id for id, _ in acknowledged if id not in ended]
    if lost:
        raise Violation(f"{len(lost)} acknowledged messages are lost: {lost[:10]}")
    forged = [item for item in arrivals if not item.good]
    if forged:
        raise Violation(f"{len(forged)} signatures are wrong: {forged[:3]}")
    duplicates = _count_duplicates(arrivals)
    if duplicates > most_duplicates:
        raise Violation(f"{duplicates} duplicates, {most_duplicates} were in flight at the crashes")
    _check_order(arrivals)
    _check_gone(arrivals)
    _check_pauses(arrivals)
    return Figures(len(acknowledged), len(taken), len(set(dead)), duplicates)


def _lines(path: Path) -> Iterator[str]:
    with path.open() as file:
        for line in file:
            if line.endswith("\n"):
                yield line


def _count_duplicates(arrivals: list[Arrival]) -> int:
    seen: set[str] = set()
    duplicates = 0
    for item in arrivals:
        if item.id in seen:
            duplicates += 1
        elif 200 <= item.code < 300:
            seen.add(item.id)
    return duplicates


def _check_order(arrivals: list[Arrival]) -> None:
    """Of each ordered key, one comes for the first time only when the one before was taken."""
    last: dict[str, int] = {}
    for item in arrivals:
        if item.path != "/ordered":
            continue
        before = last.get(item.key, -1)
        if item.number > before + 1:
            raise Violation(
                f"key {item.key}: {item.number} came, the last that was taken is {before}"
            )
        if 200 <= item.code < 300:
            last[item.key] = max(before, item.number)


def _check_gone(arrivals: list[Arrival]) -> None:
    """After a 410 nothing comes but the message that it answered, where a crash lost the answer."""
    gone: set[str] = set()
    for item in arrivals:
        if item.path != "/gone":
            continue
        if gone and item.id not in gone:
            raise Violation(f"{item.id} came after 410")
        if item.code == 410:
            gone.add(item.id)


def _check_pauses(arrivals: list[Arrival]) -> None:
    """Before its Retry-After an endpoint gets nothing.

    But for the same message: it comes again where a crash lost the answer, and then nobody knows
    of the pause.
    """
    until: dict[str, tuple[float, str]] = defaultdict(lambda: (0.0, ""))
    for item in arrivals:
        end, id = until[item.path]
        if item.id == id:
            until[item.path] = (0.0, "")
        elif item.time < end - 0.05:
            raise Violation(f"{item.id} came {end - item.time:.2f} s before Retry-After")
        if item.code == 503:
            until[item.path] = (item.time + PAUSE, item.id)
