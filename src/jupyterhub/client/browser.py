"""What a request says about the browser that sent it: the scheme it used, and what kind of request it makes.

The fetch-metadata headers (``Sec-Fetch-*``) come from the browser itself and cannot be set by a page. They are absent
from programs, old browsers, and plain-http sites.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from tornado.httputil import HTTPServerRequest


def browser_protocol(request: HTTPServerRequest) -> str:
    """Give ``http`` or ``https`` as the browser sees it, in front of any number of proxies."""
    forwarded = request.headers.get("Forwarded", "").partition(",")[0]
    for field in forwarded.split(";"):
        name, _, value = field.partition("=")
        if name.strip().lower() == "proto":
            return value.strip().strip('"').lower()
    for header in ("X-Scheme", "X-Forwarded-Proto"):
        value = request.headers.get(header, "").partition(",")[0].strip().lower()
        if value:
            return value
    return request.protocol


def fetch_mode(request: HTTPServerRequest) -> str:
    return request.headers.get("Sec-Fetch-Mode", "").lower()


def is_websocket(request: HTTPServerRequest) -> bool:
    """A page can set neither of the two headers, so neither widens what a hostile page can do."""
    return fetch_mode(request) == "websocket" or request.headers.get("Upgrade", "").lower() == "websocket"


def is_navigation(request: HTTPServerRequest) -> bool:
    """Someone follows a link or types an address. Programs and old browsers look the same."""
    return fetch_mode(request) in ("", "navigate") and not is_websocket(request)


def own_target(uri: str) -> str:
    """Reduce a request's target to a path on our own host, fit for a redirect.

    A target may begin with ``//evil.example`` or be a whole URL; browsers take both, and backslashes in either, as
    another host.
    """
    parts = urlsplit(uri.replace("\\", "%5C")) if not uri.startswith("/") else None
    if parts is not None:
        uri = parts.path + (f"?{parts.query}" if parts.query else "")
    return "/" + uri.replace("\\", "%5C").lstrip("/")
