"""Which routes the proxy should have, and telling it so.

The wanted routes follow from ready rows, never the other way (invariant I3): a proxy that lost its table, or a new one
beside it, gets all of them from ``check``. ``add_server`` and ``delete_server`` only make the next step faster.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping
from typing import Any

from jupyterhub.words.clock import utcnow
from jupyterhub.words.models import Endpoint, Phase
from jupyterhub.words.names import ServerKey

from . import addresses, metrics
from .plugin_calls import call
from .servers.probe import origin
from .settings import HubSettings
from .store.store import Store

log = logging.getLogger("jupyterhub.routes")

#: a check that changed something looks again, so often at most
MOST_LOOKS = 3

#: (target, data) by routespec
Wanted = dict[str, tuple[str, dict[str, Any]]]


class Routes:
    """The routes of this cluster in the proxy that ``proxy`` (a plugin) drives."""

    def __init__(self, *, proxy: Any, store: Store, settings: HubSettings) -> None:
        self.proxy = proxy
        self._store, self._settings = store, settings
        self._one_check_at_a_time = asyncio.Lock()

    # -- one route

    async def add_server(self, key: ServerKey, endpoint: Endpoint) -> None:
        spec, target = addresses.server_routespec(self._settings, key), origin(endpoint)
        log.info("Adding user %s to proxy %s => %s", key.user, spec, target)
        began = time.monotonic()
        try:
            await call("Proxy.add_route", self.proxy.add_route, spec, target, _server_data(key))
        except Exception:
            metrics.PROXY_ADD_DURATION_SECONDS.labels(status="failure").observe(time.monotonic() - began)
            raise
        metrics.PROXY_ADD_DURATION_SECONDS.labels(status="success").observe(time.monotonic() - began)

    async def delete_server(self, key: ServerKey) -> None:
        """Take a server's route. A proxy that does not answer shall not keep a server from being stopped."""
        spec = addresses.server_routespec(self._settings, key)
        log.info("Removing user %s from proxy (%s)", key.user, spec)
        began = time.monotonic()
        try:
            await call("Proxy.delete_route", self.proxy.delete_route, spec)
        except Exception as error:
            metrics.PROXY_DELETE_DURATION_SECONDS.labels(status="failure").observe(time.monotonic() - began)
            log.warning("route %s is left to the next check: %s", spec, error or type(error).__name__)
        else:
            metrics.PROXY_DELETE_DURATION_SECONDS.labels(status="success").observe(time.monotonic() - began)

    async def add_service(self, name: str, endpoint: Endpoint) -> None:
        spec = addresses.service_routespec(self._settings, name)
        await call("Proxy.add_route", self.proxy.add_route, spec, origin(endpoint), {"service": name})

    async def delete_service(self, name: str) -> None:
        spec = addresses.service_routespec(self._settings, name)
        await call("Proxy.delete_route", self.proxy.delete_route, spec)

    async def add_hub(self) -> None:
        settings = self._settings
        await call("Proxy.add_route", self.proxy.add_route, settings.hub_routespec, settings.hub_origin, {"hub": True})

    # -- all of them

    async def all(self) -> dict[str, dict[str, Any]]:
        """Give the hub's routes as the proxy has them: routespec, target and data, by routespec."""
        began = time.monotonic()
        routes = await call("Proxy.get_all_routes", self.proxy.get_all_routes)
        metrics.PROXY_POLL_DURATION_SECONDS.observe(time.monotonic() - began)
        return dict(routes)

    async def check(self, actual: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """Make the proxy's table what the rows say. Routes of servers that are starting or stopping are left alone.

        Drivers, here and on other hubs, go on beside this: what was changed is looked at once more.
        """
        async with self._one_check_at_a_time:
            began = time.monotonic()
            for _ in range(MOST_LOOKS):
                if actual is None:
                    actual = await self.all()
                if not await self._correct(actual):
                    break
                actual = None
            metrics.CHECK_ROUTES_DURATION_SECONDS.observe(time.monotonic() - began)

    async def _correct(self, actual: Mapping[str, Mapping[str, Any]]) -> bool:
        """Change what differs from the rows; say whether anything did."""
        wanted, in_motion = await self._wanted()
        changes = []
        for spec, (target, data) in wanted.items():
            found = actual.get(spec)
            if found is None or found.get("target") != target:
                if found is not None:
                    log.warning("route %s leads to %s instead of %s", spec, found.get("target"), target)
                changes.append(call("Proxy.add_route", self.proxy.add_route, spec, target, data))
        stale = actual.keys() - wanted.keys() - in_motion
        for spec in stale:
            log.warning("deleting stale route %s", spec)
            changes.append(call("Proxy.delete_route", self.proxy.delete_route, spec))
        for result in await asyncio.gather(*changes, return_exceptions=True):
            if isinstance(result, BaseException):
                log.error("the proxy refused a route", exc_info=result)
        if stale:
            await self._give_back(stale)
        return bool(changes)

    async def _give_back(self, deleted: Collection[str]) -> None:
        """Give servers that were started while their old route was deleted the new one, which may have gone with it."""
        async with self._store.read() as tx:
            servers = await tx.servers.list_in([Phase.STARTING])
        for server in servers:
            if server.endpoint is not None and addresses.server_routespec(self._settings, server.key) in deleted:
                await self.add_server(server.key, server.endpoint)

    async def _wanted(self) -> tuple[Wanted, set[str]]:
        settings = self._settings
        wanted: Wanted = {settings.hub_routespec: (settings.hub_origin, {"hub": True})}
        in_motion: set[str] = set()
        async with self._store.read() as tx:
            servers = await tx.servers.list_in([phase for phase in Phase if phase is not Phase.STOPPED])
            services = await tx.services.list()
        for server in servers:
            spec = addresses.server_routespec(settings, server.key)
            if server.is_ready and server.endpoint is not None:
                wanted[spec] = (origin(server.endpoint), _server_data(server.key))
            else:
                in_motion.add(spec)
        for service in services:
            if service.endpoint is not None:
                spec = addresses.service_routespec(settings, service.name)
                wanted[spec] = (origin(service.endpoint), {"service": service.name})
        for spec, target in self.proxy.extra_routes.items():
            wanted[spec] = (target, {"extra": True})
        return wanted, in_motion

    def use_proxy_at(self, *, api_url: str | None, auth_token: str | None) -> None:
        """Talk to the proxy at another address, or with another token, from now on (``PATCH /proxy``)."""
        if api_url is not None:
            self.proxy.api_url = api_url
        if auth_token is not None:
            self.proxy.auth_token = auth_token

    # -- activity

    async def pull_activity(self) -> None:
        """Note in the rows what the proxy saw of each server since the last time, and check all routes with it."""
        actual = await self.all()
        now = utcnow()
        async with self._store.read() as tx:
            ready = await tx.servers.list_in([Phase.READY])
        seen = []
        for server in ready:
            route = actual.get(addresses.server_routespec(self._settings, server.key))
            when = _activity(route, now) if route else None
            if when is not None and (server.last_activity is None or when > server.last_activity):
                seen.append((server, when))
        async with self._store.begin() as tx:
            # users before servers, as Activity writes them: two hubs that lock in different orders wait for each other
            await tx.users.touch_many([(server.user_id, when) for server, when in seen])
            await tx.servers.touch_many([(server.id, when) for server, when in seen])
        await self.check(actual)


def _server_data(key: ServerKey) -> dict[str, Any]:
    return {"user": key.user, "server_name": key.name}


def _activity(route: Mapping[str, Any], now: Any) -> Any:
    """The time of last activity that a proxy reports, None if it reports none or one that cannot be."""
    from dateutil.parser import isoparse  # only proxies that report activity need it

    text = route.get("data", {}).get("last_activity")
    if not text:
        return None
    try:
        when = isoparse(text)
    except (TypeError, ValueError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=now.tzinfo)
    return min(when, now)
