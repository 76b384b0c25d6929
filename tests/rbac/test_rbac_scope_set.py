"""Questions to a set of scopes, and how one set limits another: scopes-roles.md §3 and §7, rest-api.md §0.4."""

from __future__ import annotations

import pytest

from jupyterhub.rbac.expand import IssuingClient, Owner, expand
from jupyterhub.rbac.scope_set import ALL, EVERYTHING, NOWHERE, ScopeSet, Target, effective_token_scopes
from jupyterhub.rbac.scopes import ScopeRegistry
from jupyterhub.words.names import ServerKey

REGISTRY = ScopeRegistry.default()
ADA = Owner("user", "ada")
CREW = frozenset({"crew"})


def groups_of(user: str) -> frozenset[str]:
    return CREW if user == "ada" else frozenset()


def no_groups(user: str) -> frozenset[str]:
    raise AssertionError(f"nobody needs the groups of {user}")


def holding(*raw: str, owner: Owner = ADA) -> ScopeSet:
    return ScopeSet.of(expand(raw, REGISTRY, owner=owner))


ADA_HERSELF = Target(user="ada", user_groups=CREW)
ADA_LAB = Target(user="ada", user_groups=CREW, server="lab")
ADA_DEFAULT = Target(user="ada", user_groups=CREW, server="")
CREW_ITSELF = Target(group="crew")
CULL = Target(service="cull")


@pytest.mark.parametrize(
    ("held", "reached"),
    [
        ("servers", {ADA_HERSELF, ADA_LAB, ADA_DEFAULT, CREW_ITSELF, CULL, NOWHERE}),
        ("servers!user=ada", {ADA_HERSELF, ADA_LAB, ADA_DEFAULT}),
        ("servers!group=crew", {ADA_HERSELF, ADA_LAB, ADA_DEFAULT, CREW_ITSELF}),
        ("servers!server=ada/lab", {ADA_LAB}),
        ("servers!server=ada/", {ADA_DEFAULT}),
        ("servers!server=ada", set()),
        ("servers!service=cull", {CULL}),
        ("servers!service=ada", set()),
        ("servers!group=ada", set()),
        ("servers!user=crew", set()),
        ("servers!user=cull", set()),
        ("servers!user=bob", set()),
        ("servers!server=bob/lab", set()),
        ("servers!user=", set()),
    ],
)
def test_a_filter_reaches(held, reached):
    everywhere = {ADA_HERSELF, ADA_LAB, ADA_DEFAULT, CREW_ITSELF, CULL, NOWHERE}
    assert {target for target in everywhere if holding(held).covers("servers", target)} == reached


def test_a_former_member_is_out_of_reach():
    assert not holding("servers!group=crew").covers("servers", Target(user="ada"))


def test_several_filters_are_a_union():
    scopes = holding("servers!user=ada", "servers!user=bob", "servers!group=crew")
    assert scopes.covers("servers", Target(user="ada")) and scopes.covers("servers", Target(user="bob", server="x"))
    assert scopes.covers("servers", Target(user="cy", user_groups=CREW)) and not scopes.covers(
        "servers", Target(user="cy")
    )


def test_without_a_target_only_the_unfiltered_scope_counts():
    """The flaw of GHSA-69wv-m5fw-2fhp: a filtered scope passed where nothing was there to apply the filter to."""
    for filter in ("!user=ada", "!group=crew", "!server=ada/", "!service=cull"):
        scopes = holding("admin:users" + filter)
        assert not scopes.covers("admin:users") and scopes.has_any("admin:users")
        assert not scopes.is_unfiltered("admin:users")
    assert holding("admin:users").covers("admin:users") and holding("admin:users").is_unfiltered("admin:users")


def test_any_of_several_scopes_will_do():
    scopes = holding("read:users:name!user=ada")
    assert scopes.covers_any(["read:users", "read:users:name"], ADA_HERSELF)
    assert not scopes.covers_any(["read:users", "read:servers"], ADA_HERSELF) and not scopes.covers_any([], ADA_HERSELF)


def test_a_scope_that_is_not_held_opens_nothing_and_lists_nothing():
    scopes = holding("read:hub")
    assert not scopes.has_any("proxy") and not scopes.covers("proxy") and scopes.list_filter("proxy").is_nothing
    assert not ScopeSet.of(()) and scopes


