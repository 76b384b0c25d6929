"""The login page (auth-flows.md §2). Authenticators subclass the handler, or send people elsewhere instead."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from tornado.web import HTTPError

from jupyterhub.hub.web import cookies, next_url
from jupyterhub.hub.web.compat import BaseHandler
from jupyterhub.hub.web.errors import XsrfRefused, status_of
from jupyterhub.words.errors import Denied, HubError

REFUSED = "Invalid username or password"
TRY_AGAIN = "Your login could not be checked. Please try again."
BROKEN = "Something went wrong on our side. Please try again, or tell the administrators of this hub."


class LoginHandler(BaseHandler):
    """``GET, POST hub/login``"""

    metrics_name = "jupyterhub.handlers.login.LoginHandler"

    async def prepare(self) -> None:
        try:
            await super().prepare()
        except XsrfRefused as error:
            # Somebody whose page was open for too long, or whose address has changed: the new page works.
            if self.request.method != "POST" or not self._is_navigation:
                raise
            self.log.warning("login refused: %s", error.log_message)
            self.set_status(403)
            self._renew_xsrf_token()
            self.finish(
                await self._render(login_error=self.say(TRY_AGAIN), username=self.get_body_argument("username", ""))
            )

    async def get(self) -> None:
        if self.requester is not None and self.requester.user is not None:
            await self._go_on()
        elif self.authenticator.auto_login:
            await self._log_in_elsewhere()
        else:
            self._renew_xsrf_token()
            self.finish(await self._render(username=self.get_argument("username", "")))

    async def _go_on(self) -> None:
        """Send somebody on who is logged in already."""
        name = cookies.login_cookie_name(self.hub_settings)
        if self.get_signed_cookie(name) != self.user.cookie_id.encode():
            self.set_login_of(self.user)
        self._renew_xsrf_token()
        self.redirect(self.get_next_url(self.user_view))

    async def _log_in_elsewhere(self) -> None:
        """Send a visitor to the authenticator's own page, or let it decide by the request alone."""
        url = self.authenticator.login_url(self.hub_settings.hub_prefix)
        if url != f"{self.hub_settings.hub_prefix}login":
            target = self.next_argument
            self.redirect(next_url.with_arguments(url, [("next", target)]) if target else url)
            return
        user = await self.login_user()
        if user is None:
            raise Denied(REFUSED)
        self.redirect(self.get_next_url(user))

    async def post(self) -> None:
        data = {name: values[-1].decode("utf-8", "replace") for name, values in self.request.body_arguments.items()}
        data.pop("_xsrf", None)
        # Who copies a name copies a space with it; in a password it may be meant.
        if "username" in data:
            data["username"] = data["username"].strip()
        username = data.get("username", "")
        try:
            user = await self.login_user(data)
        except (HTTPError, HubError) as error:
            answer = status_of(error)
            self.log.warning("login: %s", error)
            self.set_status(answer.status, answer.reason)
            for name, value in answer.headers.items():
                self.set_header(name, value)
            self.finish(await self._render(login_error=answer.message or answer.reason, username=username))
            return
        except Exception:
            self.log.exception("the authenticator failed")
            self.set_status(500)
            self.finish(await self._render(login_error=self.say(BROKEN), username=username))
            return
        if user is None:
            self.set_status(403)
            self.finish(await self._render(login_error=self.say(REFUSED), username=username))
            return
        self.redirect(self.get_next_url(user))

    async def _render(self, login_error: str | None = None, username: str | None = None) -> str:
        """Give the page; ``custom_html`` of the authenticator is a template with the same variables."""
        prefix, authenticator = self.hub_settings.hub_prefix, self.authenticator
        target = self.next_argument
        context: dict[str, Any] = {
            "next": quote(target or "", safe=""),
            "username": username or "",
            "login_error": login_error,
            "login_url": f"{prefix}login",
            "authenticator_login_url": self._with_destination(authenticator.login_url(prefix), target),
            "authenticator": authenticator,
            "xsrf": self.xsrf_token_text,
        }
        custom_html = authenticator.get_custom_html(prefix)
        if custom_html:
            custom_html = await self.house.templates.render_text(custom_html, **context)
        return await self.rendered("login.html", **context, custom_html=custom_html)

    def _with_destination(self, url: str, target: str | None) -> str:
        """Append to the form's address where the visitor wants to go, or what they want there."""
        if target is not None:
            return next_url.with_arguments(url, [("next", target)])
        return self.append_query_parameters(url, exclude=["username"])
