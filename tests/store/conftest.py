"""Stores to test on: what takes ``store`` or ``db_url`` runs on SQLite and, where there is one, on PostgreSQL."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_asyncio
from sqlalchemy import delete, text
from sqlalchemy.ext.asyncio import create_async_engine

from jupyterhub.hub.store.engine import async_url
from jupyterhub.hub.store.store import Store, Transaction
from jupyterhub.hub.store.tables import metadata
from jupyterhub.words.models import OAuthClient, User
from tests.support.mariadb import MariaDBServer, has_mariadb, running_mariadb
from tests.support.postgres import PostgresServer, postgres_bin, running_postgres

T = TypeVar("T")

#: databases that the original wrote
DATABASES = Path(__file__).parents[2].parent / "shared" / "databases"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One loop for all tests here: a store belongs to a loop, and opening one takes longer than most tests."""
    for item in items:
        if item.path.parent == Path(__file__).parent and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    if postgres_bin() is None or importlib.util.find_spec("asyncpg") is None:
        pytest.skip("needs a PostgreSQL server's programs (initdb, pg_ctl) and asyncpg")
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def shared_url(postgres) -> str:
    """A database on PostgreSQL that tests leave empty: making one for each test would take most of the time."""
    return postgres.url(_run(postgres.create_database()))


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run something in a loop of its own; in a thread, because that of the test which asks first is running here."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@pytest.fixture(scope="session")
def scratch_url(postgres) -> str:
    """A database on PostgreSQL that is wiped before each use."""
    return postgres.url(_run(postgres.create_database()))


async def empty(store: Store) -> None:
    """Take everything out of the tables, but for the versions of the schema."""
    kept = {"alembic_version", "jhx_own_schema"}
    async with store.begin() as tx:
        for table in reversed(metadata.sorted_tables):
            if table.name not in kept:
                await tx.connection.execute(delete(table))


#: what MariaDB does not do, or does otherwise: it is for one hub alone, and its times have no fractions of seconds
NOT_ON_MARIADB = {
    "test_hubs_that_open_an_empty_database_at_once_all_get_it",
    "test_a_database_of_the_original_without_our_tables_gets_them_and_our_indexes",  # another DROP INDEX
    "test_a_window_beyond_all_numbers_is_the_fault_of_the_request",  # it takes them
    "test_our_own_mistakes_are_not_taken_for_those_of_a_request",  # it takes that one
    "test_hubs_that_meet_rows_of_the_original_at_once_all_go_on",
    "test_of_two_that_create_the_same_users_in_any_order_one_does",
    "test_activity_only_moves_forward",
}


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def engine_name(request) -> str:
    if request.param == "mariadb" and request.node.originalname in NOT_ON_MARIADB:
        pytest.skip("MariaDB does not do this")
    return request.param


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDBServer]:
    if not has_mariadb() or importlib.util.find_spec("aiomysql") is None:
        pytest.skip("needs a MariaDB server's programs (mariadbd, mariadb-install-db) and aiomysql")
    with running_mariadb() as server:
        yield server


@pytest.fixture(scope="session")
def shared_mariadb_url(mariadb) -> str:
    return mariadb.url(mariadb.create_database())


@pytest_asyncio.fixture(loop_scope="session")
async def empty_url(engine_name, tmp_path, request) -> str:
    """The URL of a new database without tables, for tests of the schema."""
    if engine_name == "sqlite":
        return f"sqlite:///{tmp_path / 'hub.sqlite'}"
    if engine_name == "mariadb":
        server = request.getfixturevalue("mariadb")
        return server.url(server.create_database())
    url = request.getfixturevalue("scratch_url")
    engine = create_async_engine(async_url(url))
    async with engine.begin() as connection:
        await connection.execute(text("DROP SCHEMA public CASCADE"))
        await connection.execute(text("CREATE SCHEMA public"))
    await engine.dispose()
    return url


@pytest.fixture(scope="session")
def made_file(tmp_path_factory) -> Path:
    """An SQLite database with our tables, to copy."""
    path = tmp_path_factory.mktemp("made") / "hub.sqlite"

    async def make() -> None:
        await (await Store.open(str(path))).close()

    _run(make())
    return path


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_stores(tmp_path_factory) -> AsyncIterator[dict[str, Store]]:
    """Stores that tests leave empty, by engine."""
    stores: dict[str, Store] = {}
    yield stores
    for store in stores.values():
        await store.close()


@pytest_asyncio.fixture(loop_scope="session")
async def store(engine_name, shared_stores, tmp_path_factory, request) -> AsyncIterator[Store]:
    if engine_name not in shared_stores:
        path = tmp_path_factory.mktemp("shared") / "hub.sqlite"
        urls = {"postgresql": "shared_url", "mariadb": "shared_mariadb_url"}
        url = request.getfixturevalue(urls[engine_name]) if engine_name in urls else f"sqlite:///{path}"
        shared_stores[engine_name] = await Store.open(url)
    yield shared_stores[engine_name]
    if "tx" not in request.fixturenames:  # which leaves nothing
        await empty(shared_stores[engine_name])


class _RollBack(Exception):
    pass


@pytest_asyncio.fixture(loop_scope="session")
async def tx(store) -> AsyncIterator[Transaction]:
    """One transaction for the whole test, for tests of statements and not of transactions. It leaves nothing."""
    with suppress(_RollBack):
        async with store.begin() as tx:
            yield tx
            raise _RollBack


@pytest_asyncio.fixture(loop_scope="session")
async def ada(tx) -> User:
    return await tx.users.create("ada")


@pytest_asyncio.fixture(loop_scope="session")
async def bob(tx) -> User:
    return await tx.users.create("bob")


@pytest_asyncio.fixture(loop_scope="session")
async def hub_client(tx) -> OAuthClient:
    """The client that issues the hub's own tokens."""
    client = OAuthClient(
        identifier="jupyterhub", description="JupyterHub", secret="", redirect_uri="", allowed_scopes=[]
    )
    await tx.oauth.save_client(client)
    return client
