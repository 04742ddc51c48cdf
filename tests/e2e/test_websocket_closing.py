"""Closing WebSockets where one end does not do its part, and pings of the gateway's own."""

import time
from collections.abc import Callable

import pytest

from tests.support import Connection, Daemon, ScriptedOrigin, Session, Worker
from tests.support.deadline import wait_until
from tests.support.websocket import CLOSE, FIN, PING, PONG, TEXT, accept, frame, read_frame
from tests.support.websocket_session import Wire, begin, expect

Start = Callable[..., tuple[Daemon, Worker]]
GOING = b"\x03\xe8"


def over(worker: Worker, session: Session) -> None:
    """Asserts that the session is no more."""
    session.send(type="keep-alive")
    assert session.next().type == b"cancel"


class TestWorkerCloses:
    def test_while_a_frame_waits_for_credits(self, worker: Worker, origin: ScriptedOrigin) -> None:
        """The origin answers and hangs up: there is an end, and nothing stays behind."""

        def script(connection: Connection) -> None:
            accept(connection, tail=frame(TEXT, b"too much"))
            read_frame(connection)
            connection.send(frame(CLOSE, GOING))

        session = begin(worker, origin, script, credits=1)
        session.send(type="close", code=1000)
        origin.wait_closed()
        began = time.monotonic()
        expect(session.next(), b"close", code=1000, body=b"")
        assert time.monotonic() - began < 8
        over(worker, session)

    def test_credits_that_come_in_time(self, worker: Worker, origin: ScriptedOrigin) -> None:
        def script(connection: Connection) -> None:
            accept(connection, tail=frame(TEXT, b"too much"))
            read_frame(connection)
            connection.send(frame(CLOSE, GOING))

        session = begin(worker, origin, script, credits=1)
        session.send(type="close", code=1000)
        origin.wait_closed()
        session.credit(7)
        expect(session.next(), b"data", body=b"too much")
        expect(session.next(), b"close", code=1000, body=b"")

    def test_origin_hangs_up_without_a_close(self, worker: Worker, origin: ScriptedOrigin) -> None:
        def script(connection: Connection) -> None:
            accept(connection, tail=frame(TEXT, b"too much"))
            read_frame(connection)

        session = begin(worker, origin, script, credits=1)
        session.send(type="close", code=1000)
        expect(session.next(), b"error", condition=b"undefined-condition")

    def test_nothing_is_left_behind(self, start_daemon: Start, origin: ScriptedOrigin) -> None:
        daemon, worker = start_daemon()

        def script(connection: Connection) -> None:
            accept(connection, tail=frame(TEXT, b"too much"))
            read_frame(connection)
            connection.send(frame(CLOSE, GOING))

        def close_all(sessions: list[Session]) -> None:
            for session in sessions:
                session.send(type="close", code=1000)
            for session in sessions:
                session.next()

        close_all([begin(worker, origin, script, credits=1)])  # libcurl opens some to keep
        before = daemon.descriptors()
        close_all([begin(worker, origin, script, credits=1) for _ in range(5)])
        wait_until(lambda: daemon.descriptors() <= before, "the descriptors are given back")

    @pytest.mark.parametrize("what", [b"", frame(TEXT, b"on"), frame(PING, b"and on")])
    def test_origin_never_answers(
        self, start_daemon: Start, origin: ScriptedOrigin, what: bytes
    ) -> None:
        """Whatever it sends meanwhile (RFC 6455 section 7.1.1)."""
        _, worker = start_daemon(websocket_close_timeout=1)

        def script(connection: Connection) -> None:
            accept(connection)
            while True:
                connection.send(what)
                connection.origin.gate("never").wait(0.1)

        session = begin(worker, origin, script)
        began = time.monotonic()
        session.send(type="close", code=1000)
        message = session.skip(b"data", b"ping")
        expect(message, b"error", condition=b"session-timeout")
        assert message["ext"]["error"] == b"close-timeout"
        assert 0.9 < time.monotonic() - began < 9  # ten is the default
        over(worker, session)

    def test_origin_never_answers_and_frames_wait(
        self, start_daemon: Start, origin: ScriptedOrigin
    ) -> None:
        _, worker = start_daemon(websocket_close_timeout=1)

        def script(connection: Connection) -> None:
            accept(connection, tail=frame(TEXT, b"too much"))
            connection.expect_end()

        session = begin(worker, origin, script, credits=1)
        session.send(type="close", code=1000)
        message = session.next()
        expect(message, b"error", condition=b"session-timeout")
        assert message["ext"]["error"] == b"close-timeout"
        origin.wait_closed()

    def test_with_a_code_that_may_not_be_sent(self, worker: Worker, origin: ScriptedOrigin) -> None:
        wire = Wire(frame(CLOSE, GOING))
        session = begin(worker, origin, wire.script)
        expect(session.next(), b"close", code=1000, body=b"")
        session.send(type="close", code=1006)
        assert wire.next() == (FIN | CLOSE, (1011).to_bytes(2))
        over(worker, session)


