"""Metrics: names and labels as promised, and expositions that Prometheus' own tools accept."""

from __future__ import annotations

import subprocess
import time

import pytest
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import require_peer
from zurl_py.metrics import OPENMETRICS, OUTCOMES, TEXT, Metrics, outcome_of, render
from zurl_py.metrics.families import Counter, Exemplar, Gauge, Histogram, Info


def values(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def text_of(*families: Counter | Gauge | Histogram | Info, kind: str = TEXT) -> str:
    return render(families, kind).decode()


# -- families ----------------------------------------------------------------------------------


def test_every_combination_of_labels_is_there_from_the_start() -> None:
    counter = Counter("x", "help", a=("1", "2"), b=("p", "q", "r"))
    assert [sample.value for sample in counter.samples()] == [0] * 6
    counter.add("2", "q")
    counter.add("2", "q", amount=5)
    assert (counter.value("2", "q"), counter.total) == (6, 6)
    assert counter.values[counter.index("2", "q")] == 6
    assert 'x_total{a="2",b="q"} 6' in text_of(counter)
    with pytest.raises(KeyError):
        counter.add("3", "q")


def test_a_counter_without_labels_is_one_number() -> None:
    counter = Counter("x", "help")
    counter.add(amount=1.5)
    assert text_of(counter) == "# HELP x_total help\n# TYPE x_total counter\nx_total 1.5\n"


def test_a_gauge_is_asked_when_it_is_read() -> None:
    now = [1, 2]
    gauge = Gauge("g", "help", lambda: now, of=("a", "b"))
    now[:] = [3, 4]
    assert 'g{of="a"} 3\ng{of="b"} 4\n' in text_of(gauge)


@pytest.mark.parametrize("many", [False, True])
def test_a_histogram_counts_values_up_to_and_with_each_bound(many: bool) -> None:
    histogram = Histogram("h", "help", (0.1, 1.0, 10.0), of=("a", "b"))
    seen = [0.1, 0.05, 0.1000001, 1.0, 5.0, 10.0, 11.0] * (100 if many else 1)
    histogram.pending[1].extend(seen)
    text = text_of(histogram)
    times = len(seen) // 7
    for bound, count in (("0.1", 2), ("1.0", 4), ("10.0", 6), ("+Inf", 7)):
        assert f'h_bucket{{of="b",le="{bound}"}} {count * times}\n' in text
        assert f'h_bucket{{of="a",le="{bound}"}} 0\n' in text
    assert f'h_count{{of="b"}} {7 * times}\n' in text
    assert values(text)["h_sum", frozenset({("of", "b")})] == pytest.approx(27.2500001 * times)
    # What was counted once is not counted again.
    histogram.pending[1].append(100.0)
    assert histogram.count(1) == 7 * times + 1


def test_quantiles_are_as_near_as_the_buckets() -> None:
    histogram = Histogram("h", "help", (1.0, 2.0, 4.0))
    assert histogram.quantile(0.5) is None
    histogram.pending[0].extend([0.5] * 50 + [1.5] * 40 + [3.0] * 9 + [100.0])
    assert histogram.quantile(0.25) == pytest.approx(0.5)
    assert histogram.quantile(0.5) == pytest.approx(1.0)
    assert histogram.quantile(0.9) == pytest.approx(2.0)
    assert histogram.quantile(1.0) == 4.0


def test_numbers_and_texts_are_written_as_the_formats_have_them() -> None:
    info = Info("i", 'a "help"\nof \\ two lines', version='1"\n\\')
    text = text_of(info)
    assert text.splitlines()[0] == r'# HELP i_info a "help"\nof \\ two lines'
    assert r'i_info{version="1\"\n\\"} 1' in text
    for value, written in ((0.5, "0.5"), (3.0, "3"), (float("inf"), "+Inf"), (1e300, "1e+300")):
        assert f"g {written}\n" in text_of(Gauge("g", "help", lambda value=value: value))


def test_exemplars_are_for_openmetrics_alone() -> None:
    histogram = Histogram("h", "help", (0.1, 1.0))
    histogram.pending[0].append(0.5)
    histogram.remark(Exemplar("4bf92f3577b34da6a3ce929d0e0e4736", 0.5, 1_800_000_000.25))
    assert "4bf9" not in text_of(histogram)
    families = list(
        openmetrics_parser.text_string_to_metric_families(  # type: ignore[no-untyped-call]
            text_of(histogram, kind=OPENMETRICS)
        )
    )
    found = [sample for sample in families[0].samples if sample.exemplar]
    assert [sample.labels["le"] for sample in found] == ["1.0"]
    assert found[0].exemplar.labels == {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}
    exemplar = found[0].exemplar
    assert (exemplar.value, float(exemplar.timestamp)) == (0.5, 1_800_000_000.25)


# -- the daemon's ------------------------------------------------------------------------------


def used() -> Metrics:
    metrics = Metrics()
    metrics.info("zurl_build", "What this is.", version="1", libcurl="8")
    metrics.gauge("zurl_transfers_open", "Transfers.", lambda: 3)
    metrics.observed("zurl_log_lines_dropped", "Lines.", lambda: 4)
    for number in range(1000):
        metrics.open[number % 3] += 1
        metrics.ended(number % 3, number % 4, OUTCOMES[number % len(OUTCOMES)], number / 100)
        metrics.observe_turn(number / 10_000)
        metrics.observe_lag(number / 10_000)
    metrics.open[1] += 1
    metrics.example(1.5, "4bf92f3577b34da6a3ce929d0e0e4736", 1_800_000_000.0)
    return metrics


@pytest.mark.parametrize("on", [True, False])
def test_durations_take_no_memory_for_each_request(on: bool) -> None:
    """Without ``metrics_listen`` nobody reads them, and no turn is observed."""
    metrics = Metrics(on=on)
    for _ in range(2000):
        metrics.open[0] += 1
        metrics.ended(0, 0, "2xx", 0.1)
        if on:
            metrics.observe_turn(0.001)
    assert len(metrics.durations.pending[0]) <= 256


@pytest.mark.parametrize("kind", [TEXT, OPENMETRICS])
def test_prometheus_own_parsers_read_it(kind: str) -> None:
    text = render(used().families(), kind).decode()
    parse = (
        text_string_to_metric_families
        if kind == TEXT
        else openmetrics_parser.text_string_to_metric_families
    )
    found = {sample.name: 0.0 for family in parse(text) for sample in family.samples}
    for family in parse(text):
        for sample in family.samples:
            found[sample.name] += sample.value
    assert found["zurl_requests_total"] == 1000
    assert found["zurl_request_duration_seconds_count"] == 1000
    assert found["zurl_loop_turn_seconds_count"] == 1000
    assert found["zurl_sessions_open"] == 1
    assert found["zurl_transfers_open"] == 3
    assert found["zurl_log_lines_dropped_total"] == 4
    assert found["zurl_build_info"] == 1


def test_promtool_accepts_the_exposition() -> None:
    promtool = require_peer("promtool")
    result = subprocess.run(
        [promtool, "check", "metrics"],
        input=render(used().families()),
        capture_output=True,
        timeout=60,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    ("code", "condition", "outcome"),
    [
        (100, "", "1xx"),
        (101, "", "1xx"),
        (200, "", "2xx"),
        (599, "", "5xx"),
        (600, "", "5xx"),
        (99, "", "5xx"),
        (0, "", "5xx"),
        (None, "tls-error", "tls-error"),
        (None, "cancelled", "cancelled"),
        (None, "news", "undefined-condition"),
    ],
)
def test_outcomes(code: int | None, condition: str, outcome: str) -> None:
    assert outcome_of(code, condition) == outcome


def test_no_label_holds_what_strangers_choose() -> None:
    names = {
        name
        for family in used().families()
        for sample in family.samples()
        for name, _ in sample.labels
    }
    assert names <= {
        *("interface", "scheme", "outcome", "phase", "le", "decision", "rule"),
        *("socket", "reason", "direction", "opcode", "code", "version", "libcurl"),
    }


@pytest.mark.usefixtures("untraced")
def test_what_one_request_costs() -> None:
    """Bound: 1 µs per request, of which the machine that runs this may take three."""
    metrics = Metrics()
    best = 1.0
    for _ in range(20):
        before = time.perf_counter()
        for _ in range(1000):
            metrics.open[1] += 1
            metrics.ended(1, 0, "2xx", 0.004)
        best = min(best, (time.perf_counter() - before) / 1000)
    assert best < 3e-6


@pytest.mark.usefixtures("untraced")
def test_an_exposition_is_made_without_stalling_the_loop() -> None:
    """Bound: 5 ms, what the usual client library takes for half as many lines."""
    metrics = used()
    render(metrics.families())
    best = 1.0
    for _ in range(10):
        before = time.perf_counter()
        text = render(metrics.families())
        best = min(best, time.perf_counter() - before)
    assert text.count(b"\n") > 300
    assert best < 0.005
