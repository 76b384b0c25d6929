"""The single-user server as an extension of jupyter_server 2: the way it runs unless told otherwise.

The extension starts the server application (that is what ``ExtensionApp`` is for), tells it what its place behind a
hub decides, puts the hub's identity provider in, and reports activity. Whatever goes wrong in it ends the process:
a server that has lost its hub's rules must not go on as an ordinary one.
"""

from __future__ import annotations

import asyncio
import functools
import os
import secrets
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import ServerApp
from traitlets import Bool, Instance, Int, Unicode, default
from traitlets.config import Config

from jupyterhub.client.activity import ActivityReporter
from jupyterhub.client.environment import env_bool
from jupyterhub.client.hub_connection import check_hub
from jupyterhub.client.hub_requests import HubUnreachable
from jupyterhub.client.oauth_login import HubOAuth
from jupyterhub.words.version import __version__

from . import pages
from .identity import JupyterHubAuthorizer, JupyterHubIdentityProvider, JupyterHubUser, teach_handlers
from .lean_start import collect_garbage_as_usual, collect_garbage_rarely
from .listening import listen_on_inherited
from .settings import (
    MissingVariable,
    activity_interval_s,
    forced_traits,
    required,
    response_headers,
    template_variables,
)

__all__ = ["JupyterHubAuthorizer", "JupyterHubIdentityProvider", "JupyterHubSingleUser", "JupyterHubUser", "main"]

P = ParamSpec("P")
R = TypeVar("R")


def _fatal(method: Callable[P, R]) -> Callable[P, R]:
    """End the process on any error. jupyter_server goes on without an extension that fails."""

    @functools.wraps(method)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except (MissingVariable, HubUnreachable) as error:
            sys.exit(f"jupyterhub-singleuser: {error}")
        except Exception:
            app = args[0]
            assert isinstance(app, JupyterHubSingleUser)
            app.log.critical("The hub's extension cannot be loaded, so this server cannot run", exc_info=True)
            sys.exit(1)

    return inner


