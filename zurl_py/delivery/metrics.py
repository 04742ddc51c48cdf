"""The metrics of ``zurl-py deliver``, from the counters, the scheduler and the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from .. import __version__
from ..metrics import Family, Gauge, Info
from ..metrics.families import Labels, Observed, Sample
from ..metrics.process import process_families, read_process
from .counts import COMMIT_BUCKETS, ERRORS, OUTCOMES, Counts
from .scheduler import Scheduler

__all__ = ["EVENTS", "DeliverMetrics"]

EVENTS: Final = ("breaker-opened", "disabled", "failing-50", "failing-70", "failing-90")
"""Events of endpoints that the operator is notified of."""

_STATES: Final = ("pending", "leased", "held", "done", "dead")
_BREAKERS: Final = ("closed", "open", "half-open")


class DeliverMetrics:
    """All families. Nothing here is on the path of a delivery.

    Args:
        stats: the store's last answer to ``stats``.
        kept: returns the number of results that wait for the store.
    """

    def __init__(
        self,
        counts: Counts,
        scheduler: Scheduler,
        stats: dict[str, Any],
        kept: Callable[[], float],
    ) -> None:
        self._counts = counts
        self._scheduler = scheduler
        self._stats = stats
        self._families: list[Family] = [
            *self._messages(),
            *self._attempts(),
            *self._in_flight(),
            *self._store(kept),
            *self._endpoints(),
            Info("zurl_deliver_build", "Version of this program.", version=__version__),
            *process_families(read_process),
        ]

    def families(self) -> Iterator[Family]:
        """All families, with their current values."""
        return iter(self._families)

    def _messages(self) -> list[Family]:
        counts = self._counts
        return [
            Observed(
                "zurl_deliver_accepted",
                "Webhooks acknowledged after their commit, repeats aside.",
                lambda: counts.accepted,
            ),
            Observed(
                "zurl_deliver_duplicates",
                "Repeats of webhooks that were known.",
                lambda: counts.duplicates,
            ),
            Observed(
                "zurl_deliver_refused",
                "Questions answered with an error, by its condition.",
                lambda: [counts.refused[condition] for condition in ERRORS],
                condition=ERRORS,
            ),
        ]

    def _attempts(self) -> list[Family]:
        counts = self._counts
        return [
            Observed(
                "zurl_deliver_attempts",
                "Attempts by outcome: class of the status, condition of the gateway, or uncharged.",
                lambda: [counts.attempts[outcome] for outcome in OUTCOMES],
                outcome=OUTCOMES,
            ),
            Observed(
                "zurl_deliver_ended",
                "Webhooks that ended, by their last state.",
                lambda: [counts.done, counts.dead],
                state=("done", "dead"),
            ),
            Observed(
                "zurl_deliver_stale_finishes",
                "Results that were dropped, as another process had the lease by then.",
                lambda: counts.stale,
            ),
            Observed(
                "zurl_deliver_takeovers",
                "Leases that this process took over from processes that had died.",
                lambda: counts.takeovers,
            ),
        ]

    def _in_flight(self) -> list[Family]:
        return [
            Gauge(
                "zurl_deliver_in_flight",
                "Attempts under way.",
                lambda: len(self._scheduler.flights),
            ),
            Gauge(
                "zurl_deliver_ready",
                "Webhooks that are leased and wait for their turn.",
                lambda: self._scheduler.ready,
            ),
            Gauge(
                "zurl_deliver_leased_bytes",
                "Bytes of bodies of leased webhooks.",
                lambda: self._scheduler.leased_bytes,
            ),
        ]

    def _store(self, kept: Callable[[], float]) -> list[Family]:
        stats = self._stats
        return [
            _Commits(self._counts),
            Gauge(
                "zurl_deliver_webhooks",
                "Webhooks in the store by state, some seconds ago.",
                lambda: [stats.get("states", {}).get(state, 0) for state in _STATES],
                state=_STATES,
            ),
            Gauge(
                "zurl_deliver_oldest_due_seconds",
                "How late the oldest webhook is that is due; 0: none is.",
                self._late,
            ),
            Gauge(
                "zurl_deliver_results_kept",
                "Results of attempts that could not be written to the store yet.",
                kept,
            ),
            Gauge(
                "zurl_deliver_xmin_age",
                "Transactions since the oldest one that PostgreSQL keeps dead rows for.",
                lambda: stats.get("xmin-age", 0),
            ),
        ]

    def _late(self) -> float:
        oldest = self._stats.get("oldest-due")
        return 0.0 if oldest is None else max(0.0, time.time() - oldest)

    def _endpoints(self) -> list[Family]:
        lanes = self._scheduler.lanes
        counts = self._counts
        return [
            Gauge(
                "zurl_deliver_breakers",
                "Endpoints by the state of their circuit breaker.",
                self._breakers,
                state=_BREAKERS,
            ),
            Gauge(
                "zurl_deliver_endpoints_disabled",
                "Endpoints that nothing is sent to.",
                lambda: sum(1 for lane in lanes.values() if lane.endpoint.disabled),
            ),
            Observed(
                "zurl_deliver_endpoint_events",
                "Notices about endpoints.",
                lambda: [counts.endpoint_events.get(event, 0) for event in EVENTS],
                event=EVENTS,
            ),
        ]

    def _breakers(self) -> list[float]:
        found = dict.fromkeys(_BREAKERS, 0)
        for lane in self._scheduler.lanes.values():
            found[lane.breaker.state] += 1
        return [found[state] for state in _BREAKERS]


class _Commits(Family):
    """Durations of commits of accepted webhooks; counted on the store's thread."""

    kind = "histogram"

    def __init__(self, counts: Counts) -> None:
        super().__init__(
            "zurl_deliver_commit_seconds", "How long commits of accepted webhooks took."
        )
        self._counts = counts

    def samples(self) -> Iterator[Sample]:
        total = 0
        bounds = [*(repr(bound) for bound in COMMIT_BUCKETS), "+Inf"]
        for bound, count in zip(bounds, self._counts.commit_counts, strict=True):
            total += count
            labels: Labels = (("le", bound),)
            yield Sample("_bucket", labels, total)
        yield Sample("_count", (), total)
        yield Sample("_sum", (), self._counts.commit_seconds)
