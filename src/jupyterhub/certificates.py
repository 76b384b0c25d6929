"""The certificates of ``internal_ssl``: authorities, who trusts whom, and signed pairs, as files in one directory.

The layout is the original's (a directory per name, ``<authority>_trust.crt``, ``certipy.json``), so that a directory
works with either. ``prepare`` makes what is missing when a hub starts; ``issue`` makes a server's or a service's pair.
Sockets and TLS contexts are for those that have them.

Each part of the system has an authority of its own, and what it accepts is the list of authorities in its bundle: a
server is let in at the hub, but not at another server.

Keys are of the curve P-256: making one takes a fraction of a millisecond, where RSA takes up to seconds, and each start
of a server makes one. An authority whose years end is renewed with the key that it has: those that run with its former
certificate go on to accept what it signs.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .words.errors import ConfigurationError

#: authority → those whose certificates are accepted by what shows certificates of this one
TRUST: Mapping[str, tuple[str, ...]] = {
    "hub-ca": ("hub-ca", "proxy-api-ca", "proxy-client-ca", "notebooks-ca", "services-ca"),
    "proxy-api-ca": ("hub-ca", "services-ca", "notebooks-ca"),
    "proxy-client-ca": ("hub-ca", "notebooks-ca"),
    "notebooks-ca": ("hub-ca", "proxy-client-ca"),
    "services-ca": ("hub-ca", "proxy-api-ca"),
}
AUTHORITIES = tuple(TRUST)
#: the pairs that are there before any server: name → authority
STANDING_PAIRS: Mapping[str, str] = {
    "hub-internal": "hub-ca",
    "proxy-api": "proxy-api-ca",
    "proxy-client": "proxy-client-ca",
}
#: what signs the pairs of servers and of managed services: the proxy must accept both
SERVERS_AUTHORITY = "notebooks-ca"
LOCAL_NAMES = ("IP:127.0.0.1", "IP:::1", "DNS:localhost")

VALID_FOR = timedelta(days=5 * 365)
#: a hub that starts renews what ends sooner, so that whatever is started in the meantime has a year at least
RENEW_BEFORE_END = timedelta(days=365)
#: clocks of other machines may be behind ours
CLOCK_SKEW = timedelta(hours=1)
#: what X.509 allows for a common name; a file name may be longer
LONGEST_NAME = 64

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """What ``prepare`` found or made. A record is certipy's: ``{"files": {"key", "cert", "ca"}, …}``."""

    authorities: Mapping[str, dict[str, Any]]
    pairs: Mapping[str, dict[str, Any]]
    #: authority → path of the bundle of those it trusts
    trust_bundles: Mapping[str, str]


def name_of(kind: str, *parts: str) -> str:
    """Give the name of a server's or service's certificate, which is that of its directory too: no part may be a path.

    Different parts have different names: ``+`` is percent-encoded in the parts.
    """
    name = f"{kind}-" + "+".join(quote(part, safe="@") for part in parts if part)
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:24]
    return f"{name[: LONGEST_NAME - len(digest) - 1]}-{digest}"


def host_name(host: str) -> str:
    """Give a host or address as an alternative name: ``DNS:…`` or ``IP:…``."""
    try:
        return f"IP:{ip_address(host)}"
    except ValueError:
        return f"DNS:{host}"


def prepare(
    location: str | Path,
    *,
    external: Mapping[str, Mapping[str, str]] | None = None,
    hub_names: Sequence[str] = (),
    recreate: bool = False,
) -> Certificates:
    """Make what a hub and its proxy need, as far as it is not there and good for another year.

    ``external`` names the files of authorities that somebody else runs; they are only read. ``hub_names`` are further
    names in the standing certificates. With ``recreate`` all that is here is made anew: nothing that runs is
    accepted any more. ConfigurationError if something cannot be read or written.
    """
    folder = Path(location)
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        with _locked(folder):
            return _Store(folder).prepare(external or {}, tuple(hub_names), recreate=recreate)
    except OSError as error:
        raise ConfigurationError(
            f"JupyterHub.internal_certs_location: {error.filename or folder}: {error.strerror}. The certificates of "
            "internal_ssl are kept there: the hub must be able to read and write it."
        ) from error


def issue(
    location: str | Path, name: str, *, alt_names: Sequence[str], authority: str = SERVERS_AUTHORITY
) -> tuple[str, str]:
    """Make a new pair for a server or service, in place of a former one; give the paths of key and certificate."""
    folder = Path(location)
    store = _Store(folder)
    return store.issue(name, store.authority(authority), alt_names)


