"""Streamed HTTP without sockets: pace, windows and time, on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.sessions import FakeOutlet, make_services
from tests.fakes.transfers import FakeEgress
from tests.support.messages import encode
from zurl_py.egress import StreamTransfer
from zurl_py.loop import Loop
from zurl_py.sessions import Session, StreamSession
from zurl_py.zhttp import RequestPacket

BUFFER = 1000


class Egress(FakeEgress):
    """Gives transfers a handle that has never heard of its origin."""

    def add(self, transfer: Any) -> None:
        super().add(transfer)
        transfer.handle.curl.getinfo = lambda _: 0


class Bench:
    """A streamed session, its worker, its origin and its clock."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.loop = Loop(lambda: self.time)
        self.egress = Egress()
        self.outlet = FakeOutlet()
        self.ended: list[Session] = []
        self.services = make_services(self.loop, self.outlet, self.egress, buffer_size=BUFFER)
        self.seq = 0

    def begin(self, **fields: Any) -> Bench:
        return self.begin_as("T", **fields)

    def begin_as(self, format: str, **fields: Any) -> Bench:
        first = {"from": "w", "id": "1", "seq": 0, "method": "POST", "uri": "http://192.0.2.1/"}
        packet = RequestPacket.parse(encode({**first, "stream": True, **fields}, format))
        self.session = StreamSession(self.services, packet, self.ended.append)
        self.session.start(packet)
        self.session.keep_time()
        self.outlet.take()
        return self

    @property
    def transfer(self) -> StreamTransfer:
        transfer = self.session._transfer
        assert isinstance(transfer, StreamTransfer)
        return transfer

    def head(self) -> None:
        for line in (b"HTTP/1.1 200 OK\r\n", b"\r\n"):
            self.transfer._header_came(line)
        self.turn()

    def body(self, size: int) -> int | None:
        """The origin sends; returns the callback's answer to libcurl."""
        told = self.transfer._body_came(memoryview(b"x" * size))
        self.turn()
        return told

    def end(self) -> None:
        self.transfer._end(None)
        self.turn()

    def turn(self) -> None:
        moved, self.egress.moved = self.egress.moved, []
        for transfer in moved:
            transfer.moved()

    def send(self, **fields: Any) -> None:
        self.seq += 1
        packet = RequestPacket.parse(encode({"from": "w", "id": "1", "seq": self.seq, **fields}))
        self.session.receive(packet, packet.seq)

    def sizes(self) -> list[int]:
        return [len(packet.body) for packet in self.outlet.take()]

    def pass_time(self, seconds: float) -> None:
        end = self.time + seconds
        while self.time < end:
            self.time = min(end, self.time + 0.5)
            self.loop.turn(wait=False)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.loop.close()


# -- a slow worker --------------------------------------------------------------------------------


def test_a_slow_worker_stops_the_reading_from_the_origin(bench: Bench) -> None:
    """Credits count bytes: many small chunks would be as many packets that wait."""
    bench.begin(credits=10**9)
    bench.head()
    bench.outlet.take()
    bench.outlet.slow.add(b"w")
    paused = False
    for _ in range(3 * BUFFER):
        paused = bool(bench.body(1)) or paused
        if paused:
            break
    assert bench.sizes() == []
    assert paused, "libcurl was told to wait"
    bench.outlet.catch_up()
    assert sum(bench.sizes()) == BUFFER
    bench.end()
    assert bench.sizes() == [0]
    assert bench.ended


def test_the_end_waits_for_a_slow_worker_too(bench: Bench) -> None:
    bench.begin(credits=100)
    bench.outlet.slow.add(b"w")
    bench.head()
    bench.body(10)
    bench.end()
    assert bench.outlet.take() == []
    bench.outlet.catch_up()
    (answer,) = bench.outlet.take()
    assert (answer["code"], answer.body, answer.is_final) == (200, b"x" * 10, True)
    assert bench.ended


def test_upload_credits_wait_for_a_slow_worker(bench: Bench) -> None:
    bench.begin(more=True, credits=100)
    bench.send(body="x" * 600, more=True)
    bench.outlet.slow.add(b"w")
    assert len(bench.transfer._body_wanted(BUFFER)) == 600  # type: ignore[arg-type]
    bench.turn()
    assert bench.outlet.take() == []
    bench.outlet.catch_up()
    assert [packet["credits"] for packet in bench.outlet.take()] == [600]


# -- silly windows --------------------------------------------------------------------------------


