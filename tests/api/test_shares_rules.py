"""The rules of sharing servers: with whom, what, by whom; and codes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jupyterhub.hub.shares import read_code_id
from jupyterhub.rbac.scope_set import Target
from jupyterhub.words.clock import utcnow
from jupyterhub.words.errors import Denied, Invalid, NotFound
from jupyterhub.words.models import Window
from jupyterhub.words.names import ServerKey

from .house_of_tests import requester

DEFAULT = ServerKey("ada")
NAMES = ("read:users:name", "read:groups:name")
SHARER = requester("shares", "read:servers", *NAMES)


@pytest.fixture(autouse=True)
async def people(house):
    await house.add_users("ada", "bob", "eve")
    await house.groups.create("crew", members=["bob"])


async def test_a_share_is_made_extended_and_taken_back_in_parts(house):
    share = await house.shares.grant(DEFAULT, user="bob", requester=SHARER)
    assert list(share.scopes) == ["access:servers!server=ada/"] and share.user == "bob" and share.group is None
    share = await house.shares.grant(DEFAULT, user="bob", scopes=["read:servers"], requester=SHARER)
    assert list(share.scopes) == ["access:servers!server=ada/", "read:servers!server=ada/"]
    unfiltered = await house.shares.revoke(DEFAULT, user="bob", scopes=["read:servers"])
    assert unfiltered == share, "what is taken back is named with its filter"
    left = await house.shares.revoke(DEFAULT, user="bob", scopes=["read:servers!server=ada/"])
    assert list(left.scopes) == ["access:servers!server=ada/"]
    assert await house.shares.revoke(DEFAULT, user="bob") is None
    assert await house.shares.list_of_owner("ada", Window()) == ([], 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"user": "bob", "group": "crew"},
        {"user": "nobody"},
        {"group": "nothing"},
        {"user": "bob", "scopes": ["no:such"]},
        {"user": "bob", "scopes": ["self"]},
        {"user": "bob", "scopes": ["access:servers!user=ada"]},
        {"user": "bob", "scopes": ["access:servers!server=bob/"]},
    ],
    ids=repr,
)
async def test_a_wrong_grant_is_refused_and_shares_nothing(house, wrong):
    with pytest.raises(Invalid):
        await house.shares.grant(DEFAULT, requester=SHARER, **wrong)
    assert await house.shares.list_of_owner("ada", Window()) == ([], 0)


async def test_nobody_shares_what_they_do_not_hold(house):
    for scopes in (["start:servers"], ["access:servers", "delete:servers"]):
        with pytest.raises(Denied):
            await house.shares.grant(DEFAULT, user="bob", scopes=scopes, requester=SHARER)
        with pytest.raises(Denied):
            await house.shares.create_code(DEFAULT, scopes=scopes, requester=SHARER)


async def test_who_may_not_know_a_name_learns_nothing_of_it(house):
    blind = requester("shares!user=ada")
    for recipient in ({"user": "bob"}, {"user": "nobody"}, {"group": "crew"}, {"group": "nothing"}):
        with pytest.raises(Denied):
            await house.shares.grant(DEFAULT, requester=blind, **recipient)


async def test_filters_by_group_count_for_server_and_recipient(house):
    await house.groups.create("owners", members=["ada"])
    sharer = requester("shares!group=owners", "read:users:name!group=crew")
    assert (await house.shares.grant(DEFAULT, user="bob", requester=sharer)).user == "bob"
    with pytest.raises(Denied):
        await house.shares.grant(DEFAULT, user="eve", requester=sharer)


async def test_an_unknown_named_server_is_not_found(house):
    missing = ServerKey("ada", "missing")
    for attempt in (
        house.shares.grant(missing, user="bob", requester=SHARER),
        house.shares.list_of_server(missing, Window()),
        house.shares.revoke_all(missing),
        house.shares.create_code(missing, requester=SHARER),
        house.shares.list_of_owner("nobody", Window()),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_a_guest_sees_and_leaves_their_own_share_only(house):
    await house.shares.grant(DEFAULT, user="bob", requester=SHARER)
    await house.shares.grant(DEFAULT, group="crew", requester=SHARER)
    shares, total = await house.shares.list_for_user("bob", Window())
    assert total == len(shares) == 2
    await house.shares.leave(DEFAULT, user="bob")
    with pytest.raises(NotFound):
        await house.shares.leave(DEFAULT, user="bob")
    assert (await house.shares.find(DEFAULT, group="crew")).group == "crew"


async def test_what_is_shared_with_ones_group_counts_for_ones_tokens_until_one_leaves_it(house):
    secrets = [await house.token_of("bob"), await house.token_of("bob", ["servers"])]
    await house.shares.grant(
        DEFAULT, group="crew", scopes=["servers"], requester=requester("shares", "servers", *NAMES)
    )
    on = Target.of_server(DEFAULT)
    for secret in secrets:
        asking = await house.requesters.by_token(secret)
        assert asking.may("start:servers", on), "also what the scope contains"
        assert not asking.may("start:servers", Target.of_server(ServerKey("ada", "other")))
    await house.groups.remove_members("crew", ["bob"])
    for secret in secrets:
        assert not (await house.requesters.by_token(secret)).may("start:servers", on)


async def test_a_share_follows_its_owner_to_a_new_name(house):
    await house.shares.grant(DEFAULT, user="bob", requester=SHARER)
    await house.users.change("ada", new_name="lovelace", requester=SHARER)
    [share], _ = await house.shares.list_for_user("bob", Window())
    assert share.server == ServerKey("lovelace") and list(share.scopes) == ["access:servers!server=lovelace/"]


# -- codes


async def test_a_code_becomes_a_share_of_everybody_who_accepts_it(house):
    secret, code = await house.shares.create_code(DEFAULT, requester=SHARER)
    assert len(secret) == 43 and code.expires_at - code.created_at == timedelta(days=1)
    async with house.store.read() as tx:
        bob, ada = await tx.users.find("bob"), await tx.users.find("ada")
    share = await house.shares.accept_code(secret, bob)
    assert share.user == "bob" and list(share.scopes) == ["access:servers!server=ada/"]
    assert (await house.shares.find_code(secret)).exchange_count == 1
    with pytest.raises(Invalid):
        await house.shares.accept_code(secret, ada)
    with pytest.raises(Invalid):
        await house.shares.accept_code("invented", bob)


@pytest.mark.parametrize("life_s", [59, -1, 0, 31536001])
async def test_codes_live_between_a_minute_and_a_year(house, life_s):
    with pytest.raises(Invalid):
        await house.shares.create_code(DEFAULT, expires_in_s=life_s, requester=SHARER)


async def test_codes_are_revoked_by_id_or_secret_below_their_server_only(house):
    await house.servers.start(ServerKey("ada", "lab"))
    one, code = await house.shares.create_code(DEFAULT, requester=SHARER)
    two, _ = await house.shares.create_code(DEFAULT, requester=SHARER)
    other, _ = await house.shares.create_code(ServerKey("ada", "lab"), requester=SHARER)
    for wrong in ({"code_id": f"sc_{code.id + 99}"}, {"code_id": "x"}, {"secret": "invented"}, {"secret": other}):
        with pytest.raises(NotFound):
            await house.shares.delete_code(DEFAULT, **wrong)
    await house.shares.delete_code(DEFAULT, code_id=f"sc_{code.id}")
    assert await house.shares.find_code(one) is None and await house.shares.find_code(two) is not None
    await house.shares.delete_code(DEFAULT, secret=two)
    assert (await house.shares.list_codes_of_owner("ada", Window()))[1] == 1
    await house.shares.delete_codes(ServerKey("ada", "lab"))
    assert (await house.shares.list_codes_of_owner("ada", Window()))[1] == 0


async def test_an_expired_code_is_worth_nothing(house):
    async with house.store.begin() as tx:
        server = await tx.servers.create((await tx.users.find("ada")).id, "")
        await tx.shares.create_code(
            server.id,
            server.user_id,
            secret="s" * 43,
            scopes=[],
            now=utcnow(),
            expires_at=utcnow() - timedelta(seconds=1),
        )
    assert await house.shares.find_code("s" * 43) is None


@pytest.mark.parametrize("text", ["", "sc_", "7", "sc_x", "sc_-1", "sc_" + "9" * 30])
def test_what_is_no_code_id_is_none(text):
    assert read_code_id(text) is None
