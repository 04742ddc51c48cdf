"""The status listener: its answers, its limits, and that clients cannot block it."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import free_port
from tests.support.deadline import DEADLINE
from zurl_py.config.listener import Listener, parse_listener
from zurl_py.journal import STREAM, Account
from zurl_py.log import ERROR, Log
from zurl_py.loop import Loop, Timer
from zurl_py.messaging import BindError
from zurl_py.metrics import Metrics
from zurl_py.status import Monitors, Pages, StatusListener


class House:
    """A listener, and a loop that can be turned in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self.address = Listener(path=str(path / "status"))
        self.loop = Loop()
        self.log = Log(ERROR, str(path / "log"))
        self.metrics = Metrics()
        self.monitors = Monitors()
        self.ill = ""
        self.pages = Pages(self.metrics, lambda: self.ill, lambda: {"sessions": 3})
        self.listener = self.listen(self.address)
        self._ends = False
        self._asked: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._turn)
        self._thread.start()

    def listen(self, address: Listener, mode: int | None = None) -> StatusListener:
        return StatusListener(address, mode, self.loop, self.log, self.pages, self.monitors)

    def _turn(self) -> None:
        tick = Timer(lambda: None)
        while not self._ends:
            self.loop.set_timer(tick, self.loop.now + 0.02)
            self.loop.turn(wait=True)
            with contextlib.suppress(queue.Empty):
                self._asked.get_nowait()()

    def ended(self, *accounts: Account) -> float:
        """Tells the monitors on the loop's thread, as a daemon does; seconds that it took it."""
        taken: queue.SimpleQueue[float] = queue.SimpleQueue()

        def tell() -> None:
            begun = time.thread_time()
            for each in accounts:
                self.monitors.ended(each)
            taken.put(time.thread_time() - begun)

        self._asked.put(tell)
        return taken.get(timeout=DEADLINE)

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        client.connect(self.address.path)
        return client

    def ask(self, request: bytes) -> bytes:
        with self.connect() as client:
            client.sendall(request)
            return b"".join(iter(lambda: client.recv(65536), b""))

    def close(self) -> None:
        self._ends = True
        self._thread.join(10)
        self.listener.close()
        self.log.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def get(target: str, *lines: str, method: str = "GET") -> bytes:
    return "\r\n".join((f"{method} {target} HTTP/1.1", "Host: x", *lines, "", "")).encode()


def parts(response: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = response.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines)
    return int(status.split()[1]), fields, body


# -- pages -------------------------------------------------------------------------------------


