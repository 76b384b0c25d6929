"""A real single-user server with JupyterLab, as browsers, programs and the hub see it."""

import json
import re
import signal
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from .single_user import browser
from .stub_hub import SERVER_TOKEN, model

ADA, BOB = "adas-token-0123456789", "bobs-token-0123456789"
COOKIE = "jupyterhub-user-ada"


def set_cookies(response):
    """Give name -> list of attributes (the value first) for all Set-Cookie headers."""
    found = {}
    for header in response.headers.get_list("set-cookie"):
        first, *rest = [part.strip() for part in header.split(";")]
        name, _, value = first.partition("=")
        found.setdefault(name, [value, *rest])
    return found


def follow(client, url, **kwargs):
    return client.get(url, follow_redirects=True, **kwargs)


@pytest.fixture
def ada(server):
    with browser() as client:
        response = follow(client, server.url + "lab")
        assert response.status_code == 200
        yield client


def xsrf_of(client, server):
    (cookie,) = [c for c in client.cookies.jar if c.name == "_xsrf" and c.path == server.prefix]
    return cookie.value


# -- logging in
def test_a_page_sends_an_unknown_browser_to_the_hub_with_a_state_and_a_challenge(server, hub):
    with browser() as client:
        response = client.get(server.url + "lab/tree/x.ipynb")
    assert response.status_code == 302
    target = urlsplit(response.headers["location"])
    assert f"{target.scheme}://{target.netloc}{target.path}" == f"{hub.url}/hub/api/oauth2/authorize"
    arguments = {name: value for name, [value] in parse_qs(target.query).items()}
    assert arguments["client_id"] == COOKIE and arguments["response_type"] == "code"
    assert arguments["redirect_uri"] == server.url + "oauth_callback"
    assert arguments["code_challenge_method"] == "S256" and len(arguments["code_challenge"]) == 43
    value, *attributes = set_cookies(response)[f"{COOKIE}-oauth-state"]
    assert {"HttpOnly", "Path=/user/ada/", "Max-Age=600"} <= set(attributes) and "Secure" not in attributes
    assert arguments["state"] and value


def test_the_round_trip_ends_at_the_page_first_asked_for(server, hub):
    with browser() as client:
        response = follow(client, server.url + "tree?a=b%20c")
        assert response.status_code == 200
        assert str(response.url) == server.url + "tree?a=b%20c"
        assert hub.token_requests[-1]["redirect_uri"] == server.url + "oauth_callback"
        names = {(c.name, c.path) for c in client.cookies.jar if "session-id" not in c.name}
        assert names == {(COOKIE, server.prefix), ("_xsrf", server.prefix)}


def test_the_login_cookie_is_for_the_server_alone_and_hidden_from_scripts(server):
    with browser() as client:
        response = client.get(server.url + "lab")
        response = client.get(client.get(response.headers["location"]).headers["location"])
    cookies = set_cookies(response)
    assert {"HttpOnly", "Path=/user/ada/"} <= set(cookies[COOKIE])
    assert "Path=/user/ada/" in cookies["_xsrf"] and "HttpOnly" not in cookies["_xsrf"]
    value, *attributes = cookies[f"{COOKIE}-oauth-state"]
    assert value in ("", '""') and any("expires" in a for a in attributes)


def test_behind_an_https_proxy_cookies_are_secure(server):
    with browser() as client:
        response = client.get(server.url + "lab", headers={"X-Forwarded-Proto": "https"})
    assert "Secure" in set_cookies(response)[f"{COOKIE}-oauth-state"]


def test_two_tabs_may_log_in_at_once(server):
    with browser() as client:
        first, second = (client.get(f"{server.url}{page}").headers["location"] for page in ("lab", "tree"))
        states = [c.name for c in client.cookies.jar]
        assert len(states) == 2 and all(name.startswith(f"{COOKIE}-oauth-state") for name in states)
        assert str(follow(client, second).url) == server.url + "tree"
        assert str(follow(client, first).url) == server.url + "lab"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ({}, 400),
        ({"code": "x"}, 400),
        ({"state": "x"}, 400),
        ({"error": "access_denied", "error_description": "no"}, 400),
        ({"code": "x", "state": "made-up"}, 403),
    ],
)
def test_the_callback_refuses_what_it_did_not_ask_for(server, arguments, status):
    with browser() as client:
        assert client.get(server.url + "oauth_callback", params=arguments).status_code == status


def test_a_login_begun_in_another_browser_is_refused(server):
    with browser() as attacker, browser() as victim:
        callback = attacker.get(attacker.get(server.url + "lab").headers["location"]).headers["location"]
        victim.get(server.url + "lab")
        response = victim.get(callback)
        assert response.status_code == 403 and COOKIE not in victim.cookies


def test_going_back_to_the_callback_when_logged_in_leads_on(server, ada):
    response = ada.get(server.url + "oauth_callback?code=old&state=old")
    assert response.status_code == 302 and response.headers["location"] == server.prefix


