"""What stops the start: exit status above 0, soon, and one line that names it."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.delivery.process import Deliver
from tests.e2e.delivery.receiver import Receiver
from tests.support import Daemon
from tests.support.deadline import wait_until

Start = Callable[..., Deliver]


def refused(deliver: Deliver) -> str:
    """The line with which it does not start."""
    assert deliver.wait() > 0
    lines = [line for line in deliver.log().splitlines() if "[ERR]" in line]
    assert len(lines) == 1, deliver.log()
    assert "Traceback" not in deliver.log()
    return lines[0]


def prepared(daemon: Daemon, **settings: Any) -> Deliver:
    return Deliver(**{"gateway": str(daemon.config_path), **settings})


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"store": "mysql://x/y"}, "store"),
        ({"store": None}, "store"),
        ({"store": "sqlite:///"}, "sqlite:///PATH"),
        ({"store": "sqlite://proc/store.db"}, "sqlite:///PATH"),
        ({"store": "sqlite:////nonexistent/folder/store.db"}, "/nonexistent/folder"),
        ({"gateway": "/nonexistent/zurl.conf"}, "/nonexistent/zurl.conf"),
        ({"secret_key_file": "/nonexistent/key"}, "/nonexistent/key"),
        ({"schedule": "0,soon"}, "schedule"),
        ({"schedule": "0,-1"}, "schedule"),
        ({"max_body": "0"}, "max_body"),
        ({"deliver_spec": None, "deliver_push_spec": None}, "deliver_spec"),
        ({"deliver_spec": "tcp://192.0.2.1:5555"}, "tcp://192.0.2.1:5555"),
    ],
)
def test_settings_that_cannot_be_used(gateway: Daemon, settings: dict[str, str], part: str) -> None:
    deliver = prepared(gateway, **settings)
    try:
        assert part in refused(deliver.start())
        assert not deliver.store_path.exists() or "deliver_spec" in settings
    finally:
        deliver.close()


@pytest.mark.parametrize("content", [b"", b"rubbish" * 1000, b"SQLite format 3\0" + b"x" * 5000])
def test_a_file_that_is_no_store(gateway: Daemon, content: bytes) -> None:
    deliver = prepared(gateway)
    deliver.store_path.write_bytes(content)
    try:
        assert str(deliver.store_path) in refused(deliver.start())
        assert deliver.store_path.read_bytes() == content
    finally:
        deliver.close()


def test_store_of_something_else(gateway: Daemon) -> None:
    deliver = prepared(gateway)
    with sqlite3.connect(deliver.store_path) as other:
        other.execute("CREATE TABLE music (title)")
    other.close()
    content = deliver.store_path.read_bytes()
    try:
        assert str(deliver.store_path) in refused(deliver.start())
        assert deliver.store_path.read_bytes() == content
    finally:
        deliver.close()


def test_store_that_is_broken(start_deliver: Start, receiver: Receiver) -> None:
    deliver = start_deliver()
    worker = deliver.worker()
    for number in range(200):
        worker.deliver(uri=receiver.url(f"/{number}"))
    deliver.stop()
    with open(deliver.store_path, "r+b") as file:
        file.seek(8192)
        file.write(os.urandom(40_000))
    assert str(deliver.store_path) in refused(deliver.start())


def test_store_that_is_gone(start_deliver: Start, receiver: Receiver) -> None:
    deliver = start_deliver()
    deliver.worker().deliver(uri=receiver.url())
    deliver.stop()
    for path in deliver.directory.glob("store.db*"):
        if path.suffix != ".lock":
            path.unlink()
    assert str(deliver.store_path) in refused(deliver.start())
    assert not deliver.store_path.exists()


def test_store_that_is_moved_away(start_deliver: Start, receiver: Receiver) -> None:
    """Nothing is accepted into a file that the next start would not find."""
    deliver = start_deliver()
    worker = deliver.worker()
    worker.deliver(uri=receiver.url())
    moved = deliver.store_path.rename(deliver.directory / "moved")
    answer = worker.ask("deliver", uri=receiver.url(), body="", id="again")
    assert answer["condition"] == "unavailable"
    assert answer["ext"]["detail"] == f"{deliver.store_path}: No such file or directory"
    moved.rename(deliver.store_path)
    assert worker.deliver(uri=receiver.url(), id="again") == "again"


def test_store_that_another_process_has(start_deliver: Start) -> None:
    first = start_deliver().wait_started()
    second = start_deliver(store=first.settings["store"])
    assert "locked" in refused(second)
    assert str(first.store_path) in second.log()


def test_reload(start_deliver: Start, receiver: Receiver) -> None:
    deliver = start_deliver(max_body=10)
    worker = deliver.worker()
    answer = worker.ask("deliver", uri=receiver.url(), body="x" * 11)
    assert (answer["condition"], answer["ext"]["error"]) == ("bad-request", "body-too-large")
    assert worker.deliver(uri=receiver.url(), body="x" * 10)
    deliver.write_config(max_body=20)
    os.kill(deliver.pid, signal.SIGHUP)
    deliver.wait_log("read anew")
    worker.deliver(uri=receiver.url(), body="x" * 11)
    deliver.write_config(max_body="many")
    os.kill(deliver.pid, signal.SIGHUP)
    deliver.wait_log("stays as it was")
    assert f"{deliver.config_path}:" in deliver.log()
    worker.deliver(uri=receiver.url(), body="x" * 20)


def test_reload_of_the_schedule(start_deliver: Start, receiver: Receiver) -> None:
    from tests.e2e.delivery.receiver import Reply

    deliver = start_deliver(schedule="0")
    worker = deliver.worker()
    worker.put("e", receiver.url())
    receiver.reply = lambda _hook: Reply(500)
    first = worker.deliver(endpoint="e")
    assert len(worker.wait_state(first, "dead")["attempts"]) == 1
    deliver.write_config(schedule="0,0.1,0.1")
    os.kill(deliver.pid, signal.SIGHUP)
    deliver.wait_log("read anew")
    second = worker.deliver(endpoint="e")
    assert len(worker.wait_state(second, "dead")["attempts"]) == 3


def test_embedded_gateway(receiver: Receiver) -> None:
    deliver = Deliver("embedded", schedule="0")
    try:
        worker = deliver.start().worker()
        # The embedded gateway's policy denies this machine: the webhook got as far as that.
        shown = worker.wait_state(worker.deliver(uri=receiver.url()), "dead")
        assert [attempt["condition"] for attempt in shown["attempts"]] == ["policy-violation"]
    finally:
        deliver.close()
    wait_until(lambda: "stopped" in deliver.log() or not deliver.log_path.exists(), "the end")


def test_files_are_readable_by_the_owner_only(start_deliver: Start, receiver: Receiver) -> None:
    deliver = start_deliver()
    deliver.worker().deliver(uri=receiver.url())
    files = [path for path in deliver.directory.iterdir() if path.name.startswith("store.db")]
    assert {path.name for path in files} >= {"store.db", "store.db-wal", "store.db.lock"}
    for path in files:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600, path


def checked(deliver: Deliver, *options: str) -> subprocess.CompletedProcess[str]:
    deliver.write_config()
    program = [sys.executable, "-m", "zurl_py", "check-config", *options, str(deliver.config_path)]
    return subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)


def test_check_config(gateway: Daemon) -> None:
    deliver = prepared(gateway, schedule="0,5.5", misspelt="1")
    try:
        done = checked(deliver)
        assert done.returncode == 0, done.stderr
        lines = [line.split("  ;")[0].strip() for line in done.stdout.splitlines()]
        assert "schedule=0.0,5.5" in lines
        assert "max_body=1000000" in lines
        assert f"{deliver.config_path}:" in done.stdout
        assert "misspelt" in done.stderr
        assert checked(deliver, "--strict").returncode == 1
        assert checked(deliver, "--quiet").stdout == ""
    finally:
        deliver.close()


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"store": "mysql://x/y"}, "store"),
        ({"store": "sqlite:////nonexistent/folder/store.db"}, "/nonexistent/folder"),
        ({"store": "sqlite:////proc/version"}, "no SQLite file"),
        ({"gateway": "/nonexistent/zurl.conf"}, "/nonexistent/zurl.conf"),
        ({"secret_key_file": "/nonexistent/key"}, "/nonexistent/key"),
        ({"schedule": "0,soon"}, "schedule"),
        ({"deliver_spec": "tcp://192.0.2.1:5555"}, "no address of this machine"),
        ({"deliver_push_spec": "ipc://nowhere/push"}, "the folder nowhere does not exist"),
        ({"metrics_listen": "unix:/proc/version"}, "a regular file is in the way"),
        ({"deliver_spec": "ipc:///a", "deliver_push_spec": "ipc:///a"}, "ipc:///a is given twice"),
        (
            {"metrics_listen": "127.0.0.1:8", "http_listen": "127.0.0.1:8"},
            "metrics_listen: 127.0.0.1:8 is given twice, in http_listen as well",
        ),
    ],
)
def test_check_config_finds_what_prevents_the_start(
    gateway: Daemon, settings: dict[str, str], part: str
) -> None:
    deliver = prepared(gateway, **settings)
    try:
        done = checked(deliver)
        assert done.returncode == 1
        assert part in done.stderr
    finally:
        deliver.close()


def test_check_config_warns_of_relative_paths(gateway: Daemon) -> None:
    deliver = prepared(gateway, deliver_spec="ipc://push", deliver_push_spec="ipc:///none/push")
    try:
        done = checked(deliver, "--quiet")
        assert done.returncode == 0
        relative, missing = done.stderr.splitlines()
        assert "deliver_spec: ipc://push is relative" in relative
        assert missing.endswith("deliver_push_spec: the folder /none does not exist")
        assert checked(deliver, "--quiet", "--strict").returncode == 1
    finally:
        deliver.close()


def test_check_config_warns_of_endpoints_that_strangers_may_reach(gateway: Daemon) -> None:
    deliver = prepared(gateway, deliver_spec="tcp://*:5555", deliver_push_spec="tcp://[::1]:5556")
    try:
        done = checked(deliver, "--quiet")
        assert done.returncode == 0
        (line,) = done.stderr.splitlines()
        assert "deliver_spec: tcp://*:5555 can be reached from other machines" in line
    finally:
        deliver.close()


def test_check_config_hides_the_password(gateway: Daemon) -> None:
    deliver = prepared(gateway, store="postgresql://shop:geheim@db/zurl?password=geheim")
    try:
        done = checked(deliver)
        assert "postgresql://shop@db/zurl" in done.stdout
        assert "geheim" not in done.stdout + done.stderr
    finally:
        deliver.close()
