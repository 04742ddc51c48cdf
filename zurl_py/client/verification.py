"""Verification of webhooks' signatures, for receivers."""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from ..signatures import SecretError, Verifier
from .errors import ZurlError

__all__ = ["ReceivedWebhook", "VerificationError", "verify"]

TOLERANCE: Final = 300.0  # seconds; what Standard Webhooks recommends
_DIGITS: Final = 12  # of a timestamp, at most

HeaderPairs = Mapping[Any, Any] | Iterable[tuple[Any, Any]]


class VerificationError(ZurlError, ValueError):
    """A webhook must not be trusted; the text says why."""


@dataclass(frozen=True, slots=True)
class ReceivedWebhook:
    """A webhook whose signature is valid.

    Attributes:
        id: the same in every attempt, so that a receiver can recognise a repetition.
        timestamp: time of this attempt, seconds since 1970.
        event: its type, or None.
        body: as it was received.
    """

    id: str
    timestamp: int
    event: str | None
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return msgspec.json.decode(self.body)


def verify(
    body: bytes | str,
    headers: HeaderPairs,
    secrets: str | Iterable[str],
    *,
    signature: Literal["standard", "stripe", "github"] = "standard",
    tolerance: float = TOLERANCE,
    now: float | None = None,
) -> ReceivedWebhook:
    """Check that a webhook was signed with the secret, and is not an old one sent again.

    Args:
        body: as it was received, before it was parsed.
        headers: a mapping or pairs; names in any case, text or bytes.
        secrets: one, or several during a rotation; a signature with any of them is accepted. With
            ``standard`` these are ``whsec_…`` and, for ed25519, ``whpk_…``.
        signature: kind of signature.
        tolerance: seconds by which the timestamp may differ from now. GitHub's signature does not
            cover the time, so there it does not prevent replays.
        now: seconds since 1970, for tests.

    Raises:
        VerificationError: a header is missing, the timestamp is too old or too new, or no signature
            is valid.
        ValueError: a secret cannot be used.
    """
    data = body.encode() if isinstance(body, str) else bytes(body)
    given = _lowered(headers)
    keys = [secrets] if isinstance(secrets, str) else list(secrets)
    if not keys:
        raise SecretError("no secret to verify with")
    id, when = _needed(given, "webhook-id"), _needed(given, "webhook-timestamp")
    timestamp = _timestamp(when, time.time() if now is None else now, tolerance)
    if signature == "standard":
        good = Verifier(keys).matches(
            id.encode(), when.encode(), data, _needed(given, "webhook-signature").encode()
        )
    elif signature == "stripe":
        good = _stripe(data, _needed(given, "stripe-signature"), when, keys)
    else:
        expected = _needed(given, "x-hub-signature-256")
        good = any(_equal(expected, "sha256=" + _hmac(key, data)) for key in keys)
    if not good:
        raise VerificationError("no signature fits", error="bad-signature")
    return ReceivedWebhook(id, timestamp, given.get("webhook-event"), data)


def _stripe(data: bytes, header: str, when: str, keys: list[str]) -> bool:
    parts = [part.strip().partition("=") for part in header.split(",")]
    if [value for name, _, value in parts if name == "t"] != [when]:
        return False
    expected = [_hmac(key, when.encode() + b"." + data) for key in keys]
    given = [value for name, _, value in parts if name == "v1"]
    return any(_equal(one, other) for one in given for other in expected)


def _hmac(key: str, data: bytes) -> str:
    return hmac.digest(key.encode(), data, "sha256").hex()


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _lowered(headers: HeaderPairs) -> dict[str, str]:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    lowered: dict[str, str] = {}
    for name, value in pairs:
        # The first one counts: a header that a proxy adds must not replace the signed one.
        lowered.setdefault(
            _text(name).lower().replace("_", "-").removeprefix("http-"), _text(value)
        )
    return lowered


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _needed(headers: dict[str, str], name: str) -> str:
    value = headers.get(name, "")
    if not value:
        raise VerificationError(f"the header {name} is missing", error="missing-header")
    return value


def _timestamp(text: str, now: float, tolerance: float) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise VerificationError("webhook-timestamp is no number", error="bad-timestamp")
    timestamp = int(text)
    if abs(now - timestamp) > tolerance:
        side = "old" if timestamp < now else "new"
        raise VerificationError(f"the webhook is too {side}", error="bad-timestamp")
    return timestamp
