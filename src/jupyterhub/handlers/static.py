"""Sign: see ``jupyterhub.handlers``."""

from jupyterhub.hub.web.pages.machine import LogoHandler
from jupyterhub.hub.web.pages.machine import StaticHandler as CacheControlStaticFilesHandler

__all__ = ["CacheControlStaticFilesHandler", "LogoHandler"]
