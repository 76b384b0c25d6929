"""The single-user server as a subclass of a server application: for jupyter_server 1 and the classic notebook, for
JupyterLab's ``labhub``, and for whoever names an application in ``JUPYTERHUB_SINGLEUSER_APP``.

On jupyter_server 2 and later the hub's identity provider does the work, as in ``extension``. Older servers know login
and logout handlers instead; they get ours, and their base handler is made to ask the hub (``patch_base_handler``).
"""

from __future__ import annotations

import asyncio
import functools
import os
import secrets
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, cast

from tornado.web import RequestHandler
from traitlets import Bool, Bytes, CUnicode, Int, TraitType, Unicode, default, import_item
from traitlets.config import Config, Configurable

from jupyterhub.client.activity import ActivityReporter
from jupyterhub.client.environment import env_bool
from jupyterhub.client.hub_auth import HubAuth, UserModel
from jupyterhub.client.hub_connection import check_hub
from jupyterhub.client.hub_requests import HubUnreachable
from jupyterhub.client.mixins import HubAuthenticated, HubOAuthenticated
from jupyterhub.client.oauth_login import HubOAuth, finish_login
from jupyterhub.words.urls import url_path_join

from . import pages
from .choice import APP_SHORTCUTS, APP_VARIABLE
from .confined_config import leave_home_out
from .settings import (
    MissingVariable,
    activity_interval_s,
    forced_traits,
    required,
    response_headers,
    template_variables,
)


class HubAuthenticatedHandler(HubOAuthenticated):
    """Goes under a server's base handler, so that every handler asks the hub."""

    @property  # type: ignore[misc]
    def hub_auth(self) -> HubAuth:
        return cast(HubAuth, self.settings["hub_auth"])  # type: ignore[attr-defined]

    @property
    def hub_users(self) -> set[str]:  # type: ignore[override]
        return {str(self.settings["user"])}  # type: ignore[attr-defined]

    @property
    def hub_groups(self) -> set[str] | None:  # type: ignore[override]
        group = self.settings.get("group")  # type: ignore[attr-defined]
        return {group} if group else None


class JupyterHubLoginHandlerMixin:
    """What classic servers ask their login handler about every request."""

    @staticmethod
    def get_login_available(settings: Any) -> bool:
        return True

    @staticmethod
    def is_token_authenticated(handler: Any) -> bool:
        """Say whether it was a token (not a cookie) that let the request in: then no page of another site sent it."""
        handler.current_user  # noqa: B018 - asks the hub
        return bool(getattr(handler, "_token_authenticated", False))

    @classmethod
    def should_check_origin(cls, handler: Any) -> bool:
        return not cls.is_token_authenticated(handler)

    @staticmethod
    def get_user(handler: Any) -> UserModel | None:
        """Give the hub's model of whoever is asking, None for nobody and for people who may not come in."""
        return HubAuthenticated.get_current_user(handler)

    @classmethod
    def validate_security(cls, app: Any, ssl_options: Any = None) -> None:
        """Nothing to warn of: nobody gets in without the hub."""


class JupyterHubLogoutHandlerMixin:
    """Logs the browser out here, and leads it to the hub to log out there."""

    def get(self) -> None:
        handler = cast(Any, self)
        hub_auth = handler.settings["hub_auth"]
        hub_auth.clear_cookie(handler)
        handler.redirect(f"{hub_auth.hub_host}{hub_auth.hub_prefix}logout")


class OAuthCallbackHandlerMixin:
    """Where the hub sends browsers back to."""

    async def get(self) -> None:
        handler = cast(Any, self)
        await finish_login(handler, handler.settings["hub_auth"])


