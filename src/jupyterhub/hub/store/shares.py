"""Rows of shares and of share codes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from jupyterhub.rbac.grants import stored_share_scopes
from jupyterhub.words.clock import from_db, to_db
from jupyterhub.words.models import Phase, Share, ShareCode, Window
from jupyterhub.words.names import ServerKey
from jupyterhub.words.secret_hash import hash_secret, secret_matches, token_prefix

from . import tables as t
from .hot import hot
from .lists import MAX_ID, page

_shares, _codes = t.shares, t.share_codes
_owner = t.users.alias("owner")
_recipient = t.users.alias("recipient")


def _with_server(table: Any, *columns: Any) -> Select[Any]:
    """Rows of shares or codes with the server they are about, as it is called now."""
    return (
        select(
            table.c.id,
            table.c.spawner_id,
            _owner.c.name.label("owner_name"),
            t.spawners.c.name.label("server_name"),
            t.server_states.c.phase,
            table.c.scopes,
            table.c.created_at,
            *columns,
        )
        .select_from(table)
        .join(_owner, _owner.c.id == table.c.owner_id)
        .join(t.spawners, t.spawners.c.id == table.c.spawner_id)
        .outerjoin(t.server_states, t.server_states.c.spawner_id == t.spawners.c.id)
    )


_SHARE = (
    _with_server(_shares, _recipient.c.name.label("user_name"), t.groups.c.name.label("group_name"))
    .outerjoin(_recipient, _recipient.c.id == _shares.c.user_id)
    .outerjoin(t.groups, t.groups.c.id == _shares.c.group_id)
)
_CODE = _with_server(_codes, _codes.c.expires_at, _codes.c.exchange_count, _codes.c.last_exchanged_at, _codes.c.hashed)

_of_user = select(_shares.c.scopes, _owner.c.name.label("owner_name"), t.spawners.c.name.label("server_name"))
_SCOPES = (
    _of_user.select_from(_shares)
    .join(_owner, _owner.c.id == _shares.c.owner_id)
    .join(t.spawners, t.spawners.c.id == _shares.c.spawner_id)
)
_DIRECT = hot(_SCOPES.where(_shares.c.user_id == bindparam("holder")))
_ALL = hot(
    _SCOPES.where(
        or_(
            _shares.c.user_id == bindparam("holder"),
            _shares.c.group_id.in_(
                select(t.user_group_map.c.group_id).where(t.user_group_map.c.user_id == bindparam("holder"))
            ),
        )
    )
)


def _key(row: Any) -> ServerKey:
    return ServerKey(row.owner_name, row.server_name or "")


def _share(row: Any) -> Share:
    key = _key(row)
    return Share(
        id=row.id,
        server_id=row.spawner_id,
        server=key,
        is_ready=row.phase == Phase.READY,
        user=row.user_name,
        group=row.group_name,
        scopes=stored_share_scopes(row.scopes or [], key),
        created_at=from_db(row.created_at),
    )


def _code(row: Any) -> ShareCode:
    key = _key(row)
    return ShareCode(
        id=row.id,
        server_id=row.spawner_id,
        server=key,
        is_ready=row.phase == Phase.READY,
        scopes=stored_share_scopes(row.scopes or [], key),
        created_at=from_db(row.created_at),
        expires_at=from_db(row.expires_at),
        exchange_count=row.exchange_count or 0,
        last_exchanged_at=from_db(row.last_exchanged_at),
    )


class Shares:
    """Shares and share codes within one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._db = connection

    async def scopes_for_user(self, user_id: int, *, with_groups: bool) -> list[str]:
        """Give the scopes of what is shared with a user, each with the filter of its server's name of today."""
        rows = await self._db.execute(_ALL if with_groups else _DIRECT, {"holder": user_id})
        return sorted({scope for row in rows for scope in stored_share_scopes(row.scopes or [], _key(row))})

    # -- shares

    async def find(self, server_id: int, *, user_id: int | None = None, group_id: int | None = None) -> Share | None:
        """Give what of a server is shared with a user, or with a group, directly."""
        chosen = _SHARE.where(_shares.c.spawner_id == server_id, _with(user_id, group_id))
        row = (await self._db.execute(chosen)).first()
        return _share(row) if row else None

    async def hold(self, server_id: int) -> None:
        """Let nobody else change the shares of this server until the end of the transaction.

        No index keeps two shares of one server with one user apart, and extending one reads it first.
        """
        await self._db.execute(
            select(t.spawners.c.id).where(t.spawners.c.id == server_id).with_for_update(key_share=True)
        )

    async def create(
        self,
        server_id: int,
        owner_id: int,
        *,
        user_id: int | None = None,
        group_id: int | None = None,
        scopes: Sequence[str],
        now: datetime,
    ) -> Share:
        await self._db.execute(
            insert(_shares).values(
                spawner_id=server_id,
                owner_id=owner_id,
                user_id=user_id,
                group_id=group_id,
                scopes=[*scopes],
                created_at=to_db(now),
            )
        )
        created = await self.find(server_id, user_id=user_id, group_id=group_id)
        assert created is not None
        return created

    async def set_scopes(self, share_id: int, scopes: Sequence[str]) -> None:
        await self._db.execute(update(_shares).where(_shares.c.id == share_id).values(scopes=[*scopes]))

    async def delete(self, share_id: int) -> None:
        await self._db.execute(delete(_shares).where(_shares.c.id == share_id))

    async def delete_of_server(self, server_id: int) -> None:
        await self._db.execute(delete(_shares).where(_shares.c.spawner_id == server_id))

    async def list_of_owner(self, owner_id: int, window: Window) -> tuple[list[Share], int]:
        return await self._list(_shares.c.owner_id == owner_id, window)

    async def list_of_server(self, server_id: int, window: Window) -> tuple[list[Share], int]:
        return await self._list(_shares.c.spawner_id == server_id, window)

    async def list_for_user(self, user_id: int, window: Window) -> tuple[list[Share], int]:
        """What is shared with a user, also by way of groups."""
        groups = select(t.user_group_map.c.group_id).where(t.user_group_map.c.user_id == user_id)
        return await self._list(or_(_shares.c.user_id == user_id, _shares.c.group_id.in_(groups)), window)

    async def list_for_group(self, group_id: int, window: Window) -> tuple[list[Share], int]:
        return await self._list(_shares.c.group_id == group_id, window)

    async def _list(self, condition: Any, window: Window) -> tuple[list[Share], int]:
        rows, total = await page(self._db, _SHARE.where(condition).order_by(_shares.c.id), window)
        return [_share(row) for row in rows], total

    # -- codes

    async def create_code(
        self,
        server_id: int,
        owner_id: int,
        *,
        secret: str,
        scopes: Sequence[str],
        now: datetime,
        expires_at: datetime,
    ) -> ShareCode:
        result = await self._db.execute(
            insert(_codes).values(
                spawner_id=server_id,
                owner_id=owner_id,
                hashed=hash_secret(secret),
                prefix=token_prefix(secret),
                scopes=[*scopes],
                created_at=to_db(now),
                expires_at=to_db(expires_at),
                exchange_count=0,
            )
        )
        assert result.inserted_primary_key is not None
        created = await self.find_code_by_id(result.inserted_primary_key[0])
        assert created is not None
        return created

    async def find_code(self, secret: str, now: datetime) -> ShareCode | None:
        """Give the code that this secret is, if it has not expired."""
        alive = or_(_codes.c.expires_at.is_(None), _codes.c.expires_at > to_db(now))
        for row in await self._db.execute(_CODE.where(_codes.c.prefix == token_prefix(secret), alive)):
            if secret_matches(row.hashed, secret):
                return _code(row)
        return None

    async def find_code_by_id(self, code_id: int) -> ShareCode | None:
        if code_id > MAX_ID:
            return None
        row = (await self._db.execute(_CODE.where(_codes.c.id == code_id))).first()
        return _code(row) if row else None

    async def list_codes_of_owner(self, owner_id: int, window: Window, *, now: datetime) -> tuple[list[ShareCode], int]:
        return await self._list_codes(_codes.c.owner_id == owner_id, window, now)

    async def list_codes_of_server(
        self, server_id: int, window: Window, *, now: datetime
    ) -> tuple[list[ShareCode], int]:
        return await self._list_codes(_codes.c.spawner_id == server_id, window, now)

    async def _list_codes(self, condition: Any, window: Window, now: datetime) -> tuple[list[ShareCode], int]:
        """One window; codes that have expired are counted but not given (reference: surprises.md 20)."""
        rows, total = await page(self._db, _CODE.where(condition).order_by(_codes.c.id), window)
        codes = [_code(row) for row in rows]
        return [code for code in codes if code.expires_at is None or code.expires_at > now], total

    async def count_exchange(self, code_id: int, now: datetime) -> None:
        await self._db.execute(
            update(_codes)
            .where(_codes.c.id == code_id)
            .values(exchange_count=_codes.c.exchange_count + 1, last_exchanged_at=to_db(now))
        )

    async def delete_code(self, code_id: int) -> None:
        await self._db.execute(delete(_codes).where(_codes.c.id == code_id))

    async def delete_codes_of_server(self, server_id: int) -> None:
        await self._db.execute(delete(_codes).where(_codes.c.spawner_id == server_id))

    async def delete_expired(self, now: datetime) -> int:
        """Remove what has expired; give how many rows."""
        moment = to_db(now)
        removed = 0
        for table in (_shares, _codes):
            gone = delete(table).where(table.c.expires_at.is_not(None), table.c.expires_at <= moment)
            removed += (await self._db.execute(gone)).rowcount
        return removed


def _with(user_id: int | None, group_id: int | None) -> Any:
    return _shares.c.group_id == group_id if user_id is None else _shares.c.user_id == user_id
