"""Two endpoints against each other, over a network that delays and loses what they say."""

from __future__ import annotations

import math
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zurl_py.zhttp import (
    KEEP_ALIVE_INTERVAL,
    SESSION_EXPIRY,
    Condition,
    Endpoint,
    Format,
    LocalProtocolError,
    PeerProtocolError,
    Protocol,
    RequestPacket,
    ResponsePacket,
    Role,
    State,
)
from zurl_py.zhttp.session import TRANSITIONS

CREDITS = 10  # bytes that a side grants at once


def first_packet(websocket: bool = False, **fields: object) -> RequestPacket:
    uri = b"ws://a.example/" if websocket else b"http://a.example/"
    given = {"id": b"1", "sender": b"w", "seq": 0, "method": b"GET", "uri": uri, "credits": CREDITS}
    return RequestPacket(**{**given, **fields})  # type: ignore[arg-type]


def pair(**fields: object) -> tuple[Endpoint, Endpoint]:
    """A worker's endpoint, and the gateway's that has its first packet."""
    worker, message = Endpoint.open(first_packet(**fields), 0.0)  # type: ignore[arg-type]
    return worker, Endpoint.accept(RequestPacket.parse(message), b"gw", 0.0)


def response(message: bytes) -> ResponsePacket:
    address, _, rest = message.partition(b" ")
    assert address == b"w"
    return ResponsePacket.parse(rest)


# -- a whole session ------------------------------------------------------------------------------


@pytest.mark.parametrize("format", list(Format))
def test_an_upload_and_its_answer(format: Format) -> None:
    worker, gateway = pair(format=format, more=True, body=b"a", user_data={"x": [1]}, multi=True)
    assert (gateway.credits, gateway.window, gateway.multi) == (CREDITS, -1, True)

    granted = response(gateway.send({"type": b"credit", "credits": 5}, 0.0))
    assert (granted.seq, granted.multi, granted.sender) == (0, True, b"gw")
    assert granted.user_data in ({"x": [1]}, {b"x": [1]})
    worker.receive(granted, granted.seq, 0.0)
    assert (worker.peer, worker.credits) == (b"gw", 4)

    last = RequestPacket.parse(worker.send({"body": b"bcd"}, 0.0))
    assert (last.seq, last.body, last.more, last.sender) == (1, b"bcd", False, b"w")
    gateway.receive(last, last.seq, 0.0)
    assert (gateway.theirs, gateway.window, worker.credits) == (State.DONE, 1, 1)

    head = response(
        gateway.send(
            {"code": 200, "reason": b"OK", "headers": [(b"A", b"1")], "body": b"x", "more": True},
            0.0,
        )
    )
    worker.receive(head, head.seq, 0.0)
    assert (head.code, head.reason, list(head.headers)) == (200, b"OK", [(b"A", b"1")])
    assert worker.window == CREDITS - 1
    assert not head.final

    end = response(gateway.send({"body": b"y"}, 0.0))
    worker.receive(end, end.seq, 0.0)
    assert end.final
    assert worker.closed
    assert gateway.closed


@pytest.mark.parametrize("first", [Role.WORKER, Role.GATEWAY])
def test_a_websocket_is_over_when_both_have_closed(first: Role) -> None:
    worker, gateway = pair(websocket=True)
    opened = response(gateway.send({"code": 101, "credits": CREDITS}, 0.0))
    worker.receive(opened, opened.seq, 0.0)
    for role in (first, first.other):
        assert not worker.closed
        assert not gateway.closed
        if role is Role.WORKER:
            close = RequestPacket.parse(worker.send({"type": b"close"}, 0.0))
            gateway.receive(close, close.seq, 0.0)
        else:
            answer = response(gateway.send({"type": b"close"}, 0.0))
            worker.receive(answer, answer.seq, 0.0)
    assert worker.closed
    assert gateway.closed


# -- what is not allowed --------------------------------------------------------------------------


def test_data_after_the_end_of_the_body_is_a_bad_request() -> None:
    _, gateway = pair()
    with pytest.raises(PeerProtocolError) as caught:
        gateway.receive(RequestPacket(body=b"x"), 1, 0.0)
    assert caught.value.condition == Condition.BAD_REQUEST
    assert "after the end of the body" in caught.value.reason


@pytest.mark.parametrize("seq", [None, 0, 2, -1])
def test_a_gap_ends_the_session_with_cancel(seq: int | None) -> None:
    worker, gateway = pair(more=True)
    with pytest.raises(PeerProtocolError) as caught:
        gateway.receive(RequestPacket(more=True), seq, 0.0)
    assert caught.value.condition is None
    cancel = response(gateway.send({"type": b"cancel"}, 0.0))
    worker.receive(cancel, cancel.seq, 0.0)
    assert worker.closed


