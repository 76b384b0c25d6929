"""Roles of the configuration and the plan for start-up: scopes-roles.md §5, §6 and §13."""

from __future__ import annotations

import pytest

from jupyterhub.rbac.expand import Owner, expand
from jupyterhub.rbac.roles import (
    DEFAULT_ROLES,
    MEMBER_KINDS,
    Membership,
    Mode,
    RoleSpec,
    default_roles_of_user,
    merge_with_defaults,
    parse_role_spec,
)
from jupyterhub.rbac.scopes import ScopeRegistry, check_scopes_exist
from jupyterhub.words.errors import ConfigurationError

REGISTRY = ScopeRegistry.default()
NOBODY = Membership(Mode.AUTHORITATIVE)
AS_IT_IS = Membership(Mode.PRESERVE)


def plan(*load_roles, managed=(), **options):
    specs = [parse_role_spec(spec) for spec in load_roles]
    specs += [parse_role_spec(spec, managed_by_auth=True) for spec in managed]
    return merge_with_defaults(specs, REGISTRY, **options)


def exactly(*names, **flags) -> Membership:
    return Membership(Mode.AUTHORITATIVE, frozenset(names), **flags)


def also(*names) -> Membership:
    return Membership(Mode.ADDITIVE, frozenset(names))


# -- the default roles


def test_the_default_roles_have_the_scopes_of_the_reference():
    scopes = {name: set(role.scopes or ()) for name, role in DEFAULT_ROLES.items()}
    assert scopes == {
        "user": {"self"},
        "server": {"users:activity!user", "access:servers!server"},
        "token": {"inherit"},
        "admin": {
            "admin-ui", "admin:users", "admin:servers", "admin:services", "tokens", "admin:groups", "list:services",
            "read:services", "read:hub", "proxy", "shutdown", "access:services", "access:servers", "read:roles",
            "read:metrics", "shares",
        },
    }  # fmt: skip
    for role in DEFAULT_ROLES.values():
        check_scopes_exist(role.scopes or (), REGISTRY)
        assert role.description


def test_an_admin_holds_every_scope_but_the_metascopes():
    admin = expand(DEFAULT_ROLES["admin"].scopes or (), REGISTRY, owner=Owner("user", "root"))
    assert set(REGISTRY.definitions) - admin == {"self", "inherit"}


def test_users_get_the_user_role_and_admins_both():
    assert default_roles_of_user(admin=False) == ("user",) and default_roles_of_user(admin=True) == ("user", "admin")


def test_without_configuration_there_are_the_default_roles():
    found = plan()
    assert [role.name for role in found.roles] == ["user", "admin", "server", "token"] and not found.warnings
    assert found.role("user").users == AS_IT_IS and found.role("admin").users == AS_IT_IS
    assert found.role("admin").services == AS_IT_IS and found.role("admin").groups == NOBODY
    assert found.role("token").users == NOBODY and found.role("nope") is None


# -- reading


@pytest.mark.parametrize("name", ["abc", "a1-b_c~d.e", "a" * 255, "user", "a.9"])
def test_a_role_may_be_called(name):
    assert parse_role_spec({"name": name}) == RoleSpec(name=name)


@pytest.mark.parametrize(
    "name", ["ab", "a" * 256, "No Role!", "Abc", "1bc", "ab-", "ab_", "äbc", "abc\n", "", "a c", 7]
)
def test_a_role_may_not_be_called(name):
    with pytest.raises(ConfigurationError) as caught:
        parse_role_spec({"name": name})
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "fragments"),
    [
        ({"scopes": ["read:hub"]}, ["'name'"]),
        ("reader", ["'name'", "reader"]),
        ({"name": "odd", "scopes": "read:hub"}, ["'scopes'", "'odd'"]),
        ({"name": "odd", "users": "ada"}, ["'users'", "'odd'"]),
        ({"name": "odd", "groups": {"crew": []}}, ["'groups'", "'odd'"]),
        ({"name": "odd", "services": [None]}, ["'services'", "'odd'"]),
        ({"name": "odd", "users": [""]}, ["'users'", "'odd'"]),
        ({"name": "odd", "users": 7}, ["'users'", "'odd'"]),
        ({"name": "odd", "description": ["x"]}, ["'description'", "'odd'"]),
    ],
)
def test_a_wrong_role_is_refused_by_role_and_key(spec, fragments):
    with pytest.raises(ConfigurationError) as caught:
        parse_role_spec(spec)
    assert all(fragment in str(caught.value) for fragment in fragments)


