"""WebSocket origins and workers that mean no good.

Each session has one final answer, others are unharmed (p99 at most threefold), and memory and
descriptors are where they were.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.labs.faults.isolation import ATTACKS
from tests.labs.faults.websocket_lab import Lab, Player
from tests.labs.faults.websocket_origins import LIES
from tests.labs.faults.websocket_soak import soak

_TOGETHER = 40  # sessions at once


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.close()


def in_groups(lab: Lab, fault: str, count: int, **fields: Any) -> list[Player]:
    """Plays a fault with every number below ``count``, so many at once, until all are over."""
    players: list[Player] = []
    for first in range(0, count, _TOGETHER):
        numbers = range(first, min(count, first + _TOGETHER))
        group = [lab.start(fault, number, **fields) for number in numbers]
        lab.play(group)
        players += group
    lab.assert_nothing_left()
    return players


def close_all(players: list[Player]) -> None:
    for player in players:
        player.close()


def cancel_all(players: list[Player]) -> None:
    for player in players:
        player.cancel()


class TestBrokenOff:
    LENGTH = 320  # bytes of the exchange, about

    @pytest.mark.parametrize("fault", ["reset-at", "end-at"])
    def test_at_every_byte(self, lab: Lab, fault: str) -> None:
        players = in_groups(lab, fault, self.LENGTH)
        conditions = {player.outcome.condition for player in players}
        assert conditions <= {"undefined-condition", "close"}, conditions
        assert "close" in conditions  # those that got it all

    def test_silence(self, lab: Lab) -> None:
        """A timeout of the worker's holds until the handshake is over; then it closes."""
        numbers = (0, 1, 30, 100, 200, 250)
        players = [lab.start("silent-at", number, timeout=300) for number in numbers]
        lab.play(players, lambda: close_all(players), after=1.0)
        assert {player.outcome.condition for player in players[:4]} == {"session-timeout"}
        lab.assert_nothing_left()

    def test_byte_by_byte(self, lab: Lab) -> None:
        players = [lab.start("trickle") for _ in range(_TOGETHER)]
        lab.play(players)
        assert {player.outcome.condition for player in players} == {"close"}
        # The head, four frames and a close; the answer to the ping is paid for before or after.
        assert {player.outcome.packets for player in players} <= {6, 7}
        lab.assert_nothing_left()


class TestLies:
    def test_in_the_handshake(self, lab: Lab) -> None:
        for player in in_groups(lab, "lie", len(LIES), timeout=5000):
            assert player.outcome.last is not None
            assert player.outcome.last.type == b"error", player.outcome
            assert player.outcome.packets == 1

    def test_garbage(self, lab: Lab) -> None:
        for player in in_groups(lab, "garbage", 200):
            assert player.outcome.last is not None

    @pytest.mark.parametrize("fault", ["flood-head", "flood-interim"])
    def test_heads_without_end(self, lab: Lab, fault: str) -> None:
        players = [lab.start(fault) for _ in range(10)]
        lab.play(players)
        assert {player.outcome.condition for player in players} == {"undefined-condition"}
        lab.assert_nothing_left()

    def test_refusal_without_end(self, lab: Lab) -> None:
        players = [lab.start("flood-refusal") for _ in range(10)]
        lab.play(players)
        for player in players:
            assert player.outcome.condition == "rejected"
            assert player.outcome.last is not None
            assert len(player.outcome.last.body) <= 100_000
        lab.assert_nothing_left()


class TestFloods:
    """What one origin sends costs others little, and memory nothing."""

    @pytest.mark.parametrize(("fault", "fields"), [*ATTACKS, ("flood-messages", {"credits": 0})])
    def test_one_origin(self, lab: Lab, fault: str, fields: dict[str, Any]) -> None:
        player = lab.start(fault, **fields)
        with lab.bystanders(1.2):
            lab.play([player], player.cancel, after=1.2)
        lab.assert_nothing_left()

    def test_all_at_once(self, lab: Lab) -> None:
        faults = ("flood-pings", "flood-messages", "flood-fragments", "bomb", "bomb-of-nothing")
        players = [lab.start(fault, credits=100_000) for fault in faults * 4]

        with lab.bystanders(1.5):
            lab.play(players, lambda: cancel_all(players), after=1.5)
        lab.assert_nothing_left()


