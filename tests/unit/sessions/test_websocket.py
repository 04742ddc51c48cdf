"""WebSocket sessions without sockets: time, pace and order, on a clock of the test's own."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.sessions import FakeOutlet, make_services
from tests.support.messages import Message, encode
from tests.support.websocket import BINARY, CLOSE, PING, PONG, TEXT, frame
from zurl_py.egress import TransferError
from zurl_py.loop import Loop
from zurl_py.sessions import WebSocketSession, WebSocketSettings
from zurl_py.sessions import websocket as module
from zurl_py.sessions.websocket import State
from zurl_py.websocket import Connection, Response
from zurl_py.zhttp import RequestPacket

BUFFER = 1000


class FakeTransfer:
    """A connection whose origin is the test."""

    def __init__(
        self,
        egress: Any,
        loop: Any,
        request: Any,
        handshake: Any,
        sink: Any,
        max_frame: int,
        split: bool,
    ) -> None:
        self.loop = loop
        self.sink = sink
        self.max_frame = max_frame
        self.split = split
        self.connection: Connection | None = None
        self.heard_at = loop.now
        self.hung_up = False
        self.refusal: Response | None = None
        self.extras = None
        self.lost: TransferError | None = None
        self.unsent = 0
        self.incoming = b""
        self.sent: list[bytes] = []
        self.has_room = True
        self.paused = False
        self.ended = ""

    def start(self) -> None:
        pass

    def overdue(self, _elapsed: float) -> None:
        """No limit for connecting was given."""

    def open(self) -> None:
        self.connection = Connection(self.max_frame, None, self.split)
        self.sink.websocket_opened(Response(101, b"S", []))

    def feed(self, *frames: bytes) -> None:
        """Frames of the origin's; whether they are read is the session's affair."""
        self.incoming += b"".join(frames)
        if not self.paused:
            self.sink.websocket_moved()

    @property
    def drained(self) -> bool:
        return self.frames.drained and not self.incoming

    def next_event(self) -> Any:
        assert self.connection is not None
        event = self.connection.next_event()
        if event is None and self.incoming:
            # One frame's worth at a time, so that reading ahead shows.
            size = 2 + self.incoming[1] if self.incoming[1] < 126 else len(self.incoming)
            data, self.incoming = self.incoming[:size], self.incoming[size:]
            self.connection.receive(data)
            self.heard_at = self.loop.now
            return self.next_event()
        return event

    @property
    def frames(self) -> Connection:
        assert self.connection is not None
        return self.connection

    @property
    def close_sent(self) -> bool:
        return self.frames.close_sent

    def send_data(self, payload: bytes, binary: bool, more: bool) -> bool:
        return self._write(self.frames.send_data(payload, binary, more))

    def send_ping(self, payload: bytes, *, tell: bool = True) -> bool:
        return self._write(self.frames.send_ping(payload))

    def send_pong(self, payload: bytes, *, tell: bool = True) -> bool:
        return self._write(self.frames.send_pong(payload))

    def send_close(self, code: int | None, reason: bytes = b"") -> None:
        self._write(self.frames.send_close(code, reason))

    def _write(self, wire: bytes) -> bool:
        self.sent.append(wire)
        if not self.has_room:
            self.unsent += len(wire)
        return self.has_room

    def opcodes(self) -> list[int]:
        return [wire[0] & 0x0F for wire in self.sent]

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def look_ahead(self) -> None:
        self.paused = True

    def give_up(self) -> Response | None:
        self.ended = "given up"
        return self.refusal

    def finish(self, code: int | None = None, reason: bytes = b"") -> None:
        if self.connection is not None and not self.close_sent:
            self.send_close(code, reason)
        self.ended = "finished"

    def payloads(self) -> list[bytes]:
        """What the frames sent hold, without masks."""
        return [payload_of(wire) for wire in self.sent]

    def cancel(self) -> None:
        self.ended = "cut"


def payload_of(wire: bytes) -> bytes:
    """The payload of a short frame of ours."""
    mask, masked = wire[2:6], wire[6:]
    return bytes(byte ^ mask[i % 4] for i, byte in enumerate(masked))


class Bench:
    """A session, its worker, its origin and its clock."""

    def __init__(
        self,
        format: str = "T",
        websocket: WebSocketSettings = WebSocketSettings(),  # noqa: B008 - it is frozen
        **fields: Any,
    ) -> None:
        self.format = format
        self.time = 1000.0
        self.loop = Loop(lambda: self.time)
        self.ended = 0
        self.outlet = FakeOutlet()
        self.slow = self.outlet.slow
        self.services = make_services(
            self.loop, self.outlet, buffer_size=BUFFER, websocket=websocket
        )
        first = {"from": "w", "id": "1", "seq": 0, "uri": "ws://192.0.2.1/", **fields}
        packet = RequestPacket.parse(encode(first, format))
        self.session = WebSocketSession(self.services, packet, lambda _: self._count_end())
        self.session.start(packet)
        self.seq = 0
        self.transfer: FakeTransfer = self.session._transfer  # type: ignore[assignment]

    def _count_end(self) -> None:
        self.ended += 1

    def open(self) -> "Bench":
        self.transfer.open()
        self.take()
        return self

    def send(self, **fields: Any) -> None:
        self.seq += 1
        fields = {key.replace("_", "-"): value for key, value in fields.items()}
        packet = RequestPacket.parse(
            encode({"from": "w", "id": "1", "seq": self.seq, **fields}, self.format)
        )
        self.session.receive(packet, packet.seq)

    def take(self) -> list[Message]:
        """The packets since the last call."""
        return self.outlet.take()

    def types(self) -> list[bytes]:
        return [packet.type for packet in self.take()]

    def pass_time(self, seconds: float) -> None:
        end = self.time + seconds
        while self.time < end:
            self.time = min(end, self.time + 0.5)
            self.loop.turn(wait=False)


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WebSocketTransfer", FakeTransfer)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench(credits=BUFFER).open()
    yield made
    made.loop.close()


class TestTime:
    def test_keep_alive(self, bench: Bench) -> None:
        bench.pass_time(29)
        assert bench.types() == []
        bench.pass_time(2)
        assert bench.types() == [b"keep-alive"]
        bench.send(type="keep-alive")
        bench.pass_time(30)
        assert bench.types() == [b"keep-alive"]

    def test_expiry(self, bench: Bench) -> None:
        bench.pass_time(59)
        assert bench.session.open
        bench.take()
        bench.pass_time(3)
        assert (bench.ended, bench.types()) == (1, [])
        # The origin is told that we go away.
        assert bench.transfer.opcodes() == [CLOSE]
        assert bench.transfer.ended == "finished"

    def test_any_valid_packet_keeps_a_session(self, bench: Bench) -> None:
        for fields in ({"type": "keep-alive"}, {"type": "credit", "credits": 1}, {"body": "x"}):
            bench.pass_time(59)
            bench.send(**fields)
        assert bench.session.open

    def test_no_activity(self, bench: Bench) -> None:
        for _ in range(59):
            bench.pass_time(10)
            bench.send(type="keep-alive")
        assert bench.session.open
        bench.take()
        bench.pass_time(11)
        assert bench.take()[-1]["condition"] == b"session-timeout"
        assert bench.transfer.opcodes() == [CLOSE]

    @pytest.mark.parametrize("who", ["worker", "origin"])
    def test_activity(self, bench: Bench, who: str) -> None:
        for _ in range(130):
            bench.pass_time(10)
            bench.send(type="keep-alive")
            if who == "worker":
                bench.send(body="")
            else:
                bench.transfer.feed(frame(TEXT))
        assert bench.session.open

    def test_timeout_of_the_handshake(self) -> None:
        bench = Bench(timeout=5000)
        bench.pass_time(4)
        assert bench.types() == []
        bench.pass_time(2)
        assert bench.take()[0]["condition"] == b"session-timeout"
        assert bench.transfer.ended == "cut"
        bench.loop.close()

    def test_timeout_with_a_refusal_in_part(self) -> None:
        bench = Bench(timeout=5000)
        bench.transfer.refusal = Response(401, b"U", [(b"A", b"b")], b"bod")
        bench.pass_time(6)
        (refusal,) = bench.take()
        assert (refusal["condition"], refusal["code"], refusal.body) == (b"rejected", 401, b"bod")
        bench.loop.close()

    def test_timeout_is_over_once_open(self) -> None:
        bench = Bench(timeout=5000).open()
        bench.pass_time(20)
        assert bench.session.open
        bench.loop.close()


class TestPings:
    def test_waits_for_credits_a_while(self) -> None:
        bench = Bench(credits=0).open()
        bench.transfer.feed(frame(PING, b"p"))
        bench.pass_time(4)
        assert bench.transfer.sent == []
        bench.send(type="credit", credits=1)
        assert bench.types() == [b"ping"]
        bench.pass_time(10)
        assert bench.transfer.sent == []
        bench.loop.close()

    def test_is_answered_then_and_not_delivered(self) -> None:
        bench = Bench(credits=0).open()
        bench.transfer.feed(frame(TEXT, b"a"), frame(PING, b"p"), frame(TEXT, b"b"))
        bench.pass_time(6)
        assert bench.transfer.opcodes() == [10]
        bench.send(type="credit", credits=9)
        assert [packet.body for packet in bench.take()] == [b"a", b"b"]
        bench.loop.close()

    def test_reading_ahead_is_bounded(self) -> None:
        bench = Bench(credits=0).open()
        bench.transfer.feed(*[frame(BINARY, b"x" * 100)] * 100)
        for _ in range(5):
            bench.pass_time(10)
            bench.send(type="keep-alive")
        assert len(bench.transfer.incoming) >= 85 * 102
        bench.transfer.feed(*[frame(BINARY)] * 1000)
        bench.loop.close()

    def test_many_tiny_frames_ahead(self) -> None:
        bench = Bench(credits=0).open()
        bench.transfer.feed(*[frame(BINARY)] * 1000)
        for _ in range(5):
            bench.pass_time(10)
            bench.send(type="keep-alive")
        assert len(bench.transfer.incoming) >= 900 * 2
        bench.loop.close()

    def test_after_our_close_nothing_is_answered(self) -> None:
        bench = Bench(credits=10, ext={"auto-pong": True}).open()
        bench.send(type="close", code=1000)
        bench.transfer.feed(frame(PING, b"p"), frame(CLOSE))
        assert bench.transfer.opcodes() == [CLOSE]
        assert bench.types() == [b"close"]
        bench.loop.close()


class TestPace:
    def test_slow_worker_stops_reading(self, bench: Bench) -> None:
        bench.slow.add(b"w")
        bench.transfer.feed(frame(TEXT, b"a"), frame(TEXT, b"b"))
        assert bench.types() == []
        assert bench.transfer.paused
        bench.outlet.catch_up()
        assert [packet.body for packet in bench.take()] == [b"a", b"b"]
        assert not bench.transfer.paused

    def test_slow_worker_gets_its_credits_in_one_sum(self, bench: Bench) -> None:
        bench.slow.add(b"w")
        for _ in range(5):
            bench.send(body="four")
        assert bench.types() == []
        assert len(bench.outlet.told) == 1
        bench.outlet.catch_up()
        (credit,) = bench.take()
        assert (credit.type, credit["credits"]) == (b"credit", 20)

    def test_ended_while_the_worker_was_slow(self, bench: Bench) -> None:
        bench.slow.add(b"w")
        bench.send(body="four")
        bench.send(type="cancel")
        bench.outlet.catch_up()
        assert bench.types() == []

    def test_credits_come_when_a_frame_has_gone_out(self, bench: Bench) -> None:
        bench.transfer.has_room = False
        bench.send(body="four")
        assert bench.types() == []
        bench.session.websocket_wrote(4)
        assert [packet["credits"] for packet in bench.take()] == [4]

    def test_frames_beyond_the_credits_are_limited(self, bench: Bench) -> None:
        bench.transfer.has_room = False
        for _ in range(7):
            bench.send(body="x" * BUFFER)
        assert bench.session.open
        for _ in range(3):
            if bench.session.open:
                bench.send(body="x" * BUFFER)
        assert bench.take()[-1]["condition"] == b"bad-request"


class TestEnds:
    def test_abort(self, bench: Bench) -> None:
        bench.session.abort("stopping", "the gateway is stopping")
        (error,) = bench.take()
        assert error["condition"] == b"undefined-condition"
        assert error["ext"] == {"error": b"stopping", "detail": b"the gateway is stopping"}
        assert bench.transfer.opcodes() == [CLOSE]

    def test_lost_behind_frames_that_wait(self) -> None:
        bench = Bench(credits=0).open()
        bench.transfer.feed(frame(TEXT, b"a"), frame(CLOSE))
        bench.transfer.lost = TransferError(b"undefined-condition", "gone")
        bench.send(type="credit", credits=1)
        assert bench.types() == [b"data", b"close", b"error"]
        bench.loop.close()

    def test_there_is_one_final_answer(self, bench: Bench) -> None:
        bench.transfer.feed(frame(3), frame(TEXT, b"more"), frame(CLOSE))
        assert bench.types() == [b"error"]
        assert bench.ended == 1


class TestClosing:
    def close(self, bench: Bench) -> None:
        bench.send(type="close", code=1000)
        assert bench.session.state is State.CLOSING

    def test_deadline(self, bench: Bench) -> None:
        self.close(bench)
        bench.pass_time(9)
        bench.transfer.feed(frame(TEXT, b"still talking"))
        assert bench.types() == [b"data"]
        bench.pass_time(2)
        (error,) = bench.take()
        assert (error["condition"], error["ext"]["error"]) == (b"session-timeout", b"close-timeout")
        assert bench.transfer.ended == "cut"

    def test_the_setting_is_used(self) -> None:
        bench = Bench(websocket=WebSocketSettings(close_timeout=2.0)).open()
        self.close(bench)
        bench.pass_time(3)
        assert bench.types() == [b"error"]
        bench.loop.close()

    def test_is_no_deadline_for_the_worker(self, bench: Bench) -> None:
        bench.transfer.feed(frame(CLOSE))
        assert bench.types() == [b"close"]
        assert bench.session.state is State.CLOSED_BY_ORIGIN
        for _ in range(3):
            bench.pass_time(20)
            bench.send(type="keep-alive")
        assert bench.session.open
        bench.send(type="close")
        assert bench.ended == 1
        assert bench.transfer.ended == "finished"

    def test_frames_wait_and_the_close_is_behind_them(self) -> None:
        bench = Bench(credits=0).open()
        bench.transfer.feed(frame(TEXT, b"a"), frame(TEXT, b"b"), frame(CLOSE, b"\x03\xe8x"))
        self.close(bench)
        bench.pass_time(9)
        assert bench.types() == []
        bench.pass_time(2)
        (last,) = bench.take()
        assert (last.type, last["code"], last.body) == (b"close", 1000, b"x")
        assert bench.transfer.ended == "finished"
        bench.loop.close()

    def test_origin_has_hung_up(self) -> None:
        bench = Bench(credits=0).open()
        bench.transfer.feed(frame(TEXT, b"a"), frame(CLOSE))
        self.close(bench)
        bench.transfer.hung_up = True
        bench.session.websocket_moved()
        bench.pass_time(1)
        assert bench.types() == []
        bench.pass_time(2)
        assert bench.types() == [b"close"]
        bench.loop.close()

    def test_origin_had_hung_up_before(self) -> None:
        bench = Bench(credits=0).open()
        bench.transfer.feed(frame(TEXT, b"a"))
        bench.transfer.hung_up = True
        bench.transfer.lost = TransferError(b"undefined-condition", "gone")
        bench.pass_time(20)
        assert bench.session.open  # the worker may still want what waits
        self.close(bench)
        bench.pass_time(3)
        assert bench.take()[-1]["condition"] == b"undefined-condition"
        bench.loop.close()

    def test_the_workers_faults_end_in_good_order(self, bench: Bench) -> None:
        bench.send(type="close", code=1006)
        assert bench.take()[0]["condition"] == b"bad-request"
        assert bench.transfer.payloads() == [(1011).to_bytes(2)]
        assert bench.transfer.ended == "finished"


class TestGatewayPings:
    SETTINGS = WebSocketSettings(ping_interval=10.0, ping_timeout=5.0)

    @pytest.fixture
    def pinging(self) -> Iterator[Bench]:
        made = Bench(credits=BUFFER, websocket=self.SETTINGS).open()
        yield made
        made.loop.close()

    def ping(self, bench: Bench) -> bytes:
        """Waits for the next ping; what it holds."""
        bench.transfer.sent.clear()
        for _ in range(21):
            if not bench.transfer.sent:
                bench.pass_time(0.5)
        assert bench.transfer.opcodes() == [PING]
        return bench.transfer.payloads()[0]

    def test_pongs_for_the_gateway_are_not_delivered(self, pinging: Bench) -> None:
        payload = self.ping(pinging)
        pinging.transfer.feed(frame(PONG, payload), frame(PONG, payload + b"x"), frame(PONG))
        assert [packet.body for packet in pinging.take()] == [payload + b"x", b""]
        pinging.pass_time(6)
        assert pinging.session.open

    def test_no_answer_to_a_ping(self, pinging: Bench) -> None:
        self.ping(pinging)
        pinging.pass_time(6)
        error = pinging.take()[-1]
        assert (error["condition"], error["ext"]["error"]) == (b"session-timeout", b"ping-timeout")
        assert pinging.transfer.opcodes() == [PING, CLOSE]

    def test_any_frame_counts_as_an_answer_to_a_ping(self, pinging: Bench) -> None:
        self.ping(pinging)
        pinging.transfer.feed(frame(BINARY))
        pinging.pass_time(6)
        assert pinging.session.open

    def test_not_while_frames_wait(self) -> None:
        bench = Bench(credits=0, websocket=self.SETTINGS).open()
        self.ping(bench)
        bench.transfer.feed(frame(TEXT, b"a"))
        bench.transfer.sent.clear()
        for _ in range(4):
            bench.pass_time(20)
            bench.send(type="keep-alive")
        assert bench.session.open
        assert bench.transfer.sent == []
        bench.send(type="credit", credits=1)
        assert self.ping(bench)
        bench.loop.close()

    def test_not_after_a_close(self, pinging: Bench) -> None:
        pinging.transfer.feed(frame(CLOSE))
        for _ in range(2):
            pinging.pass_time(20)
            pinging.send(type="keep-alive")
        assert pinging.session.open
        assert pinging.transfer.sent == []

    def test_pongs_are_activity(self, pinging: Bench) -> None:
        for _ in range(70):
            pinging.transfer.feed(frame(PONG, self.ping(pinging)))
            pinging.send(type="keep-alive")
        assert pinging.session.open

    def test_an_origin_that_does_not_read(self, pinging: Bench) -> None:
        """No ping joins what waits for room, but something has to come all the same."""
        pinging.transfer.has_room = False
        pinging.send(body="x" * 500)
        pinging.pass_time(16)
        assert pinging.take()[-1]["ext"]["error"] == b"ping-timeout"
        assert PING not in pinging.transfer.opcodes()


class TestPieces:
    def test_as_far_as_credits_reach(self) -> None:
        bench = Bench(credits=700).open()
        bench.transfer.feed(frame(BINARY, b"x" * 1500))
        assert [len(packet.body) for packet in bench.take()] == [700]
        for credits in (100, 200, 300, 400):
            bench.send(type="credit", credits=credits)
        packets = bench.take()
        assert [len(packet.body) for packet in packets] == [100, 200, 300, 200]
        assert [packet.get("more") for packet in packets] == [True, True, True, None]
        bench.loop.close()

    def test_a_small_frame_is_not_split(self) -> None:
        bench = Bench(credits=BUFFER - 1).open()
        bench.transfer.feed(frame(BINARY, b"x" * BUFFER))
        assert bench.types() == []
        bench.send(type="credit", credits=1)
        assert [len(packet.body) for packet in bench.take()] == [BUFFER]
        bench.loop.close()

    def test_refused_where_the_operator_wants_it(self) -> None:
        bench = Bench(websocket=WebSocketSettings(split_frames=False)).open()
        bench.transfer.feed(frame(BINARY, b"x" * (BUFFER + 1)))
        assert bench.take()[0]["condition"] == b"frame-too-large"
        bench.loop.close()


def test_forgotten_pings_are_bounded() -> None:
    """A worker that answers no ping costs a few payloads: the oldest are forgotten."""
    bench = Bench("J", credits=10**6).open()
    payloads = [b"\xff" + number.to_bytes(2) for number in range(100, 200)]
    for payload in payloads:
        bench.transfer.feed(frame(PING, payload))
    shown = [packet.body for packet in bench.take()]
    bench.transfer.sent.clear()
    for body in shown:
        bench.send(type="pong", body=body.decode())
    known = [payload for payload in bench.transfer.payloads() if payload.startswith(b"\xff")]
    assert known == payloads[-32:]
    bench.loop.close()


@given(
    st.lists(st.tuples(st.text(max_size=400), st.integers(1, 1500)), max_size=4),
    st.lists(st.integers(1, 700), max_size=12),
)
@settings(max_examples=200)
def test_json_text_in_any_pieces(texts: list[tuple[str, int]], grants: list[int]) -> None:
    """However frames are cut and credits come: whole characters, nothing lost, all paid once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WebSocketTransfer", FakeTransfer)
        bench = Bench("J", credits=0).open()
    packets: list[Message] = []
    for text, size in texts:
        data = text.encode()
        pieces = [data[i : i + size] for i in range(0, len(data), size)] or [b""]
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            bench.transfer.feed(frame(0 if number else TEXT, piece, fin=last))
            packets += bench.take()
    granted = 0
    for grant in [*grants, *[1000] * 20]:
        granted += grant
        bench.send(type="credit", credits=grant)
        packets += bench.take()
    assert bench.session.open
    messages = "".join(packet.body.decode() + "\n" * (not packet.get("more")) for packet in packets)
    assert messages == "".join(text + "\n" for text, _ in texts)
    assert sum(len(packet.body) for packet in packets) <= granted
    bench.loop.close()


