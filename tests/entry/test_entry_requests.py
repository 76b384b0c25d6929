"""What stands at every door: credentials, scopes, headers, errors, and what the log may know."""

from __future__ import annotations

import json
import logging

import pytest

from jupyterhub.hub.settings import HubSettings
from jupyterhub.hub.web import urls
from jupyterhub.hub.web.access_log import scrub_url
from jupyterhub.hub.web.entry import needs_scope
from jupyterhub.hub.web.handler import HubHandler
from jupyterhub.words.version import __version__

from .conftest import Door, MakeDoor

FETCH = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}


# -- credentials


@pytest.mark.parametrize("scheme", ["token", "Bearer", "TOKEN  ", "bearer"])
async def test_a_token_counts_for_programs_and_not_for_pages(door: Door, scheme: str) -> None:
    await door.add_user("ada")
    headers = {"Authorization": f"{scheme} {await door.token_of('ada')}"}
    b = door.browser()
    assert (await b.get("/hub/api/things/ada", headers=headers)).json()["asked_by"] == "ada"
    assert (await b.get("/hub/page", headers=headers)).status_code == 302


async def test_no_other_form_of_credentials_counts(door: Door) -> None:
    await door.add_user("ada")
    token = await door.token_of("ada")
    b = door.browser()
    assert (await b.get(f"/hub/api/things/ada?token={token}")).status_code == 403
    for value in (f"Basic {token}", token, f"token {token} x", "token", f"token {'x' * 500}"):
        assert (await b.get("/hub/api/things/ada", headers={"Authorization": value})).status_code == 403


async def test_a_valid_token_beats_a_cookie_and_an_invalid_one_does_not_count(door: Door) -> None:
    await door.add_user("grace")
    token = await door.token_of("grace")
    b = door.browser()
    await b.login("ada")
    r = await b.get("/hub/api/things/grace", headers={"Authorization": f"token {token}"})
    assert r.json()["asked_by"] == "grace"
    r = await b.get("/hub/api/things/ada", headers={"Authorization": "token wrong-wrong"})
    assert r.json()["asked_by"] == "ada"


async def test_a_write_by_cookie_needs_a_token_and_json(door: Door) -> None:
    b = door.browser()
    await b.login("ada")
    token = await b.xsrf("/hub/page")
    path = "/hub/api/things/ada"
    for headers in ({}, FETCH, {"Origin": "http://evil.example"}, {"Sec-Fetch-Mode": "no-cors"}):
        r = await b.post(path, json={}, headers=headers)
        assert (r.status_code, r.json()["message"]) == (403, "'_xsrf' argument missing from POST")
    assert (await b.post(path, json={}, headers={"X-XSRFToken": token})).status_code == 200
    assert (await b.post(f"{path}?_xsrf={token}")).status_code == 200
    for kind, status in [("text/plain", 403), ("application/json; charset=UTF-8", 200)]:
        r = await b.post(path, content=b"{}", headers={"Content-Type": kind, "X-XSRFToken": token})
        assert r.status_code == status, kind


async def test_scripts_read_with_a_token_and_others_without(door: Door) -> None:
    b = door.browser()
    await b.login("ada")
    assert (await b.get("/hub/api/things/ada")).status_code == 200
    assert (await b.get("/hub/api/things/ada", headers=FETCH)).status_code == 403
    token = await b.xsrf("/hub/page")
    assert (await b.get("/hub/api/things/ada", headers={**FETCH, "X-XSRFToken": token})).status_code == 200


async def test_a_stranger_with_an_origin_does_not_learn_whether_a_cookie_came_along(door: Door) -> None:
    b = door.browser()
    plain = await b.get("/hub/api/things/ada")
    assert (plain.status_code, plain.json()) == (403, {"status": 403, "message": "Missing or invalid credentials."})
    headers = {**FETCH, "Origin": "http://evil.example"}
    strange = (await b.get("/hub/api/things/ada", headers=headers)).json()
    await b.login("ada")
    assert (await b.get("/hub/api/things/ada", headers=headers)).json() == strange


