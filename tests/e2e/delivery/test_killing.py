"""The kill test, shortened, and proof that its checker would notice; ``make kill-test`` is long."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.delivery.process import Deliver
from tests.labs.killing.check import Violation, check
from tests.labs.killing.lab import Lab, Patience, has_open_breaker
from tests.support.daemon import free_port
from tests.support.deadline import wait_until
from tests.support.origin import dead_port


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_no_acknowledged_message_is_lost(store: str) -> None:
    figures = Lab(store, messages=1000, kills=5, seed=7).run()
    assert figures.acknowledged == 1000


def test_it_waits_as_long_as_there_is_progress() -> None:
    patience = Patience(60)
    assert not patience.is_over(1, False, 1000)
    assert not patience.is_over(2, False, 1059)
    assert not patience.is_over(2, False, 1119)
    assert patience.is_over(2, False, 1120)
    assert not patience.is_over(2, True, 1121)
    assert not patience.is_over(2, False, 1181)
    assert patience.is_over(2, False, 1182)


def test_the_checker_sees_breakers(start_deliver: Callable[..., Deliver]) -> None:
    port = free_port()
    deliver = start_deliver(metrics_listen=f"127.0.0.1:{port}", schedule=",".join(["0"] * 20))
    worker = deliver.wait_started().worker()

    def seen() -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return has_open_breaker(answer.read().decode())

    assert not seen()
    with dead_port() as dead:
        worker.deliver(uri=f"http://127.0.0.1:{dead}/")
        wait_until(seen, "the breaker to open")


def checked(
    tmp_path: Path, sent: list[str], arrivals: list[tuple[Any, ...]], dead: tuple[str, ...] = ()
) -> None:
    (tmp_path / "sent").write_text("".join(json.dumps([id, "p"]) + "\n" for id in sent))
    lines = [json.dumps([*arrival]) + "\n" for arrival in arrivals]
    (tmp_path / "received").write_text("".join(lines))
    check(tmp_path / "sent", tmp_path / "received", dead, most_duplicates=1)


def test_correct_logs_pass_the_checker(tmp_path: Path) -> None:
    checked(
        tmp_path,
        ["a", "b", "c"],
        [
            (1.0, "/ordered", "a", "k", 0, 500, True),
            (2.0, "/ordered", "a", "k", 0, 200, True),
            (3.0, "/ordered", "b", "k", 1, 200, True),
            (4.0, "/ordered", "a", "k", 0, 200, True),
        ],
        dead=("c",),
    )


@pytest.mark.parametrize(
    ("arrivals", "part"),
    [
        ([], "lost"),
        ([(1.0, "/p", "a", "k", 0, 500, True)], "lost"),
        ([(1.0, "/p", "a", "k", 0, 200, False)], "signatures"),
        ([(float(n), "/p", "a", "k", 0, 200, True) for n in range(3)], "duplicates"),
        ([(1.0, "/ordered", "a", "k", 1, 200, True)], "key k"),
        (
            [
                (1.0, "/ordered", "a", "k", 0, 500, True),
                (2.0, "/ordered", "a", "k", 1, 200, True),
            ],
            "key k",
        ),
        (
            [(1.0, "/gone", "a", "k", 0, 410, True), (2.0, "/gone", "b", "k", 1, 200, True)],
            "after 410",
        ),
        (
            [(1.0, "/busy", "b", "k", 0, 503, True), (1.5, "/busy", "a", "k", 1, 200, True)],
            "Retry-After",
        ),
    ],
)
def test_the_checker_notices_faults(
    tmp_path: Path, arrivals: list[tuple[Any, ...]], part: str
) -> None:
    accepted = ["a"]
    dead = ("a",) if part == "after 410" else ()
    with pytest.raises(Violation, match=part):
        checked(tmp_path, accepted, arrivals, dead)
