"""Stopping, and servers that end by themselves."""

from __future__ import annotations

import asyncio

import pytest

from jupyterhub.words.errors import Invalid, NotFound
from jupyterhub.words.models import Phase

from .small_hubs import ADA, GPU, gate, until


async def fail(spawner):
    raise RuntimeError("the cluster does not answer")


async def nothing(spawner):
    return


async def test_a_stopped_server_has_no_route_address_or_state(hub, world, cluster):
    await hub.start()
    assert await hub.servers.stop(ADA, wait_s=8) is True
    row = await hub.row()
    assert row.is_stopped and row.endpoint is None and row.state == {} and row.started is None
    assert cluster.proxy.table == {} and not world.running


async def test_the_route_goes_before_the_server(hub, world, cluster):
    await hub.start()
    routes = []

    async def look(spawner):
        routes.append(cluster.proxy.leads_to("/user/ada/"))

    world.during_stop = look
    await hub.servers.stop(ADA, wait_s=8)
    assert routes == [None]


async def test_who_cannot_wait_for_the_stop_is_told_so(hub, world):
    await hub.start()
    reached, opened, world.during_stop = gate()
    assert await hub.servers.stop(ADA, wait_s=0) is False
    await reached.wait()
    assert (await hub.row()).pending == "stop"
    assert await hub.servers.stop(ADA, wait_s=0) is False
    opened.set()
    await hub.reaches(Phase.STOPPED)
    assert world.count("stop") == 1


async def test_stopping_what_is_stopped_is_fine(hub):
    assert await hub.servers.stop(ADA, wait_s=0) is True
    await hub.start()
    await hub.servers.stop(ADA, wait_s=8)
    assert await hub.servers.stop(ADA, wait_s=0) is True


async def test_a_server_can_be_stopped_on_a_hub_that_does_not_drive_it(hub, other, world):
    await hub.start()
    seen = asyncio.Event()

    async def until_seen(spawner):
        await seen.wait()

    world.during_stop = until_seen
    stopping = asyncio.create_task(other.servers.stop(ADA, wait_s=8))
    await other.reaches(Phase.STOPPING)
    seen.set()
    await hub.reconciler.look()  # what makes up for a lost notice
    assert await stopping is True
    assert not world.running


async def test_a_server_that_cannot_be_stopped_is_ready_again(hub, world, cluster):
    await hub.start()
    world.during_stop = fail
    assert await hub.servers.stop(ADA, wait_s=8) is False
    assert (await hub.row()).is_ready and cluster.proxy.leads_to("/user/ada/") is not None
    assert await hub.token_notes() == ["Server at /user/ada/"]
    world.during_stop = nothing
    assert await hub.servers.stop(ADA, wait_s=8) is True


async def test_a_stop_that_fails_after_the_server_has_ended_is_a_stop(hub, world):
    async def stop_and_fail(spawner):
        world.running.clear()
        raise RuntimeError("gone already")

    await hub.start()
    world.during_stop = stop_and_fail
    assert await hub.servers.stop(ADA, wait_s=8) is True


async def test_a_server_is_stopped_even_if_it_cannot_be_polled(hub, world):
    await hub.start()
    world.during_poll = fail
    assert await hub.servers.stop(ADA, wait_s=8) is True
    assert not world.running


async def test_hooks_that_fail_do_not_keep_a_server_from_ending(hub, world, cluster):
    cluster.configure(post_stop_hook=fail)
    await hub.start()

    async def post_spawn_stop(user, spawner):
        raise RuntimeError("no")

    hub.tools.authenticator.post_spawn_stop = post_spawn_stop
    assert await hub.servers.stop(ADA, wait_s=8) is True


async def test_a_proxy_that_is_away_does_not_keep_a_server_from_ending(hub, cluster):
    await hub.start()
    cluster.proxy.broken = True
    assert await hub.servers.stop(ADA, wait_s=8) is True


