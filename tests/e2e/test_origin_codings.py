"""Content codings: what is undone, what is handed on, and what bombs may cost everybody else."""

from __future__ import annotations

import gzip
import sys
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any

import brotli
import pytest

from tests.support import Connection, Daemon, ScriptedOrigin, Session, Worker, reply
from tests.support.messages import Message

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Start = Callable[..., tuple[Daemon, Worker]]
PLAIN = b"".join(b"line %d of the body\n" % number for number in range(400))


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKED = {
    "gzip": ("gzip", gzip.compress(PLAIN)),
    "x-gzip": ("X-GZip", gzip.compress(PLAIN)),
    "members": ("gzip", gzip.compress(PLAIN[:100]) + gzip.compress(PLAIN[100:])),
    "deflate": ("deflate", zlib.compress(PLAIN)),
    "raw deflate": ("deflate", _raw_deflate(PLAIN)),
    "br": ("br", brotli.compress(PLAIN)),
    "zstd": ("zstd", zstd.compress(PLAIN)),
    "identity, gzip": ("identity, gzip", gzip.compress(PLAIN)),
}
JUNK = {"zeros": b"\0" * 30, "newline": b"\n", "words": b"more"}
every_coding = pytest.mark.parametrize("kind", PACKED)


def answer(coding: str, body: bytes, more: bytes = b"", status: bytes = b"200 OK") -> bytes:
    head = b"HTTP/1.1 %b\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n%b\r\n"
    return head % (status, coding.encode(), len(body), more) + body


def both(worker: Worker, origin: ScriptedOrigin, **fields: Any) -> list[Message]:
    """The answer over the request interface, and over a session: head and body in one message."""
    whole = worker.request(method="GET", uri=origin.url(), **fields)
    session = worker.start(method="GET", uri=origin.url(), stream=True, credits=9_000_000, **fields)
    last = session.finish()[-1]
    if last.type == b"error":
        return [whole, last]
    first = next(message for message in session.messages if message.get("code"))
    first.fields["body"] = session.body
    return [whole, first]


def names(message: Message) -> dict[bytes, bytes]:
    return {name.lower(): value for name, value in message["headers"]}


# -- undone --------------------------------------------------------------------------------------


@every_coding
def test_a_body_is_decoded(worker: Worker, origin: ScriptedOrigin, kind: str) -> None:
    """Content-Encoding stays, as with Zurl; Content-Length, which is not the body's, goes."""
    coding, packed = PACKED[kind]
    origin.script = reply(answer(coding, packed))
    for message in both(worker, origin):
        assert message.body == PLAIN
        assert names(message)[b"content-encoding"] == coding.encode()
        assert b"content-length" not in names(message)


@every_coding
@pytest.mark.parametrize("junk", JUNK)
def test_bytes_after_the_coded_body_are_ignored(
    worker: Worker, origin: ScriptedOrigin, kind: str, junk: str
) -> None:
    coding, packed = PACKED[kind]
    origin.script = reply(answer(coding, packed + JUNK[junk]))
    assert [message.body for message in both(worker, origin)] == [PLAIN, PLAIN]


@every_coding
def test_a_coded_body_may_come_byte_by_byte(
    worker: Worker, origin: ScriptedOrigin, kind: str
) -> None:
    coding, packed = PACKED[kind]

    def script(connection: Connection) -> None:
        while True:
            connection.read_request()
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\n" % coding.encode())
            connection.send(b"Transfer-Encoding: chunked\r\n\r\n")
            for byte in packed[:200]:
                connection.send(b"1\r\n%c\r\n" % byte)
            connection.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed) - 200, packed[200:]))

    origin.script = script
    assert [message.body for message in both(worker, origin)] == [PLAIN, PLAIN]


def test_all_four_are_offered(worker: Worker, origin: ScriptedOrigin) -> None:
    worker.request(method="GET", uri=origin.url(), headers=[["Accept-Encoding", "compress"]])
    assert origin.requests[0].get(b"accept-encoding") == b"gzip, deflate, br, zstd"


def test_events_come_out_as_they_come_in(worker: Worker, origin: ScriptedOrigin) -> None:
    packer = zlib.compressobj(wbits=31)

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")
        for number in range(3):
            connection.send(packer.compress(b"event %d" % number) + packer.flush(zlib.Z_SYNC_FLUSH))
            connection.wait_for(f"event {number} is there")
        connection.send(packer.flush())

    origin.script = script
    session = worker.start(method="GET", uri=origin.url(), stream=True, credits=1000)
    for number in range(3):
        while not session.body.endswith(b"event %d" % number):
            session.next()
        origin.let(f"event {number} is there")
    assert session.finish()[-1].type == b"data"


