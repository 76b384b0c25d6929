"""What people find at ``/user/…`` when no server answers there, and ``/user-redirect/…`` (pages.md §2, §5)."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from tornado.web import HTTPError

from jupyterhub.hub import addresses
from jupyterhub.hub.plugin_calls import call
from jupyterhub.hub.web.entry import needs_login
from jupyterhub.hub.web.handler import HubHandler
from jupyterhub.rbac.scope_set import Target
from jupyterhub.words.errors import NotFound
from jupyterhub.words.models import Server, User
from jupyterhub.words.names import ServerKey, escape_user
from jupyterhub.words.urls import server_path


class UserUrlHandler(HubHandler):
    """``hub/user/{name}/…``: the server behind this address is not running, or the proxy does not know it yet."""

    accepts_token = True
    #: people who only look at the page of a stopped server do not use it
    counts_as_activity = False
    metrics_name = "jupyterhub.handlers.base.UserUrlHandler"

    @needs_login
    async def get(self, user_name: str, rest: str = "") -> None:
        server_name = rest.strip("/").split("/")[0] if rest else ""
        await self._check_access(user_name, server_name)
        async with self.house.store.read() as tx:
            user = await tx.users.find(user_name)
        if user is None:
            raise NotFound()
        key, server = await self._server_at(user, server_name)
        if server is not None and server.is_ready:
            await self._send_back(key)
            return
        spawn_url = self._spawn_url(key)
        if self._wants_json(rest):
            self._answer_json(spawn_url)
            return
        if server is not None and (server.is_active or server.failure is not None):
            query = urlencode({"next": self.request.uri or ""})
            self.redirect(f"{self.house.settings.hub_prefix}spawn-pending/{_tail(key)}?{query}", status=303)
            return
        self.set_status(self._stopped_status)
        await self.render_page(
            "not_running.html",
            server_name=key.name,
            spawn_url=f"{spawn_url}?{urlencode({'next': self.request.uri or ''})}",
            auth_state=await self.auth_state(),
            implicit_spawn_seconds=self.house.settings.implicit_spawn_seconds,
            failed=False,
            failed_message="",
            failed_html_message="",
            exception=None,
        )

    async def _fail(self, user_name: str, rest: str = "") -> None:
        """Programs that do not GET get the answer of a stopped server, whoever they are."""
        self._answer_json(self._spawn_url(ServerKey(user_name)))

    post = patch = delete = _fail

    async def _check_access(self, user_name: str, server_name: str) -> None:
        """Without access the page does not tell whether there is such a user or server: 404 for all of them."""
        assert self.requester is not None
        async with self.house.store.read() as tx:
            known = await tx.groups.groups_of_names([user_name])
        groups = known.get(user_name, frozenset())
        for name in {"", server_name}:
            if self.requester.may("access:servers", Target(user=user_name, user_groups=groups, server=name)):
                return
        raise NotFound()

    async def _server_at(self, user: User, first_segment: str) -> tuple[ServerKey, Server | None]:
        if first_segment and self.house.settings.allow_named_servers:
            named = ServerKey(user.name, first_segment)
            if (server := await self.house.servers.find(named)) is not None:
                return named, server
        key = ServerKey(user.name)
        return key, await self.house.servers.find(key)

    async def _send_back(self, key: ServerKey) -> None:
        """The server is ready, so the proxy lags behind or the server sends people to us: try again, not for ever."""
        settings = self.house.settings
        parts = urlsplit(self.request.uri or "")
        arguments = parse_qsl(parts.query, keep_blank_values=True)
        count_text = dict(arguments).get("redirects", "0")
        count = int(count_text) if count_text.isdigit() else 0
        if count:
            self.log.warning("redirect loop on %s (%i)", parts.path, count)
        if count >= settings.user_redirect_limit:
            raise HTTPError(500, "Redirect loop detected. Start a new server or tell the administrators of this hub.")
        if count:
            await asyncio.sleep(min(10.0, 0.1 * 2**count))
        arguments = [(name, value) for name, value in arguments if name != "redirects"]
        arguments.append(("redirects", str(count + 1)))
        path = settings.base_url + parts.path.removeprefix(settings.hub_prefix)
        domain = addresses.user_domain(settings, key.user)
        origin = addresses.origin_of(settings, domain) if domain else ""
        self.redirect(origin + urlunsplit(("", "", path, urlencode(arguments), "")))

    def _spawn_url(self, key: ServerKey) -> str:
        return f"{self.house.settings.hub_prefix}spawn/{_tail(key)}"

    def _wants_json(self, rest: str) -> bool:
        return "api" in rest.split("/") or self.prefers_json()

    @property
    def _stopped_status(self) -> int:
        return 503 if self.house.settings.use_legacy_stopped_server_status_code else 424

    def _answer_json(self, spawn_url: str) -> None:
        path = (self.request.path or "").removeprefix(self.house.settings.hub_prefix)
        full = f"{self.request.protocol}://{self.request.host}{spawn_url}"
        self.log.debug("a program asked for %s of a server that is not running", path)
        self.set_status(self._stopped_status)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"message": f"JupyterHub: server not running at /{path.lstrip('/')}. Start it: {full}"}))


class UserRedirectHandler(HubHandler):
    """``hub/user-redirect/{path}``: a link for everybody that leads each to a place in their own server."""

    metrics_name = "jupyterhub.handlers.pages.UserRedirectHandler"

    @needs_login
    async def get(self, path: str) -> None:
        settings = self.house.settings
        user = self.user
        if settings.user_redirect_hook is not None:
            url = await call(
                "JupyterHub.user_redirect_hook",
                settings.user_redirect_hook,
                path,
                self.request,
                self.user_view,
                settings.base_url,
            )
            if url:
                self.redirect(url)
                return
        server_name = settings.default_server_name if settings.allow_named_servers else ""
        key = ServerKey(user.name, server_name)
        target = server_path(settings.base_url, key) + path.lstrip("/")
        if self.request.query:
            target += "?" + self.request.query
        self.redirect(f"{settings.hub_prefix}spawn/{_tail(key)}?{urlencode({'next': target})}")


def _tail(key: ServerKey) -> str:
    return f"{escape_user(key.user)}/{escape_user(key.name)}" if key.name else escape_user(key.user)
