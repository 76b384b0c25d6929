"""Sign: see ``jupyterhub.handlers``."""

from jupyterhub.hub.web.compat import BaseHandler
from jupyterhub.hub.web.pages.login import LoginHandler
from jupyterhub.hub.web.pages.logout import LogoutHandler

__all__ = ["BaseHandler", "LoginHandler", "LogoutHandler"]