def test_left_out_is_not_empty():
    spec = parse_role_spec({"name": "abc", "users": [], "groups": {"b", "a"}, "services": ("x", "x")})
    assert spec.users == () and spec.scopes is None and spec.groups == ("a", "b") and spec.services == ("x",)


def test_unknown_keys_are_warned_about():
    (warning,) = plan({"name": "odd", "scopes": ["read:hub"], "user": ["ada"]}).warnings
    assert "'odd'" in warning and "'user'" in warning


# -- which roles, with which scopes


def test_a_role_of_the_configuration_is_overwritten_with_what_it_says():
    role = plan({"name": "reader", "scopes": ["read:hub"], "description": "reads"}).role("reader")
    assert role.scopes == ("read:hub",) and role.description == "reads" and not role.managed_by_auth


def test_a_role_without_scopes_is_warned_about():
    found = plan({"name": "empty", "users": ["ada"]})
    assert found.role("empty").scopes == () and "'empty'" in found.warnings[0]


@pytest.mark.parametrize(
    ("load_roles", "fragments"),
    [
        ([{"name": "dup-role"}, {"name": "dup-role"}], ["dup-role", "twice"]),
        ([{"name": "odd", "scopes": ["no:such:scope"]}], ["odd", "no:such:scope"]),
        ([{"name": "odd", "scopes": ["all"]}], ["odd", "inherit"]),
        ([{"name": "odd", "scopes": ["read:hub!team=x"]}], ["odd", "read:hub!team=x"]),
        ([{"name": "admin", "scopes": ["read:hub"]}], ["admin"]),
        ([{"name": "admin", "scopes": []}], ["admin"]),
        ([{"name": "admin", "description": "almighty"}], ["admin"]),
        ([{"name": "odd", "services": ["here", "nosuchsvc"]}], ["odd", "nosuchsvc"]),
    ],
)
def test_the_hub_does_not_start_with(load_roles, fragments):
    with pytest.raises(ConfigurationError) as caught:
        plan(*load_roles, service_names=["here"])
    assert all(fragment in str(caught.value) for fragment in fragments)


def test_the_admin_role_may_be_repeated_as_it_is():
    default = DEFAULT_ROLES["admin"]
    spec = {"name": "admin", "description": default.description, "scopes": list(reversed(default.scopes or ()))}
    assert plan(spec).role("admin").scopes == default.scopes


def test_what_a_default_role_leaves_out_is_as_by_default():
    user = plan({"name": "user", "scopes": ["self", "read:hub"]}).role("user")
    assert user.scopes == ("self", "read:hub") and user.description == DEFAULT_ROLES["user"].description
    token = plan({"name": "token", "description": "own words"}).role("token")
    assert token.scopes == ("inherit",) and token.description == "own words"


def test_a_default_role_may_be_emptied_on_purpose():
    assert plan({"name": "token", "scopes": []}).role("token").scopes == ()


def test_extra_scopes_are_added_to_the_default_user_role():
    assert plan(extra_user_scopes=["access:services", "self"]).role("user").scopes == ("self", "access:services")
    described = plan({"name": "user", "description": "x"}, extra_user_scopes=["read:hub"])
    assert described.role("user").scopes == ("self", "read:hub") and not described.warnings


def test_extra_scopes_are_ignored_with_a_warning_if_the_user_role_is_set():
    found = plan({"name": "user", "scopes": ["self"]}, extra_user_scopes=["access:services"])
    assert found.role("user").scopes == ("self",) and "extra_user_scopes" in found.warnings[0]


def test_extra_scopes_must_exist():
    with pytest.raises(ConfigurationError, match=r"extra_user_scopes.*no:such"):
        plan(extra_user_scopes=["no:such"])


def test_a_user_role_without_self_is_warned_about():
    (warning,) = plan({"name": "user", "scopes": ["read:hub"]}).warnings
    assert "'self'" in warning


