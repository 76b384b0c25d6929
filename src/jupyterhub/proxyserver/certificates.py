"""Certificates by ACME (RFC 8555): where they lie, when a new one is due, and who fetches it.

The proxy looks after one certificate for all its names. When it is due, a process of its own fetches another
(``ordering``): it needs a library of some MB, blocks, and runs for seconds every two months. Everything passes
through a directory: that process writes there what the authority wants to see and at last the certificate, and whoever
serves reads it, be it a worker or another proxy that has the directory in common.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

log = logging.getLogger(__name__)

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
HTTP_01 = "http-01"
TLS_ALPN_01 = "tls-alpn-01"
CHALLENGE_PATH = "/.well-known/acme-challenge/"

#: a certificate is renewed when less than this part of its life is left …
RENEW_AT_REST = 1 / 3
#: … or a little more, so that those that were fetched at once do not all come back at once
JITTER = 1 / 20
#: at the latest then the certificate is looked at again: the clock may be set, another proxy may have renewed it
LOOK_S = 6 * 3600.0
#: after a failure; twice as long after each further one. Authorities allow few failures in an hour.
RETRY_S = 300.0
MOST_RETRY_S = 6 * 3600.0
#: for a whole order
ORDER_TIMEOUT_S = 600.0

_TOKEN = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Acme:
    """What is wanted, from whom, and where it lies."""

    directory_url: str
    names: tuple[str, ...]
    email: str
    challenge: str
    #: of all authorities; each has a directory of its own in it, with an account of its own
    root: str

    @property
    def directory(self) -> Path:
        return Path(self.root) / re.sub(r"[^A-Za-z0-9.]+", "-", self.directory_url.partition("://")[2]).strip("-")

    @property
    def certificate(self) -> Path:
        """The key and its certificates in one file: both change in one moment."""
        return self.directory / "certificate.pem"

    @property
    def account(self) -> Path:
        return self.directory / "account.json"

    @property
    def offers(self) -> Path:
        """What the authority wants to see while it looks: files by token, or by name."""
        return self.directory / self.challenge

    def as_json(self) -> str:
        return json.dumps({name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def from_json(cls, text: str) -> Acme:
        found = json.loads(text)
        return cls(**{**found, "names": tuple(found["names"])})

    def prepare(self) -> None:
        """Make the directory, and a certificate that nobody trusts if there is none yet. Raises ``OSError``."""
        self.offers.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        if not self.certificate.exists():
            write(self.certificate, _placeholder(self.names))

    def due_at(self) -> datetime:
        """Give the moment from which on another certificate is wanted; in the past if it is already."""
        from cryptography import x509

        long_ago = datetime.fromtimestamp(0, UTC)
        try:
            certificate = x509.load_pem_x509_certificate(self.certificate.read_bytes())
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (OSError, ValueError, x509.ExtensionNotFound, x509.InvalidVersion, x509.DuplicateExtension):
            return long_ago
        is_placeholder = certificate.issuer == certificate.subject
        # Some authorities add names of their own accord.
        if is_placeholder or not set(self.names) <= set(names.get_values_for_type(x509.DNSName)):
            return long_ago
        end, life = certificate.not_valid_after_utc, certificate.not_valid_after_utc - certificate.not_valid_before_utc
        return end - life * (RENEW_AT_REST + JITTER * random.random())

    def offered(self, token: str) -> bytes | None:
        """Give what the authority wants to read at ``CHALLENGE_PATH`` and this token, if it was asked to."""
        if not _TOKEN.fullmatch(token):
            return None
        with contextlib.suppress(OSError):
            return (self.offers / token).read_bytes()
        return None


class Renewal:
    """Fetches another certificate whenever one is due."""

    def __init__(self, acme: Acme, use: Callable[[], None]) -> None:
        """``use`` is called when there is another one."""
        self._acme = acme
        self._use = use
        self._is_asked = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None

    def ask(self) -> None:
        """Do not wait for the next attempt."""
        self._is_asked.set()

    async def run(self) -> None:
        """Look after the certificate until cancelled."""
        failures = 0
        while True:
            self._is_asked.clear()  # who asks during an attempt gets another
            wait_s = await self._rest_s()
            if wait_s <= 0:
                problem = await self._fetch()
                if not problem:
                    self._use()
                    wait_s = await self._rest_s()
                    if wait_s <= 0:  # or we would ask for ever: the clock is wrong, or a name is missing
                        problem = "what was fetched is due already"
                if problem:
                    most = min(RETRY_S * 2**failures, MOST_RETRY_S)
                    failures += 1
                    wait_s = random.uniform(0.8, 1.0) * most
                    log.error("no certificate by ACME, next attempt in %d s: %s", wait_s, problem)
                else:
                    failures = 0
                    log.info("a certificate for %s was fetched", ", ".join(self._acme.names))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._is_asked.wait()

    async def _rest_s(self) -> float:
        """Give the time until the certificate is to be looked at again; 0 or less if another one is due."""
        due = await asyncio.to_thread(self._acme.due_at)
        return min((due - datetime.now(UTC)).total_seconds(), LOOK_S)

    async def interrupt(self) -> None:
        """End an attempt; the next one is not soon."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def _fetch(self) -> str:
        """Give "" or what went wrong."""
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "jupyterhub.proxyserver.ordering",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
        except OSError as error:  # no memory, no number left: nothing that the proxy should end of
            return f"no process can be started: {error.strerror}"
        try:
            async with asyncio.timeout(ORDER_TIMEOUT_S):
                said, _ = await process.communicate(self._acme.as_json().encode())
        except TimeoutError:
            return f"it took more than {ORDER_TIMEOUT_S:g} s"
        finally:
            if process.returncode is None:
                await self.interrupt()
            self._process = None
        return "" if process.returncode == 0 else said.decode(errors="replace").strip() or f"exit {process.returncode}"


def write(path: Path, data: bytes) -> None:
    """Write a file that only we may read, all at once."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def _placeholder(names: tuple[str, ...]) -> bytes:
    """Give a key and a certificate signed by itself: without any, nobody could even shake hands to validate us."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    def mark(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
        name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "not certified yet")])
        return builder.subject_name(name).issuer_name(name)

    return self_signed(names, mark)


def self_signed(names: tuple[str, ...], finish: Callable[..., object]) -> bytes:
    """Give a new key and a certificate of its own for some days; ``finish`` sets names and more in its builder."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=7))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    )
    finished = finish(builder)
    assert isinstance(finished, x509.CertificateBuilder)
    pem = serialization.Encoding.PEM
    written = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return written + finished.sign(key, hashes.SHA256()).public_bytes(pem)
