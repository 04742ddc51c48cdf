"""Monitors: connections to which every outcome is sent, as far as they read it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..journal import Account, account_fields, account_text
from ..log import to_json

__all__ = ["Filter", "Monitor", "Monitors"]

_MAX_WAITING = 262_144  # bytes that may wait for one monitor; further lines are lost to it


@dataclass(frozen=True, slots=True)
class Filter:
    """The outcomes that a monitor wants; an empty field matches all.

    Attributes:
        errors: only errors and answers with 5xx.
        worker: the whole ``from``.
        host: the URL's host, or a domain above it.
        condition: a condition, or the name of an error.
    """

    errors: bool = False
    worker: str = ""
    host: str = ""
    condition: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Filter:
        """The filter that a query describes."""
        return cls(
            query.get("errors", "") in ("1", "true", "yes"),
            query.get("worker", ""),
            query.get("host", "").lower().rstrip("."),
            query.get("condition", ""),
        )

    def wants(self, account: Account) -> bool:
        """Whether the monitor wants this outcome."""
        if self.errors and not (account.error or account.outcome == "5xx"):
            return False
        if self.worker:
            sender = (account.sender or b"").decode("utf-8", "backslashreplace")
            if self.worker != sender:
                return False
        if self.host and account.host != self.host and not account.host.endswith("." + self.host):
            return False
        return not self.condition or self.condition in (account.outcome, account.error)


class Monitor:
    """One monitor, with the lines that wait for it.

    Args:
        changed: called when there is something to send.
    """

    def __init__(self, filter: Filter, changed: Callable[[], None]) -> None:
        self.filter = filter
        self._changed = changed
        self._waiting = bytearray()
        self._lost = 0  # lost lines that were not reported to it yet

    def add_line(self, line: bytes) -> None:
        """Add an outcome; it is lost if too much waits already."""
        if len(self._waiting) + len(line) > _MAX_WAITING:
            self._lost += 1
            return
        if self._lost:
            self._report_losses()
        self._waiting += line
        self._changed()

    def _report_losses(self) -> None:
        lost, self._lost = self._lost, 0
        text = f"{lost} lines were lost: they came faster than this monitor took them"
        fields = {"event": "monitor-lines-lost", "message": text, "lost": lost}
        self._waiting += to_json({"time": _now(), "level": "warning", **fields}).encode() + b"\n"

    def take(self) -> bytes:
        """Remove and return what waits."""
        if self._lost and not self._waiting:
            self._report_losses()
        data = bytes(self._waiting)
        self._waiting.clear()
        return data


class Monitors:
    """All monitors. An outcome is formatted once, and only if a monitor wants it."""

    def __init__(self) -> None:
        self._monitors: list[Monitor] = []

    def __len__(self) -> int:
        return len(self._monitors)

    def add(self, monitor: Monitor) -> None:
        """Add a monitor."""
        self._monitors.append(monitor)

    def remove(self, monitor: Monitor) -> None:
        """Remove a monitor; no error if it is unknown."""
        if monitor in self._monitors:
            self._monitors.remove(monitor)

    def ended(self, account: Account) -> None:
        """Send the outcome of a request to the monitors that want it."""
        line: bytes | None = None
        for monitor in self._monitors:
            if monitor.filter.wants(account):
                line = line or outcome_line(account)
                monitor.add_line(line)


def outcome_line(account: Account) -> bytes:
    """An outcome as one line of JSON, the same object as the log's."""
    fields = {
        "time": _now(),
        "level": "warning" if account.error else "info",
        "event": "outcome",
        "message": account_text(account),
        **account_fields(account),
    }
    return to_json(fields).encode("utf-8", "backslashreplace") + b"\n"


def _now() -> str:
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    return f"{stamp}.{int(now * 1000) % 1000:03d}Z"
