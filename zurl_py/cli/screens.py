"""Formats the daemon's status as lines of text, for ``zurl-py status`` and ``zurl-py top``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .terminal import escape

__all__ = ["amount", "duration", "size", "status_lines", "top_lines"]

Status = Mapping[str, Any]

_WIDTH = 14  # of the first column


def status_lines(now: Status) -> list[str]:
    """All lines of a status."""
    return list(map(escape, _status(now)))


def top_lines(now: Status, before: Status) -> list[str]:
    """A screen of ``top``: the status, with rates since the previous one."""
    return list(map(escape, _top(now, before)))


def _status(now: Status) -> Iterator[str]:
    yield _heading(now)
    yield _row("configuration", str(now["configuration"]))
    for name, endpoints in now["endpoints"].items():
        yield _row(name, " ".join(endpoints))
    yield ""
    sessions, books = now["sessions"], now["books"]
    yield _row("sessions", _open_sessions(sessions))
    yield _row(
        "accepted",
        f"{amount(books['accepted'])}, of which {amount(books['answered'])} have ended",
    )
    yield _row("outcomes", _counted(now["requests"]["outcomes"]) or "none yet")
    yield _row("latency", _latency(now["latency_seconds"]))
    yield from _transport(now)
    yield from _lists(now)
    yield from _oldest(sessions["oldest"], 5)
    yield ""
    yield _row("waiting for", "; ".join(now["waiting_for"]) or "nothing")


def _top(now: Status, before: Status) -> Iterator[str]:
    seconds = max(now["uptime_seconds"] - before["uptime_seconds"], 0.001)
    yield _heading(now)
    ended = _difference(now, before, "books", "answered")
    outcomes, former = now["requests"]["outcomes"], before["requests"]["outcomes"]
    fresh = {name: count - former.get(name, 0) for name, count in outcomes.items()}
    errors = sum(count for name, count in fresh.items() if name not in _WELL)
    yield _row(
        "requests",
        f"{ended / seconds:,.1f}/s, {errors / seconds:,.1f}/s of them errors;"
        f" up {_rate(now, before, 'transport', 'upload_bytes')}/s,"
        f" down {_rate(now, before, 'transport', 'download_bytes')}/s",
    )
    yield _row("outcomes", _counted({k: v for k, v in fresh.items() if v > 0}) or "none")
    yield _row("latency", _latency(now["latency_seconds"]))
    yield _row("sessions", _open_sessions(now["sessions"]))
    yield from _transport(now)
    loop = now["loop"]
    yield _row(
        "loop",
        f"turn p50 {duration(loop['turn_p50_seconds'])}, p99 {duration(loop['turn_p99_seconds'])};"
        f" late p99 {duration(loop['lag_p99_seconds'])}",
    )
    yield from _lists(now)
    yield from _oldest(now["sessions"]["oldest"], 10)
    yield ""
    yield _row("waiting for", "; ".join(now["waiting_for"]) or "nothing")


_WELL = frozenset(("1xx", "2xx", "3xx", "4xx", "cancelled"))


def _heading(now: Status) -> str:
    return (
        f"zurl_py {now['version']}  pid {now['pid']}  up {age(now['uptime_seconds'])}"
        f"  {now['state']}  {now['instance_id']}"
    )


def _open_sessions(sessions: Status) -> str:
    counts = sessions["open"]
    text = f"{amount(sum(counts.values()))} open ({_counted(counts, zeros=True)})"
    states = _counted(sessions["states"])
    return f"{text}: {states}" if states else text


def _transport(now: Status) -> Iterator[str]:
    transport, books = now["transport"], now["books"]
    opened, reused = transport["connections_opened"], transport["connections_reused"]
    share = f" ({100 * reused / (opened + reused):.0f} % reused)" if opened + reused else ""
    yield _row(
        "connections",
        f"{amount(transport['connections_idle'])} idle, {amount(opened)} opened{share}; "
        f"{amount(transport['lookups_failed'])} look-ups failed",
    )
    yield _row(
        "held",
        f"{amount(books['transfers'])} transfers, {amount(books['descriptors'])} descriptors of "
        f"{amount(books['descriptors_limit'])}, {amount(books['timers'])} timers, "
        f"{size(books['bytes_held'])} of bodies and answers; {size(books['memory_bytes'])} in all",
    )


def _lists(now: Status) -> Iterator[str]:
    hosts, workers, policy = now["hosts"], now["workers"], now["policy"]
    yield from _table(
        "hosts with most errors",
        ("errors", "requests", "last error", "host"),
        [
            (amount(h["errors"]), amount(h["requests"]), h.get("last_error", ""), h["host"])
            for h in hosts["most_errors"]
        ],
    )
    yield from _table(
        "slowest hosts",
        ("mean", "slowest", "requests", "host"),
        [
            (
                duration(h["mean_seconds"]),
                duration(h["slowest_seconds"]),
                amount(h["requests"]),
                h["host"],
            )
            for h in hosts["slowest"]
        ],
    )
    yield from _table(
        "slow workers",
        ("packets", "bytes", "worker"),
        [(amount(w["packets"]), size(w["bytes"]), w["worker"]) for w in workers["slow"]],
    )
    yield from _table(
        "refused by the policy",
        ("times", "rule"),
        [(amount(count), rule) for rule, count in policy["refusals"].items()],
    )


def _oldest(oldest: Sequence[Status], most: int) -> Iterator[str]:
    yield from _table(
        "oldest sessions",
        ("session", "age", "state", "from", "request"),
        [
            (
                str(s["session"]),
                age(s["age_seconds"]),
                s["state"],
                s.get("from", "-"),
                f"{s['method']} {s['url']}",
            )
            for s in oldest[:most]
        ],
    )


def _table(title: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table; the last column is not aligned. Nothing if there are no rows."""
    if not rows:
        return
    # A worker's address may be long, and contain any bytes.
    rows = [[escape(cell) for cell in row] for row in rows]
    widths = [
        min(32, max(len(row[column]) for row in (names, *rows))) for column in range(len(names) - 1)
    ]
    yield ""
    yield title
    for row in (names, *rows):
        cells = [cell[:width].ljust(width) for cell, width in zip(row[:-1], widths, strict=True)]
        yield "  " + "  ".join((*cells, row[-1]))


