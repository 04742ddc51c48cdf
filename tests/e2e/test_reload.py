"""SIGHUP: what is in force afterwards, what needs a restart, and that it is all or nothing."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import Connection, Daemon, ScriptedOrigin, Worker, reply, wait_until

Start = Callable[..., tuple[Daemon, Worker]]
_OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"


def _hang(connection: Connection) -> None:
    connection.read_request()
    connection.expect_end()


def reload(daemon: Daemon, told: str = "policy read anew", **changes: Any) -> str:
    """Writes the configuration anew and waits for the line that says what came of it.

    Returns what was logged meanwhile.
    """
    before = daemon.log()
    daemon.write_config(**changes)
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: told in daemon.log()[len(before) :], told)
    return daemon.log()[len(before) :]


def test_limits_and_times_are_in_force_for_new_requests(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    daemon, worker = start_daemon(max_response_size=1)
    origin.script = reply(_OK)
    too_large = worker.request(method="GET", uri=origin.url())
    assert too_large.get("condition") == b"max-size-exceeded"
    told = reload(daemon, max_response_size=100, timeout=1, buffer_size=50_000)
    assert "changed: buffer_size, timeout, max_response_size\n" in told
    assert worker.request(method="GET", uri=origin.url())["code"] == 200
    origin.script = _hang
    assert worker.request(method="GET", uri=origin.url()).get("condition") == b"session-timeout"
    upload = worker.start(method="POST", uri=origin.url(), more=True)
    assert upload.next()["credits"] == 50_000


def test_a_higher_limit_admits_waiting_requests(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    daemon, worker = start_daemon(max_open_requests=1)
    origin.script = _hang
    worker.send_req({"id": "a", "method": "GET", "uri": origin.url("/a")})
    origin.wait_request()
    worker.send_req({"id": "b", "method": "GET", "uri": origin.url("/b")})
    assert "changed: max_open_requests" in reload(daemon, max_open_requests=2)
    origin.wait_request(2)


def test_keys_that_need_a_restart_are_named_until_then(start_daemon: Start) -> None:
    daemon, worker = start_daemon(arguments=())
    told = reload(daemon, instance_id="other", in_hwm=7, timeout=5)
    assert "changed, but a restart is needed: instance_id, in_hwm" in told
    assert "changed: timeout" in told
    assert "a restart is needed: instance_id, in_hwm" in reload(daemon)
    worker.ready()
    assert worker.instance == b"gw"
    assert "restart" not in reload(daemon, instance_id="gw", in_hwm=1000)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"timeout": "x"}, "timeout: found 'x'"),
        ({"ca_file": "/none"}, "ca_file: cannot read /none"),
        ({"allow": "@none"}, "allow: unknown set"),
        ({"in_req_spec": "tcp://*:1"}, "allow_insecure_tcp"),
        ({"deny_file": "/none"}, "deny_file: cannot read"),
    ],
)
def test_a_reload_that_fails_changes_nothing(
    start_daemon: Start, origin: ScriptedOrigin, change: dict[str, str], words: str
) -> None:
    daemon, worker = start_daemon(arguments=(), max_response_size=100)
    origin.script = reply(_OK)
    told = reload(
        daemon, "nothing is changed", deny="127.0.0.1", max_response_size=1, log_level=0, **change
    )
    (line,) = [line for line in told.splitlines() if "nothing is changed" in line]
    assert words in line
    assert f"{daemon.config_path}:" in line
    assert worker.request(method="GET", uri=origin.url())["code"] == 200
    daemon.settings = {key: value for key, value in daemon.settings.items() if key not in change}
    # The level is as it was: this is said.
    assert "max_response_size" in reload(daemon, log_level=2)


def test_the_log_follows_but_for_what_the_command_line_says(start_daemon: Start) -> None:
    daemon, worker = start_daemon(arguments=(), log_level=1)
    worker.ready()
    reload(daemon, log_level=2)
    worker.ready()
    daemon.wait_log("[INFO]")
    commanded, _ = start_daemon(arguments=("--loglevel=2",))
    told = reload(commanded, log_level=0)
    assert "log_level=0 has no effect: the command line says 2" in told