class _Store:
    """A directory of certificates and its ``certipy.json``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index = folder / "certipy.json"
        self._records: dict[str, dict[str, Any]] = {}
        if self._index.exists():
            try:
                self._records = dict(json.loads(self._index.read_text()))
            except ValueError as error:
                raise ConfigurationError(
                    f"{self._index} is damaged ({error}). Restore it, or remove the directory: then all certificates "
                    "are made anew, and servers that run must be started again."
                ) from error

    def prepare(
        self, external: Mapping[str, Mapping[str, str]], hub_names: tuple[str, ...], *, recreate: bool
    ) -> Certificates:
        before = json.dumps(self._records)
        if unknown := sorted(external.keys() - set(AUTHORITIES)):
            raise ConfigurationError(
                f"JupyterHub.external_ssl_authorities names {', '.join(unknown)}. "
                f"The authorities of internal_ssl are {', '.join(AUTHORITIES)}."
            )
        if recreate:
            for name in self._records.keys() & {*AUTHORITIES, *STANDING_PAIRS}:
                shutil.rmtree(self._folder / name, ignore_errors=True)
        authorities = {
            name: self._external(name, external[name]) if name in external else self._own(name) for name in AUTHORITIES
        }
        for name, authority_name in STANDING_PAIRS.items():
            self._standing_pair(name, authorities[authority_name], (*LOCAL_NAMES, *hub_names))
        bundles = {name: self._bundle(name, [authorities[each] for each in TRUST[name]]) for name in AUTHORITIES}
        if json.dumps(self._records) != before:
            _write(self._index, json.dumps(self._records, indent=4).encode(), mode=0o644)
        return Certificates(
            authorities={name: self._absolute(name) for name in AUTHORITIES},
            pairs={name: self._absolute(name) for name in STANDING_PAIRS},
            trust_bundles=bundles,
        )

    def authority(self, name: str) -> _Authority:
        files = self._records.get(name, {}).get("files", {})
        if not files.get("cert"):
            raise ConfigurationError(f"There is no authority {name} in {self._folder}: start the hub, which makes it.")
        return _Authority.load(name, key=files["key"], cert=files["cert"], chain=files.get("ca", ""))

    # -- authorities

    def _external(self, name: str, files: Mapping[str, str]) -> _Authority:
        where = f"JupyterHub.external_ssl_authorities[{name!r}]"
        if missing := [kind for kind in ("key", "cert") if not files.get(kind)]:
            raise ConfigurationError(f"{where} has no {' and no '.join(map(repr, missing))}: a path of a PEM file.")
        authority = _Authority.load(name, key=files["key"], cert=files["cert"], chain=files.get("ca", ""), where=where)
        if authority.ends < datetime.now(UTC):
            raise ConfigurationError(f"{where}: the certificate {files['cert']} ended on {authority.ends:%Y-%m-%d}.")
        self._note(name, key=files["key"], cert=files["cert"], ca=files.get("ca", ""), is_ca=True)
        return authority

    def _own(self, name: str) -> _Authority:
        key_file, cert_file = self._paths(name)
        made = None
        if key_file.exists() and cert_file.exists():
            made = _Authority.load(name, key=str(key_file), cert=str(cert_file))
        if made is None or made.ends < datetime.now(UTC) + RENEW_BEFORE_END:
            key = made.key if made is not None else _new_key()
            certificate = _self_signed(name, key)
            _write_key(key_file, key)
            _write(cert_file, _pem(certificate), mode=0o644)
            made = _Authority(name=name, key=key, certificates=(certificate,))
        self._note(name, key=str(key_file), cert=str(cert_file), ca="", is_ca=True)
        return made

    def _bundle(self, name: str, trusted: Sequence[_Authority]) -> str:
        path = self._folder / f"{name}_trust.crt"
        content = b"".join(_pem(certificate) for each in trusted for certificate in each.certificates)
        if not path.exists() or path.read_bytes() != content:
            _write(path, content, mode=0o644)
        return str(path.absolute())

    # -- pairs

    def _standing_pair(self, name: str, authority: _Authority, alt_names: Sequence[str]) -> None:
        key_file, cert_file = self._paths(name)
        if not _is_good(key_file, cert_file, authority, alt_names):
            self.issue(name, authority, alt_names)
        parent = self._records[authority.name]
        parent["signees"] = {**(parent.get("signees") or {}), name: 1}
        self._note(name, key=str(key_file), cert=str(cert_file), ca=parent["files"]["cert"], parent_ca=authority.name)

    def issue(self, name: str, authority: _Authority, alt_names: Sequence[str]) -> tuple[str, str]:
        key_file, cert_file = self._paths(name)
        key = _new_key()
        certificate = _signed(name, key, authority, alt_names)
        _write_key(key_file, key)
        # with what lies between it and the root, which everybody has
        _write(cert_file, b"".join(map(_pem, (certificate, *authority.certificates[:-1]))), mode=0o644)
        return str(key_file.absolute()), str(cert_file.absolute())

    # -- the index

    def _paths(self, name: str) -> tuple[Path, Path]:
        return self._folder / name / f"{name}.key", self._folder / name / f"{name}.crt"

    def _note(self, name: str, *, key: str, cert: str, ca: str, is_ca: bool = False, parent_ca: str = "") -> None:
        known = self._records.get(name, {})
        self._records[name] = {
            "serial": 0,
            "is_ca": is_ca,
            "parent_ca": parent_ca,
            "signees": known.get("signees"),
            "files": {"key": key, "cert": cert, "ca": ca},
        }

    def _absolute(self, name: str) -> dict[str, Any]:
        """The record for those that run elsewhere: its paths are relative to where the hub was started."""
        record = self._records[name]
        return {**record, "files": {kind: path and os.path.abspath(path) for kind, path in record["files"].items()}}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Authority:
    name: str
    key: PrivateKey
    #: its own, then those that vouch for it, up to the root
    certificates: tuple[x509.Certificate, ...]

    @classmethod
    def load(cls, name: str, *, key: str, cert: str, chain: str = "", where: str = "") -> _Authority:
        """Read an authority's files; ConfigurationError if they are not what they should be."""
        where = where or f"The authority {name} of internal_ssl"
        try:
            private = serialization.load_pem_private_key(Path(key).read_bytes(), password=None)
            own = x509.load_pem_x509_certificates(Path(cert).read_bytes())
            above = x509.load_pem_x509_certificates(Path(chain).read_bytes()) if chain else []
        except OSError as error:
            raise ConfigurationError(f"{where}: {error.filename} cannot be read: {error.strerror}.") from error
        except (ValueError, TypeError) as error:
            raise ConfigurationError(
                f"{where}: {key} and {cert} are no unencrypted PEM key and certificate ({error})."
            ) from error
        if not isinstance(private, PrivateKey) or private.public_key() != own[0].public_key():
            raise ConfigurationError(f"{where}: the key {key} does not belong to the certificate {cert}.")
        certificates = tuple(dict.fromkeys([*own, *above]))
        if certificates[-1].issuer != certificates[-1].subject:
            raise ConfigurationError(
                f"{where}: the certificate {cert} is signed by another authority. Name as 'ca' the file with the "
                "certificates above it, up to the root."
            )
        return cls(name=name, key=private, certificates=certificates)

    @property
    def ends(self) -> datetime:
        return self.certificates[0].not_valid_after_utc


