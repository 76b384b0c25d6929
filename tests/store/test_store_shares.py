"""Shares and share codes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest_asyncio
from sqlalchemy import update

from jupyterhub.hub.store import tables as t
from jupyterhub.words.models import Window
from jupyterhub.words.names import ServerKey

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ALL = Window()
ACCESS = "access:servers!server=ada/gpu"


@pytest_asyncio.fixture(loop_scope="session")
async def gpu(tx, ada):
    return await tx.servers.create(ada.id, "gpu")


async def test_a_share_says_what_of_which_server_with_whom(tx, ada, bob, gpu):
    share = await tx.shares.create(gpu.id, ada.id, user_id=bob.id, scopes=[ACCESS], now=NOON)
    assert (share.server_id, share.server, share.user, share.group) == (gpu.id, ServerKey("ada", "gpu"), "bob", None)
    assert (list(share.scopes), share.created_at, share.is_ready) == ([ACCESS], NOON, False)
    assert await tx.shares.find(gpu.id, user_id=bob.id) == share
    assert await tx.shares.find(gpu.id, user_id=ada.id) is None


async def test_lists_are_by_owner_by_server_and_by_recipient_also_through_groups(tx, ada, bob, gpu):
    carol = await tx.users.create("carol")
    physics = await tx.groups.create("physics")
    await tx.groups.add_members(physics.id, [bob.id])
    with_bob = await tx.shares.create(gpu.id, ada.id, user_id=bob.id, scopes=[ACCESS], now=NOON)
    with_group = await tx.shares.create(gpu.id, ada.id, group_id=physics.id, scopes=[ACCESS], now=NOON)
    assert with_group.group == "physics"
    assert await tx.shares.list_of_owner(ada.id, ALL) == ([with_bob, with_group], 2)
    assert await tx.shares.list_of_server(gpu.id, ALL) == ([with_bob, with_group], 2)
    assert await tx.shares.list_for_user(bob.id, ALL) == ([with_bob, with_group], 2)
    assert await tx.shares.list_for_user(carol.id, ALL) == ([], 0)
    assert await tx.shares.list_for_group(physics.id, ALL) == ([with_group], 1)
    assert await tx.shares.list_of_owner(ada.id, Window(offset=1, limit=1)) == ([with_group], 2)


async def test_scopes_for_a_user_follow_names_and_groups_of_today(tx, ada, bob, gpu):
    physics = await tx.groups.create("physics")
    await tx.groups.add_members(physics.id, [bob.id])
    await tx.shares.create(gpu.id, ada.id, user_id=bob.id, scopes=[ACCESS], now=NOON)
    other = await tx.servers.create(ada.id, "lab")
    await tx.shares.create(other.id, ada.id, group_id=physics.id, scopes=["read:servers!server=ada/lab"], now=NOON)
    assert await tx.shares.scopes_for_user(bob.id, with_groups=False) == [ACCESS]
    assert await tx.shares.scopes_for_user(bob.id, with_groups=True) == [ACCESS, "read:servers!server=ada/lab"]
    await tx.users.update(ada.id, name="lovelace")
    await tx.servers.rename(gpu.id, "tpu")
    assert await tx.shares.scopes_for_user(bob.id, with_groups=False) == ["access:servers!server=lovelace/tpu"]
    await tx.groups.remove_members(physics.id, [bob.id])
    assert len(await tx.shares.scopes_for_user(bob.id, with_groups=True)) == 1
    assert await tx.shares.scopes_for_user(ada.id, with_groups=True) == []


async def test_shares_change_and_go(tx, ada, bob, gpu):
    share = await tx.shares.create(gpu.id, ada.id, user_id=bob.id, scopes=[ACCESS], now=NOON)
    await tx.shares.set_scopes(share.id, [ACCESS, "read:servers!server=ada/gpu"])
    found = await tx.shares.find(gpu.id, user_id=bob.id)
    assert found is not None
    assert len(found.scopes) == 2
    await tx.shares.delete(share.id)
    assert await tx.shares.find(gpu.id, user_id=bob.id) is None
    await tx.shares.create(gpu.id, ada.id, user_id=bob.id, scopes=[ACCESS], now=NOON)
    await tx.shares.delete_of_server(gpu.id)
    assert await tx.shares.list_of_server(gpu.id, ALL) == ([], 0)


async def test_a_code_is_found_by_its_secret_until_it_expires_and_counts_its_uses(tx, ada, gpu):
    later = NOON + timedelta(hours=1)
    made = await tx.shares.create_code(
        gpu.id, ada.id, secret="secret-code-1", scopes=[ACCESS], now=NOON, expires_at=later
    )
    assert await tx.shares.find_code("secret-code-1", NOON) == made == await tx.shares.find_code_by_id(made.id)
    assert (made.server, made.expires_at, made.exchange_count, made.last_exchanged_at) == (gpu.key, later, 0, None)
    assert await tx.shares.find_code("secret-code-2", NOON) is None
    assert await tx.shares.find_code("secret-code-1", later) is None
    await tx.shares.count_exchange(made.id, NOON)
    await tx.shares.count_exchange(made.id, NOON)
    found = await tx.shares.find_code_by_id(made.id)
    assert found is not None
    assert (found.exchange_count, found.last_exchanged_at) == (2, NOON)
    await tx.shares.delete_code(made.id)
    assert await tx.shares.find_code_by_id(made.id) is None


async def test_expired_codes_are_counted_but_not_listed(tx, ada, gpu):
    old, new = [
        await tx.shares.create_code(
            gpu.id, ada.id, secret=f"secret-code-{n}", scopes=[ACCESS], now=NOON, expires_at=NOON + timedelta(hours=n)
        )
        for n in (0, 1)
    ]
    assert await tx.shares.list_codes_of_owner(ada.id, ALL, now=NOON) == ([new], 2)
    assert await tx.shares.list_codes_of_server(gpu.id, ALL, now=NOON) == ([new], 2)
    assert await tx.shares.delete_expired(NOON) == 1
    assert await tx.shares.find_code_by_id(old.id) is None
    await tx.shares.delete_codes_of_server(gpu.id)
    assert await tx.shares.list_codes_of_owner(ada.id, ALL, now=NOON) == ([], 0)


async def test_a_share_with_an_end_goes_when_it_is_over(tx, ada, bob, gpu):
    """Ours have none; the column is the original's."""
    share = await tx.shares.create(gpu.id, ada.id, user_id=bob.id, scopes=[ACCESS], now=NOON)
    end = NOON.replace(tzinfo=None)
    await tx.connection.execute(update(t.shares).where(t.shares.c.id == share.id).values(expires_at=end))
    assert await tx.shares.delete_expired(NOON - timedelta(seconds=1)) == 0
    assert await tx.shares.delete_expired(NOON) == 1


async def test_shares_that_are_extended_at_once_are_one(store):
    async with store.begin() as tx:
        ada, bob = await tx.users.create_many(["ada", "bob"])
        gpu = await tx.servers.create(ada.id, "gpu")

    async def extend(number: int) -> None:
        async with store.begin() as tx:
            await tx.shares.hold(gpu.id)
            scope = f"custom:{number}!server=ada/gpu"
            if share := await tx.shares.find(gpu.id, user_id=bob.id):
                await tx.shares.set_scopes(share.id, [*share.scopes, scope])
            else:
                await tx.shares.create(gpu.id, ada.id, user_id=bob.id, scopes=[scope], now=NOON)

    await asyncio.gather(*(extend(number) for number in range(5)))
    async with store.read() as tx:
        shares, total = await tx.shares.list_of_server(gpu.id, ALL)
    assert total == 1
    assert len(shares[0].scopes) == 5
