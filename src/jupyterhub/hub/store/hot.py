"""Statements that nearly every request asks, without SQLAlchemy's cost per execution.

SQLAlchemy writes each statement once and keeps it, but spends about 40 µs on every execution; SQLite answers within 5.
For the few statements marked ``hot`` the inline connection keeps the text, the order of the parameters and the columns'
conversions, and asks SQLite itself. Everywhere else, and whenever something about one is unusual (somebody listens to
the engine, a value cannot be bound), they are ordinary statements.
"""

from __future__ import annotations

import sqlite3
from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import CompoundSelect, Select
from sqlalchemy.engine import Dialect

S = TypeVar("S", bound="Select[Any] | CompoundSelect[Any]")

#: by identity: statements have no equality of their own, and hashing them means writing them
_HOT: dict[int, Select[Any] | CompoundSelect[Any]] = {}


def hot(statement: S) -> S:
    """Mark a SELECT that a module keeps for ever, and whose parameters are all plain ``bindparam`` (no IN lists)."""
    _HOT[id(statement)] = statement
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


class Plan:
    """One hot statement, written for one dialect."""

    def __init__(self, statement: Select[Any] | CompoundSelect[Any], dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        self._text: str = compiled.string
        constants = compiled.params
        #: name of each parameter in its place, with its conversion and what it is if nobody says
        self._places: list[tuple[str, Callable[[Any], Any] | None, Any]] = []
        for name in compiled.positiontup or ():
            kind = compiled.binds[name].type.dialect_impl(dialect)
            self._places.append((name, kind.bind_processor(dialect), constants[name]))
        columns = list(statement.selected_columns)
        # renamed where a field may not be called so (``_server_id``): by such a name nobody asks for it
        row_type: Any = namedtuple("Row", [str(column.key) for column in columns], rename=True)  # type: ignore[misc]
        self.fields: tuple[str, ...] = row_type._fields
        self._row: Callable[[Iterable[Any]], Any] = partial(tuple.__new__, row_type)
        conversions = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns]
        self._conversions = [(i, convert) for i, convert in enumerate(conversions) if convert is not None]

    def ask(self, raw: sqlite3.Connection, given: Mapping[str, Any]) -> Rows:
        values = []
        for name, convert, constant in self._places:
            value = given.get(name, constant)
            values.append(convert(value) if convert is not None else value)
        fetched = raw.execute(self._text, values).fetchall()
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
        self._plans: dict[int, Plan] = {}

    def find(self, statement: Any) -> Plan | None:
        """Give the plan of a statement, None if it is not a hot one."""
        plan = self._plans.get(id(statement))
        if plan is None and id(statement) in _HOT:
            plan = self._plans[id(statement)] = Plan(statement, self._dialect)
        return plan
