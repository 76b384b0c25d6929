"""A door with little behind it: the entry's handlers over a real store and real templates, without servers or proxy."""

from __future__ import annotations

import functools
import logging
import re
import shutil
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from traitlets.config import Config

from jupyterhub.auth import DummyAuthenticator
from jupyterhub.hub import initial
from jupyterhub.hub.activity import Activity
from jupyterhub.hub.auth_state import AuthStates
from jupyterhub.hub.bulletin import Bulletin
from jupyterhub.hub.login import Logins
from jupyterhub.hub.oauth.provider import OAuthProvider
from jupyterhub.hub.plugin_views import Views
from jupyterhub.hub.requesters import Requesters
from jupyterhub.hub.settings import HubSettings
from jupyterhub.hub.store.store import Store
from jupyterhub.hub.web.access_log import log_request
from jupyterhub.hub.web.api.base import APIHandler
from jupyterhub.hub.web.compat import BaseHandler
from jupyterhub.hub.web.entry import needs_login, needs_scope
from jupyterhub.hub.web.handler import HubHandler
from jupyterhub.hub.web.oauth.authorize import AuthorizeHandler
from jupyterhub.hub.web.oauth.token import TokenHandler
from jupyterhub.hub.web.pages.elsewhere import AddSlashHandler, NotFoundHandler, PrefixRedirectHandler, RootHandler
from jupyterhub.hub.web.pages.login import LoginHandler
from jupyterhub.hub.web.pages.logout import LogoutHandler
from jupyterhub.hub.web.render import StaticFiles, Templates
from jupyterhub.rbac.scopes import ScopeRegistry
from jupyterhub.words import secret_hash
from jupyterhub.words.models import OAuthClient, User

PASSWORD = "open sesame"
SECRET = b"s" * 32
#: reading the system's certificates for each client takes longer than most tests, and nothing here is encrypted
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


# -- handlers that stand for those of other rooms


class Page(HubHandler):
    @needs_login
    async def get(self) -> None:
        await self.render_page("logout.html")

    @needs_login
    async def post(self) -> None:
        self.finish("done")


class ApiThing(APIHandler):
    @needs_scope("read:users", "read:users:name")
    async def get(self, user_name: str) -> None:
        self.answer({"name": user_name, "asked_by": self.asking.name})

    @needs_scope("users:activity")
    async def post(self, user_name: str) -> None:
        self.answer({"name": user_name})


class ApiServer(APIHandler):
    @needs_scope("read:servers")
    async def get(self, user_name: str, server_name: str = "") -> None:
        self.answer([user_name, server_name])


class ApiList(APIHandler):
    @needs_scope("list:users")
    async def get(self) -> None:
        self.answer(sorted(self.asking.list_filter("list:users").users))

    @needs_scope("admin:users")
    async def post(self) -> None:
        self.answer()


class ApiBroken(APIHandler):
    def get(self) -> None:
        raise RuntimeError("the vault at 10.9.8.7 is down")


class BrokenPage(HubHandler):
    def get(self) -> None:
        raise RuntimeError("the vault at 10.9.8.7 is down")


class Whoami(BaseHandler):
    """As a plugin would write it."""

    def get(self) -> None:
        user = self.current_user
        self.finish({"name": user and user.name, "next": self.get_next_url(user)})


class OpenToPosts(BaseHandler):
    """A plugin that takes posts of other sites, as LTI does."""

    def check_xsrf_cookie(self) -> None:
        pass

    async def post(self) -> None:
        user = await self.login_user({"username": self.get_argument("who"), "password": PASSWORD})
        self.redirect(self.get_next_url(user))


class FakeServers:
    """No server runs here; what was asked to stop is remembered."""

    def __init__(self) -> None:
        self.stopped: list[Any] = []

    async def list_of(self, user: User) -> list[Any]:
        return []


@dataclass
class Door:
    """The application under test, where it listens, and what is behind it."""

    house: Any
    url: str
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        store: Store = self.house.store
        return store

    def browser(self, **kwargs: Any) -> Browser:
        return Browser(self, httpx.AsyncClient(base_url=self.url, timeout=10, verify=NO_TLS, **kwargs))

    async def add_user(self, name: str, *, admin: bool = False, roles: tuple[str, ...] = ("user",)) -> User:
        async with self.store.begin() as tx:
            user = await tx.users.create(name, admin=admin)
            for role in (*roles, *(("admin",) if admin else ())):
                await tx.roles.grant("user", user.id, role)
        return user

    async def user(self, name: str) -> User:
        async with self.store.read() as tx:
            found = await tx.users.find(name)
        assert found is not None
        return found

    async def token_of(self, name: str, *scopes: str) -> str:
        secret = secret_hash.new_token()
        async with self.store.begin() as tx:
            user = await tx.users.find(name)
            assert user is not None
            await tx.tokens.create("user", user.id, secret=secret, scopes=scopes or ["inherit"], note="test")
        return secret

    async def add_service(self, name: str, **columns: Any) -> str:
        """Add a service with an OAuth client of secret ``<name>-secret``; give the client id."""
        client_id = f"service-{name}"
        allowed = [*columns.pop("allowed_scopes", ()), f"access:services!service={name}"]
        redirect_uri = columns.pop("redirect_uri", f"http://127.0.0.1:9/{name}/cb")
        async with self.store.begin() as tx:
            await tx.oauth.save_client(
                OAuthClient(
                    identifier=client_id,
                    description=f"Service {name}",
                    secret=secret_hash.hash_secret(f"{name}-secret"),
                    redirect_uri=redirect_uri,
                    allowed_scopes=allowed,
                )
            )
            await tx.services.save(name, oauth_client_id=client_id, oauth_client_allowed_scopes=[], **columns)
        return client_id

    async def add_role(self, name: str, *scopes: str, users: tuple[str, ...] = ()) -> None:
        async with self.store.begin() as tx:
            await tx.roles.upsert(name, description=None, scopes=scopes)
            for user_name in users:
                user = await tx.users.find(user_name)
                assert user is not None
                await tx.roles.grant("user", user.id, name)


