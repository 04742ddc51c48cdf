"""Asks for faults, many at once, and keeps books of what comes back."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.support import Daemon, ScriptedOrigin, Worker
from tests.support.messages import Message
from tests.support.worker import NoAnswer

__all__ = ["Books", "Lab", "Want"]

_GRACE = 20.0  # seconds behind its timeout until a request is unanswered, on a machine that is busy
_SETTLED = 40_000_000  # bytes
_KEPT = 45  # connections that are kept for the next request
_QUIET = 0.3  # seconds in which a second final answer would have come


@dataclass(frozen=True)
class Want:
    """One request.

    Attributes:
        uri: of the fault.
        way: "whole" (request interface), "stream", "upload" or "cancel" (streaming interface).
        timeout: milliseconds that it may take.
    """

    uri: str
    way: str
    timeout: int = 1500


WAYS = ("whole", "stream", "upload", "cancel")


@dataclass
class Books:
    """What came of the requests.

    Attributes:
        asked: by way.
        finals: final answers by what they were: a code or a condition.
        unanswered, doubled: the requests that had none, or more than one.
        slowest: seconds that the gateway was busy while others waited for an answer which needs no
            origin, at most. Of its processor time: the clock counts what else the machine does.
        probes: how often others asked.
        peak: bytes of memory that the gateway had at most, more than at the start.
    """

    asked: Counter[str] = field(default_factory=Counter)
    finals: Counter[str] = field(default_factory=Counter)
    unanswered: list[Want] = field(default_factory=list)
    doubled: list[Want] = field(default_factory=list)
    slowest: float = 0.0
    probes: int = 0
    peak: int = 0

    def __str__(self) -> str:
        finals = ", ".join(f"{what} {count}" for what, count in self.finals.most_common())
        return (
            f"{self.asked.total()} asked ({dict(self.asked)}): {finals}; "
            f"{len(self.unanswered)} unanswered, {len(self.doubled)} doubled; "
            f"others waited for {self.slowest * 1000:.0f} ms of work at most in {self.probes} "
            f"tries; memory {self.peak / 1e6:+.0f} MB at the peak"
        )


class Lab:
    """A gateway with one worker that asks, and one that only looks whether it is alive."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.worker = Worker(daemon, address=b"asker").ready()
        self.other = Worker(daemon, address=b"other").ready()
        self._number = 0
        self._memory, self._descriptors = daemon.memory(), daemon.descriptors()

    def close(self) -> None:
        """Close the workers' sockets."""
        self.worker.close()
        self.other.close()

    def play(self, wants: list[Want], at_once: int = 40) -> Books:
        """Ask for all of these, so many at once."""
        books = Books()
        for at in range(0, len(wants), at_once):
            self._batch(wants[at : at + at_once], books)
        return books

    def settled(self, seconds: float = 15.0) -> tuple[int, int]:
        """Bytes and descriptors that the gateway has more than at the start, after some time."""
        end = time.monotonic() + seconds
        while True:  # connections linger, and memory is given back at times
            memory = self.daemon.memory() - self._memory
            descriptors = self.daemon.descriptors() - self._descriptors
            if (memory < _SETTLED and descriptors <= _KEPT) or time.monotonic() > end:
                return memory, descriptors
            time.sleep(0.2)

    def _batch(self, wants: list[Want], books: Books) -> None:
        open_: dict[bytes, Want] = {}
        for want in wants:
            self._number += 1
            id = b"%d" % self._number
            self._ask(id, want)
            books.asked[want.way] += 1
            if want.way != "cancel":
                open_[id] = want
        done: dict[bytes, Want] = {}
        end = time.monotonic() + max(want.timeout for want in wants) / 1000 + _GRACE
        quiet_until: float | None = None
        while time.monotonic() < (quiet_until or end):
            for message in self._received():
                self._count(message, open_, done, books)
            self._probe(books)
            books.peak = max(books.peak, self.daemon.memory() - self._memory)
            if not open_ and quiet_until is None:
                quiet_until = time.monotonic() + _QUIET
        books.unanswered += open_.values()

    def _ask(self, id: bytes, want: Want) -> None:
        fields: dict[str, Any] = {
            "id": id, "method": "GET", "uri": want.uri, "timeout": want.timeout,
            "follow-redirects": True, "max-size": 10_000_000,
        }  # fmt: skip
        worker = self.worker
        if want.way == "whole":
            worker.send_req(fields)
            return
        fields |= {"from": worker.address, "seq": 0, "stream": True, "credits": 15_000_000}
        if want.way == "upload":
            fields |= {"method": "POST", "more": True, "body": b"x" * 1000}
        worker.push(fields)
        later = {"from": worker.address, "id": id, "seq": 1}
        if want.way == "upload":
            worker.follow({**later, "body": b"y" * 150_000})
        elif want.way == "cancel":
            worker.follow({**later, "type": "cancel"})

    def _received(self) -> list[Message]:
        worker, messages = self.worker, []
        while worker.dealer.poll(0):
            messages.append(worker.recv_req())
        worker.drain()
        while worker._order:
            messages.append(worker.next())
        worker.received.clear()
        return messages

    def _count(
        self, message: Message, open_: dict[bytes, Want], done: dict[bytes, Want], books: Books
    ) -> None:
        id = message.id
        assert id is not None
        if not (message.is_final or message.type == b"cancel"):
            return
        if id in open_:
            done[id] = open_.pop(id)
            what = message.get("condition") or message.get("code") or message.type
            books.finals[what.decode() if isinstance(what, bytes) else str(what)] += 1
        elif id in done and message.type != b"cancel":
            books.doubled.append(done[id])

    def _probe(self, books: Books) -> None:
        """Somebody else asks for what needs no origin, and measures how long that takes."""
        started = self.daemon.loop_seconds()
        try:
            self.other.request(20.0, method="GET", uri="x-probe:")
        except NoAnswer:
            assert self.daemon.alive, self.daemon.log()[-4000:]
        books.probes += 1
        books.slowest = max(books.slowest, self.daemon.loop_seconds() - started)


def wants_of(
    origin: ScriptedOrigin, fault: str, numbers: list[int], ways: tuple[str, ...]
) -> list[Want]:
    """All of these numbers of a fault, each by one of these ways in turn."""
    return [
        Want(origin.url(f"/{fault}/{number}"), ways[index % len(ways)])
        for index, number in enumerate(numbers)
    ]


def some(chance: random.Random, count: int, most: int) -> list[int]:
    """So many numbers by chance, or all there are."""
    return list(range(count)) if count <= most else sorted(chance.sample(range(count), most))
