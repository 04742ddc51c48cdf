"""What runs out: descriptors, and the files of sockets. The daemon says so, lives and recovers."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import Connection, Daemon, ScriptedOrigin, Worker, reply, wait_until
from tests.support.daemon import cpu_idle

_DESCRIPTORS = 100  # of which 25 are kept for workers
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
_LIMITED = [
    *("sh", "-c", f'ulimit -n {_DESCRIPTORS}; exec "$0" "$@"'),
    *(sys.executable, "-m", "zurl_py.cli.zurl"),
]


@pytest.fixture
def limited() -> Iterator[tuple[Daemon, Worker]]:
    """A daemon with few descriptors, and a worker of it."""
    with Daemon(command=_LIMITED, interfaces=("req",)) as daemon, Worker(daemon) as worker:
        yield daemon, worker.ready()


def _gated(connection: Connection) -> None:
    connection.read_request()
    connection.wait_for("go on")
    connection.send(_OK)


def test_connections_leave_descriptors_for_workers(
    limited: tuple[Daemon, Worker], origin: ScriptedOrigin
) -> None:
    daemon, worker = limited
    origin.script = _gated
    for number in range(_DESCRIPTORS):
        worker.send_req({"id": b"%d" % number, "method": "GET", "uri": origin.url()})
    refused = worker.recv_req()
    assert refused["condition"] == b"remote-connection-failed"
    assert refused["ext"]["error"] == b"no-descriptors"
    assert daemon.descriptors() <= _DESCRIPTORS * 3 // 4 + 1
    others = [Worker(daemon, address=b"other-%d" % number) for number in range(10)]
    for other in others:
        other.ready()
    origin.let("go on")
    answers = [refused, *(worker.recv_req() for _ in range(_DESCRIPTORS - 1))]
    served = [answer for answer in answers if answer.get("code") == 200]
    assert 20 < len(served) < 60
    assert b"raise LimitNOFILE" in refused["ext"]["detail"]
    origin.script = reply(_OK)
    assert worker.request(method="GET", uri=origin.url())["code"] == 200
    for other in others:
        other.close()


def _connections(path: str) -> Iterator[socket.socket]:
    """One connection after the other, none of which says anything."""
    while True:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(path)
        except OSError:
            sock.close()
            return
        yield sock
        time.sleep(0.05)


def test_more_workers_than_descriptors_end_nothing(limited: tuple[Daemon, Worker]) -> None:
    daemon, worker = limited
    path = daemon.endpoints["in_req_spec"].removeprefix("ipc://")
    crowd = list(_connections(path))
    assert len(crowd) > 30
    daemon.wait_log("no more workers can connect over ipc until some are closed")
    assert worker.request(id="1", uri="x:").get("condition") == b"bad-request"
    assert not os.path.exists(path)
    for sock in crowd:
        sock.close()
    daemon.wait_log("descriptors are free again")
    Worker(daemon).ready().close()
    assert daemon.stop() == 0
    assert os.listdir(os.path.dirname(path)) == sorted(["log", "zurl.conf"])


def test_a_socket_that_was_removed_is_there_again(
    start_daemon: Callable[..., tuple[Daemon, Worker]], origin: ScriptedOrigin
) -> None:
    daemon, worker = start_daemon(ipc_file_mode=600)
    origin.script = _gated
    worker.send_req({"id": "1", "method": "GET", "uri": origin.url()})
    origin.wait_request()
    for endpoint in daemon.endpoints.values():
        Path(endpoint.removeprefix("ipc://")).unlink()
    log = daemon.wait_log(f"{daemon.directory}/req was removed, and is bound again")
    assert "[ERR]" not in log
    Worker(daemon, address=b"late").ready().close()
    assert os.stat(daemon.directory / "req").st_mode & 0o777 == 0o600
    origin.let("go on")
    assert worker.recv_req()["code"] == 200  # over the connection that was there
    assert daemon.stop() == 0
    assert not list(daemon.directory.glob("*in*")) + list(daemon.directory.glob("req"))


def test_a_path_taken_by_another_daemon_is_not_touched(
    start_daemon: Callable[..., tuple[Daemon, Worker]],
) -> None:
    daemon, worker = start_daemon(interfaces=("req",))
    path = daemon.directory / "req"
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        inode = path.stat().st_ino
        daemon.wait_log(f"{path} was replaced by another file: no new worker can connect")
        assert worker.request(id="1", uri="x:").get("condition") == b"bad-request"
        assert daemon.stop() == 0
        assert path.stat().st_ino == inode


def test_a_missing_folder_is_logged_once(
    start_daemon: Callable[..., tuple[Daemon, Worker]], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    daemon, worker = start_daemon(interfaces=("req",), in_req_spec=f"ipc://{folder}/req")
    (folder / "req").unlink()
    folder.rmdir()
    daemon.wait_log("was removed, and cannot be bound again: the folder")
    assert worker.request(id="1", uri="x:").get("condition") == b"bad-request"
    folder.mkdir()
    daemon.wait_log("was removed, and is bound again")
    assert daemon.log().count("cannot be bound again") == 1
    wait_until((folder / "req").is_socket, "the socket")


def test_a_full_disk_stops_only_the_log(
    start_daemon: Callable[..., tuple[Daemon, Worker]], origin: ScriptedOrigin
) -> None:
    daemon, worker = start_daemon(arguments=("--logfile=/dev/full",))
    origin.script = reply(_OK)
    for _ in range(20):
        assert worker.request(method="GET", uri=origin.url())["code"] == 200
    assert cpu_idle(daemon, 1.0) < 0.2
    assert daemon.stop() == 0
