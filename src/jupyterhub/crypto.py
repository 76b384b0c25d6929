"""Encryption of what authenticators keep about users (``auth_state``), with keys from the configuration.

The form is the original's: JSON, encrypted with Fernet, so that databases can be exchanged. Who may read auth state is
decided elsewhere. The ``cryptography`` package is imported at the first use: hubs without auth state never pay for it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from traitlets import Any as AnyTrait
from traitlets import Integer, List, default, observe, validate
from traitlets.config import SingletonConfigurable

KEY_ENV = "JUPYTERHUB_CRYPT_KEY"
KEY_BYTES = 32
_HOW_TO_GET_ONE = f"Make a key with `openssl rand -hex 32` and set it as the environment variable {KEY_ENV}."


class EncryptionUnavailable(Exception):
    """Nothing can be encrypted or decrypted here; the message says why."""


class CryptographyUnavailable(EncryptionUnavailable):
    """The ``cryptography`` package is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "The cryptography package is needed to keep auth_state. Install it with `pip install cryptography`."
        )


class NoEncryptionKeys(EncryptionUnavailable):
    """No key is configured."""

    def __init__(self) -> None:
        super().__init__(f"No encryption key is configured for auth_state. {_HOW_TO_GET_ONE}")


def __getattr__(name: str) -> Any:
    # `from jupyterhub.crypto import InvalidToken` works without importing cryptography for everybody else
    if name == "InvalidToken":
        try:
            from cryptography.fernet import InvalidToken
        except ImportError:
            raise CryptographyUnavailable from None
        return InvalidToken
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def read_key(key: str | bytes) -> bytes:
    """Give the 32 raw bytes of a key written raw, as 64 hex digits or in 44 characters of base64; ValueError."""
    raw = key.encode("ascii", "replace") if isinstance(key, str) else key
    if isinstance(key, bytes) and len(raw) == KEY_BYTES:
        return raw
    if len(raw) == 2 * KEY_BYTES:
        try:
            return binascii.unhexlify(raw)
        except binascii.Error:
            pass
    if len(raw) == 44:
        try:
            decoded = base64.urlsafe_b64decode(raw.replace(b"+", b"-").replace(b"/", b"_"))
        except binascii.Error:
            decoded = b""
        if len(decoded) == KEY_BYTES:
            return decoded
    # never show the key: it may be right but for a line break
    raise ValueError(
        f"An encryption key must be {KEY_BYTES} bytes, {2 * KEY_BYTES} hex digits or 44 characters of base64; "
        f"one of {len(raw)} characters was given. {_HOW_TO_GET_ONE}"
    )


class CryptKeeper(SingletonConfigurable):
    """Keeps the keys. ``CryptKeeper.instance()`` gives the one of this process."""

    n_threads = Integer(
        max(os.cpu_count() or 1, 1), help="How many threads encrypt and decrypt, so that the hub need not wait."
    ).tag(config=True)
    keys: Any = List(
        help=f"""Keys for auth_state: the first encrypts, all decrypt. Put a new key first and keep the old ones until
        everybody has logged in again.

        Each is 32 bytes, 64 hex digits or 44 characters of base64. Default: the ``;``-separated keys in the environment
        variable {KEY_ENV}, which keeps them out of the configuration file."""
    ).tag(config=True)
    executor = AnyTrait()
    fernet = AnyTrait()

    @default("keys")
    def _keys_from_environment(self) -> list[bytes]:
        return [read_key(key) for key in os.environ.get(KEY_ENV, "").split(";") if key.strip()]

    @validate("keys")
    def _read_keys(self, proposal: Any) -> list[bytes]:
        return [read_key(key) for key in proposal.value]

    @observe("keys")
    def _keys_changed(self, change: Any) -> None:
        self.fernet = self._make_fernet()

    @default("executor")
    def _make_executor(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.n_threads, thread_name_prefix="auth_state")

    @default("fernet")
    def _make_fernet(self) -> Any:
        if not self.keys:
            return None
        try:
            from cryptography.fernet import Fernet, MultiFernet
        except ImportError:
            return None
        fernets = [Fernet(base64.urlsafe_b64encode(key)) for key in self.keys]
        return fernets[0] if len(fernets) == 1 else MultiFernet(fernets)

    def check_available(self) -> None:
        """Raise EncryptionUnavailable, with what to do, if nothing can be encrypted."""
        if not self.keys:
            raise NoEncryptionKeys
        if self.fernet is None:
            raise CryptographyUnavailable

    def encrypt(self, data: Any) -> asyncio.Future[bytes]:
        """Encrypt something that JSON can hold; await the result. TypeError if JSON cannot hold it."""
        self.check_available()
        return asyncio.get_running_loop().run_in_executor(self.executor, self._encrypt, data)

    def decrypt(self, encrypted: bytes) -> asyncio.Future[Any]:
        """Give back what was encrypted; await the result. ``InvalidToken`` if none of the keys fits."""
        self.check_available()
        return asyncio.get_running_loop().run_in_executor(self.executor, self._decrypt, encrypted)

    def _encrypt(self, data: Any) -> bytes:
        return bytes(self.fernet.encrypt(json.dumps(data).encode()))

    def _decrypt(self, encrypted: bytes) -> Any:
        return json.loads(self.fernet.decrypt(encrypted))


async def encrypt(data: Any) -> bytes:
    """Encrypt with the keys of this process. EncryptionUnavailable without keys."""
    return await CryptKeeper.instance().encrypt(data)


async def decrypt(data: bytes) -> Any:
    """Decrypt with the keys of this process. EncryptionUnavailable without keys, ``InvalidToken`` if none fits."""
    return await CryptKeeper.instance().decrypt(data)
