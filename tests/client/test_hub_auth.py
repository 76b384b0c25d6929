"""How services learn who is asking: tokens, cookies, scopes, and what happens when the hub does not answer."""

import json

import httpx
import pytest
from tornado import httpserver, netutil, web

from jupyterhub.client.expiring_cache import ExpiringCache
from jupyterhub.services.auth import (
    HubAuth,
    HubAuthenticated,
    HubOAuth,
    HubOAuthCallbackHandler,
    HubOAuthenticated,
    UserNotAllowed,
    check_scopes,
)

from .single_user import browser
from .stub_hub import SERVER_TOKEN, model

ADA = "adas-token-0123456789"
pytestmark = pytest.mark.usefixtures("no_environment", "fresh_singletons")


# -- configuration
def test_the_defaults_come_from_the_environment(monkeypatch):
    for name, value in {
        "JUPYTERHUB_BASE_URL": "/pre/",
        "JUPYTERHUB_HOST": "https://hub.example",
        "JUPYTERHUB_SERVICE_NAME": "survey",
        "JUPYTERHUB_SERVICE_PREFIX": "/services/survey",
        "JUPYTERHUB_CLIENT_ID": "service-survey",
        "JUPYTERHUB_API_TOKEN": "t0k3n-t0k3n",
        "JUPYTERHUB_COOKIE_OPTIONS": '{"samesite": "Strict"}',
        "JUPYTERHUB_ALLOW_TOKEN_IN_URL": "1",
        "JUPYTERHUB_ALLOW_WEBSOCKET_COOKIE_AUTH": "0",
    }.items():
        monkeypatch.setenv(name, value)
    auth = HubOAuth()
    assert auth.hub_prefix == "/pre/hub/" and auth.base_url == "/services/survey/" == auth.cookie_path
    assert auth.api_url == "http://127.0.0.1:8081/pre/hub/api"
    assert auth.oauth_token_url == "http://127.0.0.1:8081/pre/hub/api/oauth2/token"
    assert auth.access_scopes == {"access:services!service=survey"}
    assert auth.login_url == (
        "https://hub.example/pre/hub/api/oauth2/authorize?client_id=service-survey"
        "&redirect_uri=%2Fservices%2Fsurvey%2Foauth_callback&response_type=code"
    )
    assert (auth.cookie_name, auth.state_cookie_name) == ("service-survey", "service-survey-oauth-state")
    assert auth.cookie_options == {"samesite": "Strict"}
    assert auth.allow_token_in_url and not auth.allow_websocket_cookie_auth


def test_the_defaults_without_an_environment():
    auth = HubAuth()
    assert (auth.hub_prefix, auth.base_url, auth.login_url, auth.access_scopes) == ("/hub/", "/", "", set())
    assert not auth.allow_token_in_url and auth.allow_websocket_cookie_auth and auth.cache_max_age == 300


@pytest.mark.parametrize("trait", ["oauth_client_id", "api_token"])
def test_an_empty_client_id_or_token_is_refused(trait):
    with pytest.raises(ValueError, match=trait):
        HubOAuth(**{trait: ""})


def test_a_shared_cookie_identifies_nobody():
    with pytest.raises(RuntimeError):
        HubAuth().user_for_cookie("anything")


# -- scopes
@pytest.mark.parametrize(
    ("required", "held", "granted"),
    [
        ("a", ["a"], {"a"}),
        ({"a", "b"}, ["b"], {"b"}),
        ({"access:servers!user=ada"}, ["access:servers"], {"access:servers!user=ada"}),
        ({"access:servers!server=ada/x"}, ["access:servers!user=ada"], {"access:servers!server=ada/x"}),
        ({"access:servers!server=ada/x"}, ["access:servers!user=bob"], set()),
        ({"access:servers"}, ["access:servers!user=ada"], set()),
        ({"access:servers!user=ada"}, ["access:servers!user=adam", "access:services"], set()),
        (set(), ["a"], set()),
    ],
)
def test_scopes_include_narrower_ones(required, held, granted):
    assert check_scopes(required, held) == granted


