"""Good and bad attempts of the last half hour, minute by minute, for a few hundred endpoints."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

__all__ = ["MINUTES", "History"]

MINUTES: Final = 30
"""Minutes of attempts that are kept for each endpoint."""

_MOST: Final = 500  # endpoints; beyond that, the one idle for the longest time is removed


class History:
    """The numbers for the charts of the web page."""

    def __init__(self) -> None:
        self._endpoints: OrderedDict[int, dict[int, list[int]]] = OrderedDict()

    def add(self, endpoint: int, good: bool, now: float) -> None:
        """Count an attempt that has ended."""
        minutes = self._endpoints.get(endpoint)
        if minutes is None:
            minutes = self._endpoints[endpoint] = {}
            if len(self._endpoints) > _MOST:
                self._endpoints.popitem(last=False)
        else:
            self._endpoints.move_to_end(endpoint)
        minute = int(now // 60)
        counts = minutes.get(minute)
        if counts is None:
            counts = minutes[minute] = [0, 0]
            for old in [known for known in minutes if not minute - MINUTES < known <= minute]:
                del minutes[old]
        counts[0 if good else 1] += 1

    def of(self, endpoint: int, now: float) -> list[tuple[int, int]]:
        """Good and bad attempts in each of the last minutes, the newest last."""
        minutes = dict(self._endpoints.get(endpoint, {}))
        newest = int(now // 60)
        found = []
        for minute in range(newest - MINUTES + 1, newest + 1):
            good, bad = minutes.get(minute, (0, 0))
            found.append((good, bad))
        return found

    def failing(self, now: float) -> list[int]:
        """Endpoints with a failure in that time."""
        return [
            endpoint
            for endpoint in list(self._endpoints)
            if any(bad for _, bad in self.of(endpoint, now))
        ]
