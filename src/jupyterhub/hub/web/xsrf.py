"""Cross-site request forgery: tokens bound to a session, and which requests must carry one (auth-flows.md §4).

A token is a signed statement "made for this session and this person": the session id, and the user's cookie id or,
before login, a hash of where the visitor comes from. The browser keeps it in the cookie ``_xsrf``; pages send the same
text back in a form, the query or a header. A cookie that somebody else has planted fails, because it was not made for
this session.

The rule is to refuse; each exception is listed in ``needs_token``. What a browser says about a request
(``Sec-Fetch-*``) excuses only requests that read, never one that writes (past-flaws.md: CVE-2026-40864). Pure, except
that the environment is read once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from tornado.web import create_signed_value, decode_signed_value

from . import cookies

#: how long a token is worth something
MAX_AGE_DAYS = 31
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


# -- whom a token is for


@dataclass(frozen=True, slots=True)
class AnonymousId:
    """What a visitor who is not logged in is known by."""

    headers: tuple[str, ...] = ("User-Agent",)
    #: addresses inside one of these count as one: for visitors whose address changes between requests
    networks: tuple[Network, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> AnonymousId:
        headers = environment.get("JUPYTERHUB_XSRF_ANONYMOUS_ID_HEADERS")
        networks = environment.get("JUPYTERHUB_XSRF_ANONYMOUS_IP_CIDRS", "")
        return cls(
            cls.headers_of(headers) if headers is not None else ("User-Agent",),
            tuple(ipaddress.ip_network(each, strict=False) for each in _listed(networks)),
        )

    @staticmethod
    def headers_of(text: str) -> tuple[str, ...]:
        return tuple(_listed(text))

    def of(self, remote_ip: str, get_header: Callable[[str], str | None]) -> str:
        digest = hashlib.sha256(self._network_of(remote_ip).encode())
        for name in self.headers:
            digest.update((get_header(name) or "").encode("utf-8", "replace"))
            digest.update(b"\xff")
        return base64.urlsafe_b64encode(digest.digest()).decode("ascii")

    def _network_of(self, remote_ip: str) -> str:
        if self.networks:
            try:
                address = ipaddress.ip_address(remote_ip)
            except ValueError:
                return remote_ip
            for network in self.networks:
                if address in network:
                    return str(network)
        return remote_ip


@cache
def anonymous_id() -> AnonymousId:
    """Give the rule of this process."""
    return AnonymousId.from_environment(os.environ)


def xsrf_id(session_id: str | None, who: str) -> bytes:
    """Give what a token of this session says."""
    return f"{session_id}:{who}".encode()


def _listed(text: str) -> Iterable[str]:
    return [each.strip() for each in text.split(";") if each.strip()]


# -- tokens


def make_token(secret: bytes, statement: bytes) -> str:
    signed = create_signed_value(secret, cookies.XSRF, statement)
    return base64.urlsafe_b64encode(signed).decode("ascii").rstrip("=")


def read_token(secret: bytes, token: str) -> bytes | None:
    """Give what a token says; None if the hub did not make it, or too long ago."""
    try:
        signed = base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError, ValueError):
        return None
    return decode_signed_value(secret, cookies.XSRF, signed, max_age_days=MAX_AGE_DAYS, min_version=2)


@dataclass(frozen=True, slots=True)
class Kept:
    """The token that the browser keeps."""

    token: str
    statement: bytes


def kept_by_browser(secret: bytes, values: Iterable[str]) -> Kept | None:
    """Of several cookies give the first that the hub made: other applications on nested paths may have one too."""
    for value in values:
        statement = read_token(secret, value)
        if statement is not None:
            return Kept(value, statement)
    return None


# -- which requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What decides whether a request must carry a token."""

    method: str
    #: for programs; else a page
    is_api: bool
    #: by a token in the Authorization header, which no foreign site can make a browser send
    by_header_token: bool
    has_identity: bool
    has_origin: bool
    #: ``Sec-Fetch-Mode`` and ``Sec-Fetch-Site``; "" for clients that do not send them
    fetch_mode: str = ""
    fetch_site: str = ""


def needs_token(asked: Asked) -> bool:
    if asked.by_header_token or asked.method in ("HEAD", "OPTIONS"):
        return False
    if asked.is_api and not asked.has_identity and not asked.has_origin:
        # No browser script: it gets the plain "who are you?". With an Origin the answer must not tell whether a login
        # cookie came along.
        return False
    if asked.method not in SAFE_METHODS:
        return True
    if not asked.is_api or is_navigation(asked.fetch_mode) or asked.fetch_mode == "websocket":
        return False
    # GETs of scripts: their answers hold secrets, and what a script may read is the browser's word alone.
    return not (asked.fetch_mode == "no-cors" and asked.fetch_site == "same-origin")


def is_navigation(fetch_mode: str) -> bool:
    """Say whether somebody goes to a page, as far as is known: old browsers and programs do not say."""
    return fetch_mode in ("", "navigate")


# -- the check


def problem(given: str | None, kept: Kept | None, statement: bytes, method: str) -> str | None:
    """Say what is wrong with the token that a request carries; None if nothing is.

    It must be the very text of the cookie, and the cookie must have been made for this session.
    """
    if not given:
        return f"'_xsrf' argument missing from {method}"
    if (
        kept is None
        or not hmac.compare_digest(given.encode("utf-8", "replace"), kept.token.encode("utf-8", "replace"))
        or not hmac.compare_digest(kept.statement, statement)
    ):
        return f"XSRF cookie does not match {method} argument"
    return None
