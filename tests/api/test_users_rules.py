"""The rules of creating, changing and deleting users, and how many statements a page of them costs."""

from __future__ import annotations

import pytest

from jupyterhub.rbac.scope_set import EVERYTHING, ListFilter
from jupyterhub.words.errors import AlreadyExists, Denied, Invalid, NotFound
from jupyterhub.words.models import Window
from jupyterhub.words.names import ServerKey

from .house_of_tests import ROOT, requester
from .statements import counted


async def names(house) -> set[str]:
    async with house.store.read() as tx:
        return set(await tx.users.names())


async def test_a_new_user_has_the_default_role_and_is_known_to_the_authenticator(house):
    created = await house.users.create("Ada", admin=False, requester=ROOT)
    assert created.user.name == "Ada" and list(created.roles) == ["user"]
    assert house.authenticator.added == ["Ada"]


async def test_a_user_whom_the_authenticator_refuses_is_not_kept(house):
    with pytest.raises(Invalid, match="not on my watch"):
        await house.users.create("refused-one", admin=False, requester=ROOT)
    assert await names(house) == set()


async def test_of_many_users_those_before_the_refused_one_stay(house):
    with pytest.raises(Invalid):
        await house.users.create_many(["one", "refused-two", "three"], admin=False, requester=ROOT)
    assert await names(house) == {"one"}


async def test_many_users_are_created_normalised_in_order_and_once(house):
    await house.add_users("known")
    created = await house.users.create_many(["C", "a", "known", "A"], admin=False, requester=ROOT)
    assert [details.user.name for details in created] == ["c", "a"]


async def test_creating_only_known_users_is_a_conflict(house):
    await house.add_users("known")
    with pytest.raises(AlreadyExists):
        await house.users.create_many(["known"], admin=False, requester=ROOT)


@pytest.mark.parametrize("bad", ["", "a/b", "..", "%2e%2e", " x"])
async def test_one_invalid_name_prevents_all(house, bad):
    with pytest.raises(Invalid):
        await house.users.create_many(["good", bad], admin=False, requester=ROOT)
    assert await names(house) == set()


async def test_only_admins_make_admins_whatever_their_scopes(house):
    almost = requester("admin:users")
    await house.add_users("ada")
    for attempt in (
        house.users.create("new", admin=True, requester=almost),
        house.users.create_many(["new"], admin=True, requester=almost),
        house.users.change("ada", admin=True, requester=almost),
    ):
        with pytest.raises(Denied):
            await attempt
    assert await names(house) == {"ada"}


async def test_only_admins_change_admins(house):
    await house.add_users("boss", admin=True)
    with pytest.raises(Denied):
        await house.users.change("boss", new_name="ex-boss", requester=requester("admin:users"))


async def test_the_admin_flag_and_the_admin_role_go_together(house):
    await house.add_users("ada")
    changed = await house.users.change("ada", admin=True, requester=ROOT)
    assert changed.user.admin and set(changed.roles) == {"user", "admin"}
    changed = await house.users.change("ada", admin=False, requester=ROOT)
    assert not changed.user.admin and list(changed.roles) == ["user"]


@pytest.mark.parametrize("name", ["bob", "BOB", "", "x/y", "."])
async def test_a_rename_to_a_taken_or_invalid_name_is_refused(house, name):
    await house.add_users("ada", "bob")
    with pytest.raises(Invalid):
        await house.users.change("ada", new_name=name, requester=ROOT)


async def test_a_rename_is_normalised(house):
    await house.add_users("ada")
    assert (await house.users.change("ada", new_name="Lovelace", requester=ROOT)).user.name == "lovelace"


async def test_auth_state_is_refused_while_it_cannot_be_kept(house):
    await house.add_users("ada")
    with pytest.raises(Invalid, match="enable_auth_state"):
        await house.users.change("ada", auth_state={"secret": 1}, requester=ROOT)


async def test_deleting_a_user_stops_named_servers_too(house):
    await house.add_users("ada")
    await house.servers.start(ServerKey("ada", "gpu"))
    await house.users.delete("ada", requester=ROOT)
    assert await names(house) == set()
    assert house.servers.forgotten == house.authenticator.deleted == ["ada"]


async def test_a_user_whose_server_does_not_stop_stays(house):
    await house.add_users("ada")
    await house.servers.start(ServerKey("ada"))
    house.servers.never_stop.add("ada")
    with pytest.raises(Invalid, match="still stopping"):
        await house.users.delete("ada", requester=ROOT)
    assert await names(house) == {"ada"}


async def test_nobody_deletes_themselves(house):
    await house.add_users("ada")
    with pytest.raises(Invalid):
        await house.users.delete("ada", requester=requester("admin:users", name="ada", kind="user"))


async def test_an_unknown_user_is_not_found(house):
    for attempt in (
        house.users.details("nobody"),
        house.users.change("nobody", requester=ROOT),
        house.users.delete("nobody", requester=ROOT),
    ):
        with pytest.raises(NotFound):
            await attempt


@pytest.mark.parametrize("size", [1, 30])
async def test_a_page_of_users_costs_the_same_statements_whatever_its_size(house, size):
    users = await house.add_users(*(f"user-{i:02}" for i in range(size)))
    await house.groups.create("all", members=[user.name for user in users])
    for user in users:
        await house.servers.start(ServerKey(user.name))
    with counted(house.store) as statements:
        page, total = await house.users.page(EVERYTHING, window=Window(limit=50))
    assert total == len(page) == size
    assert all(details.servers and details.groups and details.roles for details in page)
    assert len(statements) == 4, statements


async def test_a_list_filter_by_server_is_refused(house):
    with pytest.raises(Denied):
        await house.users.page(ListFilter(False, servers=frozenset({"ada/"})), window=Window())


@pytest.mark.parametrize("wrong", [{"state": "sleepy"}, {"sort": ""}, {"sort": "--id"}, {"sort": "colour"}])
async def test_an_unknown_state_or_order_is_refused(house, wrong):
    with pytest.raises(Invalid):
        await house.users.page(EVERYTHING, window=Window(), **wrong)
