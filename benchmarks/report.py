"""The results as tables, in the documentation and on the terminal."""

from __future__ import annotations

import datetime
import json
import os
import platform
import sysconfig
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from .cases import CASES, Case
from .driver import Result

__all__ = ["progress", "tables", "write"]

Results = dict[str, dict[str, Result]]

_COLUMNS = ("ours", "zurl", "condure", "floor")
_BEGIN, _END = "<!-- results: begin -->", "<!-- results: end -->"
_TITLES = {
    "requests": "Requests",
    "paced": "A steady load",
    "bodies": "Streamed bodies",
    "versions": "Versions of HTTP",
    "sockets": "WebSockets",
    "open": "Other traffic beside open requests",
    "hosts": "Many hosts",
    "idle": "At rest",
}
_INTRODUCTIONS = {
    "requests": "Microseconds of CPU time of the daemon per request.",
    "paced": "Microseconds of CPU time of the daemon per request, at so many a second; and its "
    "context switches and system calls for each.",
    "bodies": "Microseconds of CPU time of the daemon per megabyte.",
    "versions": "Microseconds of CPU time of the daemon per request, or per megabyte of a streamed "
    "download, over TLS from one server (caddy) that speaks them all.",
    "sockets": "Microseconds of CPU time of the daemon per message that goes out and comes back, "
    "with 50 connections that have one message on its way each.",
    "open": "Microseconds of CPU time of the daemon per small request, 20 in flight, while so many "
    "others wait for an answer of the same host.",
    "hosts": "Microseconds of CPU time of the daemon per request, all hosts in turn, connections "
    "kept.",
    "idle": "Share of one core while sessions do nothing but keep alive, and what each takes of "
    "memory.",
}
_PLOTS = {
    "requests": ("requests", "CPU time per request"),
    "open": ("open", "CPU time per request beside open requests"),
    "hosts": ("hosts", "CPU time per request with many hosts"),
}


def progress(case: Case, results: dict[str, Result]) -> str:
    """One line while the measurement runs."""
    cells = [f"{name} {_cost(case, result)}" for name, result in results.items()]
    return f"{case.name}: {', '.join(cells)} {_ratio(case, results)}"


def tables(cases: Iterable[Case], results: Results) -> str:
    """All tables, in Markdown."""
    chosen = [case for case in cases if case.name in results]
    groups = dict.fromkeys(case.group for case in chosen)
    return "\n\n".join(
        _section(group, [case for case in chosen if case.group == group], results)
        for group in groups
    )


def write(folder: Path, fresh: Results, versions: dict[str, str]) -> None:
    """Put the tables between the marks of benchmarks.md, and the plots beside it."""
    from . import plots

    beside = folder / "benchmarks"
    beside.mkdir(parents=True, exist_ok=True)
    record = beside / "results.json"
    results = _read(record)
    for case, found in fresh.items():
        results.setdefault(case, {}).update(found)
    record.write_text(
        json.dumps(
            {c: {d: asdict(r) for d, r in found.items()} for c, found in results.items()}, indent=1
        )
        + "\n"
    )
    plots.plot(beside, results)
    page = folder / "benchmarks.md"
    text = page.read_text() if page.exists() else f"# Benchmarks\n\n{_BEGIN}\n{_END}\n"
    before, _, rest = text.partition(_BEGIN)
    after = rest.partition(_END)[2]
    body = f"{_BEGIN}\n{_machine(versions)}\n\n{tables(CASES, results)}\n"
    page.write_text(f"{before}{body}{_END}{after}")


def _read(record: Path) -> Results:
    if not record.exists():
        return {}
    stored = json.loads(record.read_text())
    return {
        case: {daemon: Result(**numbers) for daemon, numbers in found.items()}
        for case, found in stored.items()
    }


def _section(group: str, cases: list[Case], results: Results) -> str:
    names = [n for n in _COLUMNS if any(n in results[case.name] for case in cases)]
    parts = [f"### {_TITLES[group]}", _INTRODUCTIONS[group]]
    if group == "idle":
        parts.append(_idle_table(cases, names, results))
    elif group == "paced":
        parts.append(_paced_table(cases, names, results))
    else:
        parts.append(_table(cases, names, results))
    notes = [note for case in cases for note in _notes(case, results[case.name])]
    if notes:
        parts.append("\n".join(f"- {note}" for note in notes))
    if group in _PLOTS:
        name, alternative = _PLOTS[group]
        parts.append(f"![{alternative}](benchmarks/{name}.svg)")
    return "\n\n".join(parts)


