"""What the start of a hub asks of the database: about all users, or all holders of roles, at once.

A hub with 100,000 users must not start with 100,000 statements, so these work on sets; and they read before they
write, so that a start which changes nothing writes nothing. What is asked for when is said in ``hub/initial.py`` and
``hub/roles.py``; one user's role at a time is in ``store/roles.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import delete, exists, false, func, literal, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from . import tables as t
from .inserts import add_missing, add_missing_from
from .roles import Kind

#: values of one IN; SQLite and PostgreSQL take some 32,000
_CHUNK: Final = 5000

#: number of the advisory lock around the steps of a start; any constant that nobody else uses in this database
_START_LOCK: Final = 0x6A68_7832

_MAPS: Final[dict[Kind, Any]] = {
    "user": t.user_role_map,
    "group": t.group_role_map,
    "service": t.service_role_map,
}
_NAMED: Final[dict[Kind, Any]] = {"user": t.users, "group": t.groups, "service": t.services}

_USERS_WITHOUT_ROLES = select(t.users.c.id).where(~exists().where(t.user_role_map.c.user_id == t.users.c.id))


class AtStart:
    """The sets, within one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._db = connection

    async def one_hub_at_a_time(self) -> None:
        """Let hubs that start at once take this step one after the other: each looks first and then writes.

        SQLite has one writer anyway; on PostgreSQL the lock lives until the end of the transaction.
        """
        if self._db.dialect.name == "postgresql":
            await self._db.execute(select(func.pg_advisory_xact_lock(_START_LOCK)))

    async def ids_of(self, kind: Kind, names: Collection[str]) -> dict[str, int]:
        """Give the ids of those of these that exist, by name."""
        table = _NAMED[kind]
        found: dict[str, int] = {}
        for chunk in _chunks(sorted(names)):
            rows = await self._db.execute(select(table.c.name, table.c.id).where(table.c.name.in_(chunk)))
            found.update({row.name: row.id for row in rows})
        return found

    # -- who holds a role

    async def all_holders(self, kind: Kind, role_ids: Collection[int]) -> dict[int, dict[int, bool]]:
        """Give, by role, the ids of those who hold it directly, each with ``managed_by_auth``."""
        links, holder = _links(kind)
        found: dict[int, dict[int, bool]] = {role_id: {} for role_id in role_ids}
        for chunk in _chunks(sorted(role_ids)):
            for row in await self._db.execute(
                select(links.c.role_id, holder.label("holder_id"), links.c.managed_by_auth).where(
                    links.c.role_id.in_(chunk)
                )
            ):
                found[row.role_id][row.holder_id] = bool(row.managed_by_auth)
        return found

    async def holders_among(self, kind: Kind, role_id: int, holder_ids: Collection[int]) -> dict[int, bool]:
        """Give those of these who hold the role directly, each with ``managed_by_auth``."""
        links, holder = _links(kind)
        found: dict[int, bool] = {}
        for chunk in _chunks(sorted(holder_ids)):
            rows = await self._db.execute(
                select(holder.label("holder_id"), links.c.managed_by_auth).where(
                    links.c.role_id == role_id, holder.in_(chunk)
                )
            )
            found.update({row.holder_id: bool(row.managed_by_auth) for row in rows})
        return found

    async def is_held(self, kind: Kind, role_id: int) -> bool:
        """Say whether anybody holds the role directly."""
        links, holder = _links(kind)
        any_holder = select(holder).where(links.c.role_id == role_id).limit(1)
        return (await self._db.execute(any_holder)).first() is not None

    async def link(self, kind: Kind, role_id: int, holder_ids: Collection[int], *, managed_by_auth: bool) -> None:
        """Give a role to some who do not hold it."""
        links, holder = _links(kind)
        rows = [
            {holder.name: holder_id, "role_id": role_id, "managed_by_auth": managed_by_auth}
            for holder_id in sorted(holder_ids)
        ]
        await add_missing(self._db, links, rows)

    async def mark(self, kind: Kind, role_id: int, holder_ids: Collection[int], *, managed_by_auth: bool) -> None:
        """Say of some who hold a role whether the authenticator has given it."""
        links, holder = _links(kind)
        for chunk in _chunks(sorted(holder_ids)):
            await self._db.execute(
                update(links)
                .where(links.c.role_id == role_id, holder.in_(chunk))
                .values(managed_by_auth=managed_by_auth)
            )

    async def unlink(self, kind: Kind, role_id: int, holder_ids: Collection[int]) -> None:
        links, holder = _links(kind)
        for chunk in _chunks(sorted(holder_ids)):
            await self._db.execute(delete(links).where(links.c.role_id == role_id, holder.in_(chunk)))

    async def unlink_managed(self, kind: Kind, role_id: int, *, except_ids: Collection[int]) -> None:
        """Take a role from all to whom the authenticator has given it, but for these."""
        links, holder = _links(kind)
        rows = await self._db.execute(select(holder).where(links.c.role_id == role_id, links.c.managed_by_auth))
        await self.unlink(kind, role_id, set(rows.scalars()) - set(except_ids))

    async def link_users_without_roles(self, role_id: int) -> int:
        """Give a role to all users that have none; say to how many."""
        links = t.user_role_map
        columns = ["user_id", "role_id", "managed_by_auth"]
        missing = _USERS_WITHOUT_ROLES.add_columns(literal(role_id), false()).order_by(t.users.c.id)
        return await add_missing_from(self._db, links, columns, missing)

    # -- admins

    async def admin_ids(self, kind: Kind) -> set[int]:
        """Give the ids of all users, or services, with the admin flag."""
        table = _NAMED[kind]
        return set((await self._db.execute(select(table.c.id).where(table.c.admin == true()))).scalars())

    async def set_admin(self, kind: Kind, holder_ids: Collection[int], admin: bool) -> None:
        table = _NAMED[kind]
        for chunk in _chunks(sorted(holder_ids)):
            await self._db.execute(update(table).where(table.c.id.in_(chunk)).values(admin=admin))

    # -- blocked users

    async def strip_users(self, user_ids: Collection[int]) -> int:
        """Take admin flag, roles and groups of these users; say how many rows that were."""
        taken = 0
        for chunk in _chunks(sorted(user_ids)):
            users, roles, groups = t.users, t.user_role_map, t.user_group_map
            flagged = update(users).where(users.c.id.in_(chunk), users.c.admin == true()).values(admin=False)
            for statement in (
                flagged,
                delete(roles).where(roles.c.user_id.in_(chunk)),
                delete(groups).where(groups.c.user_id.in_(chunk)),
            ):
                taken += (await self._db.execute(statement)).rowcount
        return taken


def _links(kind: Kind) -> tuple[Any, Any]:
    """The table of who holds what, and its column of holders."""
    links = _MAPS[kind]
    return links, links.c[f"{kind}_id"]


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]
