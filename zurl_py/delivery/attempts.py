"""What the result of an attempt means for its delivery and for its endpoint. Without I/O and clock.

The states of a delivery:

    pending -> leased              due, endpoint open, below rate and concurrency, head of its key
    leased  -> done                2xx
    leased  -> pending             another status, timeout, connection or TLS error
    leased  -> pending, uncharged  gateway gone, lease lost, stop
    leased  -> dead                schedule used up, expired, bad request, policy, abort-message
    leased  -> dead, disabled      410, or ``webhook-delivery: disable``
"""

from __future__ import annotations

import datetime
import email.utils
import enum
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = [
    "DEFAULT_SCHEDULE",
    "JITTER",
    "Health",
    "Outcome",
    "State",
    "Verdict",
    "horizon",
    "judge",
    "retry_after",
]

# The schedule that Standard Webhooks recommends, in seconds.
DEFAULT_SCHEDULE: Final[tuple[float, ...]] = (
    0.0,
    5.0,
    300.0,
    1800.0,
    7200.0,
    18_000.0,
    36_000.0,
    50_400.0,
    72_000.0,
    86_400.0,
)
JITTER: Final = 0.2  # a wait is up to this part longer or shorter
_MOST_RETRY_AFTER: Final = 86_400.0  # seconds
_MOST_HOLD: Final = 300.0  # seconds that a 429, 502 or 504 without Retry-After holds an endpoint
_OVERLOADED: Final = frozenset((429, 502, 504))
_GONE: Final = 410
_HINT: Final = b"webhook-delivery"
_BACKED_OFF: Final = 0.5  # seconds until a delivery that was given back is tried again

# Conditions for which a retry is useless.
_FATAL: Final = frozenset(("bad-request", "policy-violation", "content-not-allowed"))


class State(enum.Enum):
    """State of a delivery. ``held`` is ``pending`` at an endpoint that is disabled."""

    PENDING = "pending"
    LEASED = "leased"
    DONE = "done"
    DEAD = "dead"
    HELD = "held"


class Health(enum.Enum):
    """What an attempt says about the endpoint, for the circuit breaker."""

    GOOD = "good"  # it answers
    BAD = "bad"  # connection, TLS, timeout, 5xx, 429
    UNKNOWN = "unknown"  # no request reached it