def test_scopes_in_raw_form_grant_nothing():
    scopes = ScopeSet.of(["tokens!user", "tokens!team=x", "tokens!user=ada", "proxy!", "servers!server"])
    assert scopes.raw == {"tokens!user=ada"} and not scopes.has_any("proxy") and not scopes.has_any("servers")


def test_the_written_form_is_reduced():
    scopes = ScopeSet.of(["tokens!user=ada", "tokens", "proxy"])
    assert scopes.raw == {"tokens", "proxy"} and scopes.held["tokens"] is ALL
    assert scopes == ScopeSet.of(["proxy", "tokens"]) and len({scopes, ScopeSet.of(["tokens", "proxy"])}) == 1


def test_sets_add_up():
    both = ScopeSet.of(["tokens!user=ada", "proxy"]) | ScopeSet.of(["tokens", "read:hub!user=b"])
    assert both.raw == {"tokens", "proxy", "read:hub!user=b"}


@pytest.mark.parametrize(
    "wrong",
    [{"user": "a", "group": "g"}, {"user": "a", "service": "s"}, {"group": "g", "service": "s"}, {"server": "x"}],
)
def test_a_target_is_one_thing(wrong):
    with pytest.raises(ValueError, match=r"target|server"):
        Target(**wrong)


def test_a_list_filter_names_what_may_be_seen():
    rows = holding("list:users!user=ada", "list:users!group=crew", "list:users!server=bob/").list_filter("list:users")
    assert not rows.everything and rows.users == {"ada"} and rows.groups == CREW and rows.servers == {"bob/"}
    assert rows.kinds == {"user", "group", "server"} and not rows.is_nothing
    assert holding("list:users").list_filter("list:users") == EVERYTHING and not EVERYTHING.kinds


def test_groups_are_needed_only_for_scopes_filtered_by_group():
    scopes = holding("tokens!group=crew", "servers!user=ada", "proxy")
    assert scopes.needs_groups(["tokens"]) and scopes.needs_groups(["servers", "read:tokens"])
    assert not scopes.needs_groups(["servers", "proxy", "shutdown"])


# -- one set against another


@pytest.mark.parametrize(
    ("a", "b", "both"),
    [
        (["proxy"], ["proxy"], {"proxy"}),
        (["proxy"], ["proxy!user=ada"], {"proxy!user=ada"}),
        (["proxy"], ["proxy!group=crew"], {"proxy!group=crew"}),
        (["proxy!user=ada"], ["proxy!user=ada"], {"proxy!user=ada"}),
        (["proxy!user=ada"], ["proxy!user=bob"], set()),
        (["proxy!user=ada"], ["proxy!server=ada/lab"], {"proxy!server=ada/lab"}),
        (["proxy!user=ad"], ["proxy!server=ada/lab"], set()),
        (["proxy!user=bob"], ["proxy!server=ada/lab"], set()),
        (["proxy!user=ada"], ["proxy!server=ada"], set()),
        (["proxy!group=crew"], ["proxy!user=ada"], {"proxy!user=ada"}),
        (["proxy!group=crew"], ["proxy!user=bob"], set()),
        (["proxy!group=crew"], ["proxy!server=ada/"], {"proxy!server=ada/"}),
        (["proxy!group=crew"], ["proxy!server=bob/"], set()),
        (["proxy!group=crew"], ["proxy!group=crew"], {"proxy!group=crew"}),
        (["proxy!group=crew"], ["proxy!group=others"], set()),
        (["proxy!group=ada"], ["proxy!user=ada"], set()),
        (["proxy!service=ada"], ["proxy!user=ada"], set()),
        (["proxy!service=cull"], ["proxy!service=cull"], {"proxy!service=cull"}),
        (["proxy!server=ada/"], ["proxy!server=ada/lab"], set()),
        (["proxy"], ["shutdown"], set()),
        (
            ["proxy!user=ada", "proxy!user=bob"],
            ["proxy!user=bob", "proxy!server=ada/"],
            {"proxy!user=bob", "proxy!server=ada/"},
        ),
    ],
)
def test_two_sets_have_in_common(a, b, both):
    left, right = ScopeSet.of(a), ScopeSet.of(b)
    assert left.intersect(right, groups_of=groups_of).raw == both
    assert right.intersect(left, groups_of=groups_of).raw == both


