"""A process that fetches one certificate by ACME and ends: see ``certificates``, which starts it.

It reads what is wanted from its input, and says on its output what went wrong. ``acme`` is certbot's library; it no
longer knows TLS-ALPN-01 (RFC 8737), so that is here.
"""

from __future__ import annotations

import datetime
import fcntl
import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests
from acme import challenges, crypto_util, errors, messages
from acme.client import ClientNetwork, ClientV2
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from josepy.jwa import ES256
from josepy.jwk import JWK, JWKEC

from jupyterhub.words.version import __version__

from .certificates import HTTP_01, TLS_ALPN_01, Acme, self_signed, write

#: for the authority to look at everything and to sign
PATIENCE = datetime.timedelta(minutes=5)
#: refused ones, before that is a failure
MOST_NONCES = 4
#: id-pe-acmeIdentifier (RFC 8737 §6.1)
_ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")


@challenges.ChallengeResponse.register
class TlsAlpnResponse(challenges.KeyAuthorizationChallengeResponse):
    typ = TLS_ALPN_01


@challenges.Challenge.register
class TlsAlpnChallenge(challenges.KeyAuthorizationChallenge):
    """RFC 8737: a certificate for the name, with a digest in it, shown to who asks for the protocol acme-tls/1."""

    response_cls = TlsAlpnResponse
    typ = TLS_ALPN_01

    def validation(self, account_key: JWK, **_: Any) -> bytes:
        return hashlib.sha256(self.key_authorization(account_key).encode()).digest()


class _Network(ClientNetwork):
    """Tries more often when a nonce is refused, as busy authorities do: the library gives up at the second time."""

    def post(self, *arguments: Any, **named: Any) -> requests.Response:
        for _ in range(MOST_NONCES):
            try:
                return super().post(*arguments, **named)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return super().post(*arguments, **named)


class Failed(Exception):
    """No certificate; the message says why."""


def main() -> int:
    wanted = Acme.from_json(sys.stdin.read())
    try:
        with (wanted.directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Another proxy with the same directory may have been here while we waited.
            if wanted.due_at() <= datetime.datetime.now(datetime.UTC):
                fetch(wanted)
    except (Failed, errors.Error, messages.Error, OSError, ValueError) as error:
        print(" ".join(_described(error).split()))  # noqa: T201
        return 1
    return 0


def fetch(wanted: Acme) -> None:
    """Order a certificate, show what is asked for, and write what comes. One process at a time."""
    _clear(wanted.offers)
    try:
        client = _client(wanted)
        try:
            issued = _issued(client, wanted)
        except messages.Error as error:
            if error.code != "accountDoesNotExist":
                raise
            wanted.account.unlink()  # the authority has forgotten us
            issued = _issued(_client(wanted), wanted)
        write(wanted.certificate, issued)
    finally:
        _clear(wanted.offers)


def _issued(client: ClientV2, wanted: Acme) -> bytes:
    """Give key and certificates."""
    key = ec.generate_private_key(ec.SECP256R1())
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    order = client.new_order(crypto_util.make_csr(key_pem, list(wanted.names)))
    for authorization in order.authorizations:
        if authorization.body.status == messages.STATUS_PENDING:
            _prove(client, wanted, authorization.body.identifier.value, authorization.body.challenges)
    order = client.poll_and_finalize(order, datetime.datetime.now() + PATIENCE)
    return key_pem + order.fullchain_pem.encode()


def _prove(client: ClientV2, wanted: Acme, name: str, offered: Sequence[messages.ChallengeBody]) -> None:
    """Show that the name is ours."""
    if name not in wanted.names:  # it names a file
        raise Failed(f"the authority asks about {name!r}, which was not ordered")
    for challenge in offered:
        if challenge.chall.typ == wanted.challenge:
            response, validation = challenge.response_and_validation(client.net.key)
            if wanted.challenge == HTTP_01:
                write(wanted.offers / challenge.chall.encode("token"), validation.encode())
            else:
                write(wanted.offers / f"{name}.pem", _challenge_certificate(name, validation))
            client.answer_challenge(challenge, response)
            return
    known = ", ".join(challenge.chall.to_json().get("type", "?") for challenge in offered)
    raise Failed(f"the authority does not offer {wanted.challenge} for {name}, but {known}")


def _challenge_certificate(name: str, digest: bytes) -> bytes:
    def mark(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
        subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "ACME challenge")])
        octets = x509.UnrecognizedExtension(_ACME_IDENTIFIER, b"\x04\x20" + digest)
        return builder.subject_name(subject).issuer_name(subject).add_extension(octets, critical=True)

    return self_signed((name,), mark)


def _client(wanted: Acme) -> ClientV2:
    """Give a client of our account, which is made if there is none: whoever started us has accepted the terms."""
    known: dict[str, Any] | None = None
    if wanted.account.exists():
        known = json.loads(wanted.account.read_text())
    key = JWKEC.from_json(known["key"]) if known else JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
    net = _Network(key, alg=ES256, user_agent=f"jupyterhub-proxy/{__version__}")
    client = ClientV2(ClientV2.get_directory(wanted.directory_url, net), net)
    if known:
        net.account = messages.RegistrationResource(uri=known["uri"], body=messages.Registration())
        return client
    about_us: dict[str, Any] = {"email": wanted.email} if wanted.email else {}
    account = client.new_account(messages.NewRegistration.from_data(terms_of_service_agreed=True, **about_us))
    # The private key too, which to_json leaves in.
    write(wanted.account, json.dumps({"uri": account.uri, "key": key.to_json()}).encode())
    return client


def _clear(offers: Path) -> None:
    shutil.rmtree(offers, ignore_errors=True)
    offers.mkdir(mode=0o700)


def _described(error: Exception) -> str:
    if isinstance(error, errors.ValidationError):
        found = [
            f"{failed.body.identifier.value}: {challenge.error.detail or challenge.error}"
            for failed in error.failed_authzrs
            for challenge in failed.body.challenges
            if challenge.error is not None
        ]
        return "; ".join(found)
    if isinstance(error, errors.TimeoutError):
        return "the authority does not come to an end"
    return str(error) or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
