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
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.web import Application

from jupyterhub import objects
from jupyterhub.hub import initial, metrics
from jupyterhub.hub.activity import Activity
from jupyterhub.hub.auth_state import AuthStates
from jupyterhub.hub.bulletin import Bulletin
from jupyterhub.hub.event_log import emitter, make_event_logger
from jupyterhub.hub.groups import Groups
from jupyterhub.hub.house import House
from jupyterhub.hub.login import Logins
from jupyterhub.hub.managed_services import ManagedServices
from jupyterhub.hub.oauth.provider import OAuthProvider
from jupyterhub.hub.periodic_metrics import PeriodicMetricsCollector
from jupyterhub.hub.plugin_calls import call
from jupyterhub.hub.plugin_views import Views
from jupyterhub.hub.replicas.heartbeat import Heartbeat, new_hub_id
from jupyterhub.hub.replicas.leader import Leadership
from jupyterhub.hub.requesters import Requesters
from jupyterhub.hub.routes import Routes
from jupyterhub.hub.servers.driver import FAILURES, Tools
from jupyterhub.hub.servers.observer import Observer
from jupyterhub.hub.servers.probe import Prober
from jupyterhub.hub.servers.reconcile import Reconciler
from jupyterhub.hub.servers.servers import Servers
from jupyterhub.hub.services import Services, ServiceSpec
from jupyterhub.hub.settings import HubSettings
from jupyterhub.hub.shares import Shares
from jupyterhub.hub.spawners import Spawners
from jupyterhub.hub.status import STARTS_KEPT, Status
from jupyterhub.hub.store import schema
from jupyterhub.hub.store.legacy_session import legacy_session
from jupyterhub.hub.store.notices import Notices
from jupyterhub.hub.store.orm import use_custom_scopes
from jupyterhub.hub.store.store import Store
from jupyterhub.hub.store.wire import Wire
from jupyterhub.hub.tokens import Tokens
from jupyterhub.hub.users import Users
from jupyterhub.hub.web import urls
from jupyterhub.hub.web.access_log import log_request
from jupyterhub.hub.web.in_flight import InFlight, transforms_of
from jupyterhub.hub.web.pages.machine import StaticHandler
from jupyterhub.hub.web.render import STATIC_FILES, StaticFiles, Templates
from jupyterhub.rbac.scopes import ScopeRegistry
from jupyterhub.utils import make_ssl_context, print_ps_info, print_stacks
from jupyterhub.words.clock import utcnow
from jupyterhub.words.errors import ConfigurationError

from .app import JupyterHub
from .listening import open_sockets
from .settings import settings_from
from .worker import Inherited, Line, Supervised

log = logging.getLogger("jupyterhub")

PURGE_EVERY_S = 3600.0
COUNT_FOR_ALL_EVERY_S = 60.0
#: how long a hub that others replace goes on with what it has begun
DRAIN_S = 30.0
#: after too many failed starts: time for the last answers to be sent
GIVE_UP_AFTER_S = 2.0


@dataclass
class Ending:
    """How this hub shall end: set once, by a signal, the REST API or too many failed starts."""

    event: asyncio.Event
    code: int = 0
    #: what shall end too; None for what is configured
    servers: bool | None = None
    proxy: bool | None = None
    #: whether others go on in its place, so that nobody should notice
    drain: bool = True

    def ask(self, *, proxy: bool | None = None, servers: bool | None = None, code: int = 0, drain: bool = True) -> None:
        if not self.event.is_set():
            self.proxy, self.servers, self.code, self.drain = proxy, servers, code, drain
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
        authenticator = await call(
            "Authenticator()", app.authenticator_class, parent=app, _deprecated_db_session=legacy_session(store)
        )
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


async def run(app: JupyterHub, inherited: Inherited | None = None) -> int:
    """Run this hub until it is asked to end; give the exit code. ``inherited`` if it is a worker of several."""
    began = time.monotonic()
    if inherited is not None:
        app.recreate_internal_certs = False  # the supervisor has done it, once
    app.init_internal_ssl()
    settings = settings_from(app)
    ending = Ending(asyncio.Event())
    _on_signals(ending, is_worker=inherited is not None)
    if inherited is not None:
        app.reset_db = app.upgrade_db = False  # the supervisor has done it, once
    store = await open_store(app)
    try:
        hub = await build(app, settings, store, ending, inherited)
        return await hub.run(began)
    finally:
        await store.close()


