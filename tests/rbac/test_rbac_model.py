"""The arithmetic of scopes agrees with a slow model of the reference, for thousands of made-up holders."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from rbac_model import (
    CONTAINS,
    GROUPS,
    SERVICES,
    TARGETS,
    USERS,
    as_target,
    as_text,
    beyond,
    clients,
    common,
    expanded,
    groups,
    meaning,
    memberships,
    owners,
    raw_lists,
    reduced,
    users,
    written,
)

from jupyterhub.rbac.expand import Owner, expand, reduce
from jupyterhub.rbac.grants import beyond_owner, within
from jupyterhub.rbac.scope_set import ScopeSet, Target, effective_token_scopes
from jupyterhub.rbac.scopes import ScopeRegistry

REGISTRY = ScopeRegistry.default()

modelled = settings(max_examples=250, deadline=None)


def granted(scopes: ScopeSet, members) -> set:
    return {(b, t) for b in CONTAINS for t in TARGETS if scopes.covers(b, as_target(t, members))}


def held_by(raw, owner, client=None) -> ScopeSet:
    return ScopeSet.of(expand(raw, REGISTRY, owner=owner, client=client))


@modelled
@given(raw_lists, st.one_of(st.none(), owners, groups), clients)
def test_expansion_agrees_with_the_model(raw, owner, client):
    assert expand(raw, REGISTRY, owner=owner, client=client) == as_text(expanded(raw, owner, client))


@modelled
@given(raw_lists, owners, clients, memberships)
def test_a_set_covers_what_the_model_grants_and_nothing_else(raw, owner, client, members):
    scopes = held_by(raw, owner, client)
    assert scopes.raw == as_text(expanded(raw, owner, client))
    assert granted(scopes, members) == meaning(expanded(raw, owner, client), members)


@modelled
@given(raw_lists, users, memberships)
def test_reduction_leaves_out_what_is_absorbed_and_nothing_that_counts(raw, owner, members):
    scopes = {s for each in raw for s in expand([each], REGISTRY, owner=owner)}
    assert reduce(scopes) == reduce(reduce(scopes)) == as_text(reduced(map(written, scopes)))
    assert granted(ScopeSet.of(scopes), members) == granted(ScopeSet.of(reduce(scopes)), members)


@modelled
@given(raw_lists, raw_lists, owners, owners, memberships)
def test_an_intersection_grants_what_both_sets_grant(raw, other_raw, owner, other_owner, members):
    a, b = held_by(raw, owner), held_by(other_raw, other_owner)
    both = a.intersect(b, groups_of=members.__getitem__)
    assert granted(both, members) == common(expanded(raw, owner, None), expanded(other_raw, other_owner, None), members)
    assert granted(both, members) <= granted(a, members) & granted(b, members)
    assert both == b.intersect(a, groups_of=members.__getitem__)
    assert both.is_subset_of(a, members.__getitem__) and both.is_subset_of(b, members.__getitem__)


@modelled
@given(raw_lists, owners, memberships)
def test_a_set_is_within_itself(raw, owner, members):
    a = held_by(raw, owner)
    everything = ScopeSet.of(CONTAINS)
    assert a.is_subset_of(a, members.__getitem__) and a.is_subset_of(everything, members.__getitem__)
    assert a.intersect(everything, groups_of=members.__getitem__) == a
    assert a.raw <= a.intersect(a, groups_of=members.__getitem__).raw


@modelled
@given(raw_lists, raw_lists, owners, owners, memberships)
def test_the_excess_over_a_set_is_what_no_scope_of_it_satisfies(raw, other_raw, owner, other_owner, members):
    a, b = held_by(raw, owner), held_by(other_raw, other_owner)
    excess = beyond(expanded(raw, owner, None), expanded(other_raw, other_owner, None), members)
    assert a.excess_over(b, members.__getitem__) == as_text(excess)
    assert a.is_subset_of(b, members.__getitem__) is (not excess)
    assert all(b.holds(scope, members.__getitem__) is (scope not in as_text(excess)) for scope in a.raw)
    if not excess:
        assert granted(a, members) <= granted(b, members)


@modelled
@given(raw_lists, owners, memberships)
def test_a_list_shows_exactly_what_the_scope_covers(raw, owner, members):
    scopes = held_by(raw, owner)
    for scope in ("list:users", "list:services", "list:groups", "read:servers"):
        rows = scopes.list_filter(scope)
        shown = {("user", u) for u in USERS if rows.everything or u in rows.users or rows.groups & members[u]}
        shown |= {("group", g) for g in GROUPS if rows.everything or g in rows.groups}
        shown |= {("service", s) for s in SERVICES if rows.everything or s in rows.services}
        assert shown == {t for b, t in granted(scopes, members) if b == scope and t[0] in ("user", "group", "service")}
        assert rows.is_nothing is (not scopes.has_any(scope)) and rows.everything is scopes.is_unfiltered(scope)


@modelled
@given(raw_lists, owners, memberships)
def test_memberships_are_asked_for_where_they_matter(raw, owner, members):
    scopes = held_by(raw, owner)
    nobody = {user: frozenset() for user in USERS}
    for base in CONTAINS:
        if not scopes.needs_groups([base]):
            for target in TARGETS:
                with_groups = scopes.covers(base, as_target(target, members))
                assert with_groups == scopes.covers(base, as_target(target, nobody))


def model_token(token_raw, owner, client):
    """§7: what the token was made for, with its client's access scope and what identifies its owner."""
    scopes = expanded(token_raw, owner, client)
    if client is not None and client.server is not None:
        scopes.add(("access:servers", "server", f"{client.server.user}/{client.server.name}"))
    if client is not None and client.service is not None:
        scopes.add(("access:services", "service", client.service))
    if owner.kind == "user":
        scopes |= {("read:users:name", "user", owner.name), ("read:users:groups", "user", owner.name)}
    else:
        scopes.add(("read:services:name", "service", owner.name))
    return reduced(scopes)


