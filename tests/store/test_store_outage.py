"""A database that is away: Unavailable while it is, and everything as before when it is back."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio
from sqlalchemy import text

from jupyterhub.hub.store.store import Store
from jupyterhub.words.errors import Unavailable
from tests.support.postgres import postgres_bin, running_postgres

pytestmark = pytest.mark.skipif(postgres_bin() is None, reason="needs a PostgreSQL server's programs")


@pytest_asyncio.fixture(loop_scope="session")
async def own_url(postgres) -> str:
    """A database of this test alone: cutting connections is nobody else's affair."""
    return postgres.url(await postgres.create_database())


async def cut_all_others(store: Store) -> None:
    async with store.begin() as tx:
        await tx.connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


async def test_a_connection_that_is_cut_in_a_transaction_is_told_as_unavailable(own_url):
    store, other = await Store.open(own_url), await Store.open(own_url)

    async def write_and_be_cut() -> None:
        async with store.begin() as tx:
            await tx.users.create("lost")
            await cut_all_others(other)
            await tx.users.create("never")

    with pytest.raises(Unavailable) as caught:
        await write_and_be_cut()
    assert caught.value.retry_after_s
    async with store.read() as tx:
        assert await tx.users.find("lost") is None
    await store.close()
    await other.close()


async def test_connections_that_were_cut_while_nobody_used_them_are_not_noticed(own_url):
    store, other = await Store.open(own_url), await Store.open(own_url)
    await cut_all_others(other)
    async with store.begin() as tx:
        await tx.users.create("ada")
    await store.close()
    await other.close()


async def test_a_server_that_restarts_is_away_and_comes_back():
    with running_postgres() as postgres:
        store = await Store.open(postgres.url(await postgres.create_database()))
        async with store.begin() as tx:
            await tx.users.create("ada")
        await asyncio.to_thread(postgres.stop, "fast")
        for begin in (store.read, store.begin):
            with pytest.raises(Unavailable):
                async with begin() as tx:
                    await tx.users.find("ada")
        await asyncio.to_thread(postgres.start)
        async with store.read() as tx:
            assert await tx.users.find("ada")
        await store.close()
