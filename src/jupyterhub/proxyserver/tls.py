"""TLS from the command line's files: for the public side, the REST API and the connections to upstreams.

Each of the three is an object that can ``load`` its files again while it is in use: ``Reloading`` does so when they
change, and at SIGHUP. What a broken file would spoil stays as it was.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol

from .certificates import TLS_ALPN_01
from .options import Settings, TlsFiles, UsageError

log = logging.getLogger(__name__)

_PROTOCOLS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1_0": ssl.TLSVersion.TLSv1,
    "TLSv1_1": ssl.TLSVersion.TLSv1_1,
    "TLSv1_2": ssl.TLSVersion.TLSv1_2,
    "TLSv1_3": ssl.TLSVersion.TLSv1_3,
}
#: for TLS 1.2: forward secrecy and authenticated encryption, no others (RFC 9325 §4.2). TLS 1.3 has only such.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20"
#: of those who come to see that a name is ours (RFC 8737)
ACME_PROTOCOL = b"acme-tls/1"
#: how often the files are looked at
LOOK_S = 3.0


class Files(Protocol):
    """Something that is made from files."""

    @property
    def paths(self) -> Iterable[str]: ...

    def load(self) -> None:
        """Read them again. Raises ``UsageError``, and then everything is as it was."""


class ServerTls:
    """TLS of a port of ours. Servers listen with ``context``, which stays the same for ever.

    The certificate comes from another context, chosen in each handshake by the name that the client asks for: one of
    those that ``load`` has made. So what is loaded anew is in use at once, and tickets of earlier sessions stay good.
    """

    def __init__(
        self,
        make: Callable[[TlsFiles, type[ssl.SSLContext]], ssl.SSLContext],
        files: TlsFiles,
        others: Sequence[TlsFiles] = (),
        offers: Path | None = None,
    ) -> None:
        """``offers`` is where certificates lie that prove a name to an ACME authority (TLS-ALPN-01)."""
        self._make = make
        self._offers = offers
        self._files = files
        self._others = others
        self._default, self._by_name = self._made()
        self.context = make(files, ssl.SSLContext if offers is None else _Listening)
        self.context.sni_callback = self._choose

    @property
    def paths(self) -> Iterable[str]:
        found = [path for files in (self._files, *self._others) for path in (files.cert, files.key, files.ca) if path]
        return dict.fromkeys(found)  # key and certificate may be in one file

    def load(self) -> None:
        self._default, self._by_name = self._made()

    def _made(self) -> tuple[ssl.SSLContext, Mapping[str, ssl.SSLContext]]:
        by_name: dict[str, ssl.SSLContext] = {}
        for files in self._others:
            context = self._make(files, ssl.SSLContext)
            for name in _names(files.cert):
                by_name.setdefault(name, context)
        return self._make(self._files, ssl.SSLContext), by_name

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        """Called in each handshake, with the name that the client asks for, if it does."""
        if self._offers is not None and getattr(connection, "wants_proof", False):
            connection.context = _proof(self._offers, name)
            return
        connection.context = self._default
        if name and self._by_name:
            name = name.lower().rstrip(".")
            # A wildcard stands for one label (RFC 9525 §6.3).
            found = self._by_name.get(name) or self._by_name.get(f"*.{name.partition('.')[2]}")
            if found is not None:
                connection.context = found


class _Listening(ssl.SSLContext):
    """Looks at what clients say first, for what the library does not tell: whether they offer ``ACME_PROTOCOL``."""

    def wrap_bio(self, incoming: ssl.MemoryBIO, *arguments: Any, **named: Any) -> ssl.SSLObject:
        self.sslobject_class = _Listened
        connection = super().wrap_bio(incoming, *arguments, **named)
        assert isinstance(connection, _Listened)
        connection.incoming = incoming
        return connection


class _Listened(ssl.SSLObject):
    incoming: ssl.MemoryBIO
    wants_proof = False

    def do_handshake(self) -> None:
        if not self.wants_proof and self.incoming.pending:
            data = self.incoming.read()
            self.incoming.write(data)
            # As it is written in a ClientHello (RFC 7301 §3.1). Authorities send theirs in one piece.
            self.wants_proof = b"\x0a" + ACME_PROTOCOL in data
        super().do_handshake()


def _proof(offers: Path, name: str | None) -> ssl.SSLContext:
    """Give what proves the name. Raises, which ends the handshake, if nobody was asked to."""
    if not name or "/" in name:
        raise ValueError("no name")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols([ACME_PROTOCOL.decode()])
    context.load_cert_chain(offers / f"{name.lower()}.pem")
    return context


class UpstreamTls:
    """TLS of connections to https targets.

    Upstreams are verified unless ``--insecure`` is given, against ``--client-ssl-ca`` or the system's authorities.
    """

    def __init__(self, files: TlsFiles, *, is_verifying: bool) -> None:
        self._files = files
        self._is_verifying = is_verifying
        self.context = self._made()

    @property
    def paths(self) -> Iterable[str]:
        return [path for path in (self._files.cert, self._files.key, self._files.ca) if path]

    def load(self) -> None:
        self.context = self._made()

    def _made(self) -> ssl.SSLContext:
        files = self._files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if files.key:
            _load_pair(context, files, "--client-ssl")
        if not self._is_verifying:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif files.ca:
            _load_ca(context, files, "--client-ssl")
        else:
            context.load_default_certs()
        return context


class Reloading:
    """Looks at files now and then, and loads what was made of those that have changed."""

    def __init__(self, kept: Sequence[Files]) -> None:
        self._seen = [(files, _signature(files.paths)) for files in kept]
        self._is_asked = asyncio.Event()

    def ask(self) -> None:
        """Have everything loaded soon, changed or not."""
        self._is_asked.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._is_asked.wait()
            except TimeoutError:
                pass
            everything = self._is_asked.is_set()
            self._is_asked.clear()
            # In a thread: they may lie on a file system that has gone away.
            await asyncio.to_thread(self._look, everything)

    def _look(self, everything: bool) -> None:
        for number, (files, seen) in enumerate(self._seen):
            now = _signature(files.paths)
            if now == seen and not everything:
                continue
            # What changes while it is read is read once more.
            self._seen[number] = files, now
            try:
                files.load()
            except UsageError as error:
                log.error("certificates cannot be loaded, those in use stay: %s", error)
            else:
                log.info("certificates loaded: %s", ", ".join(files.paths))


def public_tls(settings: Settings) -> ServerTls | None:
    """Give TLS of the public port, or None for plain HTTP. Raises ``UsageError``."""
    if settings.public_tls is None:
        return None

    def make(files: TlsFiles, kind: type[ssl.SSLContext]) -> ssl.SSLContext:
        context = _server_context(files, "--ssl" if files is settings.public_tls else "--ssl-sni", kind)
        if settings.tls_protocol:
            # OpenSSL's spelling of a version has been used with and without the suffix of a method.
            name = settings.tls_protocol.removesuffix("_method")
            if name not in _PROTOCOLS:
                raise UsageError(f"--ssl-protocol: {name!r} is none of {', '.join(_PROTOCOLS)}")
            context.minimum_version = context.maximum_version = _PROTOCOLS[name]
        try:
            if settings.tls_ciphers:
                context.set_ciphers(settings.tls_ciphers)
        except ssl.SSLError as error:
            raise UsageError(f"--ssl-ciphers: {error.reason or error}") from error
        try:
            if settings.tls_dhparam:
                context.load_dh_params(settings.tls_dhparam)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(f"--ssl-dhparam: {error}") from error
        return context

    acme = settings.acme
    offers = acme.offers if acme is not None and acme.challenge == TLS_ALPN_01 else None
    return ServerTls(make, settings.public_tls, settings.sni_tls, offers)


def api_tls(settings: Settings) -> ServerTls | None:
    """Give TLS of the REST API, or None for plain HTTP. Raises ``UsageError``."""
    if settings.api_tls is None:
        return None
    return ServerTls(lambda files, kind: _server_context(files, "--api-ssl", kind), settings.api_tls)


def upstream_tls(settings: Settings) -> UpstreamTls:
    """Give TLS of connections to https targets. Raises ``UsageError``."""
    return UpstreamTls(settings.client_tls, is_verifying=settings.verify_upstreams)


def _server_context(files: TlsFiles, flag: str, kind: type[ssl.SSLContext]) -> ssl.SSLContext:
    context = kind(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(_CIPHERS)
    # Nobody may choose HTTP/2 by ALPN: we do not speak it.
    context.set_alpn_protocols(["http/1.1"])
    _load_pair(context, files, flag)
    if files.ca:
        _load_ca(context, files, flag)
    if files.request_cert:
        context.verify_mode = ssl.CERT_REQUIRED if files.reject_unauthorized else ssl.CERT_OPTIONAL
    return context


def _load_pair(context: ssl.SSLContext, files: TlsFiles, flag: str) -> None:
    def passphrase() -> str:
        # Without this function OpenSSL would ask at the terminal and a service would hang.
        if not files.passphrase:
            _refuse(f"{flag}-key: the key is encrypted and there is no passphrase in the environment")
        return files.passphrase

    try:
        context.load_cert_chain(files.cert, files.key, password=passphrase)
    except (OSError, ssl.SSLError) as error:
        where = f"{flag} {files.cert} {files.key}" if flag == "--ssl-sni" else f"{flag}-key, {flag}-cert"
        raise UsageError(f"{where}: {_reason(error)}") from error


def _load_ca(context: ssl.SSLContext, files: TlsFiles, flag: str) -> None:
    try:
        context.load_verify_locations(files.ca)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"{flag}-ca: {_reason(error)}") from error


def _names(path: str) -> list[str]:
    """Give the DNS names that a certificate is for. Raises ``UsageError`` if there are none."""
    from cryptography import x509  # some MB, for those who need it

    try:
        certificate = x509.load_pem_x509_certificate(Path(path).read_bytes())
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound, x509.InvalidVersion, x509.DuplicateExtension) as error:
        raise UsageError(f"--ssl-sni {path}: {error}") from error
    names = [name.lower() for name in found.get_values_for_type(x509.DNSName)]
    if not names:
        raise UsageError(f"--ssl-sni {path}: the certificate is for no DNS name")
    return names


def _signature(paths: Iterable[str]) -> list[tuple[int, ...]]:
    """Give something that differs when files were written or replaced."""
    found: list[tuple[int, ...]] = []
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            found.append((0,))
        else:
            found.append((status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino))
    return found


def _reason(error: OSError) -> str:
    return str(error.strerror or getattr(error, "reason", "") or error)


def _refuse(message: str) -> NoReturn:
    raise UsageError(message)
