"""One endpoint for the scheduler: its leased deliveries, and when an attempt may start."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from ..signatures import Signer
from .attempts import Health, Outcome, Verdict
from .breaker import Breaker
from .model import Delivery, Endpoint, SaveEndpoint
from .references import resolve
from .requests import RequestEncoder

__all__ = ["NEVER", "Lane"]

NEVER: Final = float("inf")
"""A time that does not come."""

_MOST_AHEAD: Final = 64  # deliveries leased ahead of need
_MOMENT: Final = 1.0  # seconds

DISABLE_AFTER: Final = 120 * 3600.0  # seconds of failures only
_NOTICES: Final = (90, 70, 50)  # percent of that time


class Lane:
    """The queue of one endpoint, and its limits.

    Attributes:
        ready: leased deliveries that wait for their turn.
        in_flight: number of attempts in flight.
        leased_bytes: bytes of bodies of leased deliveries, in flight or ready.
        next_due: time when the next delivery in the store is due, seconds since 1970.
        claiming: a claim for more is being answered.
        processes: number of processes that send to the endpoint, this one included.
        queued: it is in the scheduler's round.
        wake_at: time when the scheduler looks at it again, seconds since 1970.
        changed: ``endpoint`` has changes that the store does not have.
        disabling: why we have disabled it, until the store has that.
        encoder: of its requests, once there was one.
        saves: number of changes that are on their way to the store.
    """

    __slots__ = (
        "_allowance",
        "_allowance_at",
        "_limit",
        "_signers",
        "_unsent",
        "breaker",
        "changed",
        "claiming",
        "disabling",
        "encoder",
        "endpoint",
        "in_flight",
        "leased_bytes",
        "next_due",
        "processes",
        "queued",
        "ready",
        "saves",
        "wake_at",
    )

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.processes = 1
        self.breaker = Breaker()
        self.ready: deque[Delivery] = deque()
        self.in_flight = 0
        self.leased_bytes = 0
        self.next_due = NEVER
        self.claiming = False
        self.queued = False
        self.wake_at = NEVER
        self.changed = False
        self.disabling = self._unsent = ""
        self.saves = 0
        self.encoder: RequestEncoder | None = None
        self._limit = endpoint.settings.concurrency
        self._allowance = self._burst
        self._allowance_at = 0.0
        self._signers: dict[tuple[str, ...], Signer] = {}

    def __repr__(self) -> str:
        return (
            f"<Lane {self.endpoint.name} ready={len(self.ready)} in_flight={self.in_flight}"
            f" next_due={self.next_due} breaker={self.breaker.state}>"
        )

    def put(self, endpoint: Endpoint) -> None:
        """Take over an endpoint that was changed in the store."""
        before = self.endpoint
        if self.saves or self.changed:
            # Keep our own changes: they were not in the store yet.
            endpoint.disabled = endpoint.disabled or self.disabling
            endpoint.hold_until = before.hold_until
            endpoint.failing_since, endpoint.noticed = before.failing_since, before.noticed
        self.endpoint = endpoint
        self.forget_secrets()
        self.encoder = None
        if endpoint.settings.concurrency != before.settings.concurrency:
            self._limit = endpoint.settings.concurrency
        self._allowance = min(self._allowance, self._burst)
        if before.disabled and not endpoint.disabled:
            self.breaker.reset()

    # -- limits --------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether as many attempts are in flight as are allowed."""
        return self.in_flight >= self._share

    def opens_at(self, now: float) -> float:
        """Time from which the next attempt may start, unless it is ``full``.

        ``NEVER``: not until the probe ends, or the endpoint is enabled.
        """
        endpoint = self.endpoint
        if endpoint.disabled or endpoint.deleted:
            return NEVER
        when = endpoint.hold_until
        if self.breaker.open_until:
            when = max(when, self.breaker.opens_at())
        if endpoint.settings.rate is not None:
            when = max(when, self._allowed_at(now, endpoint.settings.rate / self.processes))
        return when

    @property
    def _share(self) -> int:
        """Number of attempts that this process may have in flight."""
        return self._limit // self.processes or 1

    @property
    def _rate(self) -> float | None:
        """Attempts per second of this process."""
        rate = self.endpoint.settings.rate
        return None if rate is None else rate / self.processes

    def is_blocked(self, now: float) -> bool:
        """Whether no attempt may start for some time, so that leased deliveries should go back."""
        endpoint = self.endpoint
        return bool(
            endpoint.disabled
            or endpoint.deleted
            or self.breaker.opens_at() > now
            or endpoint.hold_until > now + _MOMENT
        )

    def started(self, now: float) -> None:
        """Note that an attempt starts."""
        self.in_flight += 1
        if self.breaker.open_until:
            self.breaker.started()
        rate = self.endpoint.settings.rate
        if rate is not None:
            self._allowed_at(now, rate / self.processes)
            self._allowance -= 1.0

    def ahead(self) -> int:
        """Number of deliveries to lease in advance."""
        if self.breaker.open_until:
            return 1  # the probe
        room = 2 * self._share - self.in_flight
        if self._rate is not None:
            room = min(room, math.ceil(self._burst))
        return max(1, min(room, _MOST_AHEAD))

    @property
    def _burst(self) -> float:
        """Number of attempts that may start at once: those of one second."""
        return max(1.0, self._rate or 1.0)

    def _allowed_at(self, now: float, rate: float) -> float:
        passed = now - self._allowance_at
        if passed > 0:
            self._allowance = min(self._burst, self._allowance + passed * rate)
        self._allowance_at = now
        # Subtract a little: with a rounding error the allowance might never reach 1.
        missing = 1.0 - 1e-9 - self._allowance
        return now + missing / rate if missing > 0 else now

    # -- results of attempts -------------------------------------------------------------------

    def ended(self, outcome: Outcome, verdict: Verdict, now: float) -> list[str]:
        """Handle the end of an attempt. Returns names of events to report to the operator."""
        self.in_flight -= 1
        events: list[str] = []
        if self.breaker.ended(verdict.health, outcome.started, now):
            events.append("breaker-opened")
        if verdict.hold_until > self.endpoint.hold_until:
            self.endpoint.hold_until = verdict.hold_until
            self.changed = True
        if verdict.halve:
            self._limit = max(1, self._limit // 2)
        if verdict.success:
            if self._limit < self.endpoint.settings.concurrency:
                self._limit += 1
            if self.endpoint.failing_since:
                self.endpoint.failing_since = 0.0
                self.endpoint.noticed = 0
                self.changed = True
        elif verdict.charged and (verdict.health is not Health.UNKNOWN or verdict.disable):
            events += self._failed(now)
        if verdict.disable and not self.endpoint.disabled:
            self._disable(verdict.reason)
            events.append("disabled")
        return events

    def _failed(self, now: float) -> list[str]:
        endpoint = self.endpoint
        if not endpoint.failing_since:
            endpoint.failing_since = now
            self.changed = True
            return []
        share = 100.0 * (now - endpoint.failing_since) / DISABLE_AFTER
        if share >= 100.0 and not endpoint.disabled:
            self._disable("failing")
            return ["disabled"]
        for percent in _NOTICES:
            if share >= percent > endpoint.noticed:
                endpoint.noticed = percent
                self.changed = True
                return [f"failing-{percent}"]
        return []

    def _disable(self, reason: str) -> None:
        self.endpoint.disabled = self.disabling = self._unsent = reason
        self.changed = True

    def take_changes(self) -> SaveEndpoint:
        """The changes of the endpoint, for the store; ``saved`` follows when it has them.

        ``disabled`` is one only by an attempt: what the operator does with it meanwhile must not be
        undone by what we knew before.
        """
        endpoint = self.endpoint
        disabled, self._unsent = self._unsent, ""
        self.changed = False
        self.saves += 1
        return SaveEndpoint(
            endpoint.id, disabled, endpoint.hold_until, endpoint.failing_since, endpoint.noticed
        )

    def saved(self) -> None:
        """Note that the store has the changes that were taken."""
        self.saves -= 1
        if not self.saves:
            self.disabling = self._unsent

    # -- signing -------------------------------------------------------------------------------

    def forget_secrets(self) -> None:
        """Read secrets by reference again when they are used next."""
        self._signers.clear()

    def signer(self, delivery: Delivery) -> Signer:
        """The signer for this delivery.

        Raises:
            SecretError: a secret cannot be used, or the file or variable that it names is missing.
        """
        own = delivery.secrets
        signer = self._signers.get(own)
        if signer is None:
            if own:
                signer = Signer("standard", [resolve(secret) for secret in own])
                if len(self._signers) > _MOST_AHEAD:
                    self._signers.clear()
            else:
                mode = self.endpoint.settings.signature
                secrets = () if mode == "none" else self.endpoint.secrets
                signer = Signer(mode, [resolve(secret) for secret in secrets])
            self._signers[own] = signer
        return signer
