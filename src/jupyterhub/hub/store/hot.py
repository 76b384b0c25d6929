"""Statements that nearly every request asks, without SQLAlchemy's cost per execution.

SQLAlchemy writes each statement once and keeps it, but spends about 40 µs on every execution; SQLite answers within 5.
For the statements marked ``hot`` or ``hot_change`` the inline connection keeps the text, the order of the parameters
and the columns' conversions, and asks SQLite itself. Everywhere else, and whenever something about one is unusual
(somebody listens to the engine, a value cannot be bound), they are ordinary statements; they too cost less for being
kept, since nothing is put together anew.
"""

from __future__ import annotations

import sqlite3
from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import CompoundSelect, Delete, Insert, Select, Update
from sqlalchemy.engine import Dialect

S = TypeVar("S", bound="Select[Any] | CompoundSelect[Any]")
C = TypeVar("C", bound="Insert | Update | Delete")

#: by identity: statements have no equality of their own, and hashing them means writing them
_HOT: dict[int, Select[Any] | CompoundSelect[Any]] = {}
#: with the columns whose values come as parameters
_HOT_CHANGES: dict[int, tuple[Insert | Update | Delete, tuple[str, ...]]] = {}


def hot(statement: S) -> S:
    """Mark a SELECT that a module keeps for ever, and whose parameters are all plain ``bindparam`` (no IN lists)."""
    _HOT[id(statement)] = statement
    return statement


def hot_change(statement: C, *columns: str) -> C:
    """Mark an INSERT, UPDATE or DELETE that a module keeps for ever.

    It is executed with one dict: a value for each of ``columns``, which are set to them, and one for each ``bindparam``
    of its condition; these have other names than columns (SQLAlchemy keeps those for itself).
    """
    _HOT_CHANGES[id(statement)] = (statement, columns)
    return statement


class Rows(list[Any]):
    """What a hot statement gave: the part of SQLAlchemy's Result that its callers use."""

    def first(self) -> Any:
        return self[0] if self else None

    def all(self) -> list[Any]:
        return self

    def scalars(self) -> Rows:
        """Only the first column."""
        return Rows(row[0] for row in self)

    def scalar(self) -> Any:
        """The first column of the first row, None if there is none."""
        return self[0][0] if self else None


class Changed:
    """What a hot change has done: the part of SQLAlchemy's CursorResult that its callers use."""

    __slots__ = ("inserted_primary_key", "rowcount")

    def __init__(self, rowcount: int, last_id: int | None) -> None:
        self.rowcount = rowcount
        #: of an INSERT into a table whose key is its one integer
        self.inserted_primary_key = (last_id,)


class Change:
    """One hot change, written for one dialect."""

    def __init__(self, statement: Insert | Update | Delete, columns: tuple[str, ...], dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect, column_keys=[*columns])
        self._text: str = compiled.string
        constants = dict(compiled.params)
        for column in (*compiled.insert_prefetch, *compiled.update_prefetch):
            made = column.default
            if made is None or not made.is_scalar:
                raise ValueError(f"{column} gets a new value at each execution: name it among the columns")
            constants[column.key] = made.arg
        self._places = _places(compiled, constants, dialect)

    def ask(self, raw: sqlite3.Connection, given: Mapping[str, Any]) -> Changed:
        cursor = raw.execute(self._text, _values(self._places, given))
        return Changed(cursor.rowcount, cursor.lastrowid)


#: name of each parameter in its place, with its conversion and what it is if nobody says
_Places = list[tuple[str, Callable[[Any], Any] | None, Any]]


def _places(compiled: Any, constants: Mapping[str, Any], dialect: Dialect) -> _Places:
    kinds = {name: compiled.binds[name].type.dialect_impl(dialect) for name in compiled.positiontup or ()}
    return [(name, kinds[name].bind_processor(dialect), constants[name]) for name in compiled.positiontup or ()]


def _values(places: _Places, given: Mapping[str, Any]) -> list[Any]:
    values = []
    for name, convert, constant in places:
        value = given.get(name, constant)
        values.append(convert(value) if convert is not None else value)
    return values


class Plan:
    """One hot SELECT, written for one dialect."""

    def __init__(self, statement: Select[Any] | CompoundSelect[Any], dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        self._text: str = compiled.string
        self._places = _places(compiled, compiled.params, dialect)
        columns = list(statement.selected_columns)
        # renamed where a field may not be called so (``_server_id``): by such a name nobody asks for it
        row_type: Any = namedtuple("Row", [str(column.key) for column in columns], rename=True)  # type: ignore[misc]
        self.fields: tuple[str, ...] = row_type._fields
        self._row: Callable[[Iterable[Any]], Any] = partial(tuple.__new__, row_type)
        conversions = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns]
        self._conversions = [(i, convert) for i, convert in enumerate(conversions) if convert is not None]

    def ask(self, raw: sqlite3.Connection, given: Mapping[str, Any]) -> Rows:
        fetched = raw.execute(self._text, _values(self._places, given)).fetchall()
        if not self._conversions:
            return Rows(map(self._row, fetched))
        rows = Rows()
        for values in fetched:
            row = [*values]
            for i, convert in self._conversions:
                row[i] = convert(row[i])
            rows.append(self._row(row))
        return rows


class Plans:
    """The hot statements as one engine asks them."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._plans: dict[int, Plan | Change] = {}

    def find(self, statement: Any) -> Plan | Change | None:
        """Give the plan of a statement, None if it is not a hot one."""
        which = id(statement)
        plan = self._plans.get(which)
        if plan is None:
            if which in _HOT:
                plan = self._plans[which] = Plan(statement, self._dialect)
            elif which in _HOT_CHANGES:
                plan = self._plans[which] = Change(*_HOT_CHANGES[which], self._dialect)
        return plan
