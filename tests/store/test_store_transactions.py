"""Transactions: all or nothing, reads beside a write, and what a cancelled task leaves behind (nothing)."""

from __future__ import annotations

import asyncio
import random
import sqlite3

import pytest
import pytest_asyncio
from sqlalchemy import event

from jupyterhub.hub.store import steady
from jupyterhub.hub.store.steady import steadily
from jupyterhub.hub.store.store import Store
from jupyterhub.rbac.scope_set import EVERYTHING
from jupyterhub.words.errors import Invalid, NotFound
from jupyterhub.words.models import Window

from .conftest import empty


async def names(store: Store) -> set[str]:
    async with store.read() as tx:
        return set(await tx.users.names())


async def test_a_block_that_raises_leaves_nothing(store):
    async def fail() -> None:
        async with store.begin() as tx:
            await tx.users.create("ada")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await names(store) == set()


async def test_nobody_sees_a_transaction_before_it_ends_and_nobody_waits_for_it(store):
    async with store.begin() as tx:
        await tx.users.create("ada")
        assert await asyncio.wait_for(names(store), 5) == set()
    assert await names(store) == {"ada"}


async def test_a_failed_insert_does_not_end_the_transaction_around_it(store):
    async with store.begin() as tx:
        await tx.users.create("ada")
        with pytest.raises(Exception, match="already exists"):
            await tx.users.create("ada")
        await tx.users.create("bob")
    assert await names(store) == {"ada", "bob"}


async def test_many_writers_at_once_all_write(store):
    async def add(number: int) -> None:
        async with store.begin() as tx:
            assert await tx.users.find(f"user{number}") is None
            await tx.users.create(f"user{number}")

    await asyncio.gather(*(add(number) for number in range(50)))
    assert len(await names(store)) == 50


async def test_rows_that_refer_to_nothing_are_refused(store):
    with pytest.raises(NotFound):
        async with store.begin() as tx:
            await tx.tokens.create("user", 12345, secret="0123456789abcdef", scopes=[], note="", client_id="none")


async def test_a_write_where_only_reading_was_announced_is_our_mistake_and_told(store):
    with pytest.raises(RuntimeError, match="only reads"):
        async with store.read() as tx:
            await tx.users.create("ada")
    assert await names(store) == set()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///{folder}/hub.sqlite"])
async def test_a_transaction_within_another_is_told_instead_of_waiting_for_itself(tmp_path, url):
    store = await Store.open(url.format(folder=tmp_path))
    with pytest.raises(RuntimeError, match="within another"):
        async with store.begin(), store.begin():
            pass
    assert await names(store) == set()
    await store.close()


# -- values that no database holds


@pytest.mark.parametrize("name", ["a\ud800", "\udfff"])
async def test_a_text_that_is_no_unicode_is_the_fault_of_the_request(store, name):
    with pytest.raises(Invalid):
        async with store.begin() as tx:
            await tx.users.create(name)
    with pytest.raises(Invalid):
        async with store.read() as tx:
            await tx.users.find(name)


async def test_a_window_beyond_all_numbers_is_the_fault_of_the_request(store):
    with pytest.raises(Invalid):
        async with store.read() as tx:
            await tx.users.list(EVERYTHING, window=Window(offset=2**63))


@pytest.mark.parametrize("engine_name", ["postgresql"], indirect=True)
@pytest.mark.parametrize("name", ["a\0b", "x" * 256])
async def test_a_text_that_postgresql_cannot_hold_is_the_fault_of_the_request(store, name):
    with pytest.raises(Invalid):
        async with store.begin() as tx:
            await tx.users.create(name)


async def test_an_id_that_no_column_holds_is_nobodys(store):
    async with store.read() as tx:
        for number in (2**31, 2**63, 10**30):
            assert await tx.tokens.find(number) is None
            assert await tx.shares.find_code_by_id(number) is None


async def test_our_own_mistakes_are_not_taken_for_those_of_a_request(store):
    with pytest.raises(Exception) as failed:  # noqa: PT011  each engine has its own
        async with store.begin() as tx:
            await tx.users.create(object())  # type: ignore[arg-type]
    assert not isinstance(failed.value, Invalid)


# -- cancellation


@pytest_asyncio.fixture(params=["file", "memory", "postgresql"], loop_scope="session")
async def any_store(request, tmp_path):
    if request.param == "postgresql":
        url = request.getfixturevalue("shared_url")
    else:
        url = f"sqlite:///{tmp_path / 'hub.sqlite'}" if request.param == "file" else "sqlite://"
    store = await Store.open(url)
    yield store
    await empty(store)
    await store.close()


async def test_tasks_cancelled_anywhere_leave_whole_transactions_and_working_connections(any_store):
    """Also a database in memory, which lives in one connection, and SQLite's write lock, which must not stay behind."""
    store, chance = any_store, random.Random(7)
    broken = []
    event.listen(store.engine.sync_engine.pool, "invalidate", lambda *args: broken.append(args))
    finished: list[int] = []

    async def write(number: int) -> None:
        async with store.begin() as tx:
            await tx.users.create(f"left{number}")
            await tx.users.create(f"right{number}")
        finished.append(number)

    async with asyncio.timeout(25):
        for number in range(120):
            tasks = [asyncio.create_task(write(number)), asyncio.create_task(names(store))]
            for _ in range(chance.randrange(60)):
                await asyncio.sleep(0)
            if number % 2:
                await asyncio.sleep(chance.random() * 0.003)
            for task in tasks:
                if chance.random() < 0.8:
                    task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                assert not isinstance(outcome, Exception), outcome
        found = await names(store)
    assert {name for name in found if name.startswith("left")} == {
        name.replace("right", "left") for name in found if name.startswith("right")
    }
    assert found >= {f"left{number}" for number in finished}
    assert 0 < len(found) < 240, "the test should cancel some, and not all"
    assert broken == []


async def test_a_cancelled_wait_ends_after_the_work():
    ended = []

    async def work() -> None:
        await asyncio.sleep(0.01)
        ended.append(True)

    waiting = asyncio.create_task(steadily(work()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended == [True]


async def test_a_time_limit_around_steady_work_is_still_a_time_limit():
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await steadily(asyncio.sleep(0.05))


async def test_work_that_does_not_end_is_torn_after_a_while(monkeypatch):
    monkeypatch.setattr(steady, "PATIENCE_S", 0.01)
    waiting = asyncio.create_task(steadily(asyncio.sleep(3600)))
    await asyncio.sleep(0)
    waiting.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_the_error_of_the_work_reaches_who_waits():
    async def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await steadily(fail())


# -- SQLite beside other programs


async def test_a_write_waits_for_that_of_another_program(tmp_path):
    """``jupyterhub token`` writes while the hub does."""
    path = tmp_path / "hub.sqlite"
    store = await Store.open(f"sqlite:///{path}")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    async def add() -> None:
        async with store.begin() as tx:
            await tx.users.create("ada")

    adding = asyncio.create_task(add())
    assert await asyncio.wait_for(names(store), 5) == set(), "reads go on beside it"
    assert not adding.done()
    other.execute("ROLLBACK")
    await asyncio.wait_for(adding, 15)
    other.close()
    await store.close()
