"""The page on which a share code becomes a share (pages.md §6)."""

from __future__ import annotations

from tornado.web import HTTPError

from jupyterhub.hub import addresses
from jupyterhub.hub.plugin_views import server_view
from jupyterhub.hub.web.entry import needs_login
from jupyterhub.hub.web.handler import HubHandler
from jupyterhub.rbac.descriptions import describe


class AcceptShareHandler(HubHandler):
    """``GET, POST hub/accept-share?code=…``"""

    metrics_name = "jupyterhub.handlers.pages.AcceptShareHandler"

    @needs_login
    async def get(self) -> None:
        secret = self.get_argument("code", "")
        if not secret:
            raise HTTPError(400, "The link is incomplete: it has no code.")
        code = await self.house.shares.find_code(secret)
        if code is None:
            raise HTTPError(404, "There is no such code, or it has expired. Ask for a new link.")
        if code.server.user == self.user.name:
            raise HTTPError(403, "You cannot share a server with yourself.")
        house = self.house
        server = await house.servers.find(code.server)
        if server is None:
            raise HTTPError(404)
        async with house.store.read() as tx:
            owner = await tx.users.find(code.server.user)
        assert owner is not None
        url = addresses.server_url(house.settings, code.server)
        await self.render_page(
            "accept-share.html",
            code=secret,
            owner=house.views.user(owner),
            spawner=server_view(server, url),
            spawner_ready=server.is_ready,
            spawner_url=url,
            scope_descriptions=describe(code.scopes, house.registry, user=self.user.name, say=self.say),
            next_url=self.next_argument or house.views.server_path(code.server),
        )

    @needs_login
    async def post(self) -> None:
        share = await self.house.shares.accept_code(self.get_argument("code", ""), self.user)
        # The code in this address must not travel on to somebody else's server.
        self.redirect(self.next_argument or self.house.views.server_path(share.server))
