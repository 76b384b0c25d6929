"""Services."""

from __future__ import annotations

import asyncio

from sqlalchemy import func, select

from jupyterhub.hub.store import tables as t
from jupyterhub.rbac.scope_set import EVERYTHING, ListFilter
from jupyterhub.words.models import Endpoint, Service

ENDPOINT = Endpoint(proto="http", ip="127.0.0.1", port=9000, base_url="/services/culler/")


async def test_a_service_of_which_only_the_name_is_known_has_defaults(tx):
    saved = await tx.services.save("culler")
    assert saved == Service(
        id=saved.id,
        name="culler",
        admin=False,
        url=None,
        oauth_client_allowed_scopes=[],
        info=None,
        display=None,
        oauth_no_confirm=None,
        command=[],
        cwd=None,
        environment={},
        user=None,
        timeout_s=30,
        from_config=True,
        pid=None,
        oauth_client_id=None,
        endpoint=None,
    )


async def test_a_service_is_saved_and_changed_where_it_is_said(tx):
    first = await tx.services.save(
        "culler",
        admin=True,
        url="http://127.0.0.1:9000",
        command=["python", "-m", "culler"],
        environment={"A": "1"},
        info={"x": [1]},
        from_config=False,
        timeout=5,
    )
    assert (first.admin, first.url, first.timeout_s) == (True, "http://127.0.0.1:9000", 5)
    assert (first.command, first.environment, first.info) == (["python", "-m", "culler"], {"A": "1"}, {"x": [1]})
    changed = await tx.services.save("culler", url=None, info={})
    assert changed.id == first.id
    assert (changed.url, changed.info, changed.command) == (None, {}, first.command)
    assert await tx.services.save("culler") == changed
    assert await tx.services.find("culler") == await tx.services.find_by_id(first.id) == changed
    assert await tx.services.find("Culler") is None


async def test_a_list_gives_what_its_filter_names(tx):
    for name in ("a", "b", "c"):
        await tx.services.save(name)
    assert [service.name for service in await tx.services.list(EVERYTHING)] == ["a", "b", "c"]
    only = ListFilter(everything=False, services=frozenset({"b", "none"}), users=frozenset({"a"}))
    assert [service.name for service in await tx.services.list(only)] == ["b"]
    assert await tx.services.list(ListFilter(everything=False)) == []


async def test_an_endpoint_is_set_replaced_and_taken_away_without_a_trace(tx):
    service = await tx.services.save("culler")
    for endpoint in (ENDPOINT, Endpoint(proto="https", ip="10.0.0.7", port=1, base_url="/")):
        await tx.services.set_endpoint(service.id, endpoint)
        found = await tx.services.find("culler")
        assert found is not None
        assert found.endpoint == endpoint
    await tx.services.set_endpoint(service.id, None)
    await tx.services.set_endpoint(service.id, None)
    found = await tx.services.find("culler")
    assert found is not None
    assert found.endpoint is None
    assert (await tx.connection.execute(select(func.count()).select_from(t.servers))).scalar() == 0


async def test_the_process_is_noted_and_forgotten(tx):
    service = await tx.services.save("culler")
    for pid in (4711, None):
        await tx.services.set_pid(service.id, pid)
        found = await tx.services.find("culler")
        assert found is not None
        assert found.pid == pid


async def test_with_a_service_go_its_tokens_and_roles(tx, hub_client):
    service = await tx.services.save("culler")
    token = await tx.tokens.create("service", service.id, secret="0123456789abcdef", scopes=[], note="")
    await tx.services.delete(service.id)
    assert await tx.services.find("culler") is None
    assert await tx.tokens.find(token.id) is None


async def test_services_saved_at_once_are_one(store):
    async def save(number: int) -> None:
        async with store.begin() as tx:
            await tx.services.save("culler", url=f"http://127.0.0.1:{number}", command=["x"])

    await asyncio.gather(*(save(number) for number in range(5)))
    async with store.read() as tx:
        assert len(await tx.services.list()) == 1
