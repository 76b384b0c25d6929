"""Named servers: which may exist, what they may be called, how they change; and the spawner as pages see it."""

from __future__ import annotations

import asyncio

import pytest

from jupyterhub.hub.servers import named
from jupyterhub.words.errors import AlreadyExists, Conflict, Invalid, NotFound
from jupyterhub.words.models import Phase
from jupyterhub.words.names import ServerKey

from .small_hubs import ADA, GPU, gate


async def create(hub, key=GPU, **values):
    return await hub.servers.create(key, **{"display_name": None, "user_options": None, **values})


async def test_a_server_can_be_made_without_starting_it(hub, world):
    server = await create(hub, display_name="My GPU", user_options={"n": 1})
    assert server.is_stopped and server.display_name == "My GPU" and server.user_options == {"n": 1}
    assert world.calls == []
    await hub.start(GPU)
    assert world.spawners[-1].user_options == {"n": 1} and world.spawners[-1].name == "gpu"


async def test_a_label_is_the_name_unless_given(hub):
    assert (await create(hub)).display_name == "gpu"


async def test_there_is_one_server_of_a_name(hub, other):
    made = await asyncio.gather(create(hub), create(other), return_exceptions=True)
    assert sorted(isinstance(each, AlreadyExists) for each in made) == [False, True]


async def test_the_default_server_is_always_there(hub):
    with pytest.raises(AlreadyExists):
        await create(hub, ADA)


async def test_nobody_makes_a_server_for_somebody_unknown(hub):
    with pytest.raises(NotFound):
        await create(hub, ServerKey("eve", "gpu"))


@pytest.mark.parametrize("name", ["GPU", "a--b", "-a", "a-", "1a", "a" * 31, "a b", "ä"])
async def test_new_names_follow_the_rules(hub, name):
    for work in (create(hub, ServerKey("ada", name)), hub.start(ServerKey("ada", name))):
        with pytest.raises(Invalid):
            await work


@pytest.mark.parametrize("label", [" a", "a ", "a  b", "a\nb", "x" * 256])
def test_labels_can_be_shown(label):
    with pytest.raises(Invalid):
        named.check_display_name(label)


def test_a_label_is_kept_in_its_normal_form():
    assert named.check_display_name("Ame\u0301lie") == "Am\u00e9lie"


async def test_named_servers_can_be_switched_off(cluster):
    hub = await cluster.hub(allow_named_servers=False)
    for work in (create(hub), hub.start(GPU), hub.servers.stop(GPU, wait_s=0)):
        with pytest.raises(Invalid, match="not enabled"):
            await work
    assert (await hub.start(ADA)).is_ready


async def test_named_servers_are_limited_running_or_not(cluster):
    hub = await cluster.hub(named_server_limit_per_user=1)
    await create(hub)
    for work in (create(hub, ServerKey("ada", "two")), hub.start(ServerKey("ada", "two"))):
        with pytest.raises(Invalid, match="maximum of 1"):
            await work
    assert (await hub.start(GPU)).is_ready and (await hub.start(ADA)).is_ready


async def test_the_limit_can_be_a_function_of_the_request(cluster):
    async def limit(handler):
        return handler

    hub = await cluster.hub(named_server_limit_per_user=limit)
    await create(hub, handler=0)
    with pytest.raises(Invalid):
        await create(hub, ServerKey("ada", "two"), handler=1)


async def make_invalid(hub):
    async with hub.store.begin() as tx:
        ada = await tx.users.find("ada")
        await tx.servers.create(ada.id, "Old Name")


async def test_an_old_name_that_breaks_the_rules_may_be_started_unless_that_is_off(cluster):
    old = ServerKey("ada", "Old Name")
    hub = await cluster.hub()
    await make_invalid(hub)
    assert (await hub.start(old)).is_ready
    await hub.servers.stop(old, wait_s=8)
    strict = await cluster.hub(allow_existing_invalid_named_servers="allow-delete")
    with pytest.raises(Invalid):
        await strict.start(old)
    assert await strict.servers.stop(old, remove=True, wait_s=8) is True


# -- changing