def handler_for(**attributes):
    handler = HubAuthenticated()
    handler.hub_auth = HubAuth(access_scopes=attributes.pop("access_scopes", set()))
    for name, value in attributes.items():
        setattr(handler, name, value)
    return handler


ADMIN = {"admin": True}


@pytest.mark.parametrize(
    ("rules", "who", "allowed"),
    [
        ({}, model("ada", []), True),
        ({"hub_users": {"ada"}}, model("ada", []), True),
        ({"hub_users": {"bob"}}, model("ada", []), False),
        ({"hub_users": set()}, model("ada", []), False),
        ({"hub_groups": {"g"}}, model("ada", [], groups=["g"]), True),
        ({"hub_groups": {"h"}}, model("ada", [], groups=["g"]), False),
        ({"hub_users": {"bob"}, "allow_admin": True}, {**model("ada", []), **ADMIN}, True),
        ({"hub_users": {"ada"}}, model("ada", [], kind="service"), False),
        ({"hub_services": {"ada"}}, model("ada", [], kind="service"), True),
        ({"access_scopes": {"s"}, "hub_users": {"bob"}}, model("ada", ["s"]), True),
        ({"access_scopes": {"s"}, "hub_users": {"ada"}, "allow_admin": True}, {**model("ada", []), **ADMIN}, False),
    ],
)
def test_who_is_allowed(rules, who, allowed):
    handler = handler_for(**rules)
    if allowed:
        assert handler.check_hub_user(who) is who
    else:
        with pytest.raises(UserNotAllowed) as refused:
            handler.check_hub_user(who)
        assert refused.value.model is who and "ada" in str(refused.value)


def test_nobody_is_nobody():
    assert handler_for().check_hub_user(None) is None


# -- asking the hub
@pytest.fixture
def auth(hub):
    return HubAuth(api_url=hub.api_url, api_token=SERVER_TOKEN)


def test_a_token_tells_its_owner_blocking_or_not(auth):
    assert auth.user_for_token(ADA)["name"] == "ada"


async def test_a_token_tells_its_owner_in_an_event_loop(auth):
    assert (await auth.user_for_token(ADA, sync=False))["name"] == "ada"
    assert auth.user_for_token(ADA)["name"] == "ada"


@pytest.mark.parametrize("token", ["nobodys", "", "x" * 2000, "new\nline", "ünïcode", None])
def test_what_is_no_token_belongs_to_nobody(auth, token):
    assert auth.user_for_token(token) is None


def test_answers_are_kept_per_session_and_only_if_wanted(auth, hub):
    asked = hub.asked_for_user
    for session, use_cache, expected in [
        ("", True, 1),
        ("", True, 1),
        ("another", True, 2),
        ("another", True, 2),
        ("", False, 3),
    ]:
        auth.user_for_token(ADA, use_cache=use_cache, session_id=session)
        assert hub.asked_for_user - asked == expected


def test_the_cache_holds_no_tokens(auth):
    auth.user_for_token(ADA)
    assert not any(ADA in key for key in auth.cache)


@pytest.mark.parametrize(("hub_says", "we_say"), [(500, 502), (503, 502), (404, 500), (429, 500), (302, 500)])
def test_faults_of_the_hub_are_told_apart_from_ours(auth, hub, hub_says, we_say):
    hub.broken = hub_says
    with pytest.raises(web.HTTPError) as failed:
        auth.user_for_token("unknown-token")
    assert failed.value.status_code == we_say


def test_a_hub_that_is_not_there_is_an_error_and_is_asked_again(auth, hub):
    auth.api_url = "http://127.0.0.1:1/hub/api"
    with pytest.raises(web.HTTPError) as failed:
        auth.user_for_token(ADA)
    assert failed.value.status_code == 500 and "127.0.0.1:1" in failed.value.log_message
    auth.api_url = hub.api_url
    assert auth.user_for_token(ADA)["name"] == "ada"


# -- the cache
class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def test_entries_grow_old():
    clock = Clock()
    cache = ExpiringCache(300, clock=clock)
    cache["a"] = None
    clock.now += 300
    assert "a" in cache and len(cache) == 1
    clock.now += 1
    assert "a" not in cache and len(cache) == 0 and cache.get("a", "gone") == "gone"


