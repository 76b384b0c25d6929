"""A slow model of scopes, written from the reference (scopes-roles.md) alone, over a little world that can be counted.

A scope means a set of grants ``(base, target)``. Everything here is done the long way round, by listing; nothing is
taken from the code under test but its vocabulary of types. Names repeat across kinds on purpose: there is a user, a
group and a service ``ada``, which must never be taken for each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from hypothesis import strategies as st

from jupyterhub.rbac.expand import IssuingClient, Owner
from jupyterhub.rbac.scope_set import NOWHERE, Target
from jupyterhub.words.names import ServerKey

USERS = ("ada", "bob", "cy")
GROUPS = ("ada", "crew")
SERVERS = ("", "lab")
SERVICES = ("ada", "cull")
ALL_SERVERS = tuple(f"{u}/{s}" for u, s in product(USERS, SERVERS))

#: §2: scope → direct subscopes
CONTAINS: dict[str, tuple[str, ...]] = {
    "self": (),
    "inherit": (),
    "admin-ui": (),
    "admin:users": ("admin:auth_state", "users", "read:roles:users", "delete:users"),
    "admin:auth_state": (),
    "users": ("read:users", "list:users", "users:activity"),
    "delete:users": (),
    "list:users": ("read:users:name",),
    "read:users": ("read:users:name", "read:users:groups", "read:users:activity"),
    "read:users:name": (),
    "read:users:groups": (),
    "read:users:activity": (),
    "read:roles": ("read:roles:users", "read:roles:services", "read:roles:groups"),
    "read:roles:users": (),
    "read:roles:services": (),
    "read:roles:groups": (),
    "users:activity": ("read:users:activity",),
    "admin:servers": ("admin:server_state", "servers"),
    "admin:server_state": (),
    "servers": ("read:servers", "start:servers", "delete:servers"),
    "read:servers": ("read:users:name",),
    "start:servers": (),
    "delete:servers": (),
    "tokens": ("read:tokens",),
    "read:tokens": (),
    "admin:groups": ("groups", "read:roles:groups", "delete:groups"),
    "groups": ("read:groups", "list:groups"),
    "list:groups": ("read:groups:name",),
    "read:groups": ("read:groups:name",),
    "read:groups:name": (),
    "delete:groups": (),
    "admin:services": ("list:services", "read:services", "read:roles:services"),
    "list:services": ("read:services:name",),
    "read:services": ("read:services:name",),
    "read:services:name": (),
    "read:hub": (),
    "access:servers": (),
    "access:services": (),
    "users:shares": ("read:users:shares",),
    "read:users:shares": (),
    "groups:shares": ("read:groups:shares",),
    "read:groups:shares": (),
    "read:shares": (),
    "shares": ("access:servers", "read:shares", "users:shares", "groups:shares"),
    "proxy": (),
    "shutdown": (),
    "read:metrics": (),
}
#: §4: the fifteen of ``self``
SELF = {
    "access:servers", "delete:servers", "read:servers", "read:shares", "read:tokens", "read:users",
    "read:users:activity", "read:users:groups", "read:users:name", "read:users:shares", "servers", "start:servers",
    "tokens", "users:activity", "users:shares",
}  # fmt: skip

Memberships = dict[str, frozenset[str]]
#: (base, kind, value); kind and value are None where there is no filter
Scope = tuple[str, str | None, str | None]
Grant = tuple[str, tuple[str, ...]]

TARGETS: tuple[tuple[str, ...], ...] = (
    ("nowhere",),
    *(("user", u) for u in USERS),
    *(("server", u, s) for u, s in product(USERS, SERVERS)),
    *(("group", g) for g in GROUPS),
    *(("service", s) for s in SERVICES),
)


def as_target(target: tuple[str, ...], members: Memberships) -> Target:
    match target:
        case ("user", user):
            return Target(user=user, user_groups=members[user])
        case ("server", user, name):
            return Target(user=user, user_groups=members[user], server=name)
        case ("group", group):
            return Target(group=group)
        case ("service", service):
            return Target(service=service)
    return NOWHERE


def expanded(raw: Iterable[str], owner: Owner | None, client: IssuingClient | None) -> set[Scope]:
    """§3, step by step, without ``inherit``."""
    todo: list[Scope] = []
    for scope in raw:
        base, kind, value = written(scope)
        if base == "self":
            if kind is None and owner is not None and owner.kind == "user":
                todo += [(each, "user", owner.name) for each in SELF]
            continue
        if base == "inherit" or base not in CONTAINS or kind not in (None, "user", "group", "server", "service"):
            continue
        if kind is not None and value is None:
            if owner is not None and owner.kind == kind and kind != "group":
                value = owner.name
            elif client is not None and kind == "service":
                value = client.service
            elif client is not None and client.server is not None and kind == "server":
                value = f"{client.server.user}/{client.server.name}"
            if value is None:
                continue
        todo.append((base, kind, value))
    done: set[Scope] = set()
    while todo:
        base, kind, value = todo.pop()
        if (base, kind, value) in done:
            continue
        done.add((base, kind, value))
        for subscope in CONTAINS[base]:
            if not (kind == "server" and subscope.startswith("read:user")):
                todo.append((subscope, kind, value))
    return reduced(done)


def reduced(scopes: Iterable[Scope]) -> set[Scope]:
    scopes = set(scopes)
    return {s for s in scopes if s[1] is None or (s[0], None, None) not in scopes}


def written(scope: str) -> Scope:
    if "!" not in scope:
        return scope, None, None
    base, condition = scope.split("!", 1)
    if "=" not in condition:
        return base, condition, None
    kind, value = condition.split("=", 1)
    return base, kind, value


def as_text(scopes: Iterable[Scope]) -> set[str]:
    return {b if k is None else f"{b}!{k}={v}" for b, k, v in scopes}


def reach(kind: str | None, value: str | None, members: Memberships) -> set[tuple[str, ...]]:
    """§3, filter semantics: the targets that a filter lets through."""
    match kind:
        case None:
            return set(TARGETS)
        case "user":
            return {t for t in TARGETS if t[0] in ("user", "server") and t[1] == value}
        case "group":
            return {
                t for t in TARGETS if (t[0] in ("user", "server") and value in members[t[1]]) or t == ("group", value)
            }
        case "server":
            return {t for t in TARGETS if t[0] == "server" and f"{t[1]}/{t[2]}" == value}
        case "service":
            return {t for t in TARGETS if t == ("service", value)}
    raise AssertionError(kind)


def meaning(scopes: Iterable[Scope], members: Memberships) -> set[Grant]:
    return {(base, target) for base, kind, value in scopes for target in reach(kind, value, members)}


def common(a: Iterable[Scope], b: Iterable[Scope], members: Memberships) -> set[Grant]:
    """§7: what two sets both grant, filter by filter. Two different groups are disjoint even if they share a member."""
    found: set[Grant] = set()
    for (base, kind, value), (other_base, other_kind, other_value) in product(a, b):
        if base == other_base and not (kind == other_kind == "group" and value != other_value):
            both = reach(kind, value, members) & reach(other_kind, other_value, members)
            found |= {(base, target) for target in both}
    return found


def satisfies(held: Scope, required: Scope, members: Memberships) -> bool:
    """§3: unfiltered; identical filter; user over server; group over user or server by membership."""
    (base, kind, value), (wanted, wanted_kind, wanted_value) = held, required
    if base != wanted:
        return False
    if kind is None or (kind, value) == (wanted_kind, wanted_value):
        return True
    if wanted_kind not in ("user", "server") or wanted_value is None:
        return False
    user = wanted_value.split("/")[0]
    if kind == "user":
        return wanted_kind == "server" and value == user
    return kind == "group" and value in members[user]


def beyond(a: Iterable[Scope], b: Iterable[Scope], members: Memberships) -> set[Scope]:
    b = set(b)
    return {required for required in a if not any(satisfies(held, required, members) for held in b)}


# -- strategies

#: few, and such that they contain each other, so that examples meet
BASES = (
    "users", "list:users", "read:users", "read:users:name", "users:activity", "admin:servers", "servers",
    "read:servers", "tokens", "read:tokens", "groups", "read:groups", "shares", "access:servers", "access:services",
    "read:services", "admin:services", "read:hub",
)  # fmt: skip

filters = st.one_of(
    st.just(""),
    st.sampled_from(USERS).map("!user={}".format),
    st.sampled_from(GROUPS).map("!group={}".format),
    st.sampled_from(ALL_SERVERS).map("!server={}".format),
    st.sampled_from(SERVICES).map("!service={}".format),
    st.sampled_from(["!user", "!server", "!service"]),
)
nonsense = st.sampled_from(
    ["no:such", "all", "users!colour=red", "read:users!group", "read:users!", "self!user", "inherit!user", "", "!user"]
)
plain_scopes = st.builds("{}{}".format, st.sampled_from(BASES), filters)
any_scopes = st.builds("{}{}".format, st.sampled_from(sorted(CONTAINS)), filters)
raw_scopes = st.one_of(plain_scopes, plain_scopes, plain_scopes, any_scopes, st.just("self"), nonsense)
raw_lists = st.lists(raw_scopes, max_size=6)

users = st.sampled_from(USERS).map(lambda name: Owner("user", name))
services = st.sampled_from(SERVICES).map(lambda name: Owner("service", name))
groups = st.sampled_from(GROUPS).map(lambda name: Owner("group", name))
owners = st.one_of(users, services)
clients = st.one_of(
    st.none(),
    st.just(IssuingClient()),
    st.builds(ServerKey, st.sampled_from(USERS), st.sampled_from(SERVERS)).map(lambda key: IssuingClient(server=key)),
    st.sampled_from(SERVICES).map(lambda name: IssuingClient(service=name)),
)
memberships = st.fixed_dictionaries({u: st.frozensets(st.sampled_from(GROUPS)) for u in USERS})
