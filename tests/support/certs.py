"""Certificates made on the fly: one authority and leaves with every usual fault."""

import datetime
import ipaddress
import ssl
import tempfile
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = datetime.timedelta(days=1)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternatives(names: tuple[str, ...]) -> x509.SubjectAlternativeName:
    entries: list[x509.GeneralName] = []
    for name in names:
        try:
            entries.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            entries.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(entries)


class CertificateAuthority:
    """A certificate authority of its own directory; `path` is the file to trust."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="zurl-ca-")
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _name("zurl_py test authority")
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(self._subject)
            .issuer_name(self._subject)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + 30 * _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.path = str(Path(self._directory.name) / "ca.pem")
        Path(self.path).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def leaf(
        self, *names: str, expired: bool = False, self_signed: bool = False
    ) -> tuple[str, str]:
        """Makes a server certificate for `names` (host names and addresses).

        Returns the paths of the certificate and its key, both PEM.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        subject = _name(names[0])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if self_signed else self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 20 * _DAY)
            .not_valid_after(now - 10 * _DAY if expired else now + 10 * _DAY)
            .add_extension(_alternatives(names), critical=False)
            .sign(key if self_signed else self._key, hashes.SHA256())
        )
        base = Path(tempfile.mkdtemp(dir=self._directory.name))
        certificate_path, key_path = base / "leaf.pem", base / "leaf.key"
        certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return str(certificate_path), str(key_path)

    def pem(self, name: str) -> dict[str, Any]:
        """A client certificate with its key, as the fields of a message."""
        certificate, key = self.leaf(name)
        return {"client_cert": Path(certificate).read_text(), "client_key": Path(key).read_text()}

    def server_context(
        self,
        *names: str,
        expired: bool = False,
        self_signed: bool = False,
        alpn: tuple[str, ...] = (),
        mutual: bool = False,
    ) -> ssl.SSLContext:
        """A context for a TLS server; without `names` it is good for localhost and 127.0.0.1.

        With `mutual` it insists on a client certificate of this authority.
        """
        paths = self.leaf(
            *(names or ("localhost", "127.0.0.1")), expired=expired, self_signed=self_signed
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*paths)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if mutual:
            context.load_verify_locations(self.path)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def close(self) -> None:
        """Removes every file."""
        self._directory.cleanup()
