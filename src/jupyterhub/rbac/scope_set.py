"""A set of held scopes, ready to be asked: may its holder do this to that, and what may they see in a list.

Built from expanded scopes (``expand``) once per request. Also here: what remains when one set limits another, which is
how a token is kept within its owner's rights.

A filter by group means "who is a member now". A ``ScopeSet`` therefore never stores members: whoever asks brings the
memberships (``Target.user_groups``, ``groups_of``), freshly read. Nothing that depends on them is cached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Literal

from jupyterhub.words.names import ServerKey

from .expand import Discarded, IssuingClient, Owner, access_scopes, expand, identify_scopes
from .scopes import FILTER_KINDS, INHERIT, ScopeRegistry

GroupsOf = Callable[[str], frozenset[str]]
"""Gives the names of a user's groups, as they are now; empty if there is no such user."""


class _All(Enum):
    ALL = "all"


#: held without a filter
ALL: Final = _All.ALL


@dataclass(frozen=True, slots=True)
class Filters:
    """To what a scope is limited: the union of what is named."""

    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    #: ``owner/name``
    servers: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.users or self.groups or self.servers or self.services)


Held = Filters | Literal[_All.ALL]

#: kind of filter → field of ``Filters``
_FIELDS: Final[Mapping[str, str]] = {"user": "users", "group": "groups", "server": "servers", "service": "services"}


@dataclass(frozen=True, slots=True)
class Target:
    """The one thing that a request is about: a user, a server (with its user), a group or a service.

    ``user_groups`` are the groups of ``user``, needed only where ``ScopeSet.needs_groups`` says so.
    """

    user: str | None = None
    user_groups: frozenset[str] = frozenset()
    #: its name, "" for the default server; goes together with ``user``
    server: str | None = None
    group: str | None = None
    service: str | None = None

    def __post_init__(self) -> None:
        # Two things at once would be allowed if either is, which is never what the caller meant.
        if (self.user is not None) + (self.group is not None) + (self.service is not None) > 1:
            raise ValueError(f"A target is one thing: {self}")
        if self.server is not None and self.user is None:
            raise ValueError(f"A server needs its user: {self}")

    @classmethod
    def of_server(cls, key: ServerKey, user_groups: frozenset[str] = frozenset()) -> Target:
        return cls(user=key.user, server=key.name, user_groups=user_groups)


#: for requests that are about nothing in particular: they take the scope without a filter
NOWHERE: Final = Target()


@dataclass(frozen=True, slots=True)
class ListFilter:
    """Which rows of a list its reader may see. The store's list methods demand one: forgetting it does not type-check.

    The rows are the union of what is named; nothing named and not ``everything`` means no row at all.
    """

    everything: bool
    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    #: ``owner/name``
    servers: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()

    @property
    def is_nothing(self) -> bool:
        return not (self.everything or self.users or self.groups or self.servers or self.services)

    @property
    def kinds(self) -> frozenset[str]:
        """Which kinds of filters there are: some lists refuse a kind that they cannot apply (rest-api.md §1)."""
        return frozenset(kind for kind, name in _FIELDS.items() if getattr(self, name))


#: for the hub's own errands, which no requester stands behind
EVERYTHING: Final = ListFilter(everything=True)


