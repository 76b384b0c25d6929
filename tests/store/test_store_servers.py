"""Rows of servers: one driver at a time, limits for all hubs together, and rows that the original wrote."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from sqlalchemy import delete, insert, update

from jupyterhub.hub.store import tables as t
from jupyterhub.words.errors import AlreadyExists, LeaseLost
from jupyterhub.words.models import Endpoint, Failure, Lease, Phase, SpawnLimits, Target, Window
from jupyterhub.words.names import ServerKey

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ENDPOINT = Endpoint(proto="http", ip="127.0.0.1", port=8888, base_url="/user/ada/gpu/")
GPU = ServerKey("ada", "gpu")


@pytest_asyncio.fixture(loop_scope="session")
async def gpu(tx, ada):
    return await tx.servers.create(ada.id, "gpu", display_name="My GPU", user_options={"n": 1, "file": b"\xff"})


async def begin(tx, server_id: int, *, hub: str = "hub", limits: SpawnLimits | None = None) -> Lease | None:
    return await tx.servers.begin_start(
        server_id, hub_id=hub, limits=limits or SpawnLimits(), now=NOON, user_options=None
    )


async def test_a_new_server_is_stopped_and_nobodys(tx, ada, gpu):
    assert (gpu.key, gpu.user_id, gpu.display_name) == (GPU, ada.id, "My GPU")
    assert gpu.user_options == {"n": 1, "file": b"\xff"}
    assert (gpu.phase, gpu.target, gpu.generation, gpu.hub_id) == (Phase.STOPPED, Target.STOPPED, 0, None)
    assert await tx.servers.find(GPU) == await tx.servers.find_by_id(gpu.id) == gpu
    with pytest.raises(AlreadyExists):
        await tx.servers.create(ada.id, "gpu")


async def test_a_server_goes_from_stopped_to_ready_and_back(tx, gpu):
    lease = await begin(tx, gpu.id)
    assert lease == Lease(gpu.id, 1, "hub")
    await tx.servers.save_state(lease, {"pid": 1})
    await tx.servers.set_endpoint(lease, ENDPOINT, {"pid": 2})
    await tx.servers.mark_ready(lease, now=NOON, was=Phase.STARTING)
    ready = await tx.servers.find(GPU)
    assert ready is not None
    assert (ready.phase, ready.endpoint, ready.state, ready.started) == (Phase.READY, ENDPOINT, {"pid": 2}, NOON)
    assert await tx.servers.want_stopped(gpu.id, now=NOON)
    await tx.servers.mark_stopped(lease, state=None, now=NOON)
    stopped = await tx.servers.find(GPU)
    assert stopped is not None
    assert (stopped.phase, stopped.endpoint, stopped.state, stopped.started) == (Phase.STOPPED, None, None, None)
    assert (stopped.hub_id, stopped.generation) == (None, 1)


async def test_a_failure_is_kept_until_the_next_start(tx, gpu):
    lease = await begin(tx, gpu.id)
    failure = Failure(message="no room", status=507, reason="No Room", headers={"Retry-After": "60"})
    await tx.servers.mark_stopping(lease, now=NOON, failure=failure)
    await tx.servers.mark_stopped(lease, state={}, now=NOON)
    failed = await tx.servers.find(GPU)
    assert failed is not None
    assert failed.failure == failure
    await begin(tx, gpu.id)
    again = await tx.servers.find(GPU)
    assert again is not None
    assert again.failure is None


async def test_who_has_lost_the_lease_writes_nothing(tx, gpu):
    lease = await begin(tx, gpu.id)
    [orphan] = await tx.servers.list_orphans()
    taken = await tx.servers.take_over(orphan, hub_id="other")
    assert taken is not None
    assert await tx.servers.take_over(orphan, hub_id="third") is None
    for write in (
        lambda: tx.servers.save_state(lease, {"pid": 1}),
        lambda: tx.servers.set_endpoint(lease, ENDPOINT, {}),
        lambda: tx.servers.mark_ready(lease, now=NOON, was=Phase.STARTING),
        lambda: tx.servers.mark_stopping(lease, now=NOON),
        lambda: tx.servers.mark_stopped(lease, state=None, now=NOON),
        lambda: tx.servers.add_event(lease, {"progress": 1}, now=NOON),
        lambda: tx.servers.set_oauth_client(lease, None),
    ):
        with pytest.raises(LeaseLost):
            await write()
    await tx.servers.save_state(taken, {"pid": 2})


async def test_events_of_a_start_come_in_order_and_go_with_the_next(tx, gpu):
    lease = await begin(tx, gpu.id)
    for progress in (0, 50, 100):
        await tx.servers.add_event(lease, {"progress": progress}, now=NOON)
    events = await tx.servers.events_from(gpu.id, lease.generation, 1)
    assert [(each.seq, each.data["progress"]) for each in events] == [(1, 50), (2, 100)]
    await tx.servers.mark_stopped(lease, state=None, now=NOON)
    await begin(tx, gpu.id)
    assert await tx.servers.events_from(gpu.id, lease.generation, 0) == []


async def test_of_many_that_start_a_server_at_once_one_gets_it(store):
    async with store.begin() as tx:
        ada = await tx.users.create("ada")
        server = await tx.servers.create(ada.id, "")

    async def start(hub: str) -> Lease | None:
        async with store.begin() as tx:
            return await begin(tx, server.id, hub=hub)

    leases = await asyncio.gather(*(start(f"hub{number}") for number in range(5)))
    assert len([lease for lease in leases if lease]) == 1


@pytest.mark.parametrize("limits", [SpawnLimits(concurrent=3), SpawnLimits(active=3)])
async def test_a_limit_holds_for_all_that_start_at_once(store, limits):
    async with store.begin() as tx:
        users = await tx.users.create_many([f"user{number}" for number in range(8)])
        servers = [await tx.servers.create(user.id, "") for user in users]

    async def start(server_id: int) -> Lease | None:
        async with store.begin() as tx:
            return await begin(tx, server_id, limits=limits)

    leases = await asyncio.gather(*(start(server.id) for server in servers))
    assert len([lease for lease in leases if lease]) == 3
    async with store.read() as tx:
        assert await tx.servers.count() == 3


async def test_of_two_that_create_a_server_at_once_one_does(store):
    async with store.begin() as tx:
        ada = await tx.users.create("ada")

    async def create() -> None:
        async with store.begin() as tx:
            await tx.servers.create(ada.id, "gpu")

    outcomes = await asyncio.gather(*(create() for _ in range(4)), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["AlreadyExists"] * 3 + ["NoneType"]


async def test_rows_of_the_original_are_read_as_what_they_are(tx, ada):
    """It knows nothing of our tables: servers that it made have no state, others a state that is out of date."""
    for name in ("running", "stopped", "stopped meanwhile", "started meanwhile"):
        await tx.servers.create(ada.id, name)
    ids = {server.key.name: server.id for server in await tx.servers.list_of_user(ada.id)}
    [endpoint_id] = (
        await tx.connection.execute(insert(t.servers).values(ip="127.0.0.1", port=1).returning(t.servers.c.id))
    ).scalars()
    has_endpoint = [ids["running"], ids["started meanwhile"]]
    await tx.connection.execute(
        update(t.spawners).where(t.spawners.c.id.in_(has_endpoint)).values(server_id=endpoint_id)
    )
    states = t.server_states
    await tx.connection.execute(delete(states).where(states.c.spawner_id.in_([ids["running"], ids["stopped"]])))
    gone = states.c.spawner_id == ids["stopped meanwhile"]
    await tx.connection.execute(update(states).where(gone).values(phase="ready", target="running", hub_id="gone"))

    await tx.servers.meet_rows_of_the_original()
    await tx.servers.meet_rows_of_the_original()

    found = {server.key.name: server for server in await tx.servers.list_of_user(ada.id)}
    assert {name: server.phase for name, server in found.items()} == {
        "running": Phase.READY,
        "started meanwhile": Phase.READY,
        "stopped": Phase.STOPPED,
        "stopped meanwhile": Phase.STOPPED,
    }
    assert {server.hub_id for server in found.values()} == {None}
    orphans = [server.key.name for server in await tx.servers.list_orphans()]
    assert sorted(orphans) == ["running", "started meanwhile"]


async def test_with_a_server_goes_what_was_about_it(tx, ada, bob, gpu):
    lease = await begin(tx, gpu.id)
    await tx.servers.set_endpoint(lease, ENDPOINT, {})
    await tx.servers.add_event(lease, {}, now=NOON)
    await tx.shares.create(gpu.id, ada.id, user_id=bob.id, scopes=[], now=NOON)
    await tx.servers.delete(gpu.id)
    assert await tx.servers.find(GPU) is None
    assert await tx.shares.list_of_owner(ada.id, Window()) == ([], 0)
    for table in (t.servers, t.server_states, t.server_events):
        assert (await tx.connection.execute(table.select())).all() == []


async def test_activity_of_servers_only_moves_forward(tx, gpu):
    await tx.servers.touch(gpu.id, NOON)
    await tx.servers.touch(gpu.id, NOON - timedelta(hours=1))
    await tx.servers.touch_many([(gpu.id, NOON - timedelta(hours=2))])
    found = await tx.servers.find(GPU)
    assert found is not None
    assert found.last_activity == NOON


async def test_a_hub_that_is_silent_is_given_up(tx):
    await tx.replicas.register("hub", host="a", pid=1, url="http://a")
    await tx.replicas.register("other", host="b", pid=2, url="http://b")
    assert await tx.replicas.remove_silent(timedelta(seconds=30)) == 0
    long_ago = NOON.replace(tzinfo=None) - timedelta(days=3650)
    await tx.connection.execute(update(t.replicas).where(t.replicas.c.id == "other").values(heartbeat=long_ago))
    assert await tx.replicas.remove_silent(timedelta(seconds=30)) == 1
    assert await tx.replicas.beat("hub")
    assert not await tx.replicas.beat("other")
    assert [replica.id for replica in await tx.replicas.list()] == ["hub"]
    assert await tx.replicas.remove_dead_on("a", [99]) == 1
