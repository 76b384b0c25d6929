"""Builds the whole house and runs it: the one place that knows every room.

``run`` follows the order that plugins and operators can observe (startup-and-state.md §1): database, plugins, roles and
users, servers that still run, proxy, listening, services, routes. It ends when a signal or ``POST /hub/api/shutdown``
asks it to.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.web import Application

from jupyterhub import objects
from jupyterhub.hub import initial, metrics
from jupyterhub.hub.activity import Activity
from jupyterhub.hub.auth_state import AuthStates
from jupyterhub.hub.event_log import emitter, make_event_logger
from jupyterhub.hub.groups import Groups
from jupyterhub.hub.house import House
from jupyterhub.hub.login import Logins
from jupyterhub.hub.managed_services import ManagedServices
from jupyterhub.hub.oauth.provider import OAuthProvider
from jupyterhub.hub.periodic_metrics import PeriodicMetricsCollector
from jupyterhub.hub.plugin_views import Views
from jupyterhub.hub.replicas.heartbeat import Heartbeat, new_hub_id
from jupyterhub.hub.requesters import Requesters
from jupyterhub.hub.routes import Routes
from jupyterhub.hub.servers.driver import FAILURES, Tools
from jupyterhub.hub.servers.observer import Observer
from jupyterhub.hub.servers.probe import Prober
from jupyterhub.hub.servers.reconcile import Reconciler
from jupyterhub.hub.servers.servers import Servers
from jupyterhub.hub.services import Services
from jupyterhub.hub.settings import HubSettings
from jupyterhub.hub.shares import Shares
from jupyterhub.hub.spawners import Spawners
from jupyterhub.hub.store import schema
from jupyterhub.hub.store.notices import Notices
from jupyterhub.hub.store.store import Store
from jupyterhub.hub.tokens import Tokens
from jupyterhub.hub.users import Users
from jupyterhub.hub.web import urls
from jupyterhub.hub.web.access_log import log_request
from jupyterhub.hub.web.pages.machine import StaticHandler
from jupyterhub.hub.web.render import STATIC_FILES, StaticFiles, Templates
from jupyterhub.rbac.scopes import ScopeRegistry
from jupyterhub.utils import print_ps_info, print_stacks
from jupyterhub.words.clock import utcnow
from jupyterhub.words.errors import ConfigurationError

from .app import JupyterHub
from .listening import open_sockets
from .settings import settings_from

log = logging.getLogger("jupyterhub")

PURGE_EVERY_S = 3600.0
#: after too many failed starts: time for the last answers to be sent
GIVE_UP_AFTER_S = 2.0


@dataclass
class Ending:
    """How this hub shall end: set once, by a signal, the REST API or too many failed starts."""

    event: asyncio.Event
    code: int = 0
    servers: bool | None = None
    proxy: bool | None = None

    def ask(self, *, proxy: bool | None = None, servers: bool | None = None, code: int = 0) -> None:
        if not self.event.is_set():
            self.proxy, self.servers, self.code = proxy, servers, code
            self.event.set()


async def open_store(app: JupyterHub) -> Store:
    """Open the database of the configuration; ConfigurationError says what is wrong with it and what to do."""
    if app.upgrade_db:
        backup = await schema.upgrade(app.db_url, engine_options=dict(app.db_kwargs))
        if backup is not None:
            log.warning("The database is upgraded. As it was before: %s", backup)
    return await Store.open(app.db_url, echo=app.debug_db, engine_options=dict(app.db_kwargs), reset=app.reset_db)


async def make_token(app: JupyterHub, user_name: str) -> str:
    """Make a token for ``jupyterhub token``; NotFound when there is no such user."""
    settings = settings_from(app, with_cookie_secret=False)
    store = await open_store(app)
    try:
        registry = ScopeRegistry.default().with_custom(settings.custom_scopes)
        authenticator = app.authenticator_class(parent=app)
        await initial.load(
            store=store, settings=settings, registry=registry, authenticator=authenticator, on_command_line=True
        )
        tokens = Tokens(
            store=store,
            registry=registry,
            requesters=Requesters(store, registry),
            activity=Activity(store=store, resolution_s=settings.activity_resolution),
        )
        return await tokens.create_on_command_line(user_name)
    finally:
        await store.close()


async def run(app: JupyterHub) -> int:
    """Run this hub until it is asked to end; give the exit code."""
    began = time.monotonic()
    settings = settings_from(app)
    ending = Ending(asyncio.Event())
    _on_signals(ending)
    store = await open_store(app)
    try:
        hub = await _build(app, settings, store, ending)
        return await hub.run(began)
    finally:
        await store.close()


def _on_signals(ending: Ending) -> None:
    loop = asyncio.get_running_loop()

    def end(name: str) -> None:
        log.critical("Received signal %s, initiating shutdown...", name)
        ending.ask()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, signal.Signals(number).name)
    loop.add_signal_handler(signal.SIGUSR1, _tell_state)


def _handlers_added_by_plugins() -> list[Any]:
    """What plugins have appended to ``default_handlers``: nothing, if none has even imported the lists."""
    signs = (sys.modules.get(f"jupyterhub.{name}") for name in ("handlers", "apihandlers"))
    return [handler for sign in signs for handler in getattr(sign, "default_handlers", ())]


def _give_up(ending: Ending) -> None:
    asyncio.get_running_loop().call_later(GIVE_UP_AFTER_S, lambda: ending.ask(code=1))


def _tell_state() -> None:
    """On SIGUSR1: what this process uses, and where all its threads and tasks are; it goes on as before."""
    print_ps_info()
    print_stacks()


async def _build(app: JupyterHub, settings: HubSettings, store: Store, ending: Ending) -> RunningHub:
    registry = ScopeRegistry.default().with_custom(settings.custom_scopes)
    authenticator = app.authenticator_class(parent=app)
    app.authenticator = authenticator
    hub_object = _hub_object(settings)
    app.hub = hub_object
    tornado_settings: dict[str, Any] = dict(settings.tornado_settings)
    app.eventlog = make_event_logger(app)
    views = Views(settings=settings, hub=hub_object, authenticator=authenticator, tornado_settings=tornado_settings)
    auth_states = AuthStates(store=store, authenticator=authenticator)
    views.load_auth_state, views.save_auth_state = auth_states.load, auth_states.save
    requesters = Requesters(store, registry)
    proxy = _proxy(app, settings, hub_object)
    app.proxy = proxy
    routes = Routes(proxy=proxy, store=store, settings=settings)
    # the proxy starts itself again when it dies, and then asks for its routes
    proxy.restore_routes_hook = routes.check
    notices = Notices()
    tools = Tools(
        store=store,
        notices=notices,
        settings=settings,
        registry=registry,
        requesters=requesters,
        spawners=Spawners(
            spawner_class=settings.spawner_class,
            settings=settings,
            views=views,
            authenticator=authenticator,
            config=app.config,
        ),
        views=views,
        routes=routes,
        authenticator=authenticator,
        prober=Prober(),
        observer=Observer(emit=emitter(app.eventlog), give_up=lambda: _give_up(ending)),
    )
    servers = Servers(tools=tools, hub_id=new_hub_id())
    activity = Activity(store=store, resolution_s=settings.activity_resolution)
    templates = Templates(
        template_paths=settings.template_paths,
        static=StaticFiles(url_prefix=settings.hub_prefix + "static/"),
        template_vars=settings.template_vars,
        options=settings.jinja_environment_options,
    )
    services = Services(store=store, settings=settings, registry=registry, routes=routes, prober=tools.prober)
    house = House(
        settings=settings,
        store=store,
        registry=registry,
        requesters=requesters,
        logins=Logins(
            store=store, settings=settings, authenticator=authenticator, views=views, auth_states=auth_states
        ),
        users=Users(store=store, authenticator=authenticator, views=views, servers=servers, activity=activity),
        groups=Groups(store=store, authenticator=authenticator),
        tokens=Tokens(
            store=store,
            registry=registry,
            requesters=requesters,
            activity=activity,
            max_expires_in_s=settings.token_expires_in_max_seconds,
        ),
        activity=activity,
        services=services,
        shares=Shares(store=store, registry=registry),
        servers=servers,
        oauth=OAuthProvider(store=store, settings=settings, registry=registry, requesters=requesters),
        routes=routes,
        views=views,
        authenticator=authenticator,
        templates=templates,
        shutdown=ending.ask,
    )
    return RunningHub(app=app, house=house, ending=ending, proxy=proxy)


def _hub_object(settings: HubSettings) -> objects.Hub:
    """The ``objects.Hub`` that spawners, proxies and handlers of plugins read addresses from."""
    hub = objects.Hub(bind_url=settings.hub_bind_url)
    hub.base_url = settings.hub_prefix
    hub.public_host = settings.public_host
    hub.routespec = settings.hub_routespec
    if settings.hub_connect_ip:
        hub.connect_ip = settings.hub_connect_ip
    if settings.hub_connect_port:
        hub.connect_port = settings.hub_connect_port
    if settings.hub_connect_url:
        hub.connect_url = settings.hub_connect_url
    return hub


def _proxy(app: JupyterHub, settings: HubSettings, hub: objects.Hub) -> Any:
    proxy = settings.proxy_class(
        public_url=settings.bind_url,
        parent=app,
        app=app,
        log=app.log,
        hub=hub,
        host_routing=bool(settings.subdomain_host),
        ssl_cert=settings.ssl_cert,
        ssl_key=settings.ssl_key,
    )
    # The same after every restart, so that this hub finds the proxy which an earlier life of it has left running.
    secret = hmac.new(settings.cookie_secret, b"proxy api token", hashlib.sha256)
    if hasattr(proxy, "derived_auth_token"):
        proxy.derived_auth_token = secret.hexdigest()
    return proxy


class RunningHub:
    """A built hub: starts, runs its periodic work, and ends."""

    def __init__(self, *, app: JupyterHub, house: House, ending: Ending, proxy: Any) -> None:
        self._app, self._house, self._ending, self._proxy = app, house, ending, proxy
        settings = house.settings
        self._heartbeat = Heartbeat(
            store=house.store,
            hub_id=house.servers.hub_id,
            url=settings.hub_connect_url_effective,
            on_removed=self._come_back,
        )
        self._collector = PeriodicMetricsCollector(parent=app)
        self._reconciler = Reconciler(servers=house.servers)
        self._managed = ManagedServices(
            store=house.store, settings=settings, services=house.services, prober=house.servers.tools.prober
        )
        self._server: HTTPServer | None = None

    async def run(self, began: float) -> int:
        """Start everything, wait for the end, stop everything."""
        started = False
        try:
            await self._start()
            metrics.HUB_STARTUP_DURATION_SECONDS.observe(time.monotonic() - began)
            started = True
            async with asyncio.TaskGroup() as tasks:
                work = [
                    tasks.create_task(self._heartbeat.run(), name="heartbeat"),
                    tasks.create_task(self._reconciler.run(), name="reconciler"),
                    tasks.create_task(self._managed.run(), name="managed services"),
                    tasks.create_task(self._collector.watch_event_loop(), name="event loop watch"),
                    *(
                        tasks.create_task(_repeat(what, every_s, function), name=what)
                        for what, every_s, function in self._periodic()
                        if every_s > 0
                    ),
                ]
                await self._ending.event.wait()
                for task in work:
                    task.cancel()
        finally:
            await self._end(started=started)
        return self._ending.code

    # -- starting

    async def _start(self) -> None:
        house, settings = self._house, self._house.settings
        sockets = open_sockets(settings)
        async with house.store.begin() as tx:
            await tx.servers.meet_rows_of_the_original()
            await tx.facts.remove(FAILURES)
        await self._heartbeat.register()
        loaded = await initial.load(
            store=house.store,
            settings=settings,
            registry=house.registry,
            authenticator=house.authenticator,
            house=house,
        )
        # The proxy comes before the servers that still run: each gets its route as soon as it is known to live.
        await self._start_proxy()
        await self._reconciler.at_start(wait_s=settings.init_spawners_timeout)
        for key in loaded.blocked_with_servers:
            log.warning("stopping the server %s: its owner is blocked", key)
            await house.servers.stop_quietly(key)
        self._listen(sockets)
        await self._managed.start_all(loaded.services)
        await house.routes.check()
        await self._count()
        where = settings.bind_url if self._proxy.should_start else settings.hub_connect_url_effective
        log.info(
            "JupyterHub is now running%s %s", " at" if self._proxy.should_start else ", internal Hub API at", where
        )

    async def _start_proxy(self) -> None:
        proxy = self._proxy
        if proxy.should_start:
            try:
                started = proxy.start()
                if isinstance(started, Awaitable):
                    await started
            except Exception as error:
                raise ConfigurationError(f"Failed to start proxy: {error}") from error
        try:
            await self._house.routes.all()
        except Exception as error:
            raise ConfigurationError(
                f"The proxy does not answer at its API: {error}. Start it, or correct its api_url and auth_token."
            ) from error

    def _listen(self, sockets: list[socket.socket]) -> None:
        settings = self._house.settings
        trusted = list(settings.trusted_downstream_ips)
        self._server = HTTPServer(self._application(), xheaders=True, trusted_downstream=trusted)
        self._server.add_sockets(sockets)
        log.info("Hub API listening on %s", settings.hub_bind_url)

    def _application(self) -> Application:
        house, settings = self._house, self._house.settings
        plugin_handlers = house.authenticator.get_handlers(self._app)
        application_settings: dict[str, Any] = {
            "house": house,
            "app": self._app,
            "log": self._app.log,
            "config": self._app.config,
            "eventlog": self._app.eventlog,
            "authenticator": house.authenticator,
            "base_url": settings.base_url,
            "hub": house.views.hub,
            "proxy": self._proxy,
            "cookie_secret": settings.cookie_secret,
            "static_path": str(STATIC_FILES),
            "static_url_prefix": settings.hub_prefix + "static/",
            "static_handler_class": StaticHandler,
            "log_function": log_request,
            "jinja2_env": house.templates.environment,
            "jinja2_env_sync": house.templates.environment_sync,
            "template_vars": dict(settings.template_vars),
            "version_hash": settings.version_hash,
            "login_url": house.authenticator.login_url(settings.hub_prefix),
            "logout_url": house.authenticator.logout_url(settings.hub_prefix),
            "subdomain_host": settings.subdomain_host,
            "domain": settings.domain,
            "allow_named_servers": settings.allow_named_servers,
            **settings.tornado_settings,
        }
        house.views.tornado_settings.update(application_settings)
        routes = urls.table(
            settings,
            plugin_handlers=[*plugin_handlers, *_handlers_added_by_plugins()],
            extra_handlers=settings.extra_handlers,
        )
        application = Application(routes, **application_settings)
        self._app.tornado_application, self._app.tornado_settings = application, application_settings
        return application

    # -- running

    def _periodic(self) -> list[tuple[str, float, Callable[[], Awaitable[Any]]]]:
        house, settings = self._house, self._house.settings
        return [
            ("activity of the proxy", settings.last_activity_interval, house.routes.pull_activity),
            ("activity of requests", min(10.0, max(1.0, settings.activity_resolution)), house.activity.flush),
            ("purge of what has expired", PURGE_EVERY_S, self._purge),
            ("count of users", self._collector.active_users_update_interval, self._count),
        ]

    async def _purge(self) -> None:
        async with self._house.store.begin() as tx:
            await tx.tokens.delete_expired(utcnow())
            await tx.oauth.delete_expired_codes(utcnow())
            await tx.shares.delete_expired(utcnow())

    async def _count(self) -> None:
        await self._collector.count(self._house.store)

    async def _come_back(self) -> str:
        """The others have given this hub up: drop all drivers and take a new name."""
        servers = self._house.servers
        await servers.let_go()
        servers.hub_id = new_hub_id()
        return servers.hub_id

    # -- ending

    async def _end(self, *, started: bool) -> None:
        """Stop what is configured to end with the hub; servers that stay are found again by the next hub."""
        house, settings, ending = self._house, self._house.settings, self._ending
        end_servers = ending.servers
        if end_servers is None:
            # Servers end with the last hub, not with each that is replaced; whoever asks for it by name is obeyed.
            end_servers = settings.cleanup_servers and not await self._others_live()
        end_proxy = settings.cleanup_proxy if ending.proxy is None else ending.proxy
        if self._server is not None:
            self._server.stop()
        await self._quietly("stopping services", self._managed.stop_all)
        if end_servers and started:
            log.info("Cleaning up single-user servers...")
            await self._quietly("stopping servers", lambda: house.servers.stop_everything(wait_s=60))
        await self._quietly("letting go of servers", house.servers.let_go)
        if end_proxy and self._proxy.should_start and started:
            log.info("Cleaning up proxy[%s]...", getattr(self._proxy, "proxy_process", None))
            await self._quietly("stopping the proxy", self._stop_proxy)
        elif hasattr(self._proxy, "leave"):
            await self._quietly("leaving the proxy", self._proxy.leave)
        await self._quietly("writing activity", house.activity.flush)
        await self._quietly("leaving", self._heartbeat.end)
        if self._server is not None:
            await self._server.close_all_connections()
        log.info("...done")

    async def _others_live(self) -> bool:
        """Whether other hubs run on this database, which will take over what this one drives."""
        try:
            async with self._house.store.read() as tx:
                return any(replica.id != self._heartbeat.hub_id for replica in await tx.replicas.list())
        except Exception:
            log.exception("it is not known whether other hubs run; leaving the servers to them")
            return True

    async def _stop_proxy(self) -> None:
        stopped = self._proxy.stop()
        if isinstance(stopped, Awaitable):
            await stopped

    async def _quietly(self, what: str, work: Callable[[], Awaitable[Any]]) -> None:
        try:
            await work()
        except Exception:
            log.exception("%s failed", what)


async def _repeat(what: str, every_s: float, work: Callable[[], Awaitable[Any]]) -> None:
    while True:
        await asyncio.sleep(every_s)
        try:
            await work()
        except Exception:
            log.exception("%s failed; trying again in %g s", what, every_s)
