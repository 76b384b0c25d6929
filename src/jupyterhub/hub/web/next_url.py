"""Where a visitor goes next: the ``next`` of a login, judged so that it never leads off the site (auth-flows.md §3).

Pure functions. A target is parsed, its origin compared with ours, and what remains is *rebuilt* as a path of this site;
no part of the input that could name a host survives. What a browser would drop or turn into something else (control
characters, backslashes, runs of slashes) is refused or neutralised before that (past-flaws.md: CVE-2019-10255,
CVE-2026-33709).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

#: browsers drop some of these and stop at others; no honest link has one
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NOT_PLAIN = re.compile(r"[^\x21-\x7e]")

#: arguments that never travel on
OWN_ARGUMENTS = frozenset({"next", "_xsrf"})


@dataclass(frozen=True, slots=True)
class OurSite:
    """What counts as this site in an absolute URL."""

    #: ``scheme://host[:port]`` as the browser sees the hub
    origin: str
    #: ``host[:port]`` below which users and services have hosts of their own; "" without subdomains
    subdomains_of: str = ""

    def owns(self, scheme: str, netloc: str) -> bool:
        """Say whether an absolute URL (scheme "" for ``//host``) is on this site. Hosts are compared label by label."""
        own = urlsplit(self.origin)
        host = netloc.lower()
        if host == own.netloc.lower():
            return scheme in ("", own.scheme.lower())
        if not self.subdomains_of or "@" in host or scheme not in ("", "http", "https"):
            return False
        parent = self.subdomains_of.lower()
        return host == parent or host.endswith("." + parent)


def validate_next(raw: str, site: OurSite) -> str | None:
    """Give the path (with query and fragment) on this site that ``raw`` means, or None if it means anything else.

    The result begins with exactly one slash and holds visible ASCII characters only.
    """
    text = raw.strip(" ")
    if not text or _CONTROLS.search(text):
        return None
    # A browser takes a backslash for a slash; as an escape it is what was written and nothing more.
    text = _NOT_PLAIN.sub(lambda found: quote(found[0], errors="replace"), text.replace("\\", "%5C"))
    slashes = len(text) - len(text.lstrip("/"))
    if slashes > 2:
        text = text[slashes - 2 :]
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    if parts.scheme or parts.netloc:
        if not parts.netloc or not site.owns(parts.scheme, parts.netloc):
            return None
    elif not text.startswith("/"):
        return None
    path = "/" + parts.path.lstrip("/")
    return urlunsplit(("", "", path, parts.query, parts.fragment))


def with_arguments(url: str, arguments: Iterable[tuple[str, str]]) -> str:
    """Append query arguments to a URL; its own stay, and so does its fragment."""
    added = urlencode(list(arguments))
    if not added:
        return url
    parts = urlsplit(url)
    query = f"{parts.query}&{added}" if parts.query else added
    return urlunsplit(parts._replace(query=query))


def travelling(arguments: Mapping[str, Iterable[bytes]], *, but: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Give those query arguments of a request that travel on with a redirect."""
    stay = OWN_ARGUMENTS.union(but)
    return [
        (name, value.decode("utf-8", "replace"))
        for name, values in arguments.items()
        if name not in stay
        for value in values
    ]


def query_of(url: str) -> dict[str, str]:
    """Give the query arguments of a URL, the last of each name."""
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
