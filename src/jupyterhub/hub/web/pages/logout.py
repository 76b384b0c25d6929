"""The logout page (auth-flows.md §5). Authenticators subclass the handler to log out at their service too."""

from __future__ import annotations

import time
from typing import Any

from jupyterhub.hub import metrics
from jupyterhub.hub.web.compat import BaseHandler


class LogoutHandler(BaseHandler):
    """``GET hub/logout``

    It takes no XSRF token: that somebody is logged out by a link is a nuisance, that they cannot log out is worse.
    """

    metrics_name = "jupyterhub.handlers.login.LogoutHandler"

    async def get(self) -> None:
        await self.default_handle_logout()
        await self.handle_logout()
        self.now_logged_out()
        await self.render_logout_page()

    async def default_handle_logout(self) -> None:
        """End the browser session: its tokens, its cookies, and the user's servers if that is configured."""
        started = time.perf_counter()
        user, requester = self.current_user, self.requester
        if user is None or (requester is not None and requester.user is None):
            return
        if self.shutdown_on_logout:
            await self._shutdown_servers(user)
        self._backend_logout_cleanup(user.name)
        if requester is not None and requester.user is not None and requester.session_id is not None:
            # The servers and services that this browser was let into must not go on believing it (CVE-2021-41247).
            async with self.house.store.begin() as tx:
                await tx.tokens.delete_of_session(requester.user.id, requester.session_id)
        metrics.LOGOUT_DURATION_SECONDS.observe(time.perf_counter() - started)

    async def handle_logout(self) -> None:
        """For plugins: what is to be done at their service. ``current_user`` is who has logged out."""

    async def render_logout_page(self) -> None:
        """For plugins: the answer. By default the login page, or one that does not log in again at once."""
        if self.authenticator.auto_login:
            self._renew_xsrf_token()
            await self.render_page("logout.html")
        else:
            self.redirect(f"{self.hub_settings.hub_prefix}login")

    def _backend_logout_cleanup(self, name: str) -> None:
        """Clear the cookies; plugins call it too."""
        self.log.info("User logged out: %s", name)
        self.clear_login_cookie()

    async def _shutdown_servers(self, user: Any) -> None:
        """Stop all servers of a user that are not about to start or stop; nobody waits for it to be done."""
        row = await self._row_of(user)
        for server in await self.house.servers.list_of(row):
            if server.is_ready:
                await self.house.servers.stop(server.key, wait_s=0)
