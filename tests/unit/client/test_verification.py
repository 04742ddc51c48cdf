"""``verify``: published vectors, rotation, and all that must not pass."""

from __future__ import annotations

import base64
import hmac
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from zurl_py.client.webhooks import VerificationError, verify
from zurl_py.signatures import SecretError, Signer

# The example of the specification of Standard Webhooks, and of Svix's libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'
NOW = 1614265330
HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": str(NOW),
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}


def changed(**changes: str | None) -> dict[str, str]:
    headers = {**HEADERS, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return {name: value for name, value in headers.items() if value is not None}


def test_published_vector() -> None:
    webhook = verify(BODY, HEADERS, SECRET, now=NOW)
    assert (webhook.id, webhook.timestamp, webhook.event) == (HEADERS["webhook-id"], NOW, None)
    assert webhook.json() == {"test": 2432232314}


@pytest.mark.parametrize(
    "headers",
    [
        {name.title(): value for name, value in HEADERS.items()},
        [(name.encode(), value.encode()) for name, value in HEADERS.items()],
        {"HTTP_" + name.upper().replace("-", "_"): value for name, value in HEADERS.items()},
        [*HEADERS.items(), ("webhook-id", "another")],
    ],
)
def test_headers_as_frameworks_give_them(headers: Any) -> None:
    assert verify(BODY.decode(), headers, [SECRET], now=NOW).body == BODY


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (changed(webhook_id=None), BODY),
        (changed(webhook_timestamp=None), BODY),
        (changed(webhook_signature=None), BODY),
        (changed(webhook_signature=""), BODY),
        (changed(webhook_id="msg_other"), BODY),
        (changed(webhook_timestamp=str(NOW - 1)), BODY),
        (changed(webhook_timestamp="soon"), BODY),
        (changed(webhook_timestamp="-1"), BODY),
        (changed(webhook_timestamp="9" * 30), BODY),
        (changed(webhook_signature="g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="), BODY),
        (changed(webhook_signature="v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="), BODY),
        (changed(webhook_signature="v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="), BODY),
        (changed(webhook_signature="v1,"), BODY),
        (changed(webhook_signature="v1,g0hM9SsE"), BODY),
        (changed(webhook_signature="v1,\xff"), BODY),
        (HEADERS, BODY + b" "),
        (HEADERS, b""),
    ],
)
def test_invalid_signatures_are_refused(headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(VerificationError):
        verify(body, headers, SECRET, now=NOW)


@pytest.mark.parametrize(("now", "good"), [(300, True), (-300, True), (301, False), (-301, False)])
def test_tolerance(now: int, good: bool) -> None:
    if good:
        verify(BODY, HEADERS, SECRET, now=NOW + now)
    else:
        with pytest.raises(VerificationError, match=r"too (old|new)"):
            verify(BODY, HEADERS, SECRET, now=NOW + now)


def test_rotation_on_either_side() -> None:
    other = "whsec_" + base64.b64encode(b"x" * 24).decode()
    verify(BODY, HEADERS, [other, SECRET], now=NOW)
    with pytest.raises(VerificationError, match="no signature fits"):
        verify(BODY, HEADERS, [other], now=NOW)
    several = "v1,AAAA v9,xyz " + HEADERS["webhook-signature"]
    verify(BODY, changed(webhook_signature=several), SECRET, now=NOW)


def test_header_with_very_many_signatures_costs_little() -> None:
    many = "v1,AAAA " * 100_000 + HEADERS["webhook-signature"]
    with pytest.raises(VerificationError):
        verify(BODY, changed(webhook_signature=many), SECRET, now=NOW)


def test_ed25519() -> None:
    seed = bytes(range(32))
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    secret = "whsk_" + base64.b64encode(seed + public).decode()
    pairs = Signer("standard", [secret, SECRET]).headers(b"msg_1", NOW, BODY)
    headers = {name.decode(): value.decode() for name, value in pairs}
    whpk = "whpk_" + base64.b64encode(public).decode()
    for secrets in (whpk, SECRET, [whpk, SECRET], secret):
        verify(BODY, headers, secrets, now=NOW)
    with pytest.raises(VerificationError):
        verify(BODY + b"x", headers, whpk, now=NOW)
    other = (
        "whpk_"
        + base64.b64encode(
            Ed25519PrivateKey.from_private_bytes(b"y" * 32)
            .public_key()
            .public_bytes(Encoding.Raw, PublicFormat.Raw)
        ).decode()
    )
    with pytest.raises(VerificationError):
        verify(BODY, headers, other, now=NOW)


@pytest.mark.parametrize("mode", ["stripe", "github"])
def test_other_modes(mode: Any) -> None:
    pairs = Signer(mode, ["a secret", "another"]).headers(b"msg_1", NOW, BODY)
    headers = {name.decode(): value.decode() for name, value in pairs}
    verify(BODY, headers, "a secret", signature=mode, now=NOW)
    for body, secret in ((BODY, "wrong"), (BODY + b" ", "a secret")):
        with pytest.raises(VerificationError):
            verify(body, headers, secret, signature=mode, now=NOW)
    if mode == "stripe":
        verify(BODY, headers, "another", signature=mode, now=NOW)
        # The header's own time must be the one that is checked.
        forged = {**headers, "webhook-timestamp": str(NOW + 10)}
        with pytest.raises(VerificationError):
            verify(BODY, forged, "a secret", signature=mode, now=NOW)


@pytest.mark.parametrize(
    "secrets",
    [
        [],
        "plain",
        "whsec_",
        "whsec_***",
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        "whsec_" + base64.b64encode(b"x" * 65).decode(),
        "whpk_" + base64.b64encode(b"x" * 31).decode(),
    ],
)
def test_invalid_secrets(secrets: Any) -> None:
    with pytest.raises(SecretError) as caught:
        verify(BODY, HEADERS, secrets, now=NOW)
    if isinstance(secrets, str) and len(secrets) > 10:
        assert secrets not in str(caught.value)


def test_signature_by_hand() -> None:
    """The signed bytes are ``id.timestamp.body``."""
    key = b"k" * 32
    signed = b"msg_1.%d." % NOW + BODY
    expected = base64.b64encode(hmac.digest(key, signed, "sha256"))
    secret = "whsec_" + base64.b64encode(key).decode()
    pairs = dict(Signer("standard", [secret]).headers(b"msg_1", NOW, BODY))
    assert pairs[b"webhook-signature"] == b"v1," + expected
