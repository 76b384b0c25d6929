"""Who gets in, under which name, with which rights: the base Authenticator and those that need no system users."""

from __future__ import annotations

from typing import Any

import pytest
from contract_world import User
from tornado.web import HTTPError
from traitlets import Set, TraitError, Unicode
from traitlets.config import Config

from jupyterhub.auth import Authenticator, DummyAuthenticator, NullAuthenticator
from jupyterhub.authenticators.shared import SharedPasswordAuthenticator

USER_PASSWORD, ADMIN_PASSWORD = "for the workshop", "for those who run it, thirty-two characters"


class Scripted(Authenticator):
    """Gives what the form's field ``gives`` holds."""

    def authenticate(self, handler: Any, data: Any) -> Any:
        if isinstance(data["gives"], Exception):
            raise data["gives"]
        return data["gives"]


async def login(authenticator: Authenticator, gives: Any) -> dict[str, Any] | None:
    return await authenticator.get_authenticated_user(None, {"gives": gives})


# -- the way through a login


async def test_a_name_becomes_a_whole_result():
    found = await login(Scripted(allow_all=True), "Ada")
    assert found == {"name": "ada", "admin": None, "auth_state": None, "user_info": None}


async def test_what_authenticate_says_is_kept():
    gives = {"name": "ada", "admin": False, "auth_state": {"t": 1}, "groups": ["x"]}
    found = await login(Scripted(allow_all=True, admin_users={"ada"}), gives)
    assert found == {**gives, "user_info": None}


async def test_a_result_without_a_name_is_an_error():
    with pytest.raises(ValueError, match="user name"):
        await login(Scripted(allow_all=True), {"admin": True})


async def test_an_empty_name_is_refused_like_any_other_that_is_invalid():
    assert await login(Scripted(allow_all=True), {"name": ""}) is None


async def test_nobody_is_nobody():
    assert await login(Scripted(allow_all=True), None) is None


async def test_an_http_error_of_the_plugin_passes_through():
    with pytest.raises(HTTPError, match="418"):
        await login(Scripted(allow_all=True), HTTPError(418))


@pytest.mark.parametrize("name", ["", ".", "..", "%2e", "a/b", " a", "a ", "%2E%2e"])
def test_names_that_break_urls_are_invalid(name):
    assert not Scripted().validate_username(name)


async def test_an_invalid_name_is_refused_before_any_rule_is_asked():
    class Careless(Scripted):
        def check_blocked_users(self, username: str, authentication: Any = None) -> Any:
            raise AssertionError("not to be asked")

    assert await login(Careless(allow_all=True), "a/b") is None


async def test_the_pattern_is_matched_from_the_beginning():
    authenticator = Scripted(allow_all=True, username_pattern="[a-c]+")
    assert await login(authenticator, "abcd")
    assert await login(authenticator, "dabc") is None


async def test_names_are_lowered_and_then_mapped():
    found = await login(Scripted(allow_all=True, username_map={"zola": "emile"}), "Zola")
    assert found is not None and found["name"] == "emile"


async def test_blocked_beats_everything():
    authenticator = Scripted(allow_all=True, allowed_users={"eve"}, admin_users={"eve"}, blocked_users={"eve"})
    assert await login(authenticator, "Eve") is None


async def test_nobody_is_allowed_by_default():
    assert await login(Scripted(), "ada") is None


async def test_the_allow_rule_of_a_plugin_may_be_a_coroutine_and_sees_the_result():
    class Ruled(Scripted):
        async def check_allowed(self, username: str, authentication: Any = None) -> bool:
            return authentication["groups"] == ["staff"]

    assert await login(Ruled(), {"name": "ada", "groups": ["staff"]})
    assert await login(Ruled(), {"name": "bob", "groups": ["guests"]}) is None


@pytest.mark.parametrize(("name", "admin"), [("chief", True), ("ada", None)])
async def test_admin_users_become_admin_and_others_stay_what_they_are(name, admin):
    found = await login(Scripted(allow_all=True, admin_users={"chief"}), name)
    assert found is not None and found["admin"] is admin