def test_cancel_and_a_worker_s_error_need_no_number() -> None:
    _, gateway = pair(more=True)
    gateway.receive(RequestPacket(type=b"cancel"), None, 0.0)
    assert gateway.closed
    worker, _ = pair()
    worker.receive(ResponsePacket(type=b"error", condition=b"bad-request"), None, 0.0)
    assert worker.closed


def test_a_closed_endpoint_sends_nothing_and_ignores_packets() -> None:
    _, gateway = pair()
    gateway.close()
    gateway.receive(RequestPacket(type=b"credit", credits=5), 99, 0.0)
    assert gateway.credits == CREDITS
    assert gateway.deadline == math.inf
    with pytest.raises(LocalProtocolError):
        gateway.send({"type": b"keep-alive"}, 0.0)


def test_what_cannot_be_encoded_leaves_the_session_as_it_was() -> None:
    _, gateway = pair(format=Format.JSON)
    with pytest.raises((TypeError, ValueError)):
        gateway.send({"body": b"", "ext": {"x": object()}}, 0.0)
    assert response(gateway.send({"body": b""}, 0.0)).seq == 0


def test_every_state_in_the_tables_is_reached_and_closed_is_the_end() -> None:
    for table in TRANSITIONS.values():
        reached = {State.IDLE} | {after for signals in table.values() for after in signals.values()}
        assert set(table) == reached
        assert not table[State.CLOSED]


# -- time -----------------------------------------------------------------------------------------


def test_keep_alives_and_expiry_of_a_gateway() -> None:
    worker, gateway = pair()
    assert gateway.deadline == KEEP_ALIVE_INTERVAL
    assert not gateway.keep_alive_due(KEEP_ALIVE_INTERVAL - 1)
    assert gateway.keep_alive_due(KEEP_ALIVE_INTERVAL)
    gateway.send({"type": b"keep-alive"}, KEEP_ALIVE_INTERVAL)
    assert gateway.deadline == 2 * KEEP_ALIVE_INTERVAL == SESSION_EXPIRY
    assert not gateway.expired(SESSION_EXPIRY - 1)
    assert gateway.expired(SESSION_EXPIRY)
    gateway.receive(RequestPacket(type=b"keep-alive"), 1, 50.0)
    assert not gateway.expired(50 + SESSION_EXPIRY - 1)
    assert worker.deadline == math.inf  # it has heard nothing yet, and waits as long as it likes


def test_a_worker_waits_for_the_first_answer_as_long_as_it_likes() -> None:
    worker, _ = Endpoint.open(first_packet(), 10.0, timeout=5.0)
    assert worker.deadline == 15.0
    assert worker.expired(15.0)
    worker.receive(ResponsePacket(sender=b"gw", type=b"keep-alive"), 0, 14.0)
    assert worker.deadline == 14.0 + KEEP_ALIVE_INTERVAL
    assert not worker.expired(14.0 + SESSION_EXPIRY - 1)


# -- any interleaving, any loss -------------------------------------------------------------------


class Side:
    """One side of a session, whose owner only does what the rules allow."""

    def __init__(self, endpoint: Endpoint | None, out: deque[bytes]) -> None:
        self.endpoint = endpoint
        self.out = out
        self.violations = 0

    def say(self, fields: dict[str, object], now: float) -> None:
        endpoint = self.endpoint
        assert endpoint is not None
        if endpoint.role is Role.GATEWAY or endpoint.peer is not None:
            self.out.append(endpoint.send(fields, now))
        elif fields.get("type") == b"cancel":
            endpoint.close()  # there is nobody to tell yet

    def may(self, signal: bytes) -> bool:
        endpoint = self.endpoint
        if endpoint is None or endpoint.closed:
            return False
        return signal in TRANSITIONS[Protocol.HTTP, endpoint.role][endpoint.ours]

    def data(self, more: bool, now: float) -> None:
        endpoint = self.endpoint
        signal = b"data, more follows" if more else b"data, the last"
        if endpoint is None or not self.may(signal) or endpoint.credits < 1:
            return
        if endpoint.role is Role.GATEWAY and not more and endpoint.theirs is State.SENDING:
            return  # an answer ends only when the upload does
        self.say({"body": b"x", **({"more": True} if more else {})}, now)

    def hear(self, message: bytes, now: float) -> None:
        endpoint = self.endpoint
        if message.startswith(b"w "):
            packet = ResponsePacket.parse(message[2:])
        else:
            packet = RequestPacket.parse(message)  # type: ignore[assignment]
            if endpoint is None:
                self.endpoint = Endpoint.accept(packet, b"gw", now)  # type: ignore[arg-type]
                return
        assert endpoint is not None
        if endpoint.closed:
            if endpoint.role is Role.GATEWAY and packet.type not in (b"cancel", b"error"):
                unknown = ResponsePacket(id=b"1", type=b"cancel")
                self.out.append(b"w " + unknown.encode())
            return
        try:
            endpoint.receive(packet, packet.seq, now)
        except PeerProtocolError:
            self.violations += 1
            self.say({"type": b"cancel"}, now)

    def look_at_the_clock(self, now: float) -> None:
        endpoint = self.endpoint
        if endpoint is None or now < endpoint.deadline:
            return
        if endpoint.expired(now):
            endpoint.close()
        elif endpoint.keep_alive_due(now):
            self.say({"type": b"keep-alive"}, now)


