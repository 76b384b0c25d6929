"""The synchronous ``db`` of plugins on the store's own engine: it waits as coroutines do, and blocks nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, String, inspect

from jupyterhub.hub.store import orm, waiting
from jupyterhub.hub.store.legacy_session import legacy_session
from jupyterhub.hub.store.store import Store
from jupyterhub.words.errors import ConfigurationError


@pytest.fixture(scope="module", name="Note")
def table_of_a_plugin() -> Iterator[type[Any]]:
    """A table of a plugin's own, beside the hub's; gone again afterwards, other tests compare what tables there are."""

    class Note(orm.Base):
        __tablename__ = "notes_of_a_plugin"
        id = Column(Integer, primary_key=True)
        text = Column(String(40))

    yield Note
    orm.Base.metadata.remove(Note.__table__)


@pytest.fixture(params=["file", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    url = "sqlite:///:memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/hub.sqlite"
    opened = await Store.open(url)
    yield opened
    await opened.close()


async def names(store: Store) -> set[str]:
    async with store.read() as tx:
        found = await tx.users.find_many(["ada", "bob", "never"])
    return set(found)


async def test_a_plugin_finds_makes_and_changes_rows(store):
    db = legacy_session(store)

    async def plugin():
        ada = orm.User(name="ada")
        db.add(ada)
        db.commit()
        ada.groups.append(orm.Group(name="people"))
        db.commit()
        return orm.User.find(db, "ada"), ada

    found, made = await waiting.run(plugin())
    assert found is made
    async with store.read() as tx:
        assert [group.name for group in await tx.groups.list_of_user(made.id)] == ["people"]


async def test_a_plugin_creates_a_table_of_its_own(store, Note):
    db = legacy_session(store)

    async def plugin():
        if Note.__tablename__ not in inspect(db.bind).get_table_names():
            Note.__table__.create(db.bind)
        db.add(Note(text="hello"))
        db.commit()
        return db.query(Note).one().text

    assert await waiting.run(plugin()) == "hello"


async def test_queries_see_what_the_hub_has_written_since(store):
    db = legacy_session(store)

    async def plugin():
        ada = orm.User(name="ada")
        db.add(ada)
        db.commit()
        async with store.begin() as tx:
            await tx.users.update(ada.id, admin=True)
        return orm.User.find(db, "ada").admin

    assert await waiting.run(plugin()) is True


async def test_a_token_of_a_plugin_is_one_of_the_hub(store):
    db = legacy_session(store)

    async def plugin():
        ada = orm.User(name="ada")
        db.add(ada)
        db.flush()
        secret = ada.new_api_token(note="by a plugin", scopes=["self"])
        return secret, orm.APIToken.find(db, secret, kind="user").owner is ada, orm.APIToken.find(db, "no such token")

    secret, is_found, nothing = await waiting.run(plugin())
    assert is_found and nothing is None
    async with store.read() as tx:
        from jupyterhub.words.clock import utcnow

        token = await tx.tokens.find_by_secret(secret, utcnow())
    assert token.owner_name == "ada" and list(token.scopes) == ["self"] and token.note == "by a plugin"


async def test_what_is_not_committed_is_when_the_plugin_waits(store):
    db = legacy_session(store)

    async def plugin():
        db.add(orm.User(name="ada"))
        db.flush()
        await asyncio.sleep(0)
        return await names(store)

    assert await waiting.run(plugin()) == {"ada"}


async def test_what_a_failing_plugin_has_not_committed_is_dropped(store):
    db = legacy_session(store)

    async def plugin():
        db.add(orm.User(name="never"))
        db.flush()
        raise LookupError("a bug")

    with pytest.raises(LookupError):
        await waiting.run(plugin())
    assert await names(store) == set()


async def test_plain_code_waits_for_coroutines_of_the_hub(store):
    db = legacy_session(store)

    def plain():
        db.add(orm.User(name="bob"))  # what has been written is there for the coroutine
        return waiting.wait(names(store))

    async def plugin():
        return plain()

    assert await waiting.run(plugin()) == {"bob"}


async def test_plain_code_cannot_wait_where_nobody_runs_it(store):
    with pytest.raises(RuntimeError, match="tasks or callbacks"):
        waiting.wait(names(store))


async def test_plugins_and_the_hub_write_at_the_same_time(store):
    """Each has transactions that are suspended while the other wants to write; nobody blocks, nothing is locked."""
    db = legacy_session(store)

    async def plugin(number):
        for i in range(10):
            db.add(orm.User(name=f"p{number}-{i}"))
            db.flush()
            db.query(orm.User).count()
            db.commit()
            await asyncio.sleep(0)

    async def hub(number):
        for i in range(10):
            async with store.begin() as tx:
                await tx.users.create(f"h{number}-{i}", admin=False)
                await asyncio.sleep(0)

    async with asyncio.timeout(30):
        await asyncio.gather(*(waiting.run(plugin(n)) for n in range(4)), *(hub(n) for n in range(4)))

    async def count():
        return db.query(orm.User).count()

    assert await waiting.run(count()) == 80


async def test_a_cancelled_plugin_leaves_a_sound_database(store, Note):
    db = legacy_session(store)

    async def plugin():
        for i in range(10_000):
            db.add(Note(text=str(i)))
            db.commit()
            await asyncio.sleep(0)

    async def table():
        Note.__table__.create(db.bind, checkfirst=True)

    await waiting.run(table())
    for _ in range(10):
        task = asyncio.create_task(waiting.run(plugin()))
        await asyncio.sleep(0.005)  # somewhere in the middle
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with asyncio.timeout(5):
        async with store.begin() as tx:
            await tx.users.create("ada", admin=False)


async def test_outside_of_what_the_hub_calls_it_blocks_and_says_so(tmp_path, caplog):
    store = await Store.open(f"sqlite:///{tmp_path}/hub.sqlite")
    db = legacy_session(store)
    db.add(orm.User(name="ada"))
    db.commit()
    assert await names(store) == {"ada"}
    assert "blocks the hub" in caplog.text
    db.close()
    await store.close()


async def test_a_database_in_memory_cannot_be_used_outside():
    store = await Store.open("sqlite:///:memory:")
    with pytest.raises(ConfigurationError, match="file"):
        legacy_session(store).query(orm.User).all()
    await store.close()


def test_scripts_and_tests_open_a_database_of_their_own():
    db = orm_sign().new_session_factory("sqlite:///:memory:")()
    db.add(orm.User(name="ada"))
    db.commit()
    assert orm.User.find(db, "ada").name == "ada"
    assert orm.User.find(db, "bob") is None


def orm_sign():
    import jupyterhub.orm

    return jupyterhub.orm
