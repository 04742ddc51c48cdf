"""The values that scheduler and stores hand to one another. Times are seconds since 1970."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from ..signatures import Mode
from .attempts import DEFAULT_SCHEDULE, Outcome, State

__all__ = [
    "DEFAULT_CONCURRENCY",
    "DEFAULT_TIMEOUT",
    "Accepted",
    "Claim",
    "Claimed",
    "Delivery",
    "Endpoint",
    "Finish",
    "Finished",
    "NewDelivery",
    "Recovered",
    "SaveEndpoint",
    "Settings",
]

DEFAULT_CONCURRENCY: Final = 64
DEFAULT_TIMEOUT: Final = 15_000  # milliseconds

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """An endpoint as it was put; ``given`` holds the fields that were."""

    uri: str
    signature: Mode = "none"
    order: str = "none"
    dead_head: str = "skip"
    rate: float | None = None  # per second
    concurrency: int = DEFAULT_CONCURRENCY
    schedule: tuple[float, ...] = DEFAULT_SCHEDULE  # seconds
    timeout: int = DEFAULT_TIMEOUT  # milliseconds
    headers: Headers = ()
    given: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Endpoint:
    """An endpoint as the store has it.

    Attributes:
        id: number in the store.
        secrets: in the clear; the first signs first.
        disabled: why nothing is sent; "" while something is.
        hold_until: nothing is sent before.
        failing_since: of the first failure since the last success; 0 if there was none.
        noticed: percent of the time until it is disabled that a notice was sent of.
        deleted: it is kept for the names of its deliveries only.
    """

    id: int
    name: str
    settings: Settings
    secrets: tuple[str, ...] = ()
    disabled: str = ""
    hold_until: float = 0.0
    failing_since: float = 0.0
    noticed: int = 0
    deleted: bool = False


@dataclass(slots=True)
class NewDelivery:
    """What is to be accepted.

    Attributes:
        token: the caller's, handed back with the result.
        endpoint: a name; or "", and ``uri`` says where.
        digest: of the content, by which another content of the same id is told.
        claim: lease it to this process at once, where it is due.
        known: the scheduler knows its endpoint.
    """

    token: Any
    id: str
    endpoint: str
    uri: str
    body: bytes
    digest: bytes
    accepted: float
    event: str | None = None
    headers: Headers = ()
    key: str | None = None
    expires_at: float | None = None
    not_before: float = 0.0
    secrets: tuple[str, ...] = ()
    claim: bool = False
    known: bool = False


@dataclass(slots=True)
class Delivery:
    """One delivery that this process holds the lease of.

    Attributes:
        seq: its number in the store, in the order of acceptance.
        endpoint: number of its endpoint.
        attempt: attempts that were charged so far.
        tries: attempts in all.
        okey: what it is in order by; None: it is not.
        secrets: of its own, where it goes by ``uri``.
        fence: number of the lease, where the store counts them.
    """

    seq: int
    id: str
    endpoint: int
    body: bytes
    due: float
    accepted: float
    attempt: int = 0
    tries: int = 0
    event: str | None = None
    headers: Headers = ()
    okey: str | None = None
    expires_at: float | None = None
    secrets: tuple[str, ...] = ()
    fence: int = 0


@dataclass(slots=True)
class Accepted:
    """The result for one ``NewDelivery``.

    Attributes:
        error: condition and detail, where it was not accepted.
        duplicate: the id was known, with the same content.
        endpoint: number of its endpoint; 0 if it was not accepted or is a duplicate.
        due: of its first attempt; None while it waits behind another of its key.
        delivery: where it was leased at once.
    """

    token: Any
    id: str
    error: tuple[str, str] | None = None
    duplicate: bool = False
    endpoint: int = 0
    due: float | None = None
    delivery: Delivery | None = None


@dataclass(slots=True)
class Claim:
    """A wish for due deliveries of one endpoint.

    Attributes:
        limit: how many at most.
        max_bytes: of their bodies; one is handed out at least.
    """

    endpoint: int
    limit: int
    max_bytes: int


@dataclass(slots=True)
class Claimed:
    """The result for one ``Claim``.

    Attributes:
        next_due: of the next one that can be leased, now or later; None: there is none.
    """

    endpoint: int
    deliveries: list[Delivery]
    next_due: float | None


@dataclass(slots=True)
class SaveEndpoint:
    """What an attempt taught of its endpoint, to be written down with the result."""

    id: int
    disabled: str
    hold_until: float
    failing_since: float
    noticed: int


@dataclass(slots=True)
class Finish:
    """The end of a lease.

    Attributes:
        state: PENDING, DONE or DEAD.
        due: of the next attempt where it is PENDING.
        attempt: attempts charged, this one included.
        outcome: for the record; None where no attempt was made.
        reason: why it is DEAD.
        save: news of the endpoint, for the same transaction: after a 410 nobody, here or at another
            process, may see the delivery ended and its endpoint open.
    """

    delivery: Delivery
    state: State
    due: float
    attempt: int
    outcome: Outcome | None
    reason: str = ""
    at: float = 0.0
    save: SaveEndpoint | None = None

    @property
    def gives_back(self) -> bool:
        """The lease ends without an attempt: there is nothing to write of the delivery."""
        return self.state is State.PENDING and self.outcome is None


@dataclass(slots=True)
class Finished:
    """The result for one ``Finish``.

    Attributes:
        stale: the lease was another's by then; nothing was written.
        unblocked: when the next of its key is due; None: there is none.
    """

    finish: Finish
    stale: bool = False
    unblocked: float | None = None


@dataclass(slots=True)
class Recovered:
    """An endpoint with something to do, or something new about it.

    Attributes:
        next_due: of its next delivery that can be leased; None: there is none.
    """

    endpoint: Endpoint
    next_due: float | None = None
