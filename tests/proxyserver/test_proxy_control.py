"""The REST API as a function: statuses, the order of checks, and what routes look like (proxy-contract.md §2)."""

from __future__ import annotations

import json

import pytest

from jupyterhub.proxyserver.control import Control, parse_moment
from jupyterhub.proxyserver.counters import Counters
from jupyterhub.proxyserver.protocol.heads import parse_request_head
from jupyterhub.proxyserver.protocol.routes import RouteTable
from jupyterhub.proxyserver.small_http import Answer, WholeRequest

TARGET = {"target": "http://127.0.0.1:1"}
AUTHORIZED = "Authorization: token s3cret"


class Api:
    def __init__(self, secret: str = "s3cret", *, host_routing: bool = False) -> None:
        self.now = 1_000_000.0
        self.routes = RouteTable(host_routing=host_routing)
        self.counters = Counters()
        self.control = Control(self.routes, secret=secret, counters=self.counters, clock=lambda: self.now)

    def __call__(self, method: str, path: str, body: object = b"", *fields: str) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: x", *(fields or (AUTHORIZED,)), "", ""]
        return self.control.answer(WholeRequest(parse_request_head("\r\n".join(lines).encode()), data))

    def keys(self, query: str = "") -> set[str]:
        return set(json.loads(self("GET", f"/api/routes{query}").body))


@pytest.fixture
def api() -> Api:
    return Api()


def test_routes_are_added_shown_and_deleted(api):
    assert api("GET", "/api/routes") == Answer(200, b"{}", {"Content-Type": "application/json"})
    assert api("POST", "/api/routes/user/ada/", {**TARGET, "user": "ada"}) == Answer(201)
    shown = {**TARGET, "user": "ada", "last_activity": "1970-01-12T13:46:40.000Z"}
    assert json.loads(api("GET", "/api/routes").body) == {"/user/ada": shown}
    assert json.loads(api("GET", "/api/routes/user/ada").body) == shown
    assert api("DELETE", "/api/routes/user/ada") == Answer(204)
    assert api("DELETE", "/api/routes/user/ada") == Answer(404)
    assert api("GET", "/api/routes/user/ada") == Answer(404)
    assert (api.counters.api_route_add, api.counters.api_route_delete, api.counters.requests_api[404]) == (1, 1, 2)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("", "/"), ("/", "/"), ("/a", "/a"), ("/a/", "/a"), ("/a%20b", "/a b"), ("/a%2520b", "/a%20b"),
        ("/%C3%BC", "/ü"), ("/a%2Fb", "/a/b"), ("/x//y", "/x//y"), ("/@~", "/@~"), ("/a+b", "/a+b"),
    ],
)  # fmt: skip
def test_paths_are_decoded_once(api, path, key):
    assert api("POST", f"/api/routes{path}", TARGET).status == 201
    assert api.keys() == {key}


def test_an_existing_route_is_replaced(api):
    api("POST", "/api/routes/a", {**TARGET, "x": 1})
    api("POST", "/api/routes/a", {"target": "http://127.0.0.1:2"})
    shown = json.loads(api("GET", "/api/routes/a").body)
    assert shown["target"] == "http://127.0.0.1:2" and "x" not in shown


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b"{'target': 1}", b'{"target": NaN}', b"[" * 100_000])
def test_a_body_that_is_not_json_is_refused_even_without_the_secret(api, body):
    assert api("POST", "/api/routes/a", body, "X: 1").status == 400
    assert api.keys() == set()


@pytest.mark.parametrize("body", [{}, [], None, "x", {"target": 5}, {"target": None}, {"Target": "http://x"}])
def test_a_target_must_be_a_string(api, body):
    assert api("POST", "/api/routes/a", body) == Answer(
        400, b"Must specify 'target' as string", {"Content-Type": "text/plain; charset=utf-8"}
    )


@pytest.mark.parametrize(
    ("field", "status"),
    [
        ("Authorization: token s3cret", 200),
        ("Authorization:  token   s3cret ", 200),
        ("Authorization: foo token s3cret", 200),
        ("Authorization: Token s3cret", 403),
        ("Authorization: Bearer s3cret", 403),
        ("Authorization: token s3cre", 403),
        ("Authorization: token s3cret2", 403),
        ("Authorization: xtoken s3cret", 403),
        ("Authorization: s3cret", 403),
        ("Authorization: token", 403),
        ("X-Authorization: token s3cret", 403),
    ],
)
def test_only_the_secret_opens_the_routes(api, field, status):
    answer = api("GET", "/api/routes", b"", field)
    assert answer.status == status and (status == 200 or answer.body == b"")
    assert api("POST", "/api/routes/a", TARGET, field).status == (201 if status == 200 else 403)
    assert api("DELETE", "/api/routes/a", b"", field).status == (204 if status == 200 else 403)


def test_without_a_secret_the_routes_are_open():
    assert Api(secret="")("GET", "/api/routes", b"", "X: 1").status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "/api/routes", 405),
        ("HEAD", "/api/routes", 405),
        ("PATCH", "/api/routes/a", 405),
        ("GET", "/", 404),
        ("GET", "/api", 404),
        ("GET", "/api/routesx", 404),
        ("POST", "/api/other", 404),
    ],
)
def test_other_methods_and_addresses(api, method, path, status):
    assert api(method, path, b"", "X: 1").status == status


def test_paths_that_are_no_utf_8_are_refused(api):
    assert api("GET", "/api/routes/%ff").status == 400


@pytest.mark.parametrize("name", ["inactiveSince", "inactive_since"])
def test_inactive_routes_can_be_asked_for(api, name):
    api("POST", "/api/routes/old", TARGET)
    api.now += 60
    api("POST", "/api/routes/new", TARGET)
    assert api.keys(f"?{name}=1970-01-12T13:47:00.000Z") == {"/old"}
    assert api.keys(f"?{name}=1970-01-12T14:47:00%2B01:00") == {"/old"}
    assert api.keys(f"?{name}=1970-01-12") == set()
    assert api.keys(f"?{name}=") == {"/old", "/new"}
    assert api("GET", f"/api/routes?{name}=yesterday").status == 400
    assert api("GET", f"/api/routes/old?{name}=yesterday").status == 200


def test_moments_without_a_zone_are_utc():
    assert parse_moment("1970-01-01T00:00:01") == parse_moment("1970-01-01T00:00:01Z") == 1
    assert parse_moment("1970-01-01T01:00:01 01:00") == 1
    assert parse_moment("soon") is None


def test_with_host_routing_routes_name_their_host():
    api = Api(host_routing=True)
    api("POST", "/api/routes/h.example/a", TARGET)
    api("POST", "/api/routes/", TARGET)
    shown = json.loads(api("GET", "/api/routes").body)
    assert shown["/h.example/a"]["host"] == "h.example" and "host" not in shown["/"]
