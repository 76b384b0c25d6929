"""``hub/api/oauth2/authorize``: a browser comes from a server or service, and goes back with a code."""

from __future__ import annotations

from jupyterhub.hub.oauth.provider import Confirmation
from jupyterhub.hub.web import bodies, next_url, queries
from jupyterhub.hub.web.api.base import Operation, Raw
from jupyterhub.hub.web.entry import NOBODY
from jupyterhub.hub.web.handler import HubHandler
from jupyterhub.words.errors import Denied


class AuthorizeHandler(HubHandler):
    """A page in spite of its address: cookies only, errors as HTML."""

    metrics_name = "jupyterhub.apihandlers.auth.OAuthAuthorizeHandler"
    operations = {
        "get": Operation(
            "Ask whether a client may act for the user",
            description="A page for browsers: servers and services send their visitors here (RFC 6749 §4.1.1).",
            query=queries.Authorization,
            answers={200: Raw("text/html"), 302: None},
            refusals={400: "The client or where it wants the browser to go is not known."},
            access="For users who are logged in; others are sent to log in.",
        ),
        "post": Operation(
            "Let a client act for the user",
            Raw("application/x-www-form-urlencoded", parts=bodies.Consent),
            description="What the page sends when the user agrees.",
            query=queries.Authorization,
            answers={302: None},
            refusals={
                400: "The client or where it wants the browser to go is not known.",
                403: "The request does not come from the page.",
            },
            access="For users who are logged in.",
        ),
    }

    async def get(self) -> None:
        if self.requester is None:
            self._send_to_log_in()
            return
        answer = await self.house.oauth.ask(self._uri, user=self.user, session_id=self.session_id, say=self.say)
        if isinstance(answer, Confirmation):
            await self.render_page(
                "oauth.html",
                allowed_scopes=answer.allowed_scopes,
                scope_descriptions=answer.descriptions,
                oauth_client=answer.client,
                auth_state=await self.auth_state(),
            )
        else:
            self.redirect(answer.url)

    async def post(self) -> None:
        """The user has confirmed. That they were on our page is what the XSRF token proves."""
        if self.requester is None:
            raise Denied(NOBODY)
        scopes = self.get_body_arguments("scopes")
        answer = await self.house.oauth.confirm(self._uri, scopes=scopes, user=self.user, session_id=self.session_id)
        self.redirect(answer.url)

    @property
    def _uri(self) -> str:
        return self.request.uri or ""

    def _send_to_log_in(self) -> None:
        authenticator = self.house.authenticator
        if authenticator.auto_login_oauth2_authorize:
            url = authenticator.login_url(self.hub_settings.hub_prefix)
            self.redirect(next_url.with_arguments(url, [("next", self._uri)]))
        else:
            self.redirect(self.login_page)
