"""Start, signals, stop: the process as an operator sees it."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import Connection, Daemon, ScriptedOrigin, Worker, reply, wait_until
from tests.support.worker import NoAnswer
from zurl_py import __version__

Start = Callable[..., tuple[Daemon, Worker]]
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def _gated(connection: Connection) -> None:
    connection.read_request()
    connection.wait_for("answer")
    connection.send(_OK)


def _hang(connection: Connection) -> None:
    connection.read_request()
    connection.expect_end()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_lets_requests_in_flight_finish(
    start_daemon: Start, origin: ScriptedOrigin, number: int
) -> None:
    daemon, worker = start_daemon(drain_timeout=60)
    origin.script = _gated
    session = worker.start(method="GET", uri=origin.url(), stream=True, credits=100)
    worker.send_req({"method": "GET", "uri": origin.url(), "id": "r"})
    origin.wait_request(2)
    daemon.signal(number)
    daemon.wait_log("stopping")
    assert daemon.alive
    origin.let("answer")
    assert session.finish()[-1].type == b"data"
    assert worker.recv_req()["code"] == 200
    assert daemon.wait() == 0
    assert not list(daemon.directory.glob("*in*")) + list(daemon.directory.glob("req"))


def test_new_requests_are_not_taken_while_draining(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    daemon, worker = start_daemon(drain_timeout=60)
    origin.script = _gated
    session = worker.start(method="GET", uri=origin.url(), stream=True)
    origin.wait_request()
    daemon.signal(signal.SIGTERM)
    daemon.wait_log("stopping")
    for refused in (
        worker.request(method="GET", uri=origin.url("/late")),
        worker.start(method="GET", uri=origin.url("/late"), credits=9).finish()[-1],
    ):
        assert refused["ext"]["error"] == b"stopping"
        assert refused["ext"]["begun"] is False
    session.credit(100)  # follow-ups are still taken
    origin.let("answer")
    session.finish()
    assert session.body == b"hi"
    assert daemon.wait() == 0
    assert [request.line for request in origin.requests] == [b"GET / HTTP/1.1"]


def test_what_nobody_can_be_told_of_is_carried_out_while_draining(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    daemon, worker = start_daemon(drain_timeout=20)
    origin.script = _gated
    session = worker.start(method="GET", uri=origin.url(), stream=True, credits=100)
    origin.wait_request()
    daemon.signal(signal.SIGTERM)
    daemon.wait_log("stopping")
    worker.push({"method": "POST", "uri": origin.url("/late")})
    assert origin.wait_request(2).line == b"POST /late HTTP/1.1"
    origin.let("answer")
    session.finish()
    assert daemon.wait() == 0


def test_requests_left_after_the_drain_are_answered_with_an_error(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    daemon, worker = start_daemon(drain_timeout=0)
    origin.script = _hang
    session = worker.start(method="GET", uri=origin.url(), stream=True, credits=9, user_data="u")
    worker.send_req({"method": "GET", "uri": origin.url(), "id": "r"})
    origin.wait_request(2)
    daemon.signal(signal.SIGTERM)
    last = session.finish()[-1]
    assert (last.type, last["user-data"]) == (b"error", b"u")
    assert worker.recv_req().type == b"error"
    assert daemon.wait() == 0
    origin.wait_closed(2)


def test_second_signal_ends_it_at_once(start_daemon: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start_daemon(drain_timeout=1000)
    origin.script = _hang
    worker.start(method="GET", uri=origin.url(), stream=True)
    origin.wait_request()
    daemon.signal(signal.SIGTERM)
    daemon.wait_log("stopping")
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0


def test_stop_without_sessions_is_immediate_and_clean(start_daemon: Start) -> None:
    daemon, _ = start_daemon()
    sockets = [path for path in daemon.directory.iterdir() if path.is_socket()]
    assert len(sockets) == 4
    assert daemon.stop() == 0
    assert not any(path.exists() for path in sockets)
    assert "stopped" in daemon.log()


def test_sighup_reopens_the_log_file(tmp_path: Path, start_daemon: Start) -> None:
    log = tmp_path / "zurl.log"
    daemon, worker = start_daemon(arguments=(f"--logfile={log}", "--loglevel=2"))
    wait_until(lambda: log.exists() and "started" in log.read_text(), "the log is written")
    log.rename(tmp_path / "old.log")
    daemon.signal(signal.SIGHUP)
    wait_until(log.exists, "a new log file")
    worker.request(id="after", method="GET", uri="x:")
    wait_until(lambda: "after" in log.read_text(), "lines go to the new file")
    assert "after" not in (tmp_path / "old.log").read_text()
    assert daemon.alive


@pytest.mark.parametrize("mode", ["600", "660", "777"])
def test_ipc_file_mode(start_daemon: Start, mode: str) -> None:
    daemon, _ = start_daemon(ipc_file_mode=mode)
    for path in daemon.directory.iterdir():
        if path.is_socket():
            assert stat.S_IMODE(path.stat().st_mode) == int(mode, 8), path


def test_lists_of_endpoints_are_all_bound(tmp_path: Path, origin: ScriptedOrigin) -> None:
    directory = os.path.realpath(tmp_path)
    names = {"in_spec": "in", "in_stream_spec": "stream", "out_spec": "out", "in_req_spec": "req"}
    both: dict[str, Any] = {
        key: f"ipc://{directory}/{n}-1,ipc://{directory}/{n}-2" for key, n in names.items()
    }
    origin.script = reply(_OK)
    with Daemon(**both) as daemon:
        for number in (1, 2):
            daemon.endpoints = {k: f"ipc://{directory}/{n}-{number}" for k, n in names.items()}
            with Worker(daemon, address=b"worker-%d" % number) as worker:
                worker.ready()
                session = worker.start(method="GET", uri=origin.url(), stream=True, credits=9)
                assert session.finish()[-1].type == b"data"
                assert worker.request(method="GET", uri=origin.url())["code"] == 200


def test_tcp_endpoints(origin: ScriptedOrigin) -> None:
    from tests.support import free_port

    origin.script = reply(_OK)
    keys = ("in_spec", "in_stream_spec", "out_spec", "in_req_spec")
    specs: dict[str, Any] = {key: f"tcp://127.0.0.1:{free_port()}" for key in keys}
    with Daemon(**specs) as daemon, Worker(daemon) as worker:
        worker.ready()
        session = worker.start(method="GET", uri=origin.url(), stream=True, credits=9)
        assert session.finish()[-1].body == b"hi"


def test_empty_instance_id(start_daemon: Start, origin: ScriptedOrigin) -> None:
    _, worker = start_daemon(worker={"instance": b""}, instance_id="", interfaces=("stream",))
    # `ready` has learnt the identity from the first answer, and used it
    assert len(worker.instance) > 20
    origin.script = reply(_OK)
    session = worker.start(method="GET", uri=origin.url(), stream=True)
    assert session.next()["from"] == worker.instance
    session.credit(9)
    session.finish()


@contextmanager
def _started(*arguments: str) -> Iterator["subprocess.CompletedProcess[str]"]:
    yield subprocess.run(
        [sys.executable, "-m", "zurl_py.cli.zurl", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ("defpolicy=maybe", "defpolicy"),
        ("ipc_file_mode=9z", "ipc_file_mode"),
        ("in_spec=ipc:///tmp/x", "in_stream_spec"),
        ("", "in_req_spec"),
        ("in_req_spec=ipc:///nonexistent/x", "/nonexistent/x"),
        ("in_req_spec=tcp://127.0.0.1:1:1", "tcp://127.0.0.1:1:1"),
        ("in_req_spec=ipc:///tmp/" + "x" * 120, "107"),
        ("in_req_spec=ipc:///tmp/x\nbuffer_size=-1", "buffer_size"),
        ("in_req_spec=ipc:///tmp/x\nca_file=/nonexistent.pem", "/nonexistent.pem"),
    ],
)
def test_unusable_configuration_stops_the_start(tmp_path: Path, lines: str, named: str) -> None:
    path = tmp_path / "zurl.conf"
    path.write_text(f"[General]\n{lines}\n")
    with _started(f"--config={path}") as done:
        assert done.returncode not in (0, None)
        assert named in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr


def test_missing_configuration_file() -> None:
    with _started("--config=/nonexistent/zurl.conf") as done:
        assert done.returncode != 0
        assert "/nonexistent/zurl.conf" in done.stdout + done.stderr


def test_version() -> None:
    with _started("--version") as done:
        assert done.returncode == 0
        assert __version__ in done.stdout
        assert len(done.stdout.splitlines()) == 1


def test_live_socket_of_another_daemon_is_left_alone(start_daemon: Start) -> None:
    first, worker = start_daemon(interfaces=("req",))
    with Daemon(in_req_spec=first.settings["in_req_spec"], interfaces=("req",)) as second:
        assert second.wait() != 0
        second.wait_log("another process")
    assert worker.request(method="GET", uri="x:")["condition"] == b"bad-request"


def test_stale_socket_file_is_replaced(start_daemon: Start) -> None:
    first, _ = start_daemon(interfaces=("req",))
    first.signal(signal.SIGKILL)
    first.wait()
    assert (first.directory / "req").is_socket()
    with (
        Daemon(in_req_spec=first.settings["in_req_spec"], interfaces=("req",)) as second,
        Worker(second) as worker,
    ):
        worker.ready()


def test_process_that_dies_is_noticed_by_the_worker(start_daemon: Start) -> None:
    """The support itself: a test does not wait its whole deadline for a daemon that is gone."""
    daemon, worker = start_daemon()
    daemon.signal(signal.SIGKILL)
    daemon.wait()
    with pytest.raises(NoAnswer):
        worker.request(method="GET", uri="x:")