@dataclass(slots=True)
class Outcome:
    """The result of one attempt.

    Attributes:
        started: seconds since 1970.
        code: status of the answer; 0 if there was none.
        condition: of the gateway's error; "" where there is a status.
        error: the error's short name.
        headers: of the answer.
        body: first bytes of the answer's body.
        phases: microseconds, by the name of the phase.
        uncharged: the attempt says nothing about the endpoint: the gateway was gone, or we stop.
    """

    started: float
    code: int = 0
    condition: str = ""
    error: str = ""
    headers: Sequence[tuple[bytes, bytes]] = ()
    body: bytes = b""
    phases: dict[str, Any] = field(default_factory=dict)
    uncharged: bool = False

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header, by its name in lower case."""
        length = len(name)
        for given, value in self.headers:
            if len(given) == length and given.lower() == name:
                return value
        return None


@dataclass(slots=True)
class Verdict:
    """The consequences of an attempt for the delivery and its endpoint.

    Attributes:
        state: of the delivery: PENDING, DONE or DEAD.
        due: time of the next attempt, seconds since 1970, where it is PENDING.
        charged: the attempt counts against the schedule.
        reason: why it is DEAD; else "".
        disable: disable the endpoint: it wants no more deliveries.
        hold_until: send nothing to the endpoint until then, seconds since 1970; 0: no hold.
        halve: halve the endpoint's concurrency from now on.
        success: the status was 2xx.
    """

    state: State
    due: float = 0.0
    charged: bool = True
    reason: str = ""
    health: Health = Health.UNKNOWN
    disable: bool = False
    hold_until: float = 0.0
    halve: bool = False
    success: bool = False


def judge(
    outcome: Outcome,
    attempt: int,
    schedule: Sequence[float],
    expires_at: float | None,
    now: float,
    random: Callable[[], float],
) -> Verdict:
    """Decide the consequences of an attempt.

    Args:
        attempt: its number, from 1, among the charged ones.
        schedule: seconds to wait before each attempt.
        expires_at: seconds since 1970, or None.
        now: the end of the attempt, seconds since 1970.
        random: returns numbers from 0 to 1.
    """
    if outcome.uncharged:
        return Verdict(State.PENDING, now + _BACKED_OFF, charged=False)
    verdict = Verdict(State.PENDING, health=_health(outcome))
    if 200 <= outcome.code < 300:
        verdict.state = State.DONE
        verdict.success = True
        if outcome.header(_HINT) is None:
            return verdict  # the most common case first
    else:
        wait = _next_wait(attempt, schedule, random)
        _hold(verdict, outcome, schedule[-1] if wait is None else wait, now)
        if wait is None:
            verdict.state, verdict.reason = State.DEAD, "schedule-used-up"
        else:
            verdict.due = max(now + wait, verdict.hold_until)
        if expires_at is not None and expires_at <= now:
            verdict.state, verdict.reason = State.DEAD, "expired"
        if outcome.condition in _FATAL:
            verdict.state, verdict.reason = State.DEAD, outcome.condition
    hint = (outcome.header(_HINT) or b"").strip().lower()
    if hint == b"abort-message":
        verdict.state, verdict.reason = State.DEAD, "abort-message"
    if outcome.code == _GONE or hint == b"disable":
        verdict.state, verdict.disable = State.DEAD, True
        verdict.reason = "gone" if outcome.code == _GONE else "disable"
    return verdict


def _health(outcome: Outcome) -> Health:
    if outcome.code:
        bad = outcome.code >= 500 or outcome.code == 429
        return Health.BAD if bad else Health.GOOD
    return Health.UNKNOWN if outcome.condition in _FATAL else Health.BAD


def _next_wait(
    attempt: int, schedule: Sequence[float], random: Callable[[], float]
) -> float | None:
    """Seconds until the attempt after number ``attempt``; None if there is none."""
    if attempt >= len(schedule):
        return None
    return schedule[attempt] * (1.0 - JITTER + 2.0 * JITTER * random())


def _hold(verdict: Verdict, outcome: Outcome, wait: float, now: float) -> None:
    """Set a hold: Retry-After, 429, 502 and 504 are about the endpoint, not about one message.

    See CloudEvents, HTTP 1.1 Web Hooks for Event Delivery 1.0.1, section 2.2.
    """
    asked = retry_after(outcome.header(b"retry-after"), now)
    if asked is not None:
        verdict.hold_until = now + asked
    if outcome.code in _OVERLOADED:
        verdict.halve = True
        if asked is None:
            verdict.hold_until = now + min(wait, _MOST_HOLD)


def retry_after(value: bytes | None, now: float) -> float | None:
    """Seconds of a Retry-After header, a day at most (RFC 9110 section 10.2.3).

    None where there is no header, and for malformed, negative and past values.
    """
    if value is None:
        return None
    text = value.strip().decode("latin-1")
    if text.isascii() and text.isdecimal():
        seconds = float(text[:12])
    else:
        try:
            when = email.utils.parsedate_to_datetime(text)
        except (ValueError, TypeError, OverflowError):
            return None
        if when.tzinfo is None:
            when = when.replace(tzinfo=datetime.UTC)
        seconds = when.timestamp() - now
    return min(seconds, _MOST_RETRY_AFTER) if seconds > 0 else None


@functools.lru_cache(maxsize=256)
def horizon(schedule: tuple[float, ...]) -> float:
    """Seconds from acceptance to the last attempt, at most, without holds of the endpoint."""
    return schedule[0] + sum(schedule[1:]) * (1.0 + JITTER)
