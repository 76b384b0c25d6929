"""Sign: see ``jupyterhub.apihandlers``."""

from jupyterhub.hub.web.api.compat import APIHandler

__all__ = ["APIHandler"]
