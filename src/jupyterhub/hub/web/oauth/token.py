"""``hub/api/oauth2/token``: a server or service exchanges a code for an access token (RFC 6749 §4.1.3)."""

from __future__ import annotations

from jupyterhub.hub.web import bodies, models
from jupyterhub.hub.web.api.base import Absent, Operation, Raw
from jupyterhub.hub.web.handler import HubHandler


class TokenHandler(HubHandler):
    """Clients prove themselves in the body: no cookie and no header counts, so there is nothing to forge."""

    operations = {
        "post": Operation(
            "Exchange a code for an access token",
            Raw("application/x-www-form-urlencoded", parts=bodies.CodeExchange),
            description="For servers and services whose visitor has come back from the authorization page (RFC 6749 "
            "§4.1.3). Clients prove themselves by what is in the body.",
            without_body=Absent.REFUSED,
            answers={200: models.AccessToken, 400: models.OAuthError, 401: models.OAuthError},
        )
    }
    is_api = True
    accepts_cookie = False
    checks_xsrf = False
    metrics_name = "jupyterhub.apihandlers.auth.OAuthTokenHandler"

    async def post(self) -> None:
        body = self.request.body.decode("utf-8", "replace")
        reply = await self.house.oauth.exchange(self.request.uri or "", body)
        self.set_status(reply.status)
        for name, value in reply.headers.items():
            self.set_header(name, value)
        self.finish(reply.body)

    def options(self) -> None:
        """Answer that the address exists, to anybody."""
