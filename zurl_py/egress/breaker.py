"""A host that fails again and again is left alone for a while (a circuit breaker)."""

from __future__ import annotations

from typing import Final

from ..cache import remember

__all__ = ["REST", "HostBreaker"]

REST: Final = 10.0
"""Seconds until one request tries such a host again."""

_MAX_HOSTS: Final = 16_384

Host = tuple[str, int]


class HostBreaker:
    """Counts failures in a row, by host and port.

    Args:
        most: so many in a row are enough; 0: never.
    """

    __slots__ = ("_failures", "_trials", "_until", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self._failures: dict[Host, int] = {}
        self._trials: dict[Host, object] = {}
        self._until: dict[Host, float] = {}  # hosts that are left alone

    def rests(self, host: Host, now: float, who: object) -> float:
        """Seconds that a host is still left alone; 0: a request may go.

        After the rest one request goes, ``who`` asks first, and the others fail until it is known
        what comes of it.
        """
        until = self._until.get(host)
        if until is None or not self.most or self._trials.get(host) is who:
            return 0.0
        if now < until:
            return until - now
        self._until[host] = now + REST
        remember(self._trials, host, who, _MAX_HOSTS)
        return 0.0

    def failed(self, host: Host, now: float) -> None:
        """No answer came from it."""
        if not self.most:
            return
        count = self._failures.get(host, 0) + 1
        remember(self._failures, host, count, _MAX_HOSTS)
        self._trials.pop(host, None)
        if count >= self.most:
            remember(self._until, host, now + REST, _MAX_HOSTS)

    def answered(self, host: Host) -> None:
        """An answer came, whatever it says."""
        if self._failures:
            self._failures.pop(host, None)
            self._until.pop(host, None)
            self._trials.pop(host, None)