async def test_the_post_auth_hook_changes_and_refuses():
    async def hook(authenticator: Any, handler: Any, model: Any) -> Any:
        return None if model["name"] == "eve" else {**model, "admin": True}

    authenticator = Scripted(allow_all=True, post_auth_hook=hook)
    found = await login(authenticator, "ada")
    assert found is not None and found["admin"] is True
    assert await login(authenticator, "eve") is None


# -- who is allowed


def test_existing_users_are_allowed_exactly_if_some_are_listed():
    assert Scripted(allowed_users={"ada"}).allow_existing_users
    assert not Scripted().allow_existing_users
    assert not Scripted(allowed_users={"ada"}, allow_existing_users=False).allow_existing_users


def test_adding_a_user_allows_it_if_existing_users_are():
    authenticator = Scripted(allowed_users={"ada"})
    authenticator.add_user(User("bob"))
    assert authenticator.check_allowed("bob", {})
    authenticator.delete_user(User("bob"))
    assert not authenticator.check_allowed("bob", {})


def test_adding_a_user_allows_nobody_otherwise():
    authenticator = Scripted()
    authenticator.add_user(User("bob"))
    assert not authenticator.check_allowed("bob", {})


def test_adding_a_user_with_an_invalid_name_fails():
    with pytest.raises(ValueError, match="a/b"):
        Scripted().add_user(User("a/b"))


class Ruled(Scripted):
    allowed_teams = Set(help="starts with allow").tag(config=True)
    admit = Unicode(help="tagged").tag(config=True, allow_config=True)
    allow_nothing = Unicode(help="tagged as none").tag(config=True, allow_config=False)


@pytest.mark.parametrize(
    ("settings", "any_allowed"),
    [
        ({}, False),
        ({"allow_all": True}, True),
        ({"allowed_users": {"ada"}}, True),
        ({"allowed_teams": {"x"}}, True),
        ({"admit": "x"}, True),
        ({"allow_nothing": "x"}, False),
        ({"any_allow_config": True}, True),
        ({"admin_users": {"ada"}}, False),
    ],
)
def test_a_warning_at_start_unless_some_rule_lets_somebody_in(settings, any_allowed, caplog):
    authenticator = Ruled(**settings)
    authenticator.log.propagate = True
    authenticator.check_allow_config()
    assert authenticator.any_allow_config is any_allowed
    assert any("lets anybody log in" in record.message for record in caplog.records) is not any_allowed


# -- plugins written for older versions


def test_the_old_name_of_the_allow_list_still_restricts():
    authenticator = Scripted(config=Config({"Authenticator": {"whitelist": {"ada"}}}))
    assert authenticator.allowed_users == {"ada"}


async def test_a_plugin_that_overrides_the_old_method_is_asked():
    class Old(Scripted):
        def check_whitelist(self, username: str) -> bool:
            return username == "ada"

        def check_blacklist(self, username: str, authentication: Any = None) -> bool:
            return username != "eve"

    with pytest.warns(DeprecationWarning, match="check_"):
        authenticator = Old()
    assert await login(authenticator, "ada")
    assert await login(authenticator, "bob") is None
    assert not authenticator.check_blocked_users("eve", {})


async def test_a_rule_without_the_second_parameter_is_adapted():
    class Short(Scripted):
        def check_allowed(self, username: str) -> bool:  # type: ignore[override]
            return username == "ada"

    with pytest.warns(DeprecationWarning, match="authentication"):
        authenticator = Short()
    assert await login(authenticator, "ada")
    assert await login(authenticator, "bob") is None


def test_a_newer_override_of_the_new_name_wins():
    class Old(Scripted):
        def check_whitelist(self, username: str, authentication: Any = None) -> bool:
            return True

    class Newer(Old):
        def check_allowed(self, username: str, authentication: Any = None) -> bool:
            return False

    assert not Newer().check_allowed("ada", {})


# -- managed roles, pages


async def test_managed_roles_must_be_wanted_and_defined():
    with pytest.raises(ValueError, match="manage_roles"):
        await Scripted().load_managed_roles()
    assert await Scripted(manage_roles=True).load_managed_roles() == []
    with pytest.raises(NotImplementedError):
        await Scripted(manage_roles=True, reset_managed_roles_on_startup=True).load_managed_roles()


