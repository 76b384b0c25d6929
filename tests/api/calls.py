"""The API's handlers behind a real HTTP server, and a client for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application

from jupyterhub.hub.web import urls
from jupyterhub.hub.web.access_log import log_request

from .house_of_tests import SmallHouse


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
    routes = urls.table(house.settings, plugin_handlers=())
    application = Application(routes, house=house, cookie_secret=house.settings.cookie_secret, log_function=log_request)
    socket, port = bind_unused_port()
    server = HTTPServer(application)
    server.add_socket(socket)
    root = await house.service_with(
        "root",
        *("admin:users", "admin:servers", "admin:groups", "admin:services", "tokens", "proxy", "shutdown"),
        *("read:hub", "read:metrics", "shares", "read:roles"),
    )
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}{house.settings.hub_prefix}api/") as client:
        yield Api(house, client, root)
    server.stop()
    await server.close_all_connections()
