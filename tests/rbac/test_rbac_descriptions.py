"""What people read when they are asked to grant scopes."""

from __future__ import annotations

import pytest

from jupyterhub.rbac.descriptions import describe
from jupyterhub.rbac.expand import Owner, expand
from jupyterhub.rbac.scopes import ScopeRegistry

REGISTRY = ScopeRegistry.default()


def shown(*scopes: str, user: str | None = "ada") -> list[str]:
    return [entry["scope"] for entry in describe(scopes, REGISTRY, user=user)]


def test_beside_inherit_nothing_else_is_said():
    assert shown("inherit", "read:users", "access:servers!server=ada/") == ["inherit"]


def test_without_scopes_one_is_asked_for_ones_name():
    (entry,) = describe([], REGISTRY, user="ada")
    assert entry["scope"] == "(no_scope)" and entry["description"] and entry["filter"] == ""
    assert shown("no:such") == ["(no_scope)"]


@pytest.mark.parametrize(
    ("scopes", "listed"),
    [
        (["read:users", "read:users:name", "read:users:name!user=bob"], ["read:users"]),
        (["tokens!user=ada", "read:tokens"], ["tokens!user=ada", "read:tokens"]),
        (
            ["tokens!user=ada", "read:tokens!user=ada", "read:tokens!user=bob"],
            ["tokens!user=ada", "read:tokens!user=bob"],
        ),
        (["self", "servers!user=ada", "tokens!user", "servers!user=bob"], ["self", "servers!user=bob"]),
        (
            ["read:servers!server=ada/", "read:users:name!server=ada/"],
            ["read:users:name!server=ada/", "read:servers!server=ada/"],
        ),
    ],
)
def test_what_another_scope_contains_is_not_said_twice(scopes, listed):
    assert shown(*scopes) == listed


def test_every_scope_that_is_left_out_is_contained_in_one_that_is_shown():
    whole = expand(["admin:users", "admin:servers", "shares!user", "self"], REGISTRY, owner=Owner("user", "ada"))
    assert expand(shown(*whole), REGISTRY, owner=None) == whole and len(shown(*whole)) < len(whole)


@pytest.mark.parametrize(
    ("scope", "fragment"),
    [
        ("servers", ""),
        ("servers!user=ada", "your own"),
        ("servers!user", "your own"),
        ("servers!user=bob", "bob"),
        ("servers!group=crew", "crew"),
        ("servers!server=ada/", "your default server"),
        ("servers!server=ada/lab", "your server lab"),
        ("servers!server=bob/lab", "bob's server lab"),
        ("servers!server", "this server"),
        ("access:services!service=cull", "cull"),
    ],
)
def test_a_limit_is_put_into_words(scope, fragment):
    (entry,) = describe([scope], REGISTRY, user="ada")
    assert fragment in entry["filter"] and bool(entry["filter"]) is bool(fragment)


def test_custom_scopes_that_contain_each_other_are_all_shown():
    registry = REGISTRY.with_custom(
        {
            "custom:one": {"description": "one", "subscopes": ["custom:two"]},
            "custom:two": {"description": "two", "subscopes": ["custom:one"]},
        }
    )
    found = describe(["custom:one", "custom:two"], registry, user=None)
    assert [entry["description"] for entry in found] == ["one", "two"]
