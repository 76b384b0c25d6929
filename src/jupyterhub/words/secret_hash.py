"""Hashes of tokens, share codes and client secrets, as every JupyterHub stores them (reference: db-schema.md).

``sha512:ROUNDS:SALT:HEXDIGEST``; SALT is 16 hex characters; the digest runs over the bytes of the SALT text followed by
the secret's bytes ROUNDS times. Rows are found by ``prefix``, the first four characters of the secret.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

PREFIX_LENGTH = 4
MIN_LENGTH, MAX_LENGTH = 8, 64
#: generated secrets have 128 bits of entropy, so a slow hash adds nothing
GENERATED_ROUNDS = 1
#: secrets that people choose
CHOSEN_ROUNDS = 16384

#: slow hash → quick hash of the secret that matched it
_matched: dict[str, bytes] = {}
_MATCHED_KEPT = 1024
_KEY = secrets.token_bytes(32)


def new_token() -> str:
    """Give a new random token of 32 hex characters."""
    return secrets.token_hex(16)


def token_prefix(token: str) -> str:
    return token[:PREFIX_LENGTH]


def hash_secret(secret: str, *, rounds: int = GENERATED_ROUNDS) -> str:
    salt = secrets.token_hex(8)
    return f"sha512:{rounds}:{salt}:{_digest(secret, rounds, salt)}"


def secret_matches(hashed: str, secret: str) -> bool:
    """Compare in constant time. Secrets longer than 64 characters never match, and are not hashed at all."""
    if len(secret) > MAX_LENGTH:
        return False
    algorithm, _, rest = hashed.partition(":")
    rounds, _, rest = rest.partition(":")
    salt, _, digest = rest.partition(":")
    if algorithm != "sha512" or not rounds.isdigit() or not digest:
        return False
    if int(rounds) <= GENERATED_ROUNDS:
        return hmac.compare_digest(_digest(secret, int(rounds), salt), digest)
    # Milliseconds, at each request of a service whose token is in the configuration. What has matched once is known by
    # a quick hash under a key that nobody outside this process has; a wrong secret costs as much as ever.
    quick = hashlib.blake2b(secret.encode(), key=_KEY).digest()
    if hmac.compare_digest(_matched.get(hashed, b""), quick):
        return True
    if not hmac.compare_digest(_digest(secret, int(rounds), salt), digest):
        return False
    if len(_matched) >= _MATCHED_KEPT:
        _matched.clear()
    _matched[hashed] = quick
    return True


def _digest(secret: str, rounds: int, salt: str) -> str:
    state = hashlib.sha512(salt.encode())
    data = secret.encode()
    for _ in range(rounds):
        state.update(data)
    return state.hexdigest()
