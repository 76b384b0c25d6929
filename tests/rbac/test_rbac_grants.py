"""What may be handed on: scopes-roles.md §7 (creation), §8 (server tokens), §9 (shares) and §11 (OAuth clients)."""

from __future__ import annotations

import pytest

from jupyterhub.rbac.expand import IssuingClient, Owner, expand
from jupyterhub.rbac.grants import (
    ScopeNotAllowed,
    beyond_owner,
    default_share_scopes,
    requested_by_client,
    server_token_request,
    share_scopes,
    stored_share_scopes,
    within,
)
from jupyterhub.rbac.roles import DEFAULT_ROLES
from jupyterhub.rbac.scope_set import ScopeSet, effective_token_scopes
from jupyterhub.rbac.scopes import ScopeRegistry, UnknownScope
from jupyterhub.words.errors import Invalid
from jupyterhub.words.names import ServerKey

REGISTRY = ScopeRegistry.default()
ADA = Owner("user", "ada")
LAB = ServerKey("ada", "lab")
IDENTIFY = {"read:users:name!user=ada", "read:users:groups!user=ada"}


def groups_of(user: str) -> frozenset[str]:
    return frozenset({"crew"}) if user == "ada" else frozenset()


def holding(*raw: str) -> ScopeSet:
    return ScopeSet.of(expand(raw, REGISTRY, owner=ADA))


ORDINARY = holding("self")


@pytest.mark.parametrize(
    ("raw", "is_granted"),
    [
        (["self"], True),
        (["inherit"], True),
        ([], True),
        (["read:users!user"], True),
        (["access:servers!server=ada/"], True),
        (["users:activity!user=ada"], True),
        (["servers"], False),
        (["admin:users"], False),
        (["list:users!user=other"], False),
        (["read:users!user=other"], False),
        (["tokens!user", "proxy"], False),
        (["shares!user"], False),
        (["inherit", "proxy"], False),
    ],
)
def test_a_token_may_be_made_for_what_its_owner_holds(raw, is_granted):
    assert (not beyond_owner(raw, ORDINARY, REGISTRY, owner=ADA, groups_of=groups_of)) is is_granted


def test_a_request_is_cut_down_to_what_is_held():
    raw = ["inherit", "read:users!user", "servers", "proxy", "access:servers!group=crew", "tokens!user=ada"]
    reports = []
    kept = within(
        raw, ORDINARY, REGISTRY, owner=ADA, groups_of=groups_of, discarded=lambda s, why: reports.append((s, why))
    )
    assert kept[:2] == ("inherit", "read:users!user") and "tokens!user=ada" in kept
    assert {"servers!user=ada", "start:servers!user=ada"} <= set(kept) and "proxy" not in kept
    assert dict(reports)["proxy"] != dict(reports)["servers"]


# -- the token of a server


def server_token(*raw: str, owner_scopes: ScopeSet = ORDINARY) -> tuple[str, ...]:
    return server_token_request(raw, LAB, owner_scopes, REGISTRY, groups_of=groups_of)


def test_the_server_role_gives_a_server_its_activity_and_access_to_itself():
    raw = server_token(*DEFAULT_ROLES["server"].scopes or ())
    assert set(raw) == {"users:activity!user", "access:servers!server=ada/lab"}
    effective = effective_token_scopes(raw, ORDINARY, REGISTRY, owner=ADA, client=None, groups_of=groups_of)
    assert effective.raw == IDENTIFY | {
        "access:servers!server=ada/lab",
        "users:activity!user=ada",
        "read:users:activity!user=ada",
    }


@pytest.mark.parametrize("raw", [["inherit"], ["users:activity!user"]])
def test_activity_is_not_added_where_it_is_asked_for(raw):
    assert list(server_token(*raw)) == raw


def test_activity_is_added_where_it_is_missing_and_excess_is_dropped():
    assert server_token("servers!server", "proxy") == ("servers!server=ada/lab", "users:activity!user")
    assert "read:users!user=ada" in server_token("admin:users")
    assert all(scope.endswith(("!user=ada", "!user")) for scope in server_token("admin:users"))
    assert set(server_token("users:activity")) == {"users:activity!user=ada", "read:users:activity!user=ada"}


def test_the_default_server_has_an_empty_name():
    raw = server_token_request(["servers!server"], ServerKey("ada"), ORDINARY, REGISTRY, groups_of=groups_of)
    assert raw[0] == "servers!server=ada/"


# -- OAuth clients

CLIENT = IssuingClient(service="reader")
ALLOWED = ["read:users!user", "list:users", "servers!user"]
LEAST = {"read:users:name!user", "read:users:groups!user", "access:services!service=reader"}


def asked(*requested: str, allowed: list[str] = ALLOWED) -> set[str]:
    return set(requested_by_client(requested, allowed, REGISTRY, owner=ADA, client=CLIENT, groups_of=groups_of))


def test_who_asks_for_nothing_asks_for_everything_allowed():
    assert asked() == {*ALLOWED, *LEAST}
    assert asked(allowed=["inherit"]) == {"inherit"}
    assert asked(allowed=[]) == LEAST


def test_identify_is_as_little_as_possible():
    assert asked("identify") == LEAST
    assert asked("identify", "list:users") == {"list:users", *LEAST}


@pytest.mark.parametrize(
    "scope",
    ["read:users:activity!user", "list:users", "list:users!group=x", "read:users!user=ada", "servers!server=ada/",
     "access:services!service=reader", "read:users:name!user"],
)  # fmt: skip
def test_a_client_may_ask_for_parts_of_what_it_is_allowed(scope):
    assert asked(scope) == {scope, *LEAST}


@pytest.mark.parametrize(
    "scope", ["admin:users", "inherit", "read:users", "servers!user=bob", "self", "access:services"]
)
def test_a_client_may_not_ask_for_more(scope):
    with pytest.raises(ScopeNotAllowed) as caught:
        asked("list:users", scope)
    assert caught.value.scopes == {scope}


def test_a_client_that_may_inherit_may_ask_for_anything():
    assert asked("admin:users", allowed=["inherit"]) == {"admin:users"}
    assert asked("inherit", allowed=["inherit"]) == {"inherit"}


def test_unknown_names_are_told_apart_from_forbidden_ones():
    with pytest.raises(UnknownScope):
        asked("some-role")


# -- shares


def test_shared_scopes_are_about_the_server():
    assert share_scopes([], LAB, REGISTRY) == default_share_scopes(LAB) == ("access:servers!server=ada/lab",)
    assert share_scopes(["servers", "access:servers!server=ada/lab", "access:servers"], LAB, REGISTRY) == (
        "access:servers!server=ada/lab",
        "servers!server=ada/lab",
    )


@pytest.mark.parametrize(
    "scope",
    ["servers!user=ada", "servers!user", "servers!server", "servers!server=ada/", "servers!server=bob/lab",
     "servers!group=crew", "no:such", "self", "inherit", "all"],
)  # fmt: skip
def test_scopes_that_cannot_be_shared_are_refused(scope):
    with pytest.raises(Invalid, match=scope.split("!")[0]):
        share_scopes([scope], LAB, REGISTRY)


def test_whatever_a_row_says_a_share_is_about_its_server():
    stored = ["access:servers!server=oldname/lab", "read:servers", "admin:users!user=root"]
    assert stored_share_scopes(stored, LAB) == (
        "access:servers!server=ada/lab",
        "admin:users!server=ada/lab",
        "read:servers!server=ada/lab",
    )