class TestClosing:
    def test_origins_that_do_not_read_or_close(self, lab: Lab) -> None:
        faults = ("never-closes", "deaf", "closes-and-stays", "closes-and-floods")
        players = [lab.start(fault) for fault in faults * 5]
        lab.play(players, lambda: close_all(players))
        found = {
            player.outcome.condition for player, fault in zip(players, faults * 5, strict=True)
        }
        assert found <= {"session-timeout", "close", "undefined-condition"}, found
        lab.assert_nothing_left()

    def test_at_odd_moments(self, lab: Lab) -> None:
        """Before the handshake is over, within a message, twice, with what follows no close."""

        def act(player: Player, how: int) -> None:
            session = player.session
            if how % 2:
                session.send(body="begun", more=True)
            player.close()
            if how % 3 == 1:
                session.send(type="close", code=1000)
            elif how % 3 == 2:
                session.send(body="late")

        players = [lab.start("echo") for _ in range(_TOGETHER)]
        for how, player in enumerate(players[: _TOGETHER // 2]):
            act(player, how)

        def rest() -> None:
            for how, player in enumerate(players[_TOGETHER // 2 :]):
                act(player, how)

        lab.play(players, rest)
        found = {player.outcome.condition for player in players}
        assert found == {"close", "bad-request"}
        lab.assert_nothing_left()


class TestWorkers:
    def test_origins_that_flood(self, lab: Lab) -> None:
        """Far more than they have credits for, to an origin that reads nothing."""
        players = [lab.start("deaf") for _ in range(4)]

        def flood() -> None:
            for player in players:
                for _ in range(60):
                    player.session.send(body=b"x" * 200_000, content_type="binary")

        with lab.bystanders(2.0):
            lab.play(players, flood)
        assert {player.outcome.condition for player in players} == {"bad-request"}
        lab.assert_nothing_left(memory=60_000_000)

    def test_workers_that_never_grant_credits(self, lab: Lab) -> None:
        players = [lab.start("flood-bytes", credits=0, pay=False) for _ in range(30)]

        with lab.bystanders(1.5):
            lab.play(players, lambda: cancel_all(players), after=1.5)
        lab.assert_nothing_left()

    @pytest.mark.parametrize("credits", [2**31, 2**62, -(2**31), -1])
    def test_workers_that_grant_odd_amounts(self, lab: Lab, credits: int) -> None:
        player = lab.start("echo")

        def act() -> None:
            player.session.send(type="credit", credits=credits)
            player.session.send(type="credit", credits=2**33)
            player.session.send(body="hello")
            player.close()

        lab.play([player], act)
        assert player.outcome.condition == "close"
        assert player.outcome.data == len("hello")
        lab.assert_nothing_left()

    def test_workers_that_send_invalid_frames(self, lab: Lab) -> None:
        faults: list[dict[str, Any]] = [
            {"body": b"\xff"},
            {"type": "close", "code": 1006},
            {"type": "ping", "body": "x" * 126},
            {"body": "x", "seq": 7},
            {"body": "x", "seq": 0},
            {"type": "cancel"},
        ]
        players = [lab.start("echo") for _ in faults * 5]

        def act() -> None:
            for player, fields in zip(players, faults * 5, strict=True):
                if fields.get("type") == "cancel":
                    player.cancel()
                else:
                    player.session.send(**fields)

        lab.play(players, act)
        found = {player.outcome.condition for player in players}
        assert found == {"bad-request", "cancel", "ended by the worker"}
        lab.assert_nothing_left()

    def test_workers_that_send_to_ended_sessions(self, lab: Lab) -> None:
        players = [lab.start("end-at", 60) for _ in range(20)]
        lab.play(players)
        with lab.bystanders(0.5):
            for player in players:
                for _ in range(50):
                    player.session.send(body="still there?")
        lab.assert_nothing_left()


def test_random_faults(lab: Lab) -> None:
    """For longer: python -m tests.labs.faults.websocket_soak."""
    ends = soak(lab, 4.0, seed=1)
    assert len(ends) >= 4