def _row(name: str, text: str) -> str:
    return f"{name:<{_WIDTH}} {text}"


def _counted(counts: Mapping[str, int], zeros: bool = False) -> str:
    return ", ".join(f"{name} {amount(n)}" for name, n in counts.items() if n or zeros)


def _latency(seconds: Mapping[str, float | None]) -> str:
    if seconds["p50"] is None:
        return "-"
    return ", ".join(f"{name} {duration(value)}" for name, value in seconds.items())


def _difference(now: Status, before: Status, *path: str) -> float:
    first, last = before, now
    for name in path:
        first, last = first[name], last[name]
    assert isinstance(first, (int, float))
    assert isinstance(last, (int, float))
    return max(0, last - first)


def _rate(now: Status, before: Status, *path: str) -> str:
    seconds = max(now["uptime_seconds"] - before["uptime_seconds"], 0.001)
    return size(_difference(now, before, *path) / seconds)


# -- units -----------------------------------------------------------------------------------------


def amount(number: float) -> str:
    """A count, with commas between thousands."""
    return f"{number:,.0f}"


def size(number: float) -> str:
    """Bytes, in a suitable unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def duration(seconds: float | None) -> str:
    """A short time, in a suitable unit."""
    if seconds is None:
        return "-"
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    return f"{seconds:.2f} s" if seconds < 60 else age(seconds)


def age(seconds: float) -> str:
    """A time that may be long: ``5 s``, ``12:34``, ``5:12:34``, ``3 d 05:12:34``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02}:{minutes:02}:{rest:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
