"""What keeps an endpoint from being bound, and what may be removed."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from zurl_py.config.endpoint import parse_endpoint
from zurl_py.messaging.obstacles import Lasts, Obstacle, obstacle

_NOBODY = 65534


def of_path(path: Path) -> Obstacle | None:
    return obstacle(parse_endpoint(f"ipc://{path}"))


def reason(found: Obstacle | None) -> str:
    assert found is not None
    return found.reason


def listen(path: Path, backlog: int = 1) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen(backlog)
    return sock


@contextmanager
def as_nobody() -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("only root may become another user")
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_nothing_is_in_the_way_of_a_new_path_or_a_leftover(tmp_path: Path) -> None:
    assert of_path(tmp_path / "new") is None
    listen(tmp_path / "old").close()
    assert of_path(tmp_path / "old") is None
    assert obstacle(parse_endpoint("ipc://@abstract")) is None


def test_a_file_that_is_no_socket_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    listen(tmp_path / "old").close()
    (tmp_path / "link").symlink_to("old")
    (tmp_path / "nowhere").symlink_to("gone")
    assert "a regular file is in the way" in reason(of_path(tmp_path / "file"))
    assert "a folder is in the way" in reason(of_path(tmp_path / "folder"))
    assert "a named pipe is in the way" in reason(of_path(tmp_path / "pipe"))
    assert "a symbolic link is in the way" in reason(of_path(tmp_path / "link"))
    assert "a symbolic link is in the way" in reason(of_path(tmp_path / "nowhere"))


def test_a_socket_that_is_listened_on_is_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "live"
    with listen(path, backlog=0):
        found = [of_path(path) for _ in range(3)]  # the last find its queue full
    assert all(reason(each) == "another process listens there" for each in found)
    assert {each.lasts for each in found if each} == {Lasts.UNKNOWN}


def test_faults_of_a_folder(tmp_path: Path) -> None:
    missing = of_path(tmp_path / "none" / "socket")
    assert missing == Obstacle(f"the folder {tmp_path}/none does not exist", Lasts.PERHAPS)
    (tmp_path / "file").write_text("")
    assert "Not a directory" in reason(of_path(tmp_path / "file" / "socket"))


def test_a_folder_of_another_user(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    for parent in tmp_path.parents[:3]:
        os.chmod(parent, 0o755)
    with as_nobody():
        assert "(nobody) may not write to the folder" in reason(of_path(tmp_path / "new"))


def test_a_socket_of_another_user(tmp_path: Path) -> None:
    for parent in tmp_path.parents[:3]:
        os.chmod(parent, 0o755)
    os.chmod(tmp_path, 0o1777)
    left, live = tmp_path / "left", tmp_path / "live"
    listen(left).close()
    os.chmod(left, 0o777)
    with listen(live), as_nobody():
        assert "a socket that the user root left behind" in reason(of_path(left))
        assert reason(of_path(live)) == "a socket of the user root is in the way"


@pytest.mark.parametrize(
    "spec", ["tcp://127.0.0.1:1", "tcp://*:1", "tcp://lo:*", "tcp://0.0.0.0:1"]
)
def test_an_address_of_this_machine(spec: str) -> None:
    assert obstacle(parse_endpoint(spec)) is None


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("tcp://192.0.2.1:1", "192.0.2.1 is no address of this machine"),
        ("tcp://[2001:db8::1]:1", "2001:db8::1 is no address of this machine"),
        ("tcp://localhost:1", "localhost is neither an address nor an interface"),
        ("tcp://no-such-host.example:1", "neither an address nor an interface"),
    ],
)
def test_an_address_of_another_machine(spec: str, words: str) -> None:
    assert words in reason(obstacle(parse_endpoint(spec)))
