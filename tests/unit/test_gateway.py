"""The gateway without sockets: the session of a message, admission, and the effect of bugs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.fakes.sessions import FakeOutlet, make_services
from tests.support.messages import Message, decode, encode
from zurl_py.egress import TransferError
from zurl_py.gateway import Gateway
from zurl_py.http.heads import Head
from zurl_py.loop import Loop
from zurl_py.sessions import Admission, Session
from zurl_py.sessions import http as http_module
from zurl_py.sessions import single as single_module
from zurl_py.sessions import stream as stream_module
from zurl_py.sessions import websocket as websocket_module
from zurl_py.websocket import Connection, Response

HTTP = "http://192.0.2.1/"
WS = "ws://192.0.2.1/"
HEAD = Head(200, b"OK", [(b"A", b"1")])


class FakeTransfer:
    """A transfer that does as the test says; it stands for all three kinds."""

    made: list[FakeTransfer]

    def __init__(self, _egress: Any, *arguments: Any) -> None:
        # (request, sink[, limit]), or for a WebSocket (loop, request, handshake, sink, ...).
        self.sink = arguments[3] if len(arguments) > 3 else arguments[1]
        self.head: Head | None = None
        self.body = b""
        self.failure: TransferError | None = None
        self.ended_well = False
        self.taken = self.unsent = 0
        self.extras = None
        self.connection: Connection | None = None
        self.heard_at = 0.0
        self.hung_up = self.close_sent = False
        self.lost: TransferError | None = None
        self.released = 0
        self.fed = b""
        self.broken = ""  # the method that raises
        self.made.append(self)

    def _maybe(self, method: str) -> None:
        if self.broken == method:
            raise ZeroDivisionError(method)

    @property
    def buffered(self) -> int:
        return len(self.body)

    def overdue(self, _elapsed: float) -> None:
        """No limit for connecting was given."""

    def timed_out(self) -> None:
        self._maybe("timed_out")

    def start(self) -> None:
        self._maybe("start")

    def last_activity(self, _now: float) -> float:
        return 0.0

    def read(self, size: int) -> bytes:
        self._maybe("read")
        taken, self.body = self.body[:size], self.body[size:]
        return taken

    def feed(self, data: bytes) -> None:
        self._maybe("feed")
        self.fed += data

    def end_upload(self) -> None:
        self._maybe("end_upload")

    def next_event(self) -> None:
        self._maybe("next_event")

    def send_data(self, _payload: bytes, _binary: bool, _more: bool) -> bool:
        self._maybe("send")
        return True

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def cancel(self, *_final_close: object) -> None:
        self.released += 1
        self._maybe("cancel")

    finish = cancel


class Bench:
    """A gateway, its clock, and what goes out of it."""

    def __init__(self, max_open: int = 0, max_per_worker: int = 0, **services: Any) -> None:
        self.time = 1000.0
        self.loop = Loop(lambda: self.time)
        self.outlet = FakeOutlet()
        self.answers: list[tuple[list[bytes], Message]] = []
        self.tracebacks: list[str] = []
        self.services: Any = make_services(self.loop, self.outlet, **services)
        self.services.log.exception = self.tracebacks.append  # type: ignore[method-assign, assignment]
        admission: Admission[Any] = Admission(max_open, max_per_worker)
        self.gateway = Gateway(self.services, self, admission, lambda: False)
        self.transfers: list[FakeTransfer] = []
        FakeTransfer.made = self.transfers
        self.patch = pytest.MonkeyPatch()

    def reply(self, envelope: list[bytes], answer: bytes) -> None:
        self.answers.append((envelope, decode(answer)))

    def begin(self, **fields: Any) -> None:
        first = {"from": "w", "id": "1", "seq": 0, "method": "GET", "uri": HTTP, **fields}
        self.gateway.begin([encode({k.replace("_", "-"): v for k, v in first.items()})])

    def ask(self, asker: bytes = b"asker", **fields: Any) -> None:
        request = {"id": "1", "method": "GET", "uri": HTTP, **fields}
        self.gateway.request([asker, b"", encode(request)])

    def send(self, **fields: Any) -> None:
        self.gateway.go_on([b"", encode({k.replace("_", "-"): v for k, v in fields.items()})])

    def types(self) -> list[bytes]:
        return [packet.type for packet in self.outlet.take()]

    def pass_time(self, seconds: float) -> None:
        end = self.time + seconds
        while self.time < end:
            self.time = min(end, self.time + 0.5)
            self.loop.turn(wait=False)


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_module, "BufferedTransfer", FakeTransfer)
    monkeypatch.setattr(stream_module, "BufferedTransfer", FakeTransfer)
    monkeypatch.setattr(websocket_module, "WebSocketTransfer", FakeTransfer)
    for module in (http_module, stream_module):
        monkeypatch.setattr(module, "StreamTransfer", FakeTransfer)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.loop.close()


# -- whose a packet is ----------------------------------------------------------------------------


def test_one_worker_cannot_touch_another_s_session(bench: Bench) -> None:
    bench.begin(stream=True)
    bench.outlet.take()
    bench.send(**{"from": "other"}, id="1", seq=1, type="cancel")
    assert len(bench.gateway) == 1
    bench.send(**{"from": "w"}, id="1", seq=1, type="cancel")
    assert len(bench.gateway) == 0


@pytest.mark.parametrize(
    "packet",
    [
        {"type": "cancel"},
        {"type": "cancel", "seq": 1},
        {"type": "credit", "credits": 5, "seq": 7},
        {"type": "keep-alive"},
        {"body": "x", "seq": 0},
    ],
)
def test_a_packet_without_address_ends_no_session(bench: Bench, packet: dict[str, Any]) -> None:
    bench.begin(stream=True)
    bench.outlet.take()
    bench.send(id="1", **packet)
    assert len(bench.gateway) == 1
    assert bench.types() == []
    bench.send(**{"from": "w"}, id="1", seq=1, type="keep-alive")
    assert bench.types() == []  # its numbers have not moved


def test_a_packet_without_address_continues_the_one_session_of_its_id(bench: Bench) -> None:
    bench.begin(stream=True, more=True)
    bench.send(id="1", seq=1, body="x", more=True)
    assert bench.transfers[0].fed == b"x"
    bench.begin(**{"from": "other"}, stream=True, more=True)
    bench.send(id="1", seq=2, body="y", more=True)  # whose is it now?
    assert bench.transfers[0].fed == b"x"


def test_a_malformed_packet_is_answered_with_the_field_and_what_is_wrong(bench: Bench) -> None:
    bench.begin(id="2", timeout=[])
    (error,) = bench.outlet.take()
    assert error["condition"] == b"bad-request"
    assert error["ext"] == {
        "error": b"bad-message",
        "detail": b"timeout must be a number, not a list",
    }
    bench.ask(id="3", more="x")
    ((envelope, answer),) = bench.answers
    assert envelope == [b"asker", b""]
    assert answer["ext"]["detail"] == b"more must be true or false, not text"


# -- who may begin --------------------------------------------------------------------------------


def test_one_worker_s_hanging_requests_leave_room_for_others() -> None:
    bench = Bench(max_open=10)
    for number in range(50):
        bench.begin(id=str(number))
    assert len(bench.transfers) == 9
    bench.begin(**{"from": "other"}, id="x")
    assert len(bench.transfers) == 10
    assert not bench.gateway.has_room()
    bench.transfers[-1].sink.response_came(HEAD, b"")
    bench.ask()
    assert len(bench.transfers) == 11  # the request interface's worker is another, too
    bench.loop.close()


def test_waiting_requests_begin_in_their_order_when_others_end() -> None:
    bench = Bench(max_open=10)
    for number in range(20):
        bench.begin(id=str(number))
    bench.outlet.take()
    for transfer in bench.transfers[:9]:
        transfer.sink.response_came(HEAD, b"")
        bench.gateway.admit_waiting()
    begun = [packet.id for packet in bench.outlet.take() if packet.type == b"keep-alive"]
    assert begun == [b"%d" % number for number in range(9, 18)]
    bench.loop.close()


def test_requests_of_one_worker_have_a_limit_of_their_own() -> None:
    bench = Bench(max_per_worker=2)
    for number in range(4):
        bench.begin(id=str(number))
    bench.begin(**{"from": "other"}, id="x")
    assert len(bench.transfers) == 3
    bench.begin(id="3")  # in use, though it has not begun
    assert len(bench.gateway) == 5
    bench.transfers[0].sink.response_came(HEAD, b"")
    bench.gateway.admit_waiting()
    assert len(bench.transfers) == 4
    bench.loop.close()


def test_a_worker_does_not_take_over_a_session_of_an_id_that_it_waits_with() -> None:
    bench = Bench(max_open=4)
    bench.begin(**{"from": "first"}, id="x")
    for number in range(3):
        bench.begin(**{"from": "second"}, id=str(number))
    bench.begin(**{"from": "second"}, id="x")
    assert bench.gateway.waiting
    bench.send(**{"from": "first"}, id="x", seq=1, type="handoff-start")
    bench.send(**{"from": "second"}, id="x", seq=2, type="keep-alive")
    bench.send(**{"from": "second"}, id="0", type="cancel")
    bench.send(**{"from": "second"}, id="1", type="cancel")
    bench.gateway.admit_waiting()
    for transfer in bench.transfers:
        transfer.sink.request_failed(TransferError(b"undefined-condition", "over"))
    bench.pass_time(61)
    assert not len(bench.gateway)
    assert not bench.gateway._by_id
    assert bench.tracebacks == []
    bench.loop.close()


def test_a_waiting_request_can_be_cancelled_and_its_time_runs() -> None:
    bench = Bench(max_per_worker=1)
    bench.begin(id="1")
    bench.begin(id="2", timeout=3000)
    bench.begin(id="3")
    bench.outlet.take()
    bench.send(**{"from": "w"}, id="3", seq=1, type="cancel")
    assert len(bench.gateway) == 2
    bench.pass_time(2)
    assert bench.types() == []
    bench.pass_time(2)
    keep_alive, error = bench.outlet.take()
    assert (keep_alive.type, error.id) == (b"keep-alive", b"2")
    assert error["condition"] == b"session-timeout"
    assert error["ext"]["error"] == b"total-timeout"
    assert len(bench.gateway) == 1
    bench.loop.close()


def test_waiting_requests_are_answered_when_the_gateway_stops() -> None:
    bench = Bench(max_per_worker=1)
    for number in range(3):
        bench.begin(id=str(number))
    bench.outlet.take()
    bench.gateway.stop("stopping", "the gateway is stopping")
    bench.gateway.abort_all("stopping", "the gateway is stopping")
    errors = [packet for packet in bench.outlet.take() if packet.type == b"error"]
    assert sorted(packet.id or b"" for packet in errors) == [b"0", b"1", b"2"]
    assert {packet["ext"]["error"] for packet in errors} == {b"stopping"}
    assert len(bench.gateway) == 0
    bench.loop.close()


def test_at_a_stop_new_requests_are_told_at_once_and_others_are_carried_out() -> None:
    bench = Bench(max_open=1)
    bench.begin(id="old")
    bench.outlet.take()
    bench.gateway.stop("stopping", "the gateway is stopping")
    for memory in (bench.gateway.pause, lambda: bench.gateway.reject("max-memory", "full")):
        memory()
        assert bench.gateway.has_room()
        bench.gateway.resume()
    bench.begin(id="new")
    bench.ask()
    refused = [*bench.outlet.take(), *(answer for _, answer in bench.answers)]
    assert [packet["ext"]["error"] for packet in refused] == [b"stopping"] * 2
    assert [packet["ext"]["begun"] for packet in refused] == [False] * 2
    bench.begin(id="", method="POST")  # fire and forget
    assert len(bench.gateway) == 2
    bench.gateway.abort_all("stopping", "the gateway is stopping")
    bench.begin(id="", method="POST")
    assert len(bench.gateway) == 0
    bench.loop.close()


def test_no_request_takes_longer_than_the_gateway_allows() -> None:
    bench = Bench(max_request_time=5.0)
    bench.begin(id="1")
    bench.begin(id="2", timeout=60_000)
    bench.ask()
    bench.pass_time(6)
    errors = [packet for packet in bench.outlet.take() if packet.type == b"error"]
    assert {packet["ext"]["error"] for packet in errors} == {b"total-timeout"}
    assert len(errors) == len(bench.answers) + 1 == 2
    bench.loop.close()


# -- one boundary for bugs ------------------------------------------------------------------------


def _websocket(bench: Bench) -> FakeTransfer:
    bench.begin(uri=WS, credits=100)
    transfer = bench.transfers[-1]
    transfer.connection = Connection(1000)
    transfer.sink.websocket_opened(Response(101, b"S", []))
    return transfer


def _stream(bench: Bench, **fields: Any) -> FakeTransfer:
    bench.begin(stream=True, credits=100, **fields)
    return bench.transfers[-1]


def _moved(transfer: FakeTransfer) -> None:
    transfer.head, transfer.body = HEAD, b"x"
    transfer.sink.transfer_moved()


def _later(bench: Bench, **fields: Any) -> None:
    bench.send(**{"from": "w"}, id="1", seq=1, **fields)


def _break(bench: Bench, transfer: FakeTransfer, method: str) -> FakeTransfer:
    transfer.broken = method
    return transfer


def _broken_timer(bench: Bench) -> None:
    (session,) = (session for session in bench.gateway.sessions() if session.id == b"1")
    kind = type(session)
    fired = kind._timer_fired

    def broken(self: Session) -> None:
        if self is session:
            raise ZeroDivisionError("timer")
        fired(self)

    bench.patch.setattr(kind, "_timer_fired", broken)
    session._wake()


def _slow(bench: Bench, transfer: FakeTransfer, broken: str) -> None:
    bench.outlet.slow.add(b"w")
    if transfer.connection is None:
        _moved(transfer)
    else:
        _later(bench, body="x")
        transfer.sink._frames_waiting.append("no event")
    transfer.broken = broken
    bench.outlet.catch_up()


FAULTS: dict[str, Callable[[Bench], object]] = {
    "single, first packet": lambda b: (_raise_in_start(b), b.ask()),
    "single, answer": lambda b: (b.ask(), b.transfers[-1].sink.response_came(None, b"")),
    "single, failure": lambda b: (b.ask(), b.transfers[-1].sink.request_failed(None)),
    "single, release": lambda b: (
        b.ask(),
        _break(b, b.transfers[-1], "cancel").sink.response_came(HEAD, b""),
    ),
    "single, timer": lambda b: (b.ask(), _broken_timer(b)),
    "stream, first packet": lambda b: (_raise_in_start(b), b.begin(stream=True)),
    "stream, upload": lambda b: (
        _break(b, _stream(b, more=True), "feed"),
        _later(b, body="x", more=True),
    ),
    "stream, end of upload": lambda b: (
        _break(b, _stream(b, more=True), "end_upload"),
        _later(b, body="x"),
    ),
    "stream, news": lambda b: _moved(_break(b, _stream(b), "read")),
    "stream, credits": lambda b: (
        _moved(_stream(b)),
        setattr(b.transfers[-1], "body", b"y"),
        _break(b, b.transfers[-1], "read"),
        _later(b, type="credit", credits=5),
    ),
    "stream, timer": lambda b: (_stream(b), _broken_timer(b)),
    "stream, worker caught up": lambda b: _slow(b, _stream(b), "read"),
    "stream, reload": lambda b: _stream(b).sink.request_failed(None),
    "websocket, first packet": lambda b: (_raise_in_start(b), b.begin(uri=WS)),
    "websocket, opened": lambda b: (
        b.begin(uri=WS),
        b.transfers[-1].sink.websocket_opened(None),
    ),
    "websocket, rejected": lambda b: (
        b.begin(uri=WS),
        b.transfers[-1].sink.websocket_rejected(None),
    ),
    "websocket, failed": lambda b: (b.begin(uri=WS), b.transfers[-1].sink.websocket_failed(None)),
    "websocket, news": lambda b: _break(b, _websocket(b), "next_event").sink.websocket_moved(),
    "websocket, written": lambda b: _websocket(b).sink.websocket_wrote("x"),
    "websocket, packet": lambda b: (_break(b, _websocket(b), "send"), _later(b, body="x")),
    "websocket, timer": lambda b: (_websocket(b), _broken_timer(b)),
    "websocket, worker caught up": lambda b: _slow(b, _websocket(b), "next_event"),
}


def _raise_in_start(bench: Bench) -> None:
    def start(_transfer: FakeTransfer) -> None:
        raise ZeroDivisionError("start")

    bench.patch.setattr(FakeTransfer, "start", start)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bug_ends_one_session_with_an_answer_and_nothing_else(
    bench: Bench, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.begin(**{"from": "innocent"}, id="i", stream=True, credits=100)
    innocent = bench.transfers[0]
    bench.outlet.take()
    bench.patch = monkeypatch
    FAULTS[fault](bench)
    assert bench.tracebacks
    assert len(bench.tracebacks) <= 2  # the bug, and where the session could not let go
    packets = [packet for packet in bench.outlet.take() if packet.id == b"1"]
    finals = [packet for packet in packets if packet.type in (b"error", b"cancel")]
    finals += [answer for _, answer in bench.answers]
    if fault == "single, release":
        assert [final.get("code") for final in finals] == [200]
    else:
        assert [final.get("condition") for final in finals] == [b"undefined-condition"]
        assert [final["ext"]["error"] for final in finals] == [b"internal"]
    # Nothing is left, and nothing comes again.
    assert [session.sender for session in bench.gateway.sessions()] == [b"innocent"]
    if fault not in ("websocket, rejected", "websocket, failed"):  # these have no transfer any more
        assert all(transfer.released for transfer in bench.transfers[1:])
    known = len(bench.tracebacks)
    bench.pass_time(5)
    assert len(bench.tracebacks) == known
    # Others go on.
    innocent.head, innocent.body, innocent.ended_well = HEAD, b"well", True
    innocent.sink.transfer_moved()
    (answer,) = (packet for packet in bench.outlet.take() if packet.id == b"i")
    assert answer.body == b"well"


def test_a_bug_while_a_session_is_made_is_answered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("made")

    monkeypatch.setattr(Session, "__init__", broken)
    bench.begin(stream=True)
    bench.begin(uri=WS)
    bench.ask()
    answers = [*bench.outlet.take(), *(answer for _, answer in bench.answers)]
    assert [answer["ext"]["error"] for answer in answers] == [b"internal"] * 3
    assert len(bench.tracebacks) == 3
    assert len(bench.gateway) == 0


def test_a_session_that_cannot_be_ended_does_not_keep_others_open(bench: Bench) -> None:
    for number in range(4):
        bench.begin(id=str(number))
    bench.transfers[1].broken = "cancel"
    bench.gateway.abort_all("stopping", "the gateway is stopping")
    errors = [packet for packet in bench.outlet.take() if packet.type == b"error"]
    assert len(errors) == 4
    assert len(bench.gateway) == 0


def test_a_session_whose_packet_was_dropped_ends(bench: Bench) -> None:
    bench.begin(id="1", stream=True)
    bench.begin(id="2", stream=True)
    first = bench.outlet.packets[0]
    bench.gateway.packet_dropped(b"w", b"w " + first.raw)
    assert [session.id for session in bench.gateway.sessions()] == [b"2"]
    assert bench.transfers[0].released
    bench.gateway.packet_dropped(b"w", b"w " + first.raw)  # of a session that is over
    assert len(bench.gateway) == 1