@modelled
@given(raw_lists, raw_lists, owners, clients, memberships)
def test_a_token_grants_what_it_was_made_for_within_its_owners_rights(token_raw, owner_raw, owner, client, members):
    owner_scopes = held_by(owner_raw, owner)
    token_raw = [scope for scope in token_raw if scope != "inherit"]
    scopes = effective_token_scopes(
        token_raw, owner_scopes, REGISTRY, owner=owner, client=client, groups_of=members.__getitem__
    )
    wanted = model_token(token_raw, owner, client)
    assert granted(scopes, members) == common(wanted, expanded(owner_raw, owner, None), members)
    assert scopes.is_subset_of(owner_scopes, members.__getitem__)


@modelled
@given(raw_lists, raw_lists, owners, clients, memberships)
def test_an_inheriting_token_is_as_strong_as_its_owner(token_raw, owner_raw, owner, client, members):
    owner_scopes = held_by(owner_raw, owner)
    token_raw = [*token_raw, "inherit"]
    groups_of = members.__getitem__
    token = effective_token_scopes(token_raw, owner_scopes, REGISTRY, owner=owner, client=client, groups_of=groups_of)
    assert token == owner_scopes


@modelled
@given(raw_lists, raw_lists, raw_lists, owners, clients, memberships)
def test_a_token_never_gains_when_its_owner_loses(token_raw, kept, lost, owner, client, members):
    def grants(owner_raw):
        owner_scopes = held_by(owner_raw, owner)
        return granted(
            effective_token_scopes(
                token_raw, owner_scopes, REGISTRY, owner=owner, client=client, groups_of=members.__getitem__
            ),
            members,
        )

    assert grants(kept) <= grants([*kept, *lost])


@modelled
@given(raw_lists, raw_lists, users, clients, memberships)
def test_a_request_cut_down_to_the_owners_rights_grants_the_part_they_hold(raw, owner_raw, owner, client, members):
    owner_scopes = held_by(owner_raw, owner)
    raw = [scope for scope in raw if scope != "inherit"]
    groups_of = members.__getitem__
    kept = within(raw, owner_scopes, REGISTRY, owner=owner, client=client, groups_of=groups_of)
    expected = common(expanded(raw, owner, client), expanded(owner_raw, owner, None), members)
    # Written down, whole scopes stay as they were: that is the only way in which groups can remain.
    assert granted(held_by(kept, owner, client), members) == expected
    assert not beyond_owner(kept, owner_scopes, REGISTRY, owner=owner, client=client, groups_of=groups_of)


@modelled
@given(raw_lists)
def test_namesakes_of_other_kinds_are_never_reached(raw):
    """A filter by the service or group ``zed`` says nothing about the user ``zed``, and so on."""
    renamed = [s.replace("!user=ada", "!service=zed").replace("!group=ada", "!service=zed") for s in raw if "!" in s]
    scopes = held_by(renamed, Owner("group", "crew"))
    for base in CONTAINS:
        assert not scopes.covers(base, Target(user="zed"))
        assert not scopes.covers(base, Target(user="zed", server=""))
        assert not scopes.covers(base, Target(group="zed"))
