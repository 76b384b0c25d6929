"""The secret that signs cookies: where it comes from and who may read it (reference: startup-and-state.md §2).

Configuration, then ``JPY_COOKIE_SECRET``, then ``cookie_secret_file``, then a new one that is written to that file.
"""

from __future__ import annotations

import binascii
import logging
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from jupyterhub.words.errors import ConfigurationError

log = logging.getLogger("jupyterhub.secrets")

ENVIRONMENT_VARIABLE = "JPY_COOKIE_SECRET"
LENGTH = 32


def cookie_secret(configured: bytes | str, file: str, *, environ: Mapping[str, str]) -> bytes:
    """Find the cookie secret, or make one; ConfigurationError if what is there must not be used."""
    if configured:
        if isinstance(configured, str):
            configured = from_hex(configured, "JupyterHub.cookie_secret")
        return _measured(configured, "JupyterHub.cookie_secret")
    if environ.get(ENVIRONMENT_VARIABLE):
        return _measured(from_hex(environ[ENVIRONMENT_VARIABLE], ENVIRONMENT_VARIABLE), ENVIRONMENT_VARIABLE)
    path = Path(file).absolute()
    if path.exists():
        return _measured(_read(path), str(path))
    return _create(path)


def from_hex(text: str, place: str) -> bytes:
    """Decode a secret given as text. The message never shows the text: nearly right is nearly the secret."""
    try:
        return binascii.a2b_hex(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{place} must be hexadecimal, with an even number of digits, or bytes. "
            f"`openssl rand -hex {LENGTH}` makes a good one."
        ) from error


def _read(path: Path) -> bytes:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        # Others must have no right at all. The group may: the hub may share the file with whoever keeps the secrets.
        if mode & stat.S_IRWXO:
            raise _refused(
                path,
                f"others may use it (mode {mode:o})",
                f"If nobody has read it, `chmod o= {path}` is enough; if in doubt, delete it: "
                "a new one is made, and everybody logs in again.",
            )
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise _refused(path, f"it cannot be read ({error})", "Make it readable for the hub, or delete it.") from error
    try:
        if len(text) >= 2 * LENGTH:
            return binascii.a2b_hex(text)
        secret = binascii.a2b_base64(text, strict_mode=True)
        if not secret:
            raise ValueError("empty")
    except ValueError as error:
        raise _refused(path, "it does not hold a secret in hexadecimal", "Delete it: a new one is made.") from error
    log.warning(
        "The cookie secret in %s is in base64, as in old times. Write it in hexadecimal, or delete the file.",
        path,
    )
    return secret


def _refused(path: Path, why: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(f"Refusing to run JupyterHub with invalid cookie_secret_file. {path}: {why}. {remedy}")


def _create(path: Path) -> bytes:
    secret = secrets.token_bytes(LENGTH)
    log.info("Writing cookie_secret to %s", path)
    try:
        # O_EXCL: of two hubs that start at once in one directory, the slower takes what the faster has written
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read(path)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot write a new cookie secret to {path} ({error.strerror}). Make the directory writable for the hub, "
            "name another place in JupyterHub.cookie_secret_file, or give the secret in JPY_COOKIE_SECRET."
        ) from error
    with os.fdopen(descriptor, "w") as file:
        file.write(secret.hex() + "\n")
    return secret


def _measured(secret: bytes, place: str) -> bytes:
    if len(secret) != LENGTH:
        log.warning("The cookie secret of %s has %d bytes. It should have %d.", place, len(secret), LENGTH)
    return secret
