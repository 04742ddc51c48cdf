"""Client certificates are checked before anything is connected to, and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from tests.support import CertificateAuthority
from zurl_py.client_certificate import BadClientCertificate, ClientCertificate


def pair(authority: CertificateAuthority, name: str = "client") -> tuple[bytes, bytes]:
    certificate, key = authority.leaf(name)
    return Path(certificate).read_bytes(), Path(key).read_bytes()


def test_blanks_around_a_certificate_are_ignored(authority: CertificateAuthority) -> None:
    chain, key = pair(authority)
    one = ClientCertificate.checked(chain, key)
    assert ClientCertificate.checked(b"\n " + chain + b"\n\n", key + b" ") == one
    assert one != ClientCertificate.checked(*pair(authority, "other"))


def test_a_certificate_is_not_in_its_repr(authority: CertificateAuthority) -> None:
    assert "BEGIN" not in repr(ClientCertificate.checked(*pair(authority)))


def test_invalid_certificates_are_refused_with_the_reason(authority: CertificateAuthority) -> None:
    chain, key = pair(authority)
    _, other = pair(authority, "other")
    private = serialization.load_pem_private_key(key, None)
    sealed = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"word"),
    )
    garbled = chain.replace(b"A", b"!", 5)
    for bad_chain, bad_key, words in (
        (chain, other, "not that of the certificate"),
        (chain, sealed, "pass phrase"),
        (chain, chain, "the key is no PEM"),
        (key, key, "the certificate is no PEM"),
        (b"", key, "the certificate is no PEM"),
        (garbled, key, "OpenSSL cannot use them"),
        (chain * 1000, key, "more than"),
    ):
        for _ in range(2):  # the second time what is known counts
            with pytest.raises(BadClientCertificate, match=words):
                ClientCertificate.checked(bad_chain, bad_key)
