"""The vocabulary of scopes and what a written scope amounts to: scopes-roles.md §1 to §4 and §12, fact by fact."""

from __future__ import annotations

import pytest
from rbac_model import CONTAINS, SELF

from jupyterhub.rbac.expand import IssuingClient, Owner, access_scopes, expand, identify_scopes, reduce
from jupyterhub.rbac.scopes import (
    NO_SCOPE,
    SCOPES,
    ScopeRegistry,
    UnknownScope,
    check_scopes_exist,
    define_custom_scopes,
    join,
    split,
)
from jupyterhub.words.errors import ConfigurationError, Invalid
from jupyterhub.words.names import ServerKey

REGISTRY = ScopeRegistry.default()
ADA = Owner("user", "ada")


def test_there_are_the_scopes_of_the_reference_and_no_others():
    assert set(SCOPES) == set(CONTAINS)
    assert NO_SCOPE not in SCOPES


@pytest.mark.parametrize("scope", CONTAINS)
def test_a_scope_contains_those_of_the_reference(scope):
    definition = SCOPES[scope]
    assert set(definition.subscopes) == set(CONTAINS[scope])
    assert definition.description and definition.doc_description


@pytest.mark.parametrize(
    ("scope", "missing"),
    [
        ("admin:users", {"servers", "read:servers", "tokens", "read:tokens"}),
        ("users", {"tokens", "read:tokens", "delete:users"}),
        ("servers", {"access:servers", "admin:server_state"}),
        ("admin:servers", {"access:servers"}),
        ("self", {"users", "list:users", "admin:server_state", "shares", "read:roles:users", "delete:users"}),
    ],
)
def test_a_scope_does_not_contain(scope, missing):
    names = {split(s)[0] for s in expand([scope], REGISTRY, owner=ADA)}
    assert not names & missing


@pytest.mark.parametrize(
    ("scope", "parts"),
    [
        ("read:users", ("read:users", None, None)),
        ("read:users!user", ("read:users", "user", None)),
        ("read:users!user=ada", ("read:users", "user", "ada")),
        ("servers!server=ada/", ("servers", "server", "ada/")),
        ("servers!server=ada/lab", ("servers", "server", "ada/lab")),
        ("read:users!user=", ("read:users", "user", "")),
        ("read:users!user=a!user=b", ("read:users", "user", "a!user=b")),
        ("read:groups!group=x=y", ("read:groups", "group", "x=y")),
    ],
)
def test_a_scope_is_taken_apart_and_put_together(scope, parts):
    assert split(scope) == parts and join(*parts) == scope


@pytest.mark.parametrize(
    "scope",
    ["read:users", "self", "inherit", "read:users!user", "servers!server", "access:services!service",
     "proxy!user=ghost", "tokens!service=x", "groups!group=no-such-group", "servers!server=x/y",
     "read:users!user=a!user=b"],
)  # fmt: skip
def test_a_scope_exists(scope):
    check_scopes_exist([scope], REGISTRY)


@pytest.mark.parametrize(
    "scope",
    ["no:such", "", "all", "all!user", "read:users!colour=red", "read:users!group", "read:users!", "read:users!User=a",
     "read:users!=a", "READ:USERS", " read:users", "custom:undefined", NO_SCOPE, "read:users*"],
)  # fmt: skip
def test_a_scope_does_not_exist(scope):
    with pytest.raises(UnknownScope) as caught:
        check_scopes_exist(["read:users", scope], REGISTRY)
    assert caught.value.scope == scope and repr(scope) in str(caught.value) and isinstance(caught.value, Invalid)


def test_who_writes_all_is_told_that_it_is_inherit_now():
    with pytest.raises(UnknownScope, match="inherit"):
        check_scopes_exist(["all"], REGISTRY)


def test_a_wrong_filter_is_answered_with_the_right_ones():
    with pytest.raises(UnknownScope, match="!group="):
        check_scopes_exist(["read:users!team=x"], REGISTRY)


# -- expansion


def test_self_is_fifteen_scopes_over_the_user():
    found = expand(["self"], REGISTRY, owner=ADA)
    assert found == {f"{scope}!user=ada" for scope in SELF} and len(found) == 15


