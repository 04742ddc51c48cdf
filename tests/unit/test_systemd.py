"""Notifications to the service manager."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from zurl_py import systemd


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """A service manager's socket, with NOTIFY_SOCKET set."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    if request.param == "path":
        address = str(tmp_path / "notify")
        sock.bind(address)
    else:
        address = f"@zurl-test-{os.getpid()}"
        sock.bind("\0" + address[1:])
    sock.settimeout(10)
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    yield sock
    sock.close()


def test_the_manager_is_told(manager: socket.socket) -> None:
    assert systemd.notify("READY=1\nSTATUS=fine")
    assert manager.recv(100) == b"READY=1\nSTATUS=fine"


def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not systemd.notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "vsock:2:1")
    assert not systemd.notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    assert not systemd.notify("READY=1")


def test_a_service_manager_that_does_not_read_does_not_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        told = [systemd.notify("WATCHDOG=1") for _ in range(10_000)]
    assert told[0]
    assert not told[-1]


@pytest.mark.parametrize(
    ("usec", "pid", "interval"),
    [
        ("20000000", None, 10.0),
        pytest.param("20000000", str(os.getpid()), 10.0, id="20000000-ours-10.0"),
        ("20000000", "1", None),
        ("0", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_the_watchdog_is_notified_twice_per_interval(
    monkeypatch: pytest.MonkeyPatch, usec: str | None, pid: str | None, interval: float | None
) -> None:
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", pid)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert systemd.watchdog_interval() == interval


def test_a_private_tmp_is_seen(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    root = "21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
    private = (
        "90 21 254:0 /tmp/systemd-private-0a-zurl.service-x/tmp /tmp rw shared:9 - ext4 a rw\n"
    )
    mounts.write_text(root)
    assert not systemd.private_tmp(str(mounts))
    mounts.write_text(root + private)
    assert systemd.private_tmp(str(mounts))
    assert not systemd.private_tmp(str(tmp_path / "none"))
