"""Where users, servers and services are found from outside, with and without subdomains (auth-flows.md §10).

Pure functions over the settings; the proxy's routes, the models of the REST API, the pages and the environment of
servers all ask here.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from jupyterhub.words.names import ServerKey, escape_user
from jupyterhub.words.urls import server_path, server_progress_path, user_path

from .settings import HubSettings


def user_domain(settings: HubSettings, user: str) -> str:
    """The host name of a user's servers; "" without subdomains."""
    if not settings.subdomain_host:
        return ""
    return str(settings.subdomain_hook(user, settings.domain, kind="user"))


def service_domain(settings: HubSettings, service: str) -> str:
    if not settings.subdomain_host:
        return ""
    return str(settings.subdomain_hook(service, settings.domain, kind="service"))


def origin_of(settings: HubSettings, domain: str) -> str:
    """``scheme://host[:port]`` of a subdomain, with scheme and port of ``subdomain_host``."""
    parts = urlsplit(settings.subdomain_host)
    return f"{parts.scheme}://{domain}:{parts.port}" if parts.port else f"{parts.scheme}://{domain}"


def user_url(settings: HubSettings, user: str) -> str:
    """The URL of a user: a path, or a full URL with subdomains."""
    path = user_path(settings.base_url, user)
    domain = user_domain(settings, user)
    return origin_of(settings, domain) + path if domain else path


def server_url(settings: HubSettings, key: ServerKey) -> str:
    """The URL of a server as browsers open it: a path, or a full URL with subdomains."""
    url = user_url(settings, key.user)
    return f"{url}{escape_user(key.name)}/" if key.name else url


def full_server_url(settings: HubSettings, key: ServerKey) -> str | None:
    """The URL of a server with scheme and host; None when nobody configured where the public finds us."""
    if settings.subdomain_host:
        return server_url(settings, key)
    origin = public_origin(settings)
    return origin + server_path(settings.base_url, key) if origin else None


def full_progress_url(settings: HubSettings, key: ServerKey) -> str | None:
    origin = public_origin(settings)
    return origin + server_progress_path(settings.hub_prefix, key) if origin else None


def public_origin(settings: HubSettings) -> str:
    """``scheme://host[:port]`` under which the hub itself is known, "" if nobody configured it."""
    known = settings.public_url or settings.subdomain_host
    if not known:
        return ""
    parts = urlsplit(known)
    return f"{parts.scheme}://{parts.netloc}"


def server_routespec(settings: HubSettings, key: ServerKey) -> str:
    """What the proxy looks for: ``[host]/path/``, the path percent-encoded."""
    return user_domain(settings, key.user) + server_path(settings.base_url, key)


def service_prefix(settings: HubSettings, service: str) -> str:
    return f"{settings.base_url}services/{escape_user(service)}/"


def service_routespec(settings: HubSettings, service: str) -> str:
    return service_domain(settings, service) + service_prefix(settings, service)


def service_href(settings: HubSettings, service: str) -> str:
    """The link to a service: ``//domain/prefix`` with subdomains, else its prefix."""
    domain = service_domain(settings, service)
    prefix = service_prefix(settings, service)
    if not domain:
        return prefix
    return origin_of(settings, domain).partition(":")[2] + prefix
