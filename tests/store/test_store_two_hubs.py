"""Two hubs on one database: what each does alone is right, and so it is when both do it at the same moment."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from sqlalchemy import delete, select, text, update

from jupyterhub.hub.store import tables as t
from jupyterhub.hub.store.at_start import AtStart
from jupyterhub.hub.store.store import Store
from jupyterhub.words.errors import AlreadyExists, NotFound
from jupyterhub.words.models import Lease, OAuthClient, SpawnLimits
from jupyterhub.words.names import ServerKey

from .conftest import empty

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest_asyncio.fixture(loop_scope="session")
async def gpu(store):
    """ada's server, committed."""
    async with store.begin() as tx:
        ada = await tx.users.create("ada")
        return await tx.servers.create(ada.id, "gpu")


async def somebody_waits(store: Store) -> None:
    """Return as soon as a transaction waits for another one's lock. SQLite has no such thing: one writes at a time."""
    if store.dialect != "postgresql":
        return
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    async with asyncio.timeout(5):
        while True:
            async with store.read() as tx:
                if (await tx.connection.execute(waiting)).scalar_one():
                    return
            await asyncio.sleep(0.005)


async def test_failures_that_two_hubs_count_at_once_are_all_counted(store):
    """The key is not there at first, so there is no row that a reader could lock."""

    async def count() -> None:
        async with store.begin() as tx:
            failures = int(await tx.facts.get("failures") or 0)
            await tx.facts.set("failures", failures + 1)

    await asyncio.gather(*(count() for _ in range(4)))
    async with store.begin() as tx:
        assert await tx.facts.get("failures") == 4


async def test_a_fact_is_kept_changed_and_forgotten(tx):
    assert await tx.facts.get("key") is None
    await tx.facts.set("key", {"a": [1, None]})
    await tx.facts.set("key", {"a": [2, None]})
    assert await tx.facts.get("key") == {"a": [2, None]}
    await tx.facts.remove("key")
    assert await tx.facts.get("key") is None


async def test_hubs_that_meet_rows_of_the_original_at_once_all_go_on(store):
    """The first start after the original, with two replicas: no server has a state row yet."""
    async with store.begin() as tx:
        for user in await tx.users.create_many([f"user{number}" for number in range(50)]):
            await tx.servers.create(user.id, "")
        await tx.connection.execute(delete(t.server_states))

    async def meet() -> None:
        async with store.begin() as tx:
            await tx.servers.meet_rows_of_the_original()

    await asyncio.gather(*(meet() for _ in range(3)))
    async with store.read() as tx:
        assert len((await tx.connection.execute(select(t.server_states.c.spawner_id))).all()) == 50


async def test_a_user_who_gets_a_role_while_a_hub_starts_has_it_once(store):
    async with store.begin() as tx:
        ada, role = await tx.users.create("ada"), await tx.roles.upsert("user", description="", scopes=["self"])

    async def hub_starts() -> None:
        async with store.begin() as tx:
            await AtStart(tx.connection).link_users_without_roles(role.id)

    async with store.begin() as tx:
        await tx.roles.grant("user", ada.id, "user")
        starting = asyncio.create_task(hub_starts())
        await somebody_waits(store)
    await starting
    async with store.read() as tx:
        assert [name for _, name, _ in await tx.roles.holders("user", "user")] == ["ada"]


async def test_activity_that_two_hubs_write_in_any_order_is_written(store):
    async with store.begin() as tx:
        users = await tx.users.create_many([f"user{number}" for number in range(400)])
    seen = [(user.id, NOON) for user in users]

    async def write(times: list[tuple[int, datetime]]) -> None:
        async with store.begin() as tx:
            await tx.users.touch_many(times)

    await asyncio.gather(write(seen), write(seen[::-1]))
    async with store.read() as tx:
        assert await tx.users.count_active_since(NOON) == 400


