"""Workers that live longer than the daemon, and workers that vanish."""

from __future__ import annotations

import signal
import socket
import struct
from collections.abc import Callable, Iterator

import pytest
import zmq

from tests.support import (
    Connection,
    Daemon,
    ScriptedOrigin,
    Session,
    Worker,
    free_port,
    reply,
    wait_until,
)
from tests.support.deadline import DEADLINE
from tests.support.messages import decode, encode

Start = Callable[..., tuple[Daemon, Worker]]
_KEYS = ("in_spec", "in_stream_spec", "out_spec", "in_req_spec")
_BODY = b"x" * 3000
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(_BODY) + _BODY


def _tcp() -> dict[str, str]:
    return {key: f"tcp://127.0.0.1:{free_port()}" for key in _KEYS}


def _restart(daemon: Daemon, number: int) -> None:
    daemon.signal(number)
    daemon.wait()
    daemon.start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_a_worker_that_streams_lives_through_a_restart(
    start_daemon: Start, origin: ScriptedOrigin, transport: str, number: int
) -> None:
    specs = _tcp() if transport == "tcp" else {}
    daemon, worker = start_daemon(worker={"instance": b""}, instance_id="", **specs)
    origin.script = reply(_OK)
    old = worker.start(method="GET", uri=origin.url(), stream=True, credits=1000)
    assert len(old.skip(b"keep-alive").body) == 1000
    name = worker.instance
    _restart(daemon, number)
    # Its ROUTER knows no other name: what it sends has to find the new process by the old one.
    # What it sends before it has seen the old one go is lost.
    wait_until(lambda: _is_told_the_end(old), "a cancel")
    worker.fence()  # to what was sent before
    worker.ready()
    assert worker.instance == name
    new = worker.start(method="GET", uri=origin.url(), stream=True, credits=1000)
    new.skip(b"keep-alive")
    new.credit(2000)
    new.finish()
    assert new.body == _BODY


def _is_told_the_end(session: Session) -> bool:
    """Grants credits, where a daemon is there that they can be sent to; whether it is answered."""
    worker = session.worker
    try:
        session.credit(2000)
    except zmq.ZMQError as error:
        if error.errno != zmq.EHOSTUNREACH:
            raise
    worker.sub.poll(100)
    worker.drain()
    return any(m.id == session.id and m.type == b"cancel" for m in worker.received)


def test_two_daemons_have_two_names(start_daemon: Start) -> None:
    settings = {"worker": {"instance": b""}, "instance_id": "", "interfaces": ("stream",)}
    names = {start_daemon(**settings)[1].instance for _ in range(2)}
    assert len(names) == 2


def test_a_worker_that_comes_back_under_its_name_is_answered(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    daemon, worker = start_daemon(max_open_requests=1)
    origin.script = _hold_first
    worker.send_req({"method": "GET", "uri": origin.url("/slot"), "id": "slot"})
    origin.wait_request()
    # The daemon reads no more requests for now, so it has not seen the first of the two go.
    for request in (b"lost", b"asked"):
        named = worker.context.socket(zmq.DEALER)
        named.linger = 0
        named.setsockopt(zmq.IDENTITY, b"worker-1")
        monitor = named.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        named.connect(daemon.endpoints["in_req_spec"])
        assert monitor.poll(int(DEADLINE * 1000))
        named.disable_monitor()
        named.send_multipart(
            [b"", encode({"id": request, "method": "GET", "uri": origin.url("/next")})]
        )
        if request == b"lost":
            named.close(linger=1000)
    origin.let("go on")
    assert worker.recv_req()["code"] == 200
    answered = set()
    while b"asked" not in answered:
        assert named.poll(int(DEADLINE * 1000)), daemon.log()
        answered.add(decode(named.recv_multipart()[-1]).id)


def _hold_first(connection: Connection) -> None:
    if b"/slot" in connection.read_request().line:
        connection.wait_for("go on")
    connection.send(_OK)


@pytest.fixture
def peer() -> Iterator[Callable[[str, bytes], socket.socket]]:
    """Connects to a tcp endpoint, and speaks no more ZMTP than the handshake (RFC 37)."""
    opened: list[socket.socket] = []

    def connect(endpoint: str, kind: bytes) -> socket.socket:
        host, port = endpoint.removeprefix("tcp://").rsplit(":", 1)
        sock = socket.create_connection((host, int(port)), DEADLINE)
        opened.append(sock)
        mechanism = b"NULL".ljust(20, b"\0")
        sock.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x01" + mechanism + bytes(32))
        ready = b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind
        sock.sendall(b"\x04" + bytes([len(ready)]) + ready)
        return sock

    yield connect
    for sock in opened:
        sock.close()


def _read_all(sock: socket.socket) -> bytes:
    data = b""
    while chunk := sock.recv(4096):
        data += chunk
    return data


@pytest.mark.parametrize(("key", "kind"), [("out_spec", b"SUB"), ("in_stream_spec", b"ROUTER")])
def test_a_worker_that_does_not_answer_heartbeats_is_let_go(
    start_daemon: Start, peer: Callable[[str, bytes], socket.socket], key: str, kind: bytes
) -> None:
    daemon, _ = start_daemon(**_tcp(), worker_heartbeat=1, worker_heartbeat_timeout=1)
    assert b"\x04PING" in _read_all(peer(daemon.endpoints[key], kind))


def test_tcp_probes_silent_workers(start_daemon: Start) -> None:
    daemon, worker = start_daemon(**_tcp(), worker_keepalive=30)
    assert worker.requesting
    for key in _KEYS:
        port = int(daemon.endpoints[key].rpartition(":")[2])

        def only_keeps_alive(port: int = port) -> bool:
            # Another timer is set while an acknowledgement is due.
            return {timer for local, timer in _connections() if local == port} == {2}

        wait_until(only_keeps_alive, f"keep-alive on {key}")


def _connections() -> Iterator[tuple[int, int]]:
    """Local port and pending timer (2: keep-alive) of established TCP connections; see proc(5)."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in list(table)[1:]:
            fields = line.split()
            if fields[3] == "01":
                yield int(fields[1].rpartition(":")[2], 16), int(fields[5].partition(":")[0])