def test_a_code_that_the_hub_refuses_logs_nobody_in(server, hub):
    with browser() as client:
        callback = client.get(client.get(server.url + "lab").headers["location"]).headers["location"]
        hub.codes.clear()
        response = client.get(callback)
        assert response.status_code == 500 and COOKIE not in client.cookies


def test_someone_without_access_is_told_so_and_not_sent_around(server, hub):
    hub.login_as = model("bob", ["access:servers!user=bob"])
    with browser() as client:
        response = follow(client, server.url + "lab")
        assert response.status_code == 403 and "user bob is not allowed" in response.text


# -- tokens
@pytest.mark.parametrize("scheme", ["token", "Bearer", "bearer", "TOKEN"])
def test_a_token_in_the_header_opens_the_api(server, scheme):
    assert server.get("api/status", headers={"Authorization": f"{scheme} {ADA}"}).status_code == 200


@pytest.mark.parametrize("token", [None, "nobodys-token", "x" * 5000, BOB])
def test_no_token_and_wrong_tokens_are_refused(server, token):
    assert server.get("api/status", token).status_code == 403


def test_a_token_in_the_address_is_ignored(server):
    assert server.get(f"api/status?token={ADA}").status_code == 403


def test_the_root_of_the_api_is_open_to_the_hubs_probe(server):
    response = server.get("api")
    assert response.status_code == 200 and "version" in response.json()


def test_the_servers_own_token_opens_it(server, hub):
    hub.tokens[SERVER_TOKEN] = model("ada", ["access:servers!server=ada/"])
    assert server.get("api/status", SERVER_TOKEN).status_code == 200


def test_a_service_with_access_may_come_in(server, hub):
    hub.tokens["service-token-0123"] = model("culler", ["access:servers"], kind="service")
    assert server.get("api/status", "service-token-0123").status_code == 200


def test_the_hub_is_asked_once_about_a_token_known_or_not(server, hub):
    hub.tokens["often-used-token"] = model("ada", ["access:servers!user=ada"])
    before = hub.asked_for_user
    for _ in range(3):
        assert server.get("api/status", "often-used-token").status_code == 200
        assert server.get("api/status", "often-guessed-token").status_code == 403
    assert hub.asked_for_user == before + 2


def test_when_the_hub_is_broken_nobody_is_let_in_and_nobody_logged_out(server, hub, ada):
    ada.cookies.set("jupyterhub-session-id", "another", domain="127.0.0.1", path="/")
    hub.broken = 503
    assert server.get("api/status", "an-unknown-token").status_code == 502
    response = ada.get(server.url + "lab")
    assert response.status_code == 502 and COOKIE not in set_cookies(response)


# -- sessions
def test_logging_out_at_the_hub_ends_the_session_here(server, hub, ada):
    assert ada.get(server.url + "api/status").status_code == 200
    issued = [token for token, owner in hub.tokens.items() if owner is hub.login_as and token != ADA]
    for token in issued:
        del hub.tokens[token]
    # the hub gives the browser another session id, and that is what makes the server ask again
    jar = [c for c in ada.cookies.jar if c.name == "jupyterhub-session-id"]
    for cookie in jar:
        ada.cookies.delete(cookie.name, cookie.domain, cookie.path)
    ada.cookies.set("jupyterhub-session-id", "another", domain="127.0.0.1", path="/")
    response = ada.get(server.url + "api/status")
    assert response.status_code == 403
    assert set_cookies(response)[COOKIE][0] in ("", '""')


def test_logging_out_here_leads_to_the_hubs_logout(server, hub, ada):
    response = ada.get(server.url + "logout")
    assert response.status_code == 302 and response.headers["location"] == f"{hub.url}/hub/logout"
    assert set_cookies(response)[COOKIE][0] in ("", '""')


# -- request forgery
def make_directory(client, server, **kwargs):
    return client.post(server.url + "api/contents", json={"type": "directory"}, **kwargs)


def test_a_cookie_alone_changes_nothing(server, ada):
    assert make_directory(ada, server).status_code == 403


@pytest.mark.parametrize("header", ["X-XSRFToken", "X-CSRFToken"])
def test_our_own_pages_send_the_token_back(server, ada, header):
    assert make_directory(ada, server, headers={header: xsrf_of(ada, server)}).status_code == 201


def test_the_token_may_be_an_argument(server, ada):
    assert make_directory(ada, server, params={"_xsrf": xsrf_of(ada, server)}).status_code == 201


def test_another_persons_xsrf_token_is_of_no_use(server, ada):
    with browser() as other:
        follow(other, server.url + "lab")
        stolen = xsrf_of(other, server)
    ada.cookies.set("_xsrf", stolen, domain="127.0.0.1", path=server.prefix)
    assert make_directory(ada, server, headers={"X-XSRFToken": stolen}).status_code == 403


