"""A gateway between WebSocket origins and workers that mean no good, and bystanders.

The origins are another process (`websocket_origins`), so that what they send costs the bystanders'
clock nothing. Bystanders ask for a small page, one after the other, by the request interface.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.labs.faults.bystanders import Bystanders
from tests.support import Daemon, Message, Session, Worker, decode
from tests.support.deadline import wait_until
from tests.support.paths import ROOT

__all__ = ["Lab", "Outcome", "Player"]

_BATCH = 500  # packets read at once


class Origins:
    """The process that plays the origins."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            # What they burn is not to be what others wait for.
            ["nice", "-n", "10", sys.executable, "-m", "tests.labs.faults.websocket_origins"],
            stdin=subprocess.PIPE,  # its end is theirs
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def url(self, fault: str, number: int = 0) -> str:
        """Where a fault is to be had."""
        return f"ws://127.0.0.1:{self.port}/{fault}?{number}"

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


@dataclass
class Outcome:
    """How one session ended for its worker.

    Attributes:
        last: the packet that ended it; None if the worker's own close or cancel did.
        packets: how many came in all.
        data: bytes of frames.
        lost: the error that came behind the origin's close.
    """

    last: Message | None = None
    lost: Message | None = None
    packets: int = 0
    data: int = 0
    cancelled_by_us: bool = False
    closed_by_us: bool = False
    closed_by_them: bool = False
    over: bool = False
    messages: list[Message] = field(default_factory=list)

    @property
    def condition(self) -> str:
        """Of an error; else how it ended."""
        if self.last is None:
            return "ended by the worker"
        return (self.last.get("condition") or self.last.type).decode()


class Player:
    """A worker that behaves: pays for what it gets, answers pings and closes, and keeps books.

    Args:
        pay: grants credits for what came.
    """

    def __init__(self, session: Session, pay: bool = True) -> None:
        self.session = session
        self.outcome = Outcome()
        self._pay = pay

    def take(self, message: Message) -> None:
        """Handles a packet; fails if the session was over before."""
        outcome = self.outcome
        if outcome.cancelled_by_us:
            return
        if outcome.over and message.get("seq") is None:
            # What crossed our last packet is answered with cancel, as the session is not known.
            assert message.type == b"cancel", (message, outcome)
            return
        if outcome.over:
            # Until our answer to its close is there, frames of ours may be paid for, and the origin
            # may be lost.
            assert outcome.closed_by_them, (message, outcome)
            assert not outcome.closed_by_us, (message, outcome)
            assert outcome.lost is None, (message, outcome)
            assert message.type in (b"credit", b"keep-alive", b"error"), (message, outcome)
            outcome.lost = message if message.type == b"error" else None
        assert message["seq"] == outcome.packets, (message, outcome)
        outcome.packets += 1
        if len(outcome.messages) < 20:
            outcome.messages.append(message)
        if outcome.over:
            return
        if message.type in (b"error", b"cancel"):
            outcome.last, outcome.over = message, True
        elif message.type == b"close":
            outcome.closed_by_them = True
            outcome.over, outcome.last = True, message
            if not outcome.closed_by_us:
                self.session.send(type="close", code=1000)
        elif message.type == b"ping":
            outcome.data += len(message.body)
            fields = {"credits": len(message.body)} if self._pay else {}
            if not outcome.closed_by_us:
                self.session.send(type="pong", body=message.body, **fields)
        elif message.type in (b"data", b"pong") and "code" not in message:
            outcome.data += len(message.body)
            if self._pay and message.body:
                self.session.send(type="credit", credits=len(message.body))

    def close(self) -> None:
        """Begins the closing handshake."""
        if not self.outcome.over:
            self.outcome.closed_by_us = True
            self.session.send(type="close", code=1000)

    def cancel(self) -> None:
        """Ends the session without a further word."""
        if not self.outcome.over:
            self.outcome.over = self.outcome.cancelled_by_us = True
            self.session.cancel()


