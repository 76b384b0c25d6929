"""Cross-site request forgery: the tokens that users' servers and services hand to their own pages.

A token is a signed statement of two things, the browser session and the credential the cookie holds, so that it is of
no use after a login or a logout, or in another person's browser. It is the value of the ``_xsrf`` cookie, which pages
read and send back as ``X-XSRFToken``; the signature keeps a sibling domain from planting a cookie of its own making.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256

from tornado import web

from .browser import fetch_mode, is_navigation, is_websocket

COOKIE = "_xsrf"
MAX_AGE_DAYS = 31
_READ_ONLY = frozenset({"GET", "HEAD", "OPTIONS"})


def xsrf_id(session_id: str, auth_token: str) -> str:
    """Say for whom a token is good."""
    return f"{session_id or None}:{sha256(auth_token.encode()).hexdigest()}"


def token_in_cookie(handler: web.RequestHandler) -> tuple[str, str] | None:
    """Give the ``_xsrf`` cookie that we signed, and for whom it is good; None if there is none.

    A server whose path lies below another's gets both cookies, and only one of them carries our signature.
    """
    for part in handler.request.headers.get("Cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            value = value.strip('"')
            whose = _read(handler, value)
            if whose is not None:
                return value, whose
    return None


def give_token(handler: web.RequestHandler, whose: str, **cookie_options: object) -> str:
    """Give the token for ``whose``, the one in the cookie if it fits, and set the cookie otherwise.

    The cookie is set only where a person navigates: a page's own requests would race with each other to replace the
    token that the page is using.
    """
    present = token_in_cookie(handler)
    if present and hmac.compare_digest(present[1], whose):
        return present[0]
    token = make_token(handler, whose)
    if is_navigation(handler.request):
        set_token_cookie(handler, token, **cookie_options)
    return token


def make_token(handler: web.RequestHandler, whose: str) -> str:
    signed = handler.create_signed_value(COOKIE, whose.encode())
    return urlsafe_b64encode(signed).decode().rstrip("=")


def set_token_cookie(handler: web.RequestHandler, token: str, **cookie_options: object) -> None:
    # readable by the page's scripts: that is how the token comes back
    handler.set_cookie(COOKIE, token, **(cookie_options | {"httponly": False}))  # type: ignore[arg-type]


def needs_no_check(handler: web.RequestHandler, *, websockets_too: bool) -> bool:
    """Say whether a request may act on its cookie alone.

    With ``websockets_too`` a page of ours that opens a websocket must prove it as well.
    """
    request = handler.request
    if is_websocket(request):
        return not websockets_too
    if request.method not in _READ_ONLY:
        return False
    if is_navigation(request):
        return True
    # <img>, <script> and the like from our own pages
    return fetch_mode(request) == "no-cors" and request.headers.get("Sec-Fetch-Site", "").lower() == "same-origin"


def check(handler: web.RequestHandler, whose: str) -> None:
    """Raise HTTP 403 unless the request carries the token that its cookie holds, and both are good for ``whose``."""
    headers = handler.request.headers
    sent = handler.get_argument(COOKIE, "") or headers.get("X-Xsrftoken", "") or headers.get("X-Csrftoken", "")
    if not sent:
        raise web.HTTPError(403, f"'{COOKIE}' argument missing from {handler.request.method}")
    present = token_in_cookie(handler)
    if (
        present is None
        or not hmac.compare_digest(present[0].encode(), sent.encode())
        or not hmac.compare_digest(present[1].encode(), whose.encode())
    ):
        raise web.HTTPError(403, f"XSRF cookie does not match {handler.request.method} argument")


def _read(handler: web.RequestHandler, token: str) -> str | None:
    try:
        signed = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        payload = handler.get_signed_cookie(COOKIE, value=signed.decode(), max_age_days=MAX_AGE_DAYS)
        return None if payload is None else payload.decode()
    except ValueError:
        return None
