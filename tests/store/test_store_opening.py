"""Opening a database: which URL means what, and what is said when it cannot be opened."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.pool import NullPool

from jupyterhub.hub.store import tables
from jupyterhub.hub.store.engine import async_url
from jupyterhub.hub.store.store import Store
from jupyterhub.words.errors import ConfigurationError

from .conftest import DATABASES


async def run_sql(url: str, *statements: str) -> None:
    store = await Store.open(url)
    async with store.begin() as tx:
        for statement in statements:
            await tx.connection.execute(text(statement))
    await store.close()


async def table_names(store: Store) -> set[str]:
    async with store.engine.connect() as connection:
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))


# -- URLs


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("sqlite:///hub.sqlite", "sqlite+inline:///hub.sqlite"),
        ("sqlite+pysqlite:////srv/hub.sqlite", "sqlite+inline:////srv/hub.sqlite"),
        ("sqlite://", "sqlite+inline://"),
        ("hub.sqlite", "sqlite+inline:///hub.sqlite"),
        ("/srv/hub.sqlite", "sqlite+inline:////srv/hub.sqlite"),
        ("postgresql://hub:pw@db/hub", "postgresql+asyncpg://hub:pw@db/hub"),
        ("postgres://hub:pw@db/hub", "postgresql+asyncpg://hub:pw@db/hub"),
        ("postgresql+psycopg2://hub:pw@db/hub", "postgresql+asyncpg://hub:pw@db/hub"),
        ("postgresql+asyncpg://hub:pw@db/hub", "postgresql+asyncpg://hub:pw@db/hub"),
        ("postgresql://db/hub?sslmode=require", "postgresql+asyncpg://db/hub?ssl=require"),
        ("postgresql://db/hub?connect_timeout=5", "postgresql+asyncpg://db/hub?timeout=5"),
        ("mysql://hub:pw@db/hub", "mysql+aiomysql://hub:pw@db/hub"),
        ("mysql+pymysql://hub:pw@db/hub?charset=utf8mb4", "mysql+aiomysql://hub:pw@db/hub?charset=utf8mb4"),
        ("mariadb+mariadbconnector://db/hub", "mariadb+aiomysql://db/hub"),
    ],
)
def test_a_url_gets_the_async_driver_of_its_database(given, used):
    assert async_url(given).render_as_string(hide_password=False) == used


@pytest.mark.parametrize("url", ["oracle://db/hub", "nonsense://", "://"])
def test_a_url_of_no_supported_database_is_refused_with_the_trait_to_change(url):
    with pytest.raises(ConfigurationError, match=r"c\.JupyterHub\.db_url"):
        async_url(url)


async def test_a_missing_driver_is_named_with_what_to_install():
    pytest.importorskip("sqlalchemy")
    if __import__("importlib.util").util.find_spec("aiomysql"):
        pytest.skip("aiomysql is installed")
    with pytest.raises(ConfigurationError, match=r"pip install 'jupyterhub\[mysql\]'"):
        await Store.open("mysql://hub@127.0.0.1/hub")


# -- what can be wrong with a file


async def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"folder .*/nowhere does not exist.*Create it"):
        await Store.open(f"sqlite:///{tmp_path}/nowhere/hub.sqlite")


async def test_a_folder_instead_of_a_file_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="is a folder"):
        await Store.open(f"sqlite:///{tmp_path}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_may_not_be_written_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigurationError, match="may not write to"):
        await Store.open(f"sqlite:///{tmp_path}/hub.sqlite")


async def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "hub.sqlite").write_text("my notes, " * 500)
    with pytest.raises(ConfigurationError, match="not a database"):
        await Store.open(f"sqlite:///{tmp_path}/hub.sqlite")


async def test_the_password_is_not_in_the_message_when_nobody_answers():
    with pytest.raises(ConfigurationError) as refused:
        await Store.open("postgresql://hub:tiger@127.0.0.1:1/hub")
    assert "127.0.0.1:1" in str(refused.value)
    assert "tiger" not in str(refused.value)


# -- schemas


async def test_an_empty_database_gets_all_tables_and_both_versions(empty_url):
    store = await Store.open(empty_url)
    assert await table_names(store) == set(tables.metadata.tables)
    async with store.read() as tx:
        assert (await tx.connection.execute(text("SELECT version_num FROM alembic_version"))).scalar() == "f460b0348206"
        assert (await tx.connection.execute(text("SELECT version FROM jhx_own_schema"))).scalar() == tables.OWN_VERSION
    await store.close()


async def test_hubs_that_open_an_empty_database_at_once_all_get_it(empty_url):
    stores = await asyncio.gather(*(Store.open(empty_url) for _ in range(4)))
    async with stores[0].begin() as tx:
        await tx.users.create("ada")
    for store in stores:
        async with store.read() as tx:
            assert await tx.users.names() == ["ada"]
        await store.close()


async def test_what_was_written_is_there_when_it_is_opened_again(empty_url):
    store = await Store.open(empty_url)
    async with store.begin() as tx:
        await tx.users.create("ada")
    await store.close()
    store = await Store.open(empty_url)
    async with store.read() as tx:
        assert await tx.users.names() == ["ada"]
    await store.close()


async def test_reset_drops_what_was_there(empty_url):
    store = await Store.open(empty_url)
    async with store.begin() as tx:
        await tx.users.create("ada")
    await store.close()
    store = await Store.open(empty_url, reset=True)
    async with store.read() as tx:
        assert await tx.users.names() == []
    await store.close()


async def test_a_database_of_the_original_without_our_tables_gets_them_and_our_indexes(empty_url):
    names = [table.name for table in tables.OWN_TABLES]
    await run_sql(
        empty_url,
        *(f"DROP INDEX {index.name}" for index in tables.OWN_INDEXES),
        *(f"DROP TABLE {name}" for name in names),
    )
    store = await Store.open(empty_url)
    assert await table_names(store) >= set(names)
    async with store.engine.connect() as connection:
        indexes = await connection.run_sync(lambda sync: inspect(sync).get_indexes("spawners"))
    assert {index["name"] for index in indexes} >= {"jhx_ix_spawners_user_id"}
    await store.close()


@pytest.mark.parametrize("revision", ["4621fec11365", "0eee8c825d24", "fedcba987654"])
async def test_a_database_of_another_revision_is_refused_with_both_revisions_and_the_command(empty_url, revision):
    await run_sql(empty_url, f"UPDATE alembic_version SET version_num = '{revision}'")
    with pytest.raises(ConfigurationError, match=rf"{revision}.*f460b0348206.*`jupyterhub upgrade-db`"):
        await Store.open(empty_url)


async def test_a_database_without_a_revision_is_refused(empty_url):
    await run_sql(empty_url, "DROP TABLE alembic_version")
    with pytest.raises(ConfigurationError, match=r"\(none\).*`jupyterhub upgrade-db`"):
        await Store.open(empty_url)


async def test_a_database_that_a_newer_hub_used_is_refused(empty_url):
    await run_sql(empty_url, "UPDATE jhx_own_schema SET version = 99")
    with pytest.raises(ConfigurationError, match=r"newer hub.*99"):
        await Store.open(empty_url)


@pytest.mark.skipif(not DATABASES.is_dir(), reason="needs the databases that the original wrote")
@pytest.mark.parametrize("version", ["4.1.6", "5.5.4"])
async def test_an_old_database_is_left_as_it_is_when_it_is_refused(tmp_path, version):
    path = tmp_path / "hub.sqlite"
    path.write_bytes((DATABASES / f"jupyterhub-{version}.sqlite").read_bytes())
    with pytest.raises(ConfigurationError, match="upgrade-db"):
        await Store.open(str(path))
    store_tables = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sqlite3; print(sqlite3.connect({str(path)!r}).execute("
            "'select name from sqlite_master').fetchall())",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "jhx_" not in store_tables


# -- in memory, pools, start


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
async def test_a_database_in_memory_is_one_for_all_transactions(url):
    store = await Store.open(url)
    async with store.begin() as tx:
        await tx.users.create("ada")

    async def names() -> list[str]:
        async with store.read() as tx:
            return list(await tx.users.names())

    assert await asyncio.gather(*(names() for _ in range(5))) == [["ada"]] * 5
    await store.close()


async def test_the_pool_can_be_chosen(tmp_path):
    store = await Store.open(f"sqlite:///{tmp_path}/hub.sqlite", engine_options={"poolclass": NullPool})
    async with store.begin() as tx:
        await tx.users.create("ada")
    await store.close()


def test_the_start_of_a_hub_loads_neither_alembic_nor_drivers_that_it_does_not_need(tmp_path):
    code = (
        "import asyncio, sys\n"
        "from jupyterhub.hub.store.store import Store\n"
        f"asyncio.run(Store.open('sqlite:///{tmp_path}/hub.sqlite'))\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules} & {'alembic', 'mako', 'asyncpg', 'aiomysql'}))"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