@dataclass
class Browser:
    """A client with cookies that uses the pages as people do."""

    door: Door
    http: httpx.AsyncClient

    async def get(self, path: str, **kwargs: Any) -> httpx.Response:
        return await self.http.get(path, **kwargs)

    async def post(self, path: str, **kwargs: Any) -> httpx.Response:
        return await self.http.post(path, **kwargs)

    async def xsrf(self, page: str = "/hub/login") -> str:
        found = re.search(r'xsrf_token:\s*"([^"]*)"', (await self.get(page)).text)
        assert found is not None
        return found[1]

    async def login(self, name: str, password: str = PASSWORD, **query: str) -> httpx.Response:
        page = "/hub/login" + (f"?{urlencode(query)}" if query else "")
        data = {"username": name, "password": password, "_xsrf": await self.xsrf(page)}
        return await self.post(page, data=data)

    def cookie(self, name: str) -> str | None:
        return next((c.value for c in self.http.cookies.jar if c.name == name), None)


@functools.cache
def templates_below(hub_prefix: str, *folders: str) -> Templates:
    # Compiling the pages takes longer than most tests.
    return Templates(template_paths=folders, static=StaticFiles(url_prefix=hub_prefix + "static/"))


async def open_copy(seed: Path, path: Path) -> Store:
    """Open a database like that of a hub which has just started for the first time."""
    if not seed.exists():
        store = await Store.open(f"sqlite:///{seed}.new")
        await initial.load(
            store=store,
            settings=HubSettings(),
            registry=ScopeRegistry.default(),
            authenticator=DummyAuthenticator(),
            on_command_line=True,
        )
        await store.close()
        Path(f"{seed}.new").rename(seed)
    shutil.copy(seed, path)
    return await Store.open(f"sqlite:///{path}")


@pytest.fixture(scope="session")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("entry") / "seed.sqlite"


MakeDoor = Callable[..., Awaitable[Door]]


@pytest.fixture
async def make_door(tmp_path: Path, seed: Path) -> AsyncIterator[MakeDoor]:
    opened: list[tuple[HTTPServer, Store]] = []

    async def make(
        *, authenticator_class: type[Any] = DummyAuthenticator, handlers: Any = (), config: Any = None, **options: Any
    ) -> Door:
        authenticator = authenticator_class(
            config=Config(
                {"DummyAuthenticator": {"password": PASSWORD}, "Authenticator": config or {"allow_all": True}}
            )
        )
        settings = HubSettings(**{"cookie_secret": SECRET, **options})
        settings = replace(settings, hub_prefix=settings.base_url + "hub/")
        store = await open_copy(seed, tmp_path / f"hub-{len(opened)}.sqlite")
        registry = ScopeRegistry.default()
        hub = SimpleNamespace(base_url=settings.hub_prefix)
        views = Views(settings=settings, hub=hub, authenticator=authenticator, tornado_settings={})
        auth_states = AuthStates(store=store, authenticator=authenticator)
        views.load_auth_state, views.save_auth_state = auth_states.load, auth_states.save
        requesters = Requesters(store, registry)
        house = SimpleNamespace(
            settings=settings,
            store=store,
            registry=registry,
            requesters=requesters,
            logins=Logins(
                store=store, settings=settings, authenticator=authenticator, views=views, auth_states=auth_states
            ),
            activity=Activity(store=store, resolution_s=30),
            oauth=OAuthProvider(store=store, settings=settings, registry=registry, requesters=requesters),
            servers=FakeServers(),
            bulletin=Bulletin(store),
            views=views,
            authenticator=authenticator,
            templates=templates_below(settings.hub_prefix, *settings.template_paths),
            log=logging.getLogger("jupyterhub.test"),
        )
        hub_path = settings.hub_prefix.rstrip("/")
        routes = [
            *[(hub_path + path, handler) for path, handler in handlers],
            (hub_path + "/", RootHandler),
            (hub_path + "/login", LoginHandler),
            (hub_path + "/logout", LogoutHandler),
            (hub_path + "/page", Page),
            (hub_path + "/broken", BrokenPage),
            (hub_path + "/whoami", Whoami),
            (hub_path + "/lti", OpenToPosts),
            (hub_path + "/api/things/(?P<user_name>[^/]+)", ApiThing),
            (hub_path + "/api/things/(?P<user_name>[^/]+)/servers/(?P<server_name>[^/]*)", ApiServer),
            (hub_path + "/api/things", ApiList),
            (hub_path + "/api/broken", ApiBroken),
            (hub_path + "/api/oauth2/authorize", AuthorizeHandler),
            (hub_path + "/api/oauth2/token", TokenHandler),
            (hub_path, AddSlashHandler),
            (hub_path + "/.*", NotFoundHandler),
            (rf"{settings.base_url}(?:user|services)/[^/]+", AddSlashHandler),
            (r".*", PrefixRedirectHandler),
        ]
        application = Application(routes, house=house, cookie_secret=SECRET, log_function=log_request)  # type: ignore[arg-type]
        server = HTTPServer(application, xheaders=True)
        [socket] = bind_sockets(0, "127.0.0.1")
        server.add_socket(socket)
        opened.append((server, store))
        return Door(house, f"http://127.0.0.1:{socket.getsockname()[1]}")

    yield make
    for server, store in opened:
        server.stop()
        await server.close_all_connections()
        await store.close()


@pytest.fixture
async def door(make_door: MakeDoor) -> Door:
    return await make_door()
