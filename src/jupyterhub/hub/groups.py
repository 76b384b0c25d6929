"""Groups: the rules of making, reading and changing them and their members (reference: rest-api.md §7).

Groups that an authenticator manages are set at login (``hub/login.py``), those of the configuration at start
(``hub/initial.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jupyterhub.hub.plugin_calls import call
from jupyterhub.hub.store.store import Store, Transaction
from jupyterhub.rbac.scope_set import ListFilter
from jupyterhub.words.errors import AlreadyExists, Denied, Invalid, NotFound
from jupyterhub.words.models import Group, Json, Window
from jupyterhub.words.names import MAX_NAME_LENGTH


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDetails:
    """A group with its members' and its roles' names."""

    group: Group
    members: Sequence[str] = ()
    #: how many they are, if they were counted and not named
    member_count: int | None = None
    roles: Sequence[str] = ()


class Groups:
    def __init__(self, *, store: Store, authenticator: Any) -> None:
        self._store, self._authenticator = store, authenticator

    # -- reading

    async def details(self, name: str) -> GroupDetails:
        async with self._store.read() as tx:
            return await _details(tx, await _found(tx, name))

    async def page(
        self, listed: ListFilter, *, name_filter: str | None = None, names_members: bool = True, window: Window
    ) -> tuple[list[GroupDetails], int]:
        """Give one page of the groups that ``listed`` lets through, and how many there are in all.

        ``names_members`` False: their members are only counted.
        """
        if listed.kinds - {"group"}:
            raise Denied("Groups can be listed with filters by group only.")
        async with self._store.read() as tx:
            groups, total = await tx.groups.list(listed, window, name_filter=name_filter)
            return await _with_parts(tx, groups, names_members=names_members), total

    # -- making and deleting

    async def create(self, name: str, *, members: Sequence[str] = ()) -> GroupDetails:
        [created] = await self.create_many([name], members=members)
        return created

    async def create_many(self, names: Sequence[str], *, members: Sequence[str] = ()) -> list[GroupDetails]:
        """Make these groups, all with the same members; all or none of them."""
        if not names:
            raise Invalid("Say which groups to create: 'groups' is empty.")
        for name in names:
            if not name or len(name) > MAX_NAME_LENGTH:
                raise Invalid(f"Invalid group name {name[:MAX_NAME_LENGTH]!r}: it must have 1 to 255 characters.")
        normal = await self._normalised(members)
        async with self._store.begin() as tx:
            ids = await _ids_of(tx, normal)
            created = []
            for name in dict.fromkeys(names):
                if await tx.groups.find(name):
                    raise AlreadyExists(f"Group {name} already exists")
                group = await tx.groups.create(name)
                await tx.groups.add_members(group.id, ids)
                created.append(group)
            return await _with_parts(tx, created)

    async def delete(self, name: str) -> None:
        async with self._store.begin() as tx:
            await tx.groups.delete((await _found(tx, name)).id)

    # -- changing

    async def add_members(self, name: str, members: Sequence[str]) -> GroupDetails:
        """Add users; those who are in the group already stay. Invalid, and nobody added, if one is unknown."""
        normal = await self._normalised(members)
        async with self._store.begin() as tx:
            group = await _found(tx, name)
            await tx.groups.add_members(group.id, await _ids_of(tx, normal))
            return await _details(tx, group)

    async def remove_members(self, name: str, members: Sequence[str]) -> GroupDetails:
        """Take users out; those who are not in the group are let pass."""
        normal = await self._normalised(members)
        async with self._store.begin() as tx:
            group = await _found(tx, name)
            await tx.groups.remove_members(group.id, await _ids_of(tx, normal))
            return await _details(tx, group)

    async def set_properties(self, name: str, properties: Mapping[str, Json]) -> GroupDetails:
        """Replace all properties of a group."""
        async with self._store.begin() as tx:
            await tx.groups.set_properties((await _found(tx, name)).id, dict(properties))
            return await _details(tx, await _found(tx, name))

    async def _normalised(self, names: Sequence[str]) -> list[str]:
        normalise = self._authenticator.normalize_username
        normal = [str(await call("Authenticator.normalize_username", normalise, name)) for name in names]
        return list(dict.fromkeys(normal))


async def _found(tx: Transaction, name: str) -> Group:
    group = await tx.groups.find(name)
    if group is None:
        raise NotFound()
    return group


async def _details(tx: Transaction, group: Group) -> GroupDetails:
    [details] = await _with_parts(tx, [group])
    return details


async def _with_parts(tx: Transaction, groups: Sequence[Group], *, names_members: bool = True) -> list[GroupDetails]:
    if not groups:
        return []
    ids = [group.id for group in groups]
    members = await tx.groups.members_of(ids) if names_members else {}
    counts = {} if names_members else await tx.groups.count_members_of(ids)
    roles = await tx.roles.names_of_many("group", ids)
    return [
        GroupDetails(
            group=group,
            members=members.get(group.id, ()),
            member_count=None if names_members else counts.get(group.id, 0),
            roles=roles.get(group.id, ()),
        )
        for group in groups
    ]


async def _ids_of(tx: Transaction, names: Sequence[str]) -> list[int]:
    if not names:
        return []
    found = await tx.users.find_many(names)
    unknown = [name for name in names if name not in found]
    if unknown:
        raise Invalid(f"No such user{'s' if len(unknown) > 1 else ''}: {', '.join(map(repr, unknown))}")
    return [found[name].id for name in names]
