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
from typing import Any
from urllib.parse import quote

from jupyterhub.objects import Server as ServerObject
from jupyterhub.words.models import Endpoint, Group, Json, Server, User
from jupyterhub.words.names import ServerKey, escape_user
from jupyterhub.words.urls import server_path, server_progress_path, user_path

from . import addresses
from .settings import HubSettings

log = logging.getLogger("jupyterhub.plugins")

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
    """``user.spawners``: the live Spawner objects of this user on this hub, by server name.

    A server that is not driven here has no Spawner object; asking for it raises KeyError as any mapping does.
    """

    def __init__(self, live: Callable[[ServerKey], Any], keys: Callable[[str], Sequence[ServerKey]], user: str) -> None:
        self._live, self._keys, self._user = live, keys, user

    def __getitem__(self, name: str) -> Any:
        spawner = self._live(ServerKey(self._user, name))
        if spawner is None:
            raise KeyError(name)
        return spawner

    def __iter__(self) -> Iterator[str]:
        return iter([key.name for key in self._keys(self._user)])

    def __len__(self) -> int:
        return len(self._keys(self._user))


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
    def orm_user(self) -> UserView:
        return self

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
        return SpawnerViews(self._views.live_spawner, self._views.live_keys, self.name)

    @property
    def spawner(self) -> Any:
        return self._views.live_spawner(ServerKey(self.name))

    @property
    def active(self) -> bool:
        return any(spawner.active for spawner in self.spawners.values())

    @property
    def running(self) -> bool:
        return bool(self.spawner and self.spawner.ready)

    @property
    def server(self) -> Any:
        return self.spawner.server if self.spawner else None

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
        self.live_keys: Callable[[str], Sequence[ServerKey]] = lambda user: ()
        self.load_auth_state: LoadAuthState = _no_auth_state
        self.save_auth_state: SaveAuthState = _no_place_for_auth_state

    def user(
        self, user: User, *, groups: Sequence[Group] = (), roles: Sequence[str] = (), servers: Sequence[Server] = ()
    ) -> UserView:
        return UserView(user, self, groups=groups, roles=roles, servers=servers)

    def endpoint(self, endpoint: Endpoint) -> ServerObject:
        """The ``objects.Server`` that spawners and proxies read addresses from."""
        return ServerObject(proto=endpoint.proto, ip=endpoint.ip, port=endpoint.port, base_url=endpoint.base_url)

    def server_path(self, key: ServerKey) -> str:
        return server_path(self.settings.base_url, key)


async def _no_auth_state(user_id: int) -> dict[str, Json] | None:
    return None


async def _no_place_for_auth_state(user_id: int, auth_state: dict[str, Json] | None) -> None:
    log.warning("auth_state is not kept: enable_auth_state is off")
