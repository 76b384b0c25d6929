"""``BaseHandler`` as plugins know it: the names and signatures of plugin-api.md §6 over our own handler.

Authenticators bring handlers of their own that subclass it; our login and logout pages do too, so that what plugins
override takes effect there. Nothing else inside the hub uses these names. Plain methods that must ask the database
wait for it (``store/waiting.py``): handlers run where that is possible.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Coroutine, Mapping
from enum import Enum
from typing import Any

from tornado.log import app_log

from jupyterhub.hub import metrics
from jupyterhub.hub.login import shown_name
from jupyterhub.hub.plugin_views import UserDict, UserView
from jupyterhub.hub.requester import Requester
from jupyterhub.hub.servers import named
from jupyterhub.hub.settings import HubSettings
from jupyterhub.hub.store import waiting
from jupyterhub.rbac.scope_set import ALL, ScopeSet, Target
from jupyterhub.words.errors import Denied, NotFound
from jupyterhub.words.models import User
from jupyterhub.words.names import ServerKey

from . import cookies
from .handler import HubHandler


class Scope(Enum):
    """``jupyterhub.scopes.Scope``: ``ALL`` is held without a filter."""

    ALL = True


def parsed(scopes: ScopeSet) -> dict[str, Any]:
    """Give scopes as plugins and templates read them: base → ``Scope.ALL``, or kind of filter → set of names."""
    return {
        base: Scope.ALL
        if held is ALL
        else {
            kind: set(names)
            for kind, names in (
                ("user", held.users),
                ("group", held.groups),
                ("server", held.servers),
                ("service", held.services),
            )
            if names
        }
        for base, held in scopes.held.items()
    }


class BaseHandler(HubHandler):
    """The class that handlers of plugins subclass. Paths of ``Authenticator.get_handlers`` are below ``hub/``."""

    #: the names of the flags in the original; set on a subclass they take effect
    _accept_cookie_auth = True
    _accept_token_auth = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "_accept_cookie_auth" in cls.__dict__:
            cls.accepts_cookie = cls._accept_cookie_auth
        if "_accept_token_auth" in cls.__dict__:
            cls.accepts_token = cls._accept_token_auth

    async def _execute(self, transforms: Any, *args: Any, **kwargs: Any) -> None:
        await waiting.run(super()._execute(transforms, *args, **kwargs))

    async def prepare(self) -> None:
        await super().prepare()
        # What plain methods of plugins read of the user, and ``get_next_url`` of the server: they cannot wait.
        if self.requester is not None and self.requester.user is not None and not self._finished:
            self._current_user = await self._full_view(self.requester.user)

    # -- what is around. Tests of plugins make handlers with a few settings and no hub.

    @property
    def hub_settings(self) -> HubSettings:
        return HubSettings() if self._has_no_hub else self.house.settings

    @property
    def _has_no_hub(self) -> bool:
        return "house" not in self.settings

    @property
    def log(self) -> logging.Logger:
        return app_log if self._has_no_hub else self.house.log

    @property
    def config(self) -> Any:
        return self.settings.get("config")

    @property
    def app(self) -> Any:
        return self.settings.get("app")

    @property
    def hub(self) -> Any:
        return self.settings["hub"] if self._has_no_hub else self.house.views.hub

    @property
    def proxy(self) -> Any:
        return self.settings.get("proxy")

    @property
    def authenticator(self) -> Any:
        return self.settings.get("authenticator") if self._has_no_hub else self.house.authenticator

    @property
    def oauth_provider(self) -> Any:
        return self.house.oauth

    @property
    def eventlog(self) -> Any:
        return self.settings.get("eventlog")

    @property
    def db(self) -> Any:
        """The synchronous session (``store/legacy_session.py``)."""
        return self.settings["db"] if self._has_no_hub else self.house.views.db

    @property
    def users(self) -> UserDict:
        return self.house.views.users

    @property
    def statsd(self) -> Any:
        """What once sent numbers to statsd; plugins still call it."""
        return _NoStatsd()

    @property
    def services(self) -> Mapping[str, Any]:
        return {spec["name"]: spec for spec in self.hub_settings.services if "name" in spec}

    @property
    def base_url(self) -> str:
        return self.hub_settings.base_url

    @property
    def default_url(self) -> Any:
        return self.hub_settings.default_url

    @property
    def domain(self) -> str:
        return self.hub_settings.domain

    @property
    def public_url(self) -> str:
        return self.hub_settings.public_url

    @property
    def subdomain_host(self) -> str:
        return self.hub_settings.subdomain_host

    @property
    def allow_named_servers(self) -> bool:
        return self.hub_settings.allow_named_servers

    @property
    def named_server_limit_per_user(self) -> Any:
        return self.hub_settings.named_server_limit_per_user

    @property
    def redirect_to_server(self) -> bool:
        return self.hub_settings.redirect_to_server

    @property
    def shutdown_on_logout(self) -> bool:
        return self.hub_settings.shutdown_on_logout

    @property
    def admin_users(self) -> set[str]:
        return set(self.authenticator.admin_users)

    @property
    def version_hash(self) -> str:
        return self.hub_settings.version_hash

    @property
    def slow_spawn_timeout(self) -> float:
        return self.hub_settings.slow_spawn_timeout

    @property
    def slow_stop_timeout(self) -> float:
        return self.hub_settings.slow_stop_timeout

    @property
    def concurrent_spawn_limit(self) -> int:
        return self.hub_settings.concurrent_spawn_limit

    @property
    def active_server_limit(self) -> int:
        return self.hub_settings.active_server_limit

    @property
    def template_namespace(self) -> dict[str, Any]:
        return self.page_namespace()

    @property
    def spawn_home_error(self) -> str:
        return ""

    # -- who asks

    @property
    def _jupyterhub_user(self) -> Any:
        return self.current_user

    @_jupyterhub_user.setter
    def _jupyterhub_user(self, user: Any) -> None:
        self.current_user = user

    async def get_current_user(self) -> Any:
        return self.current_user

    def get_current_user_cookie(self) -> Any:
        return self.current_user if self.requester is not None and self.requester.by_cookie else None

    def get_current_user_token(self) -> Any:
        return self.current_user if self.requester is not None and not self.requester.by_cookie else None

    def get_auth_token(self) -> str | None:
        return self.token_in_header()

    def get_token(self) -> Any:
        """The row of the token that the request came with."""
        return None if self.requester is None else self.requester.token

    @property
    def expanded_scopes(self) -> set[str]:
        return set() if self.requester is None else set(self.requester.scopes.raw)

    @property
    def parsed_scopes(self) -> dict[str, Any]:
        return {} if self.requester is None else parsed(self.requester.scopes)

    def has_scope(self, scope: str) -> bool:
        """Say whether the requester holds a scope, as written with its filter. Filters by group need ``may_on``."""
        return self.requester is not None and self.requester.scopes.holds(scope, lambda user: frozenset())

    async def may_on(self, scope: str, user_name: str, server_name: str | None = None) -> bool:
        """Say whether the requester holds a scope for a user or server, memberships included. (Not in the original.)"""
        requester = self.requester
        if requester is None:
            return False
        async with self.house.store.read() as tx:
            groups = (await tx.groups.groups_of_names([user_name])).get(user_name, frozenset())
        return requester.may(scope, Target(user=user_name, user_groups=groups, server=server_name))

    async def fetch_user(self, name: str) -> UserView | None:
        """Give a user, None if there is none: ``find_user`` for coroutines. (Not in the original.)"""
        async with self.house.store.read() as tx:
            user = await tx.users.find(name)
        return None if user is None else await self._full_view(user)

    async def _full_view(self, user: User) -> UserView:
        async with self.house.store.read() as tx:
            groups = await tx.groups.list_of_user(user.id)
            servers = await tx.servers.list_of_user(user.id)
            roles = await tx.roles.names_of("user", user.id)
        if self.requester_is(user.name):
            self._default_server_is_active = any(not server.key.name and server.is_active for server in servers)
        return self.house.views.user(user, groups=groups, servers=servers, roles=roles)

    # -- logging in

    async def login_user(self, data: Any = None) -> UserView | None:
        """Authenticate, store the user, and log this browser in; None if nobody is let in."""
        started = time.perf_counter()
        model = await self.authenticate(data)
        if model is None:
            metrics.LOGIN_DURATION_SECONDS.labels(status=metrics.LoginStatus.failure).observe(
                time.perf_counter() - started
            )
            self.log.warning("Failed login for %s", shown_name(data))
            return None
        view = await self.auth_to_user(model)
        user = await self._row_of(view)
        self.log_in_browser(user)
        await self.now_logged_in(user)
        await self.look_at_default_server(user)
        self._current_user = view
        metrics.LOGIN_DURATION_SECONDS.labels(status=metrics.LoginStatus.success).observe(time.perf_counter() - started)
        self.log.info("User logged in: %s", user.name)
        return view

    async def authenticate(self, data: Any) -> Any:
        return await self.house.logins.authenticate(self, data)

    async def auth_to_user(self, authenticated: Mapping[str, Any], user: Any = None) -> UserView:
        """Store the result of an authentication. With ``user``, a refresh: who they are must not change."""
        if user is not None and authenticated["name"] != user.name:
            raise ValueError(f"Username doesn't match! {authenticated['name']} != {user.name}")
        return await self._full_view(await self.house.logins.persist(authenticated))

    async def refresh_auth(self, user: Any, force: bool = False) -> Any:
        """Give the user if the authenticator says that they are still welcome, else None."""
        refreshed = await self.house.logins.refresh(await self._row_of(user), self, force=force)
        return self.house.views.user(refreshed.user) if refreshed.is_fresh else None

    async def _row_of(self, user: Any) -> User:
        if isinstance(user, User):
            return user
        async with self.house.store.read() as tx:
            found = await tx.users.find(user.name)
        if found is None:
            raise NotFound(f"No such user: {user.name}")
        return found

    # -- cookies

    def set_login_cookie(self, user: Any) -> None:
        """Log this browser in as a user: login cookie, session cookie if there is none."""
        if self.get_session_cookie() is None:
            self.set_session_cookie()
        self.set_hub_cookie(user)

    def set_hub_cookie(self, user: Any) -> None:
        cookie = cookies.login_cookie(self.hub_settings, request_is_https=self._is_https)
        self.set_signed_cookie(cookie.name, user.cookie_id, **cookie.options)

    def set_session_cookie(self) -> str:
        session_id = cookies.new_session_id()
        self._set_session(session_id)
        return session_id

    def get_session_cookie(self) -> str | None:
        return self.session_id

    def clear_login_cookie(self, name: str | None = None) -> None:
        """Log this browser out; the name means nothing."""
        self.log_out_browser()

    def _set_cookie(self, key: str, value: str, encrypted: bool = True, **overrides: Any) -> None:
        """Set a cookie of a plugin's own, for the hub only unless it says otherwise. ``encrypted`` means signed."""
        options = {
            **cookies.login_cookie(self.hub_settings, request_is_https=self._is_https).options,
            "path": self.hub_settings.hub_prefix,
            **overrides,
        }
        if encrypted:
            self.set_signed_cookie(key, value, **options)
        else:
            self.set_cookie(key, value, **options)

    # -- pages

    def render_template(self, name: str, sync: bool = False, **namespace: Any) -> Coroutine[Any, Any, str] | str:
        """Give a page as text: to be awaited, unless ``sync``."""
        if sync:
            return self.rendered_sync(name, **namespace)
        return self.rendered(name, **namespace)

    def get_template(self, name: str, sync: bool = False) -> Any:
        templates = self.house.templates
        return (templates.environment_sync if sync else templates.environment).get_template(name)

    # -- servers

    async def spawn_single_user(
        self, user: Any, server_name: str = "", display_name: str = "", options: Any = None
    ) -> None:
        """Start a server and wait as long as a page would."""
        row = await self._row_of(user)
        await self.refresh_before_spawn(row)
        await self.house.servers.start(
            ServerKey(row.name, server_name),
            display_name=display_name or None,
            user_options=options,
            handler=self,
            requester=self.requester,
            wait_s=self.slow_spawn_timeout,
        )

    async def stop_single_user(self, user: Any, server_name: str = "") -> None:
        """Stop a server and wait as long as a page would."""
        row = await self._row_of(user)
        await self.refresh_before_stop(row)
        await self.house.servers.stop(ServerKey(row.name, server_name), wait_s=self.slow_stop_timeout)

    async def user_stopped(self, user: Any, server_name: str = "") -> None:
        """Let the hub look at a server that a plugin has found to have ended."""
        await self.house.servers.check(ServerKey(user.name, server_name))

    def user_from_username(self, username: str) -> UserView:
        """Give the user of this name, who is made if there is none."""
        return waiting.wait(self._user_named(username))

    async def _user_named(self, name: str) -> UserView:
        found = await self.fetch_user(name)
        if found is not None:
            return found
        model: dict[str, Any] = {"name": name}
        if self.authenticator.manage_groups:
            model["groups"] = None
        return await self._full_view(await self.house.logins.persist(model))

    def find_user(self, name: str) -> UserView | None:
        """Give a user, None if there is none."""
        return waiting.wait(self.fetch_user(name))

    async def get_current_user_named_server_limit(self) -> int:
        """Say how many named servers the user who asks may have; 0 for no limit."""
        return await named.resolve_limit(self.named_server_limit_per_user, self)

    def check_referer(self) -> bool:
        """Deprecated: XSRF tokens have taken its place."""
        warnings.warn("check_referer does nothing: XSRF tokens protect requests", DeprecationWarning, stacklevel=2)
        return True

    def get_scope_filter(self, scope: str) -> Any:
        """Give a function of a thing and its kind ("user", "group", "server", "service"): may the requester see it?"""
        requester = self.requester
        if requester is None or not requester.scopes.has_any(scope):
            raise Denied(f"Action is not authorized with current scopes; requires any of [{scope}]")

        def shows(thing: Any, kind: str) -> bool:
            assert requester is not None
            return _shows(requester, scope, thing, kind)

        return shows


def _shows(requester: Requester, scope: str, thing: Any, kind: str) -> bool:
    kind = kind.removesuffix("s")
    name = thing if isinstance(thing, str) else thing.name
    if kind == "user":
        groups = frozenset(getattr(group, "name", group) for group in getattr(thing, "groups", ()))
        return requester.may(scope, Target(user=name, user_groups=groups))
    if kind == "server":
        owner = thing.user
        groups = frozenset(getattr(group, "name", group) for group in getattr(owner, "groups", ()))
        return requester.may(scope, Target(user=owner.name, user_groups=groups, server=name))
    if kind == "group":
        return requester.may(scope, Target(group=name))
    return requester.may(scope, Target(service=name))


class _NoStatsd:
    """Takes whatever is sent to statsd and does nothing with it; every call can be chained."""

    def __getattr__(self, name: str) -> Any:
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: Any) -> None:
        return None
