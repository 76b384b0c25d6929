"""Rows of roles and who holds them: users, groups and services."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal

from sqlalchemy import bindparam, delete, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection

from jupyterhub.words.errors import NotFound
from jupyterhub.words.models import Role

from . import tables as t
from .hot import hot
from .inserts import add_missing, put

Kind = Literal["user", "group", "service"]

_roles = t.roles
_MAPS: dict[Kind, Any] = {"user": t.user_role_map, "group": t.group_role_map, "service": t.service_role_map}
_HOLDERS = {"user": t.users, "group": t.groups, "service": t.services}
_ROLE = select(_roles.c.id, _roles.c.name, _roles.c.description, _roles.c.scopes, _roles.c.managed_by_auth)
_BY_NAME = hot(_ROLE.where(_roles.c.name == bindparam("role_name")))

_own = select(_roles.c.scopes).join(t.user_role_map, t.user_role_map.c.role_id == _roles.c.id)
_by_group = (
    select(_roles.c.scopes)
    .join(t.group_role_map, t.group_role_map.c.role_id == _roles.c.id)
    .join(t.user_group_map, t.user_group_map.c.group_id == t.group_role_map.c.group_id)
)
_SCOPES_OF_USER = hot(
    union_all(
        _own.where(t.user_role_map.c.user_id == bindparam("holder")),
        _by_group.where(t.user_group_map.c.user_id == bindparam("holder")),
    )
)


def _links(kind: Kind) -> tuple[Any, Any]:
    """The table of who holds what, and its column of holders."""
    links = _MAPS[kind]
    return links, links.c[f"{kind}_id"]


def _held(kind: Kind, *columns: Any) -> Any:
    links, holder = _links(kind)
    return select(holder.label("holder_id"), *columns).join(_roles, _roles.c.id == links.c.role_id)


_NAMES_OF_ONE = {
    kind: hot(_held(kind, _roles.c.name).where(_links(kind)[1] == bindparam("holder")).order_by(_roles.c.id))
    for kind in _MAPS
}
_NAMES_OF_MANY = {
    kind: _held(kind, _roles.c.name)
    .where(_links(kind)[1].in_(bindparam("holders", expanding=True)))
    .order_by(_roles.c.id)
    for kind in _MAPS
}
_SCOPES_OF_ONE = {
    kind: hot(_held(kind, _roles.c.scopes).where(_links(kind)[1] == bindparam("holder"))) for kind in _MAPS
}


def _role(row: Any) -> Role:
    return Role(
        id=row.id,
        name=row.name,
        description=row.description,
        scopes=row.scopes or [],
        managed_by_auth=bool(row.managed_by_auth),
    )


def _flat(lists: Iterable[Sequence[str] | None]) -> list[str]:
    return sorted({scope for scopes in lists for scope in scopes or ()})


class Roles:
    """Roles within one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._db = connection

    async def find(self, name: str) -> Role | None:
        row = (await self._db.execute(_BY_NAME, {"role_name": name})).first()
        return _role(row) if row else None

    async def list(self) -> builtins.list[Role]:
        return [_role(row) for row in await self._db.execute(_ROLE.order_by(_roles.c.id))]

    async def upsert(
        self, name: str, *, description: str | None, scopes: Sequence[str], managed_by_auth: bool = False
    ) -> Role:
        """Make the role what this says, whether it exists or not."""
        found = await self.find(name)
        values = {"description": description, "scopes": [*scopes], "managed_by_auth": managed_by_auth}
        if found is None:
            await put(self._db, _roles, "name", {"name": name, **values})
        elif (found.description, [*found.scopes], found.managed_by_auth) != tuple(values.values()):
            await self._db.execute(update(_roles).where(_roles.c.id == found.id).values(**values))
        else:
            return found
        role = await self.find(name)
        assert role is not None
        return role

    async def delete(self, role_id: int) -> None:
        await self._db.execute(delete(_roles).where(_roles.c.id == role_id))

    # -- holders

    async def names_of(self, kind: Kind, holder_id: int) -> builtins.list[str]:
        """Give the names of the roles that somebody holds directly, not by way of a group."""
        return (await self.names_of_many(kind, [holder_id])).get(holder_id, [])

    async def names_of_many(self, kind: Kind, holder_ids: Collection[int]) -> dict[int, builtins.list[str]]:
        found: dict[int, builtins.list[str]] = {}
        match builtins.list(holder_ids):
            case []:
                return found
            case [holder_id]:
                rows = await self._db.execute(_NAMES_OF_ONE[kind], {"holder": holder_id})
            case many:
                rows = await self._db.execute(_NAMES_OF_MANY[kind], {"holders": many})
        for row in rows:
            found.setdefault(row.holder_id, []).append(row.name)
        return found

    async def grant(self, kind: Kind, holder_id: int, role_name: str, *, managed_by_auth: bool = False) -> None:
        """Give a role; NotFound if there is no such role. Who has it keeps it."""
        await self.grant_many(kind, [holder_id], role_name, managed_by_auth=managed_by_auth)

    async def grant_many(
        self, kind: Kind, holder_ids: Iterable[int], role_name: str, *, managed_by_auth: bool = False
    ) -> None:
        role = await self._existing(role_name)
        links, holder = _links(kind)
        wanted = sorted(set(holder_ids))
        held = select(holder).where(links.c.role_id == role.id)
        if len(wanted) <= 500:  # else nearly everybody is asked about, and all holders are as good
            held = held.where(holder.in_(wanted))
        present = set((await self._db.execute(held)).scalars())
        rows = [
            {holder.name: holder_id, "role_id": role.id, "managed_by_auth": managed_by_auth}
            for holder_id in wanted
            if holder_id not in present
        ]
        await add_missing(self._db, links, rows)

    async def strip(self, kind: Kind, holder_id: int, role_name: str) -> None:
        """Take a role; nothing happens if it is not held or does not exist."""
        await self.strip_many(kind, [holder_id], role_name)

    async def strip_many(self, kind: Kind, holder_ids: Iterable[int], role_name: str) -> None:
        role = await self.find(role_name)
        gone = builtins.list(holder_ids)
        if role is not None and gone:
            links, holder = _links(kind)
            await self._db.execute(delete(links).where(links.c.role_id == role.id, holder.in_(gone)))

    async def strip_all(self, kind: Kind, holder_ids: Iterable[int]) -> None:
        """Take all roles of these holders."""
        gone = builtins.list(holder_ids)
        if gone:
            links, holder = _links(kind)
            await self._db.execute(delete(links).where(holder.in_(gone)))

    async def holders(self, role_name: str, kind: Kind) -> builtins.list[tuple[int, str, bool]]:
        """Give id, name and ``managed_by_auth`` of all direct holders of a role."""
        links, holder = _links(kind)
        who = _HOLDERS[kind]
        wanted = (
            select(who.c.id, who.c.name, links.c.managed_by_auth)
            .join(links, holder == who.c.id)
            .join(_roles, _roles.c.id == links.c.role_id)
            .where(_roles.c.name == role_name)
        )
        return [(row.id, row.name, bool(row.managed_by_auth)) for row in await self._db.execute(wanted)]

    async def set_managed(self, kind: Kind, holder_id: int, role_name: str, managed_by_auth: bool) -> None:
        role = await self._existing(role_name)
        links, holder = _links(kind)
        await self._db.execute(
            update(links).where(links.c.role_id == role.id, holder == holder_id).values(managed_by_auth=managed_by_auth)
        )

    # -- scopes

    async def scopes_of_user(self, user_id: int) -> builtins.list[str]:
        """Give the raw scopes of a user's own roles and of the roles of the user's groups."""
        return _flat((await self._db.execute(_SCOPES_OF_USER, {"holder": user_id})).scalars())

    async def scopes_of_service(self, service_id: int) -> builtins.list[str]:
        return await self._scopes_of("service", service_id)

    async def scopes_of_group(self, group_id: int) -> builtins.list[str]:
        return await self._scopes_of("group", group_id)

    async def _scopes_of(self, kind: Kind, holder_id: int) -> builtins.list[str]:
        return _flat(row.scopes for row in await self._db.execute(_SCOPES_OF_ONE[kind], {"holder": holder_id}))

    async def _existing(self, name: str) -> Role:
        role = await self.find(name)
        if role is None:
            raise NotFound(f"No such role: {name}")
        return role
