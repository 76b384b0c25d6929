"""What authenticators keep about users (``auth_state``), encrypted in the users' rows (auth-flows.md §9).

Who may read it is decided by scopes elsewhere. What is to be kept after a login is decided in ``hub/login.py``. What
cannot be decrypted any more counts as nothing kept: a lost key must not lock everybody out.
"""

from __future__ import annotations

import base64
import logging
from typing import Any

from jupyterhub.crypto import CryptKeeper, EncryptionUnavailable
from jupyterhub.words.models import Json

from .store.store import Store

log = logging.getLogger("jupyterhub.auth_state")


class AuthStates:
    def __init__(self, *, store: Store, authenticator: Any) -> None:
        self._store, self._authenticator = store, authenticator

    @property
    def enabled(self) -> bool:
        return bool(self._authenticator.enable_auth_state)

    async def load(self, user_id: int) -> dict[str, Json] | None:
        """Give what is kept about a user, decrypted; None if that is nothing, or cannot be read."""
        if not self.enabled:
            return None
        async with self._store.read() as tx:
            encrypted = await tx.users.auth_state(user_id)
        if encrypted is None:
            return None
        keeper = CryptKeeper.instance()
        try:
            state: dict[str, Json] = await keeper.decrypt(encrypted)
        except EncryptionUnavailable as error:
            log.warning("auth_state of user %d cannot be read: %s", user_id, error)
            return None
        except Exception as error:
            # cryptography's InvalidToken (imported by nobody before it is needed), or JSON that is none
            log.warning(
                "auth_state of user %d cannot be decrypted (%s): was the key removed?", user_id, type(error).__name__
            )
            return None
        if len(keeper.keys) > 1 and not _is_encrypted_with_first(keeper, encrypted):
            await self.write(user_id, await keeper.encrypt(state))
        return state

    async def save(self, user_id: int, state: dict[str, Json] | None) -> None:
        """Keep this about a user; None forgets. With auth_state off nothing is kept, and what was is removed."""
        await self.write(user_id, await self.encrypted(state))

    async def encrypted(self, state: dict[str, Json] | None) -> bytes | None:
        """Give what the row shall hold, for a caller that writes it in a transaction of its own."""
        if state is None:
            return None
        if not self.enabled:
            log.debug("auth_state is not kept: enable_auth_state is off")
            return None
        return await CryptKeeper.instance().encrypt(state)

    async def write(self, user_id: int, encrypted: bytes | None) -> None:
        async with self._store.begin() as tx:
            await tx.users.set_auth_state(user_id, encrypted)


def _is_encrypted_with_first(keeper: CryptKeeper, encrypted: bytes) -> bool:
    from cryptography.fernet import Fernet, InvalidToken  # not for hubs that keep no auth_state: it loads OpenSSL

    try:
        Fernet(base64.urlsafe_b64encode(keeper.keys[0])).decrypt(encrypted)
    except InvalidToken:
        return False
    return True
