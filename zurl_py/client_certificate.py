"""A client certificate with its key, checked before a connection is made."""

from __future__ import annotations

import hashlib
import os
import ssl
from dataclasses import dataclass, field

from .cache import remember
from .errors import Error

__all__ = ["BadClientCertificate", "ClientCertificate"]

_MAX_CHECKED = 1000
_MAX_SIZE = 100_000  # bytes of a chain or key; real ones are less than a tenth of that
_checked: dict[bytes, str] = {}


class BadClientCertificate(Error, ValueError):
    """Certificate and key cannot be used; the text says why, and contains nothing of either."""


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A certificate for origins that ask for one.

    Attributes:
        chain: certificates in PEM, the client's own first.
        key: its private key in PEM, without a pass phrase.
    """

    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)

    @classmethod
    def checked(cls, chain: bytes, key: bytes) -> ClientCertificate:
        """A pair that OpenSSL can use.

        Blanks around both are removed: libcurl shares connections only if every byte is equal.

        Raises:
            BadClientCertificate: one is missing or cannot be read, or they do not belong together.
        """
        chain, key = chain.strip() + b"\n", key.strip() + b"\n"
        if max(len(chain), len(key)) > _MAX_SIZE:
            raise BadClientCertificate(f"more than {_MAX_SIZE} bytes")
        # The cache holds digests, not keys.
        digest = hashlib.sha256(b"%d " % len(chain) + chain + key).digest()
        problem = _checked.get(digest)
        if problem is None:
            problem = _check(chain, key)
            remember(_checked, digest, problem, _MAX_CHECKED)
        if problem:
            raise BadClientCertificate(problem)
        return cls(chain, key)


def _check(chain: bytes, key: bytes) -> str:
    """Why OpenSSL cannot use a pair; "" if it can."""
    for name, text, mark in (("certificate", chain, b"CERTIFICATE"), ("key", key, b"PRIVATE KEY")):
        if mark + b"-----" not in text:
            return f"the {name} is no PEM text with {mark.decode()} in it"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asked: list[bool] = []

    def no_pass_phrase() -> bytes:
        asked.append(True)
        return b""

    try:
        with _in_memory(chain) as chain_path, _in_memory(key) as key_path:
            context.load_cert_chain(chain_path, key_path, no_pass_phrase)
    except ssl.SSLError as error:
        if asked:
            return "the key has a pass phrase"
        if error.reason == "KEY_VALUES_MISMATCH":
            return "the key is not that of the certificate"
        return f"OpenSSL cannot use them: {error.reason or 'no detail'}"
    return "the key has a pass phrase" if asked else ""


class _in_memory:
    """A path to a file in memory: Python's ssl module reads certificates from paths only."""

    def __init__(self, content: bytes) -> None:
        self._fd = os.memfd_create("pem", os.MFD_CLOEXEC)
        os.write(self._fd, content)

    def __enter__(self) -> str:
        return f"/proc/self/fd/{self._fd}"

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
