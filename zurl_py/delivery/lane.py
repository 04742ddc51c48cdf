"""One endpoint as the scheduler sees it: what is ready for it, and whether it may go."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from ..signatures import Signer
from .attempts import Health, Outcome, Verdict
from .breaker import Breaker
from .model import Delivery, Endpoint
from .references import resolve
from .requests import RequestEncoder

__all__ = ["NEVER", "Lane"]

NEVER: Final = float("inf")
_MOST_AHEAD: Final = 64  # deliveries leased ahead of need
_MOMENT: Final = 1.0  # seconds

DISABLE_AFTER: Final = 120 * 3600.0  # seconds of failures only
_NOTICES: Final = (90, 70, 50)  # percent of that time


class Lane:
    """The queue and the gates of one endpoint.

    Attributes:
        ready: leased deliveries that wait for their turn.
        in_flight: attempts under way.
        next_due: of the first delivery that is still in the store, seconds since 1970.
        claiming: the store was asked for more.
        processes: those that send to the endpoint, this one included.
        queued: it has its place in the scheduler's round.
        wake_at: when the scheduler looks at it again, seconds since 1970.
        changed: ``endpoint`` has news that the store does not know.
        encoder: of its requests, once there was one.
        saves: such news that are on their way to it.
    """

    __slots__ = (
        "_allowance",
        "_allowance_at",
        "_limit",
        "_signers",
        "breaker",
        "changed",
        "claiming",
        "encoder",
        "endpoint",
        "in_flight",
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
        self.next_due = NEVER
        self.claiming = False
        self.queued = False
        self.wake_at = NEVER
        self.changed = False
        self.saves = 0
        self.encoder: RequestEncoder | None = None
        self._limit = endpoint.settings.concurrency
        self._allowance = self._burst
        self._allowance_at = 0.0
        self._signers: dict[tuple[str, ...], Signer] = {}

    def put(self, endpoint: Endpoint) -> None:
        """Take over what somebody changed about the endpoint."""
        before = self.endpoint
        if self.saves:
            # What we learnt is on its way to the store, which did not know it yet.
            endpoint.disabled, endpoint.hold_until = before.disabled, before.hold_until
            endpoint.failing_since, endpoint.noticed = before.failing_since, before.noticed
        self.endpoint = endpoint
        self._signers.clear()
        self.encoder = None
        if endpoint.settings.concurrency != before.settings.concurrency:
            self._limit = endpoint.settings.concurrency
        self._allowance = min(self._allowance, self._burst)
        if before.disabled and not endpoint.disabled:
            self.breaker.reset()

    # -- the gates -----------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """As many attempts are under way as may be."""
        return self.in_flight >= self._share

    def opens_at(self, now: float) -> float:
        """When the next attempt may start, if it is not ``full``: ``now`` or before, or later.

        ``NEVER`` is until the probe ends, or until the endpoint is enabled.
        """
        endpoint = self.endpoint
        if endpoint.disabled or endpoint.deleted:
            return NEVER
        when = max(endpoint.hold_until, self.breaker.opens_at())
        rate = self._rate
        if rate is not None:
            when = max(when, self._allowed_at(now, rate))
        return when

    @property
    def _share(self) -> int:
        """How many attempts this process may have under way."""
        return max(1, self._limit // self.processes)

    @property
    def _rate(self) -> float | None:
        """Attempts per second of this process."""
        rate = self.endpoint.settings.rate
        return None if rate is None else rate / self.processes

    def shut(self, now: float) -> bool:
        """Nothing goes for longer than a moment: what is leased is better given back."""
        endpoint = self.endpoint
        return bool(
            endpoint.disabled
            or endpoint.deleted
            or self.breaker.opens_at() > now
            or endpoint.hold_until > now + _MOMENT
        )

    def started(self, now: float) -> None:
        """An attempt starts."""
        self.in_flight += 1
        self.breaker.started()
        rate = self._rate
        if rate is not None:
            self._allowed_at(now, rate)
            self._allowance -= 1.0

    def ahead(self) -> int:
        """How many deliveries to lease ahead of need."""
        if self.breaker.open_until:
            return 1  # the probe
        room = 2 * self._share - self.in_flight
        if self._rate is not None:
            room = min(room, math.ceil(self._burst))
        return max(1, min(room, _MOST_AHEAD))

    @property
    def _burst(self) -> float:
        """Attempts that may start at once: one second's worth."""
        return max(1.0, self._rate or 1.0)

    def _allowed_at(self, now: float, rate: float) -> float:
        passed = now - self._allowance_at
        if passed > 0:
            self._allowance = min(self._burst, self._allowance + passed * rate)
        self._allowance_at = now
        # A hair's breadth, or rounding would ask for a moment that never comes.
        missing = 1.0 - 1e-9 - self._allowance
        return now + missing / rate if missing > 0 else now

    # -- what attempts teach -------------------------------------------------------------------

    def ended(self, outcome: Outcome, verdict: Verdict, now: float) -> list[str]:
        """An attempt ended. Returns what the operator should be told: names of events."""
        self.in_flight -= 1
        events: list[str] = []
        opened = self.breaker.ended(verdict.health, outcome.started, now)
        if opened:
            events.append("breaker-opened")
        if verdict.hold_until > self.endpoint.hold_until:
            self.endpoint.hold_until = verdict.hold_until
            self.changed = True
        if verdict.halve:
            self._limit = max(1, self._limit // 2)
        if verdict.success:
            self._limit = min(self._limit + 1, self.endpoint.settings.concurrency)
            if self.endpoint.failing_since:
                self.endpoint.failing_since = 0.0
                self.endpoint.noticed = 0
                self.changed = True
        elif verdict.charged and (verdict.health is not Health.UNKNOWN or verdict.disable):
            events += self._failed(now)
        if verdict.disable and not self.endpoint.disabled:
            self.endpoint.disabled = verdict.reason
            self.changed = True
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
            endpoint.disabled = "failing"
            self.changed = True
            return ["disabled"]
        for percent in _NOTICES:
            if share >= percent > endpoint.noticed:
                endpoint.noticed = percent
                self.changed = True
                return [f"failing-{percent}"]
        return []

    # -- signing -------------------------------------------------------------------------------

    def signer(self, delivery: Delivery) -> Signer:
        """What signs this delivery.

        Raises:
            SecretError: a secret cannot be used, or what it refers to is not there.
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
