"""The driver of one server on this hub: follows the server's row and makes it so.

A driver is one task with one Spawner object and one lease. It reads the row, does what its phase asks for (start,
check, watch, stop), writes what became of it, and reads again. Whoever wants something writes the row and announces it;
nobody calls a driver. When the lease is gone it lets go and touches nothing.
"""

from __future__ import annotations

import asyncio
import logging
import random
import resource
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from tornado.web import HTTPError

from jupyterhub.hub import addresses
from jupyterhub.hub.plugin_calls import call
from jupyterhub.hub.plugin_views import UserView, Views
from jupyterhub.hub.requesters import Requesters
from jupyterhub.hub.routes import Routes
from jupyterhub.hub.settings import HubSettings
from jupyterhub.hub.spawners import Spawners
from jupyterhub.hub.store.notices import Notices, server_topic
from jupyterhub.hub.store.store import Store
from jupyterhub.rbac.grants import server_token_request
from jupyterhub.rbac.scopes import ScopeRegistry
from jupyterhub.words.clock import utcnow
from jupyterhub.words.errors import LeaseLost, Unavailable
from jupyterhub.words.models import Endpoint, Failure, Json, Lease, Phase, Server, User
from jupyterhub.words.names import oauth_client_id

from . import credentials
from .failures import Verdict, judge
from .observer import Observer
from .probe import Prober

log = logging.getLogger("jupyterhub.servers")

#: how long a driver sleeps at most without looking at its row, when nobody announces anything
SLOW_LOOK_S = 5.0
#: how long a plugin that was cancelled may go on cleaning up
MOST_RELUCTANCE_S = 10.0
#: a spawner that does not say within this time whether its server runs has not said it: its driver has other duties
POLL_LIMIT_S = 60.0
#: Hooks, and stopping, take as long as they take, but not for ever: nobody could use or start the server again.
PLUGIN_LIMIT_S = 600.0
#: begin an unfinished start again this often after hubs died in it; then it has failed
MOST_ATTEMPTS = 2

#: of the servers that a hub takes over, so many are asked at once whether they live
CHECKS_AT_ONCE = 50

#: where the failed starts in a row are counted
FAILURES = "consecutive_spawn_failures"

REQUESTED: Mapping[str, Json] = {"progress": 0, "message": "Server requested"}


def wanted_topic(server_id: int) -> str:
    """Announced when somebody wants something else of a server; its driver listens."""
    return f"wanted:{server_id}"


