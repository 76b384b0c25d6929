"""Servers as requests see them: find, create, start, stop, change, follow.

A request writes what is wanted and waits on the row for as long as it may; a driver (``driver.py``) makes it so. Which
hub's driver that is makes no difference here. Scopes are checked by the callers, in ``hub/web``.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from jupyterhub.hub import addresses
from jupyterhub.hub.bulletin import Bulletin
from jupyterhub.hub.plugin_calls import call
from jupyterhub.hub.plugin_views import UserView
from jupyterhub.hub.requester import Requester
from jupyterhub.hub.store.notices import server_topic
from jupyterhub.hub.store.store import Transaction
from jupyterhub.words.clock import utcnow
from jupyterhub.words.errors import AlreadyExists, Conflict, Invalid, NotFound, Throttled
from jupyterhub.words.models import Json, Lease, Phase, Server, SpawnLimits, User
from jupyterhub.words.names import ServerKey
from jupyterhub.words.unset import UNSET, Unset

from . import named
from .driver import REQUESTED, Driver, Tools, failed_event, look_topic, ready_event, wanted_topic
from .failures import as_error

log = logging.getLogger("jupyterhub.servers")

#: a waiter looks at the row at least this often, announced or not
SLOW_LOOK_S = 1.0
#: how long drivers that were cancelled may take to end
LET_GO_S = 10.0
#: how long a driver waits for the one before it on the same server, which has nothing left to write
PREDECESSOR_S = 20.0
#: how long a request waits for the driver on another hub to poll a server
LOOK_ELSEWHERE_S = 2.0
#: silence on a progress stream after which a keep-alive is due
KEEP_ALIVE_S = 8.0


class Servers:
    """All servers of the cluster; the drivers in ``self.drivers`` are those of this hub."""

    def __init__(self, *, tools: Tools, hub_id: str) -> None:
        self.tools = tools
        self.hub_id = hub_id
        self._bulletin = Bulletin(tools.store)
        self.drivers: dict[int, Driver] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        #: all tasks of drivers, also those that end while another driver of the same server waits for them
        self._running: set[asyncio.Task[None]] = set()
        #: servers whose lease is being taken: they have no driver yet, and will have one
        self._taking: set[int] = set()
        #: servers whose driver has ended because the database was away; that it did is not the start's fault
        self._cut_off: set[int] = set()
        tools.views.live_spawner = self._live_spawner
        tools.views.live_keys = self._live_keys
        tools.views.all_live = lambda: [
            driver.spawner for driver in self.drivers.values() if driver.spawner is not None
        ]
        tools.views.servers = self

    # -- finding

    async def find(self, key: ServerKey) -> Server | None:
        """Give the server of this key; None if the user has none of this name (or there is no such user)."""
        async with self.tools.store.read() as tx:
            return await tx.servers.find(key)

    async def list_of(self, user: User) -> list[Server]:
        """Give all servers of a user, stopped ones too, ordered by name."""
        async with self.tools.store.read() as tx:
            return await tx.servers.list_of_user(user.id)

    async def check(self, key: ServerKey) -> Server | None:
        """Let a server be polled and give its row; one that has died is cleaned up, or about to be."""
        server = await self.find(key)
        if server is None or not server.is_ready:
            return server
        driver = self.drivers.get(server.id)
        if driver is not None:
            await driver.look()
        elif not await self._have_looked_at(server):
            return server
        current = await self.find(key)
        if current is not None and current.phase is Phase.STOPPING:
            await self._wait(current, until=lambda s: s.phase is not Phase.STOPPING, within_s=5.0)
            return await self.find(key)
        return current

    async def _have_looked_at(self, server: Server) -> bool:
        """Ask the hub that drives a server to poll it now; False if nobody says anything in time."""
        notices = self.tools.notices
        if notices.tell_others is None:
            return False
        with notices.watch(server_topic(server.id)) as watch:
            notices.announce(look_topic(server.id))
            return await watch.wait(within_s=LOOK_ELSEWHERE_S)

    # -- creating and changing

    async def create(
        self,
        key: ServerKey,
        *,
        display_name: str | None,
        user_options: Mapping[str, Json] | None,
        handler: Any = None,
    ) -> Server:
        """Add a named server without starting it.

        Raises:
            NotFound: no such user.
            AlreadyExists: there is such a server; the default server always is.
            Invalid: named servers are off, the limit is reached, the name or label is not allowed.
        """
        user = await self._user(key.user)
        if not key.name:
            raise AlreadyExists(f"{key.user} has a default server already.")
        if await self.find(key):
            raise AlreadyExists(f"{key.user} has a server '{key.name}' already.")
        label, allowed = await self._check_new(key, display_name, handler)
        async with self.tools.store.begin() as tx:
            await tx.servers.hold_names_of(user.id)  # whoever counts beside us counts after us
            named.check_number(await tx.servers.count_named(user.id), allowed, key.user)
            # {} and not null, as in the original: it has options, there are just none in them.
            return await tx.servers.create(user.id, key.name, display_name=label, user_options=user_options or {})

    async def modify(
        self,
        key: ServerKey,
        *,
        name: str | Unset = UNSET,
        display_name: str | Unset = UNSET,
        user_options: Mapping[str, Json] | Unset = UNSET,
        handler: Any = None,
    ) -> Server:
        """Rename, relabel or reconfigure a stopped server.

        Raises:
            NotFound, Invalid (it is active, or the name is not allowed), Conflict (the name is taken).
        """
        user = await self._user(key.user)
        server = await self.find(key)
        if server is None and not key.name:
            async with self.tools.store.begin() as tx:
                server = await tx.servers.create(user.id, "", display_name="")
        if server is None:
            raise NotFound(f"No such server: {key}")
        if server.is_active:
            raise Invalid(f"{key.user}'s server '{key.name}' is active. Stop it before changing it.")
        settings = self.tools.settings
        if not (isinstance(name, Unset) and isinstance(display_name, Unset)):
            named.check_allowed(settings.allow_named_servers)
        new_key, limit = key, 0
        if not isinstance(name, Unset):
            new_key = ServerKey(key.user, name)
            if not name or await self.find(new_key):
                raise Conflict(f"{key.user} has a server '{name}' already.")
            named.check_new_name(name)
            if not key.name:
                limit = await named.resolve_limit(settings.named_server_limit_per_user, handler)
                async with self.tools.store.read() as tx:
                    named.check_number(await tx.servers.count_named(user.id), limit, key.user)
            await self._rename_in_plugin(server, name)
        label = UNSET if isinstance(display_name, Unset) else named.check_display_name(display_name)
        async with self.tools.store.begin() as tx:
            current = await tx.servers.find_by_id(server.id)
            if current is not None and current.is_active:
                raise Invalid(f"{key.user}'s server '{key.name}' is active. Stop it before changing it.")
            if new_key != key:
                await tx.servers.hold_names_of(user.id)
                if not key.name:
                    named.check_number(await tx.servers.count_named(user.id), limit, key.user)
                if await tx.servers.find(new_key):
                    raise Conflict(f"{key.user} has a server '{new_key.name}' already.")
                await tx.servers.rename(server.id, new_key.name)
                if server.oauth_client_id:
                    await tx.oauth.delete_client(server.oauth_client_id)
            if isinstance(label, str):
                await tx.servers.set_display_name(server.id, label)
            if not isinstance(user_options, Unset):
                await tx.servers.set_user_options(server.id, user_options)
            changed = await tx.servers.find(new_key)
        if changed is None:
            raise NotFound(f"No such server: {new_key}")
        return changed

    async def _rename_in_plugin(self, server: Server, name: str) -> None:
        spawner = await self.describe(server.key)
        rename = getattr(spawner, "rename", None)
        if rename is not None:
            await call("Spawner.rename", rename, server.key.name, name)

    async def _check_new(self, key: ServerKey, display_name: str | None, handler: Any) -> tuple[str, int]:
        """Check name and label of a new named server; give the label and how many such servers its owner may have."""
        settings = self.tools.settings
        named.check_allowed(settings.allow_named_servers)
        named.check_new_name(key.name)
        label = named.check_display_name(display_name)
        return label or key.name, await named.resolve_limit(settings.named_server_limit_per_user, handler)

    # -- starting

    async def start(
        self,
        key: ServerKey,
        *,
        display_name: str | None = None,
        user_options: Mapping[str, Json] | None = None,
        handler: Any = None,
        requester: Requester | None = None,
        wait_s: float,
    ) -> Server:
        """Start a server, or join a start that is going on, and wait at most ``wait_s`` seconds for its end.

        Returns the server as it is then: READY, or STARTING when it takes longer. Options None are those of last time.

        Raises:
            NotFound: no such user.
            Invalid: it runs already, is being stopped, or its name is not allowed.
            Throttled: a limit is reached.
            Unavailable: there is maintenance, and neither the owner nor ``requester`` may pass.
            SpawnFailed: it failed while we waited.
        """
        server = await self._find_or_create(key, display_name, handler)
        if server.is_ready:
            # Perhaps it has died and nobody noticed yet: whoever asks for a start shall get one.
            server = await self.check(key) or server
        if server.phase is not Phase.STARTING:
            await self._bulletin.check_may_start(await self._user(key.user), requester)
            server = await self._begin(server, user_options, handler)
        return await self._see_started(server, wait_s)

    async def _find_or_create(self, key: ServerKey, display_name: str | None, handler: Any) -> Server:
        user = await self._user(key.user)
        settings = self.tools.settings
        async with self.tools.store.read() as tx:
            server = await tx.servers.find(key)
        if server is not None:
            if key.name:
                named.check_allowed(settings.allow_named_servers)
                if settings.allow_existing_invalid_named_servers != "allow-start":
                    named.check_new_name(key.name)
                if display_name is not None and display_name != server.display_name and server.is_stopped:
                    label = named.check_display_name(display_name)
                    assert label is not None
                    async with self.tools.store.begin() as tx:
                        await tx.servers.set_display_name(server.id, label)
            return server
        label, allowed = await self._check_new(key, display_name, handler) if key.name else ("", 0)
        try:
            async with self.tools.store.begin() as tx:
                if found := await tx.servers.find(key):
                    return found
                if key.name:
                    await tx.servers.hold_names_of(user.id)  # whoever counts beside us counts after us
                    named.check_number(await tx.servers.count_named(user.id), allowed, key.user)
                return await tx.servers.create(user.id, key.name, display_name=label)
        except AlreadyExists:
            # made on another hub since we looked: join whoever was faster
            made = await self.find(key)
            if made is None:
                raise
            return made

    async def _begin(self, server: Server, user_options: Mapping[str, Json] | None, handler: Any) -> Server:
        """Write that the server is starting and that this hub drives it; join if another request was faster."""
        settings, now = self.tools.settings, utcnow()
        limits = SpawnLimits(settings.concurrent_spawn_limit, settings.active_server_limit)
        with self._taking_lease_of(server.id):
            async with self.tools.store.begin() as tx:
                # A start counts as activity of the owner. Users before servers, as everywhere: it is an order of locks.
                await tx.users.touch(server.user_id, now)
                lease = await tx.servers.begin_start(
                    server.id, hub_id=self.hub_id, limits=limits, now=now, user_options=user_options
                )
                if lease is not None:
                    await tx.servers.add_event(lease, REQUESTED, now=now)
                current = await tx.servers.find_by_id(server.id)
                if lease is None and current is not None and current.is_stopped:
                    await self._refuse(tx, limits)
            if current is None:
                raise NotFound(f"No such server: {server.key}")
            if lease is not None:
                self.drive(current, lease, handler=handler)
                return current
        if current.phase is Phase.STOPPING:
            raise Invalid(f"{_name(server.key)} is still stopping. Wait for it to stop, then start it again.")
        elif current.phase is not Phase.STARTING:
            raise Invalid(f"{_name(server.key)} is already running.")
        return current

    async def _refuse(self, tx: Transaction, limits: SpawnLimits) -> None:
        """Say which limit refused a start; the limit of starts is asked first."""
        if limits.concurrent and await tx.servers.count(Phase.STARTING) >= limits.concurrent:
            low, high = self.tools.settings.spawn_throttle_retry_range
            wait_s = random.randint(int(low), int(high))
            self.tools.observer.refused(reason="throttled")
            raise Throttled(
                f"Too many users trying to log in right now. Try again in {_in_words(wait_s)}.", retry_after_s=wait_s
            )
        self.tools.observer.refused(reason="too-many-users")
        raise Throttled("Active user limit exceeded. Try again in a few minutes.")

    async def _see_started(self, server: Server, wait_s: float) -> Server:
        generation = server.generation

        def over(current: Server) -> bool:
            return current.generation != generation or current.phase in (Phase.READY, Phase.STOPPED)

        seen = await self._wait(server, until=over, within_s=wait_s)
        if seen is not None and seen.is_stopped and seen.generation == generation:
            if seen.failure is not None:
                raise as_error(seen.failure)
            raise Conflict(f"The start of {_name(server.key)} was cancelled.")
        if seen is None:
            raise NotFound(f"No such server: {server.key}")
        return seen

    # -- stopping

    async def stop(self, key: ServerKey, *, remove: bool = False, wait_s: float) -> bool:
        """Stop a server (also one that is still starting) and wait at most ``wait_s`` seconds until it is gone.

        Returns True when it is stopped, False when that takes longer. ``remove`` drops its row as well, now or when it
        has stopped.

        Raises:
            NotFound: no such user, or no named server of this name.
            Invalid: named servers are off, or ``remove`` of the default server.
        """
        await self._user(key.user)
        server = await self.find(key)
        if key.name:
            named.check_allowed(self.tools.settings.allow_named_servers)
        elif remove:
            raise Invalid("Cannot remove the default server. Stop it, or delete the user.")
        if server is None:
            if key.name:
                raise NotFound(f"{key.user} has no server named '{key.name}'")
            return True
        if server.is_stopped:
            if remove:
                await self._remove(server)
            return True
        async with self.tools.store.begin() as tx:
            asked = await tx.servers.want_stopped(server.id, now=utcnow(), remove=remove)
            if not asked and remove:
                await tx.servers.want_removed(server.id)
        self.tools.notices.announce(wanted_topic(server.id))
        self.tools.notices.announce(server_topic(server.id))
        seen = await self._wait(server, until=lambda s: s.phase is not Phase.STOPPING, within_s=wait_s)
        if seen is not None and seen.is_stopped and remove:
            await self._remove(seen)  # it had stopped before it was to be removed
        return seen is None or seen.is_stopped

    async def stop_all_of(self, user: User, *, wait_s: float = 30.0) -> None:
        """Stop all servers of a user at once, and wait for them."""
        active = [server for server in await self.list_of(user) if server.is_active]
        await asyncio.gather(*(self._stop_by_row(server, wait_s) for server in active))

    async def stop_everything(self, *, wait_s: float) -> None:
        """Stop all servers of the cluster: ``cleanup_servers`` when the last hub ends."""
        async with self.tools.store.read() as tx:
            active = await tx.servers.list_in([p for p in Phase if p is not Phase.STOPPED])
        await asyncio.gather(*(self._stop_by_row(server, wait_s) for server in active))

    async def stop_quietly(self, key: ServerKey) -> None:
        """Ask for the stop of a server and do not wait for it; nothing happens if there is none."""
        server = await self.find(key)
        if server is not None and server.is_active:
            await self._stop_by_row(server, wait_s=0)

    async def _stop_by_row(self, server: Server, wait_s: float) -> bool:
        async with self.tools.store.begin() as tx:
            await tx.servers.want_stopped(server.id, now=utcnow())
        self.tools.notices.announce(wanted_topic(server.id))
        seen = await self._wait(server, until=lambda s: s.phase is not Phase.STOPPING, within_s=wait_s)
        return seen is None or seen.is_stopped

    async def forget_all_of(self, user: User) -> None:
        """Let the spawners forget all (stopped) servers of a user who is being deleted; errors are logged only."""
        for server in await self.list_of(user):
            await self._forget_in_plugin(server)

    async def _remove(self, server: Server) -> None:
        await self._forget_in_plugin(server)
        async with self.tools.store.begin() as tx:
            if not await tx.servers.delete_stopped(server.id) and await tx.servers.find_by_id(server.id):
                raise Invalid(f"{_name(server.key)} has just been started again. Stop it before removing it.")

    async def _forget_in_plugin(self, server: Server) -> None:
        try:
            spawner = await self.describe(server.key)
            await call("Spawner.delete_forever", spawner.delete_forever)
        except Exception:
            log.exception("%s: Spawner.delete_forever failed", server.key)

    # -- following

    async def progress(self, key: ServerKey) -> AsyncIterator[dict[str, Json] | None]:
        """Yield the events of a server's current start, from the first one to the last; None when a keep-alive is due.

        A server that is ready gives its ready event only, one that failed its failure.

        Raises:
            NotFound: no such server, or it never started.
            Invalid: nothing is going on.
        """
        server = await self.find(key)
        if server is None or (server.generation == 0 and server.is_stopped):
            raise NotFound(f"No such server: {key}")
        if server.is_ready:
            yield await self._last_event(server) or ready_event(addresses.server_url(self.tools.settings, key))
            return
        if server.is_stopped:
            if server.failure is None:
                raise Invalid(f"{_name(key)} is not starting.")
            yield failed_event(server.failure)
            return
        last = await self._last_event(server)
        if last is not None and server.phase is Phase.STOPPING:
            raise Invalid(f"{_name(key)} is being stopped.")
        # Of a server that is being checked again the old events say nothing: whether it is ready is the question.
        async for event in self._follow(server, after_last=last is not None):
            yield event

    async def _last_event(self, server: Server) -> dict[str, Json] | None:
        async with self.tools.store.read() as tx:
            events = await tx.servers.events_from(server.id, server.generation, 0)
        return dict(events[-1].data) if events and events[-1].is_last else None

    async def _follow(self, server: Server, *, after_last: bool) -> AsyncIterator[dict[str, Json] | None]:
        seen = 0
        if after_last:
            async with self.tools.store.read() as tx:
                seen = (await tx.servers.events_from(server.id, server.generation, 0))[-1].seq + 1
        silent_since = time.monotonic()
        with self.tools.notices.watch(server_topic(server.id)) as watch:
            while True:
                async with self.tools.store.read() as tx:
                    # the row first: the events of a row that is ready then include the ready event
                    current = await tx.servers.find_by_id(server.id)
                    events = await tx.servers.events_from(server.id, server.generation, seen)
                for event in events:
                    seen, silent_since = event.seq + 1, time.monotonic()
                    yield dict(event.data)
                    if event.is_last:
                        return
                if current is None or current.generation != server.generation or current.is_stopped:
                    yield failed_event(current.failure if current is not None else None)
                    return
                if current.is_ready:
                    # taken over from a hub that did not write events: the original, or one that died
                    yield ready_event(addresses.server_url(self.tools.settings, server.key))
                    return
                if time.monotonic() - silent_since >= KEEP_ALIVE_S:
                    silent_since = time.monotonic()
                    yield None
                await watch.wait(within_s=SLOW_LOOK_S)

    # -- the plugin's side

    async def describe(self, key: ServerKey) -> Any:
        """Give the Spawner of a server: the live one, or a new one for a server that is not driven here.

        Raises:
            NotFound: no such user.
        """
        server = await self.find(key)
        if server is not None and (driver := self.drivers.get(server.id)) is not None and driver.spawner is not None:
            return driver.spawner
        user = await self._user(key.user)
        row = server or Server.never_started(key, user.id)
        return await call("Spawner()", self.tools.spawners.build, row, await self._view(user))

    async def options_form(self, key: ServerKey, *, handler: Any) -> str:
        """Give the HTML of the options form; "" if this spawner has none."""
        spawner = await self.describe(key)
        spawner.handler = handler
        try:
            return str(await call("Spawner.options_form", spawner.get_options_form) or "")
        finally:
            spawner.handler = None

    async def options_from_form(self, key: ServerKey, data: dict[str, list[Any]], *, handler: Any) -> dict[str, Json]:
        """Let the spawner read its submitted form: lists of texts, files as lists of dicts under ``<field>_file``."""
        spawner = await self.describe(key)
        spawner.handler = handler
        options = await call("Spawner.options_from_form", spawner.run_options_from_form, data)
        return dict(options or {})

    async def options_from_query(self, key: ServerKey, query: dict[str, list[str]], *, handler: Any) -> dict[str, Json]:
        spawner = await self.describe(key)
        spawner.handler = handler
        return dict(await call("Spawner.options_from_query", spawner.options_from_query, query) or {})

    def _live_spawner(self, key: ServerKey) -> Any:
        for driver in self.drivers.values():
            if driver.key == key:
                return driver.spawner
        return None

    def _live_keys(self, user: str) -> Sequence[ServerKey]:
        return [d.key for d in self.drivers.values() if d.key.user == user and d.spawner is not None]

    # -- drivers

    def drive(self, server: Server, lease: Lease, *, handler: Any = None, resumes: bool = False) -> None:
        """Start the driver of a server whose lease this hub has got."""
        driver = Driver(server, lease, tools=self.tools, handler=handler, resumes=resumes)
        before = self._tasks.get(server.id)
        task = asyncio.create_task(self._run(driver, before), name=f"driver of {server.key}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        self.drivers[server.id], self._tasks[server.id] = driver, task

    async def _run(self, driver: Driver, before: asyncio.Task[None] | None) -> None:
        """Run a driver after the one before it, which is about to end, and forget it then."""
        server_id = driver.lease.server_id
        try:
            if before is not None and not before.done():
                await asyncio.wait({before}, timeout=PREDECESSOR_S)
                if not before.done():
                    log.error("%s: the driver before this one does not end; going on without it", driver.key)
            await driver.run()
            if driver.was_cut_off:
                self._cut_off.add(server_id)
        finally:
            if self.drivers.get(server_id) is driver:
                self.drivers.pop(server_id, None)
                self._tasks.pop(server_id, None)

    async def let_go(self) -> None:
        """End all drivers of this hub and leave the servers running: whoever has the rows takes them over."""
        tasks = set(self._running)
        for task in tasks:
            task.cancel()
        if tasks:
            _, reluctant = await asyncio.wait(tasks, timeout=LET_GO_S)
            for task in reluctant:
                log.error("%s does not let itself be cancelled; its lease keeps it from writing", task.get_name())

    async def hand_over(self) -> None:
        """End all drivers in good order: the other hubs go on with ready servers without having to check them."""
        await self.let_go()
        async with self.tools.store.begin() as tx:
            await tx.servers.hand_over(self.hub_id)

    async def settle(self, *, within_s: float) -> None:
        """Wait until nothing that is driven here starts or stops any more; not for ever."""
        deadline = time.monotonic() + within_s
        while self.drivers and time.monotonic() < deadline:
            async with self.tools.store.read() as tx:
                moving = await tx.servers.list_in([Phase.STARTING, Phase.STOPPING])
            mine = [server for server in moving if server.hub_id == self.hub_id]
            if not mine:
                return
            with self.tools.notices.watch(*(server_topic(server.id) for server in mine)) as watch:
                await watch.wait(within_s=SLOW_LOOK_S)

    async def adopt(self, server: Server) -> bool:
        """Take over a server whose hub is gone; False if another hub was faster."""
        with self._taking_lease_of(server.id):
            async with self.tools.store.begin() as tx:
                lease = await tx.servers.take_over(server, hub_id=self.hub_id)
            if lease is not None:
                self.drive(server, lease)
        return lease is not None

    async def resume(self, server_id: int) -> None:
        """Drive on a server that this hub holds and whose driver has failed."""
        async with self.tools.store.read() as tx:
            server = await tx.servers.find_by_id(server_id)
        if server is None or server.hub_id != self.hub_id or self._has_driver(server_id):
            return
        was_cut_off = server_id in self._cut_off
        self._cut_off.discard(server_id)
        if server.phase is Phase.STARTING and not was_cut_off:
            # An interrupted start like any other: what it left behind is looked for, and attempts are counted.
            await self.adopt(server)
        else:
            self.drive(server, Lease(server.id, server.generation, self.hub_id), resumes=was_cut_off)

    def _has_driver(self, server_id: int) -> bool:
        return server_id in self.drivers or server_id in self._taking

    @contextmanager
    def _taking_lease_of(self, server_id: int) -> Iterator[None]:
        """Between the commit that gives us a lease and its driver, the reconciler shall not think that it has none."""
        ours = server_id not in self._taking
        self._taking.add(server_id)
        try:
            yield
        finally:
            if ours:
                self._taking.discard(server_id)

    # --

    async def _user(self, name: str) -> User:
        async with self.tools.store.read() as tx:
            user = await tx.users.find(name)
        if user is None:
            raise NotFound(f"No such user: {name}")
        return user

    async def _view(self, user: User) -> UserView:
        async with self.tools.store.read() as tx:
            groups = await tx.groups.list_of_user(user.id)
            servers = await tx.servers.list_of_user(user.id)
        return self.tools.views.user(user, groups=groups, servers=servers)

    async def _wait(self, server: Server, *, until: Callable[[Server], bool], within_s: float) -> Server | None:
        """Wait until ``until`` holds, at most ``within_s`` seconds; the row as it is then, None if it is gone."""
        deadline = time.monotonic() + within_s
        with self.tools.notices.watch(server_topic(server.id)) as watch:
            while True:
                async with self.tools.store.read() as tx:
                    current = await tx.servers.find_by_id(server.id)
                left_s = deadline - time.monotonic()
                if current is None or until(current) or left_s <= 0:
                    return current
                await watch.wait(within_s=min(SLOW_LOOK_S, left_s))


def _name(key: ServerKey) -> str:
    return f"{key.user}'s server '{key.name}'" if key.name else f"{key.user}'s server"


def _in_words(seconds: int) -> str:
    """How long to wait, rounded up to tens of seconds, or to minutes above a minute and a half."""
    if seconds > 90:
        return f"{-(-seconds // 60)} minutes"
    return f"{-(-seconds // 10) * 10} seconds"
