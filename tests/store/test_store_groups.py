"""Groups and who is in them."""

from __future__ import annotations

import asyncio

import pytest

from jupyterhub.rbac.scope_set import EVERYTHING, ListFilter
from jupyterhub.words.errors import AlreadyExists
from jupyterhub.words.models import Window


async def test_a_new_group_has_what_it_was_given(tx):
    group = await tx.groups.create("physics", {"cpu": 4})
    assert (group.name, group.properties) == ("physics", {"cpu": 4})
    assert await tx.groups.find("physics") == group
    assert await tx.groups.find("Physics") is None
    assert (await tx.groups.create("empty")).properties == {}


async def test_a_name_is_given_once(tx):
    await tx.groups.create("physics")
    with pytest.raises(AlreadyExists):
        await tx.groups.create("physics")


async def test_properties_are_replaced_as_a_whole(tx):
    group = await tx.groups.create("physics", {"cpu": 4})
    await tx.groups.set_properties(group.id, {"gpu": 1})
    found = await tx.groups.find("physics")
    assert found is not None
    assert found.properties == {"gpu": 1}


async def test_a_list_gives_what_its_filter_names_in_windows(tx):
    for number in range(5):
        await tx.groups.create(f"g{number}")

    async def listed(listed: ListFilter, **window: int) -> tuple[list[str], int]:
        groups, total = await tx.groups.list(listed, Window(**window))
        return [group.name for group in groups], total

    assert await listed(EVERYTHING) == (["g0", "g1", "g2", "g3", "g4"], 5)
    assert await listed(EVERYTHING, offset=3, limit=1) == (["g3"], 5)
    only = ListFilter(everything=False, groups=frozenset({"g1", "g4", "none"}), users=frozenset({"g2"}))
    assert await listed(only) == (["g1", "g4"], 2)
    assert await listed(ListFilter(everything=False)) == ([], 0)


async def test_members_come_once_and_go(tx, ada, bob):
    group = await tx.groups.create("physics")
    await tx.groups.add_members(group.id, [ada.id, ada.id])
    await tx.groups.add_members(group.id, [ada.id, bob.id])
    await tx.groups.add_members(group.id, [])
    assert await tx.groups.members(group.id) == ["ada", "bob"]
    await tx.groups.remove_members(group.id, [ada.id, 12345])
    await tx.groups.remove_members(group.id, [])
    assert await tx.groups.members(group.id) == ["bob"]


async def test_members_of_many_groups_and_groups_of_many_users(tx, ada, bob):
    physics, chess, none = [await tx.groups.create(name) for name in ("physics", "chess", "none")]
    await tx.groups.add_members(physics.id, [ada.id, bob.id])
    await tx.groups.add_members(chess.id, [ada.id])
    assert await tx.groups.members_of([physics.id, chess.id, none.id]) == {
        physics.id: ["ada", "bob"],
        chess.id: ["ada"],
    }
    assert await tx.groups.groups_of(ada.id) == ["chess", "physics"]
    assert [group.name for group in await tx.groups.list_of_user(ada.id)] == ["chess", "physics"]
    assert await tx.groups.groups_of_many([ada.id, bob.id]) == {ada.id: ["chess", "physics"], bob.id: ["physics"]}
    assert await tx.groups.groups_of_names(["ada", "nobody"]) == {"ada": frozenset({"chess", "physics"})}


async def test_nobody_asked_about_is_no_statement(tx):
    assert await tx.groups.members_of([]) == {}
    assert await tx.groups.groups_of_many([]) == {}
    assert await tx.groups.groups_of_names([]) == {}


async def test_membership_becomes_what_is_said_and_groups_are_made_for_it(tx, ada, bob):
    await tx.groups.create("physics", {"cpu": 4})
    await tx.groups.set_groups_of(bob.id, ["physics"])
    await tx.groups.set_groups_of(ada.id, ["physics", "chess", "chess"])
    assert await tx.groups.groups_of(ada.id) == ["chess", "physics"]
    await tx.groups.set_groups_of(ada.id, ["chess", "go"])
    assert await tx.groups.groups_of(ada.id) == ["chess", "go"]
    await tx.groups.set_groups_of(ada.id, [])
    assert await tx.groups.groups_of(ada.id) == []
    assert await tx.groups.groups_of(bob.id) == ["physics"]
    physics = await tx.groups.find("physics")
    assert physics is not None
    assert physics.properties == {"cpu": 4}


async def test_with_a_group_go_its_memberships_roles_and_shares(tx, ada):
    group = await tx.groups.create("physics")
    await tx.groups.add_members(group.id, [ada.id])
    await tx.roles.upsert("teacher", description="", scopes=["self"])
    await tx.roles.grant("group", group.id, "teacher")
    await tx.groups.delete(group.id)
    assert await tx.groups.groups_of(ada.id) == []
    assert await tx.roles.holders("teacher", "group") == []
    assert await tx.users.find("ada") == ada


async def test_logins_at_once_share_the_groups_that_they_make(store):
    async with store.begin() as tx:
        users = await tx.users.create_many([f"user{number}" for number in range(6)])

    async def log_in(user_id: int) -> None:
        async with store.begin() as tx:
            await tx.groups.set_groups_of(user_id, ["physics", "chess"])

    await asyncio.gather(*(log_in(user.id) for user in users for _ in range(2)))
    async with store.read() as tx:
        assert await tx.groups.groups_of_many([user.id for user in users]) == {
            user.id: ["chess", "physics"] for user in users
        }
