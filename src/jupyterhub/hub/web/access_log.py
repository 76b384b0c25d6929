"""The log line of each request: ``200 GET /hub/home (ada@10.0.0.7) 12.34ms`` (reference: metrics-events.md §3).

Nothing secret gets into it: tokens, codes and keys in addresses and headers are blotted out here. It is the
``log_function`` of the web application; ``log_request`` is also what plugins find as ``jupyterhub.log.log_request``.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from tornado.web import RequestHandler, StaticFileHandler

from jupyterhub.hub.metrics import REQUEST_DURATION_SECONDS

log = logging.getLogger("jupyterhub.access")

SECRET = "[secret]"
#: a query parameter whose name contains one of these is secret
_SECRET_NAMES = ("token", "auth", "key", "code", "state", "_xsrf")
_SECRET_PATH = re.compile(r"(/api/authorizations/(?:cookie|token)/).*")
#: successful requests for these are not worth a line
_QUIET_PATHS = ("/hub/health", "/hub/api/health")
_SLOW_S = 1.0
_LONGEST = 2000
#: others in a request line are one: who sends inventions shall not fill the metrics
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def log_request(handler: RequestHandler) -> None:
    """Log a request that has been answered, and count it in the metrics."""
    request, status = handler.request, handler.get_status()
    duration_s = request.request_time()
    method = request.method if request.method in _METHODS else "OTHER"
    REQUEST_DURATION_SECONDS.labels(method=method, handler=_name_of(handler), code=status).observe(duration_s)
    location = handler._headers.get("Location") if status in (301, 302) else None
    level = _level(handler, status, duration_s)
    if log.isEnabledFor(level):
        log.log(
            level,
            "%d %s %s%s (%s@%s) %.2fms",
            status,
            _printable(request.method or ""),
            scrub_url(request.uri or ""),
            f" -> {scrub_url(location)}" if location else "",
            who(handler),
            request.remote_ip,
            1000 * duration_s,
        )
    if status >= 500 and status not in (502, 503):
        log.error("%s", json.dumps(scrub_headers(request.headers), indent=2))


def _name_of(handler: RequestHandler) -> str:
    """The name of a handler in the metrics: the original's, which dashboards know, or the class's own."""
    kind = type(handler)
    return getattr(kind, "metrics_name", "") or f"{kind.__module__}.{kind.__qualname__}"


def who(handler: RequestHandler) -> str:
    """The name of the user or service that asked, "" for nobody."""
    # A handler that failed before it knew who asks has neither attribute; asking tornado's `current_user` could make it
    # look again.
    asker: Any = getattr(handler, "requester", None) or getattr(handler, "_current_user", None)
    return _printable(str(getattr(asker, "name", ""))) if asker else ""


def scrub_url(url: str) -> str:
    """Blot out what may be secret in a URL; names of parameters stay. Takes any text, and never raises."""
    if "?" not in url and "#" not in url:
        return _printable(_SECRET_PATH.sub(rf"\1{SECRET}", url) if "/authorizations/" in url else url)
    address, hash_sign, fragment = url.partition("#")
    path, question_mark, query = address.partition("?")
    path = _SECRET_PATH.sub(rf"\1{SECRET}", path)
    scrubbed = "&".join(_scrub_parameter(each) for each in query.split("&"))
    return _printable(f"{path}{question_mark}{scrubbed}{hash_sign}{fragment}")


def _printable(text: str) -> str:
    """Write foreign text so that it stays on its line, and no longer than a line should be."""
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def scrub_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Give the headers as they may be logged: of authorization the scheme, of cookies the names."""
    clean = dict(headers)
    for name, value in clean.items():
        match name.lower():
            case "authorization" | "proxy-authorization":
                clean[name] = f"{value.split()[0]} {SECRET}" if " " in value.strip() else SECRET
            case "cookie":
                clean[name] = "; ".join(f"{each.partition('=')[0].strip()}={SECRET}" for each in value.split(";"))
            case "referer":
                clean[name] = scrub_url(value)
            case "x-xsrftoken" | "x-csrftoken":
                clean[name] = SECRET
    return clean


def _scrub_parameter(parameter: str) -> str:
    name, equals, _ = parameter.partition("=")
    plain_name = unquote(name).lower()
    secret = equals and any(word in plain_name for word in _SECRET_NAMES)
    return f"{name}={SECRET}" if secret else parameter


def _level(handler: RequestHandler, status: int, duration_s: float) -> int:
    if status >= 500:
        return logging.ERROR
    if status >= 400:
        return logging.WARNING
    if status == 304 or isinstance(handler, StaticFileHandler) or handler.request.path.endswith(_QUIET_PATHS):
        return logging.DEBUG if duration_s < _SLOW_S else logging.INFO
    return logging.INFO
