"""Roles after a start: scopes-roles.md §13, rule by rule."""

from __future__ import annotations

from typing import Any

import pytest

from jupyterhub.auth import Authenticator
from jupyterhub.hub import roles
from jupyterhub.rbac.roles import DEFAULT_ROLES, parse_role_spec
from jupyterhub.words.errors import ConfigurationError

from .conftest import Starts

READER = {"name": "reader", "scopes": ["read:users"]}


class Managing(Authenticator):
    """Says who has which role."""

    given: list[dict[str, Any]] = []

    async def load_managed_roles(self) -> list[dict[str, Any]]:
        return self.given


def managing(*given: dict[str, Any], **traits: Any) -> Managing:
    authenticator = Managing(manage_roles=True, allow_all=True, **traits)
    authenticator.given = list(given)
    return authenticator


# -- definitions


async def test_a_new_database_gets_the_default_roles(hub: Starts) -> None:
    await hub.start()
    assert (await hub.roles()).keys() == DEFAULT_ROLES.keys()


async def test_a_role_defined_twice_is_refused(hub: Starts) -> None:
    with pytest.raises(ConfigurationError, match="reader"):
        await hub.start(load_roles=[READER, READER])


async def test_a_default_role_is_merged_and_goes_back_to_its_default_when_the_configuration_drops_it(
    hub: Starts,
) -> None:
    await hub.start(load_roles=[{"name": "user", "scopes": ["self", "read:hub"]}])
    assert (await hub.roles())["user"] == {"self", "read:hub"}
    await hub.start(extra_user_scopes=frozenset({"read:metrics"}))
    assert (await hub.roles())["user"] == {"self", "read:metrics"}


async def test_a_role_that_left_the_configuration_is_gone_with_its_holders(hub: Starts) -> None:
    await hub.start(load_roles=[{**READER, "users": ["ada"]}])
    assert await hub.roles_of("ada") == {"user", "reader"}
    await hub.start()
    assert "reader" not in await hub.roles() and await hub.roles_of("ada") == {"user"}


async def test_a_role_of_the_database_is_overwritten_by_the_configuration(hub: Starts) -> None:
    await hub.start(load_roles=[READER])
    await hub.start(load_roles=[{"name": "reader", "scopes": ["read:hub"], "description": "reads"}])
    assert (await hub.roles())["reader"] == {"read:hub"}


# -- members


async def test_a_listed_kind_of_members_is_exact_and_an_omitted_one_is_empty(hub: Starts) -> None:
    await hub.start(load_roles=[{**READER, "users": ["ada", "bob"], "groups": ["staff"]}])
    await hub.add_user("eve", "user", "reader")
    await hub.start(load_roles=[{**READER, "users": ["bob", "cyd"]}])
    assert {name: "reader" in await hub.roles_of(name) for name in ("ada", "bob", "cyd", "eve")} == {
        "ada": False, "bob": True, "cyd": True, "eve": False,
    }  # fmt: skip
    assert await hub.roles_of_group("staff") == set()


async def test_members_are_normalised_and_created_with_the_default_role(hub: Starts) -> None:
    await hub.start(load_roles=[{**READER, "users": ["Ada"]}])
    assert await hub.users() == {"ada"} and await hub.roles_of("ada") == {"user", "reader"}


async def test_a_member_with_an_impossible_name_is_refused(hub: Starts) -> None:
    with pytest.raises(ConfigurationError, match="a/b"):
        await hub.start(load_roles=[{**READER, "users": ["a/b"]}])
    assert await hub.users() == set()


async def test_a_role_for_an_unknown_service_is_refused(hub: Starts) -> None:
    with pytest.raises(ConfigurationError, match="nosuch"):
        await hub.start(load_roles=[{**READER, "services": ["nosuch"]}])


async def test_services_and_groups_get_the_roles_that_name_them(hub: Starts) -> None:
    role = {**READER, "services": ["cull"], "groups": ["staff"]}
    await hub.start(load_roles=[role], services=[{"name": "cull"}, {"name": "idle"}])
    assert await hub.roles_of_service("cull") == {"reader"} and await hub.roles_of_service("idle") == set()
    assert await hub.roles_of_group("staff") == {"reader"}


