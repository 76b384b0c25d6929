"""OAuth clients and codes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from sqlalchemy import update

from jupyterhub.hub.store import tables as t
from jupyterhub.rbac.expand import IssuingClient
from jupyterhub.words.models import OAuthClient, OAuthCode
from jupyterhub.words.names import ServerKey

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def client(identifier: str, **fields) -> OAuthClient:
    given = {"description": "", "secret": "", "redirect_uri": "", "allowed_scopes": []} | fields
    return OAuthClient(identifier=identifier, **given)


async def test_a_client_is_saved_and_saved_again(tx):
    first = client("lab", description="A lab", secret="sha512:1:a:b", redirect_uri="/cb", allowed_scopes=["self"])
    await tx.oauth.save_client(first)
    assert await tx.oauth.find_client("lab") == first
    await tx.oauth.save_client(client("lab", redirect_uri="/other"))
    assert await tx.oauth.find_client("lab") == client("lab", redirect_uri="/other")
    assert await tx.oauth.client_ids() == ["lab"]
    await tx.oauth.delete_client("lab")
    assert await tx.oauth.find_client("lab") is None


async def test_a_client_saved_again_keeps_its_tokens(tx, ada):
    await tx.oauth.save_client(client("lab"))
    await tx.tokens.create("user", ada.id, secret="0123456789abcdef", scopes=[], note="", client_id="lab")
    await tx.oauth.save_client(client("lab", description="new"))
    assert len(await tx.tokens.list_of("user", ada.id)) == 1


async def test_clients_saved_at_once_are_one(store):
    async def save(number: int) -> None:
        async with store.begin() as tx:
            await tx.oauth.save_client(client("lab", description=str(number)))

    await asyncio.gather(*(save(number) for number in range(5)))
    async with store.read() as tx:
        assert await tx.oauth.client_ids() == ["lab"]


async def test_the_issuer_of_a_token_is_the_server_or_service_whose_client_it_is(tx, ada):
    for name in ("jupyterhub", "of-gpu", "of-culler", "of-nobody"):
        await tx.oauth.save_client(client(name))
    server = await tx.servers.create(ada.id, "gpu")
    await tx.connection.execute(update(t.spawners).where(t.spawners.c.id == server.id).values(oauth_client_id="of-gpu"))
    await tx.services.save("culler", oauth_client_id="of-culler")
    assert await tx.oauth.issuer("of-gpu") == IssuingClient(server=ServerKey("ada", "gpu"))
    assert await tx.oauth.issuer("of-culler") == IssuingClient(service="culler")
    for name in ("jupyterhub", "of-nobody", "unheard of"):
        assert await tx.oauth.issuer(name) == IssuingClient()
    assert set(await tx.oauth.issuers(["of-gpu", "of-culler", "jupyterhub"])) == {"of-gpu", "of-culler"}
    assert await tx.oauth.issuers([]) == {}

    assert await tx.oauth.delete_unused() == 1
    assert sorted(await tx.oauth.client_ids()) == ["jupyterhub", "of-culler", "of-gpu"]


def code(user_id: int, **fields) -> OAuthCode:
    given = {
        "client_id": "lab",
        "code": "c0de",
        "expires_at": int(NOON.timestamp()) + 60,
        "redirect_uri": "/cb",
        "session_id": "s1",
        "user_id": user_id,
        "scopes": ["access:servers!server=ada/"],
        "code_challenge": "x" * 43,
        "code_challenge_method": "S256",
    }
    return OAuthCode(**(given | fields))  # type: ignore[arg-type]


async def test_a_code_is_found_by_its_client_and_used_up_once(tx, ada):
    await tx.oauth.save_client(client("lab"))
    await tx.oauth.save_client(client("other"))
    await tx.oauth.create_code(code(ada.id))
    assert await tx.oauth.find_code("lab", "c0de") == code(ada.id)
    assert await tx.oauth.find_code("other", "c0de") is None
    assert await tx.oauth.find_code("lab", "code") is None
    assert not await tx.oauth.delete_code("other", "c0de")
    assert await tx.oauth.delete_code("lab", "c0de")
    assert not await tx.oauth.delete_code("lab", "c0de")


async def test_of_two_that_use_a_code_at_once_one_has_it(store):
    async with store.begin() as tx:
        ada = await tx.users.create("ada")
        await tx.oauth.save_client(client("lab"))
        await tx.oauth.create_code(code(ada.id))

    async def use() -> bool:
        async with store.begin() as tx:
            return await tx.oauth.delete_code("lab", "c0de")

    assert sorted(await asyncio.gather(*(use() for _ in range(4)))) == [False, False, False, True]


async def test_old_codes_go(tx, ada):
    await tx.oauth.save_client(client("lab"))
    await tx.oauth.create_code(code(ada.id, code="old", expires_at=int(NOON.timestamp()) - 1))
    await tx.oauth.create_code(code(ada.id, code="new"))
    assert await tx.oauth.delete_expired_codes(NOON) == 1
    assert await tx.oauth.find_code("lab", "new") is not None
