"""A database that hubs start on, one after the other, each with its own configuration: only ``initial.load``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from jupyterhub.auth import Authenticator
from jupyterhub.hub import initial
from jupyterhub.hub.plugin_views import Views
from jupyterhub.hub.services import Services
from jupyterhub.hub.settings import HubSettings
from jupyterhub.hub.store.store import Store
from jupyterhub.rbac.scopes import ScopeRegistry
from jupyterhub.words.models import User


@dataclass
class House:
    views: Views
    services: Services


@dataclass
class Starts:
    store: Store
    #: all statements so far, with how many rows each has changed
    statements: list[tuple[str, int]] = field(default_factory=list)

    async def start(
        self, authenticator: Authenticator | None = None, *, on_command_line: bool = False, **settings: Any
    ) -> initial.Loaded:
        """Go through the start of a hub with these settings."""
        hub_settings = HubSettings(**settings)
        authenticator = authenticator or Authenticator(allow_all=True)
        registry = ScopeRegistry.default().with_custom(hub_settings.custom_scopes)
        views = Views(settings=hub_settings, hub=None, authenticator=authenticator, tornado_settings={})
        nothing: Any = None  # loading needs neither routes nor probes
        services = Services(store=self.store, settings=hub_settings, registry=registry, routes=nothing, prober=nothing)
        return await initial.load(
            store=self.store,
            settings=hub_settings,
            registry=registry,
            authenticator=authenticator,
            house=None if on_command_line else House(views, services),
            on_command_line=on_command_line,
        )

    # -- what came of it

    async def user(self, name: str) -> User | None:
        async with self.store.read() as tx:
            return await tx.users.find(name)

    async def users(self) -> set[str]:
        async with self.store.read() as tx:
            return set(await tx.users.names())

    async def admins(self) -> set[str]:
        async with self.store.read() as tx:
            return {user.name for user in await tx.users.all() if user.admin}

    async def roles(self) -> dict[str, set[str]]:
        """All roles with their scopes."""
        async with self.store.read() as tx:
            return {role.name: set(role.scopes) for role in await tx.roles.list()}

    async def roles_of(self, name: str) -> set[str]:
        async with self.store.read() as tx:
            user = await tx.users.find(name)
            assert user is not None, f"there is no user {name}"
            return set(await tx.roles.names_of("user", user.id))

    async def roles_of_service(self, name: str) -> set[str]:
        async with self.store.read() as tx:
            service = await tx.services.find(name)
            assert service is not None, f"there is no service {name}"
            return set(await tx.roles.names_of("service", service.id))

    async def roles_of_group(self, name: str) -> set[str]:
        async with self.store.read() as tx:
            group = await tx.groups.find(name)
            assert group is not None, f"there is no group {name}"
            return set(await tx.roles.names_of("group", group.id))

    async def members(self, group_name: str) -> set[str]:
        async with self.store.read() as tx:
            group = await tx.groups.find(group_name)
            assert group is not None, f"there is no group {group_name}"
            return set(await tx.groups.members(group.id))

    # -- what happens while a hub runs

    async def add_user(self, name: str, *roles: str, admin: bool = False, managed: bool = False) -> User:
        async with self.store.begin() as tx:
            user = await tx.users.create(name, admin=admin)
            for role in roles:
                await tx.roles.grant("user", user.id, role, managed_by_auth=managed)
        return user

    async def grant(self, name: str, role: str, *, managed: bool = False) -> None:
        async with self.store.begin() as tx:
            user = await tx.users.find(name)
            assert user is not None
            await tx.roles.grant("user", user.id, role, managed_by_auth=managed)


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Starts]:
    store = await Store.open(f"sqlite:///{tmp_path / 'hub.sqlite'}")
    starts = Starts(store)

    @event.listens_for(store.engine.sync_engine, "after_cursor_execute")
    def note(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool) -> None:
        starts.statements.append((statement, cursor.rowcount))

    yield starts
    await store.close()
