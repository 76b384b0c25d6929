"""Starting: one start however many ask, in the order that plugins rely on, within the limits."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from jupyterhub.hub.bulletin import Bulletin, Maintenance
from jupyterhub.words.clock import utcnow
from jupyterhub.words.errors import Conflict, Invalid, NotFound, SpawnFailed, Throttled, Unavailable
from jupyterhub.words.models import Phase
from jupyterhub.words.names import ServerKey
from jupyterhub.words.secret_hash import secret_matches

from .small_hubs import ADA, BOB, GPU, gate, until


async def test_a_start_ends_in_a_ready_server_with_a_route(hub, world, cluster):
    server = await hub.start()
    assert server.is_ready and server.endpoint.port == world.port
    assert cluster.proxy.leads_to("/user/ada/") == f"http://127.0.0.1:{world.port}"
    assert cluster.proxy.table["/user/ada/"]["data"] == {"user": "ada", "server_name": ""}
    assert server.state == {"ticket": 1} and server.started is not None


async def test_a_start_is_noted_for_the_status_whichever_hub_drove_it(hub, other, world):
    await hub.start()
    world.during_start = failing
    with pytest.raises(SpawnFailed):
        await other.start(BOB)
    async with hub.servers.tools.store.read() as tx:
        [minute, *more] = await tx.starts.by_minute(utcnow() - timedelta(minutes=5))
        [failed] = await tx.starts.failed(utcnow() - timedelta(minutes=5), limit=9)
    assert sum(m.succeeded for m in (minute, *more)) == 1 and sum(m.failed for m in (minute, *more)) == 1
    assert minute.mean_s is not None and minute.mean_s == minute.longest_s
    assert (failed.key, failed.reason) == (BOB, "no volume")


async def failing(spawner):
    raise RuntimeError("no volume")


async def test_two_that_ask_at_once_get_one_start(hub, world):
    first, second = await asyncio.gather(hub.start(), hub.start())
    assert first.is_ready and second.is_ready and first.generation == second.generation == 1
    assert world.count("start") == 1


async def test_two_hubs_asked_at_once_start_one_server(hub, other, world):
    first, second = await asyncio.gather(hub.start(), other.start())
    assert first.is_ready and second.is_ready and first.generation == second.generation
    assert world.count("start") == 1 and len(world.running) == 1


async def test_who_asks_while_it_starts_joins_on_any_hub(hub, other, world):
    reached, opened, world.during_start = gate()
    first = asyncio.create_task(hub.start())
    await reached.wait()
    second = asyncio.create_task(other.start())
    assert (await other.start(wait_s=0)).phase is Phase.STARTING
    opened.set()
    assert (await first).is_ready and (await second).is_ready
    assert world.count("start") == 1


async def test_who_cannot_wait_gets_a_server_that_is_starting(hub, world):
    reached, opened, world.during_start = gate()
    assert (await hub.start(wait_s=0)).phase is Phase.STARTING
    await reached.wait()
    assert (await hub.row()).pending == "spawn"
    opened.set()
    await hub.reaches(Phase.READY)


async def test_a_running_server_cannot_be_started(hub, other):
    await hub.start()
    with pytest.raises(Invalid, match="already running"):
        await hub.start()
    with pytest.raises(Invalid, match="already running"):
        await other.start()


async def test_a_stopping_server_cannot_be_started(hub, world):
    await hub.start()
    reached, opened, world.during_stop = gate()
    assert await hub.servers.stop(ADA, wait_s=0) is False
    await reached.wait()
    with pytest.raises(Invalid, match="still stopping"):
        await hub.start()
    opened.set()
    await hub.reaches(Phase.STOPPED)


async def test_nobody_starts_the_server_of_somebody_unknown(hub):
    with pytest.raises(NotFound):
        await hub.start(ServerKey("eve"))


async def test_hooks_run_in_the_order_that_plugins_rely_on(hub, world, cluster):
    def note(name):
        return lambda *args: world.calls.append(name)

    async def auth_state(user_id):
        return {"token": "t"}

    hub.tools.views.load_auth_state = auth_state
    cluster.configure(
        auth_state_hook=note("auth_state_hook"),
        group_overrides=lambda spawner: world.calls.append("group_overrides"),
        apply_user_options=note("apply_user_options"),
        pre_spawn_hook=note("pre_spawn_hook"),
        progress_ready_hook=note("progress_ready_hook"),
        post_stop_hook=note("post_stop_hook"),
    )
    await hub.start(user_options={"size": 1})
    await hub.servers.stop(ADA, wait_s=8)
    assert world.calls == [
        "pre_spawn_start",
        "auth_state_hook",
        "group_overrides",
        "apply_user_options",
        "pre_spawn_hook",
        "start",
        "progress_ready_hook",
        "stop",
        "post_stop_hook",
        "post_spawn_stop",
    ]


async def test_the_handler_is_with_the_spawner_during_the_start_only(hub, world, cluster):
    seen = []
    cluster.configure(pre_spawn_hook=lambda spawner: seen.append(spawner.handler))
    handler = object()
    await hub.start(handler=handler)
    assert seen == [handler]
    await until(lambda: world.spawners[0].handler is None)


async def test_options_are_those_of_last_time_unless_given(hub, world):
    await hub.start(user_options={"size": 1})
    await hub.servers.stop(ADA, wait_s=8)
    await hub.start()
    assert world.spawners[-1].user_options == {"size": 1}
    await hub.servers.stop(ADA, wait_s=8)
    await hub.start(user_options={})
    assert world.spawners[-1].user_options == {}


async def test_a_server_has_a_token_and_an_oauth_client_while_it_runs(hub, world):
    await hub.start()
    assert await hub.token_notes() == ["Server at /user/ada/"]
    async with hub.store.read() as tx:
        client = await tx.oauth.find_client("jupyterhub-user-ada")
    assert client.redirect_uri == "/user/ada/oauth_callback"
    assert secret_matches(client.secret, world.tokens[0])
    requester = await hub.tools.requesters.by_token(world.tokens[0])
    assert requester.name == "ada"
    await hub.servers.stop(ADA, wait_s=8)
    assert await hub.token_notes() == [] and await hub.client_ids() == []
    assert (await hub.row()).oauth_client_id is None


async def test_a_spawner_that_will_resume_keeps_its_credentials(hub, world, cluster):
    cluster.configure(will_resume=True)
    await hub.start()
    await hub.servers.stop(ADA, wait_s=8)
    assert await hub.token_notes() == ["Server at /user/ada/"]
    assert await hub.client_ids() == ["jupyterhub-user-ada"]


async def test_starts_are_limited_for_all_hubs_together(cluster, world):
    hub, other = await cluster.hub(concurrent_spawn_limit=1), await cluster.hub(concurrent_spawn_limit=1)
    reached, opened, world.during_start = gate()
    await hub.start(wait_s=0)
    await reached.wait()
    with pytest.raises(Throttled) as refused:
        await other.start(BOB)
    assert 30 <= refused.value.retry_after_s <= 60 and "Too many users" in str(refused.value)
    opened.set()
    await hub.reaches(Phase.READY)
    assert (await other.start(BOB)).is_ready


async def test_active_servers_are_limited_for_all_hubs_together(cluster):
    hub, other = await cluster.hub(active_server_limit=1), await cluster.hub(active_server_limit=1)
    await hub.start()
    with pytest.raises(Throttled) as refused:
        await other.start(BOB)
    assert refused.value.retry_after_s is None
    await hub.servers.stop(ADA, wait_s=8)
    assert (await other.start(BOB)).is_ready


async def test_a_refused_start_leaves_the_new_row(cluster):
    hub = await cluster.hub(active_server_limit=1)
    await hub.start()
    with pytest.raises(Throttled):
        await hub.start(GPU)
    assert (await hub.row(GPU)).is_stopped


async def test_a_start_can_be_cancelled_by_a_stop(hub, world, cluster):
    reached, _, world.during_start = gate()
    starting = asyncio.create_task(hub.start())
    await reached.wait()
    following = asyncio.create_task(hub.progress())
    assert await hub.servers.stop(ADA, wait_s=8) is True
    with pytest.raises(Conflict, match="cancelled"):
        await starting
    assert (await following)[-1] == {"progress": 100, "failed": True, "message": "Spawn cancelled"}
    assert world.count("stop") == 1 and not world.running
    assert await hub.token_notes() == [] and await hub.client_ids() == []
    row = await hub.row()
    assert row.is_stopped and row.failure is None and row.endpoint is None and row.started is None
    assert cluster.proxy.table == {}


async def test_a_start_can_be_cancelled_on_another_hub(hub, other, world):
    reached, _, world.during_start = gate()
    await hub.start(wait_s=0)
    await reached.wait()
    assert await other.servers.stop(ADA, wait_s=8) is True
    assert not world.running


async def test_a_start_that_is_cancelled_in_its_hooks_never_starts(hub, world, cluster):
    reached, _, wait = gate()
    cluster.configure(pre_spawn_hook=wait)
    await hub.start(wait_s=0)
    await reached.wait()
    assert await hub.servers.stop(ADA, wait_s=8) is True
    assert world.count("start") == world.count("stop") == 0
    assert await hub.token_notes() == []


async def test_what_a_start_raises_when_it_is_cancelled_is_no_failure(hub, world):
    reached = asyncio.Event()

    async def complain(spawner):
        reached.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RuntimeError("I was not done") from None

    world.during_start = complain
    await hub.start(wait_s=0)
    await reached.wait()
    assert await hub.servers.stop(ADA, wait_s=8) is True
    assert (await hub.row()).failure is None


async def test_a_server_can_be_started_again_after_a_cancelled_start(hub, world):
    reached, opened, world.during_start = gate()
    await hub.start(wait_s=0)
    await reached.wait()
    await hub.servers.stop(ADA, wait_s=8)
    opened.set()
    server = await hub.start()
    assert server.is_ready and server.generation == 2


async def test_a_stop_between_the_answer_and_ready_is_carried_out_at_once(hub, world, cluster):
    """The driver finds the row changed when it wants to write *ready*: it has not lost its lease."""
    add_route = cluster.proxy.add_route

    async def ask_for_the_stop_meanwhile(*args):
        await add_route(*args)
        async with hub.store.begin() as tx:
            assert await tx.servers.want_stopped((await hub.row()).id, now=(await hub.row()).started)

    cluster.proxy.add_route = ask_for_the_stop_meanwhile
    with pytest.raises(Conflict, match="cancelled"):
        await hub.start(wait_s=2.5)
    assert not world.running and cluster.proxy.table == {}


async def test_during_maintenance_nothing_starts_on_any_hub_but_what_runs_goes_on(hub, other, world):
    await hub.start(BOB)
    bulletin = Bulletin(other.servers.tools.store)
    await bulletin.change(maintenance=Maintenance(text="Disks.", since=utcnow(), by="root"))
    with pytest.raises(Unavailable, match="Disks"):
        await hub.start()
    assert world.count("start") == 1 and (await hub.row(BOB)).is_ready
    await bulletin.change(maintenance=None)
    assert (await hub.start()).is_ready
