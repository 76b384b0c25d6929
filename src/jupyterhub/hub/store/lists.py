"""What all listing statements share: the filter that comes from scopes as SQL, and windows with their total."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, false, func, or_, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from jupyterhub.rbac.scope_set import ListFilter
from jupyterhub.words.models import Window

from . import tables as t

#: the largest number that a column of ids holds; people send larger ones, and some drivers refuse to look for them
MAX_ID: Final = 2**31 - 1


def users_in(listed: ListFilter) -> ColumnElement[bool]:
    """The users that a filter lets through: those it names, and members of the groups it names."""
    if listed.everything:
        return true()
    chosen: list[ColumnElement[bool]] = []
    if listed.users:
        chosen.append(t.users.c.name.in_(sorted(listed.users)))
    if listed.groups:
        chosen.append(t.users.c.id.in_(members_of(sorted(listed.groups))))
    return or_(*chosen) if chosen else false()


def members_of(groups: Sequence[str]) -> Select[tuple[int]]:
    """The ids of the users in any of these groups."""
    return (
        select(t.user_group_map.c.user_id)
        .join(t.groups, t.groups.c.id == t.user_group_map.c.group_id)
        .where(t.groups.c.name.in_(groups))
    )


def named(column: ColumnElement[Any], everything: bool, names: frozenset[str]) -> ColumnElement[bool]:
    """The rows whose name a filter lists."""
    if everything:
        return true()
    return column.in_(sorted(names)) if names else false()


def has_part(column: ColumnElement[Any], part: str) -> ColumnElement[bool]:
    """The rows whose name has this in it, whatever its case; ``%`` and ``_`` stand for anything."""
    # only the backslash is no wildcard: PostgreSQL would take it for the escape of the next character
    escaped = part.replace("\\", "\\\\")
    return column.ilike(f"%{escaped}%", escape="\\")


async def page(db: AsyncConnection, statement: Select[Any], window: Window) -> tuple[list[Any], int]:
    """Run a listing statement for one window; give its rows and how many there are without the window."""
    rows = list(await db.execute(statement.limit(window.limit).offset(window.offset)))
    if len(rows) < window.limit and (rows or not window.offset):
        return rows, window.offset + len(rows)
    counted = select(func.count()).select_from(statement.order_by(None).subquery())
    return rows, (await db.execute(counted)).scalar_one()
