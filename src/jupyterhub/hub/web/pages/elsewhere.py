"""The front door of the hub, and all addresses that only lead somewhere else."""

from __future__ import annotations

from jupyterhub.hub.web.compat import BaseHandler
from jupyterhub.hub.web.handler import HubHandler
from jupyterhub.words.errors import NotFound


class RootHandler(BaseHandler):
    """``GET hub/``: on to the configured place, to one's server, or to the login page."""

    metrics_name = "jupyterhub.handlers.pages.RootHandler"

    async def get(self) -> None:
        url = self._configured_default_url()
        if url:
            # it may be for strangers too
            self.redirect(self.append_query_parameters(url))
        elif self.requester is None:
            self.redirect(self.login_page)
        else:
            self.redirect(self.get_next_url())


class PrefixRedirectHandler(HubHandler):
    """``GET`` of anything outside ``hub/`` that no server and no service has: the same below ``hub/``."""

    counts_as_activity = False
    metrics_name = "jupyterhub.handlers.base.PrefixRedirectHandler"

    async def get(self) -> None:
        settings = self.hub_settings
        uri = self.request.uri or "/"
        path, question_mark, query = uri.partition("?")
        # The path is put behind our own prefix without leading slashes, so it cannot name another host.
        rest = path.removeprefix(settings.base_url) if path.startswith(settings.base_url) else ""
        rest = rest.lstrip("/\\")
        self.redirect(f"{settings.public_hub_url or settings.hub_prefix}{rest}{question_mark}{query}")


class AddSlashHandler(HubHandler):
    """``GET`` of an address that lacks its slash at the end."""

    accepts_cookie = False
    counts_as_activity = False
    metrics_name = "jupyterhub.handlers.base.AddSlashHandler"

    async def get(self, *args: str, **kwargs: str) -> None:
        path, question_mark, query = (self.request.uri or "/").partition("?")
        self.redirect(f"/{path.strip('/')}/{question_mark}{query}", permanent=True)


class NotFoundHandler(HubHandler):
    """Any other address below ``hub/``."""

    counts_as_activity = False
    metrics_name = "jupyterhub.handlers.base.Template404"

    async def prepare(self) -> None:
        await super().prepare()
        raise NotFound()
