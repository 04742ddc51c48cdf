"""The interface of a store. Only one thread, which owns the store, calls it."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ...errors import Error
from ..messages import Question
from ..model import (
    Accepted,
    Claim,
    Claimed,
    Endpoint,
    Finish,
    Finished,
    NewDelivery,
    Recovered,
)

__all__ = [
    "Continued",
    "CountPending",
    "Query",
    "QueryResult",
    "SetSchedule",
    "Store",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "Sweep",
]


class StoreError(Error):
    """The store cannot be used; the text is one line that names it."""


class StoreFull(Error):
    """There is no room for further deliveries; other operations go on."""


class StoreUnavailable(Error):
    """The store cannot be reached or written to for now; nothing of the batch was written."""


@dataclass(slots=True)
class Sweep:
    """Let expired deliveries die, and delete old ones."""

    now: float


@dataclass(slots=True)
class SetSchedule:
    """Change the default schedule; seconds."""

    schedule: tuple[float, ...]


@dataclass(slots=True)
class CountPending:
    """Count the pending deliveries of endpoints, and find the oldest.

    Attributes:
        wanted: endpoints to include in any case, beside those with pending deliveries.
        limit: number of endpoints, at most.
    """

    wanted: tuple[int, ...]
    limit: int


class Continued:
    """The rest of a query of which a slice was done; only the store that made it can go on."""


Query = Question | Sweep | SetSchedule | CountPending | Continued
"""A question of a worker, or work of the service itself."""


@dataclass(slots=True)
class QueryResult:
    """The answer to a query.

    Attributes:
        answer: fields of the answer to the worker.
        changed: endpoints that are new, or have something new to do.
        dead: ids of deliveries that have died, with the reason, for the log.
        next_sweep: time when a delivery expires next, seconds since 1970; None: not known.
        again: the rest of the query, where only a slice was done.
    """

    answer: dict[str, Any] = field(default_factory=dict)
    changed: list[Recovered] = field(default_factory=list)
    dead: list[tuple[str, str]] = field(default_factory=list)
    next_sweep: float | None = None
    again: Query | None = None


class Store(Protocol):
    """Six verbs. A batch is written completely or, if the verb raises, not at all.

    Every verb may raise ``StoreUnavailable``; ``accept`` may raise ``StoreFull`` as well.

    Attributes:
        in_flight: numbers of the deliveries with an attempt in flight; set by the scheduler.
        max_bytes: size of the store from which on nothing is accepted; 0: no limit.
        lease: seconds after which other processes may take over; ``renew`` is to be called well
            before, ``recover`` every second. 0: there are no other processes.
        lease_until: until when our leases are valid, on the monotonic clock.
        lost: leased deliveries that are not in flight were released for all processes. Leases are
            not valid until the loop has noted that and calls ``renew``.
        processes: number of processes that share the store, this one included.
        takeovers: number of deliveries that we released after their process had died.
        claims_at_once: number of claims after which other operations have their turn.
    """

    in_flight: Container[int]
    max_bytes: int
    lease: float
    lease_until: float
    lost: bool
    processes: int
    takeovers: int
    claims_at_once: int

    def endpoint(self, number: int) -> Endpoint:
        """A copy of an endpoint."""

    def accept(self, batch: Sequence[NewDelivery], now: float) -> list[Accepted]:
        """Write deliveries durably."""

    def claim(self, batch: Sequence[Claim], now: float) -> list[Claimed]:
        """Lease due deliveries to this process, in the order of their due times."""

    def finish(self, batch: Sequence[Finish], now: float) -> list[Finished]:
        """End leases, with a result, or uncharged in order to give a delivery back."""

    def renew(self, now: float) -> None:
        """Extend all leases of this process; sets ``lost`` if it is too late for that."""

    def recover(self, now: float) -> list[Recovered]:
        """Release the leases of dead processes; returns all endpoints with deliveries to send."""

    def query(self, query: Query, now: float) -> QueryResult:
        """Everything else. May raise ``messages.QuestionError``, which is the answer then."""

    def listen(self, told: Callable[[str], None]) -> None:
        """Listen for changes by other processes, on another thread.

        Args:
            told: called on that thread with the number of an endpoint that has a delivery due, or
                with ``endpoints`` if one was changed.
        """

    def close(self) -> None:
        """Release leases and files; no error if the store is broken."""
