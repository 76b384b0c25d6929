"""The admin page: a frame; its table is filled through the REST API."""

from __future__ import annotations

from jupyterhub.hub.servers import named
from jupyterhub.hub.web.entry import needs_scope
from jupyterhub.hub.web.handler import HubHandler
from jupyterhub.words.version import __version__


class AdminHandler(HubHandler):
    """``GET hub/admin``"""

    metrics_name = "jupyterhub.handlers.pages.AdminHandler"

    @needs_scope("admin-ui")
    async def get(self) -> None:
        settings = self.house.settings
        await self.render_page(
            "admin.html",
            current_user=self.user_view,
            admin_access=True,
            allow_named_servers=settings.allow_named_servers,
            named_server_limit_per_user=await named.resolve_limit(settings.named_server_limit_per_user, self),
            server_version=__version__,
            api_page_limit=settings.api_page_default_limit,
            auth_state=await self.auth_state(),
        )
