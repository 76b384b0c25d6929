"""Rows of users."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, insert, null, or_, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from jupyterhub.rbac.scope_set import ListFilter
from jupyterhub.words.clock import from_db, to_db, utcnow
from jupyterhub.words.errors import AlreadyExists, NotFound
from jupyterhub.words.models import Json, Phase, User, Window
from jupyterhub.words.unset import UNSET, Unset

from . import tables as t
from .hot import hot, hot_change
from .lists import has_part, members_of, page, users_in

_users = t.users
_COLUMNS = (
    _users.c.id,
    _users.c.name,
    _users.c.admin,
    _users.c.created,
    _users.c.last_activity,
    _users.c.cookie_id,
    _users.c.user_info,
)
_USER = select(*_COLUMNS)
_BY_NAME = hot(_USER.where(_users.c.name == bindparam("user_name")))
_BY_ID = hot(_USER.where(_users.c.id == bindparam("user_id")))
_BY_COOKIE = hot(_USER.where(_users.c.cookie_id == bindparam("cookie")))
_TOUCH = hot_change(
    update(_users)
    .where(
        _users.c.id == bindparam("touched"),
        or_(_users.c.last_activity.is_(None), _users.c.last_activity < bindparam("seen")),
    )
    .values(last_activity=bindparam("seen"))
)

#: SQLSTATE of a transaction that was refused because it and another waited for each other
_DEADLOCK: Final = "40P01"

_SORTED: Final[Mapping[str, tuple[Any, ...]]] = {
    "id": (_users.c.id,),
    "name": (_users.c.name,),
    "last_activity": (_users.c.last_activity, _users.c.id),
}


def _order(sort: str, *, descending: bool, dialect: str) -> list[Any]:
    """Say how users are sorted. NULL is the least, as it is by itself everywhere but in PostgreSQL.

    Where it is so by itself it is not said: that would keep the index from being used.
    """
    columns = [column.desc() if descending else column for column in _SORTED[sort]]
    if sort == "last_activity" and dialect == "postgresql":
        columns[0] = columns[0].nulls_last() if descending else columns[0].nulls_first()
    return columns


def _user(row: Any) -> User:
    return User(
        id=row.id,
        name=row.name,
        admin=bool(row.admin),
        created=from_db(row.created),
        last_activity=from_db(row.last_activity),
        cookie_id=row.cookie_id,
        user_info=row.user_info,
    )


_WITH_AUTH_STATE = hot(
    select(_users.c.id).where(_users.c.id == bindparam("owner"), _users.c.encrypted_auth_state.is_not(None))
)


#: The few are found first. As a condition, it would be looked up for everybody, in the order of the list.
_admins = _users.alias("admins")
_ADMINS: Final = select(_admins.c.id).where(_admins.c.admin)


class Users:
    """Users within one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._db = connection

    # -- reading

    async def find(self, name: str) -> User | None:
        row = (await self._db.execute(_BY_NAME, {"user_name": name})).first()
        return _user(row) if row else None

    async def find_by_id(self, user_id: int) -> User | None:
        row = (await self._db.execute(_BY_ID, {"user_id": user_id})).first()
        return _user(row) if row else None

    async def find_by_cookie_id(self, cookie_id: str) -> User | None:
        row = (await self._db.execute(_BY_COOKIE, {"cookie": cookie_id})).first()
        return _user(row) if row else None

    async def find_many(self, names: Collection[str]) -> dict[str, User]:
        """Give those of these users that exist, by name."""
        found: dict[str, User] = {}
        wanted = list(names)
        for start in range(0, len(wanted), 500):
            chosen = _USER.where(_users.c.name.in_(wanted[start : start + 500]))
            found.update((row.name, _user(row)) for row in await self._db.execute(chosen))
        return found

    async def list(
        self,
        listed: ListFilter,
        *,
        state: str = "",
        name_filter: str | None = None,
        group: str | None = None,
        admin: bool | None = None,
        sort: str = "id",
        descending: bool = False,
        window: Window,
    ) -> tuple[list[User], int]:
        """Give one window of the users that ``listed`` lets through, and how many there are in all.

        ``state``: "" for all, "active" with a server that is not stopped, "ready" with one that is ready, "inactive"
        without active ones. ``name_filter``: part of the name, whatever its case; ``%`` and ``_`` stand for anything.
        ``group``: only its members. ``admin``: only those with this flag.
        ``sort``: "id", "name" or "last_activity"; who was never active comes first, or last when descending.
        """
        conditions = [users_in(listed)]
        if state:
            conditions.append(_has_server_in(state))
        if name_filter:
            conditions.append(has_part(_users.c.name, name_filter))
        if group is not None:
            conditions.append(_users.c.id.in_(members_of([group])))
        if admin is not None:
            conditions.append(_users.c.id.in_(_ADMINS) if admin else _users.c.admin.is_(False))
        order = _order(sort, descending=descending, dialect=self._db.dialect.name)
        rows, total = await page(self._db, _USER.where(*conditions).order_by(*order), window)
        return [_user(row) for row in rows], total

    async def names(self) -> Sequence[str]:
        return list((await self._db.execute(select(_users.c.name).order_by(_users.c.id))).scalars())

    async def all(self) -> Sequence[User]:
        """Give all users: for the start of a hub, which shows each to the authenticator."""
        return [_user(row) for row in await self._db.execute(_USER.order_by(_users.c.id))]

    async def count(self) -> int:
        return (await self._db.execute(select(func.count()).select_from(_users))).scalar_one()

    async def count_active_since(self, when: datetime) -> int:
        active = select(func.count()).where(_users.c.last_activity >= to_db(when))
        return (await self._db.execute(active)).scalar_one()

    # -- writing

    async def create(self, name: str, *, admin: bool = False, user_info: Mapping[str, Json] | None = None) -> User:
        """Add a user; AlreadyExists if there is one of this name."""
        try:
            async with self._db.begin_nested():
                await self._db.execute(insert(_users).values(**_new(name, admin), user_info=user_info))
        except IntegrityError as error:
            raise AlreadyExists(f"User {name} already exists") from error
        created = await self.find(name)
        assert created is not None
        return created

    async def create_many(self, names: Iterable[str], *, admin: bool = False) -> Sequence[User]:
        """Add users at once; AlreadyExists, and none is added, if there is one of these names."""
        rows = [_new(name, admin) for name in names]
        if not rows:
            return []
        try:
            async with self._db.begin_nested():
                await self._db.execute(insert(_users), rows)
        except DBAPIError as error:
            # Two that create the same users in another order wait for each other, until the database refuses one.
            if not isinstance(error, IntegrityError) and getattr(error.orig, "sqlstate", None) != _DEADLOCK:
                raise
            raise AlreadyExists("One of these users was created by somebody else meanwhile. Try again.") from error
        found = await self.find_many([row["name"] for row in rows])
        return [found[row["name"]] for row in rows]

    async def update(
        self,
        user_id: int,
        *,
        name: str | Unset = UNSET,
        admin: bool | Unset = UNSET,
        user_info: Mapping[str, Json] | Unset | None = UNSET,
    ) -> User:
        """Change a user; AlreadyExists if the new name is taken, NotFound if the user was deleted meanwhile."""
        values: dict[str, Any] = {
            column: null() if value is None else value
            for column, value in (("name", name), ("admin", admin), ("user_info", user_info))
            if value is not UNSET
        }
        if values:
            try:
                async with self._db.begin_nested():
                    await self._db.execute(update(_users).where(_users.c.id == user_id).values(**values))
            except IntegrityError as error:
                raise AlreadyExists(f"User {name} already exists") from error
        changed = await self.find_by_id(user_id)
        if changed is None:
            raise NotFound()
        return changed

    async def set_admin(self, user_ids: Collection[int], admin: bool) -> None:
        """Set or clear the flag of these users, where it is not so already."""
        if user_ids:
            other = _users.c.admin.is_not(admin) if admin else _users.c.admin
            await self._db.execute(update(_users).where(_users.c.id.in_(list(user_ids)), other).values(admin=admin))

    async def renew_cookie_id(self, user_id: int) -> None:
        """End all logins of a user: no cookie of any browser names them any more."""
        renewed = update(_users).where(_users.c.id == user_id).values(cookie_id=secrets.token_hex(16))
        await self._db.execute(renewed)

    async def delete(self, user_id: int) -> None:
        """Remove a user, and with it tokens, servers, shares, codes and memberships."""
        endpoints = select(t.spawners.c.server_id).where(t.spawners.c.user_id == user_id)
        await self._db.execute(delete(t.servers).where(t.servers.c.id.in_(endpoints)))
        await self._db.execute(delete(_users).where(_users.c.id == user_id))

    async def touch(self, user_id: int, when: datetime) -> None:
        """Note activity; an older time than the stored one changes nothing."""
        await self._db.execute(_TOUCH, {"touched": user_id, "seen": to_db(when)})

    async def touch_many(self, seen: Iterable[tuple[int, datetime]]) -> None:
        # in one order on all hubs, or two that write the same rows would wait for each other
        rows = [{"touched": user_id, "seen": to_db(when)} for user_id, when in sorted(seen)]
        if rows:
            await self._db.execute(_TOUCH, rows)

    # -- what the authenticator keeps, encrypted

    async def auth_state(self, user_id: int) -> bytes | None:
        kept = select(_users.c.encrypted_auth_state).where(_users.c.id == user_id)
        return (await self._db.execute(kept)).scalar_one_or_none()

    async def set_auth_state(self, user_id: int, encrypted: bytes | None) -> None:
        if encrypted is None and (await self._db.execute(_WITH_AUTH_STATE, {"owner": user_id})).first() is None:
            return  # most logins have none to keep, and none to take away
        value = null() if encrypted is None else encrypted
        await self._db.execute(update(_users).where(_users.c.id == user_id).values(encrypted_auth_state=value))


def _new(name: str, admin: bool) -> dict[str, Any]:
    return {"name": name, "admin": admin, "created": to_db(utcnow()), "cookie_id": secrets.token_hex(16)}


_ACTIVE: Final = [phase.value for phase in Phase if phase is not Phase.STOPPED]


def _has_server_in(state: str) -> Any:
    # All owners are found once, by the index of phases; asked for each user in turn, it takes minutes for 100,000.
    owners = (
        select(t.spawners.c.user_id)
        .join(t.server_states, t.server_states.c.spawner_id == t.spawners.c.id)
        .where(t.server_states.c.phase.in_([Phase.READY.value] if state == "ready" else _ACTIVE))
        .where(t.spawners.c.user_id.is_not(None))
    )
    return _users.c.id.not_in(owners) if state == "inactive" else _users.c.id.in_(owners)
