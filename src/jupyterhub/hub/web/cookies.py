"""The hub's cookies: names, paths, attributes and lifetimes (auth-flows.md §1). Pure, over the settings.

Signing and sending is tornado's (``handler.py``); what is in the ``_xsrf`` cookie is in ``xsrf.py``.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.hub.settings import HubSettings

LOGIN = "jupyterhub-hub-login"
SESSION = "jupyterhub-session-id"
XSRF = "_xsrf"
#: what services of early versions had; cleared at logout
LEGACY_SERVICES = "jupyterhub-services"

_SESSION_ID = re.compile(r"[0-9a-f]{32}")
#: how long the token of a visitor who is not logged in is kept
ANONYMOUS_XSRF_AGE_S = 3600
#: no meaning for a cookie that is cleared
_LIFETIMES = frozenset({"expires", "expires_days", "max_age"})


@dataclass(frozen=True, slots=True)
class Cookie:
    """How one cookie is set: its name and the arguments of ``set_cookie``."""

    name: str
    options: dict[str, Any]

    @property
    def clearing(self) -> dict[str, Any]:
        """The arguments of ``clear_cookie``: a browser forgets a cookie only if path and domain are those it has."""
        return {key: value for key, value in self.options.items() if key not in _LIFETIMES}


def new_session_id() -> str:
    return secrets.token_hex(16)


def read_session_id(value: str | None) -> str | None:
    """Give a session id as a browser sent it; None for anything that the hub has not made."""
    return value if value is not None and _SESSION_ID.fullmatch(value) else None


def login_cookie(settings: HubSettings, *, request_is_https: bool) -> Cookie:
    """The login: signed, only for the hub. 30 days in the browser, though it is worth ``cookie_max_age_days``."""
    host_prefix = settings.cookie_host_prefix_enabled
    options = {
        "httponly": True,
        "secure": _is_secure(settings, request_is_https),
        **settings.cookie_options,
        "path": "/" if host_prefix else settings.hub_prefix,
    }
    if host_prefix:
        # A browser takes a __Host- cookie only if it is secure, for all paths and for no other host.
        options["secure"] = True
        options.pop("domain", None)
    return Cookie(login_cookie_name(settings), options)


def login_cookie_name(settings: HubSettings) -> str:
    return f"__Host-{LOGIN}" if settings.cookie_host_prefix_enabled else LOGIN


def session_cookie(settings: HubSettings, *, request_is_https: bool) -> Cookie:
    """The browser session, seen by users' servers too: what OAuth tokens of this browser are known by."""
    options = {
        "httponly": True,
        "secure": _is_secure(settings, request_is_https),
        **settings.cookie_options,
        "path": settings.base_url,
    }
    if settings.subdomain_host and settings.domain:
        options["domain"] = settings.domain
    return Cookie(SESSION, options)


def xsrf_cookie(settings: HubSettings, *, logged_in: bool) -> Cookie:
    """The XSRF token: scripts of the hub's pages read it, so it is not HttpOnly; it never leaves the hub's prefix."""
    given = settings.xsrf_cookie_kwargs
    options = dict(settings.cookie_options if given is None else given)
    options["path"] = settings.hub_prefix
    if not logged_in:
        options["max_age"] = ANONYMOUS_XSRF_AGE_S
    return Cookie(XSRF, options)


def legacy_services_cookie(settings: HubSettings) -> Cookie:
    return Cookie(LEGACY_SERVICES, {"path": settings.base_url + "services"})


def values_named(name: str, cookie_headers: Iterable[str]) -> list[str]:
    """Give all values that a browser sent for a name, in its order: it sends several if paths are nested."""
    found = []
    for header in cookie_headers:
        for pair in header.split(";"):
            key, equals, value = pair.partition("=")
            if equals and key.strip() == name:
                found.append(value.strip().strip('"'))
    return found


def _is_secure(settings: HubSettings, request_is_https: bool) -> bool:
    if settings.public_url:
        return urlsplit(settings.public_url).scheme == "https"
    return request_is_https
