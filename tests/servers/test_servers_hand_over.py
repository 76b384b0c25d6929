"""What hubs leave to each other: ready servers, the lead, tokens; and what keeps one from doing another's work."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from jupyterhub.hub.replicas import heartbeat, leader
from jupyterhub.hub.replicas.leader import Leadership
from jupyterhub.hub.servers import driver
from jupyterhub.words.errors import Invalid, SpawnFailed, Unavailable
from jupyterhub.words.models import Phase

from .small_hubs import ADA, BOB, GPU, gate, until
from .test_servers_heartbeat import beating, known

# -- ready servers


async def test_a_server_that_was_handed_over_stays_ready_all_the_time(hub, other, world):
    await hub.start()
    await hub.servers.hand_over()
    await hub.forget()
    polls = []
    world.during_poll = lambda spawner: _note(polls)
    [taken] = await other.reconciler.look()
    row = await other.row()
    assert (row.id, row.phase, row.hub_id) == (taken, Phase.READY, other.servers.hub_id)
    await until(lambda: other.servers.drivers[taken].spawner)
    assert not polls
    assert await other.servers.stop(ADA, wait_s=5) and not world.running


async def _note(calls: list[int]) -> None:
    calls.append(1)


async def test_what_nobody_took_is_checked_by_the_next_hub_that_starts(hub, other):
    await hub.start()
    await hub.servers.hand_over()
    async with other.store.begin() as tx:
        await tx.servers.doubt_handed_over()
        [orphan] = await tx.servers.list_orphans()
        assert orphan.hub_id is None
        await tx.servers.take_over(orphan, hub_id=other.servers.hub_id)
    assert (await other.row()).phase is Phase.CHECKING


async def test_a_hub_that_ends_waits_for_what_it_starts(hub, world):
    reached, opened, world.during_start = gate()
    start = asyncio.create_task(hub.start())
    await reached.wait()
    settled = asyncio.create_task(hub.servers.settle(within_s=8))
    await asyncio.sleep(0.1)
    assert not settled.done()
    opened.set()
    await settled
    assert (await start).is_ready


async def test_no_more_servers_are_checked_at_once_than_allowed(hub, other, world, monkeypatch):
    for key in (ADA, BOB, GPU):
        await hub.start(key)
    await hub.die()
    object.__setattr__(other.tools, "checks", asyncio.Semaphore(1))
    at_once, most = 0, 0

    async def poll(spawner):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.02)
        at_once -= 1

    world.during_poll = poll
    await other.reconciler.look()
    for key in (ADA, BOB, GPU):
        await other.reaches(Phase.READY, key)
    assert most == 1


# -- limits


async def test_named_servers_that_are_added_at_once_count_for_each_other(cluster):
    one, two = [await cluster.hub(named_server_limit_per_user=1) for _ in range(2)]
    keys = [GPU, type(GPU)("ada", "cpu")]
    made = await asyncio.gather(
        *(
            hub.servers.create(key, display_name=None, user_options=None)
            for hub, key in zip((one, two), keys, strict=True)
        ),
        return_exceptions=True,
    )
    assert sorted(type(each) is Invalid for each in made) == [False, True]


async def test_a_hook_that_never_returns_fails_the_start(cluster, monkeypatch):
    monkeypatch.setattr(driver, "PLUGIN_LIMIT_S", 0.1)
    never = asyncio.Event()
    cluster.configure(pre_spawn_hook=lambda spawner: never.wait())
    hub = await cluster.hub()
    with pytest.raises(SpawnFailed):
        await hub.start()
    assert (await hub.row()).failure.message == "Spawner.pre_spawn_hook did not end within 0.1 s"


async def test_a_stop_that_never_returns_can_be_asked_for_again(hub, world, monkeypatch):
    monkeypatch.setattr(driver, "PLUGIN_LIMIT_S", 0.1)
    await hub.start()
    never = asyncio.Event()
    world.during_stop = lambda spawner: never.wait()
    assert not await hub.servers.stop(ADA, wait_s=5)
    assert (await hub.row()).is_ready
    never.set()
    assert await hub.servers.stop(ADA, wait_s=5) and not world.running


# -- tokens


async def works(hub, secret) -> bool:
    return await hub.tools.requesters.by_token(secret) is not None


async def test_a_token_that_the_spawner_has_chosen_is_the_one_that_works(hub, world):
    async def choose(spawner):
        world.given, spawner.api_token = spawner.api_token, "chosen-by-the-spawner-0123456789"

    world.during_start = choose
    await hub.start()
    assert await works(hub, "chosen-by-the-spawner-0123456789") and not await works(hub, world.given)
    assert await hub.token_notes() == ["Server at /user/ada/"]
    await hub.servers.stop(ADA, wait_s=5)
    assert not await works(hub, "chosen-by-the-spawner-0123456789")


async def test_a_server_that_resumes_keeps_the_token_of_its_earlier_life(cluster, world):
    cluster.configure(will_resume=True)
    hub = await cluster.hub()
    await hub.start()
    [first] = world.tokens
    await hub.servers.stop(ADA, wait_s=5)
    assert await works(hub, first)

    async def resume(spawner):
        spawner.api_token = first

    world.during_start = resume
    await hub.start()
    assert await works(hub, first) and await hub.token_notes() == ["Server at /user/ada/"]


async def test_the_token_of_somebody_else_is_refused(hub, world):
    await hub.start(BOB)
    [of_bob] = world.tokens

    async def steal(spawner):
        spawner.api_token = of_bob

    world.during_start = steal
    with pytest.raises(SpawnFailed):
        await hub.start()
    assert await works(hub, of_bob) and await hub.token_notes() == []


# -- a database that is away


async def test_a_start_that_the_database_interrupts_goes_on_when_it_is_back(hub, world, monkeypatch):
    reached, opened, world.during_start = gate()
    start = asyncio.create_task(hub.start())
    await reached.wait()
    save = hub.tools.views.server_path
    away = [True]

    def fail_once(key):
        if away:
            away.clear()
            raise Unavailable("The database does not answer.")
        return save(key)

    monkeypatch.setattr(hub.tools.views, "server_path", fail_once)
    opened.set()
    await until(lambda: not hub.servers.drivers)
    await hub.reconciler.look()
    assert (await start).is_ready
    assert len(world.running) == 1 and world.count("start") == 2


# -- heartbeats and the lead


async def test_a_hub_judges_others_only_when_its_own_heart_has_beaten_steadily(hub, other, monkeypatch):
    monkeypatch.setattr(heartbeat, "BEAT_EVERY_S", 0.02)
    monkeypatch.setattr(heartbeat, "GIVEN_UP_AFTER", timedelta(seconds=0.4))
    heart = beating(other)
    heart._steady_since -= 10
    heart._last_beat -= 10  # the database was away for as long
    await asyncio.sleep(0.5)
    assert await heart._beat() and len(await known(other)) == 2
    beats = asyncio.create_task(heart.run())
    await until(lambda: _is_alone(other))
    beats.cancel()


async def _is_alone(hub):
    return await known(hub) == [hub.servers.hub_id]


class Duties:
    """Counts who does what one hub shall do."""

    def __init__(self, hub) -> None:
        self.working = 0
        self.leadership = Leadership(store=hub.store, hub_id=lambda: hub.servers.hub_id, duties=self._work)

    async def _work(self) -> None:
        self.working += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.working -= 1


@pytest.fixture
def _quick_elections(monkeypatch):
    monkeypatch.setattr(leader, "LOOK_EVERY_S", 0.02)


@pytest.mark.usefixtures("_quick_elections")
async def test_one_hub_leads_and_another_when_it_dies(hub, other):
    one, two = Duties(hub), Duties(other)
    tasks = [asyncio.create_task(one.leadership.run())]
    await until(lambda: one.working)
    tasks.append(asyncio.create_task(two.leadership.run()))
    await asyncio.sleep(0.1)
    assert (one.working, two.working) == (1, 0)
    await hub.forget()
    await until(lambda: two.working)
    await until(lambda: not one.working)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not one.working and not two.working


@pytest.mark.usefixtures("_quick_elections")
async def test_a_hub_that_resigns_is_followed_at_once(hub, other):
    one, two = Duties(hub), Duties(other)
    leading = asyncio.create_task(one.leadership.run())
    await until(lambda: one.working)
    leading.cancel()
    await asyncio.gather(leading, return_exceptions=True)
    await one.leadership.resign()
    assert await two.leadership.is_ours() and not await one.leadership.is_ours()


@pytest.mark.usefixtures("_quick_elections")
async def test_of_many_that_want_to_lead_one_does(cluster):
    hubs = [await cluster.hub() for _ in range(4)]
    leads = await asyncio.gather(*(Duties(hub).leadership.is_ours() for hub in hubs))
    assert sorted(leads) == [False, False, False, True]
