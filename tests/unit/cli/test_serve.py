"""The daemon as its service manager and its operator see it: readiness, watchdog, reload."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support import ROOT, Daemon, ScriptedOrigin, Worker, reply, wait_until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A service manager's notification socket, bound to ``tmp_path / "notify"``."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(20)
        yield sock


def test_readiness_watchdog_and_stop_are_notified(manager: socket.socket, tmp_path: Path) -> None:
    environment: dict[str, str | None] = {
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "WATCHDOG_USEC": "100000",
        "WATCHDOG_PID": None,
    }
    with Daemon(environment=environment) as daemon:
        told: list[bytes] = []
        while told.count(b"WATCHDOG=1") < 4:
            told.append(manager.recv(1000))
            if told[-1] == b"READY=1":
                for endpoint in daemon.endpoints.values():
                    assert Path(endpoint.removeprefix("ipc://")).is_socket()
        assert told.count(b"READY=1") == 1
        daemon.signal(signal.SIGTERM)
        while told[-1] != b"STOPPING=1":
            told.append(manager.recv(1000))
        assert daemon.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_while_it_starts_is_no_failure(tmp_path: Path, number: int) -> None:
    # Its configuration is a pipe that nobody fills: it cannot get further than that.
    config = tmp_path / "zurl.conf"
    os.mkfifo(config)
    command = [sys.executable, "-m", "zurl_py.cli.zurl", f"--config={config}"]
    with subprocess.Popen(command, cwd=ROOT) as process:
        writer = os.open(config, os.O_WRONLY)  # returns when the other side is opened
        process.send_signal(signal.SIGHUP)
        process.send_signal(number)
        assert process.wait(60) == 0
        os.close(writer)


def test_a_reload_at_the_moment_of_readiness_is_done(
    manager: socket.socket, tmp_path: Path
) -> None:
    with Daemon(environment={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as daemon:
        assert manager.recv(1000) == b"READY=1"
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("policy read anew")


def reloaded(daemon: Daemon, times: int) -> bool:
    return daemon.log().count("policy read anew") == times


def test_the_policy_is_read_anew_on_sighup(origin: ScriptedOrigin) -> None:
    origin.script = reply(OK)
    with Daemon() as daemon, Worker(daemon) as worker:
        worker.ready()
        worker.request(method="GET", uri=origin.url())
        for times, (deny, code) in enumerate([("@private", None), ("", 200)], 1):
            daemon.write_config(deny=deny)
            daemon.signal(signal.SIGHUP)
            wait_until(partial(reloaded, daemon, times), "the reload")
            assert worker.request(method="GET", uri=origin.url()).get("code") == code


def test_a_policy_that_cannot_be_read_leaves_the_old_one(origin: ScriptedOrigin) -> None:
    with Daemon(deny="@private") as daemon, Worker(daemon) as worker:
        worker.ready()
        daemon.write_config(deny="@nonsense")
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("the policy stays as it was")
        answer = worker.request(method="GET", uri=origin.url())
        assert answer["condition"] == b"policy-violation"
    assert not origin.requests
