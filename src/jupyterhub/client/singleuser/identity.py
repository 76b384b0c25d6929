"""Who uses this server: jupyter_server's identity provider and authorizer, answered by the hub.

jupyter_server asks its identity provider for the user of each request. Three things it does not ask anyone about
(where to log in, the token against request forgery, and whether a request carries it) belong to its base handler, and
``teach_handlers`` answers them there, for all handlers of all extensions at once.
"""

from __future__ import annotations

from typing import Any

from jupyter_server.auth.authorizer import Authorizer
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.auth.identity import IdentityProvider, User
from jupyter_server.base.handlers import JupyterHandler
from tornado.web import HTTPError, RequestHandler
from traitlets import Instance, List, Unicode, default

from jupyterhub.client.hub_auth import UserModel
from jupyterhub.client.oauth_login import HubOAuth, finish_login

from . import pages


class JupyterHubUser(User):
    """A Jupyter user with the hub's model of the same person (or service) as ``hub_user``."""

    hub_user: UserModel

    def __init__(self, hub_user: UserModel) -> None:
        self.hub_user = hub_user
        said = hub_user.get("user_info")
        info = said if isinstance(said, dict) else {}
        super().__init__(
            username=str(hub_user["name"]),
            **{
                field: info[field]
                for field in ("name", "display_name", "initials", "avatar_url", "color")
                if isinstance(info.get(field), str)
            },
        )


class JupyterHubLogoutHandler(JupyterHandler):
    """Logs the browser out here, and leads it to the hub to log out there."""

    @allow_unauthenticated
    def get(self) -> None:
        hub_auth = self.identity_provider.hub_auth  # type: ignore[attr-defined]
        hub_auth.clear_cookie(self)
        self.redirect(f"{hub_auth.hub_host}{hub_auth.hub_prefix}logout")


class JupyterHubOAuthCallbackHandler(JupyterHandler):
    """Where the hub sends browsers back to."""

    @allow_unauthenticated
    async def get(self) -> None:
        await finish_login(self, self.identity_provider.hub_auth)  # type: ignore[attr-defined]


class JupyterHubIdentityProvider(IdentityProvider):
    """Asks the hub who is asking."""

    hub_auth: HubOAuth = Instance(HubOAuth)  # type: ignore[assignment]

    logout_handler_class = JupyterHubLogoutHandler

    #: the server's own; extensions call their own server with it. Pages get the requester's (teach_handlers).
    token = Unicode()
    token_generated = False

    # what the hub says about people cannot be changed here
    updatable_fields: Any = List()

    @default("hub_auth")
    def _default_hub_auth(self) -> HubOAuth:
        return HubOAuth.instance(config=self.config)

    @default("token")
    def _token_default(self) -> str:
        return self.hub_auth.api_token

    async def get_user(self, handler: RequestHandler) -> User | None:
        """Give whoever is asking, None for nobody. Raise HTTP 403 for people who may not use this server."""
        known: User | None = getattr(handler, "_jupyter_current_user", None)
        if known is not None:
            return known
        model = await self.hub_auth.get_user(handler, sync=False)
        if model is None:
            return None
        if not self.hub_auth.check_scopes(self.hub_auth.access_scopes, model):
            self._refuse(handler, model)
            return None
        return JupyterHubUser(model)

    def _refuse(self, handler: Any, model: UserModel) -> None:
        """To log in once more would change nothing, so no redirect; what is open to everybody stays so."""
        self.log.warning(
            "Not allowing hub %s %s: missing required scopes", model.get("kind", "user"), model.get("name")
        )
        handler._token_authenticated = False
        method = getattr(handler, handler.request.method.lower(), None)
        if getattr(method, "__allow_unauthenticated", False):
            return
        # the error page asks who is logged in
        handler.current_user = handler._jupyter_current_user = None
        raise HTTPError(403, "%s %s is not allowed.", model.get("kind", "user"), model.get("name"))

    def get_handlers(self) -> list[tuple[str, object]]:
        return [(r"/logout", self.logout_handler_class), (r"/oauth_callback", JupyterHubOAuthCallbackHandler)]

    def validate_security(self, app: Any, ssl_options: dict[str, Any] | None = None) -> None:
        """Nothing to warn of: the hub's proxy stands in front of this server, and nobody gets in without the hub."""

    def page_config_hook(self, handler: Any, page_config: dict[str, Any]) -> dict[str, Any]:
        return pages.page_config(handler, page_config, self.hub_auth)


class JupyterHubAuthorizer(Authorizer):
    """Allows everything to whoever holds an access scope of this server.

    The identity provider refuses everybody else already; this one is for ``ServerApp.authorizer_class`` of
    deployments that want a second look, or subclass it.
    """

    @property
    def hub_auth(self) -> HubOAuth:
        found = getattr(self.identity_provider, "hub_auth", None)
        return found if isinstance(found, HubOAuth) else HubOAuth.instance()

    def is_authorized(self, handler: JupyterHandler, user: User, action: str, resource: str) -> bool:
        if not isinstance(user, JupyterHubUser):
            return False
        return bool(self.hub_auth.check_scopes(self.hub_auth.access_scopes, user.hub_user))


def teach_handlers() -> None:
    """Have the handlers of jupyter_server, and of everything built on it, log in and check requests our way.

    Each of the four asks first whether the server's identity provider is ours, and else does as before.
    """
    if getattr(JupyterHandler.get_login_url, "of_jupyterhub", False):
        return
    plain_login_url = JupyterHandler.get_login_url
    plain_check = JupyterHandler.check_xsrf_cookie
    plain_xsrf_token = JupyterHandler.xsrf_token
    plain_token = JupyterHandler.token

    def get_login_url(self: JupyterHandler) -> str:
        hub_auth = _hub_auth_of(self)
        return plain_login_url(self) if hub_auth is None else hub_auth.begin_login(self)

    def check_xsrf_cookie(self: JupyterHandler) -> None:
        hub_auth = _hub_auth_of(self)
        if hub_auth is None:
            return plain_check(self)
        if not hasattr(self, "_jupyter_current_user"):
            # tornado asks before ``prepare``, when it is not known yet whether a token or a cookie authenticates the
            # request; ``prepare`` asks again
            return None
        if not self.settings.get("disable_check_xsrf", False):
            hub_auth.check_xsrf_cookie(self)
        return None

    def xsrf_token(self: JupyterHandler) -> bytes:
        hub_auth = _hub_auth_of(self)
        return plain_xsrf_token.__get__(self) if hub_auth is None else hub_auth.get_xsrf_token(self)

    def token(self: JupyterHandler) -> str | None:
        # Classic pages hand this to their scripts. The server's own token is not for everybody who may open a page.
        hub_auth = _hub_auth_of(self)
        return plain_token.__get__(self) if hub_auth is None else hub_auth.get_token(self)

    get_login_url.of_jupyterhub = True  # type: ignore[attr-defined]
    JupyterHandler.get_login_url = get_login_url  # type: ignore[method-assign,assignment]
    JupyterHandler.check_xsrf_cookie = check_xsrf_cookie  # type: ignore[method-assign]
    JupyterHandler.xsrf_token = property(xsrf_token)  # type: ignore[method-assign,assignment]
    JupyterHandler.token = property(token)  # type: ignore[method-assign,assignment]


def _hub_auth_of(handler: JupyterHandler) -> HubOAuth | None:
    provider = handler.settings.get("identity_provider")
    return provider.hub_auth if isinstance(provider, JupyterHubIdentityProvider) else None
