"""Figures for each host, in a bounded table: strangers choose the names of hosts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["HostTable"]

_MOST = 1000  # hosts


@dataclass(slots=True)
class HostFigures:
    """The figures of one host.

    Attributes:
        requests: number of requests that have ended.
        errors: number of these without an answer, or with 5xx.
        seconds: sum of their durations.
        slowest: seconds of the slowest.
        last_error: name of the last error; "" for none.
    """

    requests: int = 0
    errors: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    last_error: str = ""


class HostTable:
    """The figures of the hosts that requests went to.

    When the table is full, the half with the fewest errors and requests is removed at once; so the
    cost of a new host stays small.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._hosts: dict[str, HostFigures] = {}

    def __len__(self) -> int:
        return len(self._hosts)

    def ended(self, host: str, seconds: float, error: str) -> None:
        """Count a request to a host that has ended.

        Args:
            error: the error's name; "" for none.
        """
        figures = self._hosts.get(host)
        if figures is None:
            if len(self._hosts) >= self._most:
                self._drop_least()
            figures = self._hosts[host] = HostFigures()
        figures.requests += 1
        figures.seconds += seconds
        if seconds > figures.slowest:
            figures.slowest = seconds
        if error:
            figures.errors += 1
            figures.last_error = error

    def _drop_least(self) -> None:
        order = sorted(self._hosts.items(), key=lambda item: (item[1].errors, item[1].requests))
        self._hosts = dict(order[len(order) // 2 :])

    def most_errors(self, most: int) -> Iterator[dict[str, object]]:
        """Hosts with errors, by the number of these."""
        hosts = [item for item in self._hosts.items() if item[1].errors]
        hosts.sort(key=lambda item: (-item[1].errors, item[0]))
        return map(_shown, hosts[:most])

    def slowest(self, most: int) -> Iterator[dict[str, object]]:
        """Hosts by the average duration of their requests."""
        hosts = sorted(
            self._hosts.items(), key=lambda item: (-item[1].seconds / item[1].requests, item[0])
        )
        return map(_shown, hosts[:most])


def _shown(item: tuple[str, HostFigures]) -> dict[str, object]:
    host, figures = item
    found: dict[str, object] = {
        "host": host,
        "requests": figures.requests,
        "errors": figures.errors,
        "mean_seconds": round(figures.seconds / figures.requests, 6),
        "slowest_seconds": round(figures.slowest, 6),
    }
    if figures.last_error:
        found["last_error"] = figures.last_error
    return found
