"""The line of a request tells who asked for what, and no secret."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tornado.httputil import HTTPHeaders

from jupyterhub.hub.web.access_log import log_request, scrub_headers, scrub_url


def answered(status: int, uri: str = "/hub/home", *, took_s: float = 0.0125, **more: Any) -> Any:
    request = SimpleNamespace(
        method="GET",
        uri=uri,
        path=uri.partition("?")[0],
        remote_ip="10.0.0.7",
        headers=HTTPHeaders({"Authorization": "token abcdef", "Cookie": "a=1; b=2", "Accept": "*/*"}),
        request_time=lambda: took_s,
    )
    headers = {"Location": more.pop("location", "")}
    return SimpleNamespace(request=request, get_status=lambda: status, _headers=headers, **more)


@pytest.mark.parametrize(
    ("handler", "level", "line"),
    [
        (answered(200), "INFO", "200 GET /hub/home (@10.0.0.7) 12.50ms"),
        (
            answered(200, requester=SimpleNamespace(name="ada")),
            "INFO",
            "200 GET /hub/home (ada@10.0.0.7) 12.50ms",
        ),
        (
            answered(302, "/", location="/hub/login?next=x&state=abc"),
            "INFO",
            "302 GET / -> /hub/login?next=x&state=[secret] (@10.0.0.7) 12.50ms",
        ),
        (answered(304), "DEBUG", "304 GET /hub/home (@10.0.0.7) 12.50ms"),
        (answered(200, "/hub/health"), "DEBUG", "200 GET /hub/health (@10.0.0.7) 12.50ms"),
        (answered(200, "/hub/health", took_s=2), "INFO", "200 GET /hub/health (@10.0.0.7) 2000.00ms"),
        (answered(404), "WARNING", "404 GET /hub/home (@10.0.0.7) 12.50ms"),
        (answered(503), "ERROR", "503 GET /hub/home (@10.0.0.7) 12.50ms"),
    ],
)
def test_one_line_for_a_request(hub_log, handler, level, line):
    log_request(handler)
    assert [(record.levelname, record.getMessage()) for record in hub_log.records] == [(level, line)]


def test_an_error_of_ours_shows_the_headers_without_secrets(hub_log):
    log_request(answered(500))
    dump = hub_log.records[1].getMessage()
    assert '"Authorization": "token [secret]"' in dump and "a=[secret]; b=[secret]" in dump and "abcdef" not in dump


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("/hub/x?a=1&token=abc&my_key=k&b", "/hub/x?a=1&token=[secret]&my_key=[secret]&b"),
        ("/hub/x?_xsrf=1&code=2&State=3", "/hub/x?_xsrf=[secret]&code=[secret]&State=[secret]"),
        ("/hub/api/authorizations/token/abc", "/hub/api/authorizations/token/[secret]"),
        ("/hub/api/authorizations/cookie/name/abc", "/hub/api/authorizations/cookie/[secret]"),
        ("https://h.org/cb?code=x", "https://h.org/cb?code=[secret]"),
    ],
)
def test_secrets_in_addresses_are_blotted_out(url, clean):
    assert scrub_url(url) == clean


def test_headers_that_carry_addresses_or_tokens_are_cleaned():
    clean = scrub_headers({"Referer": "/x?token=a", "X-XSRFToken": "t", "Authorization": "abc", "Host": "h"})
    assert clean == {
        "Referer": "/x?token=[secret]",
        "X-XSRFToken": "[secret]",
        "Authorization": "[secret]",
        "Host": "h",
    }
