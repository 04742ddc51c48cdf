"""The interface of a store. All of it is called on one thread, which owns the store."""

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
    """There is no room to write; reading goes on."""


class StoreUnavailable(Error):
    """The store cannot be reached or written to for now; nothing of the batch was written."""


@dataclass(slots=True)
class Sweep:
    """Let what has expired die, and forget what is old."""

    now: float


@dataclass(slots=True)
class SetSchedule:
    """The default schedule is another one; seconds."""

    schedule: tuple[float, ...]


@dataclass(slots=True)
class CountPending:
    """How many deliveries wait for each endpoint, and since when.

    Attributes:
        wanted: endpoints to count in any case; beside them those with something pending.
        limit: of endpoints.
    """

    wanted: tuple[int, ...]
    limit: int


class Continued:
    """A query of which a slice was done; only the store that made it knows it."""


Query = Question | Sweep | SetSchedule | CountPending | Continued


@dataclass(slots=True)
class QueryResult:
    """The answer to a query.

    Attributes:
        answer: fields of the answer to whoever asked.
        changed: endpoints that are new, or have something new to do.
        dead: ids of deliveries that died of it, with the reason, for the log.
        next_sweep: when something expires next, seconds since 1970; None: not known to be.
        again: the query that carries on from here, where this was a slice of it.
    """

    answer: dict[str, Any] = field(default_factory=dict)
    changed: list[Recovered] = field(default_factory=list)
    dead: list[tuple[str, str]] = field(default_factory=list)
    next_sweep: float | None = None
    again: Query | None = None


class Store(Protocol):
    """Six verbs. A batch is written whole or, where it raises, not at all.

    Every verb may raise ``StoreUnavailable``; ``accept`` may raise ``StoreFull`` as well.

    Attributes:
        in_flight: numbers of the deliveries that an attempt of is under way; the scheduler's.
        max_bytes: nothing is accepted beyond; 0: no limit.
        lease: seconds after which others may take over; ``renew`` is to be called well before,
            ``recover`` every second. 0: there are no others.
        lease_until: until when our leases hold, on the monotonic clock.
        lost: what is leased and not in flight is free for all since; ``lease_until`` is over
            until somebody has taken note of it and calls ``renew``.
        processes: those that share the store, this one included.
        takeovers: deliveries that we freed of a lease of another that had died.
    """

    in_flight: Container[int]
    max_bytes: int
    lease: float
    lease_until: float
    lost: bool
    processes: int
    takeovers: int

    def endpoint(self, number: int) -> Endpoint:
        """A copy of what is known of an endpoint."""

    def accept(self, batch: Sequence[NewDelivery], now: float) -> list[Accepted]:
        """Write deliveries down, durably."""

    def claim(self, batch: Sequence[Claim], now: float) -> list[Claimed]:
        """Lease due deliveries to this process, the oldest due first."""

    def finish(self, batch: Sequence[Finish], now: float) -> list[Finished]:
        """End leases: with a result, or uncharged to give a delivery back."""

    def renew(self, now: float) -> None:
        """Extend all leases of this process; where that comes too late, ``lost`` is set."""

    def recover(self, now: float) -> list[Recovered]:
        """Endpoints with something to do, leases of the dead taken back first."""

    def query(self, query: Query, now: float) -> QueryResult:
        """All the rest. May raise ``messages.QuestionError``, which is the answer then."""

    def listen(self, told: Callable[[str], None]) -> None:
        """Be told of what others do, on a thread of its own.

        Args:
            told: called there with the number of an endpoint that has something due, or with
                ``endpoints`` where one was changed.
        """

    def close(self) -> None:
        """Give everything back; harmless if the store is broken."""
