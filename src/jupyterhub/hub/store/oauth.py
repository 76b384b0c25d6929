"""Rows of OAuth clients and of authorization codes."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, insert, null, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection

from jupyterhub.rbac.expand import IssuingClient
from jupyterhub.words.models import OAuthClient, OAuthCode
from jupyterhub.words.names import ServerKey

from . import tables as t
from .hot import hot, hot_change
from .inserts import put

#: issues the hub's own tokens; it has no secret and cannot be used in flows
HUB_CLIENT = "jupyterhub"

_clients, _codes, _spent = t.oauth_clients, t.oauth_codes, t.spent_codes
_CLIENT = hot(select(_clients).where(_clients.c.identifier == bindparam("identifier")))
_CHANGE_CLIENT = hot_change(
    update(_clients).where(_clients.c.identifier == bindparam("which")),
    *("description", "secret", "redirect_uri", "allowed_scopes"),
)
_CODE = hot(select(_codes).where(_codes.c.client_id == bindparam("client"), _codes.c.code == bindparam("code")))

_server_clients = select(
    t.spawners.c.oauth_client_id, t.users.c.name.label("owner"), t.spawners.c.name, null().label("service")
).join(t.users, t.users.c.id == t.spawners.c.user_id)
_service_clients = select(t.services.c.oauth_client_id, null(), null(), t.services.c.name)
_ISSUER = hot(
    union_all(
        _server_clients.where(t.spawners.c.oauth_client_id == bindparam("identifier")),
        _service_clients.where(t.services.c.oauth_client_id == bindparam("identifier")),
    )
)
_ISSUERS = union_all(
    _server_clients.where(t.spawners.c.oauth_client_id.in_(bindparam("identifiers", expanding=True))),
    _service_clients.where(t.services.c.oauth_client_id.in_(bindparam("identifiers", expanding=True))),
)


def _hashed(client_id: str, code: str) -> str:
    # plain SHA-256: codes are random, with 178 bits
    return hashlib.sha256(f"{client_id}:{code}".encode("utf-8", "replace")).hexdigest()


def _client(row: Any) -> OAuthClient:
    return OAuthClient(
        identifier=row.identifier,
        description=row.description,
        secret=row.secret or "",
        redirect_uri=row.redirect_uri,
        allowed_scopes=row.allowed_scopes or [],
    )


class OAuth:
    """OAuth clients and codes within one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._db = connection

    # -- clients

    async def find_client(self, identifier: str) -> OAuthClient | None:
        row = (await self._db.execute(_CLIENT, {"identifier": identifier})).first()
        return _client(row) if row else None

    async def save_client(self, client: OAuthClient) -> None:
        """Add a client, or make the one of this identifier what this says; tokens issued to it stay."""
        values = {
            "description": client.description,
            "secret": client.secret,
            "redirect_uri": client.redirect_uri,
            "allowed_scopes": [*client.allowed_scopes],
        }
        changed = await self._db.execute(_CHANGE_CLIENT, {"which": client.identifier, **values})
        if changed.rowcount == 0:
            await put(self._db, _clients, "identifier", {"identifier": client.identifier, **values})

    async def delete_client(self, identifier: str) -> None:
        """Remove a client, and with it its codes and the tokens that it was issued."""
        await self._db.execute(delete(_clients).where(_clients.c.identifier == identifier))

    async def client_ids(self) -> list[str]:
        return list((await self._db.execute(select(_clients.c.identifier))).scalars())

    async def delete_unused(self) -> int:
        """Remove the clients that belong to no server, running or stopped, and to no service; give how many."""
        used_by_servers = select(t.spawners.c.oauth_client_id).where(t.spawners.c.oauth_client_id.is_not(None))
        used_by_services = select(t.services.c.oauth_client_id).where(t.services.c.oauth_client_id.is_not(None))
        unused = (
            _clients.c.identifier != HUB_CLIENT,
            _clients.c.identifier.not_in(used_by_servers),
            _clients.c.identifier.not_in(used_by_services),
        )
        # Held first and then looked at again: a DELETE that had to wait for a start which takes a client into use would
        # see the client as the start left it, but the servers as they were before.
        await self._db.execute(select(_clients.c.id).where(*unused).order_by(_clients.c.id).with_for_update())
        return (await self._db.execute(delete(_clients).where(*unused))).rowcount

    async def issuer(self, identifier: str) -> IssuingClient:
        """Tell which server or service a client belongs to; neither for the hub's own, or one that is unknown."""
        return (await self.issuers([identifier])).get(identifier, IssuingClient())

    async def issuers(self, identifiers: Collection[str]) -> dict[str, IssuingClient]:
        """Tell which server or service each of these clients belongs to."""
        wanted = [identifier for identifier in identifiers if identifier != HUB_CLIENT]
        found: dict[str, IssuingClient] = {}
        match wanted:
            case []:
                return found
            case [identifier]:
                rows = await self._db.execute(_ISSUER, {"identifier": identifier})
            case many:
                rows = await self._db.execute(_ISSUERS, {"identifiers": many})
        for row in rows:
            server = None if row.service else ServerKey(row.owner, row.name or "")
            found[row.oauth_client_id] = IssuingClient(server=server, service=row.service)
        return found

    # -- codes

    async def create_code(self, code: OAuthCode) -> None:
        await self._db.execute(
            insert(_codes).values(
                client_id=code.client_id,
                code=code.code,
                expires_at=code.expires_at,
                redirect_uri=code.redirect_uri,
                session_id=code.session_id,
                user_id=code.user_id,
                scopes=[*code.scopes],
                code_challenge=code.code_challenge,
                code_challenge_method=code.code_challenge_method,
            )
        )

    async def find_code(self, client_id: str, code: str) -> OAuthCode | None:
        """Give a code that was issued to this client, expired or not."""
        row = (await self._db.execute(_CODE, {"client": client_id, "code": code})).first()
        if row is None:
            return None
        return OAuthCode(
            client_id=row.client_id,
            code=row.code,
            expires_at=row.expires_at,
            redirect_uri=row.redirect_uri or "",
            session_id=row.session_id,
            user_id=row.user_id,
            scopes=row.scopes or [],
            code_challenge=row.code_challenge,
            code_challenge_method=row.code_challenge_method,
        )

    async def delete_code(self, client_id: str, code: str) -> bool:
        """Use a code up; False if somebody else has used it already, or it never was."""
        result = await self._db.execute(delete(_codes).where(_codes.c.client_id == client_id, _codes.c.code == code))
        return result.rowcount == 1

    async def note_spent(self, code: OAuthCode, token_id: int) -> None:
        """Remember which token a code has become, as long as the code would have been good."""
        row = {"hashed": _hashed(code.client_id, code.code), "token_id": token_id, "expires_at": code.expires_at}
        await self._db.execute(insert(_spent).values(**row))

    async def token_of_spent(self, client_id: str, code: str) -> int | None:
        """Give the row of the token that a code has become; None if it never was exchanged, or long ago."""
        chosen = select(_spent.c.token_id).where(_spent.c.hashed == _hashed(client_id, code))
        return (await self._db.execute(chosen)).scalar_one_or_none()

    async def delete_expired_codes(self, now: datetime) -> int:
        await self._db.execute(delete(_spent).where(_spent.c.expires_at < int(now.timestamp())))
        return (await self._db.execute(delete(_codes).where(_codes.c.expires_at < int(now.timestamp())))).rowcount
