"""The plots of docs/benchmarks.md, by matplotlib."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot
from matplotlib.figure import Figure

from .cases import CASES
from .driver import Result

__all__ = ["plot"]

_COLORS = {"ours": "#2a6f97", "zurl": "#bc6c25", "condure": "#6a994e", "floor": "#999999"}
Results = dict[str, dict[str, Result]]


def plot(folder: Path, results: Results) -> None:
    """Write those plots into ``folder`` that there are numbers for."""
    # The same numbers make the same files.
    matplotlib.rcParams["svg.hashsalt"] = "benchmarks"
    _bars(folder / "requests.svg", results)
    _curve(folder / "open.svg", "open", "requests open", results)
    _curve(folder / "hosts.svg", "hosts", "hosts", results)


def _bars(path: Path, results: Results) -> None:
    shown = [c for c in CASES if c.group in ("requests", "sockets") and c.name in results]
    if not shown:
        return
    figure, axes = pyplot.subplots(figsize=(8, 0.6 * len(shown) + 1))
    height = 0.8 / len(_COLORS)
    for number, (name, color) in enumerate(_COLORS.items()):
        found = [(at, c) for at, c in enumerate(shown) if name in results[c.name]]
        if found:
            axes.barh(
                [at + (number - 1.5) * height for at, _ in found],
                [results[c.name][name].cpu_each for _, c in found],
                height,
                color=color,
                label=name,
            )
    axes.set_yticks(range(len(shown)), [case.title for case in shown])
    axes.invert_yaxis()
    axes.set_xlabel("µs of CPU time of the daemon")
    axes.legend()
    _save(figure, path)


def _curve(path: Path, group: str, label: str, results: Results) -> None:
    cases = [case for case in CASES if case.group == group and case.name in results]
    if not cases:
        return
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for name, color in _COLORS.items():
        points = [
            (case.size, results[case.name][name].cpu_each)
            for case in cases
            if name in results[case.name]
        ]
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", color=color, label=name)
    axes.set_xscale("symlog" if any(case.size == 0 for case in cases) else "log")
    if any(case.size == 0 for case in cases):
        axes.set_xscale("symlog", linthresh=100)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(label)
    axes.set_ylabel("µs of CPU time per request")
    axes.legend()
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
