"""The values that scheduler and stores exchange. Times are seconds since 1970."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from ..signatures import Mode
from .attempts import DEFAULT_SCHEDULE, Outcome, State

__all__ = [
    "DEFAULT_CONCURRENCY",
    "DEFAULT_TIMEOUT",
    "ORDERING",
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

DEFAULT_CONCURRENCY: Final = 64  # attempts in flight of one endpoint
DEFAULT_TIMEOUT: Final = 15_000  # milliseconds
ORDERING: Final = "ordering"  # beginning of the mark of an endpoint that is being ordered anew

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """An endpoint's settings; ``given`` holds the fields of its ``endpoint-put``."""

    uri: str = field(repr=False)  # may hold a secret
    signature: Mode = "none"
    order: str = "none"
    dead_head: str = "skip"
    rate: float | None = None  # per second
    concurrency: int = DEFAULT_CONCURRENCY
    schedule: tuple[float, ...] = DEFAULT_SCHEDULE  # seconds
    timeout: int = DEFAULT_TIMEOUT  # milliseconds
    headers: Headers = field(default=(), repr=False)
    given: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(slots=True)
class Endpoint:
    """An endpoint in the store.

    Attributes:
        id: its number in the store.
        secrets: in the clear; signatures are in their order.
        disabled: why it is disabled; "" if it is not.
        hold_until: time before which nothing is sent.
        failing_since: time of the first failure since the last success; 0 if there was none.
        noticed: percent of the time until it is disabled for which a notice was sent.
        deleted: it is only kept for the name that its deliveries show.
    """

    id: int
    name: str
    settings: Settings
    secrets: tuple[str, ...] = field(default=(), repr=False)
    disabled: str = ""
    hold_until: float = 0.0
    failing_since: float = 0.0
    noticed: int = 0
    deleted: bool = False

    @property
    def why_disabled(self) -> str:
        """Why it is disabled, for people."""
        return ORDERING if self.disabled.startswith(ORDERING) else self.disabled


@dataclass(slots=True)
class NewDelivery:
    """A delivery to accept.

    Attributes:
        token: the caller's, returned with the result.
        endpoint: name of the endpoint; "" where ``uri`` is given.
        digest: of the content, by which different content with the same id is recognised.
        claim: lease it to this process at once, if it is due.
        known: the scheduler knows its endpoint.
    """

    token: Any
    id: str
    endpoint: str
    uri: str = field(repr=False)
    body: bytes = field(repr=False)
    digest: bytes
    accepted: float
    event: str | None = None
    headers: Headers = field(default=(), repr=False)
    key: str | None = None
    expires_at: float | None = None
    not_before: float = 0.0
    secrets: tuple[str, ...] = field(default=(), repr=False)
    claim: bool = False
    known: bool = False


@dataclass(slots=True)
class Delivery:
    """A delivery that is leased to this process.

    Attributes:
        seq: its number in the store, in the order of acceptance.
        endpoint: number of its endpoint.
        attempt: number of charged attempts so far.
        tries: number of all attempts so far.
        okey: its ordering key; None: it is not ordered.
        secrets: its own, where ``uri`` was given.
        fence: number of the lease, where the store counts leases.
    """

    seq: int
    id: str
    endpoint: int
    body: bytes = field(repr=False)
    due: float
    accepted: float
    attempt: int = 0
    tries: int = 0
    event: str | None = None
    headers: Headers = field(default=(), repr=False)
    okey: str | None = None
    expires_at: float | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)
    fence: int = 0


@dataclass(slots=True)
class Accepted:
    """The result for one ``NewDelivery``.

    Attributes:
        error: condition and detail, where it was not accepted.
        duplicate: its id was known, with the same content.
        endpoint: number of its endpoint; 0 if it was not accepted or is a duplicate.
        due: time of its first attempt; None while it waits behind another one with its key.
        delivery: the delivery, where it was leased at once.
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
    """A request for due deliveries of one endpoint.

    Attributes:
        limit: number of deliveries, at most.
        max_bytes: bytes of their bodies, at most; the first may be larger.
    """

    endpoint: int
    limit: int
    max_bytes: int


@dataclass(slots=True)
class Claimed:
    """The result for one ``Claim``.

    Attributes:
        next_due: time when the next one can be leased, now or later; None: there is none.
    """

    endpoint: int
    deliveries: list[Delivery]
    next_due: float | None


@dataclass(slots=True)
class SaveEndpoint:
    """Changes of an endpoint by an attempt, to be written together with its result.

    Attributes:
        disabled: why the attempt disables it; "" if it does not.
    """

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
        due: time of the next attempt, where it is PENDING.
        attempt: number of charged attempts, this one included.
        outcome: of the attempt, to be stored; None where none was made.
        reason: why it is DEAD.
        save: changes of the endpoint, for the same transaction: after a 410 no process may see the
            delivery ended while its endpoint is still enabled.
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
        """Whether the lease ends without an attempt, so that the delivery does not change."""
        return self.state is State.PENDING and self.outcome is None


@dataclass(slots=True)
class Finished:
    """The result for one ``Finish``.

    Attributes:
        stale: another process had the lease by then; nothing was written.
        unblocked: time when the next one with its key is due; None: there is none.
    """

    finish: Finish
    stale: bool = False
    unblocked: float | None = None


@dataclass(slots=True)
class Recovered:
    """An endpoint that has deliveries to send, or has changed.

    Attributes:
        next_due: time when its next delivery can be leased; None: there is none.
    """

    endpoint: Endpoint
    next_due: float | None = None
