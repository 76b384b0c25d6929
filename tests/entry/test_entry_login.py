"""Logging in and out at the door: pages, cookies, who becomes a user, and what ends with the session."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tornado.web import HTTPError

from jupyterhub.auth import DummyAuthenticator
from jupyterhub.crypto import CryptKeeper
from jupyterhub.hub.web import xsrf
from jupyterhub.hub.web.handler import HubHandler

from .conftest import PASSWORD, Door, MakeDoor


def cookies_of(response: Any) -> dict[str, str]:
    return {c.split("=")[0]: c.lower() for c in response.headers.get_list("set-cookie")}


# -- the page


async def test_a_first_login_makes_a_plain_user_and_sends_three_cookies(door: Door) -> None:
    b = door.browser()
    r = await b.login(" Ada ")
    assert (r.status_code, r.headers["location"]) == (302, "/hub/spawn")
    cookies = cookies_of(r)
    assert set(cookies) == {"jupyterhub-hub-login", "jupyterhub-session-id", "_xsrf"}
    assert "path=/hub/" in cookies["jupyterhub-hub-login"]
    assert "httponly" in cookies["jupyterhub-hub-login"]
    assert "expires=" not in cookies["jupyterhub-session-id"]
    assert "secure" not in "".join(cookies.values())
    user = await door.user("ada")
    async with door.store.read() as tx:
        assert await tx.roles.names_of("user", user.id) == ["user"]
    assert (await b.get("/hub/page")).status_code == 200


async def test_a_wrong_password_is_a_403_with_the_form_and_no_user(door: Door) -> None:
    b = door.browser()
    r = await b.login("eve", "wrong")
    assert r.status_code == 403
    assert "Invalid username or password" in r.text
    assert 'value="eve"' in r.text
    assert "jupyterhub-hub-login" not in cookies_of(r)
    async with door.store.read() as tx:
        assert await tx.users.find("eve") is None


async def test_a_page_leads_to_login_and_login_back_to_it(door: Door) -> None:
    b = door.browser()
    r = await b.get("/hub/page?a=1&b=%2F")
    assert r.status_code == 302
    assert parse_qs(urlsplit(r.headers["location"]).query)["next"] == ["/hub/page?a=1&b=%2F"]
    r = await b.login("ada", next="/hub/page?a=1&b=%2F")
    assert r.headers["location"] == "/hub/page?a=1&b=%2F"


async def test_other_arguments_travel_through_the_form(door: Door) -> None:
    b = door.browser()
    assert "opt-size=big" in (await b.get("/hub/login?opt-size=big&username=x")).text
    r = await b.login("ada", **{"opt-size": "big"})
    assert r.headers["location"] == "/hub/spawn?opt-size=big"


async def test_an_evil_next_neither_is_followed_nor_appears_in_the_form(door: Door) -> None:
    b = door.browser()
    assert "evil" not in (await b.get("/hub/login?next=//evil.example")).text
    assert (await b.login("ada", next="//evil.example")).headers["location"] == "/hub/spawn"


async def test_who_is_logged_in_is_sent_on_and_a_broken_cookie_is_cleared(door: Door) -> None:
    b = door.browser()
    await b.login("ada")
    assert (await b.get("/hub/login")).headers["location"] == "/hub/spawn"
    stranger = door.browser(cookies={"jupyterhub-hub-login": "forged"})
    r = await stranger.get("/hub/login")
    assert r.status_code == 200
    assert cookies_of(r)["jupyterhub-hub-login"].startswith('jupyterhub-hub-login=""')


async def test_a_refused_navigation_shows_a_form_that_works(door: Door) -> None:
    b = door.browser()
    r = await b.post("/hub/login", data={"username": "ada", "password": PASSWORD})
    assert r.status_code == 403
    assert "login_error" in r.text
    assert (await b.login("ada")).status_code == 302
    script = door.browser()
    r = await script.post("/hub/login", data={"username": "ada"}, headers={"Sec-Fetch-Mode": "cors"})
    assert r.status_code == 403
    assert 'name="password"' not in r.text


async def test_a_session_that_somebody_else_prepared_is_not_taken_over(door: Door) -> None:
    b = door.browser(cookies={"jupyterhub-session-id": "a" * 32})
    await b.login("ada")
    sessions = [c.value for c in b.http.cookies.jar if c.name == "jupyterhub-session-id"]
    assert any(s != "a" * 32 for s in sessions)


async def test_the_xsrf_token_is_of_the_session_and_changes_at_login(door: Door) -> None:
    b = door.browser()
    early = await b.xsrf()
    assert b.cookie("_xsrf") == early
    await b.login("ada")
    late = await b.xsrf("/hub/page")
    assert early != late == b.cookie("_xsrf")
    assert (await b.post("/hub/page", data={"_xsrf": early})).status_code == 403
    assert (await b.post("/hub/page", data={"_xsrf": late})).text == "done"
    assert (await b.post("/hub/page", headers={"X-XSRFToken": late})).text == "done"
    user = await door.user("ada")
    statement = xsrf.read_token(door.house.settings.cookie_secret, late)
    assert statement == f"{b.cookie('jupyterhub-session-id')}:{user.cookie_id}".encode()


async def test_a_script_is_not_sent_a_new_token(door: Door) -> None:
    b = door.browser()
    assert "_xsrf" not in cookies_of(await b.get("/hub/login", headers={"Sec-Fetch-Mode": "cors"}))
    assert "max-age=3600" in cookies_of(await b.get("/hub/login"))["_xsrf"]


async def test_a_login_without_session_cookie_is_given_one(door: Door) -> None:
    b = door.browser()
    await b.login("ada")
    again = door.browser(cookies={"jupyterhub-hub-login": b.cookie("jupyterhub-hub-login") or ""})
    r = await again.get("/hub/page")
    assert r.status_code == 200
    assert {"jupyterhub-session-id", "_xsrf"} <= set(cookies_of(r))


async def test_logout_clears_cookies_and_ends_the_tokens_of_the_session_only(door: Door) -> None:
    b = door.browser()
    await b.login("ada")
    own = await door.token_of("ada")
    user = await door.user("ada")
    async with door.store.begin() as tx:
        await tx.tokens.create(
            "user", user.id, secret="x" * 30, scopes=[], note="", session_id=b.cookie("jupyterhub-session-id")
        )
    r = await b.get("/hub/logout")
    assert r.headers["location"] == "/hub/login"
    assert set(cookies_of(r)) == {"jupyterhub-session-id", "jupyterhub-hub-login", "jupyterhub-services", "_xsrf"}
    assert (await b.get("/hub/page")).status_code == 302
    assert await door.house.requesters.by_token("x" * 30) is None
    assert await door.house.requesters.by_token(own) is not None


async def test_a_logout_without_login_touches_nothing(door: Door) -> None:
    r = await door.browser().get("/hub/logout")
    assert (r.status_code, r.headers["location"], cookies_of(r)) == (302, "/hub/login", {})


async def test_a_deleted_user_is_logged_out(door: Door) -> None:
    b = door.browser()
    await b.login("ada")
    async with door.store.begin() as tx:
        await tx.users.delete((await tx.users.find("ada")).id)  # type: ignore[union-attr]
    assert (await b.get("/hub/page")).status_code == 302


# -- settings


async def test_below_a_base_url_everything_carries_the_prefix(make_door: MakeDoor) -> None:
    door = await make_door(base_url="/lab/one/")
    b = door.browser()
    r = await b.get("/lab/one/hub/page")
    assert r.headers["location"].startswith("/lab/one/hub/login?next=%2Flab%2Fone%2Fhub%2Fpage")
    assert (await b.get("/lab/one")).headers["location"] == "/lab/one/hub/"
    assert (await b.get("/lab/one/x?y")).headers["location"] == "/lab/one/hub/x?y"


@pytest.mark.parametrize(
    ("options", "headers", "secure"),
    [
        ({}, {}, False),
        ({}, {"X-Scheme": "https"}, True),
        ({}, {"X-Forwarded-Proto": "https,http"}, False),
        ({}, {"X-Forwarded-Proto": "https"}, True),
        ({}, {"Forwarded": "proto=https"}, False),
        ({"public_url": "https://hub.example.org/"}, {}, True),
        ({"public_url": "http://hub.example.org/"}, {"X-Scheme": "https"}, False),
        ({"cookie_host_prefix_enabled": True}, {}, True),
    ],
)
async def test_login_cookies_are_secure_where_the_visitor_came_over_https(
    make_door: MakeDoor, options: dict[str, Any], headers: dict[str, str], secure: bool
) -> None:
    door = await make_door(**options)
    b = door.browser(headers=headers)
    token = await b.xsrf()
    r = await b.post(
        "/hub/login",
        data={"username": "ada", "password": PASSWORD, "_xsrf": token},
        headers={"Cookie": f"_xsrf={token}"},
    )
    cookies = cookies_of(r)
    prefix = "__Host-" if options.get("cookie_host_prefix_enabled") else ""
    login = cookies[f"{prefix}jupyterhub-hub-login"]
    assert ("; secure" in login) is secure
    assert ("path=/;" in login + ";") is bool(prefix)
    assert "secure" not in cookies["_xsrf"]


async def test_cookie_options_reach_all_cookies_unless_xsrf_has_its_own(make_door: MakeDoor) -> None:
    options = {"samesite": "Lax", "expires_days": None}
    r = await (await make_door(cookie_options=options)).browser().login("ada")
    cookies = cookies_of(r)
    assert all("samesite=lax" in c for c in cookies.values())
    assert "expires=" not in cookies["jupyterhub-hub-login"]
    r = await (await make_door(cookie_options=options, xsrf_cookie_kwargs={})).browser().login("ada")
    assert "samesite" not in cookies_of(r)["_xsrf"]


async def test_the_session_is_shared_with_subdomains_the_login_is_not(make_door: MakeDoor) -> None:
    door = await make_door(
        subdomain_host="http://hub.example.org",
        public_url="http://hub.example.org/",
        public_hub_url="http://hub.example.org/hub/",
        domain="hub.example.org",
    )
    cookies = cookies_of(await door.browser().login("ada"))
    assert "domain=hub.example.org" in cookies["jupyterhub-session-id"]
    assert "domain=" not in cookies["jupyterhub-hub-login"] + cookies["_xsrf"]
    assert (await door.browser().get("/x")).headers["location"] == "http://hub.example.org/hub/x"


async def test_a_default_url_may_be_computed_and_counts_for_strangers_if_it_is_text(make_door: MakeDoor) -> None:
    door = await make_door(default_url=lambda handler: "/hub/admin" if handler.current_user.name == "root" else None)
    assert (await door.browser().login("root")).headers["location"] == "/hub/admin"
    assert (await door.browser().login("ada")).headers["location"] == "/hub/spawn"
    door = await make_door(default_url="/hub/token")
    assert (await door.browser().get("/hub/")).headers["location"] == "/hub/token"
    door = await make_door(redirect_to_server=False)
    assert (await door.browser().login("ada")).headers["location"] == "/hub/home"
    assert (await door.browser().get("/hub/")).headers["location"] == "/hub/login?next=%2Fhub%2F"


# -- authenticators


class Scripted(DummyAuthenticator):
    """Does what the password says."""

    asked: list[tuple[str, Any]] = []
    verdict: Any = True
    strict = False

    async def authenticate(self, handler: Any, data: Any) -> Any:
        word = data["password"]
        if word == "teapot":
            raise HTTPError(418, "the badge reader is off", reason="Teapot Trouble")
        if word == "crash":
            raise RuntimeError("the vault at 10.9.8.7 is down")
        if word == "grouped":
            return {"name": data["username"], "groups": ["red", "blue"], "auth_state": {"t": 1}, "admin": True}
        if word == "roled":
            return {"name": data["username"], "groups": None, "roles": [{"name": "r-one", "scopes": ["list:users"]}]}
        if word == "badrole":
            return {"name": data["username"], "groups": None, "roles": [{"name": "r-one", "scopes": ["no:such"]}]}
        return {"name": data["username"], "groups": []} if word == "yes" else None

    def add_user(self, user: Any) -> Any:
        type(self).asked.append(("add_user", user.name))
        if user.name == "unhirable":
            raise ValueError("no desk left")

    async def refresh_user(self, user: Any, handler: Any = None) -> Any:
        type(self).asked.append(("refresh", user.name))
        return type(self).verdict


@pytest.fixture
def scripted() -> type[Scripted]:
    Scripted.asked, Scripted.verdict = [], True
    return Scripted


async def test_an_http_error_of_the_authenticator_keeps_status_and_text(
    make_door: MakeDoor, scripted: type[Scripted]
) -> None:
    door = await make_door(authenticator_class=scripted)
    r = await door.browser().login("ada", "teapot")
    assert (r.status_code, r.reason_phrase) == (418, "Teapot Trouble")
    assert "the badge reader is off" in r.text
    assert 'name="password"' in r.text


async def test_a_crash_of_the_authenticator_tells_no_secrets(
    make_door: MakeDoor, scripted: type[Scripted], caplog: pytest.LogCaptureFixture
) -> None:
    door = await make_door(authenticator_class=scripted)
    r = await door.browser().login("ada", "crash")
    assert r.status_code == 500
    assert "10.9.8.7" not in r.text
    assert "10.9.8.7" in caplog.text
    assert (await door.browser().login("ada", "yes")).status_code == 302


async def test_a_user_whom_the_authenticator_cannot_prepare_for_is_not_kept(
    make_door: MakeDoor, scripted: type[Scripted]
) -> None:
    door = await make_door(authenticator_class=scripted)
    assert (await door.browser().login("unhirable", "yes")).status_code == 500
    async with door.store.read() as tx:
        assert await tx.users.find("unhirable") is None
    for _ in range(2):
        await door.browser().login("ada", "yes")
    assert scripted.asked.count(("add_user", "ada")) == 1


async def test_what_the_login_says_is_stored(
    make_door: MakeDoor, scripted: type[Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTERHUB_CRYPT_KEY", secrets.token_hex(32))
    CryptKeeper.clear_instance()
    config = {"allow_all": True, "manage_groups": True, "enable_auth_state": True}
    door = await make_door(authenticator_class=scripted, config=config)
    await door.browser().login("ada", "grouped")
    user = await door.user("ada")
    assert user.admin
    assert await door.house.views.load_auth_state(user.id) == {"t": 1}
    async with door.store.read() as tx:
        assert sorted(await tx.groups.groups_of(user.id)) == ["blue", "red"]
        assert sorted(await tx.roles.names_of("user", user.id)) == ["admin", "user"]
        assert b"t" not in (await tx.users.auth_state(user.id) or b"")[:1]
    await door.browser().login("ada", "yes")
    async with door.store.read() as tx:
        assert await tx.groups.groups_of(user.id) == []
        assert await tx.users.auth_state(user.id) is None
    assert (await door.user("ada")).admin, "None leaves it as it is"
    CryptKeeper.clear_instance()


async def test_managed_roles_are_exactly_those_of_the_login(make_door: MakeDoor, scripted: type[Scripted]) -> None:
    door = await make_door(authenticator_class=scripted, config={"allow_all": True, "manage_roles": True})
    assert (await door.browser().login("ada", "roled")).status_code == 302
    user = await door.user("ada")
    async with door.store.read() as tx:
        assert await tx.roles.names_of("user", user.id) == ["r-one"]
        assert await tx.roles.scopes_of_user(user.id) == ["list:users"]
    assert (await door.browser().login("ada", "badrole")).status_code == 409


async def test_a_managed_group_list_must_be_there(make_door: MakeDoor, scripted: type[Scripted]) -> None:
    door = await make_door(config={"allow_all": True, "manage_groups": True})
    assert (await door.browser().login("ada")).status_code == 500


async def test_an_expired_login_must_be_renewed_and_a_later_yes_counts(
    make_door: MakeDoor, scripted: type[Scripted]
) -> None:
    door = await make_door(authenticator_class=scripted)
    b = door.browser()
    await b.login("ada", "yes")
    token = await door.token_of("ada")
    headers = {"Authorization": f"token {token}"}
    assert ("refresh", "ada") not in scripted.asked, "a login is fresh"
    user = await door.user("ada")
    door.house.logins.forget(user.id)
    scripted.verdict = False
    assert (await b.get("/hub/page")).status_code == 302
    assert (await b.get("/hub/api/things/ada")).status_code == 403
    assert (await b.get("/hub/api/things/ada", headers=headers)).status_code == 200
    door.house.authenticator.auth_refresh_strict = True
    assert (await b.get("/hub/api/things/ada", headers=headers)).status_code == 403
    scripted.verdict = True
    assert (await b.get("/hub/page")).status_code == 200
    asked = len(scripted.asked)
    assert (await b.get("/hub/page")).status_code == 200
    assert len(scripted.asked) == asked, "not again before auth_refresh_age"


async def test_requests_at_once_ask_the_authenticator_once(make_door: MakeDoor, scripted: type[Scripted]) -> None:
    door = await make_door(authenticator_class=scripted)
    user = await door.add_user("ada")
    results = await asyncio.gather(*(door.house.logins.refresh(user) for _ in range(5)))
    assert all(r.is_fresh for r in results)
    assert scripted.asked == [("refresh", "ada")]


async def test_a_refresh_may_change_groups_but_not_the_name(make_door: MakeDoor, scripted: type[Scripted]) -> None:
    door = await make_door(authenticator_class=scripted, config={"allow_all": True, "manage_groups": True})
    user = await door.add_user("ada")
    scripted.verdict = {"name": "somebody-else", "groups": ["new"]}
    assert (await door.house.logins.refresh(user, force=True)).user.name == "ada"
    async with door.store.read() as tx:
        assert await tx.groups.groups_of(user.id) == ["new"]
        assert await tx.users.find("somebody-else") is None


async def test_a_first_login_on_two_hubs_at_once_makes_one_user(make_door: MakeDoor, scripted: type[Scripted]) -> None:
    door = await make_door(authenticator_class=scripted)
    model = {"name": "ada", "admin": None, "auth_state": None}
    users = await asyncio.gather(*(door.house.logins.persist(model) for _ in range(3)))
    assert len({user.id for user in users}) == 1
    assert scripted.asked.count(("add_user", "ada")) == 1


async def test_an_expired_owner_cannot_start_their_server_but_a_service_may(
    make_door: MakeDoor, scripted: type[Scripted]
) -> None:
    config = {"allow_all": True, "refresh_pre_spawn": True}
    door = await make_door(authenticator_class=scripted, config=config, handlers=[("/start", Start)])
    b = door.browser()
    await b.login("ada", "yes")
    await door.add_user("boss", admin=True)
    boss = {"Authorization": f"token {await door.token_of('boss')}"}
    assert (await b.get("/hub/start?who=ada")).text == "started"
    scripted.verdict = False
    assert (await b.get("/hub/start?who=ada")).status_code == 403
    assert (await door.browser().get("/hub/start?who=ada", headers=boss)).text == "started"
    door.house.authenticator.auth_refresh_strict = True
    assert (await door.browser().get("/hub/start?who=ada", headers=boss)).status_code == 403


class Start(HubHandler):
    accepts_token = True

    async def get(self) -> None:
        async with self.house.store.read() as tx:
            owner = await tx.users.find(self.get_argument("who"))
        assert owner is not None
        await self.refresh_before_spawn(owner)
        self.finish("started")


class Elsewhere(DummyAuthenticator):
    auto_login = True
    login_service = "Acme"

    def login_url(self, base_url: str) -> str:
        return base_url + "sso"


async def test_auto_login_leads_to_the_authenticator_with_a_checked_next(make_door: MakeDoor) -> None:
    door = await make_door(authenticator_class=Elsewhere)
    b = door.browser()
    assert (await b.get("/hub/login")).headers["location"] == "/hub/sso"
    assert (await b.get("/hub/login?next=/hub/token")).headers["location"] == "/hub/sso?next=%2Fhub%2Ftoken"
    assert (await b.get("/hub/login?next=//evil")).headers["location"] == "/hub/sso"
    door.house.authenticator.auto_login = False
    page = (await b.get("/hub/login?next=/hub/token")).text
    assert "Acme" in page
    assert "/hub/sso?next=%2Fhub%2Ftoken" in page
    assert 'name="password"' not in page


async def test_with_auto_login_logging_out_does_not_log_in_again(make_door: MakeDoor) -> None:
    door = await make_door()
    b = door.browser()
    await b.login("ada")
    door.house.authenticator.auto_login = True
    r = await b.get("/hub/logout")
    assert r.status_code == 200
    assert "Logged out" in r.text
    assert "ada" not in r.text
    assert "max-age=3600" in cookies_of(r)["_xsrf"], "a stranger's token"


async def test_a_plugins_handler_logs_in_without_a_token_and_reads_the_user(door: Door) -> None:
    b = door.browser()
    assert (await b.get("/hub/whoami")).json() == {"name": None, "next": "/hub/home"}
    r = await b.post("/hub/lti?next=/hub/whoami", data={"who": "ada"})
    assert (r.status_code, r.headers["location"]) == (302, "/hub/whoami")
    assert (await b.get("/hub/whoami?x=1")).json() == {"name": "ada", "next": "/hub/spawn?x=1"}