async def test_a_stopped_server_can_be_renamed_with_its_label_and_options(hub, world):
    await create(hub)
    changed = await hub.servers.modify(GPU, name="tpu", display_name="TPU", user_options={"n": 2})
    assert (changed.key.name, changed.display_name, changed.user_options) == ("tpu", "TPU", {"n": 2})
    assert await hub.servers.find(GPU) is None and "rename gpu tpu" in world.calls


async def test_the_default_server_can_be_renamed(hub, world):
    await hub.start()
    await hub.servers.stop(ADA, wait_s=8)
    changed = await hub.servers.modify(ADA, name="first")
    assert changed.key.name == "first" and await hub.servers.find(ADA) is None
    assert (await hub.start(ADA)).id != changed.id


async def test_a_renamed_default_server_counts(cluster):
    hub = await cluster.hub(named_server_limit_per_user=1)
    await create(hub)
    with pytest.raises(Invalid, match="maximum"):
        await hub.servers.modify(ADA, name="first")
    assert (await hub.servers.modify(GPU, name="tpu")).key.name == "tpu"


async def test_a_name_that_is_taken_stays_with_its_server(hub):
    await create(hub)
    await create(hub, ServerKey("ada", "tpu"))
    for name in ("tpu", ""):
        with pytest.raises(Conflict):
            await hub.servers.modify(GPU, name=name)


async def test_a_spawner_may_forbid_the_renaming(hub, cluster):
    async def rename(self, old, new):
        raise ValueError("its volume cannot be renamed")

    cluster.spawner_class.rename = rename
    await create(hub)
    with pytest.raises(ValueError, match="volume"):
        await hub.servers.modify(GPU, name="tpu")
    assert (await hub.row(GPU)).key == GPU


async def test_an_active_server_cannot_be_changed(hub, world):
    _, opened, world.during_start = gate()
    await hub.start(wait_s=0)
    with pytest.raises(Invalid, match="active"):
        await hub.servers.modify(ADA, user_options={})
    opened.set()
    await hub.reaches(Phase.READY)


async def test_options_of_the_default_server_can_be_set_without_named_servers(cluster):
    hub = await cluster.hub(allow_named_servers=False)
    assert (await hub.servers.modify(ADA, user_options={"n": 1})).user_options == {"n": 1}
    with pytest.raises(Invalid):
        await hub.servers.modify(ADA, name="first")


async def test_an_unknown_server_cannot_be_changed(hub):
    with pytest.raises(NotFound):
        await hub.servers.modify(GPU, user_options={})


# -- the spawner as others see it


async def test_the_spawner_of_a_running_server_is_the_one_that_runs_it(hub, other, world):
    await hub.start()
    live = await hub.servers.describe(ADA)
    assert live.ready and live.user.spawners[""] is live
    elsewhere = await other.servers.describe(ADA)
    assert elsewhere is not live and elsewhere.ticket == 1
    await hub.servers.stop(ADA, wait_s=8)
    assert await hub.servers.describe(ADA) is not live and not live.active


async def test_a_server_that_never_started_has_a_spawner_too(hub):
    spawner = await hub.servers.describe(GPU)
    assert spawner.name == "gpu" and not spawner.active and spawner.user.name == "ada"
    with pytest.raises(NotFound):
        await hub.servers.describe(ServerKey("eve"))


async def test_the_options_form_is_the_spawners(hub, cluster):
    async def form(spawner):
        return f"<p>{spawner.user.name} {spawner.handler}</p>"

    cluster.configure(options_form=form, options_from_form=lambda data: {"size": int(data["size"][0])})
    assert await hub.servers.options_form(ADA, handler="H") == "<p>ada H</p>"
    assert await hub.servers.options_from_form(ADA, {"size": ["3"]}, handler=None) == {"size": 3}
    assert await hub.servers.options_from_query(ADA, {"size": ["4"]}, handler=None) == {"size": 4}


async def test_a_spawner_says_what_is_pending(hub, world):
    reached, opened, world.during_start = gate()
    await hub.start(wait_s=0)
    await reached.wait()
    live = await hub.servers.describe(ADA)
    assert live.pending == "spawn" and live.active and not live.ready
    opened.set()
    await hub.reaches(Phase.READY)
    reached, opened, world.during_stop = gate()
    await hub.servers.stop(ADA, wait_s=0)
    await reached.wait()
    assert live.pending == "stop"
    opened.set()
