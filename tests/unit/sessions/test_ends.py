"""Sessions come to one end, and leave nothing behind, whatever goes wrong on the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.sessions import FakeOutlet, make_services
from tests.fakes.transfers import FakeEgress
from tests.support.messages import encode
from zurl_py.http.heads import Head
from zurl_py.loop import Loop
from zurl_py.sessions import Session, SingleSession, StreamSession, WebSocketSession
from zurl_py.zhttp import RequestPacket

BUFFER = 1000


class Bench:
    """What sessions use, with an egress that only keeps what it is given."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.loop = Loop(lambda: self.time)
        self.egress = FakeEgress()
        self.outlet = FakeOutlet()
        self.packets = self.outlet.packets
        self.ended: list[Session] = []
        self.services = make_services(self.loop, self.outlet, self.egress, buffer_size=BUFFER)
        self.seq = 0

    def start(self, kind: Any = StreamSession, **fields: Any) -> Any:
        first = {"from": "w", "id": "1", "seq": 0, "method": "POST", "uri": "http://192.0.2.1/"}
        fields = {key.replace("_", "-"): value for key, value in fields.items()}
        packet = RequestPacket.parse(encode({**first, **fields}, "T"))
        reply = (lambda answer: self.outlet.publish(b"w", b"w " + answer),)
        session = kind(
            self.services, packet, *(reply if kind is SingleSession else ()), self.ended.append
        )
        session.start(packet)
        return session

    def send(self, session: StreamSession, **fields: Any) -> None:
        self.seq += 1
        packet = RequestPacket.parse(
            encode({"from": "w", "id": "1", "seq": self.seq, **fields}, "T")
        )
        session.receive(packet, packet.seq)

    def received(self) -> int:
        """Bytes of body that the worker got."""
        return sum(len(packet.body) for packet in self.packets)

    def turn(self) -> None:
        moved, self.egress.moved = self.egress.moved, []
        for transfer in moved:
            transfer.moved()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.loop.close()


@pytest.mark.parametrize("kind", [SingleSession, StreamSession])
def test_a_session_ends_even_if_its_last_packet_cannot_be_sent(bench: Bench, kind: Any) -> None:
    session = bench.start(kind)
    bench.outlet.broken = True
    session.abort("stopping", "for whatever reason")
    assert not session.open
    assert bench.ended == [session]  # or its id is in use, and its place taken, for ever


@pytest.mark.parametrize("kind", [SingleSession, StreamSession, WebSocketSession])
def test_a_huge_timeout_is_accepted(bench: Bench, kind: Any) -> None:
    uri = "ws://192.0.2.1/" if kind is WebSocketSession else "http://192.0.2.1/"
    session = bench.start(kind, timeout=10**400, uri=uri)
    assert session.open
    assert not [packet for packet in bench.packets if packet.type == b"error"]


def test_an_upload_that_the_origin_does_not_read_is_limited(bench: Bench) -> None:
    """Credits count bytes that the network took; a worker that sends far more is stopped."""
    session = bench.start(more=True, stream=True)
    for _ in range(1000):
        if session.open:
            bench.send(session, body=b"x" * BUFFER, more=True)
    transfer = session._transfer
    assert transfer.unsent <= 100 * BUFFER
    assert not session.open
    assert bench.packets[-1]["condition"] == b"bad-request"
    assert bench.ended == [session]


def test_an_upload_within_reason_is_taken(bench: Bench) -> None:
    session = bench.start(more=True, stream=True)
    for _ in range(4):
        bench.send(session, body=b"x" * BUFFER, more=True)
    assert session.open


@pytest.mark.parametrize("credits", [-(10**30), -5, 0, 10**30])
def test_credits_of_any_size_are_added(bench: Bench, credits: int) -> None:
    session = bench.start(stream=True, credits=10)
    bench.send(session, type="credit", credits=credits)
    transfer = session._transfer
    transfer._header_came(b"HTTP/1.1 200 OK\r\n")
    transfer._header_came(b"\r\n")
    transfer._body_came(memoryview(b"x" * 500))
    bench.turn()
    assert bench.received() == max(0, min(500, 10 + credits))
    bench.send(session, type="credit", credits=-credits)
    assert session._endpoint.credits == 10 - bench.received()
    assert session.open


def test_packets_after_the_end_of_a_session_do_not_end_it_again(bench: Bench) -> None:
    session = bench.start(
        method="POST", body=b"12345", more=True, headers=[["Content-Length", "3"]]
    )
    assert bench.ended == [session]  # more body than Content-Length
    bench.turn()
    for _ in range(200):
        bench.time += 1
        bench.loop.turn(wait=False)
    assert bench.ended == [session]
    assert [packet.type for packet in bench.packets] == [b"credit", b"error"]


def test_an_answer_that_waits_for_the_next_worker_is_counted_as_held(bench: Bench) -> None:
    """Or workers that hand sessions off, and vanish, would get around max_memory."""
    session = bench.start()
    bench.send(session, type="handoff-start")
    session.response_came(Head(200, b"OK", []), b"x" * 5000)
    assert session.bytes_held == 5000
    bench.send(session, type="keep-alive")
    assert bench.received() == 5000
    assert session.bytes_held == 0
