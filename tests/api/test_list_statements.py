"""No list costs more statements when there is more in it: every endpoint that lists, at 3 and at 30 of everything."""

from __future__ import annotations

import shutil

from jupyterhub.words.names import ServerKey

from .calls import serving
from .house_of_tests import ROOT, SmallHouse, small_house
from .statements import counted

#: path → how to find the rows in the answer
LISTS = {
    "users": list,
    "users?include_stopped_servers": list,
    "users?state=ready": list,
    "users?state=active&sort=-last_activity": list,
    "users/u0?include_stopped_servers": lambda user: list(user["servers"]),
    "users?group=guests&admin=0": list,
    "groups": list,
    "groups?include_users=0&name_filter=g": list,
    "services": list,
    "users/u0/tokens": lambda answer: answer["api_tokens"],
    "shares/u0": lambda page: page["items"],
    "shares/u0/": lambda page: page["items"],
    "share-codes/u0": lambda page: page["items"],
    "share-codes/u0/": lambda page: page["items"],
    "users/guest/shared": lambda page: page["items"],
    "groups/guests/shared": lambda page: page["items"],
    "groups/guests": lambda group: group["users"],
}


async def fill(house: SmallHouse, size: int) -> None:
    """Make ``size`` of everything that a list can hold, and of everything that such a row can hold."""
    names = [f"u{i}" for i in range(size)]
    await house.add_users("guest", *names)
    for name in names:
        await house.servers.start(ServerKey(name))
        await house.servers.create(ServerKey("u0", f"s{name}"), display_name=None, user_options=None, handler=None)
        await house.groups.create(f"g{name}", members=[names[0], name] if name != names[0] else [name])
        await house.token_of("u0", scopes=["read:users!group=guests", "read:servers!user"])
        await house.service_with(f"service-{name}", f"read:users!user={name}")
    await house.groups.create("guests", members=names)
    for name in names:
        await house.shares.grant(ServerKey(name), user="guest", requester=ROOT)
        await house.shares.grant(ServerKey(name), group="guests", requester=ROOT)
        await house.shares.grant(ServerKey("u0"), user=name if name != "u0" else "guest", requester=ROOT)
        await house.shares.create_code(ServerKey("u0"), requester=ROOT)


async def cost(path: str, size: int, *scopes: str) -> tuple[dict[str, int], dict[str, int]]:
    """Give how many rows each list has and how many statements it costs."""
    rows, statements = {}, {}
    async with small_house(path) as house:
        await fill(house, size)
        async with serving(house) as api:
            reader = await house.service_with("reader", *scopes)
            for address, found in LISTS.items():
                await api("GET", address, token=reader)  # whatever is read once is read now
                with counted(house.store) as seen:
                    answer = await api("GET", address, token=reader)
                assert answer.status_code == 200, (address, answer.text)
                rows[address], statements[address] = len(found(answer.json())), len(seen)
    return rows, statements


async def assert_cost_does_not_grow(template, tmp_path, *scopes: str) -> None:
    few_rows, few = await cost(shutil.copy(template, tmp_path / "few.sqlite"), 3, *scopes)
    many_rows, many = await cost(shutil.copy(template, tmp_path / "many.sqlite"), 30, *scopes)
    assert all(few_rows[address] + 20 < many_rows[address] for address in LISTS), (few_rows, many_rows)
    assert many == few


async def test_no_list_costs_more_statements_when_there_is_more_in_it(template, tmp_path):
    await assert_cost_does_not_grow(
        template,
        tmp_path,
        *("admin:users", "admin:servers", "admin:groups", "admin:services", "tokens", "shares", "read:roles"),
    )


async def test_nor_does_it_for_a_reader_whose_scopes_are_limited_to_a_group(template, tmp_path):
    """Memberships decide row by row then; they are read for all rows at once."""
    of_users = [f"{scope}!group=guests" for scope in ("list:users", "read:users", "read:roles:users", "admin:servers")]
    await assert_cost_does_not_grow(
        template,
        tmp_path,
        *of_users,
        *("read:tokens!group=guests", "shares!group=guests", "read:users:shares", "read:groups:shares"),
        *("groups", "list:services", "read:services"),
    )
