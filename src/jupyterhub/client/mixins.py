"""For tornado handlers of services: ``current_user`` is whoever the hub says is asking.

``HubAuthenticated`` reads tokens, ``HubOAuthenticated`` logs browsers in as well and needs a
``HubOAuthCallbackHandler`` at the callback address. The application needs a ``cookie_secret``.
"""

from __future__ import annotations

from typing import ClassVar

from tornado.log import app_log
from tornado.web import HTTPError, RequestHandler

from .hub_auth import HubAuth, UserModel, UserNotAllowed
from .oauth_login import HubOAuth, finish_login


class HubAuthenticated:
    """Mix in before ``RequestHandler``. With ``tornado.web.authenticated`` only the allowed get in.

    Whoever holds one of ``hub_scopes`` is allowed. Where there are none, the older lists decide: ``hub_users``,
    ``hub_groups``, ``hub_services``, ``allow_admin``; with none of them either, everyone whom the hub knows.
    """

    hub_auth_class: ClassVar[type[HubAuth]] = HubAuth
    hub_services: set[str] | None = None
    hub_users: set[str] | None = None
    hub_groups: set[str] | None = None
    allow_admin = False

    _hub_auth: HubAuth | None = None

    @property
    def hub_scopes(self) -> set[str] | None:
        return self.hub_auth.access_scopes or None

    @property
    def allow_all(self) -> bool:
        return (
            self.hub_scopes is None and self.hub_services is None and self.hub_users is None and self.hub_groups is None
        )

    @property
    def hub_auth(self) -> HubAuth:
        if self._hub_auth is None:
            self._hub_auth = self.hub_auth_class.instance()
        return self._hub_auth

    @hub_auth.setter
    def hub_auth(self, auth: HubAuth) -> None:
        self._hub_auth = auth

    def check_hub_user(self, model: UserModel | None) -> UserModel | None:
        """Give the model back if its owner is allowed here, None for None. Raise :class:`UserNotAllowed` if not."""
        if model is None:
            return None
        kind, name = model.get("kind", "user"), model.get("name")
        if self.hub_scopes:
            if self.hub_auth.check_scopes(self.hub_scopes, model):
                return model
            app_log.warning("Not allowing hub %s %s: missing required scopes", kind, name)
            raise UserNotAllowed(model)
        if self.allow_all or (self.allow_admin and model.get("admin")):
            return model
        if kind == "service":
            allowed = name in (self.hub_services or ())
        else:
            allowed = name in (self.hub_users or ()) or bool(
                set(self.hub_groups or ()) & set(model.get("groups") or ())
            )
        if allowed:
            return model
        app_log.warning("Not allowing hub %s %s", kind, name)
        raise UserNotAllowed(model)

    def get_current_user(self) -> UserModel | None:
        """Give the hub's model of whoever is asking; None for nobody, and for people who are not allowed here.

        It asks the hub and blocks meanwhile, unless the answer is known already.
        """
        model = self.hub_auth.get_user(self)  # type: ignore[call-overload]
        try:
            return self.check_hub_user(model)
        except UserNotAllowed as refused:
            # To log in once more would change nothing: see get_login_url
            self._refused = refused
            return None

    _refused: UserNotAllowed | None = None

    def get_login_url(self) -> str:
        """Called by ``tornado.web.authenticated`` when there is no current user."""
        if self._refused is not None:
            model = self._refused.model
            raise HTTPError(403, "%s %s is not allowed.", model.get("kind", "user"), model.get("name"))
        login_url = self.hub_auth.login_url
        if not login_url:
            raise HTTPError(403, "This service needs a token of the hub.")
        if isinstance(self.hub_auth, HubOAuth):
            return self.hub_auth.begin_login(self)  # type: ignore[arg-type]
        return str(login_url)

    @property
    def xsrf_token(self) -> bytes:
        if isinstance(self.hub_auth, HubOAuth):
            return self.hub_auth.get_xsrf_token(self)  # type: ignore[arg-type]
        token: bytes = super().xsrf_token  # type: ignore[misc]
        return token

    def check_xsrf_cookie(self) -> None:
        # establishes whether it is a token that authenticates the request
        self.hub_auth.get_user(self)  # type: ignore[call-overload]
        if getattr(self, "_token_authenticated", False):
            return
        if isinstance(self.hub_auth, HubOAuth):
            self.hub_auth.check_xsrf_cookie(self)  # type: ignore[arg-type]
        else:
            super().check_xsrf_cookie()  # type: ignore[misc]


class HubOAuthenticated(HubAuthenticated):
    """``HubAuthenticated`` for browsers as well: who is not logged in goes to the hub and comes back."""

    hub_auth_class = HubOAuth


class HubOAuthCallbackHandler(HubOAuthenticated, RequestHandler):
    """Where the hub sends browsers back to. Mount it at ``<prefix>oauth_callback``."""

    async def get(self) -> None:
        assert isinstance(self.hub_auth, HubOAuth)
        await finish_login(self, self.hub_auth)
