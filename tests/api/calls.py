"""The API's handlers behind a real HTTP server, and a client for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application

from jupyterhub.hub.web.access_log import log_request
from jupyterhub.hub.web.api import (
    groups,
    hub,
    legacy,
    not_found,
    proxy,
    servers,
    services,
    shares,
    tokens,
    users,
    whoami,
)
from jupyterhub.hub.web.oauth.metadata import WELL_KNOWN, MetadataHandler

from .house_of_tests import SmallHouse

MODULES = [hub, whoami, users, servers, tokens, groups, services, shares, proxy, legacy, not_found]


class Api:
    def __init__(self, house: SmallHouse, client: httpx.AsyncClient, root: str) -> None:
        self.house, self._client, self.root = house, client, root

    async def __call__(self, method: str, path: str, *, token: str | None = "root", **options: Any) -> httpx.Response:
        """Ask as ``root``, a service that may do everything, unless another token or None is given."""
        headers = dict(options.pop("headers", {}))
        if token is not None:
            headers.setdefault("Authorization", f"token {self.root if token == 'root' else token}")
        return await self._client.request(method, path, headers=headers, **options)


@asynccontextmanager
async def serving(house: SmallHouse) -> AsyncIterator[Api]:
    routes = [(f"/hub/api{path}", handler) for module in MODULES for path, handler in module.HANDLERS]
    routes += [(f"/hub{path}", handler) for path, handler in [*hub.PAGE_HANDLERS, (WELL_KNOWN, MetadataHandler)]]
    application = Application(routes, house=house, cookie_secret=house.settings.cookie_secret, log_function=log_request)
    socket, port = bind_unused_port()
    server = HTTPServer(application)
    server.add_socket(socket)
    root = await house.service_with(
        "root",
        *("admin:users", "admin:servers", "admin:groups", "admin:services", "tokens", "proxy", "shutdown"),
        *("read:hub", "read:metrics", "shares", "read:roles"),
    )
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/hub/api/") as client:
        yield Api(house, client, root)
    server.stop()
    await server.close_all_connections()
