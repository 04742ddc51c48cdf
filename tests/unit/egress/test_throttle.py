"""Transfers that take much time: how much of it they get, and when."""

from __future__ import annotations

import gc
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import brotli
import pytest

from tests.fakes.egress import Rules, StreamedSink
from tests.support import Connection, ScriptedOrigin
from tests.support.clock import Clock
from zurl_py import url
from zurl_py.egress import BufferedTransfer, StreamTransfer, TransferError
from zurl_py.egress.engine import Egress
from zurl_py.egress.errors import ErrorName
from zurl_py.egress.request import HttpRequest
from zurl_py.egress.settings import TransportOptions
from zurl_py.egress.throttle import FIRST_PORTION, LEAST_PORTION, Throttle
from zurl_py.http.fields import RequestHeaders
from zurl_py.http.heads import Head
from zurl_py.log import Log
from zurl_py.loop import Loop
from zurl_py.zhttp.json_text import JsonText


class Handle:
    def __init__(self, peer: str) -> None:
        self.peer = peer


class FakeTransfer:
    """A transfer with a socket that has unread bytes; each of its calls takes a while."""

    def __init__(self, bench: Bench, cost: float, peer: str = "192.0.2.1") -> None:
        self.multi: Any = self
        self.handle: Any = Handle(peer)
        self.yielded = False
        self.portion = FIRST_PORTION
        self.cost = cost  # seconds for a call that reads FIRST_PORTION
        self.is_free = False
        self.restricted_to = 0  # its limit, once it has left the queue with one
        self._bench = bench
        self._ours, self._theirs = socket.socketpair()
        self._theirs.send(bytes(50_000))

    @property
    def socket(self) -> int:
        return self._ours.fileno()

    def pause(self) -> bool:
        self.yielded = True
        return True

    def resume(self, limit: int) -> bool:
        assert self.yielded
        assert limit == self.portion
        self.yielded = False
        return True

    def lift_limit(self) -> None:
        self.is_free = True

    def restrict(self, limit: int) -> None:
        self.restricted_to = limit

    def go_on(self) -> None:
        self._bench.served.append(self)
        self._bench.clock.now += self.cost * self.portion / FIRST_PORTION

    def unwatch(self, fd: int) -> None:
        assert fd == self.socket

    def check_framing(self) -> None:
        pass

    def drain(self) -> None:
        self._ours.recv(100_000)

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()


class Bench:
    def __init__(self) -> None:
        self.clock = Clock()
        self.loop = Loop(self.clock)
        self.throttle = Throttle(self.loop)
        self.served: list[FakeTransfer] = []
        self.transfers: list[FakeTransfer] = []

    def hold(self, *costs: float) -> list[FakeTransfer]:
        """A long call has found transfers with these costs."""
        made = [FakeTransfer(self, cost) for cost in costs]
        self.transfers += made
        self.throttle.pause_heavy(made)
        return made

    def turn(self) -> list[FakeTransfer]:
        """Those that were served in one turn of the loop, which runs the queue twice."""
        self.clock.now += 1e-6
        self.loop.turn(wait=False)
        self.served = []
        for _ in range(2):
            self.throttle.run(lambda multi: [cast(Any, multi)])
        return self.served


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    for transfer in made.transfers:
        transfer.close()
    made.loop.close()


def test_each_has_its_turn_and_a_turn_of_the_loop_is_short(bench: Bench) -> None:
    first, second, third = bench.hold(0.00025, 0.00025, 0.00025)
    assert bench.turn() == [first, second]
    assert bench.turn() == [third, first]


def test_one_that_takes_long_is_alone(bench: Bench) -> None:
    first, second = bench.hold(0.003, 0.003)
    assert bench.turn() == [first]
    assert bench.turn() == [second]


def test_the_portion_follows_from_the_time_that_it_takes(bench: Bench) -> None:
    costly, cheap = bench.hold(0.004, 0.00001)
    for _ in range(30):
        bench.turn()
    assert costly.portion == LEAST_PORTION
    assert cheap.portion > 10 * FIRST_PORTION


def test_who_has_read_all_leaves_the_queue(bench: Bench) -> None:
    cheap, costly = bench.hold(0.00001, 0.004)
    for _ in range(30):
        bench.turn()
    assert not cheap.is_free
    cheap.drain()
    costly.drain()
    bench.turn()
    bench.turn()
    assert cheap.is_free
    assert not costly.is_free
    assert costly.restricted_to == LEAST_PORTION
    assert not bench.throttle.waiting
    assert not cheap.yielded
    assert not costly.yielded


def test_an_address_with_costly_answers_is_remembered_for_a_while(bench: Bench) -> None:
    bench.hold(0.004)
    bench.turn()
    assert bench.throttle.is_costly(["192.0.2.7", "192.0.2.1"])
    assert not bench.throttle.is_costly(["192.0.2.7"])
    bench.clock.now += 60.0
    bench.loop.turn(wait=False)
    assert not bench.throttle.is_costly(["192.0.2.1"])
    assert not bench.throttle.costly