async def test_of_two_that_create_the_same_users_in_any_order_one_does(store):
    names = [f"user{number}" for number in range(400)]

    async def create(wanted: list[str]) -> None:
        async with store.begin() as tx:
            await tx.users.create_many(wanted)

    outcomes = await asyncio.gather(create(names), create(names[::-1]), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["AlreadyExists", "NoneType"]
    async with store.read() as tx:
        assert await tx.users.count() == 400


async def test_a_server_gets_no_name_that_another_has(store, gpu):
    async with store.begin() as tx:
        other = await tx.servers.create(gpu.user_id, "other")
        with pytest.raises(AlreadyExists):
            await tx.servers.rename(other.id, "gpu")
        await tx.servers.rename(other.id, "other")


async def test_of_a_server_renamed_and_one_created_at_once_one_gets_the_name(store, gpu):
    async def create() -> None:
        async with store.begin() as tx:
            await tx.servers.create(gpu.user_id, "cpu")

    async with store.begin() as tx:
        await tx.servers.rename(gpu.id, "cpu")
        creating = asyncio.create_task(create())
        await somebody_waits(store)
    with pytest.raises(AlreadyExists):
        await creating
    async with store.read() as tx:
        assert [server.id for server in await tx.servers.list_of_user(gpu.user_id)] == [gpu.id]


async def test_a_server_of_somebody_who_was_deleted_is_not_created(store, gpu):
    async with store.begin() as tx:
        await tx.users.delete(gpu.user_id)
    with pytest.raises(NotFound):
        async with store.begin() as tx:
            await tx.servers.create(gpu.user_id, "gpu")


async def test_somebody_who_was_deleted_is_not_changed(store, gpu):
    async with store.begin() as tx:
        await tx.users.delete(gpu.user_id)
    with pytest.raises(NotFound):
        async with store.begin() as tx:
            await tx.users.update(gpu.user_id, admin=True)


async def test_a_client_that_a_start_takes_into_use_stays_while_another_hub_tidies_up(store, gpu):
    client = OAuthClient(identifier="lab", description="", secret="", redirect_uri="", allowed_scopes=[])
    async with store.begin() as tx:
        await tx.oauth.save_client(client)  # from a start that its hub did not live to finish

    async def tidy_up() -> int:
        async with store.begin() as tx:
            return await tx.oauth.delete_unused()

    async with store.begin() as tx:
        await tx.oauth.save_client(client)
        this = t.spawners.c.id == gpu.id
        await tx.connection.execute(update(t.spawners).where(this).values(oauth_client_id="lab"))
        tidying = asyncio.create_task(tidy_up())
        await somebody_waits(store)
    assert await tidying == 0
    async with store.read() as tx:
        assert await tx.oauth.find_client("lab") is not None


async def test_clients_that_nobody_uses_go_but_not_the_hubs_own(tx, ada, hub_client):
    await tx.oauth.save_client(
        OAuthClient(identifier="old", description="", secret="", redirect_uri="", allowed_scopes=[])
    )
    assert await tx.oauth.delete_unused() == 1
    assert await tx.oauth.client_ids() == ["jupyterhub"]


async def test_of_two_hubs_that_take_over_a_server_at_once_one_gets_it(store, gpu):
    async with store.begin() as tx:
        await tx.servers.begin_start(gpu.id, hub_id="dead", limits=SpawnLimits(), now=NOON, user_options=None)
        [orphan] = await tx.servers.list_orphans()

    async def take(hub: str) -> Lease | None:
        async with store.begin() as tx:
            return await tx.servers.take_over(orphan, hub_id=hub)

    leases = [lease for lease in await asyncio.gather(*(take(f"hub{n}") for n in range(4))) if lease]
    assert len(leases) == 1
    async with store.read() as tx:
        found = await tx.servers.find(ServerKey("ada", "gpu"))
        assert found is not None
        assert (found.hub_id, found.generation, await tx.servers.attempts(gpu.id)) == (leases[0].hub_id, 1, 2)


@pytest.mark.parametrize("engine_name", ["postgresql"], indirect=True)
async def test_limits_hold_whatever_the_isolation_that_the_database_prefers(empty_url, engine_name):
    """An administrator may have made another level the default of the database, or of the hub's role in it."""
    options = {"connect_args": {"server_settings": {"default_transaction_isolation": "repeatable read"}}}
    store = await Store.open(empty_url, engine_options=options)
    try:
        async with store.begin() as tx:
            users = await tx.users.create_many([f"user{number}" for number in range(6)])
            servers = [await tx.servers.create(user.id, "") for user in users]

        async def start(server_id: int) -> Lease | None:
            async with store.begin() as tx:
                limits = SpawnLimits(concurrent=2)
                return await tx.servers.begin_start(server_id, hub_id="h", limits=limits, now=NOON, user_options=None)

        leases = await asyncio.gather(*(start(server.id) for server in servers))
        assert len([lease for lease in leases if lease]) == 2
    finally:
        await empty(store)
        await store.close()