SERVER = IssuingClient(server=ServerKey("bob", "lab"))
SERVICE = IssuingClient(service="cull")


@pytest.mark.parametrize(
    ("raw", "owner", "client", "expanded"),
    [
        (["self"], Owner("service", "ada"), None, set()),
        (["self"], Owner("group", "ada"), None, set()),
        (["self"], None, None, set()),
        (["read:hub!user"], ADA, None, {"read:hub!user=ada"}),
        (["read:hub!user"], Owner("service", "ada"), None, set()),
        (["read:hub!user"], Owner("group", "ada"), None, set()),
        (["read:hub!service"], Owner("service", "cull"), None, {"read:hub!service=cull"}),
        (["read:hub!service"], ADA, SERVICE, {"read:hub!service=cull"}),
        (["read:hub!service"], Owner("service", "other"), SERVICE, {"read:hub!service=other"}),
        (["read:hub!service"], ADA, SERVER, set()),
        (["read:hub!server"], ADA, SERVER, {"read:hub!server=bob/lab"}),
        (["read:hub!server"], ADA, None, set()),
        (["read:hub!server"], ADA, SERVICE, set()),
        (["access:servers!server"], ADA, IssuingClient(ServerKey("bob")), {"access:servers!server=bob/"}),
        # contained scopes keep the filter
        (["tokens!group=crew"], ADA, None, {"tokens!group=crew", "read:tokens!group=crew"}),
        (["users:activity!user"], ADA, None, {"users:activity!user=ada", "read:users:activity!user=ada"}),
        # a server filter brings no read:user… along
        (["read:servers!server=ada/lab"], ADA, None, {"read:servers!server=ada/lab"}),
        (["users:activity!server"], ADA, SERVER, {"users:activity!server=bob/lab"}),
        (["read:users!server=ada/"], ADA, None, {"read:users!server=ada/"}),
        (
            ["shares!server=ada/"],
            ADA,
            None,
            {f"{s}!server=ada/" for s in ("shares", "access:servers", "read:shares", "users:shares", "groups:shares",
                                          "read:groups:shares")},
        ),
        # reduction
        (["tokens", "tokens!user=ada"], ADA, None, {"tokens", "read:tokens"}),
        (["tokens!user=ada", "read:tokens"], ADA, None, {"tokens!user=ada", "read:tokens"}),
        (["read:hub!user=a", "read:hub!user=b"], ADA, None, {"read:hub!user=a", "read:hub!user=b"}),
        # an empty value names nobody; it does not mean the holder
        (["read:hub!user="], ADA, None, {"read:hub!user="}),
        (["inherit"], ADA, None, set()),
        (["all", "no:such", "read:hub!team=x", "read:hub!group"], ADA, None, set()),
    ],
)  # fmt: skip
def test_scopes_expand(raw, owner, client, expanded):
    assert expand(raw, REGISTRY, owner=owner, client=client) == expanded


def test_inherit_stays_only_where_it_is_asked_for():
    assert expand(["inherit", "read:hub"], REGISTRY, owner=ADA, keep_inherit=True) == {"inherit", "read:hub"}


def test_a_group_role_means_the_member_who_holds_it():
    member = expand(["self", "read:metrics!user"], REGISTRY, owner=Owner("user", "bob"))
    assert {"servers!user=bob", "read:metrics!user=bob"} <= member


def test_scopes_that_come_to_nothing_are_reported_with_the_reason():
    reports = []
    expand(
        ["read:hub", "self", "tokens!user", "gone:scope", "inherit!user", "inherit"],
        REGISTRY,
        owner=Owner("service", "cull"),
        discarded=lambda scope, reason: reports.append((scope, reason)),
    )
    assert [scope for scope, _ in reports] == ["self", "tokens!user", "gone:scope", "inherit!user"]
    assert "user" in reports[0][1] and "no user" in reports[1][1] and "no such scope" in reports[2][1]


def test_reduction_compares_whole_names():
    scopes = {"read:users", "read:users:name!user=a", "read:users!user=a", "users!user=a"}
    assert reduce(scopes) == {"read:users", "read:users:name!user=a", "users!user=a"}


