"""Sign: the hub's request handlers under the names that plugins import. They live in ``hub/web``.

Plugins append ``(path, handler)`` pairs to ``default_handlers``, with paths below ``hub/``; the hub adds them when it
starts.
"""

from typing import Any

from jupyterhub.words.urls import url_path_join

from .base import BaseHandler, CSPReportHandler, PrefixRedirectHandler, Template404, UserUrlHandler, auth_header_pat
from .login import LoginHandler, LogoutHandler

#: what plugins add
default_handlers: list[Any] = []

__all__ = [
    "BaseHandler",
    "CSPReportHandler",
    "LoginHandler",
    "LogoutHandler",
    "PrefixRedirectHandler",
    "Template404",
    "UserUrlHandler",
    "auth_header_pat",
    "default_handlers",
    "url_path_join",
]
