"""Heartbeats: a hub that is silent is given up, and one that was given up comes back as somebody else."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from jupyterhub.hub.replicas import heartbeat
from jupyterhub.hub.replicas.heartbeat import Heartbeat, new_hub_id
from jupyterhub.words.models import Phase

from .small_hubs import gate, until

URL = "http://127.0.0.1:8081/hub/"


@pytest.fixture(autouse=True)
def _quick_beats(monkeypatch):
    monkeypatch.setattr(heartbeat, "BEAT_EVERY_S", 0.02)


def beating(hub) -> Heartbeat:
    """As ``cli/build.py`` wires it."""

    async def come_back() -> str:
        await hub.servers.let_go()
        hub.servers.hub_id = new_hub_id()
        return hub.servers.hub_id

    return Heartbeat(
        store=hub.store, notices=hub.tools.notices, hub_id=hub.servers.hub_id, url=URL, on_removed=come_back
    )


async def known(hub) -> list[str]:
    async with hub.store.read() as tx:
        return [replica.id for replica in await tx.replicas.list()]


async def test_a_hub_that_was_given_up_comes_back_under_a_new_name(hub, world):
    old, heart = hub.servers.hub_id, beating(hub)
    await hub.start()
    beats = asyncio.create_task(heart.run())
    await hub.forget()
    await until(lambda: _knows_only(hub, old))
    assert heart.hub_id == hub.servers.hub_id != old
    assert not hub.servers.drivers
    await hub.reconciler.look()
    row = await hub.reaches(Phase.READY)
    assert row.hub_id == hub.servers.hub_id and world.count("start") == 1
    beats.cancel()


async def _knows_only(hub, old):
    return old not in (ids := await known(hub)) and hub.servers.hub_id in ids


async def test_a_start_in_the_hands_of_a_hub_that_was_given_up_begins_again(hub, world):
    reached, opened, world.during_start = gate()
    await hub.start(wait_s=0)
    await reached.wait()
    old = hub.servers.hub_id
    beats = asyncio.create_task(beating(hub).run())
    await hub.forget()
    await until(lambda: _knows_only(hub, old))
    opened.set()
    await hub.reconciler.look()
    await hub.reaches(Phase.READY)
    assert world.running == {2}
    beats.cancel()


async def test_coming_back_is_tried_until_it_works(hub, monkeypatch):
    heart, register, tries = beating(hub), Heartbeat.register, []

    async def fail_once(self):
        tries.append(self.hub_id)
        if len(tries) == 1:
            raise OSError("the database is away")
        await register(self)

    monkeypatch.setattr(Heartbeat, "register", fail_once)
    beats = asyncio.create_task(heart.run())
    await hub.forget()
    await until(lambda: len(tries) == 2)
    await until(lambda: _is_known(hub, heart.hub_id))
    assert not beats.done()
    beats.cancel()


async def _is_known(hub, hub_id):
    return hub_id in await known(hub)


async def test_a_silent_hub_is_given_up_and_a_beating_one_is_not(hub, other, monkeypatch):
    monkeypatch.setattr(heartbeat, "GIVEN_UP_AFTER", timedelta(seconds=0.3))
    beats = asyncio.create_task(beating(other).run())
    await until(lambda: _is_gone(other, hub.servers.hub_id))
    assert await known(other) == [other.servers.hub_id]
    beats.cancel()


async def _is_gone(hub, hub_id):
    return hub_id not in await known(hub)


async def test_a_hub_that_leaves_need_not_be_waited_for(hub, other):
    await beating(hub).end()
    assert await known(other) == [other.servers.hub_id]


async def test_a_hub_registers_in_place_of_its_dead_predecessor(hub):
    heart = beating(hub)
    heart.hub_id = new_hub_id()
    async with hub.store.begin() as tx:
        await tx.replicas.register("dead", host=heartbeat.machine(), pid=1, url=URL)
    await heart.register()
    assert heart.hub_id in await known(hub) and "dead" not in await known(hub)
