"""API tokens: found by their secret, which is not kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from sqlalchemy import insert, select

from jupyterhub.hub.store import tables as t
from jupyterhub.words.clock import utcnow
from jupyterhub.words.models import OAuthClient
from jupyterhub.words.secret_hash import CHOSEN_ROUNDS, hash_secret, new_token

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECRET = "cafe0123456789ab"


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def issuers(tx, hub_client):
    await tx.oauth.save_client(
        OAuthClient(identifier="lab", description="A lab", secret="", redirect_uri="", allowed_scopes=[])
    )


async def test_a_token_is_found_by_its_secret_with_all_that_it_was_given(tx, ada):
    made = await tx.tokens.create(
        "user",
        ada.id,
        secret=SECRET,
        scopes=["read:users!user", "inherit"],
        note="for tests",
        expires_at=NOON,
        client_id="lab",
        session_id="s1",
    )
    found = await tx.tokens.find_by_secret(SECRET, NOON - timedelta(seconds=1))
    assert found == made == await tx.tokens.find(made.id)
    assert (found.owner_kind, found.owner_id, found.owner_name) == ("user", ada.id, "ada")
    assert (found.client_id, found.client_description, found.session_id) == ("lab", "A lab", "s1")
    assert (found.scopes, found.note, found.expires_at) == (["read:users!user", "inherit"], "for tests", NOON)
    assert found.last_activity is None
    assert found.created is not None


async def test_services_have_tokens_too(tx):
    service = await tx.services.save("culler")
    made = await tx.tokens.create(
        "service", service.id, secret=SECRET, scopes=["inherit"], note="", rounds=CHOSEN_ROUNDS
    )
    assert (made.owner_kind, made.owner_id, made.owner_name) == ("service", service.id, "culler")
    assert await tx.tokens.find_by_secret(SECRET, NOON) == made
    assert await tx.tokens.list_of("service", service.id) == [made]


async def test_only_the_hash_is_kept(tx, ada):
    await tx.tokens.create("user", ada.id, secret=SECRET, scopes=[], note="")
    [row] = (await tx.connection.execute(select(t.api_tokens))).all()
    assert SECRET not in repr(row)
    assert row.hashed.startswith("sha512:1:")
    assert row.prefix == "cafe"


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "cafe",
        SECRET[:-1],
        SECRET + "0",
        SECRET.upper(),
        "cafe" * 30,
        "cafe\0" + SECRET,
        "\ud800afe0123456789",
        "%" * 16,
    ],
)
async def test_any_other_secret_finds_nothing(tx, ada, wrong):
    await tx.tokens.create("user", ada.id, secret=SECRET, scopes=[], note="")
    assert await tx.tokens.find_by_secret(wrong, NOON) is None


async def test_secrets_that_begin_alike_are_told_apart(tx, ada, bob):
    secrets = [f"cafe{new_token()[4:]}" for _ in range(5)]
    made = [await tx.tokens.create("user", ada.id, secret=secret, scopes=[], note=secret[-4:]) for secret in secrets]
    assert [await tx.tokens.find_by_secret(secret, NOON) for secret in secrets] == made


async def test_a_token_ends_at_the_moment_it_expires(tx, ada):
    await tx.tokens.create("user", ada.id, secret=SECRET, scopes=[], note="", expires_at=NOON)
    assert await tx.tokens.find_by_secret(SECRET, NOON - timedelta(microseconds=1)) is not None
    assert await tx.tokens.find_by_secret(SECRET, NOON) is None
    assert await tx.tokens.delete_expired(NOON - timedelta(microseconds=1)) == 0
    assert await tx.tokens.delete_expired(NOON) == 1


async def test_a_token_of_nobody_is_nobodys(tx):
    """Rows like this are left by databases that did not enforce foreign keys."""
    row = {"hashed": hash_secret(SECRET), "prefix": SECRET[:4], "client_id": "jupyterhub", "scopes": ["inherit"]}
    await tx.connection.execute(insert(t.api_tokens).values(**row))
    assert await tx.tokens.find_by_secret(SECRET, NOON) is None


async def test_a_long_note_is_cut_to_what_the_column_holds(tx, ada):
    made = await tx.tokens.create("user", ada.id, secret=SECRET, scopes=[], note="x" * 5000)
    assert made.note == "x" * 1023


async def test_tokens_go_one_by_one_by_client_by_session_and_by_note(tx, ada, bob):
    async def make(owner=ada, note="", **options) -> int:
        return (await tx.tokens.create("user", owner.id, secret=new_token(), scopes=[], note=note, **options)).id

    kept = await make()
    of_bob = await make(bob, client_id="lab", session_id="s1", note="Server at /user/ada/")
    by_client = [await make(client_id="lab"), await make(client_id="lab")]
    by_session = await make(session_id="s1")
    by_note = await make(note="Server at /user/ada/")
    single = await make()

    await tx.tokens.delete(single)
    assert await tx.tokens.delete_of_client(ada.id, "lab") == len(by_client)
    assert await tx.tokens.delete_of_session(ada.id, "s1") == 1
    assert await tx.tokens.delete_with_note("user", ada.id, "Server at /user/ada/") == 1
    assert [token.id for token in await tx.tokens.list_of("user", ada.id)] == [kept]
    assert [token.id for token in await tx.tokens.list_of("user", bob.id)] == [of_bob]
    assert {by_session, by_note}.isdisjoint({kept, of_bob})


async def test_use_only_moves_forward(tx, ada):
    made = await tx.tokens.create("user", ada.id, secret=SECRET, scopes=[], note="")
    for when in (NOON, NOON - timedelta(hours=1)):
        await tx.tokens.touch(made.id, when)
    await tx.tokens.touch_many([(made.id, NOON - timedelta(minutes=1))])
    await tx.tokens.touch_many([])
    found = await tx.tokens.find(made.id)
    assert found is not None
    assert found.last_activity == NOON


async def test_with_a_client_go_the_tokens_that_it_was_issued(tx, ada):
    made = await tx.tokens.create("user", ada.id, secret=SECRET, scopes=[], note="", client_id="lab")
    await tx.oauth.delete_client("lab")
    assert await tx.tokens.find(made.id) is None


async def test_a_new_token_is_made_now(tx, ada):
    made = await tx.tokens.create("user", ada.id, secret=SECRET, scopes=[], note="")
    assert made.created is not None
    assert abs(made.created - utcnow()) < timedelta(minutes=1)