async def test_the_default_role_keeps_its_members_when_they_are_not_listed(hub: Starts) -> None:
    await hub.start()
    await hub.add_user("ada", "user")
    await hub.start(load_roles=[{"name": "user", "scopes": ["self"]}])
    assert await hub.roles_of("ada") == {"user"}


async def test_listed_members_of_the_default_role_are_exact(hub: Starts) -> None:
    await hub.start()
    await hub.add_user("ada", "user")
    await hub.start(load_roles=[{"name": "user", "users": ["bob"]}])
    assert await hub.roles_of("ada") == set() and await hub.roles_of("bob") == {"user"}


async def test_allowed_users_all_get_the_default_role_and_nobody_loses_it(hub: Starts) -> None:
    await hub.start()
    await hub.add_user("ada")
    await hub.add_user("eve", "user")
    await hub.start(Authenticator(allowed_users={"Ada", "bob"}))
    assert [await hub.roles_of(name) for name in ("ada", "bob", "eve")] == [{"user"}] * 3


# -- admins


async def test_admin_users_get_flag_and_role_and_others_keep_theirs(hub: Starts) -> None:
    await hub.start(Authenticator(admin_users={"Boss"}))
    assert await hub.roles_of("boss") == {"user", "admin"} and await hub.admins() == {"boss"}
    await hub.start(Authenticator(admin_users={"chief"}))
    assert await hub.admins() == {"boss", "chief"}


async def test_listed_users_of_the_admin_role_are_exact_but_for_admin_users(hub: Starts) -> None:
    await hub.start(Authenticator(admin_users={"old"}))
    await hub.start(Authenticator(admin_users={"chief"}), load_roles=[{"name": "admin", "users": ["new"]}])
    assert await hub.admins() == {"new", "chief"}
    assert await hub.roles_of("old") == {"user"} and await hub.roles_of("new") == {"user", "admin"}


async def test_the_admin_role_follows_the_flag(hub: Starts) -> None:
    await hub.start()
    await hub.add_user("flagged", "user", admin=True)
    await hub.add_user("unflagged", "user", "admin")
    await hub.start()
    assert await hub.roles_of("flagged") == {"user", "admin"} and await hub.roles_of("unflagged") == {"user"}


async def test_services_have_the_admin_role_while_the_configuration_says_so(hub: Starts) -> None:
    await hub.start(services=[{"name": "cull", "admin": True}])
    assert await hub.roles_of_service("cull") == {"admin"}
    await hub.start(services=[{"name": "cull"}])
    assert await hub.roles_of_service("cull") == set()
    await hub.start(services=[{"name": "cull"}], load_roles=[{"name": "admin", "services": ["cull"]}])
    assert await hub.roles_of_service("cull") == {"admin"}
    async with hub.store.read() as tx:
        service = await tx.services.find("cull")
    assert service is not None and service.admin


# -- upgrades


async def test_users_of_a_database_without_roles_get_the_default_ones(hub: Starts) -> None:
    await hub.add_user("ada")
    await hub.add_user("boss", admin=True)
    await hub.start()
    assert await hub.roles_of("ada") == {"user"} and await hub.roles_of("boss") == {"user", "admin"}


async def test_users_without_roles_stay_so_in_a_database_with_roles(hub: Starts) -> None:
    await hub.start()
    await hub.add_user("ada")
    await hub.start()
    assert await hub.roles_of("ada") == set()


# -- roles of an authenticator


async def test_managed_roles_exist_from_the_start_with_their_members(hub: Starts) -> None:
    await hub.start(managing({**READER, "users": ["ada"]}))
    assert await hub.roles_of("ada") == {"user", "reader"}
    async with hub.store.read() as tx:
        role = await tx.roles.find("reader")
        assert role is not None and role.managed_by_auth
        assert [managed for _, _, managed in await tx.roles.holders("reader", "user")] == [True]


@pytest.mark.parametrize("kind", ["users", "groups"])
async def test_load_roles_gives_nobody_a_role_when_the_authenticator_does(hub: Starts, kind: str) -> None:
    with pytest.raises(ConfigurationError, match="manage_roles"):
        await hub.start(managing(), load_roles=[{**READER, kind: ["ada"]}])


