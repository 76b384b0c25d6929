"""The home page: what a person has, and what they can do with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from jupyterhub.hub import addresses
from jupyterhub.hub.plugin_views import ServerView, server_view
from jupyterhub.hub.servers import named
from jupyterhub.hub.web.entry import needs_login
from jupyterhub.hub.web.handler import HubHandler
from jupyterhub.rbac.scope_set import Target
from jupyterhub.words.models import Window
from jupyterhub.words.names import ServerKey
from jupyterhub.words.urls import url_path_join


@dataclass(frozen=True)
class SharedView:
    """Somebody else's server, as the page shows it."""

    owner: str
    server_name: str
    #: the group by which it is shared; None: with the user alone
    group: str | None
    ready: bool
    created_at: datetime | None
    url: str


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
        failures = {s.key.name: s.failure.public_message for s in servers if s.failure is not None}
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
            failures=failures,
            may_share=self._may("shares"),
            may_leave=self._may("users:shares"),
            shared_with_me=await self._shared_with_me(),
        )

    def _may(self, scope: str) -> bool:
        assert self.requester is not None
        return self.requester.may(scope, Target(user=self.user.name))

    async def _shared_with_me(self) -> list[SharedView]:
        """What others share with the user, and with the groups of the user; by owner."""
        shares = self.house.shares
        found, _ = await shares.list_for_user(self.user.name, Window())
        view = self.user_view
        for group in view.groups if view is not None else ():
            found = [*found, *(await shares.list_for_group(group.name, Window()))[0]]
        others = {share.server: share for share in reversed(found) if share.server.user != self.user.name}
        settings = self.house.settings
        return [
            SharedView(
                owner=key.user,
                server_name=key.name,
                group=share.group,
                ready=share.is_ready,
                created_at=share.created_at,
                url=addresses.server_url(settings, key),
            )
            for key, share in sorted(others.items(), key=lambda pair: (pair[0].user, pair[0].name))
        ]


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