def test_without_an_age_entries_stay():
    clock = Clock()
    cache = ExpiringCache(0, clock=clock)
    cache["a"] = 1
    clock.now += 1e9
    assert cache["a"] == 1


def test_guessing_tokens_does_not_fill_the_memory():
    cache = ExpiringCache(0, max_size=3)
    for number in range(10):
        cache[number] = None
    assert list(cache) == [7, 8, 9]


# -- states of logins
@pytest.fixture
def oauth(hub):
    return HubOAuth(
        api_url=hub.api_url, api_token=SERVER_TOKEN, hub_host=hub.url, oauth_client_id="service-s", base_url="/s/"
    )


def test_a_state_is_remembered_for_a_while(oauth):
    state = oauth.generate_state("/s/page", code_verifier="v", cookie_name="c")
    assert oauth.get_next_url(state) == "/s/page"
    assert oauth.get_code_verifier(state) == "v" and oauth.get_state_cookie_name(state) == "c"
    oauth.clear_oauth_state(state)
    oauth.clear_oauth_state(state)
    assert oauth.get_next_url(state) == "/s/" and oauth.get_code_verifier(state) is None
    assert oauth.get_state_cookie_name(state) == "service-s-oauth-state"


def test_only_s256_is_offered_for_pkce(oauth):
    verifier, challenge, method = oauth.generate_pkce_code_challenge()
    assert method == "S256" and verifier != challenge and len(challenge) == 43
    with pytest.raises(ValueError, match="plain"):
        oauth.generate_pkce_code_challenge("plain")


# -- a service
class WhoAmI(HubOAuthenticated, web.RequestHandler):
    @web.authenticated
    def get(self):
        self.write({"user": self.current_user["name"], "xsrf": self.xsrf_token.decode()})

    @web.authenticated
    def post(self):
        self.write({"posted_by": self.current_user["name"]})


class WithTokensOnly(HubAuthenticated, web.RequestHandler):
    @web.authenticated
    def get(self):
        self.write({"user": self.current_user["name"]})


@pytest.fixture
def service(hub, request):
    """Run a small tornado service and give its address; it answers in the test's own event loop."""
    import asyncio
    import threading
    from contextlib import contextmanager

    @contextmanager
    def run(**traits):
        ready, stop = threading.Event(), {}

        async def serve():
            stop["loop"], stop["event"] = asyncio.get_running_loop(), asyncio.Event()
            [socket] = netutil.bind_sockets(0, "127.0.0.1")
            stop["url"] = f"http://127.0.0.1:{socket.getsockname()[1]}"
            HubOAuth.instance(
                api_url=hub.api_url,
                api_token=SERVER_TOKEN,
                hub_host=hub.url,
                oauth_client_id="service-s",
                base_url="/s/",
                **{"oauth_redirect_uri": f"{stop['url']}/s/oauth_callback", **traits},
            )
            HubAuth.clear_instance()
            HubAuth.instance(api_url=hub.api_url, api_token=SERVER_TOKEN, access_scopes={"access:services"})
            handlers = [
                ("/s/oauth_callback", HubOAuthCallbackHandler),
                ("/s/tokens", WithTokensOnly),
                ("/s/.*", WhoAmI),
                ("//?.*", WhoAmI),
            ]
            server = httpserver.HTTPServer(web.Application(handlers, cookie_secret="secret", xsrf_cookies=True))
            server.add_sockets([socket])
            ready.set()
            await stop["event"].wait()
            server.stop()
            await server.close_all_connections()

        thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        thread.start()
        assert ready.wait(10)
        try:
            yield stop["url"]
        finally:
            stop["loop"].call_soon_threadsafe(stop["event"].set)
            thread.join(10)

    return run


def test_a_service_logs_people_in_and_knows_them(service, hub):
    with service() as url, browser() as client:
        response = client.get(f"{url}/s/page?x=1", follow_redirects=True)
        assert (str(response.url), response.json()["user"]) == (f"{url}/s/page?x=1", "ada")
        assert response.json()["xsrf"] == client.cookies.get("_xsrf", path="/s/")
        assert client.post(f"{url}/s/page").status_code == 403
        posted = client.post(f"{url}/s/page", data={"_xsrf": response.json()["xsrf"]})
        assert posted.json() == {"posted_by": "ada"}