ACTIONS = st.one_of(
    st.tuples(st.just("credit"), st.integers(0, 300) | st.just(5000)),
    st.tuples(st.just("body"), st.binary(max_size=60)),
    st.tuples(st.just("ping"), st.binary(max_size=130)),
    st.tuples(st.just("close"), st.sampled_from([1000, 1005, 4000])),
    st.tuples(st.just("frame"), st.binary(max_size=120)),
    st.tuples(st.just("large frame"), st.integers(BUFFER, 3 * BUFFER).map(bytes)),
    st.tuples(st.just("origin ping"), st.binary(max_size=20)),
    st.tuples(st.just("origin close"), st.just(b"")),
    st.tuples(st.just("violation"), st.just(b"")),
    st.tuples(st.just("lost"), st.just(b"")),
    st.tuples(st.just("slow"), st.just(b"")),
    st.tuples(st.just("caught up"), st.just(b"")),
    st.tuples(st.just("time"), st.integers(1, 40)),
)


@given(st.lists(ACTIONS, max_size=40), st.booleans(), st.integers(0, 500))
@settings(max_examples=300)
def test_any_course_of_events(
    actions: list[tuple[str, Any]], auto_pong: bool, credits: int
) -> None:
    """Whatever happens: one end, no gap, never beyond the credits, data in order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WebSocketTransfer", FakeTransfer)
        bench = Bench(credits=credits, ext={"auto-pong": auto_pong}).open()
    bench.transfer.sent.clear()
    granted, sent_by_origin = credits, b""
    for action, value in actions:
        if not bench.session.open:
            break
        if action == "credit":
            granted += value
            bench.send(type="credit", credits=value)
        elif action == "body":
            bench.send(body=value, content_type="binary")
        elif action == "ping":
            bench.send(type="ping", body=value)
        elif action == "close":
            bench.send(type="close", code=value)
        elif action == "time":
            bench.pass_time(value)
        elif action == "slow":
            bench.slow.add(b"w")
        elif action == "caught up":
            bench.outlet.catch_up()
        elif action == "lost":
            bench.transfer.lost = TransferError(b"undefined-condition", "gone")
            bench.transfer.feed()
        elif bench.transfer.lost is None:
            wire = {
                "frame": frame(BINARY, value),
                "large frame": frame(BINARY, value),
                "origin ping": frame(PING, value),
                "origin close": frame(CLOSE),
                "violation": frame(3),
            }[action]
            sent_by_origin += value if "frame" in action else b""
            bench.transfer.feed(wire)
    packets = bench.take()
    used = sum(len(p.body) for p in packets if p.type in (b"data", b"ping", b"pong"))
    data = b"".join(p.body for p in packets if p.type == b"data")
    assert used <= granted
    assert sent_by_origin.startswith(data)
    assert [p["seq"] for p in packets] == list(range(1, len(packets) + 1))
    finals = [p for p in packets if p.type == b"error"]
    assert len(finals) <= 1
    if finals:
        assert packets[-1].type == b"error"
    assert bench.ended == (0 if bench.session.open else 1)
    assert (bench.transfer.ended == "") == bench.session.open
    if CLOSE in bench.transfer.opcodes():
        assert bench.transfer.opcodes().index(CLOSE) == len(bench.transfer.sent) - 1
    bench.loop.close()
