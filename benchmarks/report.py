"""The results as a table and as plots."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Iterable
from pathlib import Path

from .cases import Case
from .driver import Result

__all__ = ["row", "table", "write"]

_COLUMNS = ("ours", "zurl", "condure", "floor")
_BEGIN, _END = "<!-- results: begin -->", "<!-- results: end -->"


def row(case: Case, results: dict[str, Result]) -> str:
    """One line of the table."""
    cells = [case.title, case.unit]
    cells += [f"{results[name].cpu_each:,.0f}" if name in results else "–" for name in _COLUMNS]
    ours, other = results.get("ours"), results.get(case.against)
    ratio = ours.cpu_each / other.cpu_each if ours and other else None
    cells.append(f"{ratio:.2f} × {case.against}" if ratio is not None else "–")
    cells.append(f"≤ {case.target:.2f}" if case.target is not None else "")
    cells.append(_rates(results))
    cells.append(_notes(results))
    return "| " + " | ".join(cells) + " |"


def _rates(results: dict[str, Result]) -> str:
    return " / ".join(f"{results[name].rate:,.0f}" for name in _COLUMNS if name in results)


def _notes(results: dict[str, Result]) -> str:
    notes = []
    for name in _COLUMNS:
        result = results.get(name)
        if result is None:
            continue
        if result.latencies:
            latencies = sorted(result.latencies)
            middle = statistics.median(latencies) * 1e6
            late = latencies[int(len(latencies) * 0.99)] * 1e6
            notes.append(f"{name}: p50 {middle:.0f} µs, p99 {late:.0f} µs")
        if result.memory is not None:
            notes.append(f"{name}: {result.memory / 1000:.1f} kB each")
    return "; ".join(notes)


def table(cases: Iterable[Case], results: dict[str, dict[str, Result]]) -> str:
    """The whole table, in Markdown."""
    head = (
        "| case | per | ours, µs | zurl, µs | condure, µs | floor, µs | ratio | target "
        "| per second, same order | |\n|---|---|--:|--:|--:|--:|--:|--:|--:|---|"
    )
    return "\n".join([head, *(row(case, results[case.name]) for case in cases)])


def write(
    folder: Path,
    cases: list[Case],
    results: dict[str, dict[str, Result]],
    versions: dict[str, str],
) -> None:
    """Put the table between the marks of benchmarks.md, and the plots beside it."""
    page = folder / "benchmarks.md"
    text = page.read_text() if page.exists() else f"# Benchmarks\n\n{_BEGIN}\n{_END}\n"
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    programs = "\n".join(f"- {name}: {version}" for name, version in versions.items())
    body = (
        f"{_BEGIN}\nMachine: {_processor()}, {platform.system()} {platform.release()}, Python "
        f"{platform.python_version()}.\n\n{programs}\n\n{table(cases, results)}\n\n"
        "![CPU time per request](benchmarks/cpu.svg)\n\n"
        "![Other traffic beside open requests](benchmarks/open.svg)\n"
    )
    page.write_text(f"{before}{body}{_END}{after}")
    plots = folder / "benchmarks"
    plots.mkdir(exist_ok=True)
    _plot_cpu(plots / "cpu.svg", cases, results)
    _plot_open(plots / "open.svg", results)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _plot_cpu(path: Path, cases: list[Case], results: dict[str, dict[str, Result]]) -> None:
    from matplotlib import pyplot

    shown = [
        c for c in cases if {"ours", "zurl"} <= results[c.name].keys() and "idle" not in c.name
    ]
    figure, axes = pyplot.subplots(figsize=(8, 0.45 * len(shown) + 1))
    ratios = [results[c.name]["ours"].cpu_each / results[c.name]["zurl"].cpu_each for c in shown]
    axes.barh([case.title for case in shown], ratios, color="#2a6f97")
    axes.axvline(1.0, color="black", linewidth=1)
    axes.invert_yaxis()
    axes.set_xlabel("CPU time, as a share of Zurl's")
    figure.tight_layout()
    figure.savefig(path)


def _plot_open(path: Path, results: dict[str, dict[str, Result]]) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    sizes = {"open-100": 100, "open-1k": 1_000, "open-10k": 10_000}
    for name in ("ours", "zurl"):
        points = [
            (size, results[case][name].cpu_each)
            for case, size in sizes.items()
            if name in results.get(case, {})
        ]
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("requests open")
    axes.set_ylabel("µs of CPU per other request")
    if axes.lines:
        axes.legend()
    figure.tight_layout()
    figure.savefig(path)
