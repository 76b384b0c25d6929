"""Hubs that die, come back or take over: what runs goes on, what was begun is finished, and nothing is done twice."""

from __future__ import annotations

import asyncio

import pytest

from jupyterhub.hub.servers import driver
from jupyterhub.words.errors import LeaseLost
from jupyterhub.words.models import Endpoint, Phase

from .small_hubs import ADA, BOB, GPU, gate, until


async def nothing(spawner):
    return


async def fail(spawner):
    raise RuntimeError("the cluster does not answer")


# -- taking over


async def test_a_running_server_is_found_again(hub, world, cluster):
    await hub.start()
    await hub.die()
    cluster.proxy.table.clear()
    after = await cluster.hub()
    await after.reconciler.at_start(wait_s=8)
    row = await after.row()
    assert row.is_ready and row.generation == 1 and row.hub_id == after.servers.hub_id
    assert cluster.proxy.leads_to("/user/ada/") == f"http://127.0.0.1:{world.port}"
    assert world.count("start") == 1 and (await after.servers.describe(ADA)).ticket == 1


async def test_a_token_goes_on_working_after_a_restart_and_ends_with_the_server(hub, world, cluster):
    await hub.start()
    await hub.die()
    after = await cluster.hub()
    await after.reconciler.at_start(wait_s=8)
    assert (await after.tools.requesters.by_token(world.tokens[0])).name == "ada"
    assert await after.servers.stop(ADA, wait_s=8) is True
    assert await after.token_notes() == [] and not world.running


async def test_a_server_that_died_meanwhile_is_cleaned_up(hub, world, cluster):
    await hub.start()
    await hub.die()
    world.running.clear()
    after = await cluster.hub()
    await after.reconciler.at_start(wait_s=8)
    await after.reaches(Phase.STOPPED)
    assert cluster.proxy.table == {} and await after.token_notes() == []


async def test_a_server_that_cannot_be_polled_when_it_is_taken_over_is_not_running(hub, world, cluster):
    await hub.start()
    await hub.die()
    world.during_poll = fail
    after = await cluster.hub()
    await after.reconciler.at_start(wait_s=8)
    await after.reaches(Phase.STOPPED)


async def test_a_spawner_may_correct_the_address(hub, world, cluster):
    await hub.start()
    await hub.die()
    async with hub.store.begin() as tx:
        lease = await tx.servers.take_over(await hub.row(), hub_id="nobody")
        await tx.servers.set_endpoint(
            lease, Endpoint(proto="http", ip="127.0.0.1", port=1, base_url="/user/ada/"), {"ticket": 1}
        )

    async def get_url(spawner):
        return f"http://127.0.0.1:{world.port}/user/ada/"

    cluster.spawner_class.get_url = get_url
    after = await cluster.hub()
    await after.reconciler.at_start(wait_s=8)
    assert (await after.row()).endpoint.port == world.port


async def test_a_proxy_that_is_away_does_not_cost_running_servers_their_lives(hub, world, cluster):
    await hub.start()
    await hub.die()
    cluster.proxy.broken = True
    after = await cluster.hub()
    await after.reconciler.at_start(wait_s=8)
    assert (await after.row()).is_ready and world.running
    cluster.proxy.broken = False
    await after.tools.routes.check()
    assert cluster.proxy.leads_to("/user/ada/") is not None


async def test_many_servers_are_shared_among_the_hubs_that_are_left(hub, other, world, cluster):
    await asyncio.gather(hub.start(), hub.start(GPU), hub.start(BOB))
    await hub.die()
    third = await cluster.hub()
    taken = await asyncio.gather(other.reconciler.look(), third.reconciler.look())
    assert sorted([*taken[0], *taken[1]]) == sorted([(await other.row(key)).id for key in (ADA, GPU, BOB)])
    for key in (ADA, GPU, BOB):
        await other.reaches(Phase.READY, key)


async def test_a_stop_that_was_interrupted_is_finished(hub, other, world):
    await hub.start()
    reached, _, world.during_stop = gate()
    await hub.servers.stop(ADA, wait_s=0)
    await reached.wait()
    await hub.die()
    world.during_stop = nothing
    await other.reconciler.look()
    await other.reaches(Phase.STOPPED)
    assert not world.running