def test_roles_that_nobody_defines_any_more_go_but_not_those_of_the_authenticator():
    found = plan({"name": "reader", "scopes": ["read:hub"]})
    assert found.deletes("dropped", managed_by_auth=False) and not found.deletes("dropped", managed_by_auth=True)
    assert not found.deletes("reader", managed_by_auth=False) and not found.deletes("token", managed_by_auth=False)


# -- who holds them


def test_lists_are_exact_and_one_left_out_is_empty():
    role = plan({"name": "reader", "scopes": ["read:hub"], "users": ["ada"], "services": ["cull"]}).role("reader")
    assert role.users == exactly("ada") and role.services == exactly("cull") and role.groups == NOBODY
    assert [role.membership(kind) for kind in MEMBER_KINDS] == [
        role.users,
        role.services,
        role.groups,
    ]


def test_users_are_normalised_and_all_who_are_named_shall_exist():
    found = plan({"name": "reader", "scopes": ["read:hub"], "users": ["Ada", "BOB"], "groups": ["Crew"]},
                 allowed_users=["cy"], normalise_user=str.lower)  # fmt: skip
    assert found.role("reader").users == exactly("ada", "bob") and found.users == {"ada", "bob", "cy"}
    assert found.groups == {"Crew"}


def test_the_user_role_keeps_its_members_unless_it_lists_them():
    assert plan({"name": "user", "scopes": ["self"]}).role("user").users == AS_IT_IS
    assert plan(allowed_users=["ada"]).role("user").users == also("ada")
    assert plan({"name": "user", "users": ["bob"]}, allowed_users=["ada"]).role("user").users == exactly("ada", "bob")


def test_admins_are_added_unless_the_admin_role_lists_them():
    assert plan(admin_users=["root"]).role("admin").users == also("root")
    assert plan({"name": "admin", "groups": ["x"]}, admin_users=["root"]).role("admin").users == also("root")
    found = plan({"name": "admin", "users": ["Ada"]}, admin_users=["root"], normalise_user=str.lower)
    assert found.role("admin").users == exactly("ada", "root") and "root" in found.warnings[0]
    assert not plan({"name": "admin", "users": ["root"]}, admin_users=["root"]).warnings


def test_services_are_admins_by_flag_unless_the_admin_role_lists_them():
    assert plan(admin_services=["cull"]).role("admin").services == also("cull")
    listed = plan({"name": "admin", "services": ["other"]}, admin_services=["cull"]).role("admin")
    assert listed.services == exactly("cull", "other") and listed.users == AS_IT_IS


# -- roles of the authenticator


@pytest.mark.parametrize("kind", ["users", "groups"])
def test_who_lets_the_authenticator_decide_lists_no_members(kind):
    spec = {"name": "reader", "scopes": ["read:hub"], kind: ["ada"]}
    with pytest.raises(ConfigurationError, match=r"reader.*manage_roles"):
        plan(spec, manage_roles=True)
    plan(spec | {kind: []}, managed=[spec | {"name": "managed"}], manage_roles=True)


def test_the_authenticators_decisions_at_login_outlive_a_start():
    found = plan(
        {"name": "reader", "scopes": ["read:hub"], "services": ["cull"]},
        managed=[
            {"name": "managed", "scopes": ["read:hub"]},
            {"name": "listed", "scopes": ["proxy"], "users": ["ada"]},
        ],
        manage_roles=True,
    )
    assert found.role("reader").users == exactly(spares_managed=True) and found.role("reader").services == exactly(
        "cull"
    )
    assert found.role("managed").users == AS_IT_IS and found.role("managed").managed_by_auth
    assert found.role("listed").users == exactly("ada")


def test_a_reset_removes_what_the_authenticator_does_not_name_any_more():
    found = plan(managed=[{"name": "managed", "scopes": ["read:hub"]}], manage_roles=True, reset_managed_roles=True)
    assert found.deletes("stale", managed_by_auth=True) and not found.deletes("managed", managed_by_auth=True)
    assert not plan(reset_managed_roles=True).deletes("stale", managed_by_auth=True)


def test_configuration_and_authenticator_may_not_both_define_a_role():
    with pytest.raises(ConfigurationError, match="twice"):
        plan({"name": "reader"}, managed=[{"name": "reader"}], manage_roles=True)