def test_a_service_sends_nobody_around_who_is_refused(service, hub):
    with service(access_scopes={"access:services!service=s"}) as url, browser() as client:
        response = client.get(f"{url}/s/page", follow_redirects=True)
        assert response.status_code == 403


def test_a_service_takes_tokens_in_headers(service, hub):
    with service() as url:
        headers = {"Authorization": f"Bearer {ADA}"}
        assert httpx.get(f"{url}/s/page", headers=headers).json()["user"] == "ada"
        assert httpx.post(f"{url}/s/page", headers=headers).json() == {"posted_by": "ada"}


def test_without_oauth_there_is_nothing_to_log_in_with(service, hub):
    hub.tokens["survey-token-012345"] = model("eve", ["access:services"])
    with service() as url:
        assert httpx.get(f"{url}/s/tokens").status_code == 403
        assert httpx.get(f"{url}/s/tokens", headers={"Authorization": f"token {ADA}"}).status_code == 403
        headers = {"Authorization": "token survey-token-012345"}
        assert httpx.get(f"{url}/s/tokens", headers=headers).json() == {"user": "eve"}


@pytest.mark.parametrize("target", ["//evil.example/x", "///evil.example", "/\\evil.example", "//evil.example\\@x"])
def test_a_login_never_ends_on_another_host(service, target):
    with service() as url, browser() as client:
        location = client.get(url + target).headers["location"]
        callback = client.get(location).headers["location"]
        next_url = client.get(callback).headers["location"]
        assert next_url.startswith("/") and next_url[1] not in "/\\"


def test_cookie_options_and_the_host_prefix(service):
    options = {"samesite": "Strict", "path": "/elsewhere", "domain": "hub.example"}
    with service(cookie_host_prefix_enabled=True, cookie_options=options) as url:
        [cookie] = httpx.get(f"{url}/s/page").headers.get_list("set-cookie")
    assert cookie.startswith("__Host-service-s-oauth-state=")
    assert {"Path=/", "Secure", "SameSite=Strict"} <= set(cookie.split("; ")) and "Domain" not in cookie


@pytest.mark.parametrize(
    ("headers", "secure"),
    [
        ({}, False),
        ({"X-Forwarded-Proto": "https"}, True),
        ({"X-Forwarded-Proto": "https,http"}, True),
        ({"X-Scheme": "https"}, True),
        ({"Forwarded": 'for=1.2.3.4;proto="https", for=10.0.0.1;proto=http'}, True),
        ({"Forwarded": "proto=http", "X-Forwarded-Proto": "https"}, False),
    ],
)
def test_cookies_are_secure_where_the_browser_uses_https(service, headers, secure):
    with service() as url:
        [cookie] = httpx.get(f"{url}/s/page", headers=headers).headers.get_list("set-cookie")
    assert ("Secure" in cookie) is secure


def test_a_public_https_address_makes_cookies_secure(service, monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_PUBLIC_URL", "https://hub.example/s/")
    with service() as url:
        [cookie] = httpx.get(f"{url}/s/page").headers.get_list("set-cookie")
    assert "Secure" in cookie


@pytest.mark.parametrize(("cookies_suffice", "status"), [(True, 200), (False, 302)])
def test_websockets_with_only_a_cookie_can_be_refused(service, cookies_suffice, status):
    with service(allow_websocket_cookie_auth=cookies_suffice) as url, browser() as client:
        page = client.get(f"{url}/s/page", follow_redirects=True).json()
        headers = {"Sec-Fetch-Mode": "websocket"}
        assert client.get(f"{url}/s/page", headers=headers).status_code == status
        assert client.get(f"{url}/s/page", params={"_xsrf": page["xsrf"]}, headers=headers).status_code == 200
        assert client.get(f"{url}/s/page", params={"token": ADA}, headers=headers).status_code == 200


def test_the_model_is_asked_for_once_per_request(auth, hub):
    class Handler:
        _cached_hub_user = json.loads('{"name": "ada"}')

    assert auth.get_user(Handler()) == {"name": "ada"}