def look_topic(server_id: int) -> str:
    """Announced when somebody thinks that a server has ended; its driver polls now."""
    return f"look:{server_id}"


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What all drivers of a hub share."""

    store: Store
    notices: Notices
    settings: HubSettings
    registry: ScopeRegistry
    requesters: Requesters
    spawners: Spawners
    views: Views
    routes: Routes
    authenticator: Any
    prober: Prober
    observer: Observer
    #: servers taken over that are asked at once whether they live: ten thousand shall not all be asked together
    checks: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CHECKS_AT_ONCE))


class Driver:
    """Drives one server under one lease. ``run`` ends when the server has stopped or the lease is lost."""

    #: drivers of this process that wait for the end of a process of their server
    _waiting = 0

    def __init__(
        self, server: Server, lease: Lease, *, tools: Tools, handler: Any = None, resumes: bool = False
    ) -> None:
        """``resumes``: another driver of this hub was cut off in the middle of what this one goes on with."""
        self._resumes = resumes
        #: it has ended because the database was away
        self.was_cut_off = False
        self.key, self.lease = server.key, lease
        #: the live plugin object; None until ``run`` has built it
        self.spawner: Any = None
        self._tools, self._handler = tools, handler
        self._client_id = server.oauth_client_id or oauth_client_id(server.key)
        #: when this driver took up the start; None if it never did
        self._began: float | None = None
        #: what the server of this start was given
        self._given: credentials.Credentials | None = None

    # -- the loop

    async def run(self) -> None:
        try:
            while (server := await self._read()) is not None and server.phase is not Phase.STOPPED:
                try:
                    await self._step(server)
                except LeaseLost:
                    # Gone, or only the phase has changed because somebody asked for the stop: the row says which.
                    if await self._read() is None:
                        log.warning("%s: another hub drives this server now", self.key)
        except Unavailable as error:
            # The row says what is wanted; the reconciler makes a new driver for it when the database is back.
            log.warning("%s: the driver waits: %s", self.key, error)
            self.was_cut_off = True
            await asyncio.sleep(1)
        except Exception:
            log.exception("%s: the driver failed; there will be a new one", self.key)
            await asyncio.sleep(1)

    async def _step(self, server: Server) -> None:
        """Do what the phase of the row asks for."""
        if self.spawner is None and not await self._is_built(server):
            return
        match server.phase:
            case Phase.STARTING:
                await self._unless_wanted_otherwise(self._start(server))
            case Phase.CHECKING:
                await self._unless_wanted_otherwise(self._check(server))
            case Phase.READY:
                await self._watch()
            case Phase.STOPPING:
                await self._stop(server)

    async def _is_built(self, server: Server) -> bool:
        """Make the Spawner. A class that cannot be made must not leave the row as it is for ever: False, and it ends.

        What runs, if anything does, is out of reach; the state stays in the row for those who look for it.
        """
        view = await self._view(server)
        try:
            self.spawner = await call("Spawner()", self._tools.spawners.build, server, view)
        except Exception as error:
            log.exception("%s: no Spawner could be made for this server", self.key)
            failure = judge(error).failure if server.phase is Phase.STARTING else server.failure
            await self._tools.routes.delete_server(self.key)
            if failure is not server.failure:
                async with self._tools.store.begin() as tx:
                    await tx.servers.mark_stopping(self.lease, now=utcnow(), failure=failure)
            await self._revoke(server)
            await self._close(replace(server, failure=failure), state=server.state)
            return False
        return True

    async def _read(self) -> Server | None:
        """The row as it is now; None when this driver has nothing to say any more."""
        async with self._tools.store.read() as tx:
            server = await tx.servers.find_by_id(self.lease.server_id)
        return server if server is not None and self._is_mine(server) else None

    def _is_mine(self, server: Server) -> bool:
        return server.generation == self.lease.generation and server.hub_id == self.lease.hub_id

    async def _unless_wanted_otherwise(self, work: Coroutine[Any, Any, None]) -> None:
        """Do ``work``, but drop it as soon as the row says that the server shall stop."""
        with self._tools.notices.watch(wanted_topic(self.lease.server_id)) as watch:
            task = asyncio.create_task(work, name=f"work on {self.key}")
            listener = asyncio.create_task(self._until_stop_is_wanted(watch.wait), name=f"stop watch of {self.key}")
            try:
                await asyncio.wait({task, listener}, return_when=asyncio.FIRST_COMPLETED)
                if not task.done():
                    task.cancel()
                    await asyncio.wait({task}, timeout=MOST_RELUCTANCE_S)
                if not task.done():
                    log.error("%s: the spawner does not let itself be cancelled; going on without it", self.key)
                elif not task.cancelled():
                    task.result()
            finally:
                for one in (task, listener):
                    one.cancel()
                await asyncio.wait({task, listener}, timeout=MOST_RELUCTANCE_S)

    async def _until_stop_is_wanted(self, wait: Callable[..., Coroutine[Any, Any, bool]]) -> None:
        while True:
            try:
                server = await self._read()
            except Exception:
                # A database that is away for a moment is no reason to drop the start.
                log.warning("%s: the row could not be read; looking again", self.key, exc_info=True)
            else:
                if server is None or server.phase is Phase.STOPPING:
                    return
            await wait(within_s=SLOW_LOOK_S)

    def _announce(self) -> None:
        self._tools.notices.announce(server_topic(self.lease.server_id))

    # -- starting

    async def _start(self, server: Server) -> None:
        began = self._began = time.monotonic()
        self.spawner._spawn_pending = True
        try:
            if await self._is_resumed(server):
                return
            await self._begin(server)
        except (LeaseLost, Unavailable):
            # Unavailable: what it had come to is not known, and not the server's fault. An interrupted start goes on.
            raise
        except Exception as error:
            await self._fail(error, took_s=time.monotonic() - began)
        else:
            self._tools.observer.started(self.key, took_s=time.monotonic() - began)
        finally:
            self._handler = None
            if self.spawner is not None:
                self.spawner.handler = None

    async def _is_resumed(self, server: Server) -> bool:
        """Deal with a start that another hub (or this one, before it died) left unfinished.

        True when there is nothing to begin: the server was up already. What runs without having said where is stopped,
        and the start begins again.
        """
        async with self._tools.store.read() as tx:
            attempts = await tx.servers.attempts(server.id)
        if attempts <= 1 and not self._resumes:
            return False
        if await self._poll() is None:
            if server.endpoint is not None:
                log.info("%s: going on with a start that another hub began", self.key)
                await self._wait_up(server.endpoint)
                await self._become_ready(server.endpoint, was=Phase.STARTING)
                return True
            await _call("Spawner.stop", self.spawner.stop)
        if attempts > MOST_ATTEMPTS:
            raise RuntimeError("The hub was interrupted twice while this server was starting")
        log.info("%s: beginning an interrupted start again", self.key)
        return False

    async def _begin(self, server: Server) -> None:
        """The start proper, in the order that plugins rely on (startup-and-state.md §6)."""
        tools, spawner = self._tools, self.spawner
        user_model = await self._owner(server)
        user: UserView = spawner.user
        spawner._failed = False
        spawner.handler = self._handler
        spawner.user_options = dict(server.user_options or {})
        spawner.clear_state()
        await self._give_credentials(user_model, server)
        proto = "https" if tools.settings.internal_ssl else "http"
        tools.spawners.set_endpoint(
            spawner, Endpoint(proto=proto, ip="", port=0, base_url=tools.views.server_path(self.key))
        )
        await _call("Authenticator.pre_spawn_start", tools.authenticator.pre_spawn_start, user, spawner)
        if spawner.auth_state_hook is not None:
            await _call("Spawner.auth_state_hook", spawner.run_auth_state_hook, await user.get_auth_state())
        await _call("Spawner.group_overrides", spawner.apply_group_overrides)
        await self._apply_user_options(spawner)
        await _call("Spawner.pre_spawn_hook", spawner.run_pre_spawn_hook)
        if tools.settings.internal_ssl:
            made = await _call("Spawner.create_certs", spawner.create_certs)
            spawner.cert_paths = await _call("Spawner.move_certs", spawner.move_certs, made)

        recorder = asyncio.create_task(self._record_progress(), name=f"progress of {self.key}")
        try:
            endpoint = await self._run_spawner(spawner)
            await self._wait_up(endpoint)
            await self._become_ready(endpoint, was=Phase.STARTING, recorder=recorder)
        finally:
            await _end(recorder)

    async def _give_credentials(self, user: User, server: Server) -> None:
        tools, spawner = self._tools, self.spawner
        requested = spawner.server_token_scopes
        if callable(requested):
            requested = await _call("Spawner.server_token_scopes", requested, spawner)
        client_scopes = await _call("Spawner.oauth_client_allowed_scopes", spawner.resolve_oauth_client_allowed_scopes)
        async with tools.store.begin() as tx:
            if not requested:
                role = await tx.roles.find("server")
                requested = role.scopes if role else ()
            owned = await tools.requesters.for_user(tx, user)
            groups = frozenset(await tx.groups.groups_of(user.id))
            scopes = server_token_request(
                requested,
                self.key,
                owned,
                tools.registry,
                groups_of=lambda name: groups if name == user.name else frozenset(),
            )
            given = await credentials.issue(
                tx,
                user=user,
                key=self.key,
                server_path=tools.views.server_path(self.key),
                client_id=self._client_id,
                redirect_uri=addresses.server_url(tools.settings, self.key) + "oauth_callback",
                scopes=sorted(scopes),
                client_allowed_scopes=client_scopes,
            )
            await tx.servers.set_oauth_client(self.lease, self._client_id)
        spawner.api_token, self._given = given.api_token, given

    async def _apply_user_options(self, spawner: Any) -> None:
        """Run ``apply_user_options``; whatever it raises that is no HTTP error means that the options are wrong."""
        try:
            await _call("Spawner.apply_user_options", spawner.run_apply_user_options, spawner.user_options)
        except Exception as error:
            if not isinstance(error, HTTPError):
                raise HTTPError(400, "%s", error) from error
            raise

    async def _run_spawner(self, spawner: Any) -> Endpoint:
        """Call ``start`` within its time limit and keep what it gives, and its state, at once."""
        tools = self._tools
        spawner._start_pending = True
        spawner.save_state_early = self._save_state
        limit_s = float(spawner.start_timeout)
        try:
            async with asyncio.timeout(limit_s) as limit:
                given = await call("Spawner.start", spawner.start)
        except TimeoutError:
            if not limit.expired():
                raise  # of the spawner's own: it knows better what took too long
            raise TimeoutError(f"the server did not start within {limit_s:g} s") from None
        finally:
            spawner._start_pending = False
        endpoint = _endpoint(given, spawner, tools.views.server_path(self.key))
        tools.spawners.set_endpoint(spawner, endpoint)
        async with tools.store.begin() as tx:
            await tx.servers.set_endpoint(self.lease, endpoint, spawner.get_state() or {})
            if self._given is not None:
                # ``start`` may have put another token in its place: a server that is resumed has that of its last life
                path, user_id = tools.views.server_path(self.key), spawner.user.id
                await credentials.settle(tx, self._given, used=spawner.api_token, user_id=user_id, server_path=path)
        return endpoint

    async def _save_state(self) -> None:
        """For spawners whose server can be found again before ``start`` returns: keep their state now."""
        async with self._tools.store.begin() as tx:
            await tx.servers.save_state(self.lease, self.spawner.get_state() or {})

    async def _wait_up(self, endpoint: Endpoint) -> None:
        """Wait until the server answers."""
        tools, spawner = self._tools, self.spawner
        spawner._waiting_for_response = True
        try:
            answer = await tools.prober.wait_up(
                endpoint, within_s=float(spawner.http_timeout), still_running=self._still_runs
            )
        finally:
            spawner._waiting_for_response = False
        spawner._jupyterhub_version = answer.version
        tools.observer.answered(self.key, answer.version)

    async def _become_ready(
        self, endpoint: Endpoint, *, was: Phase, recorder: asyncio.Task[None] | None = None
    ) -> None:
        """Give a server that answers its route, and mark it ready."""
        tools, spawner = self._tools, self.spawner
        ready = await self._ready_event()
        if recorder is not None:
            # what the spawner still has to say comes too late: the ready event is the last
            await _end(recorder)
        if was is Phase.CHECKING:
            await self._add_route_quietly(endpoint)
        else:
            await tools.routes.add_server(self.key, endpoint)
        try:
            async with tools.store.begin() as tx:
                await tx.servers.mark_ready(self.lease, now=utcnow(), was=was)
                await tx.servers.add_event(self.lease, ready, now=utcnow())
                if was is Phase.STARTING and self._began is not None:
                    await tx.starts.add(self.key, took_s=time.monotonic() - self._began, now=utcnow())
                if self._counts_failures():
                    await tx.facts.remove(FAILURES)
        except LeaseLost:
            await self._mend_route()
            raise
        spawner._spawn_pending = spawner._check_pending = False
        self._announce()

    async def _mend_route(self) -> None:
        """Set right the route that we gave to a server which was not ours any more, or was to stop."""
        async with self._tools.store.read() as tx:
            server = await tx.servers.find_by_id(self.lease.server_id)
        if server is not None and server.is_ready and server.endpoint is not None:
            await self._add_route_quietly(server.endpoint)
        elif server is None or server.is_stopped or self._is_mine(server):
            await self._tools.routes.delete_server(self.key)
        # else it is on its way in the hands of another hub, which writes the route itself at the end of it

    async def _add_route_quietly(self, endpoint: Endpoint) -> None:
        """Add the route of a server that runs anyway: a proxy that is away for a moment shall not cost it its life."""
        try:
            await self._tools.routes.add_server(self.key, endpoint)
        except Exception as error:
            log.error("%s: the route is left to the next check: %s", self.key, error or type(error).__name__)

    async def _still_runs(self) -> bool:
        try:
            return await self._poll() is None
        except Exception:
            # not known now (see Spawner.poll): the probe goes on until its own limit
            log.exception("%s: Spawner.poll failed while the server comes up", self.key)
            return True

    async def _record_progress(self) -> None:
        """Keep what the spawner tells about its start, so that any hub can show it."""
        tools = self._tools
        try:
            async for event in self.spawner._generate_progress():
                told = {name: value for name, value in event.items() if name not in ("ready", "failed")}
                async with tools.store.begin() as tx:
                    await tx.servers.add_event(self.lease, told, now=utcnow())
                self._announce()
        except LeaseLost:
            return
        except Unavailable as error:
            log.warning("%s: what the spawner tells is not kept: %s", self.key, error)
        except Exception:
            log.exception("%s: Spawner.progress failed; the start goes on", self.key)

    async def _ready_event(self) -> dict[str, Json]:
        url = addresses.server_url(self._tools.settings, self.key)
        event = ready_event(url)
        hook = getattr(self.spawner, "progress_ready_hook", None)
        if hook is None:
            return event
        try:
            changed = await _call("Spawner.progress_ready_hook", hook, self.spawner, dict(event))
        except Exception:
            log.exception("%s: Spawner.progress_ready_hook failed", self.key)
            return event
        return changed if isinstance(changed, dict) else event

    async def _fail(self, error: Exception, *, took_s: float) -> None:
        verdict: Verdict = judge(error)
        if (message := self.spawner.end_message) and not verdict.failure.public_message:
            verdict = replace(verdict, failure=replace(verdict.failure, public_message=message))
        current = await self._read()
        if current is not None and current.phase is Phase.STOPPING:
            log.info("%s: what the start said when it was cancelled: %s", self.key, error or type(error).__name__)
            return
        self._tools.observer.failed(self.key, error, verdict, took_s=took_s)
        self.spawner._failed = True
        async with self._tools.store.begin() as tx:
            await tx.servers.mark_stopping(self.lease, now=utcnow(), failure=verdict.failure)
            await tx.starts.add(self.key, took_s=took_s, now=utcnow(), failure=verdict.failure.message)
        if verdict.status == "error":
            await self._count_failure()

    async def _count_failure(self) -> None:
        """Count a start that failed, in all hubs together, if anybody has set a limit. Counting must not fail it."""
        if not self._counts_failures():
            return
        try:
            async with self._tools.store.begin() as tx:
                failures = int(await tx.facts.get(FAILURES) or 0) + 1
                await tx.facts.set(FAILURES, failures)
        except Exception:
            log.exception("%s: the failed start was not counted", self.key)
            return
        if int(self.spawner.consecutive_failure_limit) <= failures:
            self._tools.observer.failed_too_often(failures)

    def _counts_failures(self) -> bool:
        return self.spawner is not None and self.spawner.consecutive_failure_limit > 0

    # -- taken over

    async def _check(self, server: Server) -> None:
        """Find out whether a server that was ready under another hub still lives."""
        self.spawner._check_pending = True
        try:
            async with self._tools.checks:
                endpoint = await self._find_again(server)
        finally:
            self.spawner._check_pending = False
        if endpoint is None:
            async with self._tools.store.begin() as tx:
                await tx.servers.mark_stopping(self.lease, now=utcnow())
            self._announce()
            return
        if endpoint != server.endpoint:
            self._tools.spawners.set_endpoint(self.spawner, endpoint)
            async with self._tools.store.begin() as tx:
                await tx.servers.set_endpoint(self.lease, endpoint, self.spawner.get_state() or {})
        await self._become_ready(endpoint, was=Phase.CHECKING)
        log.info("%s: still running", self.key)

    async def _find_again(self, server: Server) -> Endpoint | None:
        """Give where a server that we took over answers now; None if it does not, for whatever reason.

        Asks plugins and the server only. A database that fails says nothing about the server and must not end it.
        """
        known = server.endpoint
        try:
            if known is None or await self._poll() is not None:
                log.warning("%s: the server ended while no hub watched it", self.key)
                return None
            url = await _call("Spawner.get_url", self.spawner.get_url)
            current = _endpoint(url, self.spawner, known.base_url) if url else known
            await self._wait_up(current)
        except Exception as error:
            log.warning("%s: the server cannot be taken over: %s", self.key, error or type(error).__name__)
            return None
        return current

    # -- running

    async def _watch(self) -> None:
        """Poll a ready server until it has ended or something else is wanted."""
        spawner = self.spawner
        interval_s = float(spawner.poll_interval)
        # spread over the interval: a thousand servers taken over at once shall not be polled at once for ever
        pause_s = random.uniform(0.1, 1.0) * interval_s if interval_s > 0 else SLOW_LOOK_S
        next_poll = time.monotonic() + pause_s
        wanted, look = wanted_topic(self.lease.server_id), look_topic(self.lease.server_id)
        with self._tools.notices.watch(wanted, look) as watch, self._told_of_its_end():
            while True:
                server = await self._read()
                if server is None or server.phase is not Phase.READY:
                    return
                pause_s = max(0.0, next_poll - time.monotonic()) if interval_s > 0 else 3600
                woken = await watch.wait(within_s=pause_s)
                asked = woken and look in watch.heard
                if not asked and (woken or interval_s <= 0):
                    continue
                if await self._has_ended():
                    return
                if asked:
                    self._announce()  # it lives: whoever asked need not wait any longer
                next_poll = time.monotonic() + interval_s * random.uniform(0.9, 1.1)

    @contextmanager
    def _told_of_its_end(self) -> Iterator[None]:
        """Have it polled as soon as it ends, if its spawner can wait for that; polling alone takes its time."""
        wait_for_exit = getattr(self.spawner, "wait_for_exit", None)
        # each wait holds a descriptor, and the hub needs most of its own for people
        if wait_for_exit is None or Driver._waiting >= resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4:
            yield
            return

        async def tell() -> None:
            try:
                await wait_for_exit()
            except Exception as error:
                log.debug("%s: its end cannot be waited for: %s", self.key, error)
            else:
                self._tools.notices.announce(look_topic(self.lease.server_id))

        Driver._waiting += 1
        waiting = asyncio.create_task(tell(), name=f"end of {self.key}")
        try:
            yield
        finally:
            Driver._waiting -= 1
            waiting.cancel()

    async def _has_ended(self) -> bool:
        """Poll; if the server is gone, say so in the row."""
        try:
            status = await self._poll()
        except Exception:
            log.exception("%s: Spawner.poll failed; asking again later", self.key)
            return False
        if status is None:
            return False
        log.warning("%s: the server ended with status %s", self.key, status)
        await self._run_poll_callbacks()
        message = self.spawner.end_message
        failure = Failure(message=message, public_message=message) if message else None
        async with self._tools.store.begin() as tx:
            await tx.servers.mark_stopping(self.lease, now=utcnow(), failure=failure)
        self._announce()
        return True

    async def look(self) -> None:
        """Poll now, on request: the person at the home page shall not wait for the next round."""
        if self.spawner is None:
            return
        server = await self._read()
        try:
            ended = server is not None and server.phase is Phase.READY and await self._has_ended()
        except LeaseLost:
            return  # its own driver saw the end first, and has dealt with it
        if ended:
            self._tools.notices.announce(wanted_topic(self.lease.server_id))

    async def _poll(self) -> int | None:
        async with asyncio.timeout(POLL_LIMIT_S):
            return await call("Spawner.poll", self.spawner.poll)  # type: ignore[no-any-return]

    async def _run_poll_callbacks(self) -> None:
        callbacks, self.spawner._callbacks = list(self.spawner._callbacks), []
        for callback in callbacks:
            try:
                await call("Spawner poll callback", callback)
            except Exception:
                log.exception("%s: a poll callback failed", self.key)

    # -- stopping

    async def _stop(self, server: Server) -> None:
        """Take the route, stop what runs, take the credentials, forget the address."""
        tools, spawner = self._tools, self.spawner
        began = time.monotonic()
        spawner._spawn_pending = False
        spawner._stop_pending = True
        # The route goes first: people who come now get the hub's page, not half-closed connections.
        await tools.routes.delete_server(self.key)
        try:
            if await self._may_run():
                await _call("Spawner.stop", self.spawner.stop)
        except Exception as error:
            if await self._runs_on(server, error):
                return
        await self._clean_up(server)
        tools.observer.stopped(self.key, took_s=time.monotonic() - began)

    async def _may_run(self) -> bool:
        """False if the spawner says that the server has ended; one that cannot say is asked to stop it all the same."""
        try:
            return await self._poll() is None
        except Exception:
            log.exception("%s: Spawner.poll failed; stopping what may run", self.key)
            return True

    async def _runs_on(self, server: Server, error: Exception) -> bool:
        """After a failed ``Spawner.stop``: True if the server still runs, and is ready again for another try."""
        log.error("%s: Spawner.stop failed", self.key, exc_info=error)
        self._tools.observer.stop_failed(self.key)
        self.spawner._stop_pending = False
        try:
            runs = await self._poll() is None
        except Exception:
            log.exception("%s: Spawner.poll failed too; taking the server for gone", self.key)
            return False
        if not runs or server.endpoint is None or server.failure is not None:
            # A server whose start failed was never good for anything: its owner shall see the failure.
            return False
        await self._add_route_quietly(server.endpoint)
        async with self._tools.store.begin() as tx:
            await tx.servers.mark_ready(self.lease, now=utcnow(), was=Phase.STOPPING)
        self._announce()
        return True

    async def _clean_up(self, server: Server) -> None:
        tools, spawner = self._tools, self.spawner
        await self._revoke(server, keep=spawner.will_resume)
        await self._quietly("Spawner.post_stop_hook", spawner.run_post_stop_hook)
        state: Mapping[str, Json] = {}
        try:
            spawner.clear_state()
            state = spawner.get_state() or {}
        except Exception:
            log.exception("%s: the spawner could not clear its state", self.key)
        tools.spawners.set_endpoint(spawner, None)
        await self._quietly("Authenticator.post_spawn_stop", tools.authenticator.post_spawn_stop, spawner.user, spawner)
        spawner._stop_pending = False
        await self._close(server, state=state)

    async def _revoke(self, server: Server, *, keep: bool = False) -> None:
        """Take the server's credentials, unless the spawner wants to ``keep`` them."""
        if keep:
            return
        async with self._tools.store.begin() as tx:
            # Proves the lease: if another hub has started the server again meanwhile, the credentials are its own.
            await tx.servers.set_oauth_client(self.lease, None)
            await credentials.revoke(
                tx,
                user_id=server.user_id,
                server_path=self._tools.views.server_path(self.key),
                client_id=self._client_id,
            )

    async def _close(self, server: Server, *, state: Mapping[str, Json] | None) -> None:
        """Say in the row that the server has stopped, or remove it if that is wanted: the last thing that we do."""
        forgotten = False
        while True:
            async with self._tools.store.begin() as tx:
                removed = await tx.servers.is_to_be_removed(server.id)
                if not removed or forgotten:
                    told = await tx.servers.events_from(server.id, server.generation, 0)
                    if told and not told[-1].is_last:
                        await tx.servers.add_event(self.lease, failed_event(server.failure), now=utcnow())
                        if server.failure is None and self._counts_failures():
                            await tx.facts.remove(FAILURES)  # a start that was cancelled is none that failed
                    await tx.servers.mark_stopped(self.lease, state=state, now=utcnow())
                    if removed:
                        # in the same step: once it is stopped, anybody may start it again
                        await tx.servers.delete(server.id)
                    break
            if self.spawner is not None:
                await self._quietly("Spawner.delete_forever", self.spawner.delete_forever)
            forgotten = True
        self._announce()

    async def _quietly(self, what: str, function: Callable[..., Any], *args: Any) -> None:
        try:
            await _call(what, function, *args)
        except Exception:
            log.exception("%s: %s failed", self.key, what)

    # --

    async def _view(self, server: Server) -> UserView:
        user = await self._owner(server)
        async with self._tools.store.read() as tx:
            groups = await tx.groups.list_of_user(user.id)
            servers = await tx.servers.list_of_user(user.id)
        return self._tools.views.user(user, groups=groups, servers=servers)

    async def _owner(self, server: Server) -> User:
        async with self._tools.store.read() as tx:
            user = await tx.users.find_by_id(server.user_id)
        if user is None:
            raise LeaseLost(f"the owner of {self.key} is gone")
        return user


