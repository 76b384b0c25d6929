"""The API over HTTP: statuses, shapes and headers of its answers (reference: rest-api.md)."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import parse_qs, urlsplit

import pytest
from tornado.web import create_signed_value

from jupyterhub.hub.web import urls
from jupyterhub.words.names import ServerKey

from .calls import serving
from .house_of_tests import small_house
from .statements import counted

PAGED = {"Accept": "application/jupyterhub-pagination+json"}


# -- every address


def test_every_handler_has_a_name_for_dashboards():
    for path, handler, *_ in urls.API:
        assert handler.metrics_name.startswith("jupyterhub."), path


@pytest.mark.parametrize("token", ["root", None])
async def test_unknown_addresses_answer_404_in_json(api, token):
    for path in ("nowhere", "users/", "users/a/b/c", "groups/", "server"):
        r = await api("GET", path, token=token)
        assert r.status_code == 404 and r.json()["status"] == 404, path
        assert r.headers["Content-Type"].startswith("application/json")
    assert (await api("GET", "shares")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "users"),
        ("DELETE", "info"),
        ("GET", "shutdown"),
        ("POST", "user"),
        ("PATCH", "groups"),
        ("GET", "groups/x/users"),
        ("POST", "shares/ada"),
        ("PATCH", "share-codes/ada/"),
        ("HEAD", "users"),
    ],
)
async def test_wrong_methods_answer_405_and_say_which_are_right(api, method, path):
    r = await api(method, path)
    assert r.status_code == 405
    allowed = r.headers["Allow"].split(", ")
    assert "OPTIONS" in allowed and method not in allowed and len(allowed) > 1


async def test_options_are_answered_to_anybody(api):
    for path in ("", "users", "users/ada", "users/ada/server", "info", "proxy", "groups", "user"):
        r = await api("OPTIONS", path, token=None)
        assert r.status_code == 200 and r.content == b"", path


async def test_every_answer_names_the_version_and_forbids_framing(api):
    for path, token in (("", None), ("users", "root"), ("users", None), ("nowhere", None)):
        r = await api("GET", path, token=token)
        assert r.headers["X-JupyterHub-Version"].startswith("6.1.")
        assert "frame-ancestors 'none'" in r.headers["Content-Security-Policy"]
        assert "default-src 'none'" in r.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "content", [b"{", b"{'a': 1}", b"\xff\xfe", b'{"usernames": ["\xff"]', b"\x00", b"[" * 100_000, b"NaN"]
)
async def test_bodies_that_are_not_json_are_refused(api, house, content):
    await house.add_users("ada")
    for path in ("users", "users/new", "users/ada/tokens", "users/ada/server", "groups"):
        r = await api("POST", path, content=content)
        assert r.status_code == 400 and r.json()["message"], path


async def test_an_unchanged_answer_is_not_sent_again(api, house):
    await house.add_users("ada")
    first = await api("GET", "users/ada")
    again = await api("GET", "users/ada", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304 and again.content == b""


# -- the hub


async def test_the_root_tells_the_version_to_any_site(api):
    r = await api("GET", "", token=None)
    assert r.json() == {"version": r.headers["X-JupyterHub-Version"]}
    assert r.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("path", ["health", "../health"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_health_is_open_to_anybody(api, path, method):
    r = await api(method, path, token=None)
    assert r.status_code == 200 and r.content == b"" and r.headers["Content-Type"].startswith("text/html")


async def test_metrics_need_the_scope_in_any_form(api, house):
    meter = await house.service_with("meter", "read:metrics")
    assert (await api("GET", "metrics", token=None)).status_code == 403
    assert (await api("GET", "metrics", token=await house.service_with("other"))).status_code == 403
    r = await api("GET", "../metrics", token=meter)
    assert r.status_code == 200 and r.headers["Content-Type"].startswith("text/plain")
    assert "jupyterhub_running_servers" in r.text and "jupyterhub_login" in r.text
    assert 'handler="jupyterhub.handlers.metrics.MetricsHandler"' in r.text


async def test_metrics_can_be_opened_to_anybody(database):
    async with small_house(database, authenticate_prometheus=False) as house, serving(house) as api:
        assert (await api("GET", "metrics", token=None)).status_code == 200


async def test_shutdown_answers_before_it_happens(api, house):
    r = await api("POST", "shutdown", json={"servers": False, "proxy": 1})
    assert r.status_code == 202 and "message" in r.json()
    assert house.ended == [{"proxy": True, "servers": False}]
    assert (await api("POST", "shutdown", json={"proxy": "yes"})).status_code == 400
    assert len(house.ended) == 1


# -- who one is


async def test_whoami_tells_users_and_services_who_they_are(api, house):
    await house.add_users("ada")
    token = await house.token_of("ada", scopes=["read:servers!user"])
    user = (await api("GET", "user", token=token)).json()
    assert user["kind"] == "user" and user["name"] == "ada" and user["groups"] == [] and user["admin"] is False
    assert "read:servers!user=ada" in user["scopes"] and user["token_id"].startswith("a")
    assert "created" not in user
    service = (await api("GET", "user")).json()
    assert service["kind"] == "service" and service["name"] == "root" and service["session_id"] is None
    assert (await api("GET", "user", token=None)).status_code == 403


async def test_whoami_tells_a_service_without_scopes_its_name(api, house):
    me = (await api("GET", "user", token=await house.service_with("bare"))).json()
    assert me["name"] == "bare" and me["scopes"] == [] and set(me) == {
        "kind", "name", "admin", "token_id", "session_id", "scopes"
    }  # fmt: skip


async def test_the_legacy_resolution_of_tokens(api, house):
    await house.add_users("ada")
    token = await house.token_of("ada")
    found = (await api("GET", f"authorizations/token/{token}")).json()
    assert found["name"] == "ada" and found["last_activity"]
    assert (await api("GET", "authorizations/token/" + "0" * 32)).status_code == 404
    assert (await api("GET", "authorizations/token")).status_code == 404
    assert (await api("POST", "authorizations/token")).status_code == 404
    assert (await api("GET", f"authorizations/token/{token}", token=None)).status_code == 403


async def test_the_legacy_resolution_of_cookies(api, house):
    [ada] = await house.add_users("ada")
    value = create_signed_value(house.settings.cookie_secret, "jupyterhub-hub-login", ada.cookie_id).decode()
    assert (await api("GET", f"authorizations/cookie/jupyterhub-hub-login/{value}")).json()["name"] == "ada"
    assert (await api("GET", "authorizations/cookie/jupyterhub-hub-login", content=value)).json()["name"] == "ada"
    assert (await api("GET", f"authorizations/cookie/other/{value}")).status_code == 404
    assert (await api("GET", "authorizations/cookie/x/y", token=None)).status_code == 403


# -- users


async def test_a_user_is_created_read_changed_and_deleted(api, house):
    made = await api("POST", "users/ada", json={"admin": False})
    assert made.status_code == 201
    assert set(made.json()) == {
        "kind", "name", "admin", "user_info", "roles", "groups", "server", "pending", "created", "last_activity",
        "servers", "auth_state",
    }  # fmt: skip
    assert (await api("GET", "users/ada")).json() == made.json()
    assert (await api("POST", "users/ada")).status_code == 409
    changed = await api("PATCH", "users/ada", json={"name": "lovelace"})
    assert changed.status_code == 200 and changed.json()["name"] == "lovelace"
    assert (await api("DELETE", "users/lovelace")).status_code == 204
    assert (await api("GET", "users/lovelace")).status_code == 404


@pytest.mark.parametrize(
    "body", [[], "text", {}, {"usernames": []}, {"usernames": "ada"}, {"usernames": [5]}, {"usernames": ["a"], "x": 1}]
)
async def test_malformed_bulk_creations_are_refused(api, body):
    assert (await api("POST", "users", json=body)).status_code == 400
    assert (await api("GET", "users")).json() == []


@pytest.mark.parametrize(
    "body", [None, [], {"groups": []}, {"roles": []}, {"colour": 1}, {"auth_state": {"x": 1}}, {"name": 7}]
)
async def test_malformed_changes_are_refused(api, house, body):
    await house.add_users("ada")
    r = await api("PATCH", "users/ada", json=body) if body is not None else await api("PATCH", "users/ada")
    assert r.status_code == 400


async def test_a_filtered_requester_sees_their_user_under_the_new_name(api, house):
    await house.add_users("ada")
    token = await house.service_with("keeper", "admin:users!user=ada")
    r = await api("PATCH", "users/ada", token=token, json={"name": "lovelace"})
    assert r.status_code == 200 and r.json()["name"] == "lovelace" and r.json()["auth_state"] is None
    assert (await api("GET", "users/lovelace", token=token)).status_code == 404


@pytest.mark.parametrize(
    ("scope", "fields"),
    [
        ("read:users:name", {"admin", "user_info"}),
        ("read:users:groups", {"groups"}),
        ("read:users:activity", {"last_activity"}),
        ("read:roles:users", {"admin", "roles"}),
        ("read:servers", {"admin", "user_info", "servers"}),
    ],
)
@pytest.mark.parametrize("limit", ["", "!user=ada", "!group=crew"])
async def test_scopes_decide_which_fields_of_a_user_are_shown(api, house, scope, fields, limit):
    await house.add_users("ada", "bob")
    await house.groups.create("crew", members=["ada"])
    token = await house.service_with("reader", scope + limit)
    r = await api("GET", "users/ada", token=token)
    assert r.status_code == 200 and set(r.json()) == {"kind", "name"} | fields
    if limit:
        hidden, missing = [await api("GET", f"users/{n}", token=token) for n in ("bob", "nobody")]
        assert hidden.status_code == missing.status_code == 404 and hidden.json() == missing.json()


async def test_server_filters_show_single_servers_of_listed_users(api, house):
    await house.add_users("ada", "bob")
    await house.servers.start(ServerKey("ada", "box"))
    await house.servers.start(ServerKey("ada", "other"))
    token = await house.service_with(
        "lister", "list:users", "read:servers!server=ada/box", "admin:server_state!user=ada"
    )
    ada, bob = (await api("GET", "users", token=token)).json()
    assert set(ada["servers"]) == {"box"} and ada["servers"]["box"]["state"] == {"pid": 7} and "servers" not in bob


async def test_stopped_servers_are_shown_on_request(api, house):
    await house.add_users("ada")
    await house.servers.start(ServerKey("ada"))
    assert (await api("GET", "users/ada")).json()["server"] == "/user/ada/"
    await house.servers.stop(ServerKey("ada"), remove=False, wait_s=1)
    for query, shown in (("", set()), ("?include_stopped_servers", {""}), ("?include_stopped_servers=False", set())):
        assert set((await api("GET", f"users/ada{query}")).json()["servers"]) == shown
    assert (await api("GET", "users/ada")).json()["server"] is None


async def test_states_select_users_by_their_servers(api, house):
    await house.add_users("ada", "bob")
    await house.servers.start(ServerKey("ada"))
    for state, found in (("active", ["ada"]), ("ready", ["ada"]), ("inactive", ["bob"]), ("", ["ada", "bob"])):
        assert [u["name"] for u in (await api("GET", f"users?state={state}")).json()] == found
    assert (await api("GET", "users?state=sleepy")).status_code == 400
    assert (await api("GET", "users?sort=")).status_code == 400
    assert (await api("GET", "users?sort=--id")).status_code == 400


async def test_users_are_chosen_by_group_and_by_the_flag(api):
    await api.house.add_users("ada", "bob")
    await api.house.add_users("root", admin=True)
    await api.house.groups.create("crew", members=["bob", "root"])

    async def chosen(query: str) -> list[str]:
        return [user["name"] for user in (await api("GET", f"users?{query}")).json()]

    assert await chosen("group=crew") == ["bob", "root"]
    assert await chosen("group=crew&admin=0") == ["bob"]
    assert await chosen("admin=1") == ["root"]
    assert await chosen("group=nobody") == []
    assert await chosen("group=") == ["ada", "bob", "root"]


async def test_members_are_told_only_to_those_who_may_read_the_group(api):
    await api.house.add_users("ada")
    await api.house.groups.create("crew", members=["ada"])
    reader = await api.house.service_with("reader", "list:users", "read:groups!group=other")
    assert (await api("GET", "users?group=crew", token=reader)).status_code == 403
    assert (await api("GET", "users?group=other", token=reader)).json() == []


async def test_members_of_groups_are_counted_for_those_who_do_not_want_all_names(api):
    await api.house.add_users("ada", "bob")
    await api.house.groups.create("crew", members=["ada", "bob"])
    await api.house.groups.create("empty")
    groups = (await api("GET", "groups?include_users=0")).json()
    assert [(g["name"], g["user_count"], "users" in g) for g in groups] == [("crew", 2, False), ("empty", 0, False)]
    assert [g["name"] for g in (await api("GET", "groups?name_filter=REW")).json()] == ["crew"]


async def test_a_list_of_users_costs_the_same_statements_for_one_and_for_many(api, house):
    await house.add_users("ada")
    costs = []
    for more in ([], [f"u{i}" for i in range(40)]):
        for user in await house.add_users(*more) if more else []:
            await house.servers.start(ServerKey(user.name))
        await house.activity.flush()
        with counted(house.store) as statements:
            assert (await api("GET", "users")).status_code == 200
        costs.append(len(statements))
    assert costs[0] == costs[1] <= 10, costs


async def test_activity_is_reported_and_read_back_at_once(api, house):
    await house.add_users("ada")
    r = await api("POST", "users/ada/activity", json={"last_activity": "2022-02-02T02:02:02Z"})
    assert r.status_code == 200 and r.content == b""
    assert (await api("GET", "users/ada")).json()["last_activity"] == "2022-02-02T02:02:02Z"
    for wrong in (
        {},
        {"servers": {}},
        {"servers": {"": {}}},
        {"last_activity": "x"},
        {"servers": {"y": {"last_activity": "2022-02-02"}}},
    ):
        assert (await api("POST", "users/ada/activity", json=wrong)).status_code == 400
    assert (await api("POST", "users/nobody/activity", json={"last_activity": "2022-02-02"})).status_code == 404


async def test_admin_access_does_nothing_and_needs_its_switch(api, house):
    await house.add_users("ada")
    assert (await api("POST", "users/ada/admin-access")).status_code == 403


# -- pages of lists


async def test_lists_come_bare_or_wrapped_as_asked(api, house):
    await house.add_users(*(f"u{i:03}" for i in range(210)))
    bare = await api("GET", "users")
    assert len(bare.json()) == 200
    wrapped = (await api("GET", "users?include_stopped_servers&sort=-name", headers=PAGED)).json()
    assert len(wrapped["items"]) == 50 and wrapped["_pagination"]["total"] == 210
    following = wrapped["_pagination"]["next"]
    query = parse_qs(urlsplit(following["url"]).query, keep_blank_values=True)
    assert query == {"include_stopped_servers": [""], "sort": ["-name"], "offset": ["50"], "limit": ["50"]}
    assert (await api("GET", following["url"], headers=PAGED)).json()["_pagination"]["offset"] == 50


@pytest.mark.parametrize(
    ("query", "offset", "limit"),
    [
        ("limit=0", 0, 1),
        ("limit=-2", 0, 2),
        ("limit=1000", 0, 200),
        ("offset=-1", 1, 50),
        (f"offset={10**30}", 2**53, 50),
    ],
)
async def test_odd_windows_are_brought_into_range(api, query, offset, limit):
    info = (await api("GET", f"users?{query}", headers=PAGED)).json()["_pagination"]
    assert (info["offset"], info["limit"]) == (offset, limit)


@pytest.mark.parametrize("query", ["limit=x", "offset=", "offset=1.5"])
async def test_windows_that_are_no_numbers_are_refused(api, query):
    assert (await api("GET", f"users?{query}")).status_code == 400


@pytest.mark.parametrize("accept", ["application/jupyterhub-pagination+json;q=1", "application/json", "*/*"])
async def test_only_the_exact_type_wraps_a_list(api, accept):
    assert (await api("GET", "groups", headers={"Accept": accept})).json() == []


# -- servers


async def test_a_server_is_made_started_changed_and_removed(api, house):
    await house.add_users("ada")
    made = await api("PUT", "users/ada/servers/box", json={"user_options": {"n": 1}})
    assert made.status_code == 201 and made.json()["user_options"] == {"n": 1} and made.json()["stopped"] is True
    assert (await api("PUT", "users/ada/servers/box")).status_code == 409
    assert (await api("PUT", "users/ada/server")).status_code == 409
    assert (await api("PUT", "users/ada/servers/")).status_code == 409
    renamed = await api("PATCH", "users/ada/servers/box", json={"name": "crate"})
    assert renamed.status_code == 200 and renamed.json()["url"] == "/user/ada/crate/"
    started = await api("POST", "users/ada/servers/crate")
    assert started.status_code == 201 and started.content == b""
    assert started.headers["Content-Type"].startswith("text/plain")
    assert (await api("GET", "users/ada/servers/crate")).json()["ready"] is True
    assert (
        await api(
            "DELETE",
            "users/ada/servers/crate",
        )
    ).status_code == 204
    removed = await api("DELETE", "users/ada/servers/crate", content=json.dumps({"remove": True}))
    assert removed.status_code == 204
    assert (await api("GET", "users/ada/servers/crate")).status_code == 404


async def test_everybody_has_a_default_server_though_it_never_ran(api, house):
    await house.add_users("ada")
    r = await api("GET", "users/ada/server")
    assert r.status_code == 200 and r.json()["stopped"] is True and r.json()["display_name"] == ""
    assert (await api("GET", "users/ada/servers/")).json() == r.json()
    assert (await api("GET", "users/ada")).json()["servers"] == {}
    assert (await api("GET", "users/ada/servers/box")).status_code == 404


async def test_a_server_that_stops_slowly_is_answered_with_202(api, house):
    await house.add_users("ada")
    await house.servers.start(ServerKey("ada"))
    house.servers.never_stop.add("ada")
    assert (await api("DELETE", "users/ada/server")).status_code == 202
    assert (await api("DELETE", "users/ada/server", content=b'{"remove": true}')).status_code == 400


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "PATCH", "DELETE"])
async def test_servers_of_nobody_are_not_found(api, method):
    body = {"content": b'{"user_options": {}}'} if method == "PATCH" else {}
    assert (await api(method, "users/nobody/servers/box", **body)).status_code == 404


@pytest.mark.parametrize("content", [b"", b"null", b"{}", b'["x"]', b'{"user_options": null}', b'{"colour": 1}'])
async def test_malformed_changes_of_a_server_are_refused(api, house, content):
    await house.add_users("ada")
    await api("PUT", "users/ada/servers/box")
    assert (await api("PATCH", "users/ada/servers/box", content=content)).status_code == 400


async def test_progress_is_a_stream_of_events_that_ends(api, house):
    await house.add_users("ada")
    assert (await api("GET", "users/ada/server/progress")).status_code == 404
    await house.servers.start(ServerKey("ada"))
    r = await api("GET", "users/ada/server/progress")
    assert r.headers["Content-Type"].startswith("text/event-stream") and r.headers["Cache-Control"] == "no-cache"
    events = [json.loads(line[6:]) for line in r.text.splitlines() if line.startswith("data: ")]
    assert [event.get("ready") for event in events] == [None, True]


# -- tokens


async def test_tokens_are_made_listed_and_revoked(api, house):
    await house.add_users("ada")
    made = await api("POST", "users/ada/tokens", json={"note": "mine", "expires_in": 60})
    assert made.status_code == 201 and made.json()["note"] == "mine" and made.json()["oauth_client"] == "JupyterHub"
    model = {key: value for key, value in made.json().items() if key != "token"}
    assert (await api("GET", "users/ada/tokens")).json() == {"api_tokens": [model]}
    assert (await api("GET", f"users/ada/tokens/{model['id']}")).json() == model
    own = made.json()["token"]
    assert (await api("DELETE", f"users/ada/tokens/{model['id']}", token=own)).status_code == 204
    assert (await api("GET", "user", token=own)).status_code == 403


async def test_tokens_for_others_are_forbidden_alike_whoever_exists(api, house):
    await house.add_users("ada", "bob")
    token = await house.token_of("bob")
    ada, nobody = [await api("POST", f"users/{n}/tokens", token=token) for n in ("ada", "nobody")]
    assert ada.status_code == nobody.status_code == 403 and ada.json() == nobody.json()
    assert (await api("POST", "users/nobody/tokens")).status_code == 403
    assert (await api("GET", "users/nobody/tokens")).status_code == 404


@pytest.mark.parametrize(
    ("auth", "status"),
    [
        ({"username": "ada", "password": "right"}, 201),
        ({"username": "ada", "password": "wrong"}, 403),
        ({"username": "bob", "password": "right"}, 403),
        ({"username": "broken", "password": "right"}, 403),
    ],
)
async def test_credentials_in_the_body_make_a_token_of_their_owner_only(api, house, auth, status):
    await house.add_users("ada", "bob")
    r = await api("POST", "users/ada/tokens", token=None, json={"auth": auth})
    assert r.status_code == status
    assert (await api("POST", "users/nobody/tokens", token=None, json={"auth": auth})).status_code == 403
    assert (await api("POST", "users/ada/tokens", token=None)).status_code == 403


async def test_the_use_of_a_token_is_seen_at_once(api, house):
    await house.add_users("ada")
    token = await house.token_of("ada")
    await api("GET", "user", token=token)
    [listed] = (await api("GET", "users/ada/tokens")).json()["api_tokens"]
    assert listed["last_activity"] >= listed["created"]


# -- groups


async def test_groups_and_their_members(api, house):
    await house.add_users("ada", "bob")
    made = await api("POST", "groups/crew", json={"users": ["ada"]})
    assert made.status_code == 201
    assert made.json() == {"kind": "group", "name": "crew", "users": ["ada"], "properties": {}, "roles": []}
    assert (await api("POST", "groups/crew")).status_code == 409
    assert (await api("POST", "groups/crew/users", json={"users": ["bob"]})).json()["users"] == ["ada", "bob"]
    r = await api("DELETE", "groups/crew/users", content=b'{"users": ["ada"]}')
    assert r.status_code == 200 and r.json()["users"] == ["bob"]
    assert (await api("PUT", "groups/crew/properties", json={"a": [1]})).json()["properties"] == {"a": [1]}
    assert (await api("PUT", "groups/crew/properties", json=[1])).status_code == 400
    assert (await api("PUT", "groups/none/properties", json=[1])).status_code == 404
    assert (await api("DELETE", "groups/crew")).status_code == 204


async def test_an_awkward_group_name_works_percent_encoded(api):
    assert (await api("POST", "groups/a%20b%2Fc%C3%A9")).status_code == 201
    r = await api("GET", "groups/a%20b%2Fc%C3%A9")
    assert r.json()["name"] == "a b/cé" and b"\\u00e9" in r.content


async def test_bulk_groups_need_the_unfiltered_scope(api, house):
    some = await house.service_with("some", "admin:groups!group=crew")
    assert (await api("POST", "groups", token=some, json={"groups": ["crew"]})).status_code == 403
    assert (await api("POST", "groups", json={"groups": ["x", "y"]})).status_code == 201
    assert (await api("POST", "groups", json={"groups": "xy"})).status_code == 400


# -- services, shares, proxy


async def test_services_are_added_read_and_removed(api, house):
    boss = await house.service_with("boss", "admin:services", "access:services", admin=True)
    r = await api("POST", "services/new", token=boss, json={"info": {"x": 1}, "url": "http://127.0.0.1:9"})
    assert r.status_code == 201 and r.json()["prefix"] == "/services/new/" and r.json()["pid"] == 0
    assert (await api("POST", "services/new", token=boss, json={"info": {}})).status_code == 409
    assert set((await api("GET", "services")).json()) >= {"new", "root"}
    assert (await api("DELETE", "services/new", token=boss)).status_code == 200
    assert (await api("GET", "services/new")).status_code == 404
    await house.services.load_configured([{"name": "kept"}])
    assert (await api("DELETE", "services/kept")).status_code == 405
    for wrong in ({}, {"timeout": 5}, {"admin": "yes"}, {"command": ["true"]}, {"url": "x"}):
        assert (await api("POST", "services/wrong", token=boss, json=wrong)).status_code == 400


async def test_shares_and_codes_over_http(api, house):
    await house.add_users("ada", "bob")
    made = await api("POST", "shares/ada/", json={"user": "bob"})
    assert made.status_code == 200
    assert made.json()["server"] == {
        "user": {"name": "ada"}, "name": "", "url": "/user/ada/", "full_url": None, "ready": False
    }  # fmt: skip
    listed = (await api("GET", "shares/ada")).json()
    assert listed["items"] == [made.json()] and listed["_pagination"]["total"] == 1
    assert (await api("GET", "users/bob/shared")).json()["items"] == [made.json()]
    assert (await api("GET", "users/bob/shared/ada/")).json() == made.json()
    assert (await api("PATCH", "shares/ada/", json={"user": "bob"})).json() == {}
    code = await api("POST", "share-codes/ada/")
    assert code.status_code == 200 and code.json()["accept_url"] == f"/hub/accept-share?code={code.json()['code']}"
    assert (await api("DELETE", "share-codes/ada/?id=sc_999")).status_code == 404
    assert (await api("DELETE", f"share-codes/ada/?id={code.json()['id']}")).status_code == 204
    assert (await api("GET", "share-codes/ada")).json()["items"] == []


async def test_routes_are_paged_and_checked(api, house):
    r = (await api("GET", "proxy", headers=PAGED)).json()
    assert set(r["items"]) == {"/"} and r["_pagination"]["total"] == 1
    assert (await api("GET", "proxy")).json() == r["items"]
    assert (await api("POST", "proxy")).status_code == 200 and house.routes.checks == 1
    for content in (b"", b"[]", b"{}", b"x"):
        assert (await api("PATCH", "proxy", content=content)).status_code == 400


async def test_many_requests_at_once_are_all_answered(api, house):
    await house.add_users("ada")
    answers = await asyncio.gather(
        *(api("POST", "users/ada/activity", json={"last_activity": f"2022-02-02T02:02:{i:02}Z"}) for i in range(30))
    )
    assert {r.status_code for r in answers} == {200}
    assert (await api("GET", "users/ada")).json()["last_activity"] == "2022-02-02T02:02:29Z"
