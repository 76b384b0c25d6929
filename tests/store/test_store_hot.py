"""Hot statements: asked past SQLAlchemy, they give what SQLAlchemy gives."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import BindParameter, Insert, delete, event, false, select, text, update
from sqlalchemy.sql import visitors

from jupyterhub.hub.store import hot
from jupyterhub.hub.store.store import Store
from jupyterhub.hub.store.tables import JsonText, metadata

from .conftest import DATABASES

pytestmark = pytest.mark.skipif(not DATABASES.is_dir(), reason="needs the databases that the original wrote")

#: texts that parameters may be: whatever names something in the database
NAMES = """
    SELECT name FROM users UNION SELECT cookie_id FROM users UNION SELECT name FROM "groups"
    UNION SELECT name FROM roles
    UNION SELECT name FROM services UNION SELECT identifier FROM oauth_clients UNION SELECT prefix FROM api_tokens
    UNION SELECT name FROM spawners UNION SELECT prefix FROM share_codes UNION SELECT code FROM oauth_codes
"""


def parameters(statement: Any) -> dict[str, type]:
    """Those that the caller gives, by name, with their types."""
    found: dict[str, type] = {}
    for element in visitors.iterate(statement):
        if isinstance(element, BindParameter) and element.required:
            found[element.key] = element.type.python_type
    return found


async def test_each_gives_the_same_rows_as_by_sqlalchemy(tmp_path):
    shutil.copyfile(DATABASES / "jupyterhub-6.1.1.sqlite", tmp_path / "hub.sqlite")
    store = await Store.open(f"sqlite:///{tmp_path / 'hub.sqlite'}")
    asked, answered = 0, 0
    async with store.read() as tx:
        names = [row[0] for row in await tx.connection.execute(text(NAMES)) if row[0] is not None]
        choices: dict[type, list[Any]] = {str: names, int: [1, 2, 3, 4, 5], datetime: [datetime(2026, 1, 1)]}
        for statement in hot._HOT.values():
            wanted = parameters(statement)
            has_rows = False
            for values in itertools.islice(itertools.product(*(choices[kind] for kind in wanted.values())), 3000):
                given = dict(zip(wanted, values, strict=True))
                plain = [tuple(row) for row in (await tx.connection.execute(statement.limit(None), given)).all()]
                fast = [tuple(row) for row in (await tx.connection.execute(statement, given)).all()]
                assert fast == plain, (str(statement), given)
                has_rows = has_rows or bool(plain)
            asked, answered = asked + 1, answered + has_rows
    await store.close()
    assert asked > 20
    assert answered > asked / 2, "the databases should have rows for most"


#: values for columns, by the type of Python that they hold; JSON tells none
VALUES: dict[type, list[Any]] = {
    str: ["ready", "a"], int: [1, 2], datetime: [datetime(2026, 2, 3)], bool: [True], float: [0.5],
    object: [{"a": [1, None, "é"]}, None],
}  # fmt: skip


def type_of(column: Any) -> type:
    return object if isinstance(column.type, JsonText) else column.type.python_type


class Undone(Exception):
    """Ends a transaction whose changes are not to stay."""


async def outcome(store: Store, statement: Any, given: Mapping[str, Any]) -> Any:
    """What a change does: its error, or what it says of itself and all rows afterwards. Undone at once."""
    done: list[Any] = []
    try:
        async with store.begin() as tx:
            result = await tx.connection.execute(statement, dict(given))
            is_insert = isinstance(statement, Insert)
            # of a key with several columns SQLite knows nothing
            has_key = is_insert and len(statement.table.primary_key) == 1
            done.append((result.rowcount, tuple(result.inserted_primary_key) if has_key else None))
            for table in metadata.sorted_tables:
                done.append([tuple(row) for row in await tx.connection.execute(select(table))])
            raise Undone
    except Undone:
        return done
    except Exception as error:
        return type(error), str(error)


async def test_each_changes_the_same_as_by_sqlalchemy(tmp_path):
    shutil.copyfile(DATABASES / "jupyterhub-6.1.1.sqlite", tmp_path / "hub.sqlite")
    store = await Store.open(f"sqlite:///{tmp_path / 'hub.sqlite'}")
    async with store.begin() as tx:
        await tx.servers.meet_rows_of_the_original()
        states = metadata.tables["jhx_server_states"]
        await tx.connection.execute(update(states).values(generation=1, hub_id="a", phase="ready"))
        await tx.connection.execute(update(states).where(states.c.spawner_id == 2).values(phase="stopped"))
    nothing = await outcome(store, delete(metadata.tables["users"]).where(false()), {})
    changed = 0

    def watch(*anything: Any) -> None:
        """While somebody listens, all are ordinary statements."""

    for statement, columns in hot._HOT_CHANGES.values():
        kinds = {name: type_of(statement.table.c[name]) for name in columns}
        kinds |= {name: kind for name, kind in parameters(statement).items() if name not in kinds}
        has_effect = False
        for values in itertools.islice(itertools.product(*(VALUES[kind] for kind in kinds.values())), 40):
            given = dict(zip(kinds, values, strict=True))
            fast = await outcome(store, statement, given)
            event.listen(store.engine.sync_engine, "before_cursor_execute", watch)
            plain = await outcome(store, statement, given)
            event.remove(store.engine.sync_engine, "before_cursor_execute", watch)
            assert fast == plain, (str(statement), given)
            has_effect = has_effect or (isinstance(fast, list) and fast[1:] != nothing[1:])
        changed += has_effect
    await store.close()
    assert len(hot._HOT_CHANGES) > 20
    assert changed > len(hot._HOT_CHANGES) / 2, "most should find something to change"


async def test_columns_are_called_as_they_are_by_sqlalchemy(store):
    if store.dialect != "sqlite":
        pytest.skip("only SQLite has hot statements")
    async with store.begin() as tx:
        await tx.users.create("ada")
        for statement in hot._HOT.values():
            plan = hot.Plan(statement, store.engine.dialect)
            keys = (await tx.connection.execute(statement.limit(None), dict.fromkeys(parameters(statement)))).keys()
            renamed = [name for name in keys if name.startswith("_")]
            assert [field for field in plan.fields if field in keys] == [key for key in keys if key not in renamed]


async def test_who_listens_to_the_engine_sees_them(store):
    seen = []

    def on_execute(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        seen.append(statement)

    event.listen(store.engine.sync_engine, "before_cursor_execute", on_execute)
    async with store.read() as tx:
        await tx.users.find("ada")
    event.remove(store.engine.sync_engine, "before_cursor_execute", on_execute)
    assert [statement for statement in seen if "FROM users" in statement]


@pytest.mark.parametrize("name", ["a\ud800", object()])
async def test_a_value_that_cannot_be_bound_fails_as_everywhere(store, name):
    with pytest.raises(Exception) as hot_error:  # noqa: PT011  each engine has its own
        async with store.read() as tx:
            await tx.users.find(name)
    with pytest.raises(type(hot_error.value)):
        async with store.read() as tx:
            await tx.users.find_many([name])
