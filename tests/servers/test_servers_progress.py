"""Following a start: every watcher, on every hub, sees all of it from the first event to the last."""

from __future__ import annotations

import asyncio

import pytest

from jupyterhub.hub.servers import servers
from jupyterhub.words.errors import Invalid, NotFound
from jupyterhub.words.models import Phase

from .small_hubs import ADA, GPU, gate, until

REQUESTED = {"progress": 0, "message": "Server requested"}
PULLING = {"progress": 20, "message": "Pulling the image"}
READY = {
    "progress": 100,
    "ready": True,
    "message": "Server ready at /user/ada/",
    "html_message": 'Server ready at <a href="/user/ada/">/user/ada/</a>',
    "url": "/user/ada/",
}


async def pull(spawner):
    yield {**PULLING, "ready": True}


async def test_watchers_on_all_hubs_see_all_events_from_the_first_one(hub, other, world):
    world.progress = pull
    _, opened, world.during_start = gate()
    await hub.start(wait_s=0)
    early = [asyncio.create_task(each.progress()) for each in (hub, hub, other)]
    await until(lambda: _events(hub, 2))
    late = [asyncio.create_task(each.progress()) for each in (hub, other)]
    opened.set()
    for events in await asyncio.gather(*early, *late):
        assert events == [REQUESTED, PULLING, READY]


async def _events(hub, count):
    async with hub.store.read() as tx:
        row = await tx.servers.find(ADA)
        return len(await tx.servers.events_from(row.id, row.generation, 0)) >= count


async def test_a_ready_server_has_its_last_event_only(hub, other, world):
    world.progress = pull
    await hub.start()
    assert await hub.progress() == await other.progress() == [READY]


async def test_the_ready_event_can_be_changed(hub, world, cluster):
    cluster.configure(progress_ready_hook=lambda spawner, event: {**event, "url": "/elsewhere"})
    await hub.start()
    assert await hub.progress() == [{**READY, "url": "/elsewhere"}]


async def test_a_ready_hook_that_fails_changes_nothing(hub, cluster):
    def fail(spawner, event):
        raise ValueError

    cluster.configure(progress_ready_hook=fail)
    await hub.start()
    assert await hub.progress() == [READY]


async def test_progress_ends_with_the_start_even_if_the_spawner_has_more_to_tell(hub, world):
    async def tell_for_ever(spawner):
        yield PULLING
        await asyncio.Event().wait()

    world.progress = tell_for_ever
    _, opened, world.during_start = gate()
    await hub.start(wait_s=0)
    await until(lambda: _events(hub, 2))
    opened.set()
    assert await hub.progress() == [REQUESTED, PULLING, READY]


async def test_progress_that_fails_does_not_fail_the_start(hub, world):
    async def fail(spawner):
        yield PULLING
        raise RuntimeError("no more")

    world.progress = fail
    assert (await hub.start()).is_ready


async def test_a_watcher_of_a_failing_start_sees_why(hub, other, world):
    _, opened, wait = gate()

    async def wait_and_fail(spawner):
        await wait(spawner)
        raise RuntimeError("boom")

    world.during_start = wait_and_fail
    await hub.start(wait_s=0)
    watchers = [asyncio.create_task(each.progress()) for each in (hub, other)]
    opened.set()
    for events in await asyncio.gather(*watchers):
        assert events == [REQUESTED, {"progress": 100, "failed": True, "message": "Spawn failed: boom"}]


async def test_events_of_an_earlier_start_are_forgotten(hub, world):
    world.progress = pull
    await hub.start()
    await hub.servers.stop(ADA, wait_s=8)
    world.progress = None
    _, opened, world.during_start = gate()
    await hub.start(wait_s=0)
    opened.set()
    assert await hub.progress() == [REQUESTED, READY]


async def test_watchers_see_an_interrupted_start_to_its_end_on_another_hub(hub, other, world):
    reached, _, world.during_start = gate()
    await hub.start(wait_s=0)
    watcher = asyncio.create_task(other.progress())
    await reached.wait()
    await hub.die()
    world.during_start = lambda spawner: asyncio.sleep(0)
    await other.reconciler.look()
    assert await watcher == [REQUESTED, READY]


async def test_a_server_that_never_started_has_no_progress(hub):
    with pytest.raises(NotFound):
        await hub.progress()
    await hub.servers.create(GPU, display_name=None, user_options=None)
    with pytest.raises(NotFound):
        await hub.progress(GPU)


async def test_a_server_that_was_stopped_has_no_progress(hub):
    await hub.start()
    await hub.servers.stop(ADA, wait_s=8)
    with pytest.raises(Invalid):
        await hub.progress()


async def test_a_server_that_is_being_stopped_is_not_called_ready(hub, world):
    await hub.start()
    reached, opened, world.during_stop = gate()
    await hub.servers.stop(ADA, wait_s=0)
    await reached.wait()
    with pytest.raises(Invalid):
        await hub.progress()
    opened.set()


async def test_a_server_that_is_being_checked_is_called_ready_when_it_is(hub, other, world):
    await hub.start()
    await hub.die()
    reached, opened, world.during_poll = gate()
    await other.reconciler.look()
    await reached.wait()
    assert (await other.row()).phase is Phase.CHECKING
    watcher = asyncio.create_task(other.progress())
    await asyncio.sleep(0)
    assert not watcher.done()
    opened.set()
    assert await watcher == [READY]


async def test_a_silent_start_is_kept_alive(hub, world, monkeypatch):
    monkeypatch.setattr(servers, "KEEP_ALIVE_S", 0.01)
    _, opened, world.during_start = gate()
    await hub.start(wait_s=0)
    events = hub.servers.progress(ADA)
    assert await anext(events) == REQUESTED
    assert await anext(events) is None
    await events.aclose()
    opened.set()
    await hub.reaches(Phase.READY)