def test_a_fast_answer_clears_its_address(bench: Bench) -> None:
    (transfer,) = bench.hold(0.004)
    bench.turn()
    transfer.cost = 0.00001
    for _ in range(10):
        bench.turn()
    transfer.drain()
    bench.turn()
    assert not bench.throttle.is_costly(["192.0.2.1"])


class IdleTransfer(FakeTransfer):
    """One without unread bytes; to look at it takes a microsecond."""

    @property
    def socket(self) -> int:
        self._bench.clock.now += 1e-6
        return -1


def test_the_search_is_limited_and_the_next_one_goes_on(bench: Bench) -> None:
    """Each long call looks for transfers to pause, however many are open."""
    idle = IdleTransfer(bench, 0.0)
    (heavy,) = bench.transfers = [FakeTransfer(bench, 0.004)]
    searches = 0
    while not heavy.yielded:
        began = bench.clock.now
        bench.throttle.pause_heavy([*[idle] * 5000, heavy])
        assert bench.clock.now - began < 0.0005
        searches += 1
        assert searches < 20
    idle.close()


# -- with libcurl, by the processor time of this thread -------------------------------------------

_ATTACKERS = 24
_MOST = 0.020  # seconds of one turn
_ENDLESS = {
    "extension": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * 200_000),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 30_000),
    "body": (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 200_000),
    "brotli": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\n"
        + brotli.compress(bytes(20_000_000), quality=5, lgwin=24),
        b"",
    ),
}


class Lines:
    debug_on = False

    def error(self, text: str) -> None:
        raise AssertionError(text)

    exception = warning = error


class Sink:
    def __init__(self) -> None:
        self.body: bytes | JsonText | None = None

    def response_came(self, _head: Head, body: bytes | JsonText) -> None:
        self.body = body

    def request_failed(self, failure: TransferError) -> None:
        raise AssertionError(failure)


def _endless(start: bytes, more: bytes) -> Callable[[Connection], None]:
    def script(connection: Connection) -> None:
        connection.read_head()
        connection.send(start)
        while more:
            connection.send(more)
        connection.expect_end()

    return script


def _in_chunks(body: bytes) -> Callable[[Connection], None]:
    """The body in chunks of one byte, and of more and more."""
    parts, at, size = [], 0, 1
    while at < len(body):
        part = body[at : at + size]
        parts.append(b"%x\r\n%b\r\n" % (len(part), part))
        at += size
        size = 1 if size > 50_000 else size + 1
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    def script(connection: Connection) -> None:
        connection.read_head()
        connection.send(head + b"".join(parts) + b"0\r\n\r\n")
        connection.expect_end()

    return script


@pytest.fixture
def no_collector() -> Iterator[None]:
    """No garbage collection, which would count as time of a turn."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("kind", _ENDLESS)
@pytest.mark.usefixtures("no_collector")
def test_floods_take_little_of_a_turn_and_others_get_all(kind: str) -> None:
    loop = Loop(time.thread_time)
    egress = Egress(loop, TransportOptions(), cast(Log, Lines()))
    body = bytes(range(256)) * 12_000

    def request(origin: ScriptedOrigin) -> HttpRequest:
        target = url.parse(origin.url("/").encode())
        return HttpRequest(target, b"GET", RequestHeaders(()), Rules())

    with ScriptedOrigin(_endless(*_ENDLESS[kind])) as bad, ScriptedOrigin(_in_chunks(body)) as good:
        streams = [
            StreamTransfer(egress, request(bad), StreamedSink(), None) for _ in range(_ATTACKERS)
        ]
        for stream in streams:
            stream.start()
        longest, sink, turns = 0.0, Sink(), 0
        until = time.monotonic() + 60.0
        while sink.body is None:
            assert time.monotonic() < until
            if turns == 100:
                BufferedTransfer(egress, request(good), sink).start()
            loop.turn(wait=False)
            egress.turn()
            longest = max(longest, loop.clock() - loop.now)
            for stream in streams:
                stream.read(1 << 20)
            turns += 1
        assert sink.body == body
        assert longest < _MOST
        egress.close()
        bad.errors.clear()
    loop.close()


def test_an_answer_of_chunk_extensions_only_ends() -> None:
    loop = Loop(time.thread_time)
    egress = Egress(loop, TransportOptions(), cast(Log, Lines()))
    with ScriptedOrigin(_endless(*_ENDLESS["extension"])) as origin:
        target = url.parse(origin.url("/").encode())
        request = HttpRequest(target, b"GET", RequestHeaders(()), Rules())
        stream = StreamTransfer(egress, request, StreamedSink(), None)
        stream.start()
        until = time.monotonic() + 60.0
        while stream.failure is None:
            assert time.monotonic() < until
            loop.turn(wait=False)
            egress.turn()
        assert stream.failure.error == ErrorName.BAD_FRAMING
        assert "chunk framing" in stream.failure.detail
        egress.close()
        origin.errors.clear()
    loop.close()
