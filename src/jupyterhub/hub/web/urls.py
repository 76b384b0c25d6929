"""Every URL of the hub on one page.

Below ``hub/``: first what the authenticator brings, which may replace what follows, then the API, the OAuth provider
and the pages. Outside of it: what people find at addresses where no server or service answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tornado.web import RequestHandler

from jupyterhub.hub.settings import HubSettings
from jupyterhub.hub.web.api import (
    groups,
    legacy,
    not_found,
    proxy,
    reference,
    servers,
    services,
    shares,
    tokens,
    users,
    whoami,
)
from jupyterhub.hub.web.api import hub as hub_api
from jupyterhub.hub.web.oauth.authorize import AuthorizeHandler
from jupyterhub.hub.web.oauth.metadata import WELL_KNOWN, MetadataHandler
from jupyterhub.hub.web.oauth.token import TokenHandler
from jupyterhub.hub.web.pages.admin import AdminHandler
from jupyterhub.hub.web.pages.elsewhere import AddSlashHandler, NotFoundHandler, PrefixRedirectHandler, RootHandler
from jupyterhub.hub.web.pages.home import HomeHandler
from jupyterhub.hub.web.pages.login import LoginHandler
from jupyterhub.hub.web.pages.logout import LogoutHandler
from jupyterhub.hub.web.pages.machine import CSPReportHandler, LogoHandler, ProxyErrorHandler, StaticHandler
from jupyterhub.hub.web.pages.shares import AcceptShareHandler
from jupyterhub.hub.web.pages.spawn import SpawnHandler, SpawnPendingHandler
from jupyterhub.hub.web.pages.tokens import EndSessionsHandler, TokenPageHandler
from jupyterhub.hub.web.pages.user_server import UserRedirectHandler, UserUrlHandler
from jupyterhub.hub.web.render import STATIC_FILES

Route = tuple[Any, ...]

#: below ``hub/api``; what the OpenAPI document describes
_DESCRIBED: list[tuple[str, type[RequestHandler]]] = [
    (r"/oauth2/authorize", AuthorizeHandler),
    (r"/oauth2/token", TokenHandler),
    *hub_api.HANDLERS,
    *whoami.HANDLERS,
    *users.HANDLERS,
    *servers.HANDLERS,
    *tokens.HANDLERS,
    *groups.HANDLERS,
    *services.HANDLERS,
    *shares.HANDLERS,
    *proxy.HANDLERS,
    *legacy.HANDLERS,
]
API: list[Route] = [
    *_DESCRIBED,
    *reference.handlers(_DESCRIBED, beside=[(WELL_KNOWN, MetadataHandler)]),
    *not_found.HANDLERS,
]

_USER = r"(?P<user_name>[^/]+)"
_SERVER = r"(?P<server_name>[^/]+)"

#: below ``hub``
PAGES: list[tuple[str, type[RequestHandler]]] = [
    (r"/", RootHandler),
    (r"/home", HomeHandler),
    (r"/login", LoginHandler),
    (r"/logout", LogoutHandler),
    (r"/spawn", SpawnHandler),
    (rf"/spawn/{_USER}", SpawnHandler),
    (rf"/spawn/{_USER}/{_SERVER}", SpawnHandler),
    (rf"/spawn-pending/{_USER}", SpawnPendingHandler),
    (rf"/spawn-pending/{_USER}/{_SERVER}", SpawnPendingHandler),
    (rf"/user/{_USER}(?:/(?P<rest>.*))?", UserUrlHandler),
    (r"/user-redirect/(?P<path>.*)", UserRedirectHandler),
    (r"/token", TokenPageHandler),
    (r"/token/end-sessions", EndSessionsHandler),
    (r"/admin", AdminHandler),
    (r"/accept-share", AcceptShareHandler),
    (r"/error/(?P<code_text>\d+)", ProxyErrorHandler),
    (r"/logo", LogoHandler),
    (r"/security/csp-report", CSPReportHandler),
    *hub_api.PAGE_HANDLERS,
]


def table(
    settings: HubSettings, *, plugin_handlers: Sequence[Route], extra_handlers: Sequence[Route] = ()
) -> list[Route]:
    """Give all routes of the web application, in the order in which they are tried."""
    hub = settings.hub_prefix.rstrip("/")
    base = settings.base_url
    return [
        *_below(hub, _pathless(plugin_handlers)),
        *_below(hub, extra_handlers),
        *_below(hub + "/api", API),
        *_below(hub, PAGES),
        (rf"{hub}/static/(.*)", StaticHandler, {"path": str(STATIC_FILES)}),
        (hub + WELL_KNOWN, MetadataHandler),
        *([(WELL_KNOWN + hub, MetadataHandler)] if base == "/" else []),
        (hub, AddSlashHandler),
        (rf"{hub}/.*", NotFoundHandler),
        (rf"{base}(?:user|services)/[^/]+", AddSlashHandler),
        (r".*", PrefixRedirectHandler),
    ]


def _below(prefix: str, routes: Iterable[Route]) -> list[Route]:
    return [(prefix + route[0], *route[1:]) for route in routes]


def _pathless(routes: Sequence[Route]) -> list[Route]:
    """Handlers of plugins, each with a leading slash: some leave it out."""
    return [(route[0] if str(route[0]).startswith("/") else "/" + route[0], *route[1:]) for route in routes]
