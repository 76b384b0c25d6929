"""What an OAuth client may be granted, and whether the user is asked first (scopes-roles.md §11, auth-flows.md §7).

Three steps: what the client asks for must be within what it may have; what the user does not have is left out; the user
confirms, unless the thing is theirs, trusted by configuration, or was confirmed before. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jupyterhub.rbac.descriptions import Say, ScopeDescription, describe, plainly
from jupyterhub.rbac.expand import IssuingClient, Owner, access_scopes, expand, identify_scopes
from jupyterhub.rbac.grants import IDENTIFY_RAW, requested_by_client, within
from jupyterhub.rbac.scope_set import GroupsOf, ScopeSet
from jupyterhub.rbac.scopes import INHERIT, ScopeRegistry, UnknownScope
from jupyterhub.words.errors import Invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Who asks whom for what kind of access."""

    user_name: str
    user_scopes: ScopeSet
    client: IssuingClient
    allowed_scopes: Sequence[str]
    groups_of: GroupsOf
    registry: ScopeRegistry

    @property
    def owner(self) -> Owner:
        return Owner("user", self.user_name)


def asked_for(asking: Asking, names: Sequence[str], roles: Mapping[str, Sequence[str]]) -> tuple[str, ...] | None:
    """Give the raw scopes that a client means; None if it may not have them, or they do not exist.

    ``names`` are those in ``scope``. If one is no scope, all are taken for roles: ``roles`` has those that exist.
    """

    def requested(scopes: Sequence[str]) -> tuple[str, ...]:
        return requested_by_client(
            scopes,
            asking.allowed_scopes,
            asking.registry,
            owner=asking.owner,
            client=asking.client,
            groups_of=asking.groups_of,
        )

    try:
        try:
            return requested(names)
        except UnknownScope:
            if not all(name in roles for name in names):
                return None
            return requested([scope for name in names for scope in roles[name]])
    except Invalid:
        return None


def may_enter(asking: Asking) -> bool:
    """Say whether the user may use the server or service that stands behind the client."""
    return all(asking.user_scopes.holds(scope, asking.groups_of) for scope in access_scopes(asking.client))


def granted(asking: Asking, raw: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Cut down what a client asks for to what the user has; give what remains, and what was lost in part or whole."""
    lost: list[str] = []
    kept = within(
        raw,
        asking.user_scopes,
        asking.registry,
        owner=asking.owner,
        client=asking.client,
        groups_of=asking.groups_of,
        discarded=lambda scope, reason: lost.append(scope),
    )
    return kept, tuple(dict.fromkeys(lost))


def needs_confirmation(
    asking: Asking, scopes: Sequence[str], *, is_trusted: bool, confirmed: Sequence[Sequence[str]]
) -> bool:
    """Say whether the user is asked. ``confirmed``: raw scopes of the tokens that this client has from them already."""
    if is_trusted or (asking.client.server is not None and asking.client.server.user == asking.user_name):
        return False
    if not confirmed:
        return True
    before = {scope for one in confirmed for scope in one}
    if INHERIT in before:
        return False
    if INHERIT in scopes:
        return True

    def expanded(raw: Sequence[str] | set[str]) -> ScopeSet:
        return ScopeSet.of(expand(raw, asking.registry, owner=asking.owner, client=asking.client))

    # A token carries these whatever it was made for.
    always = ScopeSet.of(identify_scopes(asking.owner) | access_scopes(asking.client))
    return not expanded(scopes).is_subset_of(expanded(before) | always, asking.groups_of)


def shown(asking: Asking, scopes: Sequence[str], say: Say = plainly) -> tuple[list[str], list[ScopeDescription]]:
    """Give the scopes of the confirmation form, and what the page says of them."""
    if INHERIT in scopes:
        return [INHERIT], describe([INHERIT], asking.registry, user=asking.user_name, say=say)
    plain = {*IDENTIFY_RAW, *access_scopes(asking.client)}
    beyond = [scope for scope in scopes if scope not in plain]
    return list(scopes), describe(scopes if beyond else [], asking.registry, user=asking.user_name, say=say)
