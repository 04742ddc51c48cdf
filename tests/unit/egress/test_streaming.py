"""Streamed transfers without libcurl: what is held, what is sent, what one answer may cost."""

from __future__ import annotations

import gzip
from typing import Any, cast

import pycurl
import pytest

from tests.fakes.egress import Rules, StreamedSink
from tests.fakes.transfers import FakeEgress
from zurl_py import url
from zurl_py.egress import HttpRequest, StreamTransfer, TransferError, answer
from zurl_py.egress.answer import PIECE
from zurl_py.egress.handles import MOST_PIECES, PIECE_SHIFT
from zurl_py.http.fields import RequestHeaders
from zurl_py.http.heads import read_head
from zurl_py.zhttp import Condition

LIMIT = 1000
HEAD = (b"HTTP/1.1 200 OK\r\n", b"Content-Length: 5000\r\n", b"\r\n")


class Bench:
    def __init__(self, limit: int | None = LIMIT, method: bytes = b"GET", **fields: Any) -> None:
        self.egress = FakeEgress()
        self.sink = StreamedSink()
        request = HttpRequest(
            url.parse(b"http://name.test/a"), method, RequestHeaders(()), Rules(), **fields
        )
        self.transfer = StreamTransfer(cast(Any, self.egress), request, self.sink, limit)

    def start(self) -> Bench:
        self.transfer.start()
        return self

    def lines(self, *lines: bytes) -> None:
        for line in lines:
            assert self.transfer._header_came(line) is None

    def body(self, data: bytes) -> int | None:
        return self.transfer._body_came(memoryview(data))

    def turn(self) -> None:
        moved, self.egress.moved = self.egress.moved, []
        for transfer in moved:
            transfer.moved()
        resting, self.egress.resting = self.egress.resting, []
        for transfer in resting:
            transfer.resume(transfer.portion)


# -- the answer --------------------------------------------------------------------------------


def test_progress_is_reported_once_per_turn() -> None:
    bench = Bench().start()
    bench.lines(*HEAD)
    bench.body(b"x" * 10)
    bench.body(b"y" * 10)
    bench.turn()
    assert bench.sink.told == 1
    assert bench.transfer.read(100) == b"x" * 10 + b"y" * 10


def test_what_is_not_read_is_held_up_to_the_limit() -> None:
    bench = Bench().start()
    bench.lines(*HEAD)
    assert bench.body(b"x" * 900) is None
    assert bench.body(b"y" * 200) == pycurl.WRITEFUNC_PAUSE
    assert bench.transfer.buffered == 900
    assert bench.transfer.handle is not None
    curl = cast(Any, bench.transfer.handle.curl)
    assert len(bench.transfer.read(300)) == 300
    assert not curl.unpaused  # more than half of it is still there
    curl.again = lambda: bench.body(b"y" * 200)
    assert len(bench.transfer.read(200)) == 200
    assert curl.unpaused == 1
    assert bench.transfer.buffered == 600
    assert bench.transfer.read(600) == b"x" * 400 + b"y" * 200


def test_a_piece_beyond_the_limit_passes_when_nothing_else_is_held() -> None:
    bench = Bench(limit=10).start()
    bench.lines(*HEAD)
    assert bench.body(b"x" * 50) is None


def test_interim_heads_are_not_kept() -> None:
    """Each end of a head has all lines read anew: an origin could keep us busy with them."""
    bench = Bench().start()
    for _ in range(200):
        bench.lines(b"HTTP/1.1 103 Early Hints\r\n", b"Link: </a>\r\n", b"\r\n")
    assert bench.transfer.handle is not None
    assert len(bench.transfer.handle.header_lines) < 100
    bench.lines(*HEAD)
    assert bench.transfer.head is not None
    assert bench.transfer.head.code == 200


