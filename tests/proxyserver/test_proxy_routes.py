"""Targets and the routing table; the table against a slow model of what it should do."""

from __future__ import annotations

import json
import time
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyterhub.proxyserver.protocol.routes import RouteTable
from jupyterhub.proxyserver.protocol.targets import Address, BadTarget, parse_target

TARGET = {"target": "http://127.0.0.1:1"}


def table(*paths: str, host_routing: bool = False) -> RouteTable:
    routes = RouteTable(host_routing=host_routing)
    for path in paths:
        routes.add(path, TARGET, now=0)
    return routes


def found(routes: RouteTable, path: str, host: str = "x") -> str | None:
    route = routes.find(host.encode(), path.encode())
    return route.path if route else None


@pytest.mark.parametrize(
    ("request_path", "key"),
    [
        ("/user/ada", "/user/ada"),
        ("/user/ada/", "/user/ada"),
        ("/user/ada/lab/tree", "/user/ada"),
        ("/user/ada/gpu/x", "/user/ada/gpu"),
        ("/user/adam", "/"),
        ("/user", "/"),
        ("/user/%61da/x", "/user/ada"),
        ("/user%2Fada/x", "/user/ada"),
        ("/user/a%20b/x", "/user/a b"),
        ("/user/%C3%BC/x", "/user/ü"),
        ("/user/%FF/x", "/"),
        ("//user/ada", "/"),
        ("/user//ada", "/"),
        ("/user/./ada", "/"),
        ("/x/../user/ada", "/"),
        ("/user/ada/../bob/x", "/user/ada"),
        ("/user/bob%2F..%2Fada", "/"),
        ("/", "/"),
    ],
)
def test_the_longest_prefix_of_whole_segments_wins(request_path, key):
    routes = table("/", "/user/ada", "/user/ada/gpu", "/user/a b", "/user/ü")
    assert found(routes, request_path) == key


def test_without_a_root_route_some_requests_have_none():
    assert found(table("/a"), "/b") is None
    assert found(table(), "/") is None


def test_routes_can_be_replaced_and_removed():
    routes = table("/a", "/a/b/c/d")
    assert found(routes, "/a/b/c/d/e") == "/a/b/c/d"
    assert routes.remove("/a/b/c/d/") and not routes.remove("/a/b/c/d")
    assert found(routes, "/a/b/c/d/e") == "/a"
    routes.add("a/", {"target": "http://h:2", "user": "ada"}, now=1)
    route = routes.get("/a")
    assert route is not None and route.data["user"] == "ada" and len(routes) == 1


def test_with_host_routing_the_host_comes_first_and_the_root_is_for_all():
    routes = table("/", "/Hub.Example/user", "/hub.example", "/[::1]/user", host_routing=True)
    assert found(routes, "/user/x", host="hub.example:8000") == "/Hub.Example/user"
    assert found(routes, "/user/x", host="HUB.example") == "/Hub.Example/user"
    assert found(routes, "/other", host="hub.example") == "/hub.example"
    assert found(routes, "/user", host="other.example") == "/"
    assert found(routes, "/user/a", host="[::1]:80") == "/[::1]/user"
    assert routes.find(None, b"/user") is routes.get("/")
    route = routes.get("/Hub.Example/user")
    assert route is not None and route.prefix == b"/user" and json.loads(route.as_json())["host"] == "Hub.Example"


def test_a_route_shows_its_data_and_its_activity():
    route = RouteTable().add("/a", {**TARGET, "user": "ü", "deep": {"a": [1]}, "last_activity": "x"}, now=1.2345)
    shown = {**TARGET, "user": "ü", "deep": {"a": [1]}, "last_activity": "1970-01-01T00:00:01.234Z"}
    assert json.loads(route.as_json()) == shown


SEGMENTS = st.sampled_from(["a", "b", "ab", "", "a b", "ü", ".", ".."])
PATHS = st.lists(SEGMENTS, max_size=4).map(lambda segments: "/" + "/".join(segments))


