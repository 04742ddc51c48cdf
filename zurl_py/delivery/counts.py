"""Counters of ``zurl-py deliver``: plain numbers, as they are on the path of each delivery."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from typing import Final

__all__ = ["COMMIT_BUCKETS", "OUTCOMES", "Counts"]

# Upper bounds of the durations of commits, in seconds.
COMMIT_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
OUTCOMES: Final = (
    "2xx",
    "3xx",
    "4xx",
    "5xx",
    "bad-request",
    "policy-violation",
    "remote-connection-failed",
    "connection-timeout",
    "tls-error",
    "session-timeout",
    "other",
    "uncharged",
)
ERRORS: Final = (
    "bad-request",
    "unknown-endpoint",
    "unknown-delivery",
    "conflict",
    "store-full",
    "unavailable",
)
_SAMPLE: Final = 5.0  # seconds between samples for rates
_SAMPLES: Final = 13  # so rates are those of a minute


class Counts:
    """Totals since the start.

    Attributes:
        accepted: deliveries acknowledged after a commit, duplicates aside.
        duplicates: messages whose id was known.
        refused: questions answered with an error, by condition.
        attempts: attempts, by outcome.
        done, dead: deliveries that ended.
        stale: results dropped because another process had the lease by then.
        takeovers: deliveries leased after the lease of another process had expired.
        endpoint_events: events of endpoints, by name.
        commit_counts: commits of accepts, by buckets of their duration; the last has no bound.
        commit_seconds: sum of their durations.
    """

    def __init__(self) -> None:
        self.accepted = 0
        self.duplicates = 0
        self.refused = dict.fromkeys(ERRORS, 0)
        self.attempts = dict.fromkeys(OUTCOMES, 0)
        self.done = 0
        self.dead = 0
        self.stale = 0
        self.takeovers = 0
        self.endpoint_events: dict[str, int] = {}
        self.commit_counts = [0] * (len(COMMIT_BUCKETS) + 1)
        self.commit_seconds = 0.0
        self._samples: deque[tuple[float, int, int, int]] = deque(maxlen=_SAMPLES)

    def commit(self, seconds: float, rows: int) -> None:
        """Count a commit of accepts, with its duration; called on the store's thread."""
        self.commit_counts[bisect_left(COMMIT_BUCKETS, seconds)] += 1
        self.commit_seconds += seconds

    def attempt(self, code: int, condition: str, uncharged: bool) -> None:
        """Count an attempt that has ended."""
        if uncharged:
            name = "uncharged"
        elif code:
            name = f"{code // 100}xx"
        else:
            name = condition
        if name not in self.attempts:
            name = "other"
        self.attempts[name] += 1

    def sample(self, now: float) -> None:
        """Take a sample for the rates, if it is time."""
        samples = self._samples
        if not samples or not 0 <= now - samples[-1][0] < _SAMPLE:
            samples.append((now, self.accepted, self.done, sum(self.attempts.values())))

    def rates(self, now: float) -> dict[str, float]:
        """Rates per second, over the last minute or since the start."""
        self.sample(now)
        began, accepted, done, attempts = self._samples[0]
        passed = max(now - began, 1.0)
        return {
            "accepted": round((self.accepted - accepted) / passed, 3),
            "delivered": round((self.done - done) / passed, 3),
            "attempts": round((sum(self.attempts.values()) - attempts) / passed, 3),
        }
