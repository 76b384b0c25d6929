"""The rules of making, showing and revoking API tokens."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jupyterhub.hub.tokens import read_public_id
from jupyterhub.words.clock import utcnow
from jupyterhub.words.errors import Denied, Invalid, NotFound
from jupyterhub.words.models import OAuthClient

from .house_of_tests import requester
from .statements import counted


@pytest.fixture
async def ada(house):
    [ada] = await house.add_users("ada")
    return ada


async def test_a_new_token_works_and_is_known_by_its_hash_only(house, ada):
    secret, details = await house.tokens.create("ada", requester=None)
    found = await house.requesters.by_token(secret)
    assert found.name == "ada" and found.token.id == details.token.id
    assert "servers!user=ada" in details.scopes.raw and details.token.expires_at is None


@pytest.mark.parametrize(
    ("who", "note"),
    [
        (None, "Requested via api"),
        (requester(name="ada", kind="user"), "Requested via api"),
        (requester(name="boss", kind="user"), "Requested via api by user boss"),
        (requester(name="ada", kind="service"), "Requested via api by service ada"),
    ],
)
async def test_the_default_note_says_who_asked(house, ada, who, note):
    _, details = await house.tokens.create("ada", requester=who)
    assert details.token.note == note


async def test_a_note_of_ones_own_stays_as_it_is(house, ada):
    _, details = await house.tokens.create("ada", note=7, requester=requester(name="boss"))
    assert details.token.note == "7"


@pytest.mark.parametrize(
    "wrong",
    [
        {"expires_in_s": 0},
        {"expires_in_s": -1},
        {"expires_in_s": 10**12},
        {"scopes": ["no:such"]},
        {"scopes": ["admin:users"]},
        {"scopes": ["read:users!user=bob"]},
        {"roles": ["no-such-role"]},
        {"roles": ["admin"]},
        {"roles": ["token"], "scopes": ["self"]},
    ],
    ids=repr,
)
async def test_a_token_beyond_its_owner_or_reason_is_refused(house, ada, wrong):
    with pytest.raises(Invalid):
        await house.tokens.create("ada", requester=None, **wrong)
    assert await house.tokens.list_of("ada") == []


async def test_a_token_of_nobody_is_denied_not_missed(house):
    with pytest.raises(Denied):
        await house.tokens.create("nobody", requester=None)


async def test_a_token_without_scopes_identifies_only(house, ada):
    _, details = await house.tokens.create("ada", scopes=[], requester=None)
    assert details.scopes.raw == {"read:users:name!user=ada", "read:users:groups!user=ada"}


async def test_lifetimes_are_limited_and_limits_are_the_default(house, ada):
    house.tokens._max_expires_in_s = 60
    with pytest.raises(Invalid):
        await house.tokens.create("ada", expires_in_s=61, requester=None)
    _, details = await house.tokens.create("ada", requester=None)
    assert details.token.expires_at - utcnow() <= timedelta(seconds=60)


async def test_expired_tokens_are_neither_listed_nor_found(house, ada):
    async with house.store.begin() as tx:
        dead = await tx.tokens.create(
            "user", ada.id, secret="x" * 32, scopes=[], note="", expires_at=utcnow() - timedelta(seconds=1)
        )
    with pytest.raises(NotFound):
        await house.tokens.find("ada", dead.public_id)
    assert await house.tokens.list_of("ada") == []
    async with house.store.read() as tx:
        assert await tx.tokens.find(dead.id) is None


async def test_a_token_is_found_below_its_owner_only(house, ada):
    await house.add_users("bob")
    _, details = await house.tokens.create("ada", requester=None)
    with pytest.raises(NotFound):
        await house.tokens.find("bob", details.token.public_id)
    with pytest.raises(NotFound):
        await house.tokens.delete("bob", details.token.public_id)
    assert (await house.tokens.find("ada", details.token.public_id)).token.id == details.token.id


async def test_revoking_an_oauth_token_revokes_all_of_that_client(house, ada):
    client = OAuthClient(identifier="service-x", description="X", secret="", redirect_uri="/x", allowed_scopes=[])
    async with house.store.begin() as tx:
        await tx.oauth.save_client(client)
        first, _ = [
            await tx.tokens.create("user", ada.id, secret=s * 32, scopes=[], note="", client_id="service-x")
            for s in "ab"
        ]
        own = await tx.tokens.create("user", ada.id, secret="c" * 32, scopes=[], note="")
    await house.tokens.delete("ada", first.public_id)
    assert [details.token.id for details in await house.tokens.list_of("ada")] == [own.id]


@pytest.mark.parametrize("count", [1, 20])
async def test_a_list_of_tokens_costs_the_same_statements_whatever_its_length(house, ada, count):
    await house.groups.create("crew", members=["ada"])
    for _ in range(count):
        await house.tokens.create("ada", scopes=["read:users!user"], requester=None)
    with counted(house.store) as statements:
        assert len(await house.tokens.list_of("ada")) == count
    assert len(statements) <= 6, statements


async def test_the_least_recently_used_token_comes_first(house, ada):
    ids = [(await house.tokens.create("ada", requester=None))[1].token.id for _ in range(3)]
    async with house.store.begin() as tx:
        await tx.tokens.touch(ids[0], utcnow() + timedelta(seconds=5))
    assert [details.token.id for details in await house.tokens.list_of("ada")] == [ids[1], ids[2], ids[0]]


@pytest.mark.parametrize("text", ["", "a", "7", "b7", "a-7", "a\u0667", "a7 ", "a" + "9" * 30])
def test_what_is_no_token_id_is_none(text):
    assert read_public_id(text) is None


async def test_a_token_that_was_used_a_moment_ago_still_ends_in_time(house, ada, monkeypatch):
    secret, _ = await house.tokens.create("ada", expires_in_s=60, requester=None)
    assert await house.requesters.by_token(secret) is not None
    monkeypatch.setattr("jupyterhub.hub.requesters.utcnow", lambda: utcnow() + timedelta(seconds=61))
    assert await house.requesters.by_token(secret) is None
