"""Hubs reduced to what drives servers: a real store, real ``Servers``, and a world in which servers run.

The world outlives the hubs, as the real one does: what a spawner has started runs until somebody stops it or it dies.
Its servers share one real HTTP server, so that the readiness probe has something to ask; the proxy is a dictionary.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from jupyterhub.hub.plugin_views import Views
from jupyterhub.hub.replicas.heartbeat import new_hub_id
from jupyterhub.hub.requesters import Requesters
from jupyterhub.hub.routes import Routes
from jupyterhub.hub.servers.driver import Tools
from jupyterhub.hub.servers.observer import Observer
from jupyterhub.hub.servers.probe import Prober
from jupyterhub.hub.servers.reconcile import Reconciler
from jupyterhub.hub.servers.servers import Servers
from jupyterhub.hub.settings import HubSettings
from jupyterhub.hub.spawners import Spawners
from jupyterhub.hub.store.notices import Notices
from jupyterhub.hub.store.store import Store
from jupyterhub.rbac.scopes import ScopeRegistry
from jupyterhub.spawner import Spawner
from jupyterhub.words.models import Phase, Server
from jupyterhub.words.names import ServerKey

REGISTRY = ScopeRegistry.default()
ADA = ServerKey("ada")
GPU = ServerKey("ada", "gpu")
BOB = ServerKey("bob")


async def until(condition: Callable[[], Any], *, within_s: float = 8.0) -> Any:
    """Give the first true value of ``condition()``, which may be a coroutine; AssertionError with the last one."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {within_s} s; last seen: {value!r}"
        await asyncio.sleep(0.005)  # between two looks, not instead of one


class World:
    """Where servers run, what spawners do there, and what was asked of plugins so far."""

    def __init__(self) -> None:
        self.running: set[int] = set()
        #: names of calls in order, as ``"start"`` or ``"pre_spawn_hook"``
        self.calls: list[str] = []
        self.tokens: list[str] = []
        self.spawners: list[Any] = []
        self.port = 0
        #: what ``Spawner.start`` does when something runs already: returns, raises, or waits
        self.during_start: Callable[[Any], Awaitable[Any]] = _nothing
        self.during_poll: Callable[[Any], Awaitable[Any]] = _nothing
        self.during_stop: Callable[[Any], Awaitable[Any]] = _nothing
        #: what ``Spawner.progress`` yields
        self.progress: Callable[[Any], AsyncIterator[Any]] | None = None
        self._tickets = itertools.count(1)

    def count(self, call: str) -> int:
        return self.calls.count(call)

    def open(self) -> int:
        ticket = next(self._tickets)
        self.running.add(ticket)
        return ticket


async def _nothing(spawner: Any) -> None:
    return


def gate() -> tuple[asyncio.Event, asyncio.Event, Callable[[Any], Awaitable[None]]]:
    """Two events and a plan: the first is set when the plugin gets there, the second lets it go on."""
    reached, opened = asyncio.Event(), asyncio.Event()

    async def wait(spawner: Any) -> None:
        reached.set()
        await opened.wait()

    return reached, opened, wait


class WorldSpawner(Spawner):
    """Does in the world what the test says. Its state is the ticket of what it has started."""

    world: World
    ticket: int | None = None

    def load_state(self, state: Any) -> None:
        super().load_state(state)
        self.ticket = state.get("ticket")
        self.world.spawners.append(self)

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), **({"ticket": self.ticket} if self.ticket else {})}

    def clear_state(self) -> None:
        super().clear_state()
        self.ticket = None

    async def start(self) -> tuple[str, int]:
        self.world.calls.append("start")
        self.world.tokens.append(self.api_token)
        self.ticket = self.world.open()
        await self.save_state_early()
        await self.world.during_start(self)
        return "127.0.0.1", self.world.port

    async def poll(self) -> int | None:
        await self.world.during_poll(self)
        return None if self.ticket in self.world.running else 0

    async def stop(self, now: bool = False) -> None:
        self.world.calls.append("stop")
        await self.world.during_stop(self)
        self.world.running.discard(self.ticket or 0)

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        if self.world.progress is not None:
            async for event in self.world.progress(self):
                yield event

    def delete_forever(self) -> None:
        self.world.calls.append("delete_forever")

    async def rename(self, old: str, new: str) -> None:
        self.world.calls.append(f"rename {old} {new}")


class WorldAuthenticator:
    def __init__(self, world: World) -> None:
        self.world = world

    def pre_spawn_start(self, user: Any, spawner: Any) -> None:
        self.world.calls.append("pre_spawn_start")

    async def post_spawn_stop(self, user: Any, spawner: Any) -> None:
        self.world.calls.append("post_spawn_stop")


