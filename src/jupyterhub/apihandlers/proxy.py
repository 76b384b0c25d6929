"""Sign: the handler of the proxy's routes. It lives in ``hub/web/api/proxy.py``."""

from jupyterhub.hub.web.api.proxy import ProxyRoutes as ProxyAPIHandler

__all__ = ["ProxyAPIHandler"]