@dataclass(frozen=True, slots=True)
class ScopeSet:
    """Expanded scopes of one holder. Make it with ``of``."""

    #: as strings, reduced; what clients are told
    raw: frozenset[str]
    _held: Mapping[str, Held] = field(compare=False, repr=False)

    @classmethod
    def of(cls, expanded: Iterable[str]) -> ScopeSet:
        """Read expanded scopes. What is not in expanded form (a bare or unknown filter) grants nothing."""
        held: dict[str, Held] = {}
        filtered: dict[str, list[str]] = {}
        raw: list[str] = []
        for scope in expanded:
            base, bang, condition = scope.partition("!")
            if bang:
                filtered.setdefault(base, []).append(condition)
            else:
                held[base] = ALL
                raw.append(scope)
        # Most scopes of a holder have the same filter as many others of theirs: it is read once.
        seen: dict[tuple[str, ...], Filters] = {}
        for base, conditions in filtered.items():
            if base in held:
                continue
            key = tuple(conditions)
            filters = seen.get(key)
            if filters is None:
                filters = seen[key] = _read_filters(key)
            if filters:
                held[base] = filters
                raw.extend([f"{base}!{c}" for c in conditions if _is_resolved(c)])
        return cls(frozenset(raw), held)

    @property
    def held(self) -> Mapping[str, Held]:
        """Per scope: ``ALL``, or to what it is limited. Scopes not held are missing."""
        return self._held

    def __or__(self, other: ScopeSet) -> ScopeSet:
        return ScopeSet.of(self.raw | other.raw)

    def __bool__(self) -> bool:
        return bool(self.raw)

    # -- questions

    @property
    def names_groups(self) -> bool:
        """Say whether any scope is limited to a group: then comparing it with others asks who is in which."""
        return any(held is not ALL and held.groups for held in self._held.values())

    def has_any(self, scope: str) -> bool:
        """Say whether the scope is held at all, with whatever filter."""
        return scope in self._held

    def is_unfiltered(self, scope: str) -> bool:
        return self._held.get(scope) is ALL

    def covers(self, scope: str, on: Target = NOWHERE) -> bool:
        """Say whether the holder may do this to that. ``scope`` has no filter; ``on`` says where.

        A filter by user reaches the user and their servers; by group the members and their servers, or the group
        itself where that is the target; by server or service exactly that one.
        """
        held = self._held.get(scope)
        if held is None:
            return False
        if held is ALL:
            return True
        if on.user is not None:
            return (
                on.user in held.users
                or (on.server is not None and f"{on.user}/{on.server}" in held.servers)
                or not held.groups.isdisjoint(on.user_groups)
            )
        if on.group is not None:
            return on.group in held.groups
        return on.service is not None and on.service in held.services

    def covers_any(self, scopes: Iterable[str], on: Target = NOWHERE) -> bool:
        return any(self.covers(scope, on) for scope in scopes)

    def needs_groups(self, scopes: Iterable[str]) -> bool:
        """Say whether an answer about any of these can depend on who is in which group."""
        for scope in scopes:
            held = self._held.get(scope)
            if held is not None and held is not ALL and held.groups:
                return True
        return False

    def list_filter(self, scope: str) -> ListFilter:
        """Say which rows of a list this scope lets its holder see; a scope that is not held shows none."""
        held = self._held.get(scope)
        if held is None:
            return ListFilter(everything=False)
        if held is ALL:
            return EVERYTHING
        return ListFilter(False, held.users, held.groups, held.servers, held.services)

    def holds(self, scope: str, groups_of: GroupsOf) -> bool:
        """Say whether a scope as written, with its filter, is held. (``covers`` is the faster question.)"""
        required = ScopeSet.of([scope])
        return bool(required) and required.is_subset_of(self, groups_of)

    # -- one set against another

    def intersect(self, other: ScopeSet, *, groups_of: GroupsOf) -> ScopeSet:
        """Give what both sets grant, each scope with the narrower filter.

        Two different groups have nothing in common here, though somebody may be in both: there is no filter that
        could say so, and leaving it out grants less, never more.
        """
        scopes: list[str] = []
        for base, mine in self._held.items():
            theirs = other._held.get(base)
            if theirs is None:
                continue
            if mine is ALL and theirs is ALL:
                scopes.append(base)
                continue
            both = theirs if mine is ALL else mine if theirs is ALL else _common(mine, theirs, groups_of)
            assert both is not ALL
            scopes.extend(_written(base, both))
        return ScopeSet.of(scopes)

    def excess_over(self, other: ScopeSet, groups_of: GroupsOf) -> frozenset[str]:
        """Give those of these scopes, as strings, that the other set does not wholly grant."""
        excess: list[str] = []
        for base, mine in self._held.items():
            theirs = other._held.get(base)
            if theirs is ALL:
                continue
            if mine is ALL:
                excess.append(base)
            else:
                excess.extend(_written(base, mine if theirs is None else _beyond(mine, theirs, groups_of)))
        return frozenset(excess)

    def is_subset_of(self, other: ScopeSet, groups_of: GroupsOf) -> bool:
        return not self.excess_over(other, groups_of)