def test_data_that_waits_for_credits_goes_in_worthwhile_pieces(bench: Bench) -> None:
    bench.begin(credits=BUFFER)
    bench.head()
    bench.body(BUFFER)
    bench.body(BUFFER)
    bench.outlet.take()
    for _ in range(10):  # as small as the pieces in which the worker gives back what it got
        bench.send(type="credit", credits=BUFFER // 10)
    assert bench.sizes() == [BUFFER // 2, BUFFER // 2]


def test_data_that_is_short_itself_goes_at_once(bench: Bench) -> None:
    bench.begin(credits=BUFFER)
    bench.head()
    bench.outlet.take()
    for _ in range(3):
        bench.body(1)
    assert bench.sizes() == [1, 1, 1]


def test_few_credits_are_used_after_a_while(bench: Bench) -> None:
    """The worker may give no more before it has got what these cover."""
    bench.begin(credits=BUFFER)
    bench.head()
    bench.body(BUFFER)
    bench.body(BUFFER)
    bench.outlet.take()
    bench.send(type="credit", credits=10)
    assert bench.sizes() == []
    bench.pass_time(0.5)
    assert bench.sizes() == [10]
    bench.pass_time(0.5)
    assert bench.sizes() == []


def test_a_small_window_is_used_as_it_is(bench: Bench) -> None:
    bench.begin(credits=5)
    bench.head()
    bench.body(100)
    for _ in range(4):
        bench.send(type="credit", credits=5)
    assert bench.sizes() == [0, 5, 5, 5, 5, 5]


# -- time -----------------------------------------------------------------------------------------


def test_an_ended_session_sets_no_timer_again(bench: Bench) -> None:
    """More body than Content-Length ends it while it starts."""
    bench.begin(more=True, body="12345", headers=[["Content-Length", "3"]])
    assert bench.ended == [bench.session]
    timer = bench.session._timer
    assert timer is None or timer.bucket is None


def test_keep_alives_go_on_while_the_origin_is_busy(bench: Bench) -> None:
    bench.begin(credits=10**6)
    bench.head()
    bench.outlet.take()
    for _ in range(70):
        bench.pass_time(1)
        bench.body(1)
        if bench.seq < 2 and bench.time > 1000 + 25 * (bench.seq + 1):
            bench.send(type="keep-alive")
    types = [packet.type for packet in bench.outlet.take()]
    assert types.count(b"keep-alive") == 2
    assert bench.session.open
    bench.pass_time(61)
    assert not bench.session.open  # nothing heard of the worker


# -- a whole answer to an upload -------------------------------------------------------------------


def test_a_large_whole_answer_is_encoded_as_json_in_pieces(bench: Bench) -> None:
    """In one step, a hundred megabytes would hold the loop for seconds."""
    bench.begin_as("J", stream=False, more=True)
    bench.send(body="the end")
    bench.head()
    content = "\u00e9\x01x".encode() * 200_000
    bench.transfer._body_came(memoryview(content))
    bench.end()
    turns = 0
    while not (packets := bench.outlet.take()):
        bench.turn()
        turns += 1
    assert turns > 10
    assert packets[-1].body == content
    assert bench.session.bytes_sent == len(content)
    assert bench.ended


def test_large_whole_answers_are_encoded_one_by_one(bench: Bench) -> None:
    content = b"x" * 2_000_000
    transfers = []
    for number in range(3):
        bench.seq = 0
        bench.begin_as("J", id=str(number), stream=False, more=True)
        bench.send(id=str(number), body="the end")
        bench.head()
        bench.transfer._body_came(memoryview(content))
        transfers.append(bench.transfer)
        bench.end()
    bench.turn()
    assert [len(transfer._body) < len(content) for transfer in transfers] == [True, False, False]
    bench.session.abort("stopping", "the last one, which waits")
    bench.ended.pop()
    while len(bench.ended) < 2:
        bench.turn()
    assert [packet.id for packet in bench.outlet.take()][-2:] == [b"0", b"1"]


# -- handoff --------------------------------------------------------------------------------------


def test_a_session_that_no_worker_takes_over_expires_without_a_packet(bench: Bench) -> None:
    bench.begin(credits=100)
    bench.send(type="handoff-start")
    (proceed,) = bench.outlet.take()
    assert proceed.type == b"handoff-proceed"
    bench.head()
    bench.body(10)
    bench.pass_time(59)
    assert bench.outlet.take() == []  # no keep-alive, no data
    assert bench.session.open
    bench.pass_time(2)
    assert not bench.session.open
    assert bench.outlet.take() == []


def test_packets_held_during_a_handoff_are_limited(bench: Bench) -> None:
    bench.begin(credits=10**6)
    bench.send(type="handoff-start")
    bench.head()
    bench.outlet.take()
    paused = False
    for _ in range(3 * BUFFER):
        paused = bool(bench.body(1)) or paused
    assert paused
    assert bench.session.bytes_held <= BUFFER
    assert bench.session._handoff_queue == []


def test_a_timeout_during_a_handoff_is_reported_later(bench: Bench) -> None:
    bench.begin(credits=100, timeout=5000)
    bench.send(type="handoff-start")
    bench.outlet.take()
    bench.pass_time(10)
    assert not bench.ended
    timer = bench.session._timer
    assert timer is not None
    assert timer.when > bench.time + 10
    bench.send(type="keep-alive")
    (error,) = bench.outlet.take()
    assert error["condition"] == b"session-timeout"
    assert bench.ended
