"""The hub as OAuth provider: the authorization-code flow by hand, what it grants, and what it refuses."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import re
import subprocess
import sys
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from sqlalchemy import update

from jupyterhub.hub.store.tables import spawners
from jupyterhub.words import secret_hash
from jupyterhub.words.models import OAuthClient
from jupyterhub.words.names import ServerKey, oauth_client_id

from .conftest import Browser, Door, MakeDoor

AUTHORIZE, TOKEN = "/hub/api/oauth2/authorize", "/hub/api/oauth2/token"
VERIFIER = "v" * 20 + "-._~" + "0123456789" * 3
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")


def callback(name: str) -> str:
    return f"http://127.0.0.1:9/{name}/cb"


def address(name: str, **params: str | None) -> str:
    asked = {"client_id": f"service-{name}", "redirect_uri": callback(name), "response_type": "code", "state": "st"}
    given = {k: v for k, v in {**asked, **params}.items() if v is not None}
    return f"{AUTHORIZE}?{urlencode(given)}"


def query(r: httpx.Response) -> dict[str, str]:
    return {k: v[0] for k, v in parse_qs(urlsplit(r.headers["location"]).query).items()}


def offered(r: httpx.Response) -> list[str]:
    return [html.unescape(value) for value in re.findall(r'name="scopes" value="([^"]*)"', r.text)]


async def visitor(door: Door, name: str, *scopes: str) -> Browser:
    """Somebody logged in who may use the services of the test, and has these scopes beside."""
    b = door.browser()
    await b.login(name)
    await door.add_role(f"uses-{name}", "access:services", *scopes, users=(name,))
    return b


async def code_of(b: Browser, name: str, **params: str | None) -> str:
    r = await b.get(address(name, **params))
    if r.status_code == 200:
        token = re.search(r'name="_xsrf" value="([^"]+)"', r.text)
        assert token is not None
        r = await b.post(address(name, **params), data={"_xsrf": token[1], "scopes": offered(r)})
    assert r.status_code == 302, r.text
    assert r.headers["location"].startswith(callback(name))
    return query(r)["code"]


async def exchange(door: Door, name: str, code: str, **params: str | None) -> httpx.Response:
    data = {
        "client_id": f"service-{name}",
        "client_secret": f"{name}-secret",
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": callback(name),
        **params,
    }
    return await door.browser().post(TOKEN, data={k: v for k, v in data.items() if v is not None})


async def scopes_of(door: Door, reply: httpx.Response) -> set[str]:
    assert reply.status_code == 200, reply.text
    requester = await door.house.requesters.by_token(reply.json()["access_token"])
    return set(requester.scopes.raw)


def test_oauthlib_is_not_loaded_by_the_start_of_a_hub() -> None:
    check = (
        "import sys, jupyterhub.hub.oauth.provider, jupyterhub.hub.web.oauth.token; sys.exit('oauthlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


# -- the whole flow


async def test_a_confirmed_request_ends_in_a_token_of_the_user_and_the_session(door: Door) -> None:
    await door.add_service("plot")
    b = await visitor(door, "ada")
    page = await b.get(address("plot"))
    assert page.status_code == 200
    assert "Service plot" in page.text
    assert set(offered(page)) == {
        "access:services!service=plot",
        "read:users:name!user",
        "read:users:groups!user",
    }
    r = await exchange(door, "plot", await code_of(b, "plot"))
    body = r.json()
    assert (r.status_code, r.headers["cache-control"], body["token_type"]) == (200, "no-store", "Bearer")
    assert body["expires_in"] == 14 * 86400
    assert re.fullmatch(r"[A-Za-z0-9]{30}", body["access_token"])
    assert "refresh_token" not in body
    requester = await door.house.requesters.by_token(body["access_token"])
    assert requester.name == "ada"
    assert requester.token.client_id == "service-plot"
    assert requester.session_id == b.cookie("jupyterhub-session-id")
    assert "access:services!service=plot" in requester.scopes.raw
    await b.get("/hub/logout")
    assert await door.house.requesters.by_token(body["access_token"]) is None


async def test_what_was_confirmed_is_not_asked_again_but_more_is(door: Door) -> None:
    await door.add_service("plot", allowed_scopes=("list:users",))
    b = await visitor(door, "ada", "list:users")
    await exchange(door, "plot", await code_of(b, "plot", scope="identify"))
    assert (await b.get(address("plot", scope="identify"))).status_code == 302
    assert (await b.get(address("plot"))).status_code == 200
    await exchange(door, "plot", await code_of(b, "plot"))
    assert (await b.get(address("plot"))).status_code == 302


async def test_trusted_services_and_ones_own_server_are_not_confirmed(door: Door) -> None:
    await door.add_service("quiet", oauth_no_confirm=True, redirect_uri="/services/quiet/cb")
    b = await visitor(door, "ada")
    r = await b.get(address("quiet", redirect_uri="/services/quiet/cb"))
    assert r.headers["location"].startswith("/services/quiet/cb?code=")
    r = await b.get(address("quiet", redirect_uri=None))
    assert r.headers["location"].startswith("/services/quiet/cb?code=")

    ada, key = await door.user("ada"), ServerKey("ada")
    client_id = oauth_client_id(key)
    async with door.store.begin() as tx:
        server = await tx.servers.create(ada.id, "")
        await tx.oauth.save_client(
            OAuthClient(
                identifier=client_id,
                description="Server at /user/ada/",
                secret=secret_hash.hash_secret("server-secret"),
                redirect_uri="/user/ada/oauth_callback",
                allowed_scopes=["access:servers!server=ada/"],
            )
        )
        await tx.connection.execute(
            update(spawners).where(spawners.c.id == server.id).values(oauth_client_id=client_id)
        )
    path = f"{AUTHORIZE}?{urlencode({'client_id': client_id, 'response_type': 'code'})}"
    assert (await b.get(path)).headers["location"].startswith("/user/ada/oauth_callback?code=")
    stranger = await visitor(door, "eve")
    assert (await stranger.get(path)).status_code == 403
    admin = await visitor(door, "boss", "access:servers")
    assert (await admin.get(path)).status_code == 200


async def test_a_stranger_logs_in_first(door: Door) -> None:
    await door.add_service("plot")
    r = await door.browser().get(address("plot"))
    assert r.status_code == 302
    assert urlsplit(r.headers["location"]).path == "/hub/login"
    assert query(r)["next"] == address("plot")
    await door.add_user("ada")
    headers = {"Authorization": f"token {await door.token_of('ada')}"}
    assert (await door.browser().get(address("plot"), headers=headers)).status_code == 302


async def test_a_foreign_site_cannot_confirm(door: Door) -> None:
    await door.add_service("plot")
    b = await visitor(door, "ada")
    r = await b.post(address("plot"), data={"scopes": ["access:services!service=plot"]})
    assert r.status_code == 403


# -- scopes


async def test_the_user_confirms_less_than_was_asked_for(door: Door) -> None:
    await door.add_service("plot", allowed_scopes=("list:users", "read:servers!user"))
    b = await visitor(door, "ada", "list:users")
    page = await b.get(address("plot"))
    assert {"list:users", "read:servers!user"} <= set(offered(page))
    token = await b.xsrf("/hub/page")
    r = await b.post(address("plot"), data={"_xsrf": token, "scopes": ["read:servers!user"]})
    scopes = await scopes_of(door, await exchange(door, "plot", query(r)["code"]))
    assert "read:servers!user=ada" in scopes
    assert "list:users" not in scopes
    r = await b.post(address("plot"), data={"_xsrf": token, "scopes": ["admin:users"]})
    assert query(r)["error"] == "invalid_scope"


async def test_what_the_user_does_not_hold_is_left_out(door: Door) -> None:
    await door.add_service("plot", allowed_scopes=("admin:users", "servers"))
    b = await visitor(door, "ada")
    page = offered(await b.get(address("plot")))
    assert "admin:users" not in page
    assert "servers!user=ada" in page, "what is held in part is narrowed"
    scopes = await scopes_of(door, await exchange(door, "plot", await code_of(b, "plot")))
    assert "servers!user=ada" in scopes
    assert not {s for s in scopes if s.startswith("admin:")}


async def test_inherit_is_shown_and_granted_as_a_whole(door: Door) -> None:
    await door.add_service("plot", allowed_scopes=("inherit",))
    b = await visitor(door, "ada")
    assert offered(await b.get(address("plot"))) == ["inherit"]
    scopes = await scopes_of(door, await exchange(door, "plot", await code_of(b, "plot")))
    assert "tokens!user=ada" in scopes


async def test_names_of_roles_stand_for_their_scopes(door: Door) -> None:
    await door.add_service("plot", allowed_scopes=("list:users",))
    b = await visitor(door, "ada", "list:users")
    await door.add_role("lister", "list:users")
    assert "list:users" in offered(await b.get(address("plot", scope="lister")))
    assert query(await b.get(address("plot", scope="lister nobody")))["error"] == "invalid_scope"


async def test_losing_access_empties_the_token_at_once(door: Door) -> None:
    await door.add_service("plot")
    b = await visitor(door, "ada")
    reply = await exchange(door, "plot", await code_of(b, "plot"))
    assert "access:services!service=plot" in await scopes_of(door, reply)
    async with door.store.begin() as tx:
        await tx.roles.strip("user", (await door.user("ada")).id, "uses-ada")
    assert "access:services!service=plot" not in await scopes_of(door, reply)


# -- refusals at the page


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_id": "service-nobody"},
        {"client_id": None},
        {"client_id": "jupyterhub"},
        {"redirect_uri": "http://127.0.0.1:9/other"},
        {"redirect_uri": "http://127.0.0.1:9/plot/cb?x=1"},
        {"redirect_uri": "javascript:alert(1)"},
    ],
    ids=str,
)
async def test_a_client_that_cannot_be_trusted_is_reported_on_a_page(door: Door, wrong: dict[str, Any]) -> None:
    await door.add_service("plot")
    r = await (await visitor(door, "ada")).get(address("plot", **wrong))
    assert r.status_code == 400
    assert "text/html" in r.headers["content-type"]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "invalid_request"),
        ({"scope": "no:such:scope"}, "invalid_scope"),
        ({"scope": "admin:users"}, "invalid_scope"),
        ({"code_challenge": "x" * 43, "code_challenge_method": "S999"}, "invalid_request"),
    ],
    ids=str,
)
async def test_other_mistakes_are_reported_to_the_client(door: Door, wrong: dict[str, Any], error: str) -> None:
    await door.add_service("plot")
    r = await (await visitor(door, "ada")).get(address("plot", **wrong))
    assert r.status_code == 302
    assert r.headers["location"].startswith(callback("plot"))
    assert (query(r)["error"], query(r)["state"], "code" in query(r)) == (error, "st", False)


async def test_a_service_without_access_is_refused_on_a_page(door: Door) -> None:
    await door.add_service("plot")
    b = door.browser()
    await b.login("ada")
    r = await b.get(address("plot"))
    assert r.status_code == 403
    assert "text/html" in r.headers["content-type"]


async def test_pkce_can_be_demanded(make_door: MakeDoor) -> None:
    door = await make_door(oauth_require_pkce=True)
    await door.add_service("plot")
    b = await visitor(door, "ada")
    assert query(await b.get(address("plot")))["error"] == "invalid_request"
    code = await code_of(b, "plot", code_challenge=CHALLENGE, code_challenge_method="S256")
    assert (await exchange(door, "plot", code, code_verifier=VERIFIER)).status_code == 200


# -- refusals at the token endpoint


async def test_a_code_works_once_also_when_it_comes_twice_at_once(door: Door) -> None:
    await door.add_service("plot")
    b = await visitor(door, "ada")
    code = await code_of(b, "plot")
    replies = await asyncio.gather(*(exchange(door, "plot", code) for _ in range(4)))
    assert sorted(r.status_code for r in replies) == [200, 400, 400, 400]
    late = await exchange(door, "plot", code)
    assert (late.status_code, late.json()["error"]) == (400, "invalid_grant")


async def test_a_code_that_comes_again_ends_the_token_that_it_has_become(door: Door) -> None:
    await door.add_service("plot")
    await door.add_service("other")
    b = await visitor(door, "ada")
    code = await code_of(b, "plot")
    token = (await exchange(door, "plot", code)).json()["access_token"]
    kept = (await exchange(door, "plot", await code_of(b, "plot"))).json()["access_token"]
    # Who is not the client cannot end anything.
    assert (await exchange(door, "plot", code, client_secret="wrong-secret")).status_code == 401
    assert (await exchange(door, "other", code)).status_code == 400
    assert await door.house.requesters.by_token(token) is not None
    assert (await exchange(door, "plot", code)).json()["error"] == "invalid_grant"
    assert await door.house.requesters.by_token(token) is None
    assert await door.house.requesters.by_token(kept) is not None


@pytest.mark.parametrize(
    ("wrong", "status", "error"),
    [
        ({"client_secret": "wrong-secret"}, 401, "invalid_client"),
        ({"client_secret": None}, 401, "invalid_client"),
        ({"client_id": "service-nobody"}, 401, "invalid_client"),
        ({"client_id": "jupyterhub"}, 401, "invalid_client"),
        ({"code": "invented"}, 400, "invalid_grant"),
        ({"code": ""}, 400, "invalid_grant"),
        ({"code": None}, 400, "invalid_request"),
        ({"redirect_uri": "http://127.0.0.1:9/other"}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, 400, "unsupported_grant_type"),
    ],
    ids=str,
)
async def test_a_client_that_gets_it_wrong_gets_no_token(
    door: Door, wrong: dict[str, Any], status: int, error: str
) -> None:
    await door.add_service("plot")
    code = await code_of(await visitor(door, "ada"), "plot")
    r = await exchange(door, "plot", **{"code": code, **wrong})
    assert (r.status_code, r.json()["error"]) == (status, error)
    assert r.headers["content-type"].startswith("application/json")
    assert r.headers["cache-control"] == "no-store"


async def test_a_code_is_of_no_use_to_another_client_or_after_its_time(door: Door) -> None:
    await door.add_service("plot")
    await door.add_service("other")
    b = await visitor(door, "ada")
    code = await code_of(b, "plot")
    assert (await exchange(door, "other", code, redirect_uri=callback("plot"))).json()["error"] == "invalid_grant"
    async with door.store.begin() as tx:
        row = await tx.oauth.find_code("service-plot", code)
        assert row is not None
        await tx.oauth.delete_code("service-plot", code)
        await tx.oauth.create_code(type(row)(**{f: getattr(row, f) for f in row.__slots__} | {"expires_at": 1}))
    assert (await exchange(door, "plot", code)).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("challenge", "method"),
    [(CHALLENGE, "S256"), (VERIFIER, "plain"), (VERIFIER, None)],
    ids=["S256", "plain", "default"],
)
async def test_a_challenge_is_met_by_its_verifier_only(door: Door, challenge: str, method: str | None) -> None:
    await door.add_service("plot")
    b = await visitor(door, "ada")
    params = {"code_challenge": challenge, "code_challenge_method": method}
    assert (await exchange(door, "plot", await code_of(b, "plot", **params), code_verifier=VERIFIER)).status_code == 200
    r = await exchange(door, "plot", await code_of(b, "plot", **params), code_verifier="w" * 50)
    assert (r.status_code, r.json()["error"]) == (400, "invalid_grant")
    r = await exchange(door, "plot", await code_of(b, "plot", **params))
    assert (r.status_code, r.json()["error"]) == (400, "invalid_request")


async def test_credentials_in_the_address_or_a_header_are_refused(door: Door) -> None:
    await door.add_service("plot")
    code = await code_of(await visitor(door, "ada"), "plot")
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": callback("plot"),
        "client_id": "service-plot",
    }
    b = door.browser()
    r = await b.post(f"{TOKEN}?client_secret=plot-secret", data=form)
    assert (r.status_code, r.json()["error"]) == (400, "invalid_request")
    r = await b.post(TOKEN, data=form, auth=("service-plot", "plot-secret"))
    assert (r.status_code, r.json()["error"]) == (401, "invalid_client")
    assert (await b.get(TOKEN)).status_code == 405