def test_memberships_are_not_looked_up_without_need():
    a, b = (
        ScopeSet.of(["proxy!user=ada", "tokens"]),
        ScopeSet.of(["proxy!server=ada/", "proxy!user=b", "tokens!group=x"]),
    )
    assert a.intersect(b, groups_of=no_groups) and not a.is_subset_of(b, no_groups)


@pytest.mark.parametrize(
    ("required", "held", "is_held"),
    [
        ("proxy!user=ada", "proxy", True),
        ("proxy", "proxy!user=ada", False),
        ("proxy!user=ada", "proxy!user=ada", True),
        ("proxy!server=ada/", "proxy!user=ada", True),
        ("proxy!user=ada", "proxy!server=ada/", False),
        ("proxy!user=ada", "proxy!group=crew", True),
        ("proxy!server=ada/lab", "proxy!group=crew", True),
        ("proxy!server=bob/lab", "proxy!group=crew", False),
        ("proxy!group=crew", "proxy!group=crew", True),
        ("proxy!group=crew", "proxy!user=ada", False),
        ("proxy!service=ada", "proxy!user=ada", False),
        ("shutdown", "proxy", False),
        ("proxy!user", "proxy", False),
        ("proxy!team=x", "proxy", False),
    ],
)
def test_a_required_scope_is_held(required, held, is_held):
    assert ScopeSet.of([held]).holds(required, groups_of) is is_held


# -- tokens


def token(*raw: str, owner_scopes: ScopeSet, owner: Owner = ADA, client: IssuingClient | None = None, discarded=None):
    return effective_token_scopes(
        raw, owner_scopes, REGISTRY, owner=owner, client=client, groups_of=groups_of, discarded=discarded
    ).raw


IDENTIFY = {"read:users:name!user=ada", "read:users:groups!user=ada"}


def test_a_token_without_scopes_still_identifies_its_owner():
    assert token(owner_scopes=holding("self")) == IDENTIFY
    cull = Owner("service", "cull")
    assert token(owner_scopes=holding("read:services", owner=cull), owner=cull) == {"read:services:name!service=cull"}
    assert token(owner_scopes=holding("proxy", owner=cull), owner=cull) == frozenset()


def test_inherit_among_others_is_everything():
    owner_scopes = holding("self", "proxy")
    assert token("inherit", "read:hub", owner_scopes=owner_scopes) == owner_scopes.raw


def test_an_unfiltered_scope_is_narrowed_to_what_the_owner_has():
    assert token("tokens", owner_scopes=holding("self")) == IDENTIFY | {"tokens!user=ada", "read:tokens!user=ada"}


def test_scopes_of_others_are_dropped_and_reported():
    reports = []
    found = token(
        "tokens!user=bob", "no:such", owner_scopes=holding("self"), discarded=lambda s, why: reports.append(s)
    )
    assert found == IDENTIFY and set(reports) == {"no:such", "tokens!user=bob", "read:tokens!user=bob"}


def test_the_token_of_a_client_gives_access_to_that_client_if_the_owner_has_it():
    lab = IssuingClient(server=ServerKey("ada", "lab"))
    assert token(owner_scopes=holding("self"), client=lab) == IDENTIFY | {"access:servers!server=ada/lab"}
    assert token(owner_scopes=holding("self"), client=IssuingClient(service="cull")) == IDENTIFY
    shared = holding("self", "access:servers!server=bob/")
    assert token(owner_scopes=shared, client=IssuingClient(ServerKey("bob"))) == IDENTIFY | {
        "access:servers!server=bob/"
    }
    by_group = holding("access:servers!group=crew", owner=Owner("user", "bob"))
    assert token(owner_scopes=by_group, owner=Owner("user", "bob"), client=lab) == {"access:servers!server=ada/lab"}


def test_a_service_and_a_user_of_one_name_are_two():
    """Past flaw 6.1 (h): the kind of the filter follows the owner, never the requester."""
    scopes = holding("tokens!service=ada")
    assert not scopes.covers("tokens", Target(user="ada")) and scopes.covers("tokens", Target(service="ada"))
    namesake = Owner("service", "ada")
    assert not holding("self", "tokens!user", owner=namesake)