async def test_a_server_whose_spawner_cannot_be_made_any_more_is_stopped_and_keeps_its_state(hub, cluster):
    await hub.start()
    await hub.die()

    def load_state(self, state):
        raise KeyError("pod")

    cluster.spawner_class.load_state = load_state
    after = await cluster.hub()
    await after.reconciler.at_start(wait_s=8)
    row = await after.reaches(Phase.STOPPED)
    assert row.state == {"ticket": 1} and cluster.proxy.table == {} and await after.token_notes() == []


# -- starts that were interrupted


async def test_an_interrupted_start_begins_again_once(hub, other, world):
    reached, _, world.during_start = gate()
    await hub.start(wait_s=0)
    await reached.wait()
    await hub.die()
    world.during_start = nothing
    await other.reconciler.look()
    row = await other.reaches(Phase.READY)
    assert row.generation == 1 and world.count("start") == 2
    assert world.running == {2}, "what the first start left behind is stopped before the second one"
    assert await other.token_notes() == ["Server at /user/ada/"]


async def test_a_start_that_is_interrupted_twice_has_failed(hub, other, world, cluster):
    for dying in (hub, other):
        reached, _, world.during_start = gate()
        await (dying.start(wait_s=0) if dying is hub else dying.reconciler.look())
        await reached.wait()
        await dying.die()
    world.during_start = nothing
    third = await cluster.hub()
    await third.reconciler.look()
    row = await third.reaches(Phase.STOPPED)
    assert "interrupted twice" in row.failure.message and world.count("start") == 2 and not world.running


async def test_a_start_whose_server_came_up_meanwhile_goes_on(hub, other, world):
    """The hub died while it waited for the first answer."""
    port, world.port = world.port, 1
    await hub.start(wait_s=0)
    await until(lambda: _endpoint_of(hub))
    await hub.die()
    async with other.store.begin() as tx:
        lease = await tx.servers.take_over(await other.row(), hub_id="nobody")
        await tx.servers.set_endpoint(
            lease, Endpoint(proto="http", ip="127.0.0.1", port=port, base_url="/user/ada/"), {"ticket": 1}
        )
    await other.reconciler.look()
    await other.reaches(Phase.READY)
    assert world.count("start") == 1 and world.running == {1}


async def _endpoint_of(hub):
    return (await hub.row()).endpoint


async def test_a_database_that_is_away_for_a_moment_does_not_drop_a_start(hub, world):
    reached, opened, world.during_start = gate()
    await hub.start(wait_s=0)
    await reached.wait()
    read, failures = hub.store.read, []

    def fail_twice():
        failures.append(1)
        if len(failures) == 2:
            hub.store.read = read
        raise OSError("the database is away")

    hub.store.read = fail_twice
    await until(lambda: len(failures) == 2)
    opened.set()
    await hub.reaches(Phase.READY)
    assert world.count("start") == 1


async def test_a_driver_that_failed_gets_a_successor_which_does_not_start_twice(hub, world):
    """What its start left behind is stopped, and the start begins again."""
    reached, _, world.during_start = gate()
    await hub.start(wait_s=0)
    await reached.wait()
    row = await hub.row()
    await hub.servers.let_go()
    assert row.id not in hub.servers.drivers
    world.during_start = nothing
    await hub.reconciler.look()
    await hub.reaches(Phase.READY)
    assert world.running == {2}


async def test_a_driver_that_is_watched_by_the_reconciler_is_left_alone(hub, world):
    _, opened, world.during_start = gate()
    await hub.start(wait_s=0)
    before = hub.servers.drivers[(await hub.row()).id]
    await hub.reconciler.look()
    assert hub.servers.drivers[(await hub.row()).id] is before
    opened.set()
    await hub.reaches(Phase.READY)


