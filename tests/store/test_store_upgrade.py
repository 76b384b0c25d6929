"""Databases that older versions of the original wrote: brought up to date with all that is in them."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Connection, MetaData, create_engine, event, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine

from jupyterhub.hub.store import schema
from jupyterhub.hub.store.engine import async_url
from jupyterhub.hub.store.store import Store
from jupyterhub.words.clock import isoformat
from jupyterhub.words.errors import ConfigurationError
from jupyterhub.words.models import Window
from jupyterhub.words.names import ServerKey

from .conftest import DATABASES

pytestmark = pytest.mark.skipif(not DATABASES.is_dir(), reason="needs the databases that the original wrote")

OLD = ["4.1.6", "5.5.4"]
ALL_VERSIONS = [*OLD, "6.1.1"]
#: the share codes in the databases end in November 2027
IN_TIME = datetime(2026, 12, 1, tzinfo=UTC)

Copied = Callable[[str], Awaitable[str]]


def contents(version: str) -> dict[str, Any]:
    return json.loads((DATABASES / f"jupyterhub-{version}.json").read_text())


@pytest.fixture
def copied(engine_name, tmp_path, request) -> Copied:
    """Copies a database that the original wrote; on PostgreSQL table by table, as it would look there."""

    async def copy(version: str) -> str:
        source = DATABASES / f"jupyterhub-{version}.sqlite"
        path = tmp_path / "hub.sqlite"
        shutil.copyfile(source, path)
        if engine_name == "sqlite":
            return f"sqlite:///{path}"
        server = request.getfixturevalue("postgres")
        url = server.url(await server.create_database())
        await copy_to(url, path)
        return url

    return copy


async def copy_to(url: str, path: Path) -> None:
    old, metadata = create_engine(f"sqlite:///{path}"), MetaData()
    event.listen(metadata, "column_reflect", lambda i, table, info: info.update(type=info["type"].as_generic()))
    metadata.reflect(old)
    new = create_async_engine(async_url(url))
    async with new.begin() as connection:
        await connection.run_sync(metadata.create_all)
        for table in metadata.sorted_tables:
            with old.connect() as source:
                rows = [dict(row) for row in source.execute(table.select()).mappings()]
            if rows:
                await connection.execute(table.insert(), rows)
            if "id" in table.c:
                sequence = f"pg_get_serial_sequence('{table.name}', 'id')"
                await connection.execute(text(f'SELECT setval({sequence}, (SELECT max(id) FROM "{table.name}") + 1)'))
    await new.dispose()
    old.dispose()


async def schema_of(url: str) -> dict[str, Any]:
    """All that the database says of its tables, without the order of columns."""

    def look(connection: Connection) -> dict[str, Any]:
        database = inspect(connection)
        found = {}
        for table in database.get_table_names():
            found[table] = {
                "columns": {
                    column["name"]: (
                        str(column["type"]),
                        column["nullable"],
                        re.sub(r"_id_seq\d*", "", str(column["default"])),
                    )
                    for column in database.get_columns(table)
                },
                "primary key": database.get_pk_constraint(table),
                "foreign keys": sorted(database.get_foreign_keys(table), key=lambda key: str(key["name"])),
                "unique": sorted(database.get_unique_constraints(table), key=lambda key: str(key["name"])),
                "indexes": sorted(database.get_indexes(table), key=lambda key: str(key["name"])),
            }
        return found

    engine = create_async_engine(async_url(url))
    async with engine.connect() as connection:
        found = await connection.run_sync(look)
    await engine.dispose()
    return found


@pytest.fixture(scope="module")
def upgraded_urls() -> dict[tuple[str, str], str]:
    return {}


@pytest.fixture(params=ALL_VERSIONS)
def version(request) -> str:
    return request.param


@pytest_asyncio.fixture(loop_scope="session")
async def upgraded(version, engine_name, copied, upgraded_urls) -> str:
    """The URL of an upgraded copy, the same for all tests: they only read."""
    if (engine_name, version) not in upgraded_urls:
        url = await copied(version)
        await schema.upgrade(url)
        upgraded_urls[engine_name, version] = url
    return upgraded_urls[engine_name, version]


async def test_an_upgraded_database_has_the_schema_of_a_new_one(upgraded, shared_schema):
    assert await schema_of(upgraded) == shared_schema


@pytest_asyncio.fixture(loop_scope="session")
async def shared_schema(engine_name, tmp_path, request) -> dict[str, Any]:
    if engine_name == "sqlite":
        return await schema_of(f"sqlite:///{request.getfixturevalue('made_file')}")
    url = request.getfixturevalue("shared_url")
    await (await Store.open(url)).close()
    return await schema_of(url)


async def test_an_upgraded_database_is_upgraded_again_without_a_change(upgraded):
    before = await schema_of(upgraded)
    assert await schema.upgrade(upgraded) is None
    assert await schema_of(upgraded) == before


async def test_everything_in_an_upgraded_database_is_still_there(upgraded, version):
    store, there = await Store.open(upgraded), contents(version)
    async with store.read() as tx:
        assert set(await tx.users.names()) == set(there["users"])
        for name, shown in there["users"].items():
            user = await tx.users.find(name)
            assert user is not None
            assert (user.admin, isoformat(user.created)) == (shown["admin"], shown["created"])
            assert user.user_info is None
            assert set(await tx.groups.groups_of(user.id)) == set(shown["groups"])
            assert set(await tx.roles.names_of("user", user.id)) == set(shown["roles"])
            for server_name, server_shown in shown["servers"].items():
                server = await tx.servers.find(ServerKey(name, server_name))
                if server is not None:  # the API shows a default server whether it has a row or not
                    assert server.user_options == server_shown["user_options"]
                    assert server.is_stopped
                    assert server.endpoint is None
                else:
                    assert server_name == ""
        for shown in there["groups"]:
            group = await tx.groups.find(shown["name"])
            assert group is not None
            assert group.properties == shown["properties"]
            assert set(await tx.groups.members(group.id)) == set(shown["users"])
        service = await tx.services.find("root")
        assert service is not None
        assert (service.from_config, service.timeout_s) == (True, 30)
    await store.close()


async def test_tokens_and_codes_that_people_hold_go_on_working(upgraded, version):
    store, there = await Store.open(upgraded), contents(version)
    async with store.read() as tx:
        for shown in there["tokens"]:
            token = await tx.tokens.find_by_secret(shown["token"], IN_TIME)
            assert token is not None
            assert token.owner_name == shown["user"]
            assert list(token.scopes) == shown.get("scopes", ["inherit"])
        assert await tx.tokens.find_by_secret(there["revoked"], IN_TIME) is None
        for shown in there.get("share_codes", []):
            code = await tx.shares.find_code(shown["code"], IN_TIME)
            assert code is not None
            assert (f"sc_{code.id}", list(code.scopes)) == (shown["id"], shown["scopes"])
            assert isoformat(code.expires_at) == shown["expires_at"]
        for shown in there.get("shares", []):
            owner, guest = (
                await tx.users.find(shown["server"]["user"]["name"]),
                await tx.users.find(shown["user"]["name"]),
            )
            assert owner is not None
            assert guest is not None
            [share], _ = await tx.shares.list_of_owner(owner.id, Window())
            assert (share.user, share.server.name) == (guest.name, shown["server"]["name"])
            assert await tx.shares.scopes_for_user(guest.id, with_groups=True) == shown["scopes"]
    await store.close()


async def test_a_database_of_6_1_opens_as_it_is_and_only_gains_what_is_ours(copied, tmp_path):
    url = await copied("6.1.1")
    before = await schema_of(url)
    await (await Store.open(url)).close()
    after = await schema_of(url)
    for table, found in before.items():
        indexes = [index for index in after[table].pop("indexes") if not index["name"].startswith("jhx_")]
        assert indexes == found.pop("indexes")
        assert after[table] == found
    assert all(name.startswith("jhx_") for name in after.keys() - before.keys())


async def test_an_upgrade_on_postgresql_makes_no_copy_and_an_empty_database_gets_its_tables(empty_url):
    assert await schema.upgrade(empty_url) is None
    await (await Store.open(empty_url)).close()


# -- SQLite only: the copy


@pytest.fixture(params=OLD)
def old_file(request, tmp_path) -> Path:
    path = tmp_path / "hub.sqlite"
    shutil.copyfile(DATABASES / f"jupyterhub-{request.param}.sqlite", path)
    return path


def dump(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


async def test_the_copy_holds_what_was_there_under_the_time_of_day_with_the_same_mode(old_file):
    old_file.chmod(0o640)
    before = dump(old_file)
    backup = await schema.upgrade(str(old_file))
    assert backup is not None
    assert re.fullmatch(r"hub\.sqlite\.\d{4}-\d\d-\d\d-\d{6}", backup.name)
    assert dump(backup) == before
    assert backup.stat().st_mode & 0o777 == 0o640


async def test_the_copy_holds_what_is_in_the_journal_only(old_file):
    writer = sqlite3.connect(old_file, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("PRAGMA wal_autocheckpoint = 0")
    writer.execute("INSERT INTO users (name, cookie_id, admin) VALUES ('late', 'x', 0)")
    backup = await schema.upgrade(str(old_file))
    writer.close()
    assert backup is not None
    assert any("'late'" in line for line in dump(backup))


async def test_an_upgrade_that_fails_in_the_middle_leaves_the_database_as_it_was(old_file, monkeypatch):
    before = dump(old_file)
    run_steps = schema._run_steps

    def fail(*args: Any) -> None:
        run_steps(*args)
        raise ZeroDivisionError

    monkeypatch.setattr(schema, "_run_steps", fail)
    with pytest.raises(ZeroDivisionError):
        await schema.upgrade(str(old_file))
    assert dump(old_file) == before
    monkeypatch.undo()
    await schema.upgrade(str(old_file))


async def test_nothing_refers_to_nothing_after_an_upgrade(old_file):
    await schema.upgrade(str(old_file))
    connection = sqlite3.connect(old_file)
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


@pytest.mark.parametrize("revision", ["651f5419b74d", "19c0846f6344", "fedcba987654"])
async def test_a_revision_without_steps_is_refused_with_the_oldest_that_has_some(old_file, revision):
    connection = sqlite3.connect(old_file)
    connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    connection.commit()
    connection.close()
    before = dump(old_file)
    with pytest.raises(ConfigurationError, match=rf"{revision}.*0eee8c825d24.*f460b0348206"):
        await schema.upgrade(str(old_file))
    assert dump(old_file) == before
    assert sorted(path.name for path in old_file.parent.glob("hub.sqlite.*")) == []


async def test_what_is_no_database_cannot_be_upgraded(tmp_path):
    (tmp_path / "hub.sqlite").write_text("my notes, " * 500)
    with pytest.raises(ConfigurationError, match="not a database"):
        await schema.upgrade(str(tmp_path / "hub.sqlite"))
