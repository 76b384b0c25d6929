"""Sign: the handlers of the hub itself. They live in ``hub/web/api/hub.py``."""

from jupyterhub.hub.web.api.hub import Info as InfoAPIHandler
from jupyterhub.hub.web.api.hub import Root as RootAPIHandler
from jupyterhub.hub.web.api.hub import Shutdown as ShutdownAPIHandler

__all__ = ["InfoAPIHandler", "RootAPIHandler", "ShutdownAPIHandler"]
