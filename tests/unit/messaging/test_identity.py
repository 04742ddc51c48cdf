"""The daemon's own name: the same after each start, another for each daemon."""

from __future__ import annotations

from pathlib import Path

import pytest

from zurl_py.config import Config
from zurl_py.messaging.identity import instance_name

STREAM = ("ipc:///run/zurl/zurl-in-stream",)


@pytest.fixture
def machine(tmp_path: Path) -> list[str]:
    file = tmp_path / "machine-id"
    file.write_text("3d1219c7c4c5404aaa1f6d2a48adfda4\n")
    return [str(tmp_path / "none"), str(file)]


def name_of(machine: list[str], *specs: str) -> bytes:
    return instance_name(Config(in_stream_spec=specs), machine)


def test_a_name_that_is_given_is_taken(machine: list[str]) -> None:
    assert instance_name(Config(instance_id="gw-1", in_stream_spec=STREAM), machine) == b"gw-1"


def test_the_name_is_the_same_at_each_start_and_tells_no_secret(machine: list[str]) -> None:
    name = name_of(machine, *STREAM)
    assert name == name_of(machine, *STREAM)
    assert b"3d1219c7" not in name
    assert len(name) == 38


def test_another_endpoint_or_machine_has_another_name(machine: list[str], tmp_path: Path) -> None:
    names = {
        name_of(machine, spec)
        for spec in (*STREAM, "ipc:///run/b", "ipc://@b", "tcp://127.0.0.1:1", "tcp://127.0.0.1:2")
    }
    other = tmp_path / "other"
    other.write_text("f" * 32 + "\n")
    names.add(name_of([str(other)], *STREAM))
    names.add(name_of([], *STREAM))  # a container without an id: its host name counts
    assert len(names) == 7


def test_spellings_of_one_place_have_one_name(machine: list[str], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "var").symlink_to("run")
    names = {
        name_of(machine, f"ipc://{tmp_path}/{way}/stream")
        for way in ("run", "var", "run/../var", "run/.")
    }
    assert len(names) == 1
    assert name_of(machine, "tcp://127.0.0.1:1/") == name_of(machine, "tcp://127.0.0.1:1")


def test_another_endpoint_behind_the_first_changes_nothing(machine: list[str]) -> None:
    assert name_of(machine, *STREAM, "tcp://127.0.0.1:1") == name_of(machine, *STREAM)


def test_where_no_worker_can_find_it_again_the_name_is_random(machine: list[str]) -> None:
    spec = "tcp://127.0.0.1:*"
    assert name_of(machine, spec) != name_of(machine, spec)
