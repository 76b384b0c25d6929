"""Sign: the single-user server lives in ``jupyterhub.client.singleuser``.

The command starts here, so nothing is imported before ``main`` has decided what to run; other names come on demand.
"""

from importlib import import_module
from typing import Any

from jupyterhub.client.singleuser.choice import main

__all__ = ["HubAuthenticatedHandler", "SingleUserNotebookApp", "main", "make_singleuser_app"]


def __getattr__(name: str) -> Any:
    if name in ("HubAuthenticatedHandler", "SingleUserNotebookApp", "make_singleuser_app"):
        return getattr(import_module("jupyterhub.client.singleuser.app_mode"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
