"""WebSocket sessions: frames by packets, credits, closing, limits; against a scripted origin."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support import Connection, Daemon, ScriptedOrigin, Session, Worker
from tests.support.deadline import wait_until
from tests.support.websocket import (
    BINARY,
    CLOSE,
    FIN,
    PING,
    PONG,
    TEXT,
    accept,
    echo,
    frame,
    quiet,
    read_frame,
    unanswered,
)
from tests.support.websocket_session import BUFFER, Wire, begin, expect, expect_closed, expect_cut

Start = Callable[..., tuple[Daemon, Worker]]


class TestOpening:
    def test_answer(self, worker: Worker, origin: ScriptedOrigin) -> None:
        origin.script = quiet(b"X-A: b")
        session = worker.start(
            uri=origin.url("/p?q", "ws"), credits=5, user_data={"a": 1}, ext={"multi": True}
        )
        opened = session.next()
        assert opened["from"] == b"gw"
        assert (opened["seq"], opened["code"]) == (0, 101)
        assert opened["reason"] == b"Switching Protocols"
        assert opened["credits"] == BUFFER
        assert opened.header(b"x-a") == b"b"
        assert opened["ext"] == {"multi": True}
        assert opened["user-data"] == {b"a": 1}
        assert "body" not in opened.fields

    def test_request(self, worker: Worker, origin: ScriptedOrigin) -> None:
        origin.script = quiet(b"Sec-WebSocket-Extensions: grip")
        session = worker.start(
            uri=origin.url("/a/../b//c?d=%41", "ws"),
            headers=[
                ["Sec-WebSocket-Key", "theirs"],
                ["Sec-WebSocket-Extensions", "grip"],
                ["X-A", "1"],
                ["Cookie", "c=d"],
                ["Host", "other"],
                ["Connection", "close"],
                ["x-a", "2"],
            ],
        )
        assert session.next().header(b"sec-websocket-extensions") == b"grip"
        request = origin.requests[0]
        assert request.line.startswith(b"GET /a/../b//c?d=")
        pairs = request.headers
        assert [value for name, value in pairs if name.lower() == b"host"] == [
            origin.authority.encode()
        ]
        assert [value for name, value in pairs if name.lower() == b"x-a"] == [b"1", b"2"]
        assert request.get(b"cookie") == b"c=d"
        assert request.get(b"connection") == b"Upgrade"
        assert request.get(b"sec-websocket-key") != b"theirs"
        assert request.get(b"sec-websocket-extensions") == b"grip"

    @pytest.mark.parametrize("target", ["/?", "/a?", "/a?b?"])
    def test_empty_query(self, worker: Worker, origin: ScriptedOrigin, target: str) -> None:
        """It is a part of the target (RFC 3986 section 6.2.3), as it is over HTTP."""
        origin.script = quiet()
        assert worker.start(uri=origin.url(target, "ws")).next()["code"] == 101
        assert origin.requests[0].line == b"GET %b HTTP/1.1" % target.encode()

    @pytest.mark.parametrize("format", ["J", "M", "T"])
    def test_formats(self, worker: Worker, origin: ScriptedOrigin, format: str) -> None:
        worker.format = format
        session = begin(worker, origin, echo)
        session.send(body="κόσμε")
        assert session.skip(b"credit").body == "κόσμε".encode()

    @pytest.mark.parametrize("seq", [None, 1])
    def test_first_seq(self, worker: Worker, origin: ScriptedOrigin, seq: int | None) -> None:
        session = worker.start(uri=origin.url("/", "ws"), seq=seq)
        expect(session.next(), b"error", condition=b"bad-request")

    def test_bad_header(self, worker: Worker, origin: ScriptedOrigin) -> None:
        session = worker.start(uri=origin.url("/", "ws"), headers=[["X", "a\r\nY: b"]])
        expect(session.next(), b"error", condition=b"bad-request")
        assert origin.connections == 0

    def test_fields_that_mean_nothing_here(self, worker: Worker, origin: ScriptedOrigin) -> None:
        session = begin(
            worker, origin, echo, method="POST", body="x", more=True, stream=True, max_size=1
        )
        session.send(body="long")
        assert session.skip(b"credit").body == b"long"

    def test_without_address_nothing_happens(self, worker: Worker, origin: ScriptedOrigin) -> None:
        worker.push({"id": "a", "uri": origin.url("/", "ws"), "seq": 0})
        worker.push({"from": worker.address, "uri": origin.url("/", "ws"), "seq": 0})
        worker.fence()
        assert origin.connections == 0

    def test_not_over_the_request_interface(self, worker: Worker, origin: ScriptedOrigin) -> None:
        answer = worker.request(uri=origin.url("/", "ws"), method="GET")
        assert answer.get("condition") == b"bad-request"


class TestFrames:
    def test_to_the_origin(self, worker: Worker, origin: ScriptedOrigin) -> None:
        wire = Wire()
        session = begin(worker, origin, wire.script)
        session.send(body="text")
        session.send(body=b"\xff\x00", content_type="binary")
        session.send(body="odd", content_type="text")
        session.send(body="")
        session.send(body=b"\xce", more=True)
        session.send(type="ping", body="p")
        session.send(body=b"\xba", more=True, content_type="binary")
        session.send(body="")
        session.send(type="pong", body="q")
        session.send(type="ping")
        seen = [wire.next() for _ in range(10)]
        assert seen == [
            (FIN | TEXT, b"text"),
            (FIN | BINARY, b"\xff\x00"),
            (FIN | TEXT, b"odd"),
            (FIN | TEXT, b""),
            (TEXT, b"\xce"),
            (FIN | PING, b"p"),
            (0, b"\xba"),
            (FIN, b""),
            (FIN | PONG, b"q"),
            (FIN | PING, b""),
        ]
        credits = [session.next() for _ in range(10)]
        assert [message["credits"] for message in credits] == [4, 2, 3, 0, 1, 0, 1, 0, 0, 0]

    def test_from_the_origin(self, worker: Worker, origin: ScriptedOrigin) -> None:
        wire = Wire(
            frame(TEXT, b"text"),
            frame(BINARY, b"\xff\x00", fin=False),
            frame(PING, b"p"),
            frame(0, b"", fin=False),
            frame(0, b"\x01"),
            frame(PONG),
            frame(TEXT),
        )
        session = begin(worker, origin, wire.script)
        expect(session.next(), b"data", body=b"text")
        expect(session.next(), b"data", body=b"\xff\x00", content_type=b"binary", more=True)
        expect(session.next(), b"ping", body=b"p")
        expect(session.next(), b"data", body=b"", content_type=b"binary", more=True)
        expect(session.next(), b"data", body=b"\x01", content_type=b"binary")
        expect(session.next(), b"pong")
        expect(session.next(), b"data", body=b"")
        assert [m["seq"] for m in session.messages] == list(range(8))
        # The worker answers pings: the gateway has sent nothing.
        session.send(body="fence")
        assert wire.next() == (FIN | TEXT, b"fence")

    def test_large_frames(self, start_daemon: Start, origin: ScriptedOrigin) -> None:
        _, worker = start_daemon(buffer_size=5_000_000)
        session = begin(worker, origin, echo, credits=5_000_000)
        body = bytes(range(256)) * 16000
        session.send(body=body, content_type="binary")
        message = session.skip(b"credit")
        assert message.body == body

    def test_frame_of_more_than_the_buffer_to_the_origin(
        self, start_daemon: Start, origin: ScriptedOrigin
    ) -> None:
        wire = Wire()
        _, worker = start_daemon(buffer_size=1000)
        session = begin(worker, origin, wire.script)
        session.send(body="x" * 30_000)
        assert wire.next() == (FIN | TEXT, b"x" * 30_000)
        expect(session.next(), b"credit", credits=30_000)


class TestCredits:
    def test_frames_wait_for_the_credits_that_cover_them(
        self, worker: Worker, origin: ScriptedOrigin
    ) -> None:
        wire = Wire(frame(TEXT, b"12345"), frame(PING, b"pi"), frame(TEXT), frame(TEXT, b"end"))
        session = begin(worker, origin, wire.script, credits=4)
        session.credit(1)
        expect(session.next(), b"data", body=b"12345")
        session.credit(1)
        session.send(body="fence")
        expect(session.next(), b"credit", credits=5)
        session.credit(1)
        expect(session.next(), b"ping", body=b"pi")
        session.credit(0)
        session.send(body="fence")
        # The empty frame waits for a credit, and uses none.
        expect(session.next(), b"credit", credits=5)
        session.credit(1)
        expect(session.next(), b"data", body=b"")
        session.send(body="f", credits=2)
        assert [session.next().type, session.next().type].count(b"data") == 1

    def test_what_is_not_granted_stays_with_the_origin(
        self, start_daemon: Start, origin: ScriptedOrigin
    ) -> None:
        sent = []

        def flood(connection: Connection) -> None:
            accept(connection)
            for _ in range(300):
                connection.send(frame(BINARY, b"x" * 100_000))
                sent.append(1)
            connection.expect_end()

        daemon, worker = start_daemon()
        session = begin(worker, origin, flood, credits=0)
        wait_until(lambda: len(sent) > 0, "the origin sends")
        before = daemon.memory()
        session.credit(1_000_000)
        for _ in range(10):
            expect(session.next(), b"data", body=b"x" * 100_000, content_type=b"binary")
        assert len(sent) < 200
        assert daemon.memory() - before < 5_000_000
        for _ in range(290):
            session.credit(100_000)
        for _ in range(290):
            session.next()
        assert len(sent) == 300

    def test_credits_follow_what_the_origin_takes(
        self, start_daemon: Start, origin: ScriptedOrigin
    ) -> None:
        def slow(connection: Connection) -> None:
            accept(connection)
            connection.wait_for("read")
            for _ in range(100):
                read_frame(connection)
            connection.send(frame(TEXT, b"all"))
            connection.expect_end()

        _, worker = start_daemon(buffer_size=10_000_000)
        session = begin(worker, origin, slow)
        for _ in range(100):
            session.send(body=b"x" * 200_000, content_type="binary")
        worker.fence()
        worker.drain()
        granted = sum(m.get("credits", 0) for m in worker.received if m.type == b"credit")
        assert granted < 15_000_000
        origin.let("read")
        total = 0
        while (message := session.next()).type == b"credit":
            total += message["credits"]
        assert message.body == b"all"
        assert total == 20_000_000

    def test_overstepping_without_end(self, start_daemon: Start, origin: ScriptedOrigin) -> None:
        """Memory is bounded whatever the worker does."""

        def deaf(connection: Connection) -> None:
            accept(connection)
            connection.wait_for("end")

        _, worker = start_daemon(buffer_size=10_000)
        session = begin(worker, origin, deaf)
        for _ in range(100):
            session.send(body=b"x" * 200_000, content_type="binary")
        expect(session.skip(b"credit"), b"error", condition=b"bad-request")
        origin.let("end")

    def test_flood_of_tiny_frames_to_a_slow_worker(
        self, start_daemon: Start, origin: ScriptedOrigin
    ) -> None:
        """Credits count bytes, packets are more than ZeroMQ queues: none may be lost."""
        count = 30_000

        def flood(connection: Connection) -> None:
            accept(connection, tail=frame(TEXT, b"x") * count)
            connection.expect_end()

        _, worker = start_daemon(worker={"hwm": 100}, out_hwm=100)
        session = begin(worker, origin, flood)
        # Nothing is read for a while: the other interface shows that the daemon lives.
        for _ in range(20):
            worker.request(uri="x:", method="GET")
        for number in range(count):
            message = session.next()
            assert message["seq"] == number + 1
            assert message.body == b"x"


class TestClosing:
    def test_by_the_worker(self, worker: Worker, origin: ScriptedOrigin) -> None:
        wire = Wire()
        session = begin(worker, origin, wire.script)
        session.send(type="close", code=3001, body="bye")
        assert wire.next() == (FIN | CLOSE, (3001).to_bytes(2) + b"bye")
        wire.send(frame(TEXT, b"late"), frame(CLOSE, b"\x03\xe8ok"))
        expect(session.next(), b"data", body=b"late")
        expect(session.next(), b"close", code=1000, body=b"ok")
        wire.hang_up()
        worker.fence()
        session.send(type="keep-alive")
        assert session.next().type == b"cancel"  # the session is over

    def test_without_code(self, worker: Worker, origin: ScriptedOrigin) -> None:
        wire = Wire()
        session = begin(worker, origin, wire.script)
        session.send(type="close", body="lost")
        assert wire.next() == (FIN | CLOSE, b"")
        wire.send(frame(CLOSE))
        expect(session.next(), b"close")

    def test_by_the_origin(self, worker: Worker, origin: ScriptedOrigin) -> None:
        wire = Wire(frame(CLOSE, b"\x03\xe9going"))
        session = begin(worker, origin, wire.script)
        expect(session.next(), b"close", code=1001, body=b"going")
        session.send(body="more")
        assert wire.next() == (FIN | TEXT, b"more")
        expect(session.next(), b"credit", credits=4)
        session.send(type="close", code=1001)
        assert wire.next() == (FIN | CLOSE, b"\x03\xe9")
        session.send(type="keep-alive")
        assert session.next().type == b"cancel"

    def test_bare_code(self, worker: Worker, origin: ScriptedOrigin) -> None:
        session = begin(worker, origin, Wire(frame(CLOSE, b"\x03\xe8")).script)
        expect(session.next(), b"close", code=1000, body=b"")

    def test_origin_hangs_up_behind_its_close(self, worker: Worker, origin: ScriptedOrigin) -> None:
        wire = Wire(frame(CLOSE, b"\x03\xe8"))
        session = begin(worker, origin, wire.script)
        expect(session.next(), b"close", code=1000, body=b"")
        wire.hang_up()
        expect(session.next(), b"error", condition=b"undefined-condition")

    def test_connection_lost(self, worker: Worker, origin: ScriptedOrigin) -> None:
        def cut(connection: Connection) -> None:
            accept(connection, tail=frame(TEXT, b"last"))
            connection.close()

        session = begin(worker, origin, cut)
        expect(session.next(), b"data", body=b"last")
        expect(session.next(), b"error", condition=b"undefined-condition")

    def test_connection_reset(self, worker: Worker, origin: ScriptedOrigin) -> None:
        def reset(connection: Connection) -> None:
            accept(connection)
            read_frame(connection)
            connection.reset()

        session = begin(worker, origin, reset)
        session.send(body="x")
        expect(session.skip(b"credit"), b"error", condition=b"undefined-condition")

    def test_lost_after_the_workers_close(self, worker: Worker, origin: ScriptedOrigin) -> None:
        wire = Wire()
        session = begin(worker, origin, wire.script)
        session.send(type="close", code=1000)
        wire.next()
        wire.hang_up()
        expect(session.next(), b"error", condition=b"undefined-condition")

    def test_data_comes_before_the_close(self, worker: Worker, origin: ScriptedOrigin) -> None:
        """In one piece with it, waiting for credits, and the origin is gone meanwhile."""

        def burst(connection: Connection) -> None:
            tail = frame(TEXT, b"one") + frame(TEXT, b"two") + frame(CLOSE, b"\x03\xe8")
            accept(connection, tail=tail)
            connection.close()

        session = begin(worker, origin, burst, credits=0)
        origin.wait_closed()
        session.credit(3)
        expect(session.next(), b"data", body=b"one")
        session.credit(3)
        expect(session.next(), b"data", body=b"two")
        expect(session.next(), b"close", code=1000, body=b"")

    @pytest.mark.parametrize(
        "fields",
        [{"body": "x"}, {"type": "ping"}, {"type": "pong"}, {"type": "close", "code": 1000}],
    )
    def test_writes_after_close(
        self, worker: Worker, origin: ScriptedOrigin, fields: dict[str, Any]
    ) -> None:
        wire = Wire()
        session = begin(worker, origin, wire.script)
        session.send(type="close", code=1000)
        session.send(**fields)
        expect(session.next(), b"error", condition=b"bad-request")
        assert wire.next() == (FIN | CLOSE, b"\x03\xe8")
        expect_cut(wire)

    def test_cancel(self, worker: Worker, origin: ScriptedOrigin) -> None:
        wire = Wire()
        session = begin(worker, origin, wire.script)
        session.cancel()
        expect_cut(wire)

    def test_out_of_sequence(self, worker: Worker, origin: ScriptedOrigin) -> None:
        wire = Wire()
        session = begin(worker, origin, wire.script)
        session.send(body="x", seq=7)
        message = session.next()
        assert (message.type, message["seq"]) == (b"cancel", 1)
        expect_cut(wire)

    def test_daemon_stops(self, start_daemon: Start, origin: ScriptedOrigin) -> None:
        wire = Wire()
        daemon, worker = start_daemon(drain_timeout=0)
        session = begin(worker, origin, wire.script)
        daemon.signal(15)
        assert wire.next() == (FIN | CLOSE, b"\x03\xe9")
        expect(session.next(), b"error", condition=b"undefined-condition")
        assert daemon.wait() == 0


class TestBadInput:
    @pytest.mark.parametrize(
        "fields",
        [
            {"body": b"\xff"},
            {"body": b"\xce"},
            {"type": "ping", "body": "x" * 126},
            {"type": "pong", "body": "x" * 126},
            {"type": "close", "code": 1005},
            {"type": "close", "code": 999},
            {"type": "close", "code": 70000},
            {"type": "close", "code": 1000, "body": "x" * 124},
            {"type": "close", "code": 1000, "body": b"\xff"},
        ],
    )
    def test_is_refused(
        self, worker: Worker, origin: ScriptedOrigin, fields: dict[str, Any]
    ) -> None:
        wire = Wire()
        session = begin(worker, origin, wire.script)
        session.send(**fields)
        expect(session.next(), b"error", condition=b"bad-request")
        # The origin is not to blame, and sees an end in good order.
        expect_closed(wire, 1011)

    def test_text_in_fragments(self, worker: Worker, origin: ScriptedOrigin) -> None:
        wire = Wire()
        session = begin(worker, origin, wire.script)
        session.send(body=b"\xce", more=True)
        assert wire.next() == (TEXT, b"\xce")
        session.send(body=b"a")
        expect(session.skip(b"credit"), b"error", condition=b"bad-request")
        expect_closed(wire, 1011)

    @pytest.mark.parametrize(
        "fields",
        [
            {"type": "keep-alive"},
            {"type": "error", "condition": "x"},
            {"type": "handoff-proceed"},
            {"type": "credit", "credits": -1},
        ],
    )
    def test_what_is_counted_and_ignored(
        self, worker: Worker, origin: ScriptedOrigin, fields: dict[str, Any]
    ) -> None:
        session = begin(worker, origin, echo)
        session.send(**fields)
        session.send(body="x")
        assert session.skip(b"credit").body == b"x"


class TestBeforeTheOutcome:
    def held(self, worker: Worker, origin: ScriptedOrigin, wire: Wire) -> Session:
        def script(connection: Connection) -> None:
            connection.origin.gate("head").wait(20)
            wire.script(connection)

        origin.script = script
        session = worker.start(uri=origin.url("/", "ws"), credits=100)
        wait_until(lambda: origin.connections == 1, "a connection")
        return session

    def test_frames_are_kept(self, worker: Worker, origin: ScriptedOrigin) -> None:
        wire = Wire()
        session = self.held(worker, origin, wire)
        session.send(body="a", more=True)
        session.send(type="ping", body="p")
        session.send(body="b")
        session.send(type="close", code=1000)
        worker.fence()
        origin.let("head")
        assert [wire.next() for _ in range(4)] == [
            (TEXT, b"a"),
            (FIN | PING, b"p"),
            (FIN, b"b"),
            (FIN | CLOSE, b"\x03\xe8"),
        ]
        assert session.next()["code"] == 101
        assert [session.next().get("credits") for _ in range(3)] == [1, 0, 1]
        wire.send(frame(CLOSE, b"\x03\xe8"))
        expect(session.next(), b"close", code=1000, body=b"")

    def test_bad_input_is_refused_then(self, worker: Worker, origin: ScriptedOrigin) -> None:
        wire = Wire()
        session = self.held(worker, origin, wire)
        session.send(type="close", code=1000)
        session.send(body="late")
        origin.let("head")
        assert session.next()["code"] == 101
        expect(session.next(), b"error", condition=b"bad-request")

    def test_too_much_is_refused(self, worker: Worker, origin: ScriptedOrigin) -> None:
        session = self.held(worker, origin, Wire())
        for _ in range(100):
            session.send(body="x")
        expect(session.next(), b"error", condition=b"bad-request")
        origin.let("head")

    def test_cancel(self, worker: Worker, origin: ScriptedOrigin) -> None:
        session = self.held(worker, origin, Wire())
        session.cancel()
        origin.let("head")
        origin.wait_closed()

    def test_timeout(self, worker: Worker, origin: ScriptedOrigin) -> None:
        origin.script = unanswered
        session = worker.start(uri=origin.url("/", "ws"), timeout=200)
        expect(session.next(), b"error", condition=b"session-timeout")
        origin.wait_closed()

    def test_timeout_is_over_with_the_handshake(
        self, start_daemon: Start, origin: ScriptedOrigin
    ) -> None:
        _, worker = start_daemon(timeout=4)
        wire = Wire()
        session = begin(worker, origin, wire.script, timeout=2500)
        # The activity timeout comes later, and is what ends this session.
        expect(session.next(), b"error", condition=b"session-timeout")
        assert wire.next() == (FIN | CLOSE, b"\x03\xe9")


class TestPings:
    def test_answered_by_the_gateway_if_asked_to(
        self, worker: Worker, origin: ScriptedOrigin
    ) -> None:
        wire = Wire(frame(PING, b"first"), frame(TEXT, b"x"))
        session = begin(worker, origin, wire.script, ext={"auto-pong": True})
        assert wire.next() == (FIN | PONG, b"first")
        expect(session.next(), b"data", body=b"x")

    def test_answered_by_the_gateway_where_credits_are_missing(
        self, worker: Worker, origin: ScriptedOrigin
    ) -> None:
        wire = Wire(frame(TEXT, b"12345"), frame(PING, b"there?"), frame(TEXT, b"6"))
        session = begin(worker, origin, wire.script, credits=1)
        assert wire.next() == (FIN | PONG, b"there?")
        wire.send(frame(PING, b"still?"))
        assert wire.next() == (FIN | PONG, b"still?")
        session.credit(5)
        expect(session.next(), b"data", body=b"12345")
        expect(session.next(), b"data", body=b"6")

    def test_not_where_credits_come(self, worker: Worker, origin: ScriptedOrigin) -> None:
        wire = Wire(frame(PING, b"there?"))
        session = begin(worker, origin, wire.script, credits=0)
        session.credit(6)
        expect(session.next(), b"ping", body=b"there?")
        session.send(type="pong", body="there?")
        assert wire.next() == (FIN | PONG, b"there?")