@given(st.lists(st.tuples(st.booleans(), PATHS), max_size=20), st.lists(PATHS, max_size=8), st.booleans())
def test_the_table_finds_what_a_slow_model_finds(changes, requests, escapes):
    routes, model = RouteTable(), set()
    for is_added, path in changes:
        key = path.rstrip("/") or "/"
        if is_added:
            routes.add(path, TARGET, now=0)
            model.add(key)
        else:
            assert routes.remove(path) == (key in model)
            model.discard(key)
    assert {route.path for route in routes} == model
    for path in requests:
        expected = max(
            (key for key in model if key == "/" or (path + "/").startswith(key + "/")), key=len, default=None
        )
        raw = "".join(f"%{byte:02x}" for byte in path.encode()) if escapes else quote(path)
        raw = raw if raw.startswith("/") else "/" + raw[3:]
        assert found(routes, raw) == expected, unquote(raw)


def test_ten_thousand_routes_are_searched_and_shown_quickly():
    routes = table(*(f"/user/name-{n}" for n in range(10_000)))
    begin = time.process_time()
    for n in range(10_000):
        assert found(routes, f"/user/name-{n}/lab") is not None
    for route in routes:
        route.as_json()
    found(routes, "/" * 60_000)
    found(routes, "/user" * 10_000)
    assert time.process_time() - begin < 2  # a tenth of it on a quiet machine


# -- targets
@pytest.mark.parametrize(
    ("url", "address", "authority", "path"),
    [
        ("http://h", Address("h", 80), b"h", b""),
        ("http://h/", Address("h", 80), b"h", b""),
        ("https://h:8443/a/b/", Address("h", 8443, True), b"h:8443", b"/a/b"),
        ("http://[::1]:8/", Address("::1", 8), b"[::1]:8", b""),
        ("http://user:pass@h:1/", Address("h", 1), b"h:1", b""),
        ("http://h/a b/ü", Address("h", 80), b"h", b"/a%20b/%C3%BC"),
        ("http://h/a%20b", Address("h", 80), b"h", b"/a%20b"),
        ("http+unix://%2Frun%2Fa.sock/x/", Address("localhost", 0, False, "/run/a.sock"), b"localhost", b"/x"),
        ("unix+http://%2Frun%2FA.sock", Address("localhost", 0, False, "/run/A.sock"), b"localhost", b""),
        ("https+unix://%2Fa", Address("localhost", 0, True, "/a"), b"localhost", b""),
        ("http://bücher.example/", Address("xn--bcher-kva.example", 80), b"xn--bcher-kva.example", b""),
    ],
)
def test_targets_are_read(url, address, authority, path):
    target = parse_target(url)
    assert (target.address, target.authority, target.path, target.query) == (address, authority, path, b"")


@pytest.mark.parametrize(
    "url", ["", "nonsense", "//h/", "http://", "http:///a", "ftp://h/", "http://h:x/", "http://h:99999/", "http+unix://a",
            "http://a b/", "http://[::1", "http://h\r\nX: 1/", "unix+unix:///a", "http://\u2100.example:1"],
)  # fmt: skip
def test_other_urls_are_no_targets(url):
    with pytest.raises(BadTarget):
        parse_target(url)


@given(st.one_of(st.text(), st.text("htps+unix:/[]@%2F.?#ü0\ud800", max_size=30).map(lambda rest: "http" + rest)))
def test_no_text_makes_the_reading_of_targets_stumble(url):
    route = RouteTable().add("/a", {"target": url}, now=0)
    assert (route.target is None) == bool(route.target_problem)
    if route.target is not None:
        head = route.target.authority + route.target.prepend_to(b"/x?y")
        assert all(0x21 <= byte <= 0x7E for byte in head)
    json.loads(route.as_json())


def test_the_path_and_query_of_a_target_come_first():
    assert parse_target("http://h/p/").prepend_to(b"/a?y=2") == b"/p/a?y=2"
    assert parse_target("http://h/p?x=1").prepend_to(b"/a?y=2") == b"/p/a?x=1&y=2"
    assert parse_target("http://h?x=1").prepend_to(b"/a") == b"/a?x=1"


def test_a_route_to_nowhere_is_kept_with_the_reason():
    route = RouteTable().add("/a", {"target": "nonsense"}, now=0)
    assert route.target is None and route.target_problem