def test_metrics_in_the_format_that_is_asked_for(house: House) -> None:
    status, fields, body = parts(house.ask(get("/metrics")))
    assert (status, fields["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert b"zurl_requests_total{" in body
    assert int(fields["Content-Length"]) == len(body)
    # What Prometheus 2.42 sends
    prometheus = (
        "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    )
    _, fields, body = parts(house.ask(get("/metrics", f"Accept: {prometheus}")))
    assert fields["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    ("accept", "open_metrics"),
    [
        ("application/openmetrics-text", True),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", True),
        ("application/openmetrics-text;version=0.0.1", False),
        ("application/openmetrics-text;q=0.2,text/plain;q=0.3", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=x", False),
        ("*/*", False),
        ("text/html", False),
    ],
)
def test_accept_is_negotiated(house: House, accept: str, open_metrics: bool) -> None:
    _, fields, _ = parts(house.ask(get("/metrics", f"accept:{accept}")))
    assert ("openmetrics" in fields["Content-Type"]) is open_metrics


def test_health_and_status(house: House) -> None:
    assert parts(house.ask(get("/healthz")))[::2] == (200, b"ok\n")
    house.ill = "draining"
    assert parts(house.ask(get("/healthz")))[::2] == (503, b"draining\n")
    status, fields, body = parts(house.ask(get("/status")))
    assert (status, fields["Content-Type"], body) == (
        200,
        "application/json",
        b'{"sessions":3}\n',
    )


def test_head_has_no_body(house: House) -> None:
    status, fields, body = parts(house.ask(get("/status", method="HEAD")))
    assert (status, body) == (200, b"")
    assert int(fields["Content-Length"]) > 0


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/nothing"), 404),
        (get("/metrics/"), 404),
        (get("/metrics", method="POST"), 405),
        (get("/metrics", method="DELETE"), 405),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /metrics\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\n", 400),
        (get("/monitor?" + "&".join("a=1" for _ in range(50))), 400),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 9000, 431),
    ],
)
def test_unknown_paths_and_methods_are_refused(house: House, request_: bytes, status: int) -> None:
    found, fields, _ = parts(house.ask(request_))
    assert found == status
    assert fields["Connection"] == "close"
    assert (found == 405) is ("Allow" in fields)


def test_a_request_may_come_byte_by_byte(house: House) -> None:
    with house.connect() as client:
        for byte in get("/healthz"):
            client.sendall(bytes([byte]))
        assert client.recv(4096).startswith(b"HTTP/1.1 200")


def test_a_page_larger_than_the_socket_takes_arrives_whole(house: House) -> None:
    big = {"text": "x" * 3_000_000}
    house.pages._status = lambda: big
    with house.connect() as client:
        client.sendall(get("/status"))
        time.sleep(0.1)  # it fills the socket meanwhile
        body = b"".join(iter(lambda: client.recv(65536), b"")).partition(b"\r\n\r\n")[2]
    assert len(body) == 3_000_000 + len('{"text":""}\n')


# -- limits ------------------------------------------------------------------------------------


def test_sixteen_connections_at_once_and_more_are_closed(house: House) -> None:
    """Bound: 16 connections."""
    clients = [house.connect() for _ in range(16)]
    for client in clients:
        client.sendall(b"GET ")
    with house.connect() as late:
        assert late.recv(1) == b""
    clients[0].sendall(b"/healthz HTTP/1.1\r\n\r\n")
    assert clients[0].recv(12) == b"HTTP/1.1 200"
    clients[0].close()
    assert parts(house.ask(get("/healthz")))[0] == 200
    for client in clients:
        client.close()


def test_each_connection_has_ten_seconds(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bound: ten seconds from accept to close, however busy the other side looks."""
    import zurl_py.status.connection

    assert zurl_py.status.connection.TIMEOUT == 10.0
    monkeypatch.setattr(zurl_py.status.connection, "TIMEOUT", 0.5)
    begun = time.monotonic()
    with house.connect() as client:
        try:
            while time.monotonic() - begun < 8:
                client.sendall(b"x")
                time.sleep(0.05)
        except OSError:
            pass
        assert 0.3 < time.monotonic() - begun < 5
    assert parts(house.ask(get("/healthz")))[0] == 200


# -- monitors ----------------------------------------------------------------------------------


def account(number: int, host: str = "example.com", error: str = "", code: int = 200) -> Account:
    made = Account(number, STREAM, b"id%d" % number, b"w", 0.0)
    made.host, made.url, made.method = host, f"http://{host}/", "GET"
    made.error = error
    made.code = None if error else code
    made.outcome = "tls-error" if error else f"{code // 100}xx"
    return made


def watch(house: House, query: str = "") -> socket.socket:
    client = house.connect()
    client.sendall(get(f"/monitor{query}"))
    head = b""
    while b"\r\n\r\n" not in head:
        byte = client.recv(1)
        assert byte, head
        head += byte
    assert b"application/x-ndjson" in head
    return client


def read_lines(client: socket.socket, count: int) -> list[bytes]:
    data = b""
    while data.count(b"\n") < count:
        piece = client.recv(65536)
        assert piece, data
        data += piece
    return data.splitlines()


def test_a_monitor_gets_every_outcome_and_outlives_ten_seconds(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zurl_py.status.connection

    monkeypatch.setattr(zurl_py.status.connection, "TIMEOUT", 1.0)
    with watch(house) as client:
        time.sleep(1.5)
        house.ended(*(account(number) for number in range(3)))
        lines = read_lines(client, 3)
    assert [b'"session":%d' % number in line for number, line in enumerate(lines)] == [True] * 3
    assert all(b'"event":"outcome"' in line for line in lines)


@pytest.mark.parametrize(
    ("query", "sessions"),
    [
        ("", [1, 2, 3, 4]),
        ("?errors=1", [2, 3]),
        ("?host=example.com", [1, 2, 4]),
        ("?host=Other.example", [3]),
        ("?host=ample.com", []),
        ("?condition=tls-error", [2]),
        ("?condition=deny", [2]),
        ("?worker=w", [1, 2, 3, 4]),
        ("?worker=x", []),
    ],
)
def test_filters(house: House, query: str, sessions: list[int]) -> None:
    with watch(house, query) as client, watch(house) as everything:
        house.ended(
            account(1),
            account(2, error="deny"),
            account(3, host="other.example", code=503),
            account(4, host="sub.example.com", code=404),
        )
        read_lines(everything, 4)
        lines = read_lines(client, len(sessions)) if sessions else []
    assert [
        b'"session":%d,' % number in line for number, line in zip(sessions, lines, strict=True)
    ] == [True for _ in sessions]


def test_a_slow_monitor_loses_lines_is_told_how_many_and_slows_nobody(house: House) -> None:
    """Bound: half a megabyte held for one that reads nothing."""
    total = 20_000
    with watch(house) as client:
        assert house.ended(*(account(number) for number in range(total))) < 5
        assert parts(house.ask(get("/healthz")))[0] == 200
        data = b""
        while b"lines were lost" not in data:
            data += client.recv(65536)
        house.ended(account(total))
        while b'"session":%d' % total not in data:
            data += client.recv(65536)
    lines = data.splitlines()
    lost = sum(
        int(line.partition(b'"lost":')[2].rstrip(b"}")) for line in lines if b'"lost":' in line
    )
    got = sum(b'"event":"outcome"' in line for line in lines)
    assert lost + got == total + 1
    assert got < total


def test_monitors_that_go_away_are_forgotten(house: House) -> None:
    for _ in range(40):
        watch(house).close()
    deadline = time.monotonic() + 10
    while len(house.listener) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (len(house.listener), len(house.monitors)) == (0, 0)


# -- the socket --------------------------------------------------------------------------------


def test_a_unix_socket_has_its_mode_and_goes_with_the_daemon(house: House, tmp_path: Path) -> None:
    path = tmp_path / "other"
    listener = house.listen(Listener(path=str(path)), 0o660)
    assert path.stat().st_mode & 0o777 == 0o660
    listener.close()
    assert not path.exists()


def test_a_socket_that_a_killed_daemon_left_is_taken_over(house: House, tmp_path: Path) -> None:
    path = tmp_path / "stale"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    listener = house.listen(Listener(path=str(path)))
    listener.close()


def test_an_address_in_use_is_reported(house: House, tmp_path: Path) -> None:
    with pytest.raises(BindError, match="another process listens there"):
        house.listen(house.address)
    file = tmp_path / "file"
    file.write_text("precious")
    with pytest.raises(BindError, match="a regular file is in the way"):
        house.listen(Listener(path=str(file)))
    assert file.read_text() == "precious"
    with pytest.raises(BindError, match=r"metrics_listen: cannot bind unix:.*does not exist"):
        house.listen(Listener(path=str(tmp_path / "missing" / "status")))
    port = free_port()
    first = house.listen(parse_listener(f"127.0.0.1:{port}"))
    with pytest.raises(BindError, match=f"127.0.0.1:{port}: Address already in use"):
        house.listen(parse_listener(f"127.0.0.1:{port}"))
    first.close()
    with pytest.raises(BindError, match=r"192\.0\.2\.1 is no address of this machine"):
        house.listen(parse_listener("192.0.2.1:9116"))


def test_without_descriptors_it_waits_and_does_not_spin(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bound: one attempt a second."""
    attempts = 0

    class Full:
        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

        def accept(self) -> object:
            nonlocal attempts
            attempts += 1
            raise OSError(24, "Too many open files")

    real = house.listener._socket
    monkeypatch.setattr(house.listener, "_socket", Full())
    with house.connect() as client:
        time.sleep(0.3)
        assert attempts == 1
        monkeypatch.setattr(house.listener, "_socket", real)
        client.sendall(get("/healthz"))
        assert client.recv(12) == b"HTTP/1.1 200"
    assert os.path.exists(house.address.path)