class Lab:
    """One gateway, its attackers and its bystanders."""

    def __init__(self, kind: str = "ours", **settings: Any) -> None:
        self.origins = Origins()
        ours = {"websocket_compression": "true", "websocket_close_timeout": 2}
        self.daemon = Daemon(
            kind=kind,
            arguments=("--loglevel=1",),
            **{**(ours if kind == "ours" else {}), **settings},
        ).start()
        self.worker = Worker(self.daemon, address=b"attacker").ready()
        self.others = Bystanders(self.daemon.endpoints["in_req_spec"], self.daemon.pid)
        self._warm_up()

    def _warm_up(self) -> None:
        """What libcurl keeps for good is there before anything is counted."""
        player = self.start("echo")
        self.play([player], lambda: player.close())
        self.others.learn_usual()
        self.descriptors = self.daemon.descriptors()
        self.memory = self.daemon.memory()

    def close(self) -> None:
        self.others.close()
        self.worker.close()
        self.daemon.close()
        self.origins.close()

    # -- bystanders --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def bystanders(self, seconds: float) -> Iterator[None]:
        """Others' requests beside what is done in the block, which must not make them wait."""
        self.others.begin(seconds)
        try:
            yield
        finally:
            times = self.others.times()
        self.others.assert_unharmed(times)

    # -- attackers ---------------------------------------------------------------------------------

    def start(self, fault: str, number: int = 0, pay: bool = True, **fields: Any) -> Player:
        """A session with a worker that behaves."""
        fields = {"credits": 200_000, "follow_redirects": True, **fields}
        return Player(self.worker.start(uri=self.origins.url(fault, number), **fields), pay)

    def play(
        self,
        players: list[Player],
        then: Callable[[], None] | None = None,
        seconds: float = 20.0,
        after: float = 0.3,
    ) -> None:
        """Lets sessions go on until all are over.

        Args:
            then: called once, ``after`` so many seconds.
            seconds: within which all have to be over.
        """
        by_id = {player.session.id: player for player in players}
        began = time.monotonic()
        while not all(player.outcome.over for player in players):
            now = time.monotonic()
            if then is not None and now - began >= after:
                then()
                then = None
            left = [player.session for player in players if not player.outcome.over]
            assert now - began < seconds, f"not over: {left[0].id!r} and {len(left) - 1} more"
            for message in self._messages(0.05):
                player = by_id.get(message.id or b"")
                if player is not None:
                    player.take(message)

    def play_for(self, players: list[Player], seconds: float, then: Callable[[], None]) -> None:
        """Lets sessions go on for a while, and longer after ``then``; what is left is cancelled."""
        by_id = {player.session.id: player for player in players}
        for part in range(2):
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                for message in self._messages(0.02):
                    player = by_id.get(message.id or b"")
                    if player is not None:
                        player.take(message)
            if part == 0:
                then()
        for player in players:
            player.cancel()

    def _messages(self, seconds: float) -> list[Message]:
        """What has come for the attackers, after waiting for it for a while."""
        sub = self.worker.sub
        taken: list[Message] = []
        wait = int(seconds * 1000)
        while len(taken) < _BATCH and sub.poll(wait):
            wait = 0
            address, _, packet = sub.recv_multipart()[0].partition(b" ")
            taken.append(decode(packet, address))
        return taken

    # -- afterwards --------------------------------------------------------------------------------

    def assert_nothing_left(self, memory: int = 40_000_000) -> None:
        """Descriptors and memory are where they were, and no session is known any more."""
        assert self.daemon.alive, self.daemon.log()[-2000:]
        wait_until(
            lambda: self.daemon.descriptors() <= self.descriptors + 3,
            f"descriptors: {self.daemon.descriptors()}, before {self.descriptors}",
            15,
        )
        grown = self.daemon.memory() - self.memory
        assert grown < memory, f"memory grew by {grown / 1e6:.0f} MB"
        assert "Traceback" not in self.daemon.log(), self.daemon.log()[-4000:]
