"""The rules of groups and their members."""

from __future__ import annotations

import pytest

from jupyterhub.rbac.scope_set import EVERYTHING, ListFilter
from jupyterhub.words.errors import AlreadyExists, Denied, Invalid, NotFound
from jupyterhub.words.models import Window

from .statements import counted


async def names(house) -> list[str]:
    return [d.group.name for d in (await house.groups.page(EVERYTHING, window=Window()))[0]]


async def test_many_groups_are_made_together_or_not_at_all(house):
    await house.groups.create("taken")
    with pytest.raises(AlreadyExists):
        await house.groups.create_many(["new", "taken"])
    assert await names(house) == ["taken"]


@pytest.mark.parametrize("change", ["add_members", "remove_members"])
async def test_one_unknown_member_spoils_the_whole_list(house, change):
    await house.add_users("ada", "bob")
    await house.groups.create("crew", members=["bob"])
    with pytest.raises(Invalid, match="'nobody'"):
        await getattr(house.groups, change)("crew", ["bob", "nobody"])
    assert (await house.groups.details("crew")).members == ["bob"]


async def test_a_group_with_an_unknown_member_is_not_made(house):
    await house.add_users("ada")
    with pytest.raises(Invalid, match="'nobody'"):
        await house.groups.create("new", members=["ada", "nobody"])
    assert await names(house) == []


async def test_members_are_normalised_and_joined_once(house):
    await house.add_users("ada")
    await house.groups.create("crew", members=["ADA", "ada"])
    details = await house.groups.add_members("crew", ["Ada"])
    assert list(details.members) == ["ada"]
    assert list((await house.groups.remove_members("crew", ["ada"])).members) == []


async def test_properties_are_replaced_as_a_whole(house):
    await house.groups.create("crew")
    for properties in ({"a": 1, "b": [None, "é"]}, {"c": 2}, {}):
        assert (await house.groups.set_properties("crew", properties)).group.properties == properties


async def test_an_unknown_group_is_not_found(house):
    for attempt in (
        house.groups.details("none"),
        house.groups.delete("none"),
        house.groups.add_members("none", []),
        house.groups.set_properties("none", {}),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_a_page_and_its_total_follow_the_scope_filter(house):
    await house.groups.create_many(["a", "b", "c"])
    only = ListFilter(False, groups=frozenset({"a", "c", "ghost"}))
    page, total = await house.groups.page(only, window=Window(limit=1))
    assert [details.group.name for details in page] == ["a"] and total == 2
    with pytest.raises(Denied):
        await house.groups.page(ListFilter(False, users=frozenset({"ada"})), window=Window())


@pytest.mark.parametrize("size", [1, 30])
async def test_a_page_of_groups_costs_the_same_statements_whatever_its_size(house, size):
    await house.add_users("ada")
    await house.groups.create_many([f"g{i}" for i in range(size)], members=["ada"])
    with counted(house.store) as statements:
        page, _ = await house.groups.page(EVERYTHING, window=Window(limit=50))
    assert len(page) == size and len(statements) == 3, statements


@pytest.mark.parametrize("wrong", [[], [""], ["x" * 256]])
async def test_groups_need_names(house, wrong):
    with pytest.raises(Invalid):
        await house.groups.create_many(wrong)
