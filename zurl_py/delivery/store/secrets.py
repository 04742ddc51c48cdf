"""Secrets at rest: encrypted with the key of ``secret_key_file`` where that is set."""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path

import msgspec

from .base import StoreError

__all__ = ["SecretBox", "load_key"]

_PLAIN, _ENCRYPTED = b"p", b"e"
_KEY = 32  # bytes
_NONCE = 12  # bytes, of ChaCha20-Poly1305 (RFC 8439)


def load_key(path: str) -> bytes:
    """The key in a file: 32 bytes, or these in hexadecimal or base64.

    Raises:
        StoreError: the file cannot be read, or holds no key.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise StoreError(f"secret_key_file: cannot read {path}: {error.strerror}") from None
    for key in _readings(data):
        if len(key) == _KEY:
            return key
    raise StoreError(
        f"secret_key_file: {path} is not 32 bytes, plain, in hexadecimal or in base64; "
        f"openssl rand -base64 32 makes some"
    )


def _readings(data: bytes) -> list[bytes]:
    found = [data]
    text = data.strip()
    for decode in (bytes.fromhex, lambda text: base64.b64decode(text, validate=True)):
        try:
            found.append(decode(text.decode("ascii")))
        except (UnicodeDecodeError, ValueError, binascii.Error):
            pass
    return found


class SecretBox:
    """Encrypts and decrypts lists of secrets.

    Args:
        key: 32 bytes; None: no encryption.

    Raises:
        StoreError: the package cryptography is missing.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._cipher = None
        if key is not None:
            try:
                from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
            except ImportError:
                raise StoreError(
                    "secret_key_file needs cryptography: pip install cryptography, or, with the"
                    " Debian package, apt install python3-cryptography"
                ) from None
            self._cipher = ChaCha20Poly1305(key)

    def close(self, secrets: tuple[str, ...]) -> bytes | None:
        """Encrypt secrets for the store; None for none."""
        if not secrets:
            return None
        text = msgspec.json.encode(secrets)
        if self._cipher is None:
            return _PLAIN + text
        nonce = os.urandom(_NONCE)
        return _ENCRYPTED + nonce + self._cipher.encrypt(nonce, text, None)

    def open(self, kept: bytes | None) -> tuple[str, ...]:
        """Decrypt secrets from the store.

        Raises:
            StoreError: they are encrypted with another key, or there is no key.
        """
        if not kept:
            return ()
        text = kept[1:]
        if kept[:1] == _ENCRYPTED:
            text = self._decrypt(text)
        return tuple(msgspec.json.decode(text, type=list[str]))

    def is_current(self, kept: bytes | None) -> bool:
        """Whether these are encrypted, or not, as this box does it."""
        return not kept or (kept[:1] == _ENCRYPTED) == (self._cipher is not None)

    def _decrypt(self, data: bytes) -> bytes:
        if self._cipher is None:
            raise StoreError("the store's secrets are encrypted: secret_key_file is needed")
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(data[:_NONCE], data[_NONCE:], None)
        except InvalidTag:
            raise StoreError(
                "the store's secrets are encrypted with another key than secret_key_file has"
            ) from None
