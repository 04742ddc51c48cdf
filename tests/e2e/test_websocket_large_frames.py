"""Frames of more than buffer_size bytes: handed on in pieces, as far as credits reach."""

import zlib
from collections.abc import Callable

import pytest

from tests.support import Connection, Daemon, Message, ScriptedOrigin, Session, Worker
from tests.support.websocket import BINARY, CLOSE, FIN, PING, PONG, TEXT, accept, frame
from tests.support.websocket_session import Wire, begin, expect

Start = Callable[..., tuple[Daemon, Worker]]
BUFFER = 200_000


def message(session: Session, window: int = BUFFER) -> list[Message]:
    """The packets of one message; each is paid for when it has come."""
    found: list[Message] = []
    while not found or found[-1].get("more"):
        found.append(session.skip(b"ping", b"credit"))
        assert found[-1].type == b"data", found[-1]
        assert len(found[-1].body) <= window
        session.credit(len(found[-1].body))
    return found


def joined(packets: list[Message]) -> bytes:
    return b"".join(packet.body for packet in packets)


@pytest.mark.parametrize("format", ["T", "J", "M"])
def test_one_byte_more(worker: Worker, origin: ScriptedOrigin, format: str) -> None:
    worker.format = format
    text = ("κ" * (BUFFER // 2) + "!").encode()
    session = begin(worker, origin, Wire(frame(TEXT, text), frame(TEXT, b"next")).script)
    packets = message(session)
    assert joined(packets) == text
    assert [packet.get("more") for packet in packets] == [True, None]
    assert session.skip(b"credit").body == b"next"


def test_in_worthwhile_pieces(worker: Worker, origin: ScriptedOrigin) -> None:
    body = bytes(range(256)) * 8000
    session = begin(worker, origin, Wire(frame(BINARY, body)).script)
    packets = message(session)
    assert joined(packets) == body
    assert len(packets) <= len(body) // BUFFER + 2
    assert all(packet["content-type"] == b"binary" for packet in packets)


@pytest.mark.parametrize("window", [1, 1000, 70_000])
def test_small_windows(start_daemon: Start, origin: ScriptedOrigin, window: int) -> None:
    """A worker need not take buffer_size at once."""
    _, worker = start_daemon(buffer_size=window * 3)
    body = bytes(range(256)) * (window * 10 // 256 + 1)
    session = begin(worker, origin, Wire(frame(BINARY, body)).script, credits=window)
    assert joined(message(session, window)) == body


def test_json_is_not_cut_within_characters(start_daemon: Start, origin: ScriptedOrigin) -> None:
    _, worker = start_daemon(buffer_size=1000, worker={"format": "J"})
    text = "€𝄞κa" * 500
    session = begin(worker, origin, Wire(frame(TEXT, text.encode())).script, credits=5)
    packets = message(session, 1000)
    assert joined(packets).decode() == text
    assert not any("�" in packet.body.decode() for packet in packets)


def test_fragments_and_pings_around_it(start_daemon: Start, origin: ScriptedOrigin) -> None:
    _, worker = start_daemon(buffer_size=1000)
    wire = Wire(
        frame(TEXT, b"a" * 1500, fin=False),
        frame(PING, b"p"),
        frame(0, b"b" * 1500),
        frame(CLOSE, b"\x03\xe8"),
    )
    session = begin(worker, origin, wire.script, credits=100_000)
    expect(session.next(), b"data", body=b"a" * 1000, more=True)
    expect(session.next(), b"data", body=b"a" * 500, more=True)
    expect(session.next(), b"ping", body=b"p")
    expect(session.next(), b"data", body=b"b" * 1000, more=True)
    expect(session.next(), b"data", body=b"b" * 500)
    expect(session.next(), b"close", code=1000, body=b"")


def test_a_frame_without_end(start_daemon: Start, origin: ScriptedOrigin) -> None:
    """Memory stays what it was, and the worker has what has come."""

    def script(connection: Connection) -> None:
        accept(connection, tail=b"\x82\x7f" + (2**62).to_bytes(8))
        for _ in range(300):
            connection.send(b"x" * 100_000)
        connection.wait_for("end")

    daemon, worker = start_daemon()
    session = begin(worker, origin, script)
    before = daemon.memory()
    received = 0
    while received < 20_000_000:
        packet = session.next()
        expect(packet, b"data", body=packet.body, content_type=b"binary", more=True)
        received += len(packet.body)
        session.credit(len(packet.body))
    assert daemon.memory() - before < 10_000_000
    origin.let("end")


def deflated(data: bytes) -> bytes:
    encoder = zlib.compressobj(wbits=-15)
    return (encoder.compress(data) + encoder.flush(zlib.Z_SYNC_FLUSH))[:-4]


class TestCompressed:
    DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate"

    def wire(self, *frames: bytes) -> Callable[[Connection], None]:
        def script(connection: Connection) -> None:
            accept(connection, self.DEFLATE, tail=b"".join(frames))
            connection.expect_end()

        return script

    def test_a_bomb_comes_as_credits_allow(
        self, start_daemon: Start, origin: ScriptedOrigin
    ) -> None:
        daemon, worker = start_daemon(websocket_compression="true")
        bomb = frame(TEXT, deflated(b"0" * 50_000_000), rsv=4)
        assert len(bomb) < BUFFER
        session = begin(worker, origin, self.wire(bomb), credits=BUFFER)
        before = daemon.memory()
        expect(session.next(), b"data", body=b"0" * BUFFER, more=True)
        worker.fence()
        worker.drain()
        assert daemon.memory() - before < 10_000_000
        session.credit(BUFFER)
        expect(session.next(), b"data", body=b"0" * BUFFER, more=True)
        session.cancel()

    def test_whole(self, start_daemon: Start, origin: ScriptedOrigin) -> None:
        _, worker = start_daemon(websocket_compression="true", buffer_size=10_000)
        text = "κόσμε ".encode() * 10_000
        frames = (frame(TEXT, deflated(text), rsv=4), frame(PING, b"p"))
        session = begin(worker, origin, self.wire(*frames), credits=10_000)
        assert joined(message(session, 10_000)) == text


def test_what_waits_for_credits_does_not_hide_pings(worker: Worker, origin: ScriptedOrigin) -> None:
    wire = Wire(frame(BINARY, b"x" * (BUFFER + 1)), frame(PING, b"there?"))
    session = begin(worker, origin, wire.script, credits=0)
    assert wire.next() == (FIN | PONG, b"there?")
    session.credit(BUFFER)
    expect(session.next(), b"data", body=b"x" * BUFFER, content_type=b"binary", more=True)
    session.credit(1)
    expect(session.next(), b"data", body=b"x", content_type=b"binary")