class SingleUserNotebookAppMixin(Configurable):
    """What a server application needs to live behind a hub; ``make_singleuser_app`` mixes it in."""

    user = CUnicode(help="Name of the owner.").tag(config=True)
    group = CUnicode(help="Let members of this group in as well (deprecated: use shares or scopes).").tag(config=True)
    hub_prefix = Unicode(help="URL prefix of the hub.").tag(config=True)
    hub_host = Unicode(help="Scheme and host of the public hub, where it is not ours.").tag(config=True)
    hub_api_url = Unicode(help="Where the hub's API is.").tag(config=True)
    hub_activity_url = Unicode(help="Where to report activity; nothing means: nowhere.").tag(config=True)
    hub_activity_interval = Int(help="Seconds between reports of activity; 0: none.").tag(config=True)
    disable_user_config = Bool(help="Ignore configuration in the home directory.").tag(config=True)
    server_name = Unicode(help='Name of this server, "" for the default one.')
    cookie_secret = Bytes()

    #: "jupyter_server" or "notebook"; set by make_singleuser_app
    base_package = ""
    #: the class whose traits the hub decides, as configuration files and the command line name it
    base_class_name = ""

    _hub_auth: HubOAuth | None = None
    _reports: asyncio.Task[None] | None = None

    @default("user")
    def _default_user(self) -> str:
        return os.environ.get("JUPYTERHUB_USER", "")

    @default("group")
    def _default_group(self) -> str:
        return os.environ.get("JUPYTERHUB_GROUP", "")

    @default("hub_prefix")
    def _default_hub_prefix(self) -> str:
        return url_path_join(os.environ.get("JUPYTERHUB_BASE_URL") or "/", "hub/")

    @default("hub_host")
    def _default_hub_host(self) -> str:
        return os.environ.get("JUPYTERHUB_HOST", "")

    @default("hub_api_url")
    def _default_hub_api_url(self) -> str:
        return os.environ.get("JUPYTERHUB_API_URL", "")

    @default("hub_activity_url")
    def _default_activity_url(self) -> str:
        return os.environ.get("JUPYTERHUB_ACTIVITY_URL", "")

    @default("hub_activity_interval")
    def _default_activity_interval(self) -> int:
        return activity_interval_s()

    @default("disable_user_config")
    def _default_disable_user_config(self) -> bool:
        return env_bool("JUPYTERHUB_DISABLE_USER_CONFIG", False)

    @default("server_name")
    def _default_server_name(self) -> str:
        return os.environ.get("JUPYTERHUB_SERVER_NAME", "")

    @default("cookie_secret")
    def _default_cookie_secret(self) -> bytes:
        return secrets.token_bytes(32)

    @property
    def hub_auth(self) -> HubOAuth:
        if self._hub_auth is None:
            traits: dict[str, Any] = {"hub_prefix": self.hub_prefix, "hub_host": self.hub_host}
            if self.hub_api_url:
                traits["api_url"] = self.hub_api_url
            self._hub_auth = HubOAuth.instance(config=self.config, **traits)
        return self._hub_auth

    @property
    def has_identity_providers(self) -> bool:
        return hasattr(self, "identity_provider_class")

    # -- steps of the application that we add to. ``super()`` is the server application.

    def initialize(self, argv: Any = None) -> None:
        app = cast(Any, super())
        if self.disable_user_config:
            leave_home_out()
        try:
            required("JUPYTERHUB_API_TOKEN")
            app.initialize(argv)
        except MissingVariable as error:
            sys.exit(f"jupyterhub-singleuser: {error}")

    def load_config_file(self, *args: Any, **kwargs: Any) -> None:
        cast(Any, super()).load_config_file(*args, **kwargs)
        # The application applies the command line once more after this.
        cast(Any, self).update_config(Config({self.base_class_name: self._forced_traits()}))

    def _forced_traits(self) -> dict[str, Any]:
        app = cast(Any, self)
        traits = forced_traits()
        traits["cookie_secret"] = secrets.token_bytes(32)
        if os.environ.get("JUPYTERHUB_DEFAULT_URL"):
            traits["default_url"] = os.environ["JUPYTERHUB_DEFAULT_URL"]
        if not app.has_trait("root_dir") and "root_dir" in traits:
            traits["notebook_dir"] = traits.pop("root_dir")
        if self.has_identity_providers:
            from .identity import JupyterHubIdentityProvider  # only exists with jupyter_server 2

            traits["identity_provider_class"] = JupyterHubIdentityProvider
        return {name: value for name, value in traits.items() if app.has_trait(name)}

    def init_webapp(self, *args: Any, **kwargs: Any) -> None:
        app = cast(Any, self)
        hub_auth = self.hub_auth
        settings = app.tornado_settings
        settings["user"] = self.user
        settings["group"] = self.group
        settings["hub_prefix"] = self.hub_prefix
        settings["hub_host"] = self.hub_host
        settings["hub_auth"] = hub_auth
        settings["csp_report_uri"] = self.hub_host + url_path_join(self.hub_prefix, "security/csp-report")
        settings["headers"] = response_headers(settings.get("headers") or {}, report_uri=settings["csp_report_uri"])
        settings["page_config_hook"] = functools.partial(_page_config, hub_auth)
        app.jinja_template_vars = {**template_variables(hub_auth), **app.jinja_template_vars}
        if self.has_identity_providers:
            from .identity import teach_handlers

            teach_handlers()
            settings["xsrf_cookies"] = False
            cast(Any, super()).init_webapp(*args, **kwargs)
            provider = app.identity_provider
            provider.hub_auth = hub_auth
        else:
            base = _find_base_handler(self.base_package)
            patch_base_handler(base, log=app.log)
            self._use_our_handlers(base)
            cast(Any, super()).init_webapp(*args, **kwargs)
            callback = type("OAuthCallbackHandler", (OAuthCallbackHandlerMixin, base), {})
            app.web_app.add_handlers(".*$", [(url_path_join(hub_auth.base_url, "oauth_callback"), callback)])
        pages.link_to_hub(app.web_app.settings["jinja2_env"])

    def _use_our_handlers(self, base: type[RequestHandler]) -> None:
        package = "jupyter_server.auth" if self.base_package == "jupyter_server" else "notebook.auth"
        app = cast(Any, self)
        login = import_module(f"{package}.login").LoginHandler
        logout = import_module(f"{package}.logout").LogoutHandler
        app.login_handler_class = type("JupyterHubLoginHandler", (JupyterHubLoginHandlerMixin, login), {})
        app.logout_handler_class = type("JupyterHubLogoutHandler", (JupyterHubLogoutHandlerMixin, logout), {})

    def start(self) -> None:
        app = cast(Any, self)
        hub_auth = self.hub_auth
        try:
            app.io_loop.run_sync(functools.partial(check_hub, hub_auth.api_url, tls=hub_auth.tls_files, log=app.log))
        except HubUnreachable as error:
            sys.exit(f"jupyterhub-singleuser: {error}")
        app.io_loop.add_callback(self._report_activity)
        cast(Any, super()).start()

    async def _report_activity(self) -> None:
        app = cast(Any, self)
        reporter = ActivityReporter(
            url=self.hub_activity_url,
            token=self.hub_auth.api_token,
            server_name=self.server_name,
            interval_s=self.hub_activity_interval,
            last_activity=app.web_app.last_activity,
            tls=self.hub_auth.tls_files,
            log=app.log,
        )
        self._reports = asyncio.create_task(reporter.run(), name="activity-reports")