class TestGatewayPings:
    def test_origin_that_answers(self, start_daemon: Start, origin: ScriptedOrigin) -> None:
        """Its pongs do not reach the worker, and keep an idle connection open."""
        _, worker = start_daemon(websocket_ping_interval=1, websocket_ping_timeout=4, timeout=4)
        wire = Wire()
        session = begin(worker, origin, wire.script)
        began = time.monotonic()
        while time.monotonic() - began < 5:
            seen = wire.next()
            assert seen is not None
            assert seen[0] == FIN | PING
            wire.send(frame(PONG, seen[1]))
        wire.send(frame(PONG, b"another"), frame(TEXT, b"still here"))
        expect(session.skip(b"keep-alive"), b"pong", body=b"another")
        expect(session.next(), b"data", body=b"still here")

    def test_origin_that_does_not(self, start_daemon: Start, origin: ScriptedOrigin) -> None:
        _, worker = start_daemon(websocket_ping_interval=1, websocket_ping_timeout=1)
        wire = Wire()
        began = time.monotonic()
        session = begin(worker, origin, wire.script)
        message = session.next()
        expect(message, b"error", condition=b"session-timeout")
        assert message["ext"]["error"] == b"ping-timeout"
        assert 1.9 < time.monotonic() - began < 15
        seen = wire.next()
        assert seen is not None
        assert seen[0] == FIN | PING
        over(worker, session)

    def test_anything_that_it_sends_counts_as_an_answer(
        self, start_daemon: Start, origin: ScriptedOrigin
    ) -> None:
        _, worker = start_daemon(websocket_ping_interval=1, websocket_ping_timeout=3)

        def script(connection: Connection) -> None:
            accept(connection)
            for _ in range(10):
                connection.send(frame(TEXT, b"x"))
                connection.origin.gate("never").wait(0.5)
            connection.send(frame(CLOSE, GOING))
            connection.expect_end()

        session = begin(worker, origin, script)
        for _ in range(10):
            expect(session.next(), b"data", body=b"x")
        expect(session.next(), b"close", code=1000, body=b"")

    def test_none_by_default(self, worker: Worker, origin: ScriptedOrigin) -> None:
        wire = Wire()
        session = begin(worker, origin, wire.script)
        time.sleep(1.5)
        session.send(body="first")
        assert wire.next() == (FIN | TEXT, b"first")

    def test_a_worker_without_credits_is_no_dead_origin(
        self, start_daemon: Start, origin: ScriptedOrigin
    ) -> None:
        _, worker = start_daemon(websocket_ping_interval=1, websocket_ping_timeout=1)
        wire = Wire(frame(TEXT, b"waits"))
        session = begin(worker, origin, wire.script, credits=0)
        time.sleep(3.5)
        session.credit(5)
        expect(session.next(), b"data", body=b"waits")


class TestDrain:
    def test_close_frames_go_out_before_the_end(
        self, start_daemon: Start, origin: ScriptedOrigin
    ) -> None:
        """Although what the origins send is not read, which makes a plain close a reset."""
        daemon, worker = start_daemon(drain_timeout=1)
        wires = [Wire(frame(TEXT, b"x" * 5000)) for _ in range(20)]
        waiting = list(wires)
        script = lambda connection: waiting.pop().script(connection)  # noqa: E731
        sessions = [begin(worker, origin, script, credits=1) for _ in wires]
        daemon.signal(15)
        for wire in wires:
            assert wire.next() == (FIN | CLOSE, (1001).to_bytes(2))
        for session in sessions:
            message = session.next()
            expect(message, b"error", condition=b"undefined-condition")
        assert daemon.wait() == 0

    def test_an_origin_that_does_not_hang_up_delays_no_stop(
        self, start_daemon: Start, origin: ScriptedOrigin
    ) -> None:
        daemon, worker = start_daemon(drain_timeout=1)

        def script(connection: Connection) -> None:
            accept(connection)
            connection.wait_for("end")

        begin(worker, origin, script)
        began = time.monotonic()
        daemon.signal(15)
        assert daemon.wait() == 0
        assert time.monotonic() - began < 15
        origin.let("end")
