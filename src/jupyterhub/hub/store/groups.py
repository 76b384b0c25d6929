"""Rows of groups and who is in them."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from jupyterhub.rbac.scope_set import ListFilter
from jupyterhub.words.errors import AlreadyExists
from jupyterhub.words.models import Group, Json, Window

from . import tables as t
from .hot import hot
from .inserts import add_missing
from .lists import has_part, named, page

_groups, _map = t.groups, t.user_group_map
_GROUP = select(_groups.c.id, _groups.c.name, _groups.c.properties)
_BY_NAME = hot(_GROUP.where(_groups.c.name == bindparam("group_name")))
_names = select(_map.c.user_id, _groups.c.name).join(_groups, _groups.c.id == _map.c.group_id).order_by(_groups.c.name)
_NAMES_OF_USER = hot(_names.where(_map.c.user_id == bindparam("member")))
_NAMES_OF_USERS = _names.where(_map.c.user_id.in_(bindparam("members", expanding=True)))
_OF_USER = hot(
    _GROUP.join(_map, _map.c.group_id == _groups.c.id)
    .where(_map.c.user_id == bindparam("member"))
    .order_by(_groups.c.name)
)
_members = (
    select(_map.c.group_id, t.users.c.name)
    .join(t.users, t.users.c.id == _map.c.user_id)
    .order_by(_map.c.group_id, t.users.c.id)
)
_MEMBERS_OF_ONE = hot(_members.where(_map.c.group_id == bindparam("group")))
_MEMBERS_OF_MANY = _members.where(_map.c.group_id.in_(bindparam("groups", expanding=True)))


def _group(row: Any) -> Group:
    return Group(id=row.id, name=row.name, properties=row.properties or {})


class Groups:
    """Groups within one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._db = connection

    async def find(self, name: str) -> Group | None:
        row = (await self._db.execute(_BY_NAME, {"group_name": name})).first()
        return _group(row) if row else None

    async def list(
        self, listed: ListFilter, window: Window, *, name_filter: str | None = None
    ) -> tuple[list[Group], int]:
        chosen = _GROUP.where(named(_groups.c.name, listed.everything, listed.groups)).order_by(_groups.c.id)
        if name_filter:
            chosen = chosen.where(has_part(_groups.c.name, name_filter))
        rows, total = await page(self._db, chosen, window)
        return [_group(row) for row in rows], total

    async def create(self, name: str, properties: Mapping[str, Json] | None = None) -> Group:
        try:
            async with self._db.begin_nested():
                await self._db.execute(insert(_groups).values(name=name, properties=dict(properties or {})))
        except IntegrityError as error:
            raise AlreadyExists(f"Group {name} already exists") from error
        created = await self.find(name)
        assert created is not None
        return created

    async def delete(self, group_id: int) -> None:
        await self._db.execute(delete(_groups).where(_groups.c.id == group_id))

    async def set_properties(self, group_id: int, properties: Mapping[str, Json]) -> None:
        await self._db.execute(update(_groups).where(_groups.c.id == group_id).values(properties=dict(properties)))

    # -- members

    async def members(self, group_id: int) -> builtins.list[str]:
        return (await self.members_of([group_id])).get(group_id, [])

    async def members_of(self, group_ids: Collection[int]) -> dict[int, builtins.list[str]]:
        """Give the names of the members of each of these groups, by group id; groups without members are not in it."""
        found: dict[int, builtins.list[str]] = {}
        match builtins.list(group_ids):
            case []:
                return found
            case [group_id]:
                rows = await self._db.execute(_MEMBERS_OF_ONE, {"group": group_id})
            case many:
                rows = await self._db.execute(_MEMBERS_OF_MANY, {"groups": many})
        for row in rows:
            found.setdefault(row.group_id, []).append(row.name)
        return found

    async def count_members_of(self, group_ids: Collection[int]) -> dict[int, int]:
        """Say how many members each of these groups has; groups without members are not in it."""
        counted = select(_map.c.group_id, func.count()).where(_map.c.group_id.in_(group_ids))
        return {row[0]: row[1] for row in await self._db.execute(counted.group_by(_map.c.group_id))}

    async def groups_of(self, user_id: int) -> builtins.list[str]:
        return [row.name for row in await self._db.execute(_NAMES_OF_USER, {"member": user_id})]

    async def list_of_user(self, user_id: int) -> builtins.list[Group]:
        return [_group(row) for row in await self._db.execute(_OF_USER, {"member": user_id})]

    async def groups_of_many(self, user_ids: Collection[int]) -> dict[int, builtins.list[str]]:
        """Give the names of the groups of each of these users, by user id."""
        found: dict[int, builtins.list[str]] = {}
        match builtins.list(user_ids):
            case []:
                return found
            case [user_id]:
                rows = await self._db.execute(_NAMES_OF_USER, {"member": user_id})
            case many:
                rows = await self._db.execute(_NAMES_OF_USERS, {"members": many})
        for row in rows:
            found.setdefault(row.user_id, []).append(row.name)
        return found

    async def groups_of_names(self, user_names: Collection[str]) -> dict[str, frozenset[str]]:
        """Give the names of the groups of each of these users, by user name."""
        found: dict[str, set[str]] = {}
        if user_names:
            wanted = (
                select(t.users.c.name.label("user_name"), _groups.c.name)
                .join(_map, _map.c.user_id == t.users.c.id)
                .join(_groups, _groups.c.id == _map.c.group_id)
                .where(t.users.c.name.in_(builtins.list(user_names)))
            )
            for row in await self._db.execute(wanted):
                found.setdefault(row.user_name, set()).add(row.name)
        return {name: frozenset(groups) for name, groups in found.items()}

    async def add_members(self, group_id: int, user_ids: Iterable[int]) -> None:
        """Add users to a group; those who are in it already stay."""
        rows = [{"group_id": group_id, "user_id": user_id} for user_id in sorted(set(user_ids))]
        await add_missing(self._db, _map, rows)

    async def remove_members(self, group_id: int, user_ids: Iterable[int]) -> None:
        gone = builtins.list(user_ids)
        if gone:
            await self._db.execute(delete(_map).where(_map.c.group_id == group_id, _map.c.user_id.in_(gone)))

    async def set_groups_of(self, user_id: int, names: Collection[str]) -> None:
        """Make these, and no others, the groups of a user; groups that do not exist are created."""
        wanted = set(names)
        ids = await self._ids(wanted)
        if missing := sorted(wanted - ids.keys()):
            await add_missing(self._db, _groups, [{"name": name, "properties": {}} for name in missing])
            ids |= await self._ids(missing)
        present = set((await self._db.execute(select(_map.c.group_id).where(_map.c.user_id == user_id))).scalars())
        gone = present - set(ids.values())
        if gone:
            await self._db.execute(delete(_map).where(_map.c.user_id == user_id, _map.c.group_id.in_(gone)))
        rows = [{"user_id": user_id, "group_id": group_id} for group_id in sorted(set(ids.values()) - present)]
        await add_missing(self._db, _map, rows)

    async def _ids(self, names: Collection[str]) -> dict[str, int]:
        if not names:
            return {}
        rows = await self._db.execute(select(_groups.c.name, _groups.c.id).where(_groups.c.name.in_(sorted(names))))
        return {row.name: row.id for row in rows}