async def _call(what: str, function: Callable[..., Any], /, *args: Any) -> Any:
    """Call a plugin, which may be slow but shall not keep its server from ever changing again."""
    try:
        async with asyncio.timeout(PLUGIN_LIMIT_S) as limit:
            return await call(what, function, *args)
    except TimeoutError:
        if not limit.expired():
            raise  # of the plugin's own
        raise TimeoutError(f"{what} did not end within {PLUGIN_LIMIT_S:g} s") from None


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel a task that runs a plugin's code and wait for its end, but not for ever."""
    task.cancel()
    await asyncio.wait({task}, timeout=MOST_RELUCTANCE_S)


def ready_event(url: str) -> dict[str, Json]:
    """The last event of a start that went well."""
    return {
        "progress": 100,
        "ready": True,
        "message": f"Server ready at {url}",
        "html_message": f'Server ready at <a href="{url}">{url}</a>',
        "url": url,
    }


def failed_event(failure: Failure | None) -> dict[str, Json]:
    """The last event of a start that did not; without a failure it was cancelled."""
    if failure is None:
        return {"progress": 100, "failed": True, "message": "Spawn cancelled"}
    message = failure.public_message or failure.message
    event = {"progress": 100, "failed": True, "message": f"Spawn failed: {message}" if message else "Spawn failed"}
    if failure.html_message:
        event["html_message"] = failure.html_message
    return event


def _endpoint(given: Any, spawner: Any, base_url: str) -> Endpoint:
    """Read what ``Spawner.start`` or ``get_url`` gave: a URL, an (ip, port) pair, or nothing (old ones set fields)."""
    if isinstance(given, str) and given:
        parts = urlsplit(given)
        proto = parts.scheme or "http"
        port = parts.port or (443 if proto == "https" else 80)
        return Endpoint(proto=proto, ip=parts.hostname or "", port=port, base_url=base_url)
    if isinstance(given, Sequence) and len(given) == 2:
        proto = "https" if getattr(spawner, "internal_ssl", False) else "http"
        return Endpoint(proto=proto, ip=str(given[0] or ""), port=int(given[1]), base_url=base_url)
    server = spawner.server
    if server is None or not server.port:
        raise RuntimeError(f"{type(spawner).__name__}.start returned {given!r} instead of a URL or an (ip, port) pair")
    return Endpoint(proto=server.proto or "http", ip=server.ip or "", port=int(server.port), base_url=base_url)
