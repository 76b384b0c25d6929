"""What plugins see of users, servers and the hub: the attributes and methods of plugin-api.md §4, one by one.

Views are made from rows when a plugin is called and are not kept by the hub. They are the only place where the words of
the plugin API (``orm_user``, ``escaped_name`` …) meet our models; nothing inside the hub reads them back, except what a
Spawner itself sets.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from urllib.parse import quote
from weakref import WeakValueDictionary

from jupyterhub.objects import Server as ServerObject
from jupyterhub.words.models import Endpoint, Group, Json, Server, User
from jupyterhub.words.names import ServerKey, escape_user
from jupyterhub.words.urls import server_path, server_progress_path, user_path

from . import addresses
from .settings import HubSettings
from .store import waiting
from .store.orm import User as OrmUser
from .store.orm import server_of, user_of

log = logging.getLogger("jupyterhub.plugins")

#: how long ``User.spawn`` and ``User.stop`` wait at most; the spawner's own limits are shorter
START_LIMIT_S = 3600.0

LoadAuthState = Callable[[int], Awaitable[dict[str, Json] | None]]
SaveAuthState = Callable[[int, dict[str, Json] | None], Awaitable[None]]


@dataclass(frozen=True)
class GroupView:
    """``user.groups[i]``: plugins read its name and properties."""

    name: str
    properties: Mapping[str, Json]


@dataclass
class SpawnerRow:
    """``spawner.orm_spawner`` and the values of ``user.orm_spawners``: a snapshot of the row."""

    id: int
    name: str
    display_name: str | None
    state: dict[str, Json] | None
    user_options: dict[str, Json] | None
    started: datetime | None
    last_activity: datetime | None
    server: Any = None


@dataclass(frozen=True)
class ServerView:
    """A server as templates see it where the original gives them Spawner objects: from the row, driven here or not."""

    name: str
    display_name: str | None
    ready: bool
    pending: str | None
    active: bool
    started: datetime | None
    last_activity: datetime | None
    user_options: Mapping[str, Json] | None
    url: str
    user: Any = None


class SpawnerViews(Mapping[str, Any]):
    """``user.spawners``: Spawner objects of this user by server name. Lists the live ones, those driven by this hub.

    For another server of the user a Spawner is made when it is asked for by name, from its row; ``in`` says whether
    there is such a server. The hub goes on with that object if it starts the server while the plugin holds it.
    """

    def __init__(self, user: UserView, views: Views) -> None:
        self._user, self._views = user, views

    def __getitem__(self, name: str) -> Any:
        key = ServerKey(self._user.name, name)
        spawner = self._views.live_spawner(key) or self._views.prepared.get(key)
        if spawner is None:
            server = server_of(self._user.orm_user, name)
            if server is None:
                raise ValueError(f"{self._user.name} has no server {name!r}")
            spawner = self._views.prepared[key] = self._user._new_spawner(name, server=server)
        return spawner

    def __contains__(self, name: object) -> bool:
        return not name or name in set(self) or name in self._user.orm_user.orm_spawners

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self[name]
        except ValueError:
            return default

    def __iter__(self) -> Iterator[str]:
        return iter([key.name for key in self._views.live_keys(self._user.name)])

    def __len__(self) -> int:
        return len(self._views.live_keys(self._user.name))


class UserView:
    """``spawner.user``, ``handler.current_user``, the ``user`` of authenticator hooks."""

    kind = "user"

    def __init__(
        self,
        user: User,
        views: Views,
        *,
        groups: Sequence[Group] = (),
        roles: Sequence[str] = (),
        servers: Sequence[Server] = (),
    ) -> None:
        self._user, self._views = user, views
        self.name = user.name
        self.groups = [GroupView(group.name, group.properties) for group in groups]
        self.roles = list(roles)
        self.orm_spawners = {server.key.name: spawner_row(server) for server in servers}
        self.state: dict[str, Json] = {}
        self.settings = views.tornado_settings
        self.authenticator = views.authenticator

    def __repr__(self) -> str:
        return f"<User({self.name})>"

    # -- the row
    @property
    def id(self) -> int:
        return self._user.id

    @property
    def admin(self) -> bool:
        return self._user.admin

    @property
    def created(self) -> datetime | None:
        return self._user.created

    @property
    def last_activity(self) -> datetime | None:
        return self._user.last_activity

    @property
    def cookie_id(self) -> str:
        return self._user.cookie_id

    @property
    def user_info(self) -> Mapping[str, Json] | None:
        return self._user.user_info

    @property
    def orm_user(self) -> Any:
        """The row as ``jupyterhub.orm.User``, fresh from the database: for plugins, which may change it."""
        return self._views.orm_user(self._user.id)

    @property
    def db(self) -> Any:
        return self._views.db

    def __getattr__(self, name: str) -> Any:
        # what the original's wrapper hands on to its row
        if name.startswith("_") or not hasattr(OrmUser, name):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self.orm_user, name)

    # -- names and addresses
    @property
    def escaped_name(self) -> str:
        return escape_user(self.name)

    @property
    def json_escaped_name(self) -> str:
        return json.dumps(self.name)[1:-1]

    @property
    def dns_safe_name(self) -> str:
        return quote(self.name, safe="~-.").replace("_", "%5F").replace("%", "_").lower()

    @property
    def domain(self) -> str:
        return addresses.user_domain(self._views.settings, self.name)

    @property
    def host(self) -> str:
        domain = self.domain
        return addresses.origin_of(self._views.settings, domain) if domain else ""

    @property
    def base_url(self) -> str:
        return user_path(self._views.settings.base_url, self.name)

    prefix = base_url

    @property
    def proxy_spec(self) -> str:
        return addresses.server_routespec(self._views.settings, ServerKey(self.name))

    @property
    def url(self) -> str:
        return addresses.user_url(self._views.settings, self.name)

    def server_url(self, server_name: str = "") -> str:
        return addresses.server_url(self._views.settings, ServerKey(self.name, server_name))

    def public_url(self, server_name: str = "") -> str | None:
        return addresses.full_server_url(self._views.settings, ServerKey(self.name, server_name))

    def progress_url(self, server_name: str = "") -> str:
        return server_progress_path(self._views.settings.hub_prefix, ServerKey(self.name, server_name))

    # -- servers
    @property
    def allow_named_servers(self) -> bool:
        return self._views.settings.allow_named_servers

    @property
    def spawners(self) -> SpawnerViews:
        return SpawnerViews(self, self._views)

    @property
    def spawner(self) -> Any:
        """The Spawner of the default server."""
        return self.spawners[""]

    @property
    def spawner_class(self) -> Any:
        return self._views.tornado_settings.get("spawner_class")

    @property
    def _default_live(self) -> Any:
        return self._views.live_spawner(ServerKey(self.name))

    @property
    def active(self) -> bool:
        return any(spawner.active for spawner in self.spawners.values())

    @property
    def running(self) -> bool:
        return bool(self._default_live and self._default_live.ready)

    @property
    def server(self) -> Any:
        return self._default_live.server if self._default_live else None

    def get_spawner(self, server_name: str = "", replace_failed: bool = False) -> Any:
        """Give the Spawner of a server. One whose start has failed is none that stays, so there is none to replace."""
        return self.spawners[server_name]

    def get_or_create_spawner(self, server_name: str = "", display_name: str = "", replace_failed: bool = False) -> Any:
        """As ``get_spawner``; a named server that does not exist is added, without starting it."""
        if server_name and server_name not in self.spawners:
            waiting.wait(
                self._views.servers.create(
                    ServerKey(self.name, server_name), display_name=display_name or None, user_options=None
                )
            )
        return self.spawners[server_name]

    def _new_spawner(
        self, server_name: str, spawner_class: Any = None, *, server: Server | None = None, **values: Any
    ) -> Any:
        """Make a Spawner object that nobody else knows of; for tests of spawners."""
        if server is None:
            server = Server.never_started(ServerKey(self.name, server_name), self.id)
        return self._views.make_spawner(server, self, spawner_class, **values)

    async def spawn(
        self, server_name: str = "", display_name: str = "", options: Any = None, handler: Any = None
    ) -> Any:
        """Start a server and wait until it is ready or has failed; give its Spawner."""
        key = ServerKey(self.name, server_name)
        views = self._views
        await views.servers.start(
            key, display_name=display_name or None, user_options=options, handler=handler, wait_s=START_LIMIT_S
        )
        return views.live_spawner(key)

    async def stop(self, server_name: str = "") -> None:
        """Stop a server and wait until it is gone."""
        await self._views.servers.stop(ServerKey(self.name, server_name), wait_s=START_LIMIT_S)

    def new_api_token(self, token: str | None = None, **kwargs: Any) -> str:
        """Add a token of this user and give its text, which is kept nowhere."""
        text: str = self.orm_user.new_api_token(token, **kwargs)
        return text

    def all_spawners(self, include_default: bool = True) -> Iterator[Any]:
        for name, spawner in self.spawners.items():
            if name or include_default:
                yield spawner

    # -- what the authenticator keeps
    async def get_auth_state(self) -> dict[str, Json] | None:
        """Give the decrypted auth state, None if there is none or it cannot be decrypted."""
        return await self._views.load_auth_state(self.id)

    async def save_auth_state(self, auth_state: dict[str, Json] | None) -> None:
        await self._views.save_auth_state(self.id, auth_state)


def server_view(server: Server, url: str, user: Any = None) -> ServerView:
    return ServerView(
        name=server.key.name,
        display_name=server.display_name,
        ready=server.is_ready,
        pending=server.pending,
        active=server.is_active,
        started=server.started,
        last_activity=server.last_activity,
        user_options=server.user_options,
        url=url,
        user=user,
    )


def spawner_row(server: Server) -> SpawnerRow:
    return SpawnerRow(
        id=server.id,
        name=server.key.name,
        display_name=server.display_name,
        state=dict(server.state) if server.state is not None else None,
        user_options=dict(server.user_options) if server.user_options is not None else None,
        started=server.started,
        last_activity=server.last_activity,
    )


class Views:
    """Makes views; one per hub process.

    ``live_spawner`` and ``live_keys`` are set by ``hub/servers``, the auth-state pair by the builder.
    """

    def __init__(
        self, *, settings: HubSettings, hub: Any, authenticator: Any, tornado_settings: dict[str, Any]
    ) -> None:
        self.settings = settings
        #: the ``objects.Hub`` that plugins read addresses from
        self.hub = hub
        self.authenticator = authenticator
        self.tornado_settings = tornado_settings
        self.live_spawner: Callable[[ServerKey], Any] = lambda key: None
        self.all_live: Callable[[], Sequence[Any]] = lambda: ()
        self.live_keys: Callable[[str], Sequence[ServerKey]] = lambda user: ()
        #: Spawner objects that plugins have asked for of servers that nobody drives here, as long as they hold them
        self.prepared: WeakValueDictionary[ServerKey, Any] = WeakValueDictionary()
        #: ``Spawners.make``
        self.make_spawner: Callable[..., Any] = _no_spawners
        #: the ``Servers`` of this hub
        self.servers: Any = None
        #: the synchronous session (``store/legacy_session.py``)
        self.db: Any = None
        #: removes a user with all that they have
        self.delete_user: Callable[[str], Awaitable[None]] | None = None
        self.load_auth_state: LoadAuthState = _no_auth_state
        self.save_auth_state: SaveAuthState = _no_place_for_auth_state

    @cached_property
    def users(self) -> UserDict:
        """``app.users``"""
        return UserDict(self)

    def orm_user(self, user_id: int) -> Any:
        return self.db.get(OrmUser, user_id, populate_existing=True)

    def user(
        self, user: User, *, groups: Sequence[Group] = (), roles: Sequence[str] = (), servers: Sequence[Server] = ()
    ) -> UserView:
        return UserView(user, self, groups=groups, roles=roles, servers=servers)

    def endpoint(self, endpoint: Endpoint) -> ServerObject:
        """The ``objects.Server`` that spawners and proxies read addresses from."""
        return ServerObject(proto=endpoint.proto, ip=endpoint.ip, port=endpoint.port, base_url=endpoint.base_url)

    def server_path(self, key: ServerKey) -> str:
        return server_path(self.settings.base_url, key)


class UserDict(Mapping[Any, UserView]):
    """``app.users``: users by id, name, row or wrapper. Nothing is kept in it: each look-up asks the database."""

    def __init__(self, views: Views) -> None:
        self._views = views

    def __getitem__(self, key: Any) -> UserView:
        row = self._row(key)
        if row is None:
            raise KeyError(f"no such user: {key}")
        return self._view(row)

    def _view(self, row: Any) -> UserView:
        return self._views.user(
            user_of(row), groups=[Group(id=g.id, name=g.name, properties=g.properties or {}) for g in row.groups]
        )

    def _row(self, key: Any) -> Any:
        db = self._views.db
        if isinstance(key, int):
            return db.get(OrmUser, key, populate_existing=True)
        return OrmUser.find(db, key if isinstance(key, str) else key.name)

    def __contains__(self, key: object) -> bool:
        return self._row(key) is not None

    def __iter__(self) -> Iterator[int]:
        return iter([user_id for (user_id,) in self._views.db.query(OrmUser.__table__.c.id)])

    def __len__(self) -> int:
        count: int = self._views.db.query(OrmUser).count()
        return count

    def get(self, key: Any, default: Any = None) -> Any:
        row = self._row(key)
        return default if row is None else self._view(row)

    def add(self, orm_user: Any) -> UserView:
        """Give the wrapper of a row; there is nothing to add it to."""
        return self[orm_user]

    def delete(self, key: Any) -> None:
        """Remove a user with all that they have, as the API does."""
        name = self[key].name
        if waiting.can_wait() and self._views.delete_user is not None:
            waiting.wait(self._views.delete_user(name))
            return
        db = self._views.db
        db.delete(self._row(name))
        db.commit()

    def count_active_users(self) -> dict[str, int]:
        """Count the users of this hub whose servers are in some state: the keys end with it."""
        counts = dict.fromkeys(
            ("active", "ready", "pending", "spawn_pending", "stop_pending", "check_pending", "proxy_pending"), 0
        )
        for spawner in self._views.all_live():
            states = {"active": spawner.active, "ready": spawner.ready, "pending": bool(spawner.pending)}
            states |= {
                f"{what}_pending": getattr(spawner, f"_{what}_pending") for what in ("spawn", "stop", "check", "proxy")
            }
            for state, holds in states.items():
                counts[state] += bool(holds)
        return counts


def _no_spawners(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("this hub has no spawners yet")


async def _no_auth_state(user_id: int) -> dict[str, Json] | None:
    return None


async def _no_place_for_auth_state(user_id: int, auth_state: dict[str, Json] | None) -> None:
    log.warning("auth_state is not kept: enable_auth_state is off")
