"""The driver of one server on this hub: follows the server's row and makes it so.

A driver is one task with one Spawner object and one lease. It reads the row, does what its phase asks for (start,
check, watch, stop), writes what became of it, and reads again. Whoever wants something writes the row and announces it;
nobody calls a driver. When the lease is gone it lets go and touches nothing.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.hub import addresses
from jupyterhub.hub.plugin_calls import call
from jupyterhub.hub.plugin_views import UserView, Views
from jupyterhub.hub.requesters import Requesters
from jupyterhub.hub.routes import Routes
from jupyterhub.hub.settings import HubSettings
from jupyterhub.hub.spawners import Spawners
from jupyterhub.hub.store.notices import Notices, server_topic
from jupyterhub.hub.store.store import Store, Transaction
from jupyterhub.rbac.grants import server_token_request
from jupyterhub.rbac.scopes import ScopeRegistry
from jupyterhub.words.clock import utcnow
from jupyterhub.words.errors import LeaseLost
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
#: begin an unfinished start again this often after hubs died in it; then it has failed
MOST_ATTEMPTS = 2

#: where the failed starts in a row are counted
FAILURES = "consecutive_spawn_failures"

REQUESTED: Mapping[str, Json] = {"progress": 0, "message": "Server requested"}


def wanted_topic(server_id: int) -> str:
    """Announced when somebody wants something else of a server; its driver listens."""
    return f"wanted:{server_id}"


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


class Driver:
    """Drives one server under one lease. ``run`` ends when the server has stopped or the lease is lost."""

    def __init__(self, server: Server, lease: Lease, *, tools: Tools, handler: Any = None) -> None:
        self.key, self.lease = server.key, lease
        #: the live plugin object; None until ``run`` has built it
        self.spawner: Any = None
        self._tools, self._handler = tools, handler
        self._client_id = server.oauth_client_id or oauth_client_id(server.key)

    # -- the loop

    async def run(self) -> None:
        try:
            while (server := await self._read()) is not None and server.phase is not Phase.STOPPED:
                if self.spawner is None:
                    self.spawner = await self._build(server)
                match server.phase:
                    case Phase.STARTING:
                        await self._unless_wanted_otherwise(self._start(server))
                    case Phase.CHECKING:
                        await self._unless_wanted_otherwise(self._check(server))
                    case Phase.READY:
                        await self._watch()
                    case Phase.STOPPING:
                        await self._stop(server)
        except LeaseLost:
            log.warning("%s: another hub drives this server now", self.key)
        except asyncio.CancelledError:
            raise
        except Exception:
            # Our bug or a broken database. The row says what is wanted; the reconciler makes a new driver for it.
            log.exception("%s: the driver failed", self.key)
            await asyncio.sleep(1)

    async def _read(self) -> Server | None:
        """The row as it is now; None when this driver has nothing to say any more."""
        async with self._tools.store.read() as tx:
            server = await tx.servers.find_by_id(self.lease.server_id)
        if server is None or server.generation != self.lease.generation or server.hub_id != self.lease.hub_id:
            return None
        return server

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
            server = await self._read()
            if server is None or server.phase is Phase.STOPPING:
                return
            await wait(within_s=SLOW_LOOK_S)

    def _announce(self) -> None:
        self._tools.notices.announce(server_topic(self.lease.server_id))

    # -- starting

    async def _start(self, server: Server) -> None:
        began = time.monotonic()
        try:
            if await self._is_resumed(server):
                return
            await self._begin(server)
        except LeaseLost:
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
        if attempts <= 1:
            return False
        if await self._poll() is None:
            if server.endpoint is not None:
                log.info("%s: going on with a start that another hub began", self.key)
                await self._become_ready(server.endpoint, was=Phase.STARTING)
                return True
            await call("Spawner.stop", self.spawner.stop)
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
        spawner._spawn_pending = True
        spawner.handler = self._handler
        spawner.user_options = dict(server.user_options or {})
        spawner.clear_state()
        await self._give_credentials(user_model, server)
        tools.spawners.set_endpoint(
            spawner, Endpoint(proto="http", ip="", port=0, base_url=tools.views.server_path(self.key))
        )
        await call("Authenticator.pre_spawn_start", tools.authenticator.pre_spawn_start, user, spawner)
        if spawner.auth_state_hook is not None:
            await call("Spawner.auth_state_hook", spawner.run_auth_state_hook, await user.get_auth_state())
        await call("Spawner.group_overrides", spawner.apply_group_overrides)
        await self._apply_user_options(spawner)
        await call("Spawner.pre_spawn_hook", spawner.run_pre_spawn_hook)

        recorder = asyncio.create_task(self._record_progress(), name=f"progress of {self.key}")
        try:
            endpoint = await self._run_spawner(spawner)
            await self._become_ready(endpoint, was=Phase.STARTING, recorder=recorder)
        finally:
            recorder.cancel()
            await asyncio.gather(recorder, return_exceptions=True)

    async def _give_credentials(self, user: User, server: Server) -> None:
        tools, spawner = self._tools, self.spawner
        requested = spawner.server_token_scopes
        if callable(requested):
            requested = await call("Spawner.server_token_scopes", requested, spawner)
        client_scopes = await call("Spawner.oauth_client_allowed_scopes", spawner.resolve_oauth_client_allowed_scopes)
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
        spawner.api_token = given.api_token

    async def _apply_user_options(self, spawner: Any) -> None:
        """Run ``apply_user_options``; whatever it raises that is no HTTP error means that the options are wrong."""
        try:
            await call("Spawner.apply_user_options", spawner.run_apply_user_options, spawner.user_options)
        except Exception as error:
            if not hasattr(error, "status_code"):
                error.status_code = 400  # type: ignore[attr-defined]  # read by failures.judge
                error.log_message = str(error)  # type: ignore[attr-defined]
            raise

    async def _run_spawner(self, spawner: Any) -> Endpoint:
        """Call ``start`` within its time limit and keep what it gives, and its state, at once."""
        tools = self._tools
        spawner._start_pending = True
        spawner.save_state_early = self._save_state
        limit_s = float(spawner.start_timeout)
        try:
            async with asyncio.timeout(limit_s):
                given = await call("Spawner.start", spawner.start)
        except TimeoutError:
            raise TimeoutError(f"the server did not start within {limit_s:g} s") from None
        finally:
            spawner._start_pending = False
        endpoint = _endpoint(given, spawner, tools.views.server_path(self.key))
        tools.spawners.set_endpoint(spawner, endpoint)
        async with tools.store.begin() as tx:
            await tx.servers.set_endpoint(self.lease, endpoint, spawner.get_state() or {})
        return endpoint

    async def _save_state(self) -> None:
        """For spawners whose server can be found again before ``start`` returns: keep their state now."""
        async with self._tools.store.begin() as tx:
            await tx.servers.save_state(self.lease, self.spawner.get_state() or {})

    async def _become_ready(
        self, endpoint: Endpoint, *, was: Phase, recorder: asyncio.Task[None] | None = None
    ) -> None:
        """Wait until the server answers, give it its route, mark it ready."""
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
        await tools.routes.add_server(self.key, endpoint)
        ready = await self._ready_event()
        if recorder is not None:
            # what the spawner still has to say comes too late: the ready event is the last
            recorder.cancel()
            await asyncio.gather(recorder, return_exceptions=True)
        try:
            async with tools.store.begin() as tx:
                await tx.servers.mark_ready(self.lease, now=utcnow(), was=was)
                await tx.servers.add_event(self.lease, ready, now=utcnow())
                if spawner.consecutive_failure_limit > 0:
                    await tx.facts.remove(FAILURES)
        except LeaseLost:
            await tools.routes.delete_server(self.key)
            raise
        spawner._spawn_pending = spawner._check_pending = False
        self._announce()

    async def _still_runs(self) -> bool:
        return await self._poll() is None

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
        except Exception:
            log.exception("%s: Spawner.progress failed; the start goes on", self.key)

    async def _ready_event(self) -> dict[str, Json]:
        url = addresses.server_url(self._tools.settings, self.key)
        event = ready_event(url)
        hook = getattr(self.spawner, "progress_ready_hook", None)
        if hook is None:
            return event
        try:
            changed = await call("Spawner.progress_ready_hook", hook, self.spawner, dict(event))
        except Exception:
            log.exception("%s: Spawner.progress_ready_hook failed", self.key)
            return event
        return changed if isinstance(changed, dict) else event

    async def _fail(self, error: Exception, *, took_s: float) -> None:
        verdict: Verdict = judge(error)
        self._tools.observer.failed(self.key, error, verdict, took_s=took_s)
        self.spawner._failed = True
        async with self._tools.store.begin() as tx:
            await tx.servers.mark_stopping(self.lease, now=utcnow(), failure=verdict.failure)
            failures = await self._count_failure(tx) if verdict.status == "error" else 0
        limit = int(self.spawner.consecutive_failure_limit) if self.spawner is not None else 0
        if 0 < limit <= failures:
            self._tools.observer.failed_too_often(failures)

    async def _count_failure(self, tx: Transaction) -> int:
        """Count a start that failed, in all hubs together, if anybody has set a limit; give how many in a row."""
        if self.spawner is None or self.spawner.consecutive_failure_limit <= 0:
            return 0
        failures = int(await tx.facts.get(FAILURES) or 0) + 1
        await tx.facts.set(FAILURES, failures)
        return failures

    # -- taken over

    async def _check(self, server: Server) -> None:
        """Find out whether a server that was ready under another hub still lives."""
        self.spawner._check_pending = True
        try:
            alive = server.endpoint is not None and await self._poll() is None
            if alive:
                await self._answers_still(server)
                return
            log.warning("%s: the server ended while no hub watched it", self.key)
        except LeaseLost:
            raise
        except Exception as error:
            log.warning("%s: the server cannot be taken over: %s", self.key, error or type(error).__name__)
        finally:
            self.spawner._check_pending = False
        async with self._tools.store.begin() as tx:
            await tx.servers.mark_stopping(self.lease, now=utcnow())
        self._announce()

    async def _answers_still(self, server: Server) -> None:
        endpoint = server.endpoint
        assert endpoint is not None
        url = await call("Spawner.get_url", self.spawner.get_url)
        current = _endpoint(url, self.spawner, endpoint.base_url) if url else endpoint
        if (current.proto, current.ip, current.port) != (endpoint.proto, endpoint.ip, endpoint.port):
            endpoint = current
            self._tools.spawners.set_endpoint(self.spawner, endpoint)
            async with self._tools.store.begin() as tx:
                await tx.servers.set_endpoint(self.lease, endpoint, self.spawner.get_state() or {})
        await self._become_ready(endpoint, was=Phase.CHECKING)
        log.info("%s: still running", self.key)

    # -- running

    async def _watch(self) -> None:
        """Poll a ready server until it has ended or something else is wanted."""
        spawner = self.spawner
        interval_s = float(spawner.poll_interval)
        # spread over the interval: a thousand servers taken over at once shall not be polled at once for ever
        pause_s = random.uniform(0.1, 1.0) * interval_s if interval_s > 0 else SLOW_LOOK_S
        next_poll = time.monotonic() + pause_s
        with self._tools.notices.watch(wanted_topic(self.lease.server_id)) as watch:
            while True:
                server = await self._read()
                if server is None or server.phase is not Phase.READY:
                    return
                pause_s = max(0.0, next_poll - time.monotonic()) if interval_s > 0 else 3600
                if await watch.wait(within_s=pause_s):
                    continue
                if await self._has_ended():
                    return
                next_poll = time.monotonic() + interval_s * random.uniform(0.9, 1.1)

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
        async with self._tools.store.begin() as tx:
            await tx.servers.mark_stopping(self.lease, now=utcnow())
        self._announce()
        return True

    async def look(self) -> None:
        """Poll now, on request: the person at the home page shall not wait for the next round."""
        if self.spawner is None:
            return
        server = await self._read()
        if server is not None and server.phase is Phase.READY and await self._has_ended():
            self._tools.notices.announce(wanted_topic(self.lease.server_id))

    async def _poll(self) -> int | None:
        return await call("Spawner.poll", self.spawner.poll)  # type: ignore[no-any-return]

    async def _run_poll_callbacks(self) -> None:
        for callback in list(getattr(self.spawner, "_callbacks", ())):
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
            if await self._poll() is None:
                await call("Spawner.stop", spawner.stop)
        except Exception as error:
            if await self._runs_on(server, error):
                return
        await self._end(server)
        tools.observer.stopped(self.key, took_s=time.monotonic() - began)

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
        if not runs or server.endpoint is None:
            return False
        await self._tools.routes.add_server(self.key, server.endpoint)
        async with self._tools.store.begin() as tx:
            await tx.servers.mark_ready(self.lease, now=utcnow(), was=Phase.STOPPING)
        self._announce()
        return True

    async def _end(self, server: Server) -> None:
        tools, spawner = self._tools, self.spawner
        if not spawner.will_resume:
            async with tools.store.begin() as tx:
                await credentials.revoke(
                    tx,
                    user_id=server.user_id,
                    server_path=tools.views.server_path(self.key),
                    client_id=self._client_id,
                )
        await self._quietly("Spawner.post_stop_hook", spawner.run_post_stop_hook)
        spawner.clear_state()
        state = spawner.get_state() or {}
        tools.spawners.set_endpoint(spawner, None)
        spawner._stop_pending = False
        async with tools.store.begin() as tx:
            told = await tx.servers.events_from(server.id, server.generation, 0)
            if told and not told[-1].is_last:
                await tx.servers.add_event(self.lease, failed_event(server.failure), now=utcnow())
            removed = await tx.servers.is_to_be_removed(server.id)
            await tx.servers.mark_stopped(self.lease, state=state, now=utcnow())
        await self._quietly("Authenticator.post_spawn_stop", tools.authenticator.post_spawn_stop, spawner.user, spawner)
        if removed:
            await self._quietly("Spawner.delete_forever", spawner.delete_forever)
            async with tools.store.begin() as tx:
                await tx.servers.delete(server.id)
        self._announce()

    async def _quietly(self, what: str, function: Callable[..., Any], *args: Any) -> None:
        try:
            await call(what, function, *args)
        except Exception:
            log.exception("%s: %s failed", self.key, what)

    # --

    async def _build(self, server: Server) -> Any:
        user = await self._owner(server)
        tools = self._tools
        async with tools.store.read() as tx:
            groups = await tx.groups.list_of_user(user.id)
            servers = await tx.servers.list_of_user(user.id)
        view = tools.views.user(user, groups=groups, servers=servers)
        return tools.spawners.build(server, view)

    async def _owner(self, server: Server) -> User:
        async with self._tools.store.read() as tx:
            user = await tx.users.find_by_id(server.user_id)
        if user is None:
            raise LeaseLost(f"the owner of {self.key} is gone")
        return user


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