def test_the_cost_of_interim_heads_is_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = 0

    def counted(lines: list[bytes]) -> Any:
        nonlocal looked_at
        looked_at += len(lines)
        return read_head(lines)

    monkeypatch.setattr(answer, "read_head", counted)
    bench = Bench().start()
    for _ in range(300):
        bench.lines(b"HTTP/1.1 103 Early Hints\r\n", b"\r\n")
    bench.lines(*HEAD)
    assert bench.transfer.head is not None
    assert looked_at < 10 * 600


def test_a_cancelled_transfer_reports_nothing() -> None:
    bench = Bench().start()
    bench.lines(*HEAD)
    bench.transfer.cancel()
    bench.turn()
    bench.transfer.fail(TransferError(Condition.UNDEFINED_CONDITION, "late"))
    bench.turn()
    assert bench.sink.told == 0


# -- the request -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [b"GET", b"DELETE", b"OPTIONS", b"HEAD"])
def test_methods_without_body_are_held_back(method: bytes) -> None:
    bench = Bench(method=method, upload=True).start()
    assert not bench.egress.added
    bench.transfer.end_upload()
    assert bench.egress.added == [bench.transfer]
    assert not bench.transfer.request.upload


@pytest.mark.parametrize("ends_with_it", [True, False])
def test_a_head_request_with_a_body_is_never_sent(ends_with_it: bool) -> None:
    bench = Bench(method=b"HEAD", upload=True).start()
    bench.transfer.feed(b"body")
    if ends_with_it:  # in the same packet, or in the same turn
        bench.transfer.end_upload()
    assert bench.egress.added == []
    bench.turn()
    assert bench.sink.told == 1
    assert bench.transfer.failure is not None
    assert bench.transfer.failure.condition == Condition.CONTENT_NOT_ALLOWED


def test_an_upload_waits_for_more_and_goes_on() -> None:
    bench = Bench(method=b"POST", upload=True, body=b"ab").start()
    wanted = bench.transfer._body_wanted
    assert wanted(1) == b"a"
    assert wanted(10) == b"b"
    assert bench.transfer.taken == 2
    assert wanted(10) == pycurl.READFUNC_PAUSE
    assert bench.transfer.handle is not None
    curl = cast(Any, bench.transfer.handle.curl)
    bench.transfer.feed(b"")
    assert not curl.unpaused
    bench.transfer.feed(b"c")
    assert curl.unpaused == 1
    assert wanted(10) == b"c"
    bench.transfer.end_upload()
    assert wanted(10) == b""


class Counted(bytes):
    """Bytes that count what is copied of them when they are cut."""

    copied = 0

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        if isinstance(key, slice):
            Counted.copied += len(part)
            return Counted(part)
        return part


def test_a_large_piece_is_not_copied_over_and_over() -> None:
    size, step = 1_000_000, 10_000
    Counted.copied = 0
    bench = Bench(method=b"POST", upload=True, body=Counted(bytes(size))).start()
    bench.transfer.end_upload()
    total = 0
    while True:
        data = bench.transfer._body_wanted(step)
        assert isinstance(data, bytes)
        if not data:
            break
        total += len(data)
    assert total == size
    assert Counted.copied <= 3 * size


def test_what_was_sent_before_a_redirect_is_sent_again_and_credited_once() -> None:
    bench = Bench(method=b"POST", upload=True, body=b"abc", follow_redirects=True).start()
    assert bench.transfer._body_wanted(10) == b"abc"
    bench.lines(b"HTTP/1.1 307 There\r\n", b"Location: /b\r\n", b"\r\n")
    bench.transfer.ended(0, "")
    assert len(bench.egress.added) == 2
    assert bench.transfer._body_wanted(2) == b"ab"
    assert bench.transfer.taken == 3
    bench.transfer.feed(b"d")
    assert bench.transfer._body_wanted(10) == b"cd"
    assert bench.transfer.taken == 4


# -- pieces and turns ----------------------------------------------------------------------------