class DictProxy:
    """The proxy: one for all hubs."""

    def __init__(self) -> None:
        self.table: dict[str, dict[str, Any]] = {}
        self.extra_routes: dict[str, str] = {}
        self.broken = False

    async def add_route(self, routespec: str, target: str, data: dict[str, Any]) -> None:
        if self.broken:
            raise OSError("the proxy does not answer")
        self.table[routespec] = {"routespec": routespec, "target": target, "data": data}

    async def delete_route(self, routespec: str) -> None:
        if self.broken:
            raise OSError("the proxy does not answer")
        self.table.pop(routespec, None)

    async def get_all_routes(self) -> dict[str, dict[str, Any]]:
        return dict(self.table)

    def leads_to(self, routespec: str) -> str | None:
        return self.table.get(routespec, {}).get("target")


class RecordingObserver(Observer):
    def __init__(self) -> None:
        self.gave_up = False
        super().__init__(give_up=self._note)

    def _note(self) -> None:
        self.gave_up = True


class SmallHub:
    """One hub: ``servers`` and what it stands on."""

    def __init__(self, store: Store, world: World, proxy: DictProxy, spawner_class: type, settings: HubSettings):
        authenticator = WorldAuthenticator(world)
        views = Views(settings=settings, hub=None, authenticator=authenticator, tornado_settings={})
        self.store, self.world, self.proxy = store, world, proxy
        self.observer = RecordingObserver()
        self.prober = Prober()
        self.tools = Tools(
            store=store,
            notices=Notices(),
            settings=settings,
            registry=REGISTRY,
            requesters=Requesters(store, REGISTRY),
            spawners=Spawners(
                spawner_class=spawner_class, settings=settings, views=views, authenticator=authenticator, config=None
            ),
            views=views,
            routes=Routes(proxy=proxy, store=store, settings=settings),
            authenticator=authenticator,
            prober=self.prober,
            observer=self.observer,
        )
        self.servers = Servers(tools=self.tools, hub_id=new_hub_id())
        self.reconciler = Reconciler(servers=self.servers)

    async def register(self) -> None:
        async with self.store.begin() as tx:
            await tx.replicas.register(self.servers.hub_id, host="here", pid=1, url="http://127.0.0.1:8081/hub/")

    async def forget(self) -> None:
        """What the others do when this hub's heart stops: it may still run."""
        async with self.store.begin() as tx:
            await tx.replicas.remove(self.servers.hub_id)

    async def die(self) -> None:
        """End as by SIGKILL, as far as the database and the world can see: nothing is written or stopped."""
        await self.servers.let_go()
        await self.forget()

    async def row(self, key: ServerKey = ADA) -> Server:
        server = await self.servers.find(key)
        assert server is not None
        return server

    async def reaches(self, phase: Phase, key: ServerKey = ADA) -> Server:
        async def look() -> Server | None:
            server = await self.servers.find(key)
            return server if server is not None and server.phase is phase else None

        return await until(look)

    async def start(self, key: ServerKey = ADA, **options: Any) -> Server:
        return await self.servers.start(key, **{"wait_s": 8.0, **options})

    async def progress(self, key: ServerKey = ADA) -> list[dict[str, Any]]:
        """All events of a start, to its end, without keep-alives."""
        return [event async for event in self.servers.progress(key) if event is not None]

    async def token_notes(self, user: str = "ada") -> list[str | None]:
        async with self.store.read() as tx:
            found = await tx.users.find(user)
            assert found is not None
            return [token.note for token in await tx.tokens.list_of("user", found.id)]

    async def client_ids(self) -> list[str]:
        async with self.store.read() as tx:
            return [client for client in await tx.oauth.client_ids() if client != "jupyterhub"]

    async def close(self) -> None:
        await self.servers.let_go()
        self.prober.close()
        await self.store.close()


class Cluster:
    """Makes hubs on one database, in one world, with one proxy. Its ``spawner_class`` can be configured by tests."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.world, self.proxy = World(), DictProxy()
        self.spawner_class: Any = type("ThisWorldSpawner", (WorldSpawner,), {"world": self.world})
        self.hubs: list[SmallHub] = []

    async def hub(self, **settings: Any) -> SmallHub:
        store = await Store.open(f"sqlite:///{self.path}")
        known = HubSettings(**{"allow_named_servers": True, "cookie_secret": b"x" * 32, **settings})
        hub = SmallHub(store, self.world, self.proxy, self.spawner_class, known)
        self.hubs.append(hub)
        await hub.register()
        return hub

    def configure(self, **values: Any) -> None:
        """Configure spawners made from now on, as ``c.Spawner.…`` would."""

        def __init__(spawner: Any, **kwargs: Any) -> None:
            super(self.spawner_class, spawner).__init__(**kwargs)
            for name, value in values.items():
                setattr(spawner, name, value)

        self.spawner_class.__init__ = __init__


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request as a single-user server does that nobody has logged in to."""
    with suppress(OSError, asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 403 Forbidden\r\nX-JupyterHub-Version: 6.1.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        await writer.drain()
    writer.close()


@asynccontextmanager
async def running_cluster(path: str) -> AsyncIterator[Cluster]:
    cluster = Cluster(path)
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    cluster.world.port = server.sockets[0].getsockname()[1]
    try:
        yield cluster
    finally:
        for hub in cluster.hubs:
            await hub.close()
        server.close()
