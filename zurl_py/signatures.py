"""Signatures of webhooks: Standard Webhooks 1.0.0, and the schemes of Stripe and GitHub.

Both ends use it: ``zurl-py deliver`` signs, ``zurl_py.client.webhooks.verify`` verifies. There is
no I/O; ``cryptography`` is imported when an ed25519 key is first used.

See https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

from .errors import Error

__all__ = ["MODES", "Mode", "SecretError", "Signer", "Verifier", "check_secret"]

Mode = Literal["standard", "stripe", "github", "none"]
MODES: Final[tuple[Mode, ...]] = ("standard", "stripe", "github", "none")
"""The schemes of signatures; ``standard`` is that of Standard Webhooks."""

_SYMMETRIC = "whsec_"
_PRIVATE = "whsk_"
_PUBLIC = "whpk_"
_LEAST_KEY, _MOST_KEY = 24, 64  # bytes of an HMAC key, by the specification
_SEED = 32  # bytes of an ed25519 seed, and of its public key
_MAX_SIGNATURES = 64  # checked of one header, as strangers choose its length


class SecretError(Error, ValueError):
    """A secret cannot be used. The text never contains the secret."""


def check_secret(mode: Mode, secret: str) -> None:
    """Refuse a secret that ``mode`` cannot sign with.

    Raises:
        SecretError: it does not have the form that the mode needs.
    """
    if mode == "none":
        return
    if not secret:
        raise SecretError("an empty secret")
    if mode == "standard":
        if secret.startswith(_PUBLIC):
            raise SecretError("a public key (whpk_) verifies only; whsk_ signs")
        _StandardKey(secret)


class Signer:
    """Makes the signature headers of one endpoint's requests.

    Args:
        secrets: those that are valid now; signatures are in their order. ``standard`` needs
            ``whsec_…`` (HMAC-SHA256) or ``whsk_…`` (ed25519), the other modes accept any text.

    Raises:
        SecretError: a secret cannot be used, or there is none where the mode needs one.
    """

    def __init__(self, mode: Mode, secrets: Sequence[str]) -> None:
        if mode != "none" and not secrets:
            raise SecretError(f"signature {mode!r} needs a secret")
        for secret in secrets:
            check_secret(mode, secret)
        self._mode = mode
        self._standard = [_StandardKey(secret) for secret in secrets] if mode == "standard" else []
        self._texts = [secret.encode() for secret in secrets] if mode != "standard" else []

    def __repr__(self) -> str:
        return f"<Signer {self._mode} secrets={len(self._standard) + len(self._texts)}>"

    def headers(self, id: bytes, timestamp: int, body: bytes) -> list[tuple[bytes, bytes]]:
        """The headers of one attempt: id and time in every mode, then the signature.

        Args:
            timestamp: seconds since 1970, of this attempt.
        """
        when = b"%d" % timestamp
        pairs = [(b"webhook-id", id), (b"webhook-timestamp", when)]
        if self._mode == "standard":
            signed = b"%b.%b.%b" % (id, when, body)
            signatures = b" ".join([key.sign(signed) for key in self._standard])
            pairs.append((b"webhook-signature", signatures))
        elif self._mode == "stripe":
            signed = b"%b.%b" % (when, body)
            parts = [b"t=" + when]
            parts += [b"v1=" + _hex_hmac(secret, signed) for secret in self._texts]
            pairs.append((b"Stripe-Signature", b",".join(parts)))
        elif self._mode == "github":
            # GitHub's header has one signature only.
            value = b"sha256=" + _hex_hmac(self._texts[0], body)
            pairs.append((b"X-Hub-Signature-256", value))
        return pairs


class Verifier:
    """Checks Standard Webhooks signatures against the secrets of a receiver.

    Args:
        secrets: ``whsec_…`` and ``whpk_…``; a signature with any of them is accepted.

    Raises:
        SecretError: a secret cannot be used, or there is none.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._keys = [_StandardKey(secret) for secret in secrets]
        if not self._keys:
            raise SecretError("no secret to verify with")

    def matches(self, id: bytes, timestamp: bytes, body: bytes, signatures: bytes) -> bool:
        """Whether one of the ``signatures`` (separated by blanks) was made with a valid secret."""
        signed = b"%b.%b.%b" % (id, timestamp, body)
        given = signatures.split(b" ", _MAX_SIGNATURES)[:_MAX_SIGNATURES]
        return any(key.verify(signed, signature) for key in self._keys for signature in given)


class _StandardKey:
    """One key of the specification: symmetric, private or public."""

    def __init__(self, secret: str) -> None:
        self._symmetric: hmac.HMAC | None = None  # fed with the key alone
        self._private: Ed25519PrivateKey | None = None
        self._public: Ed25519PublicKey | None = None
        if secret.startswith(_SYMMETRIC):
            key = _decode(secret, _SYMMETRIC)
            if not _LEAST_KEY <= len(key) <= _MOST_KEY:
                raise SecretError(
                    f"behind whsec_ must be {_LEAST_KEY} to {_MOST_KEY} bytes in base64, "
                    f"found {len(key)} bytes"
                )
            self._symmetric = hmac.new(key, digestmod="sha256")
        elif secret.startswith(_PRIVATE):
            self._load_private(_decode(secret, _PRIVATE))
        elif secret.startswith(_PUBLIC):
            self._load_public(_decode(secret, _PUBLIC))
        else:
            raise SecretError("a secret must start with whsec_, whsk_ or whpk_")

    def sign(self, signed: bytes) -> bytes:
        if self._private is not None:
            return b"v1a," + base64.b64encode(self._private.sign(signed))
        assert self._symmetric is not None
        code = self._symmetric.copy()
        code.update(signed)
        return b"v1," + base64.b64encode(code.digest())

    def verify(self, signed: bytes, signature: bytes) -> bool:
        version, comma, value = signature.partition(b",")
        if not comma:
            return False
        if version == b"v1" and self._symmetric is not None:
            return hmac.compare_digest(value, self.sign(signed)[len("v1,") :])
        if version == b"v1a" and self._public is not None:
            return _verify_ed25519(self._public, signed, value)
        return False

    def _load_private(self, key: bytes) -> None:
        # Svix's keys are the seed followed by the public key; others are the seed alone.
        if len(key) not in (_SEED, 2 * _SEED):
            raise SecretError(f"behind whsk_ must be 32 or 64 bytes in base64, not {len(key)}")
        self._private = _ed25519().Ed25519PrivateKey.from_private_bytes(key[:_SEED])
        self._public = self._private.public_key()

    def _load_public(self, key: bytes) -> None:
        if len(key) != _SEED:
            raise SecretError(f"behind whpk_ must be 32 bytes in base64, not {len(key)}")
        self._public = _ed25519().Ed25519PublicKey.from_public_bytes(key)


def _ed25519() -> ModuleType:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise SecretError(
            "whsk_ and whpk_ need cryptography: pip install cryptography, or, with the Debian"
            " package, apt install python3-cryptography"
        ) from None
    return ed25519


def _verify_ed25519(public: Ed25519PublicKey, signed: bytes, value: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        public.verify(base64.b64decode(value, validate=True), signed)
    except (InvalidSignature, binascii.Error):
        return False
    return True


def _decode(secret: str, prefix: str) -> bytes:
    text = secret.removeprefix(prefix)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise SecretError(f"behind {prefix} must be base64") from None


def _hex_hmac(key: bytes, signed: bytes) -> bytes:
    return hmac.new(key, signed, hashlib.sha256).hexdigest().encode()
