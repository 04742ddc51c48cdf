"""What is put aside of a transfer: phases, connections, bytes, frames."""

from __future__ import annotations

from typing import Any, cast

import pycurl
import pytest

from zurl_py.egress.meter import Meter
from zurl_py.metrics import PHASES, Metrics
from zurl_py.websocket import Close, Data, Ping, Pong


class Curl:
    """A handle whose transfer has these figures."""

    def __init__(self, **figures: float) -> None:
        self._figures = {getattr(pycurl, name): value for name, value in figures.items()}

    def getinfo(self, what: int) -> float:
        return self._figures.get(what, 0)


def measured(
    answered: bool = True, sends: bool = True, **figures: float
) -> tuple[Metrics, dict[str, list[float]]]:
    metrics = Metrics()
    Meter(metrics).transfer_ended(cast(Any, Curl(**figures)), sends, answered)
    return metrics, dict(zip(PHASES, metrics.phases.pending, strict=True))


def test_a_new_connection_has_all_its_phases() -> None:
    metrics, phases = measured(
        NUM_CONNECTS=1,
        NAMELOOKUP_TIME=0.001,
        CONNECT_TIME=0.011,
        APPCONNECT_TIME=0.041,
        PRETRANSFER_TIME=0.042,
        STARTTRANSFER_TIME=0.142,
        TOTAL_TIME=1.142,
        SIZE_UPLOAD_T=10,
        SIZE_DOWNLOAD_T=1000,
    )
    assert {name: [round(v, 6) for v in values] for name, values in phases.items()} == {
        "resolve": [],
        "connect": [0.01],
        "tls": [0.03],
        "first_byte": [0.1],
        "transfer": [1.0],
    }
    assert (metrics.connections_opened.total, metrics.connections_reused.total) == (1, 0)
    assert (metrics.uploaded.total, metrics.downloaded.total) == (10, 1000)


def test_a_kept_connection_saves_the_first() -> None:
    metrics, phases = measured(STARTTRANSFER_TIME=0.1, TOTAL_TIME=0.102)
    assert [name for name, values in phases.items() if values] == ["first_byte", "transfer"]
    assert (metrics.connections_opened.total, metrics.connections_reused.total) == (0, 1)


def test_a_connection_that_failed_is_none() -> None:
    metrics, phases = measured(answered=False, STARTTRANSFER_TIME=0.2, TOTAL_TIME=0.2)
    assert not any(phases.values())
    assert (metrics.connections_opened.total, metrics.connections_reused.total) == (0, 0)


@pytest.mark.parametrize(("found", "outcome"), [(True, "resolved"), (False, "failed")])
def test_look_ups(found: bool, outcome: str) -> None:
    metrics = Metrics()
    Meter(metrics).looked_up(found, 0.02)
    assert metrics.lookups.value(outcome) == metrics.lookups.total == 1
    assert metrics.phases.pending[0] == [0.02]


def test_frames_both_ways() -> None:
    metrics = Metrics()
    meter = Meter(metrics)
    meter.frame_came(Data(b"x", False, False), False)
    meter.frame_came(Data(b"x", False, True), True)
    meter.frame_came(Data(b"x", True, True), False)
    for event in (Ping(b""), Pong(b""), Close(1000, b"")):
        meter.frame_came(event, False)
    for opcode in (0, 1, 2, 8, 9, 10):
        meter.frame_went(bytes((0x80 | opcode, 0)))
    assert list(metrics.frames.values) == [1] * 12


@pytest.mark.usefixtures("untraced")
def test_what_one_transfer_costs() -> None:
    """Bound: a microsecond or two with the calls into libcurl left out."""
    import time

    meter = Meter(Metrics())
    curl = cast(Any, Curl(STARTTRANSFER_TIME=0.1, TOTAL_TIME=0.2))
    best = 1.0
    for _ in range(20):
        before = time.perf_counter()
        for _ in range(500):
            meter.transfer_ended(curl, False, True)
        best = min(best, (time.perf_counter() - before) / 500)
    assert best < 10e-6
