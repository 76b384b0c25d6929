"""The pages for errors of the proxy itself: from the error target, from a directory, or our own (proxy-contract.md §2).

The status is always the proxy's; a page only dresses it. Nothing of the client's request but its path and query
reaches the error target, so what comes back is the same for everybody.
"""

from __future__ import annotations

import asyncio
import html
import logging
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from .protocol.targets import Target
from .small_http import Answer, reason_phrase
from .upstreams import Fetch, Upstreams, UpstreamUnreachable

log = logging.getLogger(__name__)

FETCH_TIMEOUT_S = 10.0
MAX_PAGE_BYTES = 1024 * 1024
_HTML_FIELDS = {"Content-Type": "text/html; charset=utf-8"}
_EXPLANATIONS = {
    404: "Nothing is served at this address.",
    503: "The server behind this address does not answer. It may be starting or stopped.",
}


class ErrorPages(Protocol):
    def page(self, status: int, request_target: bytes) -> Answer | None:
        """Give the page if it is here, or None if it must be fetched."""

    async def fetch_page(self, status: int, request_target: bytes) -> Answer: ...


class OwnPages:
    """Without any configuration."""

    def page(self, status: int, request_target: bytes) -> Answer:
        title = f"{status}: {html.escape(reason_phrase(status))}"
        text = html.escape(_EXPLANATIONS.get(status, "The proxy could not handle this request."))
        body = (
            f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title></head>\n'
            f"<body>\n<h1>{title}</h1>\n<p>{text}</p>\n</body>\n</html>\n"
        )
        return Answer(status, body.encode(), _HTML_FIELDS)

    async def fetch_page(self, status: int, request_target: bytes) -> Answer:
        return self.page(status, request_target)


class PagesFromDirectory(OwnPages):
    """``--error-path``: ``<status>.html``, else ``error.html``, in a directory; read at each use, so edits are seen."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def page(self, status: int, request_target: bytes) -> Answer:
        for name in (f"{status}.html", "error.html"):
            try:
                return Answer(status, (self._directory / name).read_bytes(), _HTML_FIELDS)
            except FileNotFoundError:
                continue
            except OSError as error:
                log.warning("error page %s cannot be read: %s", name, error)
        return super().page(status, request_target)


class PagesFromTarget:
    """``--error-target``: ``GET <target>/<status>?url=<path and query>``, usually answered by the hub."""

    def __init__(self, target: Target, upstreams: Upstreams) -> None:
        self._target = target
        self._upstreams = upstreams

    def page(self, status: int, request_target: bytes) -> None:
        return None

    async def fetch_page(self, status: int, request_target: bytes) -> Answer:
        url = quote(request_target, safe="!'()*-._~").encode()
        request_path = self._target.prepend_to(b"/%d?url=%b" % (status, url))
        request = b"GET %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % (request_path, self._target.authority)
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                fetch = Fetch(self._upstreams, max_bytes=MAX_PAGE_BYTES)
                fetched = await fetch.get(self._target.address, request)
        except (UpstreamUnreachable, TimeoutError) as error:
            log.warning("no error page from the error target: %s", error or "too late")
            return Answer(status, reason_phrase(status).encode())
        kept = {b"content-type": "Content-Type", b"content-encoding": "Content-Encoding"}
        fields = {kept[name]: value.decode("latin-1") for _, name, value in fetched.head.fields if name in kept}
        return Answer(status, fetched.body, fields)