def _is_resolved(condition: str) -> bool:
    kind, equals, _ = condition.partition("=")
    return bool(equals) and kind in FILTER_KINDS


def _read_filters(conditions: Iterable[str]) -> Filters:
    found: dict[str, set[str]] = {}
    for condition in conditions:
        if _is_resolved(condition):
            kind, _, value = condition.partition("=")
            found.setdefault(_FIELDS[kind], set()).add(value)
    return Filters(**{name: frozenset(values) for name, values in found.items()})


NO_SCOPES: Final = ScopeSet.of(())


def _written(base: str, filters: Filters) -> Iterable[str]:
    for kind, name in _FIELDS.items():
        for value in getattr(filters, name):
            yield f"{base}!{kind}={value}"


def _reaches_user(filters: Filters, user: str, groups_of: GroupsOf) -> bool:
    # Memberships are read only where they can matter: it is a query each.
    return user in filters.users or (bool(filters.groups) and not filters.groups.isdisjoint(groups_of(user)))


def _reaches_server(filters: Filters, server: str, groups_of: GroupsOf) -> bool:
    # No user name has a slash in it. A value without any is no server (and reaches nothing), least of all a user.
    owner, slash, _ = server.partition("/")
    return server in filters.servers or (bool(slash) and _reaches_user(filters, owner, groups_of))


def _common(a: Filters, b: Filters, groups_of: GroupsOf) -> Filters:
    users = [u for u in a.users if _reaches_user(b, u, groups_of)]
    users += [u for u in b.users if _reaches_user(a, u, groups_of)]
    servers = [s for s in a.servers if _reaches_server(b, s, groups_of)]
    servers += [s for s in b.servers if _reaches_server(a, s, groups_of)]
    return Filters(frozenset(users), a.groups & b.groups, frozenset(servers), a.services & b.services)


def _beyond(mine: Filters, theirs: Filters, groups_of: GroupsOf) -> Filters:
    return Filters(
        users=frozenset(u for u in mine.users if not _reaches_user(theirs, u, groups_of)),
        groups=mine.groups - theirs.groups,
        servers=frozenset(s for s in mine.servers if not _reaches_server(theirs, s, groups_of)),
        services=mine.services - theirs.services,
    )


# -- tokens


def effective_token_scopes(
    token_raw: Iterable[str],
    owner_scopes: ScopeSet,
    registry: ScopeRegistry,
    *,
    owner: Owner,
    client: IssuingClient | None,
    groups_of: GroupsOf,
    discarded: Discarded | None = None,
) -> ScopeSet:
    """Give what a token may do at this moment: what it was made for, within what its owner may do now.

    ``client`` is the OAuth client that issued it, None for the hub itself. Always in it, as far as the owner has them:
    the scopes that identify the owner, and the access scope of the client. ``discarded`` hears of scopes that are lost.
    """
    token_raw = tuple(token_raw)
    if INHERIT in token_raw:
        return owner_scopes
    wanted = expand(token_raw, registry, owner=owner, client=client, discarded=discarded)
    wanted_set = ScopeSet.of(wanted | access_scopes(client) | identify_scopes(owner))
    if discarded is not None:
        for scope in sorted(wanted_set.excess_over(owner_scopes, groups_of)):
            discarded(scope, "the owner does not (wholly) hold it")
    return wanted_set.intersect(owner_scopes, groups_of=groups_of)
