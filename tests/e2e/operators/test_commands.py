"""``zurl-py status``, ``top`` and ``monitor`` against a running daemon."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.operators.asking import status
from tests.e2e.operators.conftest import Start
from tests.e2e.operators.screens import labels, screens, shown
from tests.support import ROOT, Daemon, ScriptedOrigin, reply
from tests.support.daemon import free_port
from tests.support.deadline import wait_until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "zurl_py", *arguments]


def run(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, cwd=ROOT, timeout=60, **more
    )


# -- status ------------------------------------------------------------------------------------


def test_status_by_configuration_address_and_environment(
    start: Start, origin: ScriptedOrigin
) -> None:
    daemon, worker = start()
    origin.script = reply(OK)
    worker.request(method="GET", uri=origin.url())
    address = str(daemon.settings["metrics_listen"])
    environment = {**os.environ, "ZURL_CONNECT": str(daemon.config_path)}
    for done in (
        run("status", "--config", str(daemon.config_path)),
        run("status", "--connect", address),
        run("status", env=environment),
    ):
        assert (done.returncode, done.stderr) == (0, "")
        assert f"pid {daemon.pid}" in done.stdout
        assert "2xx 1" in done.stdout
    found = json.loads(run("status", "--json", "--connect", address).stdout)
    assert found["pid"] == daemon.pid
    assert found.keys() == status(daemon).keys()


def test_without_a_daemon_there_is_an_error_of_one_line(start: Start) -> None:
    for name in ("status", "top", "monitor"):
        done = run(name, "--connect", f"127.0.0.1:{free_port()}")
        assert done.returncode == 121
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        assert "Connection refused" in done.stderr
    daemon, _ = start(metrics_listen="")
    done = run("status", "--config", str(daemon.config_path))
    assert done.returncode == 121
    assert "set metrics_listen" in done.stderr


# -- top ---------------------------------------------------------------------------------------


def test_top_into_a_pipe(start: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start()
    origin.script = reply(OK)
    process = subprocess.Popen(
        command("top", "--interval", "0.5", "--count", "3", "--config", str(daemon.config_path)),
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    while process.poll() is None:
        worker.request(method="GET", uri=origin.url())
    assert process.stdout is not None
    text = process.stdout.read()
    assert process.returncode == 0
    assert text.count(f"pid {daemon.pid}") == 3
    assert "latency" in text
    assert "\x1b" not in text


def test_top_on_a_terminal_ends_with_q_and_leaves_it_as_it_was(start: Start) -> None:
    daemon, _ = start()
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    process = subprocess.Popen(
        command("top", "--interval", "0.3", "--config", str(daemon.config_path)),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "60", "LINES": "12"},
    )
    shown = b""
    while shown.count(b"running") < 2:
        shown += os.read(ours, 4096)
    os.write(ours, b"xq")
    reader = threading.Thread(target=lambda: drain(ours), daemon=True)
    reader.start()
    assert process.wait(60) == 0
    assert shown.startswith(b"\x1b[?1049h")
    assert termios.tcgetattr(theirs)[3] == before[3]
    os.close(theirs)


def drain(fd: int) -> None:
    try:
        while os.read(fd, 4096):
            pass
    except OSError:
        pass


# -- monitor -----------------------------------------------------------------------------------


@contextmanager
def monitoring(daemon: Daemon, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A monitor that is connected."""
    process = subprocess.Popen(
        command("monitor", "--config", str(daemon.config_path), *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        wait_until(lambda: status(daemon)["monitors"] == 1, "the monitor is connected")
        yield process
    finally:
        process.kill()
        process.communicate()


def test_monitor_shows_all_interfaces_as_they_end(start: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start()
    origin.script = reply(OK)
    with monitoring(daemon, "--json") as process:
        worker.request(id="r", method="GET", uri=origin.url("/x?s3cret"))
        worker.start("s", method="GET", uri=origin.url()).finish()
        worker.push({"method": "GET", "uri": origin.url()})
        assert process.stdout is not None
        found = [json.loads(process.stdout.readline()) for _ in range(3)]
    assert [entry["interface"] for entry in found] == ["request", "stream", "push"]
    assert all(entry["event"] == "outcome" and entry["code"] == 200 for entry in found)
    assert found[0]["url"] == origin.url("/x")
    assert found[1]["from"] == worker.address.decode()


def test_monitor_of_errors_as_text_without_control_characters(
    start: Start, origin: ScriptedOrigin
) -> None:
    daemon, worker = start()
    origin.script = reply(OK)
    with monitoring(daemon, "--errors") as process:
        worker.request(method="GET", uri=origin.url())
        worker.request(id="e\x1b[31m", method="GET", uri=f"http://127.0.0.1:{free_port()}/")
        assert process.stdout is not None
        line = process.stdout.readline().rstrip("\n")
    assert line.isprintable()
    assert "connection-refused" in line
    assert "\\x1b[31m" in line


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (("--host", "127.0.0.1"), "connection-refused"),
        (("--condition", "deny"), "deny"),
        (("--condition", "policy-violation"), "deny"),
    ],
)
def test_monitor_filters(start: Start, options: tuple[str, ...], wanted: str) -> None:
    daemon, worker = start(deny="refused.example")
    with monitoring(daemon, "--json", *options) as process:
        worker.request(method="GET", uri="http://refused.example/")
        worker.request(method="GET", uri=f"http://127.0.0.1:{free_port()}/")
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["error"] == wanted


def test_a_monitor_that_hangs_does_not_slow_others(start: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start()
    origin.script = reply(OK)
    with monitoring(daemon) as process:
        os.kill(process.pid, signal.SIGSTOP)
        for _ in range(300):
            assert worker.request(method="GET", uri=origin.url())["code"] == 200
        os.kill(process.pid, signal.SIGCONT)
        assert process.stdout is not None
        assert "code=200" in process.stdout.readline()


def test_monitor_ends_with_the_daemon(start: Start) -> None:
    daemon, _ = start()
    with monitoring(daemon) as process:
        daemon.stop()
        assert process.wait(60) == 0


# -- screens -----------------------------------------------------------------------------------


def test_the_screens_in_the_documentation_are_of_this_program() -> None:
    """Made by ``python -m tests.e2e.operators.screens``: the same rows and tables."""
    for name, text in screens().items():
        # What comes and goes with the load of a moment
        passing = {"slow workers", "oldest sessions", "zurl_py 0.1.0"}
        assert labels(text) - passing == labels(shown(name)) - passing, name
        assert "refused by the policy" in text