async def test_activity_is_noted_but_not_written_by_each_request(door: Door) -> None:
    b = door.browser()
    await b.login("ada")
    await b.get("/hub/page")
    assert (await door.user("ada")).last_activity is None
    await door.house.activity.flush()
    assert (await door.user("ada")).last_activity is not None


#: writes that no foreign site could gain anything by: what they ask for is no cookie, or nothing happens at all
UNCHECKED = {"TokenHandler", "TokenOwner", "CookieOwner", "NotFoundHandler"}


def test_every_handler_that_writes_is_protected_against_forgery() -> None:
    routes = urls.table(HubSettings(), plugin_handlers=[])
    handlers = {route[1] for route in routes if route[1].__name__ != "StaticHandler"}
    assert len(handlers) > 30
    for handler in handlers:
        assert issubclass(handler, HubHandler), handler
        assert handler.check_xsrf_cookie is HubHandler.check_xsrf_cookie
        writes = any(name in vars(handler) for name in ("post", "put", "patch", "delete"))
        if writes and not (handler.checks_xsrf and handler.identifies):
            assert handler.__name__ in UNCHECKED
            assert not (handler.accepts_cookie and handler.__name__ != "NotFoundHandler")


# -- scopes


async def answer(door: Door, name: str, path: str, method: str = "GET") -> tuple[int, str | None]:
    headers = {"Authorization": f"token {await door.token_of(name)}"}
    r = await door.browser().http.request(method, path, headers=headers)
    return r.status_code, r.json()["message"] if r.status_code >= 400 else None


async def test_a_filtered_miss_looks_like_something_that_is_not_there(door: Door) -> None:
    await door.add_user("ada")
    await door.add_user("grace")
    assert (await answer(door, "ada", "/hub/api/things/ada"))[0] == 200
    others = await answer(door, "ada", "/hub/api/things/grace")
    nobodys = await answer(door, "ada", "/hub/api/things/nobody")
    assert others == nobodys
    assert others[0] == 404


async def test_without_the_scope_the_refusal_names_it(door: Door) -> None:
    await door.add_user("bare", roles=())
    status, message = await answer(door, "bare", "/hub/api/things/ada")
    assert status == 403
    assert message is not None
    assert "requires any of [read:users, read:users:name]" in message


async def test_a_filter_does_not_suffice_where_the_request_is_about_nothing(door: Door) -> None:
    await door.add_user("ada")
    await door.add_role("some-users", "admin:users!user=grace", users=("ada",))
    assert (await answer(door, "ada", "/hub/api/things", "POST"))[0] == 403
    assert (await answer(door, "ada", "/hub/api/things"))[0] == 200, "lists are filtered instead"


async def test_members_of_a_group_are_reached_as_they_are_now(door: Door) -> None:
    await door.add_user("ta", roles=())
    grace = await door.add_user("grace")
    await door.add_role("class-reader", "read:users!group=class", "read:servers!group=class", users=("ta",))
    async with door.store.begin() as tx:
        group = await tx.groups.create("class")
    assert (await answer(door, "ta", "/hub/api/things/grace"))[0] == 404
    async with door.store.begin() as tx:
        await tx.groups.add_members(group.id, [grace.id])
    assert (await answer(door, "ta", "/hub/api/things/grace"))[0] == 200
    assert (await answer(door, "ta", "/hub/api/things/grace/servers/gpu"))[0] == 200


async def test_a_server_filter_reaches_that_server_alone(door: Door) -> None:
    await door.add_user("ada", roles=())
    await door.add_role("one-server", "read:servers!server=grace/gpu", users=("ada",))
    assert (await answer(door, "ada", "/hub/api/things/grace/servers/gpu"))[0] == 200
    assert (await answer(door, "ada", "/hub/api/things/grace/servers/"))[0] == 404


def test_a_scope_that_does_not_exist_is_noticed_at_once() -> None:
    with pytest.raises(ValueError, match="no:such"):
        needs_scope("no:such")


# -- headers and errors