# -- handed on -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "coding", ["UTF-8", "utf-8", "binary", "none", "identity", "compress", "utf-8, gzip", "gzip, x"]
)
def test_a_coding_that_was_not_offered_is_handed_on(
    worker: Worker, origin: ScriptedOrigin, coding: str
) -> None:
    origin.script = reply(answer(coding, b"as it came"))
    for message in both(worker, origin):
        assert message.body == b"as it came"
        assert names(message)[b"content-encoding"] == coding.encode()
        assert names(message)[b"content-length"] == b"10"


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_where_no_coding_is_offered(worker: Worker, origin: ScriptedOrigin, method: str) -> None:
    """HEAD tells the length that a GET would have; part of coded data cannot be undone."""
    packed = gzip.compress(PLAIN)
    whole = answer("gzip", packed)
    part = answer("gzip", packed[10:20], b"Content-Range: bytes 10-19/900\r\n", b"206 Part")
    for script in (reply(whole if method == "GET" else whole.partition(packed)[0]), reply(part)):
        if method == "HEAD" and script is not None and origin.requests:
            break
        origin.script = script
        headers = [] if method == "HEAD" else [["Range", "bytes=10-19"]]
        message = worker.request(method=method, uri=origin.url(), headers=headers)
        assert origin.requests[-1].get(b"accept-encoding") is None
        expected = {"HEAD": b"", 200: packed, 206: packed[10:20]}
        assert message.body == expected[method if method == "HEAD" else message["code"]]
        assert b"content-length" in names(message)
        for connection in list(origin.live.values()):
            connection.half_close()


def test_a_partial_body_is_never_decoded(worker: Worker, origin: ScriptedOrigin) -> None:
    origin.script = reply(answer("gzip", b"12345", status=b"206 Partial Content"))
    assert [message.body for message in both(worker, origin)] == [b"12345", b"12345"]


# -- refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", b"this is plain"),
        ("br", b"this is plain"),
        ("zstd", b"this is plain"),
        ("deflate", b"this is plain"),
        ("gzip, gzip", gzip.compress(gzip.compress(PLAIN))),
        ("br, gzip", gzip.compress(brotli.compress(PLAIN))),
    ],
)
def test_a_body_that_does_not_fit_its_coding(
    worker: Worker, origin: ScriptedOrigin, coding: str, body: bytes
) -> None:
    origin.script = reply(answer(coding, body))
    for message in both(worker, origin):
        assert message.get("condition") == b"undefined-condition"
    assert worker.daemon.alive


def test_max_size_counts_what_is_handed_over(worker: Worker, origin: ScriptedOrigin) -> None:
    origin.script = reply(answer("gzip", gzip.compress(b"hello")))
    assert [message.body for message in both(worker, origin, max_size=10)] == [b"hello", b"hello"]
    for message in both(worker, origin, max_size=4):
        assert message["condition"] == b"max-size-exceeded"


def test_max_expansion(start_daemon: Start, origin: ScriptedOrigin) -> None:
    _, worker = start_daemon(max_expansion=100)
    origin.script = reply(answer("gzip", gzip.compress(bytes(5_000_000))), close=True)
    for message in both(worker, origin):
        assert message["condition"] == b"max-size-exceeded"
    origin.script = reply(answer("gzip", gzip.compress(PLAIN * 20)))
    assert [message.body for message in both(worker, origin)] == [PLAIN * 20] * 2


# -- what it may cost ----------------------------------------------------------------------------

_MB = 1_000_000


def _four_times(data: bytes) -> bytes:
    """Under 1 kB; undone, and undone again, it is gigabytes of nothing."""
    for _ in range(3):
        data = gzip.compress(data, 9, mtime=0)
    return data