def test_a_token_in_the_header_needs_no_xsrf_token(server):
    assert server.request("POST", "api/contents", ADA, json={"type": "directory"}).status_code == 201


@pytest.mark.parametrize(
    ("mode", "status"), [("", 200), ("navigate", 200), ("cors", 403), ("same-origin", 403), ("no-cors", 403)]
)
def test_reading_with_a_cookie_depends_on_who_makes_the_browser_read(server, ada, mode, status):
    headers = {"Sec-Fetch-Mode": mode, "Sec-Fetch-Site": "same-site"} if mode else {}
    assert ada.get(server.url + "api/status", headers=headers).status_code == status


def test_scripts_of_our_own_pages_may_read(server, ada):
    headers = {"Sec-Fetch-Mode": "cors", "X-XSRFToken": xsrf_of(ada, server)}
    assert ada.get(server.url + "api/status", headers=headers).status_code == 200
    headers = {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "same-origin"}
    assert ada.get(server.url + "api/status", headers=headers).status_code == 200


# -- websockets
async def subscribe(server, query="", **headers):
    url = server.url.replace("http", "ws", 1) + f"api/events/subscribe{query}"
    try:
        (await websocket_connect(HTTPRequest(url, headers=headers))).close()
    except HTTPClientError as error:
        return error.code
    return 101


async def test_a_websocket_needs_a_credential(server, ada):
    cookie = "; ".join(f"{c.name}={c.value}" for c in ada.cookies.jar)
    assert await subscribe(server) == 403
    assert await subscribe(server, Cookie=cookie) == 101
    assert await subscribe(server, Authorization=f"token {ADA}") == 101
    assert await subscribe(server, f"?token={ADA}", **{"Sec-Fetch-Mode": "websocket"}) == 101
    assert await subscribe(server, f"?token={BOB}", **{"Sec-Fetch-Mode": "websocket"}) == 403


async def test_a_websocket_from_another_origin_is_refused(server, ada):
    cookie = "; ".join(f"{c.name}={c.value}" for c in ada.cookies.jar)
    assert await subscribe(server, Cookie=cookie, Origin="https://evil.example") == 403


# -- what the server tells
@pytest.mark.parametrize("path", ["api", "api/status", "lab", "nothing-here", "static/favicon.ico"])
def test_every_answer_names_a_version_and_forbids_framing(server, ada, path):
    response = ada.get(server.url + path)
    assert response.headers["x-jupyterhub-version"].startswith("6.1.")
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]


def page_config(response):
    found = re.search(r'<script[^>]*id="jupyter-config-data"[^>]*>(.*?)</script>', response.text, re.S)
    return json.loads(unescape(found.group(1)))


@pytest.mark.parametrize("page", ["lab", "tree"])
def test_pages_tell_their_scripts_about_the_hub(server, hub, ada, page):
    config = page_config(ada.get(server.url + page))
    assert config["hubUser"] == config["hubServerUser"] == "ada"
    assert (config["hubPrefix"], config["hubHost"], config["hubServerName"]) == ("/hub/", hub.url, "")
    assert config["shareUrl"] == "/hub/user-redirect"
    assert config["token"] in hub.tokens


def test_the_servers_own_token_is_on_no_page(server, ada):
    for path in ("lab", "tree", "nothing-here"):
        assert SERVER_TOKEN not in ada.get(server.url + path).text, path


def test_a_classic_page_links_to_the_hub(server, hub, ada):
    text = ada.get(server.url + "nothing-here").text
    assert f'href="{hub.url}/hub/home"' in text and "jupyterhub-control-panel-link" in text
    assert f"{hub.url}/hub/logo" in text


def test_the_server_knows_people_as_the_hub_does(server, hub):
    info = {"name": "Ada Lovelace", "display_name": "Ada", "initials": "AL", "color": "red", "avatar_url": None}
    hub.tokens["informed-token"] = model("ada", ["access:servers!user=ada"], user_info=info)
    identity = server.get("api/me", "informed-token").json()["identity"]
    assert identity["username"] == "ada"
    assert {name: identity[name] for name in info} == info


def test_the_prefix_alone_leads_to_the_default_url(server, ada):
    assert urlsplit(str(follow(ada, server.url).url)).path == "/user/ada/lab"


def test_use_is_reported_as_activity_with_the_servers_token(server, hub):
    hub.wait_for_activity(1)
    number = len(hub.activity)
    hub.wait_for_activity(number + 1)
    name, token, body = hub.activity[-1]
    assert (name, token) == ("ada", SERVER_TOKEN)
    assert body["servers"][""]["last_activity"] == body["last_activity"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", body["last_activity"])


# -- last: it goes
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_server_stops_cleanly_when_told(start, number):
    own = start()
    own.wait_until_it_answers()
    assert own.stop(number) == 0
