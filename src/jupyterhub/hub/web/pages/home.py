"""The home page: what a person has, and what they can do with it."""

from __future__ import annotations

from jupyterhub.hub import addresses
from jupyterhub.hub.plugin_views import ServerView, server_view
from jupyterhub.hub.servers import named
from jupyterhub.hub.web.entry import needs_login
from jupyterhub.hub.web.handler import HubHandler
from jupyterhub.words.names import ServerKey
from jupyterhub.words.urls import url_path_join


class HomeHandler(HubHandler):
    """``GET hub/home``"""

    metrics_name = "jupyterhub.handlers.pages.HomeHandler"

    @needs_login
    async def get(self) -> None:
        house, settings = self.house, self.house.settings
        user = self.user
        # A dead server shall be noticed now, not at the next poll: whoever looks here wants to know.
        await house.servers.check(ServerKey(user.name))
        servers = await house.servers.list_of(user)
        view = house.views.user(user)
        views = {s.key.name: server_view(s, addresses.server_url(settings, s.key), view) for s in servers}
        default = views.get("") or _never_started(addresses.server_url(settings, ServerKey(user.name)))
        spawn_url = f"{settings.hub_prefix}spawn/{view.escaped_name}"
        limit = await named.resolve_limit(settings.named_server_limit_per_user, self)
        await self.render_page(
            "home.html",
            url=default.url if default.active else spawn_url,
            allow_named_servers=settings.allow_named_servers,
            named_server_limit_per_user=limit,
            url_path_join=url_path_join,
            spawners=views,
            named_spawners=[v for name, v in views.items() if name],
            default_server=default,
            auth_state=await self.auth_state(),
            invalid_server_names=[],
        )


def _never_started(url: str) -> ServerView:
    return ServerView(
        name="",
        display_name="",
        ready=False,
        pending=None,
        active=False,
        started=None,
        last_activity=None,
        user_options=None,
        url=url,
    )