def _page_config(hub_auth: HubOAuth, handler: Any, config: dict[str, Any]) -> dict[str, Any]:
    """JupyterLab fills in the rest itself where ``hub_prefix`` is among the application's settings."""
    config["token"] = hub_auth.get_token(handler) or ""
    config["hubServerUser"] = os.environ.get("JUPYTERHUB_USER", "")
    return config


#: shortcuts on the command line
ALIASES = {
    "user": "SingleUserNotebookAppMixin.user",
    "group": "SingleUserNotebookAppMixin.group",
    "hub-prefix": "SingleUserNotebookAppMixin.hub_prefix",
    "hub-host": "SingleUserNotebookAppMixin.hub_host",
    "hub-api-url": "SingleUserNotebookAppMixin.hub_api_url",
}
FLAGS = {
    "disable-user-config": (
        {"SingleUserNotebookAppMixin": {"disable_user_config": True}},
        "Ignore configuration in the home directory.",
    )
}


def detect_base_package(App: type) -> str | None:
    """Say which package's application a class descends from: ``jupyter_server``, ``notebook`` or neither."""
    for base in App.__mro__:
        package = base.__module__.partition(".")[0]
        if package in ("jupyter_server", "notebook"):
            return package
    return None


def make_singleuser_app(App: type) -> type:
    """Give a subclass of a server application that lives behind a hub; it is called ``SingleUserNotebookApp``."""
    if issubclass(App, SingleUserNotebookAppMixin):
        return App
    base_package = detect_base_package(App)
    if base_package is None:
        raise ValueError(
            f"{App.__module__}.{App.__name__} descends neither from jupyter_server's nor from notebook's application"
        )
    base_class = next(c for c in App.__mro__ if c.__name__ in ("ServerApp", "NotebookApp"))
    return type(
        "SingleUserNotebookApp",
        (SingleUserNotebookAppMixin, App),
        {
            "__module__": __name__,
            "base_package": base_package,
            "base_class_name": base_class.__name__,
            "aliases": {
                **_mapping(App, "aliases"),
                **ALIASES,
                "base-url": f"{base_class.__name__}.base_url",
            },
            "flags": {**_mapping(App, "flags"), **FLAGS},
            "examples": "",
        },
    )


def _mapping(App: type, name: str) -> dict[str, Any]:
    """Give a class attribute that some applications declare as a trait."""
    value = getattr(App, name)
    if isinstance(value, TraitType):
        value = value.default()
    return dict(value or {})


def _find_base_handler(package: str) -> type[RequestHandler]:
    if package == "jupyter_server":
        return cast("type[RequestHandler]", import_module("jupyter_server.base.handlers").JupyterHandler)
    return cast("type[RequestHandler]", import_module("notebook.base.handlers").IPythonHandler)


def patch_base_handler(BaseHandler: type, log: Any = None) -> None:
    """Put :class:`HubAuthenticatedHandler` under a handler class, so that it and its subclasses ask the hub.

    Applied twice it changes nothing. Methods of the class itself would win over those of its bases and go.
    """
    if HubAuthenticatedHandler in BaseHandler.__mro__:
        return
    if log is not None:
        log.debug("Having %s.%s ask the hub", BaseHandler.__module__, BaseHandler.__name__)
    BaseHandler.__bases__ = (HubAuthenticatedHandler, *BaseHandler.__bases__)
    for name in ("get_current_user", "get_login_url", "check_xsrf_cookie", "xsrf_token"):
        if name in BaseHandler.__dict__:
            delattr(BaseHandler, name)


def find_app() -> type:
    """Give the application class that the environment names, jupyter_server's unless it does."""
    named = os.environ.get(APP_VARIABLE, "") or "jupyter-server"
    return cast(type, import_item(APP_SHORTCUTS.get(named, named)))


def main(argv: Sequence[str] | None = None) -> Any:
    app_class = cast(Any, make_singleuser_app(find_app()))
    return app_class.launch_instance(None if argv is None else list(argv))


def __getattr__(name: str) -> Any:
    # made when somebody asks for it: it imports a whole server
    if name == "SingleUserNotebookApp":
        made = make_singleuser_app(find_app())
        globals()[name] = made
        return made
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
