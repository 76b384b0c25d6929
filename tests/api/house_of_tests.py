"""A small real house for tests of the API: real store, rules and handlers; servers and proxy are stand-ins."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tornado.web import HTTPError

from jupyterhub.hub.activity import Activity
from jupyterhub.hub.bulletin import Bulletin
from jupyterhub.hub.groups import Groups
from jupyterhub.hub.login import Refreshed
from jupyterhub.hub.plugin_views import Views
from jupyterhub.hub.requester import Requester
from jupyterhub.hub.requesters import Requesters
from jupyterhub.hub.services import Services
from jupyterhub.hub.settings import HubSettings
from jupyterhub.hub.shares import Shares
from jupyterhub.hub.status import Status
from jupyterhub.hub.store.store import Store
from jupyterhub.hub.tokens import Tokens
from jupyterhub.hub.users import Users
from jupyterhub.rbac.expand import Owner, expand
from jupyterhub.rbac.roles import ADMIN_ROLE, DEFAULT_ROLES, USER_ROLE
from jupyterhub.rbac.scope_set import ScopeSet
from jupyterhub.rbac.scopes import ScopeRegistry
from jupyterhub.words.clock import utcnow
from jupyterhub.words.errors import Invalid, NotFound
from jupyterhub.words.models import Endpoint, Lease, OAuthClient, Phase, Server, SpawnLimits, User
from jupyterhub.words.names import ServerKey
from jupyterhub.words.secret_hash import new_token
from jupyterhub.words.unset import UNSET

REGISTRY = ScopeRegistry.default()


class PlainAuthenticator:
    """Takes every name that the house takes; refuses those that begin with ``refused``."""

    enable_auth_state = False
    refresh_pre_spawn = False
    refresh_pre_stop = False
    login_service = ""

    def __init__(self) -> None:
        self.added: list[str] = []
        self.deleted: list[str] = []

    def normalize_username(self, name: str) -> str:
        return name.lower()

    def validate_username(self, name: str) -> bool:
        return bool(name) and "/" not in name

    def add_user(self, user: Any) -> None:
        if user.name.startswith("refused"):
            raise ValueError("not on my watch")
        self.added.append(user.name)

    async def delete_user(self, user: Any) -> None:
        self.deleted.append(user.name)


class ServersByRow:
    """Servers that start and stop at once, by their rows alone."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.never_stop: set[str] = set()
        self.forgotten: list[str] = []

    async def find(self, key: ServerKey) -> Server | None:
        async with self._store.read() as tx:
            return await tx.servers.find(key)

    async def start(self, key: ServerKey, **options: Any) -> Server:
        async with self._store.begin() as tx:
            user = await tx.users.find(key.user)
            assert user is not None
            server = await tx.servers.find(key) or await tx.servers.create(user.id, key.name)
            now = utcnow()
            lease = await tx.servers.begin_start(
                server.id, hub_id="h", limits=SpawnLimits(), now=now, user_options=options.get("user_options")
            )
            if lease is None:
                raise Invalid(f"{key} runs already")
            endpoint = Endpoint(proto="http", ip="127.0.0.1", port=9, base_url=f"/user/{key}/")
            await tx.servers.set_endpoint(lease, endpoint, {"pid": 7})
            await tx.servers.mark_ready(lease, now=now, was=Phase.STARTING)
            found = await tx.servers.find(key)
            assert found is not None
            return found

    async def stop_all_of(self, user: User) -> None:
        async with self._store.begin() as tx:
            for server in await tx.servers.list_of_user(user.id):
                if await tx.servers.want_stopped(server.id, now=utcnow()) and user.name not in self.never_stop:
                    lease = Lease(server.id, server.generation, server.hub_id or "")
                    await tx.servers.mark_stopped(lease, state=None, now=utcnow())

    async def create(self, key: ServerKey, *, display_name: Any, user_options: Any, handler: Any) -> Server:
        async with self._store.begin() as tx:
            user = await tx.users.find(key.user)
            assert user is not None
            return await tx.servers.create(user.id, key.name, display_name=display_name, user_options=user_options)

    async def modify(self, key: ServerKey, *, name: Any, display_name: Any, user_options: Any, handler: Any) -> Server:
        async with self._store.begin() as tx:
            server = await tx.servers.find(key)
            assert server is not None
            if name is not UNSET:
                await tx.servers.rename(server.id, name)
            if user_options is not UNSET:
                await tx.servers.set_user_options(server.id, user_options)
            found = await tx.servers.find_by_id(server.id)
            assert found is not None
            return found

    async def stop(self, key: ServerKey, *, remove: bool, wait_s: float) -> bool:
        async with self._store.begin() as tx:
            server = await tx.servers.find(key)
            if server is None:
                if key.name:
                    raise NotFound()
                return True
            if await tx.servers.want_stopped(server.id, now=utcnow()):
                if key.user in self.never_stop:
                    return False
                await tx.servers.mark_stopped(
                    Lease(server.id, server.generation, server.hub_id or ""), state=None, now=utcnow()
                )
            if remove:
                await tx.servers.delete(server.id)
        return True

    async def progress(self, key: ServerKey) -> AsyncIterator[dict[str, Any] | None]:
        if await self.find(key) is None:
            raise NotFound()
        yield {"progress": 0, "message": "Server requested"}
        yield None
        yield {"progress": 100, "ready": True, "message": "ready", "url": f"/user/{key}/"}

    async def forget_all_of(self, user: User) -> None:
        self.forgotten.append(user.name)