class JupyterHubSingleUser(ExtensionApp):
    """A Jupyter server for one user of a hub."""

    name = "jupyterhub-singleuser"
    version = __version__
    load_other_extensions = True

    hub_activity_url = Unicode(help="Where to report activity; nothing means: nowhere.").tag(config=True)
    hub_activity_interval = Int(help="Seconds between reports of activity; 0: none.").tag(config=True)

    hub_auth: HubOAuth = Instance(HubOAuth)  # type: ignore[assignment]
    server_name = Unicode(help="Name of this server,  for the user's default one.")
    disable_user_config = Bool()

    _reports: asyncio.Task[None] | None = None

    @default("hub_activity_url")
    def _default_activity_url(self) -> str:
        return os.environ.get("JUPYTERHUB_ACTIVITY_URL", "")

    @default("hub_activity_interval")
    def _default_activity_interval(self) -> int:
        return activity_interval_s()

    @default("hub_auth")
    def _default_hub_auth(self) -> HubOAuth:
        return HubOAuth.instance(config=self.config)

    @default("server_name")
    def _default_server_name(self) -> str:
        return os.environ.get("JUPYTERHUB_SERVER_NAME", "")

    @default("disable_user_config")
    def _default_disable_user_config(self) -> bool:
        return env_bool("JUPYTERHUB_DISABLE_USER_CONFIG", False)

    @default("default_url")
    def _default_url(self) -> str:
        """What the deployment asks for, else JupyterLab's front page, else that of any front end there is."""
        asked = os.environ.get("JUPYTERHUB_DEFAULT_URL", "")
        if asked:
            return asked
        assert self.serverapp is not None
        apps = {app.name: app for group in self.serverapp.extension_manager.extension_apps.values() for app in group}
        apps.pop(self.name, None)
        for name in ("lab", "retro", "nbclassic", *sorted(apps)):
            url = apps[name].default_url if name in apps else ""
            if url and url != "/":
                return str(url)
        return "/"

    # -- how jupyter_server finds and starts us

    @classmethod
    def get_extension_package(cls) -> str:
        return __name__

    @classmethod
    def make_serverapp(cls, **kwargs: Any) -> ServerApp:
        # Given here, or jupyter_server would look for one on the user's disk, and leave one there. Made here and not
        # at import: servers that are forked from one process with everything imported must not share it.
        cookie_secret = secrets.token_bytes(32)
        serverapp = super().make_serverapp(**{"cookie_secret": cookie_secret, **kwargs})
        # Between the configuration files and the command line, which the application applies once more. What the hub
        # decides must be known before any extension is linked: some read traits there whose defaults follow from it.
        load_config_file = serverapp.load_config_file

        def load_config_file_and_ours(*args: Any, **kwargs: Any) -> None:
            load_config_file(*args, **kwargs)
            serverapp.update_config(Config(_forced_config(cookie_secret)))

        serverapp.load_config_file = load_config_file_and_ours  # type: ignore[method-assign]
        listen_on_inherited(serverapp)
        return serverapp

    def load_config_file(self, suppress_errors: bool = True) -> None:  # type: ignore[override]
        """Configuration files belong to the server application; it has read them."""

    @_fatal
    def _link_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        super()._link_jupyter_server_extension(serverapp)
        required("JUPYTERHUB_API_TOKEN")
        if self.disable_user_config and "JUPYTER_CONFIG_DIR" not in os.environ:
            self.log.info("Ignoring configuration in the home directory (JUPYTERHUB_DISABLE_USER_CONFIG)")

    @_fatal
    def _jupyter_server_config(self) -> dict[str, Any]:
        """Give the configuration that jupyter_server applies last, after the files of all extensions.

        It would outrank the command line as well, so what that says is left out.
        """
        assert self.serverapp is not None
        config = _forced_config(self.serverapp.cookie_secret)
        if "default_url" not in self.serverapp.config.get("ServerApp", {}):
            config["ServerApp"]["default_url"] = self.default_url
        for section, traits in self.serverapp.cli_config.items():
            for name in traits:
                config.get(section, {}).pop(name, None)
        return config

    def initialize_settings(self) -> None:
        assert self.serverapp is not None
        hub_auth = self.hub_auth
        self.settings["headers"] = response_headers(self.settings.get("headers") or {})
        self.settings["jinja_template_vars"] = {
            **template_variables(hub_auth),
            **self.settings.get("jinja_template_vars", {}),
        }
        pages.link_to_hub(self.settings["jinja2_env"])
        provider = self.serverapp.identity_provider
        if isinstance(provider, JupyterHubIdentityProvider):
            provider.hub_auth = hub_auth
            teach_handlers()
            # Tornado would check before anyone knows whether a token authenticates the request; JupyterHandler checks
            # in ``prepare``, and the identity provider ignores the cookie of a request without an XSRF token.
            self.settings["xsrf_cookies"] = False
            also = self.settings.get("page_config_hook")

            def page_config_hook(handler: Any, config: dict[str, Any]) -> Any:
                config = provider.page_config_hook(handler, config)
                return also(handler, config) if also else config

            self.settings["page_config_hook"] = page_config_hook

    @_fatal
    def initialize(self) -> None:  # type: ignore[override]
        super().initialize()  # type: ignore[no-untyped-call]
        assert self.serverapp is not None
        # "stop the server?" is no question for a process that the hub interrupts
        signal.signal(signal.SIGINT, self.serverapp._signal_stop)
        self.serverapp.io_loop.run_sync(
            functools.partial(check_hub, self.hub_auth.api_url, tls=self.hub_auth.tls_files, log=self.log)
        )

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """The server listens: begin with what can wait until then."""
        collect_garbage_as_usual()
        classic = serverapp.web_app.settings.get("nbclassic_jinja2_env")
        if classic is not None:
            pages.link_to_hub(classic)
        reporter = ActivityReporter(
            url=self.hub_activity_url,
            token=self.hub_auth.api_token,
            server_name=self.server_name,
            interval_s=self.hub_activity_interval,
            last_activity=serverapp.web_app.last_activity,
            tls=self.hub_auth.tls_files,
            log=self.log,
        )
        self._reports = asyncio.create_task(reporter.run(), name="activity-reports")

    async def stop_extension(self) -> None:
        if self._reports is not None:
            self._reports.cancel()
            await asyncio.wait([self._reports])


def _forced_config(cookie_secret: bytes) -> dict[str, dict[str, Any]]:
    try:
        forced = forced_traits()
    except MissingVariable as error:
        sys.exit(f"jupyterhub-singleuser: {error}")
    return {
        "ServerApp": {
            **forced,
            "cookie_secret": cookie_secret,
            "identity_provider_class": JupyterHubIdentityProvider,
        },
        # a home directory on a network file system has no trash, or fills up with it
        "FileContentsManager": {"delete_to_trash": False},
        **_kernel_config(),
    }


def _kernel_config() -> dict[str, dict[str, Any]]:
    """Kernels from a warm process, if the hub wants them (``kernels``)."""
    if os.environ.get("JUPYTERHUB_FAST_KERNELS", "0") in ("", "0") or not sys.platform.startswith("linux"):
        return {}
    return {"KernelProvisionerFactory": {"default_provisioner_name": "jupyterhub-forking"}}


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    return [{"module": __name__, "app": JupyterHubSingleUser}]


def main(argv: Sequence[str] | None = None) -> None:
    collect_garbage_rarely()
    others = os.environ.get("JUPYTERHUB_SINGLEUSER_LOAD_OTHER_EXTENSIONS", "1")
    JupyterHubSingleUser.load_other_extensions = others not in ("", "0")
    JupyterHubSingleUser.launch_instance(None if argv is None else list(argv))  # type: ignore[no-untyped-call]
