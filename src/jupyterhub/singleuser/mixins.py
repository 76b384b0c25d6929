"""Sign: the application subclass lives in ``jupyterhub.client.singleuser.app_mode``."""

from jupyterhub.client.singleuser.app_mode import (
    HubAuthenticatedHandler,
    JupyterHubLoginHandlerMixin,
    JupyterHubLogoutHandlerMixin,
    OAuthCallbackHandlerMixin,
    SingleUserNotebookAppMixin,
    detect_base_package,
    make_singleuser_app,
    patch_base_handler,
)

__all__ = [
    "HubAuthenticatedHandler",
    "JupyterHubLoginHandlerMixin",
    "JupyterHubLogoutHandlerMixin",
    "OAuthCallbackHandlerMixin",
    "SingleUserNotebookAppMixin",
    "detect_base_package",
    "make_singleuser_app",
    "patch_base_handler",
]
