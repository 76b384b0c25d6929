"""Tokens against forged requests: made for one session, and wanted wherever something could be gained."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyterhub.hub.web import xsrf
from jupyterhub.hub.web.cookies import values_named
from jupyterhub.hub.web.xsrf import Asked, Kept, needs_token, problem

SECRET = b"k" * 32

requests = st.builds(
    Asked,
    method=st.sampled_from(["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PROPFIND", ""]),
    is_api=st.booleans(),
    by_header_token=st.booleans(),
    has_identity=st.booleans(),
    has_origin=st.booleans(),
    fetch_mode=st.sampled_from(["", "navigate", "cors", "no-cors", "same-origin", "websocket", "invented"]),
    fetch_site=st.sampled_from(["", "same-origin", "same-site", "cross-site", "none"]),
)


@given(requests)
def test_what_the_browser_says_of_a_request_never_excuses_one_that_writes(asked: Asked) -> None:
    if asked.method not in ("GET", "HEAD", "OPTIONS"):
        assert needs_token(asked) == needs_token(replace(asked, fetch_mode="", fetch_site=""))


@given(requests)
def test_a_write_by_cookie_always_needs_a_token(asked: Asked) -> None:
    if asked.has_identity and not asked.by_header_token and asked.method not in ("GET", "HEAD", "OPTIONS"):
        assert needs_token(asked)


@given(requests)
def test_a_header_token_needs_no_other(asked: Asked) -> None:
    assert not needs_token(replace(asked, by_header_token=True))


@pytest.mark.parametrize(
    ("mode", "site", "needed"),
    [
        ("", "", False),
        ("navigate", "cross-site", False),
        ("websocket", "same-origin", False),
        ("no-cors", "same-origin", False),
        ("no-cors", "same-site", True),
        ("no-cors", "cross-site", True),
        ("cors", "same-origin", True),
        ("same-origin", "same-origin", True),
    ],
)
def test_scripts_need_a_token_to_read_the_api(mode: str, site: str, needed: bool) -> None:
    asked = Asked(
        method="GET",
        is_api=True,
        by_header_token=False,
        has_identity=True,
        has_origin=False,
        fetch_mode=mode,
        fetch_site=site,
    )
    assert needs_token(asked) is needed
    assert not needs_token(replace(asked, is_api=False)), "reading a page never needs one"


@given(st.text(max_size=80))
def test_what_the_hub_did_not_make_is_no_token(text: str) -> None:
    assert xsrf.read_token(SECRET, text) is None


@given(st.binary(max_size=60))
def test_a_token_says_what_it_was_made_for_and_to_this_hub_only(statement: bytes) -> None:
    token = xsrf.make_token(SECRET, statement)
    assert xsrf.read_token(SECRET, token) == statement
    assert xsrf.read_token(b"other" * 8, token) is None
    assert "=" not in token


def test_the_token_must_equal_the_cookie_and_the_cookie_must_be_of_this_session() -> None:
    mine, yours = xsrf.xsrf_id("a" * 32, "me"), xsrf.xsrf_id("b" * 32, "me")
    token = xsrf.make_token(SECRET, mine)
    other = xsrf.make_token(SECRET, yours)
    kept = Kept(token, mine)
    assert problem(token, kept, mine, "POST") is None
    assert problem(None, kept, mine, "POST") == "'_xsrf' argument missing from POST"
    for sent, have, statement in [
        (other, kept, mine),
        (token, kept, yours),
        (token, None, mine),
        (token + "=", kept, mine),
    ]:
        assert problem(sent, have, statement, "DELETE") == "XSRF cookie does not match DELETE argument"


def test_of_several_cookies_the_first_that_the_hub_made_counts() -> None:
    token = xsrf.make_token(SECRET, b"s")
    values = values_named("_xsrf", [f"a=b; _xsrf=2|abc|def|1; _xsrf={token}; _xsrf=zzz"])
    assert len(values) == 3
    assert xsrf.kept_by_browser(SECRET, values) == Kept(token, b"s")
    assert xsrf.kept_by_browser(SECRET, ["x", "y"]) is None


def test_a_stranger_is_known_by_address_and_user_agent() -> None:
    rule = xsrf.AnonymousId.from_environment({})
    firefox, curl = {"User-Agent": "firefox"}.get, {"User-Agent": "curl"}.get
    assert rule.of("10.0.0.1", firefox) == rule.of("10.0.0.1", firefox)
    assert len({rule.of("10.0.0.1", firefox), rule.of("10.0.0.1", curl), rule.of("10.0.0.2", firefox)}) == 3


def test_addresses_of_one_network_can_count_as_one() -> None:
    rule = xsrf.AnonymousId.from_environment(
        {
            "JUPYTERHUB_XSRF_ANONYMOUS_IP_CIDRS": "10.0.0.0/8; fd00::/16",
            "JUPYTERHUB_XSRF_ANONYMOUS_ID_HEADERS": "X-A; X-B",
        }
    )
    headers = {"X-A": "1", "User-Agent": "any"}.get
    assert rule.of("10.0.0.1", headers) == rule.of("10.200.0.9", headers)
    assert rule.of("fd00::1", headers) == rule.of("fd00::2", headers)
    assert rule.of("11.0.0.1", headers) != rule.of("11.0.0.2", headers)
    assert rule.of("10.0.0.1", headers) != rule.of("10.0.0.1", {"X-A": "2"}.get)