async def test_every_answer_carries_version_and_policy(door: Door) -> None:
    b = door.browser()
    for path in ("/hub/login", "/hub/nowhere", "/x", "/hub/api/things", "/hub/broken"):
        r = await b.get(path)
        assert r.headers["x-jupyterhub-version"] == __version__
        policy = r.headers["content-security-policy"]
        assert policy.startswith("frame-ancestors 'none'; report-uri /hub/security/csp-report")
        assert ("default-src 'none'" in policy) is (path != "/x"), "a redirect is no page"
        assert "access-control-allow-origin" not in r.headers
        assert r.headers["access-control-allow-headers"] == "accept, content-type, authorization"


async def test_a_deployers_headers_replace_ours(make_door: MakeDoor) -> None:
    door = await make_door(headers={"Content-Security-Policy": "frame-ancestors 'self'", "X-Colour": "blue"})
    for path in ("/hub/login", "/hub/api/things", "/hub/nowhere"):
        r = await door.browser().get(path)
        assert (r.headers["content-security-policy"], r.headers["x-colour"]) == ("frame-ancestors 'self'", "blue")


async def test_a_bug_is_a_500_that_tells_nothing(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    b = door.browser()
    r = await b.get("/hub/api/broken?token=verysecret")
    assert (r.status_code, r.json()) == (500, {"status": 500, "message": "Internal Server Error"})
    r = await b.get("/hub/broken")
    assert r.status_code == 500
    assert "10.9.8.7" not in r.text
    assert "text/html" in r.headers["content-type"]
    assert "10.9.8.7" in caplog.text
    assert "verysecret" not in caplog.text


async def test_a_deployers_own_error_page_is_shown(
    make_door: MakeDoor, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("templates")
    (folder / "404.html").write_text("lost: {{ status_code }} {{ base_url }}")
    (folder / "500.html").write_text("{{ 1 / 0 }}")
    door = await make_door(template_paths=[str(folder)])
    assert (await door.browser().get("/hub/nowhere")).text == "lost: 404 /hub/"
    r = await door.browser().get("/hub/broken")
    assert (r.status_code, "500" in r.text) == (500, True)


async def test_addresses_outside_the_hub_lead_below_it_and_never_off_the_site(door: Door) -> None:
    b = door.browser()
    assert (await b.get("/x/y%20z?a=1&b=%26")).headers["location"] == "/hub/x/y%20z?a=1&b=%26"
    for path in ("//evil.example/..", "///evil.example", "/\\evil.example"):
        r = await b.http.request("GET", door.url + path)
        assert r.headers["location"].startswith("/hub/"), path
    r = await b.get("/user/ada?x=1")
    assert (r.status_code, r.headers["location"]) == (301, "/user/ada/?x=1")
    r = await b.get("/hub")
    assert (r.status_code, r.headers["location"]) == (301, "/hub/")
    assert (await b.post("/user/ada/api/x")).status_code == 403


# -- the log


async def test_the_access_line_names_who_asked_and_no_secrets(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    await door.add_user("ada")
    token = await door.token_of("ada")
    caplog.set_level(logging.INFO, "jupyterhub.access")
    headers = {"Authorization": f"token {token}"}
    await door.browser().get("/hub/api/things/ada?_xsrf=abc123&code=def456&colour=red", headers=headers)
    [line] = [record.getMessage() for record in caplog.records if record.name == "jupyterhub.access"]
    assert line.startswith("200 GET /hub/api/things/ada?_xsrf=[secret]&code=[secret]&colour=red (ada@127.0.0.1) ")
    assert token not in line


def test_addresses_are_written_on_one_line_and_cut_short() -> None:
    assert scrub_url("/hub/api/authorizations/token/abcdef") == "/hub/api/authorizations/token/[secret]"
    assert scrub_url("/x?%63ode=1&a=%0d%0a") == "/x?%63ode=[secret]&a=%0d%0a"
    assert scrub_url("//[broken\x1b]") == "//[broken\\x1b]"
    assert len(scrub_url("/" + "x" * 9999)) < 2100


async def test_errors_in_json_are_json(door: Door) -> None:
    r = await door.browser().http.request("DELETE", "/hub/api/things")
    assert json.loads(r.text) == {"status": 405, "message": None}