def _table(cases: list[Case], names: list[str], results: Results) -> str:
    head = [
        "case",
        *names,
        "ratio",
        "target",
        *(f"{name}, per second" for name in names),
    ]
    lines = [_line(head), _line(["---"] + ["--:"] * (len(head) - 1))]
    for case in cases:
        found = results[case.name]
        rates = [f"{found[name].rate:,.0f}" if name in found else "–" for name in names]
        costs = [_cost(case, found[name]) if name in found else "–" for name in names]
        lines.append(_line([case.title, *costs, _ratio(case, found), _target(case, found), *rates]))
    return "\n".join(lines)


def _paced_table(cases: list[Case], names: list[str], results: Results) -> str:
    counts = [f"{name}, {what}" for what in ("switches", "calls") for name in names]
    head = ["case", *names, "ratio", "target", *counts]
    lines = [_line(head), _line(["---"] + ["--:"] * (len(head) - 1))]
    for case in cases:
        found = results[case.name]
        costs = [_cost(case, found[name]) if name in found else "–" for name in names]
        each = [_each(found.get(name), what) for what in ("switches", "calls") for name in names]
        lines.append(_line([case.title, *costs, _ratio(case, found), _target(case, found), *each]))
    return "\n".join(lines)


def _each(result: Result | None, what: str) -> str:
    total = getattr(result, what, None)
    return f"{total / result.count:.1f}" if result is not None and total is not None else "–"


def _idle_table(cases: list[Case], names: list[str], results: Results) -> str:
    head = ["case", *(f"{name}, of a core" for name in names), *(f"{n}, kB each" for n in names)]
    lines = [_line(head), _line(["---"] + ["--:"] * (len(head) - 1))]
    for case in cases:
        found = results[case.name]
        shares = [_cost(case, found[name]) if name in found else "–" for name in names]
        memory = [_memory(found[name]) if name in found else "–" for name in names]
        lines.append(_line([case.title, *shares, *memory]))
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cost(case: Case, result: Result) -> str:
    if case.group == "idle":
        return f"{result.cpu / result.wall:.2%}"
    return f"{result.cpu_each:,.0f}" if result.cpu_each >= 100 else f"{result.cpu_each:.1f}"


def _memory(result: Result) -> str:
    return "–" if result.memory is None else f"{result.memory / 1000:.1f}"


def _ratio(case: Case, found: dict[str, Result]) -> str:
    of = case.target.of if case.target else "zurl"
    share = _share(found, of)
    return "–" if share is None else f"{share:.2f} × {of}"


def _share(found: dict[str, Result], of: str) -> float | None:
    ours, other = found.get("ours"), found.get(of)
    return (
        ours.cpu / ours.count / (other.cpu / other.count) if ours and other and other.cpu else None
    )


def _target(case: Case, found: dict[str, Result]) -> str:
    if case.target is None:
        return ""
    share = _share(found, case.target.of)
    verdict = "" if share is None else ", met" if share <= case.target.share else ", **missed**"
    return f"≤ {case.target.share:.2f}{verdict}"


def _notes(case: Case, found: dict[str, Result]) -> list[str]:
    notes = []
    late = {name: r for name, r in found.items() if r.p50 is not None and r.p99 is not None}
    if late:
        each = (
            f"{name} {(r.p50 or 0) * 1e6:.0f} µs, 99 % within {(r.p99 or 0) * 1e6:.0f} µs"
            for name, r in late.items()
        )
        notes.append(f"Latency {case.title}, median: {'; '.join(each)}.")
    held = {name: r for name, r in found.items() if r.memory}
    if held and case.group == "open":
        each = (f"{name} {_memory(r)} kB" for name, r in held.items())
        notes.append(f"Memory of each of {case.size:,}: {', '.join(each)}.")
    return notes


def _machine(versions: dict[str, str]) -> str:
    programs = "\n".join(f"- {name}: {version}" for name, version in versions.items())
    return (
        f"Measured on {datetime.date.today():%Y-%m-%d}: {_processor()}, {os.cpu_count()} cores, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()} "
        f"({_interpreter()}); "
        f"{_libraries()}.\n\n{programs}"
    )


def _interpreter() -> str:
    """How the interpreter was built: one that was optimised by a profile is a tenth faster.

    Debian's is, but keeps no record of it.
    """
    names = ("CONFIG_ARGS", "PY_CORE_CFLAGS", "PY_CFLAGS_NODIST", "PY_LDFLAGS_NODIST")
    flags = " ".join(str(sysconfig.get_config_var(name) or "") for name in names)
    found = []
    if "profile-use" in flags or "--enable-optimizations" in flags:
        found.append("PGO")
    if "-flto" in flags or "--with-lto" in flags:
        found.append("LTO")
    return f"built with {' and '.join(found)}" if found else "no PGO or LTO on record"


def _libraries() -> str:
    import pycurl
    import zmq

    return f"pyzmq {zmq.__version__}, libzmq {zmq.zmq_version()}, {pycurl.version}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