class Network:
    """A worker and a gateway, and what is under way between them."""

    def __init__(self, upload: bool) -> None:
        self.now = 0.0
        self.up: deque[bytes] = deque()
        self.down: deque[bytes] = deque()
        endpoint, message = Endpoint.open(first_packet(more=upload), 0.0, timeout=100.0)
        self.up.append(message)
        self.worker = Side(endpoint, self.up)
        self.gateway = Side(None, self.down)
        self.lost = 0

    def do(self, action: str) -> None:
        now = self.now
        if action in ("deliver up", "deliver down"):
            queue, side = (
                (self.up, self.gateway) if action == "deliver up" else (self.down, self.worker)
            )
            if queue:
                side.hear(queue.popleft(), now)
        elif action in ("lose up", "lose down"):
            queue = self.up if action == "lose up" else self.down
            if queue:
                queue.popleft()
                self.lost += 1
        elif action == "time passes":
            self.now += 7.0
            self.worker.look_at_the_clock(self.now)
            self.gateway.look_at_the_clock(self.now)
        else:
            who, _, what = action.partition(" ")
            side = self.worker if who == "worker" else self.gateway
            if what in ("more", "last"):
                side.data(what == "more", now)
            elif side.may(what.encode()):
                fields: dict[str, object] = {"type": what.encode()}
                side.say({**fields, **({"credits": CREDITS} if what == "credit" else {})}, now)

    def check(self) -> None:
        worker, gateway = self.worker.endpoint, self.gateway.endpoint
        assert worker is not None
        if gateway is not None and not worker.closed and not gateway.closed:
            # What is under way makes the only difference, and loss only makes it larger.
            assert worker.credits <= gateway.window
            assert gateway.credits <= worker.window

    def deliver_all(self) -> None:
        while self.up or self.down:
            self.do("deliver up")
            self.do("deliver down")
            self.check()


ACTIONS = [
    *(f"{who} {what}" for who in ("worker", "gateway") for what in ("more", "last", "credit")),
    "worker cancel",
    "gateway error",
    "gateway cancel",
    "gateway keep-alive",
    "deliver up",
    "deliver up",
    "deliver down",
    "deliver down",
    "time passes",
]
_quick = settings(max_examples=300, derandomize=True)


def settle(network: Network) -> None:
    """Let everything arrive, and the sides agree that it is over or end it by the rules."""
    network.deliver_all()
    for _ in range(40):  # four times the expiry
        network.do("time passes")
        network.deliver_all()
    for _ in range(3):
        for action in ("worker credit", "gateway credit", "worker last", "gateway last"):
            network.do(action)
            network.deliver_all()


def is_over(side: Side) -> bool:
    return side.endpoint is None or side.endpoint.closed


@_quick
@given(st.booleans(), st.lists(st.sampled_from(ACTIONS), max_size=60))
def test_any_interleaving_comes_to_an_end_without_a_violation(
    upload: bool, actions: list[str]
) -> None:
    network = Network(upload)
    for action in actions:
        network.do(action)
        network.check()
    settle(network)
    assert is_over(network.worker)
    assert is_over(network.gateway)
    assert network.worker.violations == network.gateway.violations == 0


@_quick
@given(st.booleans(), st.lists(st.sampled_from([*ACTIONS, "lose up", "lose down"]), max_size=60))
def test_any_loss_comes_to_an_end(upload: bool, actions: list[str]) -> None:
    network = Network(upload)
    for action in actions:
        network.do(action)
        network.check()
    settle(network)
    assert is_over(network.worker)
    assert is_over(network.gateway)
    assert network.worker.violations + network.gateway.violations <= network.lost
