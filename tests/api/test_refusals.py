"""Which refusal comes first, and what it looks like: measured beside the original, request by request."""

from __future__ import annotations

import pytest

from jupyterhub.words.errors import Invalid, NotFound
from jupyterhub.words.names import is_valid_user_name

from .house_of_tests import ROOT


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "DELETE"])
async def test_there_is_no_list_of_all_shares_by_any_method(api, method):
    assert (await api(method, "shares")).status_code == 404


async def test_errors_are_json_without_a_charset(api):
    r = await api("GET", "users/nobody")
    assert r.status_code == 404 and r.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "DELETE"])
async def test_any_site_may_read_what_the_root_says(api, method):
    assert (await api(method, "")).headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    ("method", "path"),
    [("PATCH", "users/nobody"), ("POST", "users/nobody/activity"), ("DELETE", "users/nobody/server")],
)
async def test_that_there_is_nobody_is_said_before_what_is_wrong_with_the_body(api, method, path):
    assert (await api(method, path, json=["wrong"])).status_code == 404


@pytest.mark.parametrize("body", [{"expires_in": "5"}, {"scopes": "self"}, ["wrong"], {"auth": "x"}])
async def test_what_is_wrong_with_a_token_is_told_only_to_those_who_may_make_it(api, body):
    await api.house.add_users("ada", "bob")
    of_bob = await api.house.token_of("bob")
    assert (await api("POST", "users/ada/tokens", json=body, token=of_bob)).status_code == 403
    assert (await api("POST", "users/ada/tokens", json=body, token=None)).status_code == 403
    assert (await api("POST", "users/nobody/tokens", json=body)).status_code == 403


async def test_a_token_with_an_empty_list_of_roles_can_only_say_who_it_is_of(api):
    await api.house.add_users("ada")
    r = await api("POST", "users/ada/tokens", json={"roles": []})
    assert r.status_code == 201
    assert sorted(r.json()["scopes"]) == ["read:users:groups!user=ada", "read:users:name!user=ada"]


async def test_a_list_with_stopped_servers_has_everybodys_default_one(api):
    await api.house.add_users("ada")
    [listed] = [user for user in (await api("GET", "users?include_stopped_servers")).json() if user["name"] == "ada"]
    assert listed["servers"][""]["stopped"] is True
    assert (await api("GET", "users/ada")).json()["servers"] == {}


@pytest.mark.parametrize("name", ["a" * 256, "a\0b", "a\nb", "a\x7fb", "a\ud800b"])
def test_a_name_that_no_database_or_log_takes_is_no_name(name):
    assert not is_valid_user_name(name)


def test_a_name_of_255_characters_is_one():
    assert is_valid_user_name("é" * 255)


async def test_a_token_for_somebody_who_was_deleted_meanwhile_is_not_made(house):
    with pytest.raises(NotFound):
        async with house.store.begin() as tx:
            await tx.tokens.create("user", 4711, secret="s" * 32, scopes=[], note="")


async def test_auth_state_without_a_usable_key_changes_nothing_at_all(house, monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_CRYPT_KEY", "")
    from jupyterhub.crypto import CryptKeeper

    CryptKeeper.clear_instance()
    await house.add_users("ada")
    house.authenticator.enable_auth_state = True
    with pytest.raises(Invalid, match="auth_state"):
        await house.users.change("ada", new_name="lovelace", auth_state={"secret": 1}, requester=ROOT)
    assert (await house.users.find("ada")).name == "ada"
    CryptKeeper.clear_instance()


async def test_a_refused_token_is_told_why(api):
    await api.house.add_users("ada")
    invented = await api("GET", "users", token="invented-token")
    assert invented.headers["WWW-Authenticate"] == 'Bearer realm="JupyterHub", error="invalid_token"'
    too_little = await api("GET", "users", token=await api.house.token_of("ada"))
    assert too_little.headers["WWW-Authenticate"] == 'Bearer realm="JupyterHub", error="insufficient_scope"'
    assert "WWW-Authenticate" not in (await api("GET", "users", token=None)).headers


async def test_the_oauth_provider_describes_itself(api):
    told = (await api("GET", "../.well-known/oauth-authorization-server", token=None)).json()
    assert told["issuer"].endswith("/hub")
    assert told["token_endpoint"] == told["issuer"] + "/api/oauth2/token"
    assert told["authorization_endpoint"] == told["issuer"] + "/api/oauth2/authorize"
    assert told["code_challenge_methods_supported"] == ["S256", "plain"]
    assert "read:users" in told["scopes_supported"]