# -- certificates


def _new_key() -> PrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _builder(name: str, key: PrivateKey, issuer: x509.Name | None = None) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + VALID_FOR)
        .add_extension(
            # each side shows its certificate, whoever calls whom
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _self_signed(name: str, key: PrivateKey) -> x509.Certificate:
    usage = x509.KeyUsage(
        key_cert_sign=True,
        crl_sign=True,
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        _builder(name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _signed(name: str, key: PrivateKey, authority: _Authority, alt_names: Sequence[str]) -> x509.Certificate:
    builder = _builder(name, key, authority.certificates[0].subject).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False
    )
    names = [_alt_name(each) for each in dict.fromkeys(alt_names)]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(authority.key, hashes.SHA256())


def _alt_name(text: str) -> x509.GeneralName:
    kind, _, value = text.partition(":")
    try:
        match kind:
            case "DNS" if value:
                # cryptography takes A-labels alone
                return x509.DNSName(value if value.isascii() else value.encode("idna").decode())
            case "IP":
                return x509.IPAddress(ip_address(value))
            case "URI" if value:
                return x509.UniformResourceIdentifier(value)
            case "email" if value:
                return x509.RFC822Name(value)
    except ValueError as error:
        raise ConfigurationError(f"The alternative name {text!r} of a certificate cannot be right: {error}.") from error
    raise ConfigurationError(
        f"The alternative name {text!r} of a certificate must say its kind: DNS:hub.example.org or IP:10.0.0.1."
    )


def _is_good(key_file: Path, cert_file: Path, authority: _Authority, alt_names: Sequence[str]) -> bool:
    """Whether a pair is whole, of this authority, for all these names, and has another year."""
    try:
        certificate = x509.load_pem_x509_certificates(cert_file.read_bytes())[0]
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        certificate.verify_directly_issued_by(authority.certificates[0])
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return (
        key.public_key() == certificate.public_key()
        and certificate.not_valid_after_utc >= datetime.now(UTC) + RENEW_BEFORE_END
        and {_alt_name(each) for each in alt_names} <= set(found)
    )


# -- files


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write_key(path: Path, key: PrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    _write(path, pem, mode=0o600)


def _write(path: Path, content: bytes, *, mode: int) -> None:
    """Put a file in its place at once, with its rights from the beginning: nobody reads half of it."""
    path.parent.mkdir(mode=0o755, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
    new.replace(path)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One hub at a time: of several that begin together one makes the certificates."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
