"""Origins that break the protocol: their close code, and the error for the worker."""

import queue
import zlib
from collections.abc import Callable

import pytest

from tests.support import DEADLINE, Connection, Daemon, ScriptedOrigin, Worker
from tests.support.websocket import CLOSE, FIN, PING, TEXT, accept, frame, quiet, read_frame

Start = Callable[..., tuple[Daemon, Worker]]

BAD_TEXT = b"\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80"
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate"

PROTOCOL = {
    "reserved bit 1": frame(TEXT, rsv=4),
    "reserved bit 2": frame(TEXT, rsv=2),
    "reserved bit 3": frame(PING, rsv=1),
    "unknown data opcode": frame(3),
    "unknown control opcode": frame(11),
    "fragmented ping": frame(PING, fin=False),
    "long ping": frame(PING, b"x" * 126),
    "long close": frame(CLOSE, b"\x03\xe8" + b"x" * 124),
    "continuation of nothing": frame(0, b"x"),
    "continuation of nothing, not final": frame(0, b"x", fin=False),
    "message within a message": frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"),
    "masked": b"\x81\x81abcdX",
    "masked and empty": b"\x81\x80abcd",
    "length in too many bytes": b"\x81\x7e\x00\x01x",
    "close code 0": frame(CLOSE, b"\0\0"),
    "close code 999": frame(CLOSE, b"\x03\xe7"),
    "close code 1005": frame(CLOSE, b"\x03\xed"),
    "close code 5000": frame(CLOSE, b"\x13\x88"),
    "close of one byte": frame(CLOSE, b"\x03"),
}
DATA = {
    "text": frame(TEXT, BAD_TEXT),
    "text, told before its end": frame(TEXT, BAD_TEXT + b"x" * 500)[:20],
    "text in fragments": frame(TEXT, BAD_TEXT[:5], fin=False) + frame(0, BAD_TEXT[5:]),
    "text that ends within a character": frame(TEXT, b"\xce"),
    "close reason": frame(CLOSE, b"\x03\xe8\xff"),
}


def check(
    worker: Worker, origin: ScriptedOrigin, wire: bytes, code: int, name: bytes, *headers: bytes
) -> None:
    told: queue.Queue[tuple[int, bytes]] = queue.Queue()

    def script(connection: Connection) -> None:
        accept(connection, *headers)
        connection.send(wire)
        told.put(read_frame(connection))

    origin.script = script
    session = worker.start(uri=origin.url("/", "ws"), credits=200_000)
    message = session.skip(b"data")
    assert message.type == b"error", message
    expected = b"frame-too-large" if code == 1009 else b"undefined-condition"
    assert message["condition"] == expected
    assert message["ext"]["error"] == name
    assert message["ext"]["detail"]
    head, payload = told.get(timeout=DEADLINE)
    assert (head, payload[:2]) == (FIN | CLOSE, code.to_bytes(2))
    # The reason tells the origin what was wrong.
    assert payload[2:].decode() in message["ext"]["detail"].decode()


@pytest.mark.parametrize("wire", PROTOCOL.values(), ids=PROTOCOL.keys())
def test_protocol_errors(worker: Worker, origin: ScriptedOrigin, wire: bytes) -> None:
    check(worker, origin, wire, 1002, b"protocol-error")


@pytest.mark.parametrize("wire", DATA.values(), ids=DATA.keys())
def test_invalid_data(worker: Worker, origin: ScriptedOrigin, wire: bytes) -> None:
    check(worker, origin, wire, 1007, b"invalid-data")


@pytest.mark.parametrize(
    "wire",
    [
        frame(TEXT, b"x" * 200_001)[:10],
        b"\x82\x7f" + (2**62).to_bytes(8),
        frame(TEXT, b"x", fin=False) + b"\x80\x7f" + (2**40).to_bytes(8),
    ],
    ids=["by one byte", "by far", "in a fragment"],
)
def test_frame_too_large(start_daemon: Start, origin: ScriptedOrigin, wire: bytes) -> None:
    """Told from the header: nothing of the payload is waited for."""
    _, worker = start_daemon(websocket_large_frames="refuse")
    check(worker, origin, wire, 1009, b"frame-too-large")


def test_largest_frame(start_daemon: Start, origin: ScriptedOrigin) -> None:
    _, worker = start_daemon(buffer_size=1000)
    origin.script = quiet(tail=frame(TEXT, b"x" * 1000))
    session = worker.start(uri=origin.url("/", "ws"), credits=1000)
    assert session.next()["code"] == 101
    assert session.next().body == b"x" * 1000


def test_what_came_before_is_delivered(worker: Worker, origin: ScriptedOrigin) -> None:
    def script(connection: Connection) -> None:
        accept(connection, tail=frame(TEXT, b"good") + frame(3))
        connection.close()

    origin.script = script
    session = worker.start(uri=origin.url("/", "ws"), credits=0)
    assert session.next()["code"] == 101
    origin.wait_closed()
    session.credit(4)
    assert session.next().body == b"good"
    assert session.next()["ext"]["error"] == b"protocol-error"


def deflated(data: bytes) -> bytes:
    encoder = zlib.compressobj(wbits=-15)
    return (encoder.compress(data) + encoder.flush(zlib.Z_SYNC_FLUSH))[:-4]


class TestCompressed:
    @pytest.fixture
    def compressing(self, start_daemon: Start) -> Worker:
        return start_daemon(websocket_compression="true", buffer_size=100_000)[1]

    def test_bomb(self, start_daemon: Start, origin: ScriptedOrigin) -> None:
        _, compressing = start_daemon(
            websocket_compression="true", buffer_size=100_000, websocket_large_frames="refuse"
        )
        wire = frame(TEXT, deflated(b"\0" * 50_000_000), rsv=4)
        assert len(wire) < 100_000
        check(compressing, origin, wire, 1009, b"frame-too-large", DEFLATE)

    def test_garbage(self, compressing: Worker, origin: ScriptedOrigin) -> None:
        wire = frame(TEXT, b"\xff" * 20, rsv=4)
        check(compressing, origin, wire, 1007, b"invalid-data", DEFLATE)

    def test_bad_text(self, compressing: Worker, origin: ScriptedOrigin) -> None:
        wire = frame(TEXT, deflated(BAD_TEXT), rsv=4)
        check(compressing, origin, wire, 1007, b"invalid-data", DEFLATE)

    def test_compressed_without_agreement(
        self, compressing: Worker, origin: ScriptedOrigin
    ) -> None:
        wire = frame(TEXT, deflated(b"x" * 99), rsv=4)
        check(compressing, origin, wire, 1002, b"protocol-error")

    def test_compressed_ping(self, compressing: Worker, origin: ScriptedOrigin) -> None:
        check(compressing, origin, frame(PING, rsv=4), 1002, b"protocol-error", DEFLATE)

    def test_its_extension_is_not_shown(self, compressing: Worker, origin: ScriptedOrigin) -> None:
        origin.script = quiet(DEFLATE)
        opened = compressing.start(uri=origin.url("/", "ws")).next()
        assert opened["code"] == 101
        assert opened.header(b"sec-websocket-extensions") is None
        offer = origin.requests[0].get(b"sec-websocket-extensions")
        assert offer == b"permessage-deflate; client_max_window_bits"