def test_identify_scopes_are_the_name_and_for_users_the_groups():
    assert identify_scopes(ADA) == {"read:users:name!user=ada", "read:users:groups!user=ada"}
    assert identify_scopes(Owner("service", "cull")) == {"read:services:name!service=cull"}


def test_the_hub_itself_gives_no_access_and_other_clients_to_themselves():
    assert access_scopes(None) == access_scopes(IssuingClient()) == frozenset()
    assert access_scopes(SERVER) == {"access:servers!server=bob/lab"}
    assert access_scopes(IssuingClient(ServerKey("ada"))) == {"access:servers!server=ada/"}
    assert access_scopes(SERVICE) == {"access:services!service=cull"}


# -- custom scopes

REPORTS = {
    "custom:reports": {"description": "everything with reports", "subscopes": ["custom:reports:read"]},
    "custom:reports:read": {"description": "read reports"},
}


def test_custom_scopes_expand_like_others():
    registry = REGISTRY.with_custom(REPORTS)
    assert "custom:reports" in registry and "custom:reports" not in REGISTRY
    check_scopes_exist(["custom:reports!user", "custom:reports:read!group=x"], registry)
    assert expand(["custom:reports!user"], registry, owner=ADA) == {
        "custom:reports!user=ada",
        "custom:reports:read!user=ada",
    }


@pytest.mark.parametrize(
    "name", ["custom:abc", "custom:a:b", "custom:9_9", "custom:a-*", "custom:ab_", "custom:read:*"]
)
def test_a_custom_scope_may_be_called(name):
    assert define_custom_scopes({name: {"description": "x"}})[name].description == "x"


@pytest.mark.parametrize(
    "name",
    ["reports", "custom:", "custom:a", "custom:ab", "custom:Abc", "custom:abC", "custom:-abc", "custom:_abc",
     "custom::abc", "custom:abc-", "custom:abc:", "custom:a c", "custom:abc!user", "custom:abc\n", "Custom:abc",
     "custom:äbc", "read:users", 7],
)  # fmt: skip
def test_a_custom_scope_may_not_be_called(name):
    with pytest.raises(ConfigurationError) as caught:
        define_custom_scopes({name: {"description": "x"}})
    assert repr(name) in str(caught.value) and "custom_scopes" in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "fragment"),
    [
        ({}, "description"),
        ({"description": ""}, "description"),
        ({"description": 7}, "description"),
        ("read reports", "dict"),
        ({"description": "x", "subscopes": "custom:other"}, "list"),
        ({"description": "x", "subscopes": ["read:users"]}, "read:users"),
        ({"description": "x", "subscopes": ["custom:nowhere"]}, "custom:nowhere"),
        ({"description": "x", "subscopes": [None]}, "None"),
    ],
)
def test_a_wrong_custom_scope_is_refused_by_name(spec, fragment):
    with pytest.raises(ConfigurationError) as caught:
        define_custom_scopes({"custom:other": {"description": "x"}, "custom:wrong": spec})
    assert "'custom:wrong'" in str(caught.value) and fragment in str(caught.value)


def test_a_custom_scope_may_be_defined_again_but_not_otherwise():
    registry = REGISTRY.with_custom(REPORTS)
    assert registry.with_custom(REPORTS).definitions == registry.definitions
    with pytest.raises(ConfigurationError, match="custom:reports:read"):
        registry.with_custom({"custom:reports:read": {"description": "something else"}})


def test_keys_that_mean_nothing_are_warned_about():
    warnings = []
    define_custom_scopes({"custom:abc": {"description": "x", "subscope": []}}, warn=warnings.append)
    assert len(warnings) == 1 and "'subscope'" in warnings[0] and "custom:abc" in warnings[0]


def test_custom_scopes_that_contain_each_other_are_the_same():
    registry = REGISTRY.with_custom(
        {
            "custom:one": {"description": "x", "subscopes": ["custom:two"]},
            "custom:two": {"description": "x", "subscopes": ["custom:one"]},
        }
    )
    assert expand(["custom:one"], registry, owner=None) == expand(["custom:two"], registry, owner=None)
