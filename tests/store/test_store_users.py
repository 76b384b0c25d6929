"""Users: finding, listing under filters, changing, activity."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jupyterhub.hub.store.store import Transaction
from jupyterhub.rbac.scope_set import EVERYTHING, ListFilter
from jupyterhub.words.errors import AlreadyExists
from jupyterhub.words.models import Endpoint, Phase, SpawnLimits, User, Window

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ALL = Window()


def only(**names: list[str]) -> ListFilter:
    return ListFilter(everything=False, **{kind: frozenset(values) for kind, values in names.items()})


async def listed(tx: Transaction, listed: ListFilter = EVERYTHING, **options) -> list[str]:
    rows, total = await tx.users.list(listed, window=ALL, **options)
    assert total == len(rows)
    return [user.name for user in rows]


async def give_server(tx: Transaction, user: User, name: str = "", *, phase: Phase = Phase.READY) -> None:
    server = await tx.servers.create(user.id, name)
    if phase is Phase.STOPPED:
        return
    lease = await tx.servers.begin_start(server.id, hub_id="hub", limits=SpawnLimits(), now=NOON, user_options=None)
    assert lease is not None
    if phase is Phase.READY:
        await tx.servers.set_endpoint(lease, Endpoint(proto="http", ip="127.0.0.1", port=1, base_url="/"), {})
        await tx.servers.mark_ready(lease, now=NOON, was=Phase.STARTING)


async def test_a_new_user_is_found_by_name_by_id_and_by_the_id_of_its_cookie(tx, ada):
    assert await tx.users.find("ada") == ada
    assert await tx.users.find_by_id(ada.id) == ada
    assert await tx.users.find_by_cookie_id(ada.cookie_id) == ada


async def test_nobody_is_found_by_what_nobody_has(tx, ada):
    assert await tx.users.find("Ada") is None
    assert await tx.users.find_by_id(ada.id + 1) is None
    assert await tx.users.find_by_cookie_id("") is None


async def test_a_new_user_has_a_time_of_creation_and_no_activity(tx):
    user = await tx.users.create("ada", admin=True, user_info={"mail": "ada@example.org"})
    assert user.admin
    assert user.user_info == {"mail": "ada@example.org"}
    assert user.created is not None
    assert abs(user.created - datetime.now(UTC)) < timedelta(minutes=1)
    assert user.last_activity is None


async def test_cookie_ids_differ(tx, ada, bob):
    assert ada.cookie_id != bob.cookie_id
    assert len(ada.cookie_id) >= 32


async def test_a_name_is_given_once(tx, ada):
    with pytest.raises(AlreadyExists):
        await tx.users.create("ada")


async def test_names_that_differ_in_case_or_script_are_different(tx, ada):
    for name in ("Ada", "zoë", "x.y@example.org", "名前"):
        assert (await tx.users.create(name)).name == name
    assert len(await tx.users.names()) == 5


async def test_many_are_made_in_the_order_they_are_named(tx):
    made = await tx.users.create_many(["carol", "ada", "bob"], admin=True)
    assert [user.name for user in made] == ["carol", "ada", "bob"]
    assert all(user.admin for user in made)
    assert await tx.users.create_many([]) == []


async def test_of_many_none_is_made_when_one_is_there(tx, ada):
    with pytest.raises(AlreadyExists):
        await tx.users.create_many(["bob", "ada"])
    assert await tx.users.names() == ["ada"]


async def test_many_are_found_at_once_however_many(tx):
    made = await tx.users.create_many([f"user{number}" for number in range(1200)])
    found = await tx.users.find_many([*(user.name for user in made), "nobody"])
    assert found == {user.name: user for user in made}
    assert await tx.users.find_many([]) == {}


async def test_all_and_how_many(tx, ada, bob):
    assert await tx.users.all() == [ada, bob]
    assert await tx.users.count() == 2


# -- lists


async def test_a_filter_of_users_and_groups_gives_their_union(tx):
    a, b, _c, _d = await tx.users.create_many(["a", "b", "c", "d"])
    group = await tx.groups.create("physics")
    await tx.groups.add_members(group.id, [a.id, b.id])
    assert await listed(tx, only(users=["b", "c", "nobody"], groups=["physics", "nothing"])) == ["a", "b", "c"]


@pytest.mark.parametrize("nothing", [only(), only(groups=["none"]), only(servers=["ada/"]), only(services=["ada"])])
async def test_a_filter_that_names_no_user_gives_none(tx, ada, nothing):
    assert await listed(tx, nothing) == []


async def test_windows_cover_the_list_and_know_its_length(tx):
    await tx.users.create_many([f"user{number:02}" for number in range(25)])
    seen: list[str] = []
    for offset in (0, 10, 20, 30):
        rows, total = await tx.users.list(EVERYTHING, window=Window(offset=offset, limit=10))
        assert total == 25
        seen += [user.name for user in rows]
    assert seen == [f"user{number:02}" for number in range(25)]


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ("da", ["Ada", "adam", "Idared"]),
        ("ADA", ["Ada", "adam"]),
        ("a_a", ["Ada", "adam"]),
        ("i%d", ["Idared"]),
        ("100%", ["100%"]),
        ("\\", []),
        ("", ["Ada", "adam", "Idared", "100%"]),
        ("'; --", []),
    ],
)
async def test_a_part_of_the_name_is_enough_whatever_its_case_and_wildcards_count(tx, part, found):
    await tx.users.create_many(["Ada", "adam", "Idared", "100%"])
    assert await listed(tx, name_filter=part) == found


async def test_who_was_never_active_comes_first_and_last_when_descending(tx):
    a, _b, c, _d = await tx.users.create_many(["a", "b", "c", "d"])
    await tx.users.touch(a.id, NOON)
    await tx.users.touch(c.id, NOON - timedelta(hours=1))
    assert await listed(tx, sort="last_activity") == ["b", "d", "c", "a"]
    assert await listed(tx, sort="last_activity", descending=True) == ["a", "c", "d", "b"]


async def test_names_and_ids_sort_both_ways(tx):
    await tx.users.create_many(["b", "a", "c"])
    assert await listed(tx, sort="name") == ["a", "b", "c"]
    assert await listed(tx, sort="name", descending=True) == ["c", "b", "a"]
    assert await listed(tx, sort="id") == ["b", "a", "c"]
    assert await listed(tx, sort="id", descending=True) == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ("", ["none", "stopped", "starting", "ready", "both"]),
        ("active", ["starting", "ready", "both"]),
        ("ready", ["ready", "both"]),
        ("inactive", ["none", "stopped"]),
    ],
)
async def test_states_of_servers_choose_their_owners(tx, state, found):
    _none, stopped, starting, ready, both = await tx.users.create_many(["none", "stopped", "starting", "ready", "both"])
    await give_server(tx, stopped, phase=Phase.STOPPED)
    await give_server(tx, starting, phase=Phase.STARTING)
    await give_server(tx, ready)
    await give_server(tx, both, phase=Phase.STOPPED)
    await give_server(tx, both, "gpu")
    await give_server(tx, both, "lab")
    assert await listed(tx, state=state) == found


async def test_a_state_does_not_widen_a_filter(tx, ada, bob):
    await give_server(tx, ada)
    await give_server(tx, bob)
    assert await listed(tx, only(users=["bob"]), state="active", name_filter="b") == ["bob"]


async def test_those_active_since_are_counted(tx, ada, bob):
    await tx.users.touch(ada.id, NOON)
    assert await tx.users.count_active_since(NOON) == 1
    assert await tx.users.count_active_since(NOON + timedelta(seconds=1)) == 0


# -- changes


async def test_a_change_touches_only_what_is_named(tx):
    ada = await tx.users.create("ada", admin=True, user_info={"a": 1})
    renamed = await tx.users.update(ada.id, name="lovelace")
    assert (renamed.name, renamed.admin, renamed.user_info) == ("lovelace", True, {"a": 1})
    assert renamed.cookie_id == ada.cookie_id
    assert not (await tx.users.update(ada.id, admin=False)).admin
    assert (await tx.users.update(ada.id, user_info=None)).user_info is None
    assert await tx.users.update(ada.id) == await tx.users.find("lovelace")


async def test_a_name_that_is_taken_cannot_be_taken_over(tx, ada, bob):
    with pytest.raises(AlreadyExists):
        await tx.users.update(bob.id, name="ada")
    assert await tx.users.find("bob") == bob


async def test_admins_are_made_and_unmade_in_sets(tx, ada, bob):
    await tx.users.set_admin([ada.id, bob.id], True)
    await tx.users.set_admin([bob.id], False)
    await tx.users.set_admin([], True)
    assert [user.admin for user in await tx.users.all()] == [True, False]


async def test_activity_only_moves_forward(tx, ada, bob):
    await tx.users.touch(ada.id, NOON)
    await tx.users.touch(ada.id, NOON - timedelta(hours=1))
    await tx.users.touch_many([(ada.id, NOON - timedelta(hours=2)), (bob.id, NOON)])
    await tx.users.touch_many([])
    assert [user.last_activity for user in await tx.users.all()] == [NOON, NOON]
    await tx.users.touch_many([(ada.id, NOON + timedelta(microseconds=1))])
    found = await tx.users.find("ada")
    assert found is not None
    assert found.last_activity == NOON + timedelta(microseconds=1)


async def test_what_the_authenticator_keeps_is_kept_as_bytes(tx, ada):
    assert await tx.users.auth_state(ada.id) is None
    await tx.users.set_auth_state(ada.id, b"\x00sealed\xff")
    assert await tx.users.auth_state(ada.id) == b"\x00sealed\xff"
    await tx.users.set_auth_state(ada.id, None)
    assert await tx.users.auth_state(ada.id) is None


async def test_with_a_user_goes_all_that_was_theirs(tx, ada, bob, hub_client):
    await give_server(tx, ada, "gpu")
    token = await tx.tokens.create("user", ada.id, secret="0123456789abcdef", scopes=["inherit"], note="")
    group = await tx.groups.create("physics")
    await tx.groups.add_members(group.id, [ada.id, bob.id])
    await tx.roles.upsert("teacher", description="", scopes=["self"])
    await tx.roles.grant("user", ada.id, "teacher")
    [server] = await tx.servers.list_of_user(ada.id)
    await tx.shares.create(server.id, ada.id, user_id=bob.id, scopes=[], now=NOON)
    await tx.users.delete(ada.id)
    assert await tx.users.names() == ["bob"]
    assert await tx.tokens.find(token.id) is None
    assert await tx.groups.members(group.id) == ["bob"]
    assert await tx.roles.holders("teacher", "user") == []
    assert await tx.servers.find_by_id(server.id) is None
    assert await tx.shares.list_for_user(bob.id, ALL) == ([], 0)
