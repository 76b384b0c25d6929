"""The command ``jupyterhub-singleuser``: which implementation runs, decided from the environment.

Nothing heavy is imported before the decision, and ``--version`` needs none of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any

from jupyterhub.client.environment import env_bool
from jupyterhub.words.version import __version__

from .lean_start import stay_lean

APP_VARIABLE = "JUPYTERHUB_SINGLEUSER_APP"
EXTENSION_VARIABLE = "JUPYTERHUB_SINGLEUSER_EXTENSION"

#: values of JUPYTERHUB_SINGLEUSER_APP that stand for a class
APP_SHORTCUTS: Mapping[str, str] = {
    "notebook": "notebook.notebookapp.NotebookApp",
    "jupyter-server": "jupyter_server.serverapp.ServerApp",
    "jupyter_server": "jupyter_server.serverapp.ServerApp",
    "extension": "jupyter_server.serverapp.ServerApp",
}


def runs_as_extension(environ: Mapping[str, str] = os.environ) -> bool:
    """Say which implementation the environment asks for. Raise ValueError if it contradicts itself."""
    app = environ.get(APP_VARIABLE, "")
    names_jupyter_server = not app or "jupyter_server" in app or "jupyter-server" in app
    asked = environ.get(EXTENSION_VARIABLE, "")
    if asked == "0":
        return False
    if asked:
        if not names_jupyter_server and app != "extension":
            raise ValueError(
                f"{EXTENSION_VARIABLE}={asked} asks for a jupyter_server extension, {APP_VARIABLE}={app} for another "
                "server: unset one of them."
            )
        return True
    if app == "extension":
        return True
    return names_jupyter_server and jupyter_server_major() >= 2


def jupyter_server_major() -> int:
    """Give the installed major version without importing the package; 0 if it is not installed."""
    try:
        return int(metadata.version("jupyter_server").partition(".")[0])
    except (metadata.PackageNotFoundError, ValueError):
        return 0


def main(argv: Sequence[str] | None = None) -> Any:
    """Run a single-user server until it is told to stop."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if "--version" in arguments:
        sys.stdout.write(f"{__version__}\n")
        return None
    try:
        as_extension = runs_as_extension()
    except ValueError as error:
        sys.exit(f"jupyterhub-singleuser: {error}")
    if env_bool("JUPYTERHUB_DISABLE_USER_CONFIG", False):
        import_module("jupyterhub.client.singleuser.confined_config").leave_home_out()
    stay_lean()
    if as_extension:
        return import_module("jupyterhub.client.singleuser.extension").main(arguments)
    return _run_app(os.environ.get(APP_VARIABLE, ""), arguments)


def _run_app(app: str, arguments: list[str]) -> Any:
    if app == "jupyverse":
        # another server altogether, which has its own way of asking the hub
        return import_module("fps_auth_jupyterhub").launch()
    if not app and find_spec("jupyterlab"):
        os.environ.setdefault(APP_VARIABLE, "jupyter_server.serverapp.ServerApp")
        return import_module("jupyterlab.labhubapp").main(arguments)
    return import_module("jupyterhub.client.singleuser.app_mode").main(arguments)
