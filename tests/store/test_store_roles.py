"""Roles, who holds them, and the scopes that come of it."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio

from jupyterhub.words.errors import NotFound


@pytest_asyncio.fixture(loop_scope="session")
async def teacher(tx):
    return await tx.roles.upsert("teacher", description="Teaches", scopes=["read:users", "self"])


async def test_a_role_becomes_what_is_said_whether_it_exists_or_not(tx, teacher):
    assert await tx.roles.find("teacher") == teacher
    changed = await tx.roles.upsert("teacher", description=None, scopes=[], managed_by_auth=True)
    assert changed.id == teacher.id
    assert (changed.description, changed.scopes, changed.managed_by_auth) == (None, [], True)
    assert await tx.roles.list() == [changed]
    assert await tx.roles.find("nobody") is None


async def test_a_role_that_is_already_so_is_not_written(tx, teacher):
    assert await tx.roles.upsert("teacher", description="Teaches", scopes=["read:users", "self"]) == teacher


@pytest.mark.parametrize("kind", ["user", "group", "service"])
async def test_roles_are_granted_once_listed_and_taken(tx, teacher, kind):
    make = {"user": tx.users.create, "group": tx.groups.create, "service": tx.services.save}[kind]
    one, other = await make("one"), await make("other")
    await tx.roles.grant(kind, one.id, "teacher", managed_by_auth=True)
    await tx.roles.grant(kind, one.id, "teacher")
    await tx.roles.grant_many(kind, [one.id, other.id], "teacher")
    assert await tx.roles.holders("teacher", kind) == [(one.id, "one", True), (other.id, "other", False)]
    assert await tx.roles.names_of(kind, one.id) == ["teacher"]
    assert await tx.roles.names_of_many(kind, [one.id, other.id]) == {one.id: ["teacher"], other.id: ["teacher"]}
    await tx.roles.set_managed(kind, one.id, "teacher", False)
    assert (one.id, "one", False) in await tx.roles.holders("teacher", kind)
    await tx.roles.strip(kind, one.id, "teacher")
    await tx.roles.strip(kind, one.id, "no such role")
    assert await tx.roles.names_of(kind, one.id) == []
    await tx.roles.strip_all(kind, [other.id])
    assert await tx.roles.holders("teacher", kind) == []


async def test_a_role_that_does_not_exist_cannot_be_granted(tx, ada):
    with pytest.raises(NotFound, match="nonsense"):
        await tx.roles.grant("user", ada.id, "nonsense")


async def test_scopes_of_a_user_are_those_of_own_roles_and_of_the_groups_roles(tx, ada, bob, teacher):
    await tx.roles.upsert("user", description="", scopes=["self"])
    await tx.roles.upsert("empty", description="", scopes=[])
    await tx.roles.upsert("not held", description="", scopes=["admin:users"])
    physics, other = await tx.groups.create("physics"), await tx.groups.create("other")
    await tx.groups.add_members(physics.id, [ada.id])
    await tx.groups.add_members(other.id, [bob.id])
    await tx.roles.grant("user", ada.id, "user")
    await tx.roles.grant("user", ada.id, "empty")
    await tx.roles.grant("group", physics.id, "teacher")
    await tx.roles.grant("group", other.id, "not held")
    assert await tx.roles.scopes_of_user(ada.id) == ["read:users", "self"]
    assert await tx.roles.scopes_of_group(physics.id) == ["read:users", "self"]
    await tx.groups.remove_members(physics.id, [ada.id])
    assert await tx.roles.scopes_of_user(ada.id) == ["self"]
    assert await tx.roles.scopes_of_user(12345) == []


async def test_scopes_of_a_service_are_those_of_its_roles(tx, teacher):
    service = await tx.services.save("culler")
    assert await tx.roles.scopes_of_service(service.id) == []
    await tx.roles.grant("service", service.id, "teacher")
    assert await tx.roles.scopes_of_service(service.id) == ["read:users", "self"]


async def test_with_a_role_goes_who_held_it(tx, ada, teacher):
    await tx.roles.grant("user", ada.id, "teacher")
    await tx.roles.delete(teacher.id)
    assert await tx.roles.names_of("user", ada.id) == []
    assert await tx.roles.list() == []


async def test_grants_and_definitions_at_once_all_succeed(store):
    async with store.begin() as tx:
        users = await tx.users.create_many(["ada", "bob"])

    async def define_and_grant() -> None:
        async with store.begin() as tx:
            await tx.roles.upsert("teacher", description="", scopes=["self"])
            await tx.roles.grant_many("user", [user.id for user in users], "teacher")

    await asyncio.gather(*(define_and_grant() for _ in range(5)))
    async with store.read() as tx:
        assert len(await tx.roles.list()) == 1
        assert [name for _, name, _ in sorted(await tx.roles.holders("teacher", "user"))] == ["ada", "bob"]