def _on_signals(ending: Ending, *, is_worker: bool) -> None:
    loop = asyncio.get_running_loop()

    def end(name: str) -> None:
        log.critical("Received signal %s, initiating shutdown...", name)
        # One worker that is told to end is replaced: its servers are the others'.
        ending.ask(servers=False if is_worker else None)

    loop.add_signal_handler(signal.SIGTERM, end, "SIGTERM")
    if is_worker:
        # from a terminal they reach all processes; what they mean is the supervisor's to say
        for number in (signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, lambda: None)
    else:
        loop.add_signal_handler(signal.SIGINT, end, "SIGINT")
    loop.add_signal_handler(signal.SIGUSR1, _tell_state)


def _handlers_added_by_plugins() -> list[Any]:
    """What plugins have appended to ``default_handlers``: nothing, if none has even imported the lists."""
    signs = (sys.modules.get(f"jupyterhub.{name}") for name in ("handlers", "apihandlers"))
    return [handler for sign in signs for handler in getattr(sign, "default_handlers", ())]


def _give_up(end: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(GIVE_UP_AFTER_S, end)


def _tell_state() -> None:
    """On SIGUSR1: what this process uses, and where all its threads and tasks are; it goes on as before."""
    print_ps_info()
    print_stacks()


async def build(
    app: JupyterHub, settings: HubSettings, store: Store, ending: Ending, inherited: Inherited | None = None
) -> RunningHub:
    """Put the house together; nothing runs before ``RunningHub.run``."""
    registry = ScopeRegistry.default().with_custom(settings.custom_scopes)
    app.db = session = legacy_session(store)
    app.session_factory = lambda: session
    use_custom_scopes(settings.custom_scopes)
    authenticator = await call("Authenticator()", app.authenticator_class, parent=app, _deprecated_db_session=session)
    app.authenticator = authenticator
    hub_object = make_hub_object(settings)
    app.hub = hub_object
    line = await Line.open(inherited.control) if inherited is not None else None
    tornado_settings: dict[str, Any] = dict(settings.tornado_settings)
    app.eventlog = make_event_logger(app)
    views = Views(settings=settings, hub=hub_object, authenticator=authenticator, tornado_settings=tornado_settings)
    views.db = session
    app.users = views.users
    auth_states = AuthStates(store=store, authenticator=authenticator)
    views.load_auth_state, views.save_auth_state = auth_states.load, auth_states.save
    requesters = Requesters(store, registry)
    proxy = make_proxy(app, settings, hub_object)
    app.proxy = proxy
    routes = Routes(proxy=proxy, store=store, settings=settings)
    # the proxy starts itself again when it dies, and then asks for its routes
    proxy.restore_routes_hook = routes.check
    notices = Notices()
    spawners = Spawners(
        spawner_class=settings.spawner_class,
        settings=settings,
        views=views,
        authenticator=authenticator,
        config=app.config,
    )
    views.make_spawner = spawners.make
    tools = Tools(
        store=store,
        notices=notices,
        settings=settings,
        registry=registry,
        requesters=requesters,
        spawners=spawners,
        views=views,
        routes=routes,
        authenticator=authenticator,
        prober=Prober(internal_context(settings, ssl.Purpose.SERVER_AUTH)),
        observer=Observer(emit=emitter(app.eventlog), give_up=lambda: _give_up(lambda: shutdown(code=1))),
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
    shutdown: Callable[..., None] = ending.ask
    hub: RunningHub
    if line is not None:
        supervised = Supervised(
            line,
            end=lambda servers, drain: ending.ask(servers=servers, drain=drain),
            check_routes=routes.check,
            bury=lambda pid: hub.heartbeat.bury(pid),
            rest=lambda: hub.rest(),
        )
        shutdown = supervised.ask_for_end
    else:
        supervised = None
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
        bulletin=Bulletin(store),
        status=Status(store=store, routes=routes, hub_id=lambda: servers.hub_id),
        shutdown=shutdown,
    )
    views.delete_user = partial(house.users.delete, requester=None)
    hub = RunningHub(app=app, house=house, ending=ending, proxy=proxy, inherited=inherited, supervised=supervised)
    return hub


def internal_context(settings: HubSettings, purpose: ssl.Purpose) -> ssl.SSLContext | None:
    """Give what the hub shows its certificate with: CLIENT_AUTH where it serves, SERVER_AUTH where it asks.

    The other side must show one too, either way. None without ``internal_ssl``.
    """
    return make_ssl_context(
        settings.internal_ssl_key, settings.internal_ssl_cert, settings.internal_ssl_ca, purpose=purpose
    )


def make_hub_object(settings: HubSettings) -> objects.Hub:
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
    hub.keyfile, hub.certfile = settings.internal_ssl_key, settings.internal_ssl_cert
    hub.cafile = settings.internal_ssl_ca
    return hub


def make_proxy(app: JupyterHub, settings: HubSettings, hub: objects.Hub) -> Any:
    proxy = settings.proxy_class(
        db_factory=app.session_factory,
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


async def start_proxy(proxy: Any) -> None:
    """Start a proxy that is ours to start; ConfigurationError if it does not come up."""
    try:
        started = proxy.start()
        if isinstance(started, Awaitable):
            await started
    except Exception as error:
        raise ConfigurationError(f"Failed to start proxy: {error}") from error


def proxy_ends_too(settings: HubSettings, ending: Ending, *, servers_end: bool) -> bool:
    """Whether the proxy ends with the hub. Where servers stay, so does it, unless somebody has said otherwise."""
    if ending.proxy is not None:
        return ending.proxy
    return servers_end if settings.cleanup_proxy is None else settings.cleanup_proxy


async def stop_proxy(proxy: Any) -> None:
    stopped = proxy.stop()
    if isinstance(stopped, Awaitable):
        await stopped


class RunningHub:
    """A built hub: starts, runs its periodic work, and ends."""

    def __init__(
        self,
        *,
        app: JupyterHub,
        house: House,
        ending: Ending,
        proxy: Any,
        inherited: Inherited | None = None,
        supervised: Supervised | None = None,
    ) -> None:
        self._app, self._house, self._ending, self._proxy = app, house, ending, proxy
        self._inherited, self._supervised = inherited, supervised
        #: of several workers none has the proxy: the supervisor starts and ends it
        self._has_proxy = bool(proxy.should_start) and supervised is None
        settings, notices = house.settings, house.servers.tools.notices
        self.heartbeat = Heartbeat(
            store=house.store,
            notices=notices,
            hub_id=house.servers.hub_id,
            url=settings.hub_connect_url_effective,
            on_removed=self._come_back,
        )
        self._wire: Wire | None = None
        if house.store.dialect == "postgresql":
            self._wire = Wire(engine=house.store.engine, notices=notices)
        self._collector = PeriodicMetricsCollector(parent=app)
        self._reconciler = Reconciler(servers=house.servers)
        self._leadership = Leadership(
            store=house.store, hub_id=lambda: house.servers.hub_id, duties=self._do_what_one_does
        )
        self._managed = ManagedServices(
            store=house.store,
            settings=settings,
            services=house.services,
            prober=house.servers.tools.prober,
            is_ours=self._leadership.is_ours,
        )
        #: the services of the configuration, and whether the managed ones run already
        self._services: Sequence[ServiceSpec] = ()
        self._services_run = False
        self._in_flight = InFlight()
        self._server: HTTPServer | None = None
        self._registered = asyncio.Event()
        #: set when the hub serves people
        self.started = asyncio.Event()

    @property
    def http_server(self) -> HTTPServer | None:
        """What serves people; None before the start."""
        return self._server

    async def run(self, began: float) -> int:
        """Start everything, wait for the end, stop everything."""
        started = False
        # A hub lives until it has left: the others must not take over what it is about to hand over.
        life = [asyncio.create_task(self._heartbeats(), name="heartbeat")]
        if self._wire is not None:
            life.append(asyncio.create_task(self._wire.run(), name="notices of other hubs"))
        if self._supervised is not None:
            life.append(asyncio.create_task(self._supervised.run(), name="supervisor"))
        try:
            await self._start()
            metrics.HUB_STARTUP_DURATION_SECONDS.observe(time.monotonic() - began)
            started = True
            self.started.set()
            async with asyncio.TaskGroup() as tasks:
                work = [
                    tasks.create_task(self._reconciler.run(), name="reconciler"),
                    tasks.create_task(self._leadership.run(), name="leadership"),
                    tasks.create_task(self._collector.watch_event_loop(), name="event loop watch"),
                    tasks.create_task(self._house.servers.tools.spawners.warm_up(), name="warm process"),
                    *(
                        tasks.create_task(_repeat(what, every_s, function), name=what)
                        for what, every_s, function in self._periodic()
                        if every_s > 0
                    ),
                ]
                if self._supervised is not None:
                    self._supervised.ready()
                await self._ending.event.wait()
                # At once: another hub may wait for this port, and others take what comes to a shared one.
                self._stop_listening()
                for task in work:
                    task.cancel()
        finally:
            await self._end(started=started)
            for task in life:
                task.cancel()
            await asyncio.gather(*life, return_exceptions=True)
        return self._ending.code

    # -- starting

    async def _heartbeats(self) -> None:
        await self._registered.wait()
        await self.heartbeat.run()

    async def _start(self) -> None:
        house, settings = self._house, self._house.settings
        sockets = self._inherited.sockets if self._inherited is not None else open_sockets(settings)
        async with house.store.begin() as tx:
            await tx.servers.meet_rows_of_the_original()
            await tx.servers.doubt_handed_over()
            await tx.facts.remove(FAILURES)
        await self.heartbeat.register()
        self._registered.set()
        loaded = await initial.load(
            store=house.store,
            settings=settings,
            registry=house.registry,
            authenticator=house.authenticator,
            house=house,
        )
        self._services = loaded.services
        # The proxy comes before the servers that still run: each gets its route as soon as it is known to live.
        await self._start_proxy()
        await self._reconciler.at_start(wait_s=settings.init_spawners_timeout)
        for key in loaded.blocked_with_servers:
            log.warning("stopping the server %s: its owner is blocked", key)
            await house.servers.stop_quietly(key)
        await self._listen(sockets)
        if await self._leadership.is_ours():
            await self._managed.start_all(self._services)
            self._services_run = True
        await house.routes.check()
        await self._count()
        where = settings.bind_url if self._proxy.should_start else settings.hub_connect_url_effective
        if self._supervised is None:
            log.info(
                "JupyterHub is now running%s %s", " at" if self._proxy.should_start else ", internal Hub API at", where
            )

    async def _start_proxy(self) -> None:
        if self._has_proxy:
            await start_proxy(self._proxy)
        try:
            await self._house.routes.all()
        except Exception as error:
            raise ConfigurationError(
                f"The proxy does not answer at its API: {error}. Start it, or correct its api_url and auth_token."
            ) from error

    async def _listen(self, sockets: Sequence[socket.socket]) -> None:
        settings = self._house.settings
        trusted = list(settings.trusted_downstream_ips)
        application = await self._application()
        context = internal_context(settings, ssl.Purpose.CLIENT_AUTH) if not settings.hub_bind_socket else None
        self._server = HTTPServer(application, xheaders=True, trusted_downstream=trusted, ssl_options=context)
        self._server.add_sockets(sockets)
        log.info("Hub API listening on %s", settings.hub_bind_url)

    async def _application(self) -> Application:
        house, settings = self._house, self._house.settings
        plugin_handlers = await call("Authenticator.get_handlers", house.authenticator.get_handlers, self._app)
        application_settings: dict[str, Any] = {
            "house": house,
            "app": self._app,
            "log": self._app.log,
            "config": self._app.config,
            "eventlog": self._app.eventlog,
            "authenticator": house.authenticator,
            "db": house.views.db,
            "users": house.views.users,
            "spawner_class": settings.spawner_class,
            "oauth_provider": house.oauth,
            "base_url": settings.base_url,
            "hub": house.views.hub,
            "proxy": self._proxy,
            "cookie_secret": settings.cookie_secret,
            "static_path": str(STATIC_FILES),
            "static_url_prefix": settings.hub_prefix + "static/",
            "static_handler_class": StaticHandler,
            "log_function": self._in_flight.logging(log_request),
            "jinja2_env": house.templates.environment,
            "jinja2_env_sync": house.templates.environment_sync,
            "template_vars": dict(settings.template_vars),
            "version_hash": settings.version_hash,
            "login_url": house.authenticator.login_url(settings.hub_prefix),
            "logout_url": house.authenticator.logout_url(settings.hub_prefix),
            "subdomain_host": settings.subdomain_host,
            "domain": settings.domain,
            "allow_named_servers": settings.allow_named_servers,
            "internal_ssl": settings.internal_ssl,
            "internal_ssl_key": settings.internal_ssl_key,
            "internal_ssl_cert": settings.internal_ssl_cert,
            "internal_ssl_ca": settings.internal_ssl_ca,
            "internal_trust_bundles": dict(settings.internal_trust_bundles),
            "internal_certs_location": settings.internal_certs_location,
            "trusted_alt_names": list(settings.trusted_alt_names),
            **settings.tornado_settings,
        }
        house.views.tornado_settings.update(application_settings)
        routes = urls.table(
            settings,
            plugin_handlers=[*plugin_handlers, *_handlers_added_by_plugins()],
            extra_handlers=settings.extra_handlers,
        )
        transforms = transforms_of(application_settings, self._in_flight)
        application = Application(routes, transforms=transforms, **application_settings)
        self._app.tornado_application, self._app.tornado_settings = application, application_settings
        return application

    # -- running

    def _periodic(self) -> list[tuple[str, float, Callable[[], Awaitable[Any]]]]:
        """What each hub does for itself."""
        settings = self._house.settings
        flush_every_s = min(10.0, max(1.0, settings.activity_resolution))
        return [("activity of requests", flush_every_s, self._house.activity.flush)]

    def _periodic_for_all(self) -> list[tuple[str, float, Callable[[], Awaitable[Any]]]]:
        """What one hub does for all."""
        house, settings = self._house, self._house.settings
        return [
            ("activity of the proxy", settings.last_activity_interval, house.routes.pull_activity),
            ("purge of what has expired", PURGE_EVERY_S, self._purge),
            ("count of users", self._count_every_s(), self._count),
        ]

    def _count_every_s(self) -> float:
        """One hub alone counts users along as they come and go; of several nobody sees all of them."""
        interval_s = float(self._collector.active_users_update_interval)
        return min(interval_s, COUNT_FOR_ALL_EVERY_S) if metrics.SHARED else interval_s

    async def _do_what_one_does(self) -> None:
        """The duties of the hub that leads, until cancelled."""
        try:
            if not self._services_run:
                await self._managed.start_all(self._services)
                self._services_run = True
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._managed.run(), name="managed services")
                for what, every_s, function in self._periodic_for_all():
                    if every_s > 0:
                        tasks.create_task(_repeat(what, every_s, function), name=what)
        finally:
            self._services_run = False
            await self._managed.stop_all()

    async def _purge(self) -> None:
        async with self._house.store.begin() as tx:
            await tx.tokens.delete_expired(utcnow())
            await tx.oauth.delete_expired_codes(utcnow())
            await tx.shares.delete_expired(utcnow())
            await tx.starts.delete_before(utcnow() - STARTS_KEPT)

    async def _count(self) -> None:
        await self._collector.count(self._house.store)

    async def _come_back(self) -> str:
        """The others have given this hub up: drop all drivers and take a new name."""
        servers = self._house.servers
        await servers.let_go()
        servers.hub_id = new_hub_id()
        return servers.hub_id

    # -- ending

    def rest(self) -> None:
        """Take up nothing that the end, which is near, would only interrupt."""
        self._leadership.may_begin = False

    async def _end(self, *, started: bool) -> None:
        """Stop what is configured to end with the hub; servers that stay are found again by the next hub."""
        house, settings, ending = self._house, self._house.settings, self._ending
        others = await self._others_live()
        end_servers = ending.servers
        if end_servers is None:
            # Servers end with the last hub, not with each that is replaced; whoever asks for it by name is obeyed.
            end_servers = settings.cleanup_servers and not others
        self._stop_listening()
        await self._quietly("stopping services", self._managed.stop_all)
        await self._quietly("leaving the lead", self._leadership.resign)
        if others and ending.drain and started:
            await self._quietly("finishing", self._finish)
        if end_servers and started:
            log.info("Cleaning up single-user servers...")
            await self._quietly("stopping servers", lambda: house.servers.stop_everything(wait_s=60))
        await self._quietly("handing over servers", house.servers.hand_over if others else house.servers.let_go)
        if self._has_proxy and started:
            await self._end_proxy(ends_too=proxy_ends_too(settings, ending, servers_end=end_servers))
        await self._quietly("writing activity", house.activity.flush)
        await self._quietly("leaving", self.heartbeat.end)
        if self._wire is not None:
            await self._wire.flush()
        if self._supervised is not None:
            self._supervised.ended(servers=end_servers and started)
        if self._server is not None:
            await self._server.close_all_connections()
        log.info("...done")

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.stop()

    async def _finish(self) -> None:
        """Answer the requests that are here, and bring what starts and stops to its end; others take what comes."""
        left, _ = await asyncio.gather(
            self._in_flight.drain(within_s=DRAIN_S), self._house.servers.settle(within_s=DRAIN_S)
        )
        if left:
            log.warning("%i requests were not answered within %g s", left, DRAIN_S)

    async def _end_proxy(self, *, ends_too: bool) -> None:
        if ends_too:
            log.info("Cleaning up proxy[%s]...", getattr(self._proxy, "proxy_process", None))
            await self._quietly("stopping the proxy", lambda: stop_proxy(self._proxy))
        elif hasattr(self._proxy, "leave"):
            await self._quietly("leaving the proxy", self._proxy.leave)

    async def _others_live(self) -> bool:
        """Whether other hubs run on this database, which will take over what this one drives."""
        try:
            async with self._house.store.read() as tx:
                return any(replica.id != self.heartbeat.hub_id for replica in await tx.replicas.list())
        except Exception:
            log.exception("it is not known whether other hubs run; leaving the servers to them")
            return True

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
