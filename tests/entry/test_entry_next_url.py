"""Where ``next`` may lead: never off the site, judged by what browsers make of an address."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jupyterhub.hub.web.next_url import OurSite, travelling, validate_next, with_arguments

OURS = OurSite("http://hub.example.org:8000")
SUBDOMAINS = OurSite("https://hub.example.org", "hub.example.org")


def where_a_browser_goes(location: str, origin: str = OURS.origin) -> str:
    """Resolve an address as the WHATWG URL parser does; where that depends on the scheme, the worse way."""
    text = re.sub(r"[\t\r\n]", "", location).strip("".join(map(chr, range(0x21))))
    found = re.match(r"([^?#]*)(.*)", text, re.S)
    assert found is not None
    head, tail = found.groups()
    head = re.sub(r"^(https?:)/*|^//+", lambda m: (m[1] or "") + "//", head.replace("\\", "/"), flags=re.I)
    return urljoin(origin + "/hub/login", head + tail)


PIECES = ["/", "//", "\\", "http:", "https:", "HTTP:", "javascript:", "hub.example.org:8000", "hub.example.org"]
PIECES += [
    "evil.example",
    "@",
    ":",
    "?",
    "#",
    "%2f",
    "%5c",
    "%09",
    "\t",
    "\n",
    "\r",
    " ",
    ".",
    "..",
    "user",
    "next=",
    "\x00",
]
PIECES += [
    "[::1]",
    "。",
    "\u2044",
    "\uff0f",
    "é",
    ";",
    "http://hub.example.org:8000",
    "\x0b",
    "\x85",
    "\u2028",
    "data:",
]


@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join) | st.text(max_size=30))
@example("http://hub.example.org:8000//evil.example")
@example("///evil.example")
@example("/\\evil.example")
@example("/\t/evil.example")
@example("http://hub.example.org:8000@evil.example/")
@settings(max_examples=1500, deadline=None)
def test_next_never_leads_off_the_site(raw: str) -> None:
    result = validate_next(raw, OURS)
    if result is None:
        return
    assert re.fullmatch(r"/(?![/\\])[\x21-\x7e]*|/", result)
    assert urlsplit(where_a_browser_goes(result)).netloc == "hub.example.org:8000"
    assert validate_next(result, OURS) == result, "what was accepted once is not changed again"


@given(st.lists(st.sampled_from([*PIECES, "u.hub.example.org", "xhub.example.org"]), max_size=9).map("".join))
@settings(max_examples=700, deadline=None)
def test_with_subdomains_next_is_still_a_path_of_the_hub(raw: str) -> None:
    result = validate_next(raw, SUBDOMAINS)
    if result is not None:
        assert urlsplit(where_a_browser_goes(result, SUBDOMAINS.origin)).netloc == "hub.example.org"


@pytest.mark.parametrize(
    "path",
    ["/hub/admin", "/user/a/lab?x=1&y=%2F", "/user/a/a%20b.ipynb", "/hub/token#part", "/", "/a?b=http%3A%2F%2Fx"],
)
def test_a_path_of_this_site_is_followed_as_given(path: str) -> None:
    assert validate_next(path, OURS) == path


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("http://hub.example.org:8000/x?y#z", "/x?y#z"),
        ("//hub.example.org:8000/x", "/x"),
        ("HTTP://HUB.example.org:8000/x", "/x"),
        ("http://hub.example.org:8000", "/"),
        ("http://hub.example.org:8000//evil.example", "/evil.example"),
        ("/\\evil.example", "/%5Cevil.example"),
        ("/user/nöra/a b", "/user/n%C3%B6ra/a%20b"),
        ("https://hub.example.org:8000/x", None),
        ("http://hub.example.org/x", None),
        ("http://u.hub.example.org:8000/x", None),
        ("relative", None),
        ("", None),
        ("http:///x", None),
        ("///hub.example.org:8000/x", "/x"),
    ],
)
def test_own_origin_and_nothing_else_is_cut_off(raw: str, expected: str | None) -> None:
    assert validate_next(raw, OURS) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("http://u.hub.example.org/user/x", "/user/x"),
        ("https://hub.example.org/hub/", "/hub/"),
        ("https://evilhub.example.org/", None),
        ("https://u@hub.example.org/", None),
        ("ftp://u.hub.example.org/", None),
        ("https://hub.example.org.evil.example/", None),
    ],
)
def test_hosts_of_users_are_cut_off_too_label_by_label(raw: str, expected: str | None) -> None:
    assert validate_next(raw, SUBDOMAINS) == expected


def test_other_arguments_travel_on_but_next_and_xsrf_do_not() -> None:
    arguments = {"a": [b"1", b"2"], "next": [b"/x"], "_xsrf": [b"t"], "b": [b"&="], "c": [b""]}
    assert with_arguments("/hub/spawn?x=0#f", travelling(arguments, but=["b"])) == "/hub/spawn?x=0&a=1&a=2&c=#f"
    assert with_arguments("/hub/spawn", []) == "/hub/spawn"