class NoRoutes:
    proxy: Any = None

    def __init__(self) -> None:
        self.table: dict[str, Any] = {"/": {"routespec": "/", "target": "http://hub", "data": {"hub": True}}}
        self.checks = 0

    async def all(self) -> Mapping[str, Any]:
        return self.table

    async def check(self) -> None:
        self.checks += 1

    async def add_service(self, name: str, endpoint: Endpoint) -> None:
        self.table[f"/services/{name}/"] = {"routespec": f"/services/{name}/", "target": "x", "data": {"service": name}}

    async def delete_service(self, name: str) -> None:
        self.table.pop(f"/services/{name}/", None)


class AnswersAtOnce:
    async def wait_up(self, endpoint: Endpoint, *, within_s: float, still_running: Any) -> None:
        return


class TrustingLogins:
    """Everybody's password is ``right``."""

    async def refresh(self, user: User, handler: Any, *, force: bool = False) -> Refreshed:
        return Refreshed(True, user)

    async def authenticate(self, handler: Any, data: Any) -> dict[str, Any] | None:
        if data.get("username") == "broken":
            raise HTTPError(500, "the identity provider is down")
        return {"name": data.get("username")} if data.get("password") == "right" else None

    async def persist(self, model: Any) -> None:
        return


@dataclass
class SmallHouse:
    """What handlers find as ``house``, as far as the API's handlers look."""

    store: Store
    settings: HubSettings
    authenticator: PlainAuthenticator
    servers: ServersByRow
    routes: NoRoutes
    registry: ScopeRegistry = REGISTRY
    ended: list[dict[str, Any]] = field(default_factory=list)
    templates: Any = None
    oauth: Any = None
    logins: TrustingLogins = field(default_factory=TrustingLogins)
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("jupyterhub.tests"))

    def __post_init__(self) -> None:
        store, registry = self.store, self.registry
        self.views = Views(settings=self.settings, hub=None, authenticator=self.authenticator, tornado_settings={})
        self.requesters = Requesters(store, registry)
        self.activity = Activity(store=store, resolution_s=self.settings.activity_resolution)
        self.users = Users(
            store=store,
            authenticator=self.authenticator,
            views=self.views,
            servers=self.servers,
            activity=self.activity,
        )
        self.groups = Groups(store=store, authenticator=self.authenticator)
        self.tokens = Tokens(
            store=store,
            registry=registry,
            requesters=self.requesters,
            activity=self.activity,
            max_expires_in_s=self.settings.token_expires_in_max_seconds,
        )
        self.services = Services(
            store=store, settings=self.settings, registry=registry, routes=self.routes, prober=AnswersAtOnce()
        )
        self.shares = Shares(store=store, registry=registry)
        self.bulletin = Bulletin(store)
        self.status = Status(store=store, routes=self.routes, hub_id=lambda: "h")  # type: ignore[arg-type]

    def shutdown(self, **how: Any) -> None:
        self.ended.append(how)

    # -- making things

    async def add_users(self, *names: str, admin: bool = False) -> list[User]:
        async with self.store.begin() as tx:
            users = list(await tx.users.create_many(names, admin=admin))
            for role in (USER_ROLE, ADMIN_ROLE) if admin else (USER_ROLE,):
                await tx.roles.grant_many("user", [user.id for user in users], role)
            return users

    async def token_of(self, user: str, scopes: list[str] | None = None) -> str:
        secret = new_token()
        async with self.store.begin() as tx:
            found = await tx.users.find(user)
            assert found is not None
            await tx.tokens.create("user", found.id, secret=secret, scopes=scopes or ["inherit"], note="of a test")
        return secret

    async def service_with(self, name: str, *scopes: str, admin: bool = False) -> str:
        """Add a service with exactly these scopes, and give its token."""
        secret = new_token()
        async with self.store.begin() as tx:
            service = await tx.services.save(
                name,
                admin=admin,
                command=[],
                environment={},
                oauth_client_allowed_scopes=[],
                timeout=30,
                from_config=False,
            )
            await tx.roles.upsert(f"role-of-{name}", description="", scopes=scopes)
            await tx.roles.grant("service", service.id, f"role-of-{name}")
            await tx.tokens.create("service", service.id, secret=secret, scopes=["inherit"], note="of a test")
        return secret


async def make_template(path: str) -> None:
    """Make the database that each test starts with a copy of: the default roles, and the hub's own client."""
    store = await Store.open(f"sqlite:///{path}")
    async with store.begin() as tx:
        for role in DEFAULT_ROLES.values():
            await tx.roles.upsert(role.name, description=role.description, scopes=role.scopes or ())
        await tx.oauth.save_client(
            OAuthClient(
                identifier="jupyterhub", description="JupyterHub", secret="", redirect_uri="", allowed_scopes=[]
            )
        )
    await store.close()


@asynccontextmanager
async def small_house(path: str, **settings: Any) -> AsyncIterator[SmallHouse]:
    store = await Store.open(f"sqlite:///{path}")
    try:
        settings = {"cookie_secret": b"x" * 32, "allow_named_servers": True, **settings}
        yield SmallHouse(
            store=store,
            settings=HubSettings(**settings),
            authenticator=PlainAuthenticator(),
            servers=ServersByRow(store),
            routes=NoRoutes(),
        )
    finally:
        await store.close()


def requester(*scopes: str, name: str = "somebody", kind: Any = "service", admin: bool = False) -> Requester:
    """Somebody who holds these scopes, for rules that ask nothing else."""
    expanded = expand(scopes, REGISTRY, owner=Owner(kind, name))
    return Requester(kind=kind, id=0, name=name, admin=admin, scopes=ScopeSet.of(expanded))


ROOT = requester(*(DEFAULT_ROLES[ADMIN_ROLE].scopes or ()), name="root", admin=True)
