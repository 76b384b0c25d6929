"""Sign: see ``jupyterhub.handlers``."""

from jupyterhub.hub.web.pages.admin import AdminHandler
from jupyterhub.hub.web.pages.elsewhere import RootHandler
from jupyterhub.hub.web.pages.home import HomeHandler
from jupyterhub.hub.web.pages.machine import ProxyErrorHandler
from jupyterhub.hub.web.pages.spawn import SpawnHandler, SpawnPendingHandler
from jupyterhub.hub.web.pages.tokens import TokenPageHandler
from jupyterhub.hub.web.pages.user_server import UserRedirectHandler

__all__ = [
    "AdminHandler",
    "HomeHandler",
    "ProxyErrorHandler",
    "RootHandler",
    "SpawnHandler",
    "SpawnPendingHandler",
    "TokenPageHandler",
    "UserRedirectHandler",
]