async def test_the_reconciler_leaves_leases_alone_that_are_just_being_taken(hub, world):
    """Between the commit of a start and its driver: a look just then must not make a second driver."""
    begin = hub.store.begin
    looks = []

    def begin_and_look():
        context = begin()
        leave = context.__aexit__

        class Looking:
            async def __aenter__(self):
                return await context.__aenter__()

            async def __aexit__(self, *error):
                await leave(*error)
                hub.store.begin = begin
                looks.append(await hub.reconciler.look())

        return Looking()

    await hub.servers.modify(ADA, user_options={})  # the row is there
    hub.store.begin = begin_and_look
    handler = object()
    seen = []
    hub.tools.authenticator.pre_spawn_start = lambda user, spawner: seen.append(spawner.handler)
    await hub.start(handler=handler)
    assert looks and seen == [handler]


# -- leases that were lost


@pytest.fixture
def _sleeping(monkeypatch):
    """Hubs that do not look at their rows while they work, as if they were paused."""
    monkeypatch.setattr(driver, "SLOW_LOOK_S", 60.0)


async def test_a_hub_that_was_given_up_drops_its_work(hub, other, world):
    dropped = asyncio.Event()

    async def wait(spawner):
        try:
            await asyncio.Event().wait()
        finally:
            dropped.set()

    world.during_start = wait
    await hub.start(wait_s=0)
    await until(lambda: world.running)
    await hub.forget()
    world.during_start = nothing
    await other.reconciler.look()
    await other.reaches(Phase.READY)
    await dropped.wait()
    await until(lambda: not hub.servers.drivers)
    assert world.running == {2}


@pytest.mark.usefixtures("_sleeping")
async def test_a_hub_that_was_given_up_touches_nothing(hub, other, world, cluster):
    """It slept through the take-over in ``Spawner.start``; the server runs under the other hub when it wakes up."""
    reached, opened, world.during_start = gate()
    await hub.start(wait_s=0)
    await reached.wait()
    old = hub.servers.drivers[(await hub.row()).id]
    await hub.forget()
    world.during_start = nothing
    await other.reconciler.look()
    before = await other.reaches(Phase.READY)
    route = cluster.proxy.table["/user/ada/"]
    opened.set()
    await until(lambda: not hub.servers.drivers)
    assert await other.row() == before and cluster.proxy.table["/user/ada/"] == route
    assert await other.token_notes() == ["Server at /user/ada/"]
    assert (await other.tools.requesters.by_token(world.tokens[1])).name == "ada"
    with pytest.raises(LeaseLost):
        await old._save_state()


async def test_an_old_stop_that_wakes_up_leaves_the_credentials_of_the_next_life(hub, other, world, cluster):
    await hub.start()
    reached, opened, world.during_stop = gate()
    await hub.servers.stop(ADA, wait_s=0)
    await reached.wait()
    await hub.forget()
    world.during_stop = nothing
    await other.reconciler.look()
    await other.reaches(Phase.STOPPED)
    await other.start()
    opened.set()
    await until(lambda: not hub.servers.drivers)
    assert await other.token_notes() == ["Server at /user/ada/"]
    assert await other.client_ids() == ["jupyterhub-user-ada"]
    assert (await other.row()).is_ready and cluster.proxy.leads_to("/user/ada/") is not None


@pytest.mark.usefixtures("_sleeping")
async def test_an_old_driver_that_gave_a_route_too_late_gives_it_back(hub, other, world, cluster):
    """Given up between its route and its *ready*: the route of the server as the other hub started it must stay."""
    reached, opened = asyncio.Event(), asyncio.Event()
    add_route = cluster.proxy.add_route

    async def slow_once(*args):
        cluster.proxy.add_route = add_route
        reached.set()
        await opened.wait()
        await add_route(*args[:1], "http://127.0.0.1:1", *args[2:])

    cluster.proxy.add_route = slow_once
    await hub.start(wait_s=0)
    await reached.wait()
    await hub.forget()
    await other.reconciler.look()
    await other.reaches(Phase.READY)
    opened.set()
    await until(lambda: not hub.servers.drivers)
    assert cluster.proxy.leads_to("/user/ada/") == f"http://127.0.0.1:{world.port}"
