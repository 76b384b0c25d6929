"""Answers for machines rather than people: the pages that the proxy shows for errors, the logo, reports of browsers."""

from __future__ import annotations

import gzip
import http.client
import mimetypes
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from tornado.web import HTTPError, StaticFileHandler

from jupyterhub.hub import metrics
from jupyterhub.hub.web.entry import needs_login
from jupyterhub.hub.web.handler import HubHandler

#: a report is a few hundred bytes; more is not one
LONGEST_REPORT = 64 * 1024
#: static files that compress well
_TEXT = frozenset({".css", ".js", ".svg", ".html"})


class ProxyErrorHandler(HubHandler):
    """``GET hub/error/{code}``: the page that the proxy shows with this status. Itself it always answers 200."""

    accepts_cookie = False
    metrics_name = "jupyterhub.handlers.pages.ProxyErrorHandler"

    def get(self, code_text: str) -> None:
        code = int(code_text)
        message = ""
        hint = ""
        if code == 503:
            hint = (
                "<p>Your server appears to be down. Try restarting it "
                f'<a href="{self.house.settings.hub_prefix}home">from the hub</a></p>'
            )
        self.finish(
            self.rendered_sync(
                self.house.templates.first_of(f"{code}.html", "error.html"),
                status_code=code,
                status_message=http.client.responses.get(code, "Unknown HTTP Error"),
                message=message,
                message_html=hint,
                extra_error_html="",
                exception=None,
                logo_url=self.house.settings.hub_prefix + "home",
            )
        )


class LogoHandler(HubHandler):
    """``GET, HEAD hub/logo``"""

    accepts_cookie = False
    metrics_name = "jupyterhub.handlers.static.LogoHandler"

    def get(self) -> None:
        path = Path(self.house.settings.logo_file)
        try:
            body = path.read_bytes()
        except OSError as error:
            self.log.error("logo_file cannot be read: %s", error)
            raise HTTPError(404) from error
        self.set_header("Content-Type", mimetypes.guess_type(path.name)[0] or "application/octet-stream")
        self.set_header("Cache-Control", "max-age=3600")
        self.finish(body)

    head = get


class CSPReportHandler(HubHandler):
    """``POST hub/security/csp-report``: a browser tells that something broke the content security policy."""

    metrics_name = "jupyterhub.handlers.base.CSPReportHandler"

    @needs_login
    def post(self) -> None:
        report = self.request.body[:LONGEST_REPORT].decode("utf8", "replace")
        self.log.warning("Content security violation: %r", report)
        metrics.CSP_REPORTS.inc()
        self.finish()


class StaticHandler(StaticFileHandler):
    """``hub/static/…``: for ever with the hash of the content in the address, else always asked for again.

    Text goes out compressed. Pages and the API do not: where a secret stands beside what a visitor sends, the length of
    the compressed answer would tell of it (BREACH).
    """

    metrics_name = "jupyterhub.handlers.static.CacheControlStaticFilesHandler"

    #: this file, compressed; None if it goes out as it is
    _packed: bytes | None = None

    def compute_etag(self) -> None:
        return None

    def set_extra_headers(self, path: str) -> None:
        if "v" not in self.request.arguments:
            self.set_header("Cache-Control", "no-cache")
        if Path(path).suffix not in _TEXT:
            return
        self.set_header("Vary", "Accept-Encoding")
        if "gzip" in self.request.headers.get("Accept-Encoding", ""):
            assert self.absolute_path is not None and self.modified is not None
            self._packed = _packed(self.absolute_path, self.modified)
            self.set_header("Content-Encoding", "gzip")

    def get_content_size(self) -> int:
        return super().get_content_size() if self._packed is None else len(self._packed)

    def get_content(  # type: ignore[override]  # tornado calls it by the instance
        self, abspath: str, start: int | None = None, end: int | None = None
    ) -> Any:
        return StaticFileHandler.get_content(abspath, start, end) if self._packed is None else self._packed[start:end]


@lru_cache(maxsize=64)
def _packed(path: str, modified: datetime) -> bytes:
    """A file compressed as well as it goes, once for each version of it."""
    return gzip.compress(Path(path).read_bytes(), mtime=0)
