"""What is kept until somebody writes: never older than the database."""

from __future__ import annotations

import sqlite3

import pytest

from jupyterhub.hub.store.store import Store


@pytest.fixture
async def path(tmp_path):
    return tmp_path / "hub.sqlite"


@pytest.fixture
async def on_file(path):
    store = await Store.open(f"sqlite:///{path}")
    yield store
    await store.close()


async def test_values_stay_while_nobody_writes(on_file):
    kept = on_file.kept(most=10)
    kept.now()["ada"] = 1
    async with on_file.read() as tx:
        await tx.users.find("ada")
    assert kept.now() == {"ada": 1}


async def test_our_own_commit_ends_them(on_file):
    kept = on_file.kept(most=10)
    kept.now()["ada"] = 1
    async with on_file.begin() as tx:
        await tx.users.create("ada")
        assert kept.now() == {"ada": 1}, "nobody has committed yet"
    assert kept.now() == {}


async def test_the_commit_of_another_program_ends_them(on_file, path):
    kept = on_file.kept(most=10)
    kept.now()["ada"] = 1
    other = sqlite3.connect(path)
    other.execute("INSERT INTO users (name, admin, cookie_id) VALUES ('ada', 0, 'x')")
    other.commit()
    other.close()
    assert kept.now() == {}


async def test_a_value_that_was_read_before_a_commit_is_not_kept_after_it(on_file):
    kept = on_file.kept(most=10)
    values = kept.now()
    async with on_file.begin() as tx:
        await tx.users.create("ada")
    values["ada"] = "not there"
    assert kept.now() == {}


async def test_there_are_never_more_than_said(on_file):
    kept = on_file.kept(most=3)
    for number in range(10):
        kept.now()[number] = number
        assert len(kept.now()) <= 3


@pytest.mark.parametrize("url", ["sqlite://"])
async def test_without_a_way_to_know_nothing_is_kept(url):
    store = await Store.open(url)
    kept = store.kept(most=10)
    kept.now()["ada"] = 1
    assert kept.now() == {}
    await store.close()
