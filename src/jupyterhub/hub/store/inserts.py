"""Inserting rows that may be there already, or that somebody else inserts at this moment.

Looking first and inserting then is right with one writer. Where several hubs write at once, both may look before either
has inserted, and the second one fails; these statements leave that to the database (style.md §6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Select, Table, insert
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from .hot import hot_change


async def add_missing(db: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert these rows, but for those whose key is taken.

    ``rows`` are all in the same order wherever they come from, or two transactions could wait for each other.
    """
    if not rows:
        return
    statement: Any
    match db.dialect.name:
        case "sqlite":
            statement = sqlite.insert(table).on_conflict_do_nothing()
        case "postgresql":
            statement = postgresql.insert(table).on_conflict_do_nothing()
        case "mysql" | "mariadb":
            # Setting a column to itself: INSERT IGNORE would hide rows that refer to nothing, too.
            key = next(iter(table.primary_key)).name
            statement = mysql.insert(table).on_duplicate_key_update({key: table.c[key]})
        case _:
            statement = insert(table)
    await db.execute(statement, list(rows))


async def add_missing_from(db: AsyncConnection, table: Table, columns: Sequence[str], rows: Select[Any]) -> int:
    """Insert what a statement selects, but for rows whose key is taken; give how many. ``rows`` have an order."""
    statement: Any
    match db.dialect.name:
        case "sqlite":
            statement = sqlite.insert(table).from_select(columns, rows).on_conflict_do_nothing()
        case "postgresql":
            statement = postgresql.insert(table).from_select(columns, rows).on_conflict_do_nothing()
        case _:
            # here a selecting INSERT locks what it reads, so that nobody comes between
            statement = insert(table).from_select(columns, rows)
    return (await db.execute(statement)).rowcount


async def put(db: AsyncConnection, table: Table, key: str, row: Mapping[str, Any]) -> None:
    """Insert a row, or make the one with the same ``key`` (a unique column) what ``row`` says."""
    others = tuple(column for column in row if column != key)
    if not others:
        await add_missing(db, table, [row])
    else:
        await db.execute(_putting(db.dialect.name, table, key, others), dict(row))


@cache
def _putting(dialect: str, table: Table, key: str, others: tuple[str, ...]) -> Any:
    statement: Any
    match dialect:
        case "sqlite":
            statement = sqlite.insert(table)
            new = {column: statement.excluded[column] for column in others}
            return hot_change(statement.on_conflict_do_update(index_elements=[key], set_=new), key, *others)
        case "postgresql":
            statement = postgresql.insert(table)
            new = {column: statement.excluded[column] for column in others}
            return statement.on_conflict_do_update(index_elements=[key], set_=new)
        case "mysql" | "mariadb":
            statement = mysql.insert(table)
            return statement.on_duplicate_key_update({column: statement.inserted[column] for column in others})
        case _:
            return insert(table)