BOMBS = {
    "gzip": ("gzip", gzip.compress(bytes(200 * _MB), 9)),
    "gzip thrice": ("gzip, gzip, gzip", _four_times(bytes(100 * _MB))),
    "br": ("br", brotli.compress(bytes(200 * _MB), quality=4)),
    "zstd": ("zstd", zstd.compress(bytes(200 * _MB))),
    "deflate": ("deflate", zlib.compress(bytes(200 * _MB), 9)),
    "empty members": ("gzip", gzip.compress(b"") * 100_000),
    "empty blocks": ("deflate", b"\0\0\0\xff\xff" * 400_000 + b"\3\0"),
    "empty frames": ("zstd", zstd.compress(b"") * 100_000),
    "tiny frames": ("zstd", zstd.compress(b"x") * 20_000),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_does_not_stop_others(
    start_daemon: Start, origin: ScriptedOrigin, kind: str
) -> None:
    """Others are answered while it is undone, and it takes no more memory than it may."""
    coding, packed = BOMBS[kind]
    daemon, worker = start_daemon(max_response_size=20 * _MB, buffer_size=100_000)
    plain = ScriptedOrigin(reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"))
    with plain, Worker(daemon, address=b"other") as other:
        other.ready()
        other.request(method="GET", uri=plain.url())
        before = daemon.memory()
        origin.script = reply(answer(coding, packed))
        for number in range(5):
            worker.send_req({"method": "GET", "uri": origin.url(), "id": str(number)})
        session = worker.start(method="GET", uri=origin.url(), stream=True, credits=1000)
        slowest = peak = 0.0
        answers: list[Message] = []
        end = time.monotonic() + 60
        while len(answers) < 5 and time.monotonic() < end:
            started = daemon.loop_seconds()  # the clock would count what else the machine does
            assert other.request(method="GET", uri=plain.url()).body == b"hi"
            slowest = max(slowest, daemon.loop_seconds() - started)
            peak = max(peak, daemon.memory() - before)
            while worker.dealer.poll(0):
                answers.append(worker.recv_req())
        assert len(answers) == 5
        assert slowest < 1.0
        assert peak < 20 * _MB * 4 + 5 * len(packed) * 1.3
        if not answers[0].get("code"):
            assert {message.type for message in answers} == {b"error"}
        session.cancel()


def test_without_credits_a_coded_body_takes_little_memory(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    packed = brotli.compress(bytes(500 * _MB), quality=4)
    daemon, worker = start_daemon(buffer_size=50_000)
    origin.script = reply(answer("br", packed))
    worker.request(method="GET", uri="x:")
    before = daemon.memory()
    sessions = [
        worker.start(method="GET", uri=origin.url(), stream=True, credits=1) for _ in range(30)
    ]
    for session in sessions:
        while not session.body:
            session.next()
    # Brotli undoes as much as its window holds before it gives any of it: here 4 MB, at most 16.
    assert daemon.memory() - before < 30 * (4_500_000 + 100_000)


def test_a_body_of_80_mb_streams_through(worker: Worker, origin: ScriptedOrigin) -> None:
    block = b"".join(b"%d," % (number * number) for number in range(150_000))
    plain = block * (80 * _MB // len(block) + 1)
    packed = brotli.compress(plain, quality=1)
    origin.script = reply(answer("br", packed))
    checksum = _download(worker.start(method="GET", uri=origin.url(), stream=True, credits=200_000))
    assert checksum == (len(plain), zlib.crc32(plain))


def _download(session: Session) -> tuple[int, int]:
    """Length and checksum of a body whose credits come back as it is read."""
    size = checksum = 0
    while True:
        message = session.next()
        if message.type == b"keep-alive":
            continue
        assert message.type == b"data", message
        size += len(message.body)
        checksum = zlib.crc32(message.body, checksum)
        session.messages.clear()
        if message.is_final:
            return size, checksum
        if message.body:
            session.credit(len(message.body))


def test_memory_comes_back_after_large_bodies(start_daemon: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start_daemon()
    packed = gzip.compress(bytes(30 * _MB), 6)
    origin.script = reply(answer("gzip", packed))
    worker.request(method="GET", uri="x:")
    before = daemon.memory()
    for _ in range(6):
        worker.send_req({"method": "GET", "uri": origin.url()})
    for _ in range(6):
        assert len(worker.recv_req().body) == 30 * _MB
    end = time.monotonic() + 20
    while daemon.memory() - before > 30 * _MB and time.monotonic() < end:
        threading.Event().wait(0.1)
    assert daemon.memory() - before < 30 * _MB


def test_a_body_in_tiny_chunks_takes_its_size(start_daemon: Start, origin: ScriptedOrigin) -> None:
    """Not an object for every two bytes."""
    daemon, worker = start_daemon()
    count = 1_000_000

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            connection.send(b"2\r\nab\r\n" * (count // 100))
        connection.wait_for("measured")
        connection.send(b"0\r\n\r\n")
        connection.expect_end()

    origin.script = script
    worker.request(method="GET", uri="x:")
    before = daemon.memory()
    worker.send_req({"method": "GET", "uri": origin.url()})
    end = time.monotonic() + 30
    used = daemon.cpu_seconds()
    while time.monotonic() < end:  # until it is idle
        threading.Event().wait(0.3)
        now = daemon.cpu_seconds()
        if now - used < 0.02:
            break
        used = now
    assert daemon.memory() - before < 4 * 2 * count + 10 * _MB
    origin.let("measured")
    assert worker.recv_req().body == b"ab" * count


def test_a_large_json_answer_takes_a_few_times_its_size(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    daemon, worker = start_daemon()
    size = 90 * _MB
    body = b"0123456789abcdef" * (size // 16)
    origin.script = reply(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    worker.request(method="GET", uri="x:")
    before = daemon.memory()
    peak = 0.0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, daemon.memory() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    message = worker.request(timeout=60, format="J", method="GET", uri=origin.url())
    done.set()
    watcher.join()
    assert message.body == body
    assert peak < 5 * size


@pytest.mark.parametrize("format", ["J", "T", "M"])
def test_a_large_answer_does_not_stop_others(
    start_daemon: Start, origin: ScriptedOrigin, format: str
) -> None:
    """In JSON, bytes that are no text cost twenty times as much as text."""
    daemon, worker = start_daemon()
    body = bytes(range(256)) * (20 * _MB // 256)
    origin.script = reply(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    with Worker(daemon, address=b"other") as other:
        other.ready()
        worker.send_req({"method": "GET", "uri": origin.url()}, format)
        slowest = 0.0
        end = time.monotonic() + 60
        while not worker.dealer.poll(0) and time.monotonic() < end:
            started = daemon.cpu_seconds()
            other.request(method="GET", uri="x:")
            slowest = max(slowest, daemon.loop_seconds() - started)
        answer = worker.recv_req()
    expected = body.decode("utf-8", "replace").encode() if format == "J" else body
    assert answer.body == expected
    assert slowest < 0.5
