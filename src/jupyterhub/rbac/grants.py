"""What may be handed on: to a new token, to a user's server, to an OAuth client, to those a server is shared with.

Nobody hands on more than they hold. All of this limits what is *written down*; each use of a token is limited again
(``effective_token_scopes``), because its owner's rights may shrink in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from jupyterhub.words.errors import Invalid
from jupyterhub.words.names import ServerKey

from .expand import Discarded, IssuingClient, Owner, access_scopes, expand
from .scope_set import GroupsOf, ScopeSet
from .scopes import INHERIT, SELF, ScopeRegistry, check_scopes_exist, split

#: what a client may ask for by name to learn who someone is and no more; not a scope
IDENTIFY: Final = "identify"
#: what it means, as tokens store it: with the filter open, so that it outlives a new name
IDENTIFY_RAW: Final = ("read:users:name!user", "read:users:groups!user")


def beyond_owner(
    raw: Iterable[str],
    owner_scopes: ScopeSet,
    registry: ScopeRegistry,
    *,
    owner: Owner,
    client: IssuingClient | None = None,
    groups_of: GroupsOf,
) -> frozenset[str]:
    """Give those scopes of a requested token, expanded, that its owner does not hold: with any, it must be refused.

    ``inherit`` is never too much. That the scopes exist is checked before (``check_scopes_exist``).
    """
    return ScopeSet.of(expand(raw, registry, owner=owner, client=client)).excess_over(owner_scopes, groups_of)


def within(
    raw: Iterable[str],
    owner_scopes: ScopeSet,
    registry: ScopeRegistry,
    *,
    owner: Owner,
    client: IssuingClient | None = None,
    groups_of: GroupsOf,
    discarded: Discarded | None = None,
) -> tuple[str, ...]:
    """Cut requested scopes down to what the owner holds: whole ones stay, others are narrowed or dropped.

    The result is still raw and in order. Scopes held whole stay as they were written, so that ``!user`` goes on to
    mean the owner if they are renamed.
    """
    kept: dict[str, None] = {}
    for scope in raw:
        if scope == INHERIT:
            kept[scope] = None
            continue
        wanted = ScopeSet.of(expand([scope], registry, owner=owner, client=client, discarded=discarded))
        if not wanted:
            continue
        if wanted.is_subset_of(owner_scopes, groups_of):
            kept[scope] = None
            continue
        narrowed = wanted.intersect(owner_scopes, groups_of=groups_of).raw
        kept.update(dict.fromkeys(sorted(narrowed)))
        if discarded is not None:
            discarded(scope, "the owner holds only a part of it" if narrowed else "the owner does not hold it")
    return tuple(kept)


# -- a user's server


def server_token_request(
    raw: Iterable[str],
    key: ServerKey,
    owner_scopes: ScopeSet,
    registry: ScopeRegistry,
    *,
    groups_of: GroupsOf,
    discarded: Discarded | None = None,
) -> tuple[str, ...]:
    """Give the scopes for ``JUPYTERHUB_API_TOKEN`` (reference: scopes-roles.md §8).

    ``raw`` is ``Spawner.server_token_scopes``, or the scopes of role ``server``. Reporting activity is always among
    them, since a hub that cannot see activity culls busy servers.
    """
    # The hub issues this token, not the server's OAuth client, so `!server` would mean nothing later.
    wanted = [f"{scope}={key.scope_value}" if scope.endswith("!server") else scope for scope in raw]
    if not {"users:activity!user", "users:activity", INHERIT}.intersection(wanted):
        wanted.append("users:activity!user")
    owner = Owner("user", key.user)
    return within(wanted, owner_scopes, registry, owner=owner, groups_of=groups_of, discarded=discarded)


# -- OAuth clients


class ScopeNotAllowed(Invalid):
    """An OAuth client asked for what it may not have (``invalid_scope``)."""

    def __init__(self, scopes: Iterable[str]) -> None:
        self.scopes = frozenset(scopes)
        super().__init__(f"This client may not ask for {', '.join(sorted(self.scopes))}.")


def requested_by_client(
    requested: Iterable[str],
    allowed: Iterable[str],
    registry: ScopeRegistry,
    *,
    owner: Owner,
    client: IssuingClient,
    groups_of: GroupsOf,
) -> tuple[str, ...]:
    """Give the raw scopes that an OAuth client asks for in its request, before the user's own rights limit them.

    ``requested`` are the names in the parameter ``scope`` (empty: everything ``allowed``; ``identify``: as little as
    possible). What identifies the user and lets them in is always part of it, but beside ``inherit``, which has it
    all. Raises ``UnknownScope``, upon which the caller may try them as names of roles, or ``ScopeNotAllowed``.
    """
    least = sorted({*IDENTIFY_RAW, *access_scopes(client)})
    allowed = tuple(allowed)
    requested = tuple(requested)
    if not requested:
        return allowed if INHERIT in allowed else tuple(dict.fromkeys((*allowed, *least)))
    named = tuple(dict.fromkeys(scope for scope in requested if scope != IDENTIFY))
    if not named:
        return tuple(least)
    check_scopes_exist(named, registry)
    if INHERIT in allowed:
        return named
    if INHERIT in named:
        raise ScopeNotAllowed([INHERIT])
    ceiling = ScopeSet.of(expand((*allowed, *least), registry, owner=owner, client=client))
    excess = [
        scope
        for scope in named
        if not ScopeSet.of(expand([scope], registry, owner=owner, client=client)).is_subset_of(ceiling, groups_of)
    ]
    if excess:
        raise ScopeNotAllowed(excess)
    return tuple(dict.fromkeys((*named, *least)))


# -- shares


def default_share_scopes(key: ServerKey) -> tuple[str, ...]:
    return (f"access:servers!server={key.scope_value}",)


def share_scopes(raw: Iterable[str], key: ServerKey, registry: ScopeRegistry) -> tuple[str, ...]:
    """Give the scopes of a new share of this server, each with its filter, sorted; the default for none.

    Raises ``Invalid`` for scopes that do not exist, that cannot be limited to a server, or that are limited to
    something else. Whether the one who shares holds them is ``ScopeSet.holds``' to say.
    """
    raw = tuple(raw)
    if not raw:
        return default_share_scopes(key)
    check_scopes_exist(raw, registry)
    found: set[str] = set()
    for scope in raw:
        base, kind, value = split(scope)
        if base in (SELF, INHERIT):
            raise Invalid(f"The scope {scope!r} cannot be shared. Name the scopes that it should stand for.")
        if kind is not None and (kind, value) != ("server", key.scope_value):
            raise Invalid(f"The scope {scope!r} is not about the server that is shared. Leave its filter out.")
        found.add(f"{base}!server={key.scope_value}")
    return tuple(sorted(found))


def stored_share_scopes(stored: Iterable[str], key: ServerKey) -> tuple[str, ...]:
    """Read the scopes of a share's row: whatever their filter there, they are about this server, by its present name.

    Users and servers are renamed, and rows may have been written by others (past-flaws.md, 6.1 hardening (d)).
    """
    return tuple(sorted({f"{split(scope)[0]}!server={key.scope_value}" for scope in stored}))
