"""Notices wake those who watch; one that nobody watches, or that comes before the wait, does no harm."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest_asyncio
from sqlalchemy import text

from jupyterhub.hub.store import wire as wire_module
from jupyterhub.hub.store.notices import Notices, server_topic
from jupyterhub.hub.store.store import Store
from jupyterhub.hub.store.wire import Wire


async def test_an_announcement_wakes_all_who_watch_the_topic_and_nobody_else():
    notices = Notices()
    with notices.watch(server_topic(1)) as one, notices.watch(server_topic(1)) as two, notices.watch("else") as other:
        waits = [asyncio.create_task(watch.wait(within_s=5)) for watch in (one, two)]
        await asyncio.sleep(0)
        notices.announce(server_topic(1))
        assert await asyncio.gather(*waits) == [True, True]
        assert not await other.wait(within_s=0)


async def test_what_was_announced_between_two_waits_is_not_lost_and_counts_once():
    notices = Notices()
    with notices.watch("server:1") as watch:
        notices.announce("server:1")
        notices.announce("server:1")
        assert await watch.wait(within_s=5)
        assert not await watch.wait(within_s=0)


async def test_a_topic_that_nobody_watches_is_forgotten():
    notices = Notices()
    with notices.watch("server:1") as gone:
        pass
    notices.announce("server:1")
    assert not await gone.wait(within_s=0)
    assert notices._watches == {}


@pytest_asyncio.fixture(loop_scope="session")
async def wires(postgres, shared_url) -> AsyncIterator[list[tuple[Store, Notices, Wire]]]:
    """Two hubs' notices on one PostgreSQL, both connected."""
    opened = []
    tasks = []
    for _ in range(2):
        store, notices = await Store.open(shared_url), Notices()
        wire = Wire(engine=store.engine, notices=notices)
        tasks.append(asyncio.create_task(wire.run()))
        await asyncio.wait_for(wire.connected.wait(), 10)
        opened.append((store, notices, wire))
    yield opened
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for store, _, _ in opened:
        await store.close()


async def test_what_one_hub_announces_wakes_those_who_wait_on_another(wires):
    (_, here, _), (_, there, _) = wires
    with there.watch("server:7") as watch, there.watch("server:8") as other:
        here.announce("server:7")
        assert await watch.wait(within_s=5)
        assert not await other.wait(within_s=0)


async def test_many_notices_at_once_all_arrive(wires):
    (_, here, wire), (_, there, _) = wires
    with contextlib.ExitStack() as stack:
        watches = [stack.enter_context(there.watch(f"server:{number}")) for number in range(500)]
        for number in range(500):
            here.announce(f"server:{number}")
        await wire.flush(within_s=5)
        assert all(await asyncio.gather(*(watch.wait(within_s=5) for watch in watches)))


async def test_after_a_cut_connection_everybody_looks_and_notices_come_again(wires, postgres, shared_url, monkeypatch):
    monkeypatch.setattr(wire_module, "RETRY_S", 0.05)
    (store, here, _), (_, there, listening) = wires
    with there.watch("server:1") as watch:
        listening.connected.clear()
        async with store.begin() as tx:
            await tx.connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_notify%' "
                    "AND pid <> pg_backend_pid() AND datname = current_database()"
                )
            )
        assert await watch.wait(within_s=5)
        await asyncio.wait_for(listening.connected.wait(), 5)
        await watch.wait(within_s=0.1)
        await asyncio.wait_for(wires[0][2].connected.wait(), 5)
        here.announce("server:1")
        assert await watch.wait(within_s=5)
