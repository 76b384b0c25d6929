"""From scopes as they were written down to scopes as they are held (reference: scopes-roles.md §3 and §4).

Metascopes are replaced, contained scopes added, and bare filters filled in from whoever holds the scope. The result is
a set of plain strings; ``scope_set`` answers questions about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from jupyterhub.words.names import ServerKey

from .scopes import FILTER_KINDS, INHERIT, SELF, ScopeRegistry, split

OwnerKind = Literal["user", "service", "group"]

Discarded = Callable[[str, str], None]
"""Is told of each written scope that came to nothing, and why, for the log."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose scopes these are. Scopes of a group's role are expanded for each member, with the member as owner."""

    kind: OwnerKind
    name: str


@dataclass(frozen=True, slots=True)
class IssuingClient:
    """The OAuth client that a token was issued by: a user's server or a service.

    With neither it is the hub itself, which gives no access of its own.
    """

    server: ServerKey | None = None
    service: str | None = None


def expand(
    raw: Iterable[str],
    registry: ScopeRegistry,
    *,
    owner: Owner | None,
    client: IssuingClient | None = None,
    keep_inherit: bool = False,
    discarded: Discarded | None = None,
) -> frozenset[str]:
    """Give what the written scopes amount to for this owner: every scope spelt out, filters with values, reduced.

    Nothing here raises: rows may hold scopes that no longer exist, and those grant nothing. ``inherit`` has a meaning
    only on a token (``effective_token_scopes``); it stays in the result only with ``keep_inherit``.
    """
    found: set[str] = set()

    def discard(scope: str, reason: str) -> None:
        if discarded is not None:
            discarded(scope, reason)

    for scope in raw:
        base, kind, value = split(scope)
        if base not in registry.definitions:
            discard(scope, "there is no such scope")
        elif base == INHERIT:
            if kind is None and keep_inherit:
                found.add(scope)
            elif kind is not None:
                discard(scope, "'inherit' takes no filter")
        elif base == SELF:
            if kind is not None:
                discard(scope, "'self' takes no filter")
            elif owner is None or owner.kind != "user":
                discard(scope, "only a user has a 'self'")
            else:
                suffix = f"!user={owner.name}"
                found.update([name + suffix for name in registry.self_closure])
        elif kind is None:
            found.update(registry.closure(base))
        elif kind not in FILTER_KINDS:
            discard(scope, "there is no such filter")
        else:
            if value is None:
                value = _implied(kind, owner, client)
            if value is None:
                discard(scope, f"there is no {kind} that the filter could mean")
                continue
            suffix = f"!{kind}={value}"
            found.update([name + suffix for name in registry.closure(base, of_server=kind == "server")])
    return reduce(found)


def _implied(kind: str, owner: Owner | None, client: IssuingClient | None) -> str | None:
    """Say what a filter without a value means, None if nothing."""
    if kind == "user":
        return owner.name if owner is not None and owner.kind == "user" else None
    if kind == "service":
        if owner is not None and owner.kind == "service":
            return owner.name
        return client.service if client is not None else None
    if kind == "server":
        return client.server.scope_value if client is not None and client.server is not None else None
    return None


def reduce(scopes: Iterable[str]) -> frozenset[str]:
    """Leave out each filtered scope that is there without a filter as well."""
    whole = frozenset(scopes)
    return frozenset([s for s in whole if "!" not in s or s[: s.index("!")] not in whole])


def identify_scopes(owner: Owner) -> frozenset[str]:
    """Give what every token carries so that its owner can be told: names, and for users their groups."""
    match owner.kind:
        case "user":
            return frozenset({f"read:users:name!user={owner.name}", f"read:users:groups!user={owner.name}"})
        case "service":
            return frozenset({f"read:services:name!service={owner.name}"})
        case "group":
            return frozenset()


def access_scopes(client: IssuingClient | None) -> frozenset[str]:
    """Give the scopes that let their holder into what stands behind an OAuth client; none for the hub itself."""
    found: set[str] = set()
    if client is not None and client.server is not None:
        found.add(f"access:servers!server={client.server.scope_value}")
    if client is not None and client.service is not None:
        found.add(f"access:services!service={client.service}")
    return frozenset(found)