async def test_what_was_given_at_login_survives_a_start(hub: Starts) -> None:
    await hub.start(managing({"name": "guest", "scopes": []}), load_roles=[READER])
    await hub.add_user("ada", "reader", "guest", managed=True)
    await hub.start(managing({"name": "guest", "scopes": []}), load_roles=[READER])
    assert await hub.roles_of("ada") == {"reader", "guest"}


async def test_an_admin_flag_alone_gives_no_role_when_the_authenticator_gives_them(hub: Starts) -> None:
    await hub.start(managing())
    await hub.add_user("boss", admin=True)
    await hub.start(managing())
    assert await hub.roles_of("boss") == set()


async def test_a_reset_takes_all_that_the_authenticator_does_not_give_again(hub: Starts) -> None:
    await hub.start(managing({**READER, "users": ["ada"]}, {"name": "guest", "scopes": []}), load_roles=[])
    await hub.grant("ada", "guest", managed=True)
    await hub.add_user("bob", "user", "reader", managed=True)
    await hub.start(managing(READER, reset_managed_roles_on_startup=True))
    assert "guest" not in await hub.roles()
    assert await hub.roles_of("ada") == {"user"}, "who was made by the start has the default role from the start"
    assert await hub.roles_of("bob") == set()


async def test_a_reset_needs_an_authenticator_that_loads_roles(hub: Starts) -> None:
    authenticator = Authenticator(manage_roles=True, reset_managed_roles_on_startup=True, allow_all=True)
    with pytest.raises(ConfigurationError, match="reset_managed_roles_on_startup"):
        await hub.start(authenticator)


# -- one user


async def given_at_login(hub: Starts, name: str, *described: dict[str, Any]) -> None:
    specs = [parse_role_spec(each, managed_by_auth=True) for each in described]
    async with hub.store.begin() as tx:
        user = await tx.users.find(name)
        assert user is not None
        await roles.set_managed_roles(tx, user, specs)


async def test_the_roles_of_a_login_are_all_a_user_has(hub: Starts) -> None:
    await hub.start(managing(), load_roles=[READER])
    await hub.add_user("ada", "user", "reader")
    await given_at_login(hub, "ada", {"name": "course", "scopes": ["read:hub"]}, {"name": "reader"})
    assert await hub.roles_of("ada") == {"course", "reader"}
    async with hub.store.read() as tx:
        assert [managed for _, _, managed in await tx.roles.holders("reader", "user")] == [True]


async def test_a_managed_role_goes_with_its_last_holder_and_one_of_the_configuration_stays(hub: Starts) -> None:
    await hub.start(managing(), load_roles=[READER])
    await hub.add_user("ada", "user")
    await hub.add_user("bob", "user")
    for name in ("ada", "bob"):
        await given_at_login(hub, name, {"name": "course", "scopes": ["read:hub"]}, {"name": "reader"})
    await given_at_login(hub, "ada")
    assert "course" in await hub.roles()
    await given_at_login(hub, "bob")
    assert "course" not in await hub.roles() and "reader" in await hub.roles()


async def test_a_login_changes_roles_of_the_authenticator_and_no_others(hub: Starts) -> None:
    await hub.start(managing(), load_roles=[READER])
    await hub.add_user("ada", "user")
    await given_at_login(hub, "ada", {"name": "course", "scopes": ["read:hub"]})
    await given_at_login(
        hub, "ada", {"name": "course", "scopes": ["proxy"]}, {"name": "reader", "scopes": ["shutdown"]}
    )
    defined = await hub.roles()
    assert defined["course"] == {"proxy"} and defined["reader"] == {"read:users"}


@pytest.mark.parametrize("admin", [True, False])
async def test_default_roles_are_given_and_the_admin_role_follows_the_flag(hub: Starts, admin: bool) -> None:
    await hub.start(load_roles=[READER])
    user = await hub.add_user("ada", "reader", "admin")
    async with hub.store.begin() as tx:
        await roles.assign_defaults(tx, user.id, admin)
    assert await hub.roles_of("ada") == {"user", "reader"} | ({"admin"} if admin else set())
