"""What scopes mean, in words for the person who is asked to grant them (the OAuth consent page, accepting a share).

The texts are plain and may hold names that somebody else chose: templates escape them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypedDict

from .scopes import FILTER_KINDS, INHERIT, NO_SCOPE, NO_SCOPE_DEFINITION, SELF, ScopeRegistry, split


class ScopeDescription(TypedDict):
    scope: str
    description: str
    #: to what it is limited; "" if to nothing
    filter: str


@dataclass(frozen=True, slots=True)
class _Entry:
    scope: str
    base: str
    kind: str | None
    value: str | None


#: gives a text in the reader's language, with its ``%(name)s`` filled in
Say = Callable[..., str]


def plainly(text: str, **values: str) -> str:
    """Give the English text."""
    return text % values if values else text


def describe(
    scopes: Iterable[str], registry: ScopeRegistry, *, user: str | None, say: Say = plainly
) -> list[ScopeDescription]:
    """Describe each scope to ``user`` (None: to nobody in particular), in the order of the documentation.

    A scope that another one of the list contains is not listed again, and beside ``inherit`` nothing is. Without any
    scope the list holds the one entry for "who you are".
    """
    written = frozenset(scopes)
    if INHERIT in written:
        return [{"scope": INHERIT, "description": say(registry.definitions[INHERIT].description), "filter": ""}]
    entries = [entry for scope in written if (entry := _Entry(scope, *split(scope))).base in registry]
    # Custom scopes may contain each other: of such a pair both are shown, never none.
    shown = [
        entry
        for entry in entries
        if not any(
            _contains(other, entry, registry, user) > _contains(entry, other, registry, user) for other in entries
        )
    ]
    if not shown:
        return [{"scope": NO_SCOPE, "description": say(NO_SCOPE_DEFINITION.description), "filter": ""}]
    order = {name: place for place, name in enumerate(registry.definitions)}
    return [
        {
            "scope": entry.scope,
            "description": say(registry.definitions[entry.base].description),
            "filter": _limit(entry.kind, entry.value, user, say),
        }
        for entry in sorted(shown, key=lambda e: (order[e.base], e.scope))
    ]


def _contains(outer: _Entry, inner: _Entry, registry: ScopeRegistry, user: str | None) -> bool:
    if outer.base == SELF and outer.kind is None:
        return inner.base in registry.self_closure and inner.kind == "user" and inner.value in (None, user)
    same_reach = outer.kind is None or (outer.kind, outer.value) == (inner.kind, inner.value)
    return same_reach and inner.base in registry.closure(outer.base, of_server=outer.kind == "server")


def _limit(kind: str | None, value: str | None, user: str | None, say: Say) -> str:
    if kind is None or kind not in FILTER_KINDS:
        return ""
    if value is None:
        only = {"user": say("only your own"), "service": say("only this service"), "server": say("only this server")}
        return only.get(kind, "")
    match kind:
        case "user":
            return say("only your own") if value == user else say("only of user %(name)s", name=value)
        case "group":
            return say("only of group %(name)s and its members", name=value)
        case "service":
            return say("only service %(name)s", name=value)
        case _:
            return _limit_to_server(value, user, say)


def _limit_to_server(value: str, user: str | None, say: Say) -> str:
    owner, _, name = value.partition("/")
    if owner == user:
        return say("only your server %(server)s", server=name) if name else say("only your default server")
    if name:
        return say("only %(owner)s's server %(server)s", owner=owner, server=name)
    return say("only %(owner)s's default server", owner=owner)
