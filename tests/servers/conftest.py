from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jupyterhub.hub.servers import driver, servers
from jupyterhub.hub.store.store import Store
from jupyterhub.rbac.roles import DEFAULT_ROLES, USER_ROLE
from jupyterhub.words.models import OAuthClient

from .small_hubs import Cluster, SmallHub, World, running_cluster


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    """A database with the default roles, and with the users ada and bob."""
    path = tmp_path_factory.mktemp("template") / "hub.sqlite"

    async def make() -> None:
        store = await Store.open(str(path))
        async with store.begin() as tx:
            for role in DEFAULT_ROLES.values():
                await tx.roles.upsert(role.name, description=role.description, scopes=role.scopes or ())
            await tx.oauth.save_client(
                OAuthClient(
                    identifier="jupyterhub", description="JupyterHub", secret="", redirect_uri="", allowed_scopes=[]
                )
            )
            users = await tx.users.create_many(["ada", "bob"])
            await tx.roles.grant_many("user", [user.id for user in users], USER_ROLE)
        await store.close()

    asyncio.run(make())
    return path


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch):
    """Between hubs on SQLite no notice travels: the slow looks do all the work, and shall not be slow here."""
    monkeypatch.setattr(driver, "SLOW_LOOK_S", 0.05)
    monkeypatch.setattr(servers, "SLOW_LOOK_S", 0.05)


@pytest.fixture
async def cluster(template, tmp_path) -> AsyncIterator[Cluster]:
    async with running_cluster(shutil.copy(template, tmp_path / "hub.sqlite")) as cluster:
        yield cluster


@pytest.fixture
def world(cluster) -> World:
    return cluster.world


@pytest.fixture
async def hub(cluster) -> SmallHub:
    return await cluster.hub()


@pytest.fixture
async def other(cluster, hub) -> SmallHub:
    """A second hub on the same database."""
    return await cluster.hub()