async def test_all_servers_of_a_user_are_stopped_together(hub, world):
    await asyncio.gather(hub.start(), hub.start(GPU))
    async with hub.store.read() as tx:
        ada = await tx.users.find("ada")
    await hub.servers.stop_all_of(ada, wait_s=8)
    assert not world.running


# -- removing


async def test_a_running_server_is_removed_when_it_has_stopped(hub, world):
    await hub.start(GPU)
    assert await hub.servers.stop(GPU, remove=True, wait_s=8) is True
    await until(lambda: not hub.servers.drivers)
    assert await hub.servers.find(GPU) is None
    assert world.count("delete_forever") == 1


async def test_a_stopped_server_is_removed_at_once(hub, world):
    await hub.start(GPU)
    await hub.servers.stop(GPU, wait_s=8)
    assert await hub.servers.stop(GPU, remove=True, wait_s=0) is True
    assert await hub.servers.find(GPU) is None and world.count("delete_forever") == 1


async def test_a_server_that_is_stopping_already_can_still_be_removed(hub, world):
    await hub.start(GPU)
    reached, opened, world.during_stop = gate()
    await hub.servers.stop(GPU, wait_s=0)
    await reached.wait()
    assert await hub.servers.stop(GPU, remove=True, wait_s=0) is False
    opened.set()
    await until(lambda: not hub.servers.drivers)
    assert await hub.servers.find(GPU) is None


async def test_a_wish_to_remove_that_came_too_late_does_not_end_the_next_life(hub):
    await hub.start(GPU)
    await hub.servers.stop(GPU, wait_s=8)
    async with hub.store.begin() as tx:
        await tx.servers.want_removed((await hub.row(GPU)).id)
    await hub.start(GPU)
    await hub.servers.stop(GPU, wait_s=8)
    await until(lambda: not hub.servers.drivers)
    assert (await hub.row(GPU)).is_stopped


async def test_the_default_server_cannot_be_removed(hub):
    with pytest.raises(Invalid):
        await hub.servers.stop(ADA, remove=True, wait_s=0)
    with pytest.raises(NotFound):
        await hub.servers.stop(GPU, wait_s=0)


# -- ending by itself


async def test_a_server_that_dies_is_noticed_by_polling(hub, world, cluster):
    called = []
    cluster.configure(poll_interval=1)
    await hub.start()
    world.spawners[0].add_poll_callback(called.append, "ended")
    world.running.clear()
    assert (await hub.reaches(Phase.STOPPED)).failure is None
    assert cluster.proxy.table == {} and await hub.token_notes() == [] and called == ["ended"]
    assert world.count("stop") == 0


async def test_a_server_that_dies_is_noticed_by_who_asks(hub, world, cluster):
    await hub.start()
    world.running.clear()
    assert (await hub.servers.check(ADA)).is_stopped
    assert cluster.proxy.table == {}


async def test_a_server_that_has_died_can_be_started_without_waiting_for_a_poll(hub, world):
    await hub.start()
    world.running.clear()
    server = await hub.start()
    assert server.is_ready and server.generation == 2


async def test_two_that_notice_a_death_together_clean_up_once(hub, world):
    called = []
    await hub.start()
    world.spawners[0].add_poll_callback(called.append, "ended")
    world.running.clear()
    seen = await asyncio.gather(*(hub.servers.check(ADA) for _ in range(3)))
    assert not any(server.is_ready for server in seen)  # one that looks last may find it stopping
    await hub.reaches(Phase.STOPPED)
    assert called == ["ended"]
    assert world.count("post_spawn_stop") == 1


async def test_a_poll_that_fails_says_nothing(hub, world):
    await hub.start()
    world.during_poll = fail
    assert (await hub.servers.check(ADA)).is_ready


async def test_without_a_poll_interval_nobody_polls(hub, world, cluster, monkeypatch):
    cluster.configure(poll_interval=0)
    await hub.start()
    world.running.clear()
    await hub.reconciler.look()
    assert (await hub.row()).is_ready
