"""Certificates made here: an authority, and what it signs."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Pki:
    """An authority with one certificate for 127.0.0.1, and another authority that nobody should trust."""

    ca: str
    key: str
    cert: str
    other_ca: str
    other_key: str
    other_cert: str

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        return context

    def client(self, *, cert: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca)
        if cert:
            context.load_cert_chain(self.cert, self.key)
        return context


def make_pair(
    directory: Path,
    prefix: str,
    names: Sequence[str] = ("localhost",),
    lives: tuple[datetime.timedelta, datetime.timedelta] = (datetime.timedelta(hours=-1), datetime.timedelta(days=1)),
) -> tuple[str, str, str]:
    """Write an authority, and a key and a certificate for 127.0.0.1 and these names. Gives the paths."""
    now = datetime.datetime.now(datetime.UTC)

    def certificate(name: str, key, issuer_name: str, issuer_key, *, is_ca: bool) -> x509.Certificate:
        def named(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

        builder = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named(issuer_name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + lives[0])
            .not_valid_after(now + lives[1])
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        if not is_ca:
            found = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), *map(x509.DNSName, names)]
            builder = builder.add_extension(x509.SubjectAlternativeName(found), critical=False)
        return builder.sign(issuer_key, hashes.SHA256())

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    files = {name: directory / f"{prefix}-{name}.pem" for name in ("ca", "key", "cert")}
    pem = serialization.Encoding.PEM
    files["ca"].write_bytes(certificate(f"{prefix} ca", ca_key, f"{prefix} ca", ca_key, is_ca=True).public_bytes(pem))
    files["cert"].write_bytes(certificate("proxy", key, f"{prefix} ca", ca_key, is_ca=False).public_bytes(pem))
    files["key"].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return str(files["ca"]), str(files["key"]), str(files["cert"])
