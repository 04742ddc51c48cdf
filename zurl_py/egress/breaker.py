"""A circuit breaker: a host that fails again and again gets no requests for a while."""

from __future__ import annotations

from typing import Final

from ..cache import remember

__all__ = ["OPEN_TIME", "HostBreaker"]

OPEN_TIME: Final = 10.0
"""Seconds until one request tries such a host again."""

_MAX_HOSTS: Final = 16_384

Host = tuple[str, int]


class HostBreaker:
    """Counts consecutive failures, by host and port.

    Args:
        most: number of consecutive failures that open the breaker; 0: it never opens.
    """

    __slots__ = ("_failures", "_trials", "_until", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self._failures: dict[Host, int] = {}
        self._trials: dict[Host, object] = {}
        self._until: dict[Host, float] = {}  # open breakers, and until when

    def open_for(self, host: Host, now: float, who: object) -> float:
        """Seconds that the breaker of a host stays open; 0: a request may go.

        After that time the first request (``who``) goes, and all others fail until its outcome is
        known.
        """
        until = self._until.get(host)
        if until is None or not self.most or self._trials.get(host) is who:
            return 0.0
        if now < until:
            return until - now
        self._until[host] = now + OPEN_TIME
        remember(self._trials, host, who, _MAX_HOSTS)
        return 0.0

    def failed(self, host: Host, now: float) -> None:
        """Count a request without an answer."""
        if not self.most:
            return
        count = self._failures.get(host, 0) + 1
        remember(self._failures, host, count, _MAX_HOSTS)
        self._trials.pop(host, None)
        if count >= self.most:
            remember(self._until, host, now + OPEN_TIME, _MAX_HOSTS)

    def answered(self, host: Host) -> None:
        """Close the breaker: an answer came, with whatever status."""
        if self._failures:
            self._failures.pop(host, None)
            self._until.pop(host, None)
            self._trials.pop(host, None)
