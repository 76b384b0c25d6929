"""Sign: see ``jupyterhub.handlers``."""

from jupyterhub.hub.web.compat import BaseHandler
from jupyterhub.hub.web.handler import auth_header_pat
from jupyterhub.hub.web.pages.elsewhere import AddSlashHandler, PrefixRedirectHandler
from jupyterhub.hub.web.pages.elsewhere import NotFoundHandler as Template404
from jupyterhub.hub.web.pages.machine import CSPReportHandler
from jupyterhub.hub.web.pages.user_server import UserUrlHandler

__all__ = [
    "AddSlashHandler",
    "BaseHandler",
    "CSPReportHandler",
    "PrefixRedirectHandler",
    "Template404",
    "UserUrlHandler",
    "auth_header_pat",
]
