"""Logging browsers in at the hub: the client side of OAuth 2 (RFC 6749) with PKCE (RFC 7636).

A browser without credentials is sent to the hub with a ``state``; it comes back to our callback with the state and a
code, which we exchange for a token of that person's. The token goes into a signed cookie. Between the two visits the
state is kept in this process's memory and, signed, in a cookie of the browser, and both must agree: that the browser
which comes back is the one that left is what protects people from being logged in as somebody else.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from collections.abc import Awaitable, Mapping
from typing import Any, Literal, overload
from urllib.parse import urlencode

from tornado.httputil import url_concat
from tornado.log import app_log
from tornado.web import HTTPError, RequestHandler
from traitlets import Bool, Instance, Int, Unicode, default, observe, validate

from jupyterhub.words.urls import url_path_join

from . import xsrf
from .browser import browser_protocol, is_navigation, is_websocket, own_target
from .expiring_cache import ExpiringCache
from .hub_auth import HubAuth, UserModel
from .hub_requests import HubUnreachable, ask_hub


class HubOAuth(HubAuth):
    """``HubAuth`` for browsers as well: people log in at the hub, and a cookie of ours remembers them."""

    oauth_client_id = Unicode(help="Our OAuth client id at the hub.").tag(config=True)

    oauth_redirect_uri = Unicode(help="Where the hub sends browsers back to; it must be registered there.").tag(
        config=True
    )

    oauth_authorization_url = Unicode(help="The hub's authorize endpoint, as browsers see it.").tag(config=True)

    oauth_token_url = Unicode(help="The hub's token endpoint, as this process sees it.").tag(config=True)

    oauth_state_max_age = Int(600, help="How long, in seconds, a person may take to log in at the hub.").tag(
        config=True
    )

    pkce_enabled = Bool(True, help="Bind codes to this process (RFC 7636).").tag(config=True)

    _oauth_states = Instance(ExpiringCache)

    @default("oauth_client_id")
    def _default_client_id(self) -> str:
        return os.environ.get("JUPYTERHUB_CLIENT_ID", "")

    @validate("oauth_client_id", "api_token")
    def _ensure_not_empty(self, proposal: Mapping[str, Any]) -> Any:
        if not proposal["value"]:
            raise ValueError(f"{proposal['trait'].name} cannot be empty.")
        return proposal["value"]

    @default("oauth_redirect_uri")
    def _default_redirect_uri(self) -> str:
        return os.environ.get("JUPYTERHUB_OAUTH_CALLBACK_URL") or url_path_join(self.base_url, "oauth_callback")

    @default("oauth_authorization_url")
    def _default_authorization_url(self) -> str:
        return self.hub_host + url_path_join(self.hub_prefix, "api/oauth2/authorize")

    @default("oauth_token_url")
    def _default_token_url(self) -> str:
        return url_path_join(self.api_url, "oauth2/token")

    @default("login_url")
    def _default_login_url(self) -> str:
        return url_concat(
            self.oauth_authorization_url,
            {
                "client_id": self.oauth_client_id,
                "redirect_uri": self.oauth_redirect_uri,
                "response_type": "code",
            },
        )

    @default("_oauth_states")
    def _default_oauth_states(self) -> ExpiringCache[str, dict[str, Any]]:
        return ExpiringCache(self.oauth_state_max_age)

    @observe("oauth_state_max_age")
    def _change_state_max_age(self, change: Mapping[str, Any]) -> None:
        self._oauth_states.max_age_s = change["new"]

    @property
    def cookie_name(self) -> str:
        """The cookie that holds the token; our client id, so that it differs from every other service's."""
        return f"__Host-{self.oauth_client_id}" if self.cookie_host_prefix_enabled else self.oauth_client_id

    @property
    def state_cookie_name(self) -> str:
        return f"{self.cookie_name}-oauth-state"

    # -- the way to the hub

    def begin_login(self, handler: RequestHandler) -> str:
        """Give the URL at the hub where this browser logs in, and remember where it wanted to go."""
        verifier, arguments = None, {}
        if self.pkce_enabled:
            verifier, challenge, method = self.generate_pkce_code_challenge()
            arguments = {"code_challenge": challenge, "code_challenge_method": method}
        state = self.set_state_cookie(handler, code_verifier=verifier)
        return url_concat(self.login_url, {**arguments, "state": state})

    def generate_pkce_code_challenge(self, method: str = "S256") -> tuple[str, str, str]:
        """Give (verifier, challenge, method): the verifier is a secret of ours, the challenge its hash."""
        if method != "S256":
            raise ValueError(f"Only method='S256' is supported, not {method!r}")
        verifier = secrets.token_urlsafe(32)
        digest = hashlib.sha256(verifier.encode()).digest()
        return verifier, base64.urlsafe_b64encode(digest).decode().rstrip("="), method

    def generate_state(self, next_url: str | None = None, **extra_state: Any) -> str:
        """Remember a login under a new random id, and give the id."""
        state_id = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
        self._oauth_states[state_id] = {"next_url": next_url, **extra_state}
        return state_id

    def set_state_cookie(
        self, handler: RequestHandler, next_url: str | None = None, *, code_verifier: str | None = None
    ) -> str:
        """Remember where a browser goes after its login, here and in its cookie. Give the ``state`` for the URL.

        ``next_url`` is the page it asks for now, unless given.
        """
        name = self.state_cookie_name
        if handler.get_cookie(name):
            # Another tab is logging in already: each gets a cookie of its own.
            name = f"{name}-{secrets.token_hex(4)}"
        if next_url is None:
            next_url = own_target(handler.request.uri or "")
        state_id = self.generate_state(next_url, cookie_name=name, code_verifier=code_verifier)
        options = self._cookie_arguments(handler)
        options.pop("expires_days", None)
        options.pop("expires", None)
        handler.set_signed_cookie(name, state_id, expires_days=None, **{**options, "max_age": self.oauth_state_max_age})
        return state_id

    # -- the way back

    def get_next_url(self, state_id: str = "", /) -> str:
        """Give where the browser wanted to go; our front page if we do not remember."""
        return self._state(state_id).get("next_url") or self.base_url

    def get_code_verifier(self, state_id: str, /) -> str | None:
        verifier: str | None = self._state(state_id).get("code_verifier")
        return verifier

    def get_state_cookie_name(self, state_id: str = "", /) -> str:
        return self._state(state_id).get("cookie_name") or self.state_cookie_name

    def clear_oauth_state(self, state_id: str, /) -> None:
        """Forget a login, done or given up."""
        self._oauth_states.pop(state_id, None)

    def clear_oauth_state_cookies(self, handler: RequestHandler) -> None:
        for name in handler.cookies:
            if name == self.state_cookie_name or name.startswith(f"{self.state_cookie_name}-"):
                self._clear(handler, name)

    def _state(self, state_id: str) -> dict[str, Any]:
        return self._oauth_states.get(state_id) or {}

    @overload
    def token_for_code(self, code: str, *, code_verifier: str | None = None, sync: Literal[True] = True) -> str: ...
    @overload
    def token_for_code(
        self, code: str, *, code_verifier: str | None = None, sync: Literal[False]
    ) -> Awaitable[str]: ...
    def token_for_code(self, code: str, *, code_verifier: str | None = None, sync: bool = True) -> str | Awaitable[str]:
        """Exchange the code that a browser brought for a token. Raise HTTP 500 or 502 if the hub refuses."""
        return self._run(self._exchange(code, code_verifier), sync=sync)

    async def _exchange(self, code: str, code_verifier: str | None) -> str:
        arguments = {
            "client_id": self.oauth_client_id,
            "client_secret": self.api_token,
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.oauth_redirect_uri,
        }
        if code_verifier:
            arguments["code_verifier"] = code_verifier
        try:
            answer = await ask_hub(
                self.oauth_token_url,
                method="POST",
                body=urlencode(arguments),
                content_type="application/x-www-form-urlencoded",
                tls=self.tls_files,
            )
        except HubUnreachable as error:
            app_log.error("The hub's token endpoint %s cannot be reached: %s", self.oauth_token_url, error)
            raise HTTPError(500, "The hub cannot be reached to finish the login.") from error
        model = self._parse(self._expect_ok(answer))
        token = model.get("access_token") if isinstance(model, dict) else None
        if not isinstance(token, str):
            raise HTTPError(502, "The hub's answer holds no token.")
        return token

    # -- cookies

    def set_cookie(self, handler: RequestHandler, token: str) -> None:
        """Log the browser in: remember its token, and give it a token against request forgery that goes with it."""
        handler.set_signed_cookie(self.cookie_name, token, **self._cookie_arguments(handler))
        whose = xsrf.xsrf_id(self.get_session_id(handler), token)
        xsrf.set_token_cookie(handler, xsrf.make_token(handler, whose), **self._xsrf_cookie_arguments(handler))

    def clear_cookie(self, handler: RequestHandler) -> None:
        """Log the browser out of this service (not out of the hub)."""
        self._clear(handler, self.cookie_name)

    def _clear(self, handler: RequestHandler, name: str) -> None:
        options = {k: v for k, v in self._cookie_arguments(handler).items() if k in ("path", "domain", "secure")}
        handler.clear_cookie(name, **options)

    def _cookie_arguments(self, handler: RequestHandler) -> dict[str, Any]:
        arguments: dict[str, Any] = {"path": self.cookie_path, "httponly": True}
        if self._is_https(handler):
            arguments["secure"] = True
        arguments |= self.cookie_options
        if self.cookie_host_prefix_enabled:
            # browsers drop a __Host- cookie without these
            arguments |= {"path": "/", "secure": True}
            arguments.pop("domain", None)
        return arguments

    def _xsrf_cookie_arguments(self, handler: RequestHandler) -> dict[str, Any]:
        """On our own prefix even where other cookies are on ``/``: each server needs a token of its own."""
        arguments = {**self._cookie_arguments(handler), "path": self.base_url}
        # It lives as long as the browser session whose id it names.
        for lifetime in ("expires", "expires_days", "max_age"):
            arguments.pop(lifetime, None)
        return arguments

    def _is_https(self, handler: RequestHandler) -> bool:
        public_url = os.environ.get("JUPYTERHUB_PUBLIC_URL")
        if public_url:
            return public_url.startswith("https:")
        return browser_protocol(handler.request) == "https"

    def _get_token_cookie(self, handler: RequestHandler) -> str | None:
        value = handler.get_signed_cookie(self.cookie_name)
        return value.decode("ascii", "replace") if value else None

    async def _get_user_cookie(self, handler: RequestHandler) -> UserModel | None:
        token = self._get_token_cookie(handler)
        if not token:
            return None
        try:
            self.check_xsrf_cookie(handler)
        except HTTPError as error:
            # Not refused outright: handlers that need no one may go on, the others find nobody logged in.
            app_log.warning(
                "Not using the login cookie for %s %s: %s",
                handler.request.method,
                handler.request.path,
                error.log_message,
            )
            return None
        model = await self._find_owner(token, use_cache=True, session_id=self.get_session_id(handler))
        if model is None and not is_websocket(handler.request):
            app_log.warning("The token in the cookie of a browser is no longer good; clearing the cookie")
            self.clear_cookie(handler)
        return model

    def _keep_token_of_url(self, handler: RequestHandler) -> None:
        """Let a link with ``?token=`` log a browser in, where that is allowed."""
        if not self.allow_token_in_url or handler.request.method != "GET" or not is_navigation(handler.request):
            return
        token = handler.get_query_argument("token", "")
        if token and token != self._get_token_cookie(handler):
            self.set_cookie(handler, token)

    # -- request forgery

    def check_xsrf_cookie(self, handler: RequestHandler) -> None:
        """Raise HTTP 403 for a request that a page of another site may have sent with our cookie."""
        if getattr(handler, "_token_authenticated", False):
            return
        if xsrf.needs_no_check(handler, websockets_too=not self.allow_websocket_cookie_auth):
            return
        xsrf.check(handler, self._whose(handler))

    def get_xsrf_token(self, handler: RequestHandler) -> bytes:
        """Give the token that our pages send back; what tornado calls ``xsrf_token``."""
        return xsrf.give_token(handler, self._whose(handler), **self._xsrf_cookie_arguments(handler)).encode()

    def _whose(self, handler: RequestHandler) -> str:
        return xsrf.xsrf_id(self.get_session_id(handler), self._get_token_cookie(handler) or "")