def test_a_body_in_too_many_pieces_lets_others_have_a_turn() -> None:
    bench = Bench(limit=1_000_000).start()
    bench.lines(b"HTTP/1.1 200 OK\r\n", b"\r\n")
    assert [bench.body(b"x") for _ in range(MOST_PIECES + 5)] == [None] * (MOST_PIECES + 5)
    bench.egress.is_late = True
    assert bench.body(b"y") == pycurl.WRITEFUNC_PAUSE
    assert bench.transfer.handle is not None
    curl = cast(Any, bench.transfer.handle.curl)
    curl.again = lambda: bench.body(b"y")
    bench.turn()
    assert curl.unpaused == 1
    assert bench.transfer.read(1000) == b"x" * (MOST_PIECES + 5) + b"y"


def test_interim_heads_without_end_let_others_have_a_turn() -> None:
    bench = Bench(limit=1000).start()
    interim = (b"HTTP/1.1 102 Processing\r\n", b"\r\n")
    bench.egress.is_late = True
    for _ in range(MOST_PIECES + 1):
        bench.lines(*interim)
    bench.lines(interim[0])
    assert bench.transfer._header_came(interim[1]) == pycurl.WRITEFUNC_PAUSE
    bench.turn()
    assert bench.transfer._header_came(interim[1]) is None, "the same line comes again"
    bench.lines(b"HTTP/1.1 200 OK\r\n", b"\r\n")
    assert bench.transfer.head is not None


def test_large_pieces_count_as_several_and_one_is_always_taken() -> None:
    bench = Bench(limit=10_000_000).start()
    bench.lines(b"HTTP/1.1 200 OK\r\n", b"\r\n")
    bench.egress.is_late = True
    large = bytes(MOST_PIECES << PIECE_SHIFT)
    assert bench.body(large) is None
    assert bench.body(b"x") == pycurl.WRITEFUNC_PAUSE
    bench.turn()
    assert bench.body(large) is None


def test_a_coded_body_is_undone_piece_by_piece_as_far_as_there_is_room() -> None:
    packed = gzip.compress(bytes(1_000_000))
    bench = Bench(limit=100_000).start()
    bench.lines(b"HTTP/1.1 200 OK\r\n", b"Content-Encoding: gzip\r\n", b"\r\n")
    bench.body(packed)
    sizes = [bench.transfer.buffered]
    bench.turn()
    sizes.append(bench.transfer.buffered)
    for _ in range(5):
        bench.turn()
    assert sizes[0] == 0, "nothing is undone within libcurl's callback"
    assert 0 < sizes[1] <= PIECE
    assert bench.transfer.buffered == 100_000
    bench.transfer.ended(0, "")
    total = 0
    while not bench.transfer.ended_well:
        total += len(bench.transfer.read(100_000))
        bench.turn()
    total += len(bench.transfer.read(100_000))
    assert total == 1_000_000


def test_a_coding_that_does_not_fit_ends_the_transfer() -> None:
    bench = Bench().start()
    bench.lines(b"HTTP/1.1 200 OK\r\n", b"Content-Encoding: gzip\r\n", b"\r\n")
    bench.body(b"this is plain")
    bench.turn()
    assert bench.egress.removed == [bench.transfer]
    assert bench.transfer.failure is not None
    assert bench.transfer.failure.error == "bad-encoding"


def test_half_a_line_of_a_transfer_that_is_taken_out() -> None:
    bench = Bench().start()
    bench.transfer.handle = None
    assert bench.transfer._header_came(b"X-Half: a li") is None


def test_a_redirect_is_followed_without_its_body() -> None:
    bench = Bench(follow_redirects=True).start()
    bench.lines(b"HTTP/1.1 302 There\r\n", b"Location: /b\r\n", b"\r\n")
    assert bench.body(b"no end of it") is None
    assert len(bench.egress.added) == 1
    bench.turn()
    assert len(bench.egress.added) == 2
    assert bench.transfer.request.target.text == "http://name.test/b"
    assert not bench.transfer.buffered