def test_urls_are_below_the_hub():
    assert Scripted().login_url("/org/hub/") == "/org/hub/login"
    assert Scripted().logout_url("/org/hub/") == "/org/hub/logout"


async def test_everybody_is_still_valid_by_default():
    assert await Scripted().refresh_user(User("ada")) is True


def test_a_session_for_old_plugins_is_made_when_it_is_asked_for():
    made = []

    def session() -> str:
        made.append(1)
        return "session"

    authenticator = Scripted(_deprecated_db_session=session)
    assert not made
    assert authenticator.db == "session" and len(made) == 1


# -- those that ship


@pytest.mark.parametrize(("password", "enters"), [("", True), ("open", True), ("shut", False)])
async def test_the_dummy_believes_names_and_may_ask_for_one_password(password, enters):
    authenticator = DummyAuthenticator(password="" if password == "" else "open")
    found = await authenticator.get_authenticated_user(None, {"username": "ada", "password": password})
    assert bool(found) is enters


def test_the_dummy_allows_all_unless_users_are_listed():
    assert DummyAuthenticator().allow_all
    assert not DummyAuthenticator(allowed_users={"ada"}).allow_all


async def test_with_the_null_authenticator_nobody_logs_in():
    authenticator = NullAuthenticator(allow_all=True)
    assert authenticator.get_handlers(None) == [] and authenticator.auto_login and authenticator.login_service == "null"
    assert await authenticator.get_authenticated_user(None, {"username": "ada"}) is None


def shared(**settings: Any) -> SharedPasswordAuthenticator:
    settings = {"user_password": USER_PASSWORD, "admin_password": ADMIN_PASSWORD, "admin_users": {"root"}, **settings}
    return SharedPasswordAuthenticator(config=Config({"SharedPasswordAuthenticator": {**settings, "allow_all": True}}))


@pytest.mark.parametrize(
    ("name", "password", "admin"),
    [
        ("ada", USER_PASSWORD, False),
        ("ada", ADMIN_PASSWORD, "refused"),
        ("root", ADMIN_PASSWORD, True),
        ("root", USER_PASSWORD, "refused"),
        # the name that counts is the one that the hub will use
        ("Root", USER_PASSWORD, "refused"),
        ("superuser", USER_PASSWORD, "refused"),
        ("ada", "", "refused"),
    ],
)
async def test_users_and_admins_have_their_password_each(name, password, admin):
    authenticator = shared(username_map={"superuser": "root"})
    found = await authenticator.get_authenticated_user(None, {"username": name, "password": password})
    assert (found["admin"] if found else "refused") == admin
    assert found is None or found["groups"] == []


async def test_a_mapped_name_cannot_become_an_admin_by_being_mapped_twice():
    authenticator = shared(username_map={"a": "b", "b": "root"})
    found = await authenticator.get_authenticated_user(None, {"username": "a", "password": USER_PASSWORD})
    assert found is not None and found["name"] == "b"


async def test_without_a_password_of_their_kind_nobody_enters():
    authenticator = shared(user_password=None)
    assert await authenticator.get_authenticated_user(None, {"username": "ada", "password": ""}) is None


async def test_group_passwords_give_groups():
    authenticator = shared(manage_groups=True, password_groups={"the blue password": ["blue"]})
    data = {"username": "ada", "password": "the blue password"}
    found = await authenticator.get_authenticated_user(None, data)
    assert found is not None and found["groups"] == ["blue"] and not found["admin"]
    assert await authenticator.get_authenticated_user(None, {**data, "username": "root"}) is None


@pytest.mark.parametrize(
    "settings",
    [
        {"user_password": "short"},
        {"admin_password": "longer than eight"},
        {"user_password": ADMIN_PASSWORD},
        {"password_groups": {"the blue password": ["blue"]}},
        {"password_groups": {"short": ["blue"]}, "manage_groups": True},
    ],
)
def test_weak_or_senseless_passwords_are_refused_at_start(settings):
    with pytest.raises((TraitError, ValueError)):
        shared(**settings)