async def finish_login(handler: RequestHandler, hub_auth: HubOAuth) -> None:
    """Answer a browser that the hub sent back: exchange its code, remember its token, send it where it wanted to go."""
    error = handler.get_query_argument("error", "")
    if error:
        described = handler.get_query_argument("error_description", "") or error
        raise HTTPError(400, "The hub did not log you in: %s", described)
    code = handler.get_query_argument("code", "")
    if not code:
        raise HTTPError(400, "The hub's answer has no code. Go back to the page you wanted and try again.")
    state = handler.get_query_argument("state", "")
    if not state:
        raise HTTPError(400, "The hub's answer has no state. Go back to the page you wanted and try again.")

    cookie_name = hub_auth.get_state_cookie_name(state)
    remembered = handler.get_signed_cookie(cookie_name)
    next_url = hub_auth.get_next_url(state)
    hub_auth.clear_oauth_state_cookies(handler)
    if remembered is None or not secrets.compare_digest(remembered, state.encode()):
        # Someone who is logged in already used the browser's "back", or an old tab came to life.
        if await hub_auth.get_user(handler, sync=False):
            handler.redirect(next_url)
            return
        app_log.warning("A browser came back with another state than it left with")
        raise HTTPError(403, "The login was begun in another browser, or too long ago. Please try again.")
    code_verifier = hub_auth.get_code_verifier(state)
    hub_auth.clear_oauth_state(state)

    token = await hub_auth.token_for_code(code, code_verifier=code_verifier, sync=False)
    model = await hub_auth.user_for_token(
        token, use_cache=False, session_id=hub_auth.get_session_id(handler), sync=False
    )
    if model is None:
        raise HTTPError(500, "The hub does not know the token it has just given.")
    app_log.info("Logged in %s %s", model.get("kind", "user"), model.get("name"))
    hub_auth.set_cookie(handler, token)
    handler.redirect(next_url)
