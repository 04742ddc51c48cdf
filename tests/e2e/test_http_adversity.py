"""What happens to a daemon in the wild: names, descriptors and peers that give out."""

import gzip
import signal
import sys
from collections.abc import Callable

from tests.support import Connection, Daemon, ScriptedOrigin, Worker, reply, wait_until

Start = Callable[..., tuple[Daemon, Worker]]
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def _gated(connection: Connection) -> None:
    connection.read_request()
    connection.wait_for("answer")
    connection.send(_OK)


def test_many_first_requests_to_one_name(start_daemon: Start, origin: ScriptedOrigin) -> None:
    """They wait for one look-up, and a cancelled one does not hold up the others."""
    _, worker = start_daemon()
    origin.script = reply(_OK)
    uri = origin.url(host="localhost")
    sessions = [worker.start(method="GET", uri=uri, stream=True, credits=9) for _ in range(20)]
    for session in sessions[::2]:
        session.next()
        session.cancel()
    for session in sessions[1::2]:
        assert session.finish()[-1].body == b"hi"
    worker.fence()


def test_many_requests_to_one_name_that_does_not_resolve(start_daemon: Start) -> None:
    _, worker = start_daemon()
    for number in range(30):
        worker.send_req({"method": "GET", "uri": "http://nosuch.invalid/", "id": str(number)})
    answers = [worker.recv_req() for _ in range(30)]
    assert {a["condition"] for a in answers} == {b"remote-connection-failed"}
    assert len({a.id for a in answers}) == 30


def test_connect_host_name_is_looked_up_once_too(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    _, worker = start_daemon()
    origin.script = reply(_OK)
    for _ in range(10):
        worker.send_req(
            {
                "method": "GET",
                "uri": "http://nosuch.invalid/",
                "connect-host": "localhost",
                "connect-port": origin.port,
            }
        )
    assert [worker.recv_req()["code"] for _ in range(10)] == [200] * 10


def test_descriptors_give_out_and_come_back(origin: ScriptedOrigin) -> None:
    """Requests beyond what can be opened fail; the daemon lives on and serves the next."""
    origin.script = _gated
    command = ["prlimit", "--nofile=80", sys.executable, "-m", "zurl_py.cli.zurl"]
    with Daemon(command=command) as daemon, Worker(daemon) as worker:
        worker.ready()
        for number in range(150):
            worker.send_req({"method": "GET", "uri": origin.url(), "id": str(number)})
        refused = worker.recv_req()
        assert refused["condition"] == b"remote-connection-failed"
        origin.let("answer")
        answers = [worker.recv_req() for _ in range(149)]
        assert any(a.get("code") == 200 for a in answers)
        origin.script = reply(_OK)
        wait_until(
            lambda: worker.request(method="GET", uri=origin.url()).get("code") == 200,
            "requests work again",
        )
        assert daemon.alive


def test_a_requester_that_has_gone(start_daemon: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start_daemon()
    origin.script = _gated
    with Worker(daemon, address=b"gone") as gone:
        gone.ready()
        gone.send_req({"method": "GET", "uri": origin.url("/req")})
        gone.start(method="GET", uri=origin.url("/stream"), stream=True, credits=9).next()
        origin.wait_request(2)
    origin.let("answer")
    origin.wait_closed(2)
    assert worker.request(method="GET", uri="x:")["condition"] == b"bad-request"


def test_a_worker_that_repeats_its_request_after_a_restart(origin: ScriptedOrigin) -> None:
    """Sockets connect anew by themselves; a session of before is unknown."""
    origin.script = _gated
    daemon = Daemon().start()
    try:
        with Worker(daemon) as worker:
            worker.ready()
            session = worker.start(method="GET", uri=origin.url(), stream=True)
            session.next()
            origin.wait_request()
            daemon.signal(signal.SIGKILL)
            daemon.wait()
            daemon.start()
            worker.ready()
            session.send(type="keep-alive")
            assert session.next().type == b"cancel"
            origin.let("answer")
            assert worker.start(method="GET", uri=origin.url()).finish()[-1].body == b"hi"
    finally:
        daemon.close()


def test_a_stop_under_load_answers_all_requests(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    daemon, worker = start_daemon(drain_timeout=20)

    def slow(connection: Connection) -> None:
        while True:
            connection.read_request()
            connection.origin.gate("never").wait(0.02)
            connection.send(_OK)

    origin.script = slow
    sessions = [
        worker.start(method="GET", uri=origin.url(), stream=True, credits=9) for _ in range(60)
    ]
    for session in sessions:
        session.next()
    daemon.signal(signal.SIGTERM)
    assert all(session.finish()[-1].type == b"data" for session in sessions)
    assert daemon.wait() == 0


def test_reload_leaves_sessions_alone(start_daemon: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start_daemon()
    origin.script = _gated
    session = worker.start(method="GET", uri=origin.url(), stream=True, credits=9)
    origin.wait_request()
    for _ in range(3):
        daemon.signal(signal.SIGHUP)
        worker.fence()
    origin.let("answer")
    assert session.finish()[-1].body == b"hi"


def test_an_origin_that_answers_before_the_request(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    """Bytes on an idle kept connection do not become the answer to the next request."""
    _, worker = start_daemon()

    def script(connection: Connection) -> None:
        connection.read_request()
        stray = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray"
        connection.send(_OK + (stray if connection.number == 0 else b""))
        connection.expect_end()

    origin.script = script
    for _ in range(3):
        assert worker.request(method="GET", uri=origin.url()).body == b"hi"
        origin.script = reply(_OK)


def test_endless_head(start_daemon: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start_daemon()

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\n")
        for number in range(1_000_000):
            connection.send(b"X-%d: %b\r\n" % (number, b"v" * 1000))

    origin.script = script
    before = daemon.memory()
    assert worker.request(method="GET", uri=origin.url())["condition"] == b"undefined-condition"
    session = worker.start(method="GET", uri=origin.url(), stream=True, credits=9)
    assert session.finish()[-1]["condition"] == b"undefined-condition"
    assert daemon.memory() - before < 20_000_000


def test_compressed_bomb_in_a_stream_is_held_back(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    """A small body that unpacks to 200 MB costs no more than what one read unpacks to."""
    packed = gzip.compress(b"\0" * 200_000_000, 6, mtime=0)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    origin.script = reply(head % len(packed) + packed)
    daemon, worker = start_daemon(buffer_size=100_000)
    worker.request(method="GET", uri="x:")
    before = daemon.memory()
    session = worker.start(method="GET", uri=origin.url(), stream=True, credits=1000)
    while len(session.body) < 1000:
        session.next()
    session.credit(250_000)
    while len(session.body) < 251_000:
        session.next()
    answer = worker.request(method="GET", uri=origin.url(), max_size=1_000_000)
    assert answer["condition"] == b"max-size-exceeded"
    assert daemon.memory() - before < 60_000_000
