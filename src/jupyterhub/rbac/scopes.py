"""The vocabulary of scopes: which there are, what each contains, and how one is written.

A scope is ``base`` or ``base!kind=value`` (one filter); ``!user``, ``!service`` and ``!server`` alone stand for whoever
holds it. Deployments add names of their own under ``custom:``. What a written scope amounts to is ``expand``'s matter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from jupyterhub.words.errors import ConfigurationError, Invalid

#: the metascope for a user's own things
SELF: Final = "self"
#: the metascope for all that a token's owner may do
INHERIT: Final = "inherit"

FILTER_KINDS: Final = frozenset({"user", "group", "server", "service"})
#: what may stand without a value, and is then filled in from the holder; a group is never implied
BARE_FILTERS: Final = frozenset({"user", "server", "service"})

#: what a holder of ``self`` gets over themselves (reference: scopes-roles.md §4)
SELF_CONTAINS: Final = (
    "read:users",
    "users:shares",
    "read:shares",
    "users:activity",
    "servers",
    "tokens",
    "access:servers",
)


@dataclass(frozen=True, slots=True)
class ScopeDefinition:
    #: for people who are asked to grant it: starts with a verb or a noun, no full stop
    description: str
    #: for people who write roles; may say more
    doc_description: str = ""
    #: direct ones only; ``ScopeRegistry.closure`` has them all
    subscopes: tuple[str, ...] = ()


def _scope(description: str, *subscopes: str, doc: str = "") -> ScopeDefinition:
    return ScopeDefinition(description, doc or f"{description}.", subscopes)


#: What is shown for a token that carries nothing but its owner's name. It is not a scope: nobody can hold it.
NO_SCOPE: Final = "(no_scope)"
NO_SCOPE_DEFINITION: Final = _scope("Know who you are", doc="Learn the name of the token's owner, and nothing else.")

#: every scope that the hub knows by itself
SCOPES: Final[Mapping[str, ScopeDefinition]] = MappingProxyType(
    {
        SELF: _scope(
            "Everything that is your own",
            doc="A user's own account, servers, tokens and shares; for services and groups it means nothing.",
        ),
        INHERIT: _scope(
            "Everything that you may do",
            doc="All that the owner of the token may do at the moment of each use; has a meaning on tokens only.",
        ),
        "admin-ui": _scope(
            "Open the admin page",
            doc="Open the admin page. What can be seen and done there takes further scopes.",
        ),
        "admin:users": _scope(
            "Create, change and delete users, and see their authentication state",
            "admin:auth_state",
            "users",
            "read:roles:users",
            "delete:users",
            doc="Create, rename, change and delete users. Contains neither their servers nor their tokens.",
        ),
        "admin:auth_state": _scope("See the authentication state of users"),
        "users": _scope(
            "List and read users, and report their activity",
            "read:users",
            "list:users",
            "users:activity",
            doc="List and read users, and report their activity. Contains neither their servers nor their tokens.",
        ),
        "delete:users": _scope("Delete users"),
        "list:users": _scope("List users by name", "read:users:name"),
        "read:users": _scope(
            "Read users: name, groups, roles, last activity",
            "read:users:name",
            "read:users:groups",
            "read:users:activity",
        ),
        "read:users:name": _scope("Read the names of users"),
        "read:users:groups": _scope("Read which groups users are in"),
        "read:users:activity": _scope("Read when users were last active"),
        "read:roles": _scope(
            "Read who holds which role",
            "read:roles:users",
            "read:roles:services",
            "read:roles:groups",
        ),
        "read:roles:users": _scope("Read the roles of users"),
        "read:roles:services": _scope("Read the roles of services"),
        "read:roles:groups": _scope("Read the roles of groups"),
        "users:activity": _scope("Report and read the activity of users", "read:users:activity"),
        "admin:servers": _scope(
            "Start, stop and read servers, including their internal state",
            "admin:server_state",
            "servers",
        ),
        "admin:server_state": _scope("See the internal state of servers"),
        "servers": _scope(
            "Start, stop and read servers",
            "read:servers",
            "start:servers",
            "delete:servers",
            doc="Start, stop, create, delete and read servers, and use the spawn page. Does not let anyone into them.",
        ),
        "read:servers": _scope("Read what servers there are and how they do", "read:users:name"),
        "start:servers": _scope("Create and start servers", doc="Create, start and change servers over the API."),
        "delete:servers": _scope("Stop and delete servers"),
        "tokens": _scope("Create, read and revoke API tokens", "read:tokens"),
        "read:tokens": _scope("Read which API tokens there are", doc="Read API tokens: all about them but the secret."),
        "admin:groups": _scope(
            "Create, change and delete groups",
            "groups",
            "read:roles:groups",
            "delete:groups",
        ),
        "groups": _scope(
            "Read groups and change their members and properties",
            "read:groups",
            "list:groups",
            doc=(
                "Read groups and change their members and properties. Whoever may add members to a group may thereby "
                "give anyone its roles."
            ),
        ),
        "list:groups": _scope("List groups by name", "read:groups:name"),
        "read:groups": _scope("Read groups: name, members, properties", "read:groups:name"),
        "read:groups:name": _scope("Read the names of groups"),
        "delete:groups": _scope("Delete groups"),
        "admin:services": _scope(
            "Create, change, delete and read services",
            "list:services",
            "read:services",
            "read:roles:services",
            doc="Create, change, delete and read services that are not in the configuration file.",
        ),
        "list:services": _scope("List services by name", "read:services:name"),
        "read:services": _scope("Read services: name, address, process", "read:services:name"),
        "read:services:name": _scope("Read the names of services"),
        "read:hub": _scope("Read details about the hub, such as versions"),
        "access:servers": _scope(
            "Open and use servers", doc="Open and use servers, in the browser and over their API."
        ),
        "access:services": _scope("Open and use services"),
        "users:shares": _scope("See servers shared with users, and give such access up", "read:users:shares"),
        "read:users:shares": _scope("See which servers are shared with users"),
        "groups:shares": _scope("See servers shared with groups, and give such access up", "read:groups:shares"),
        "read:groups:shares": _scope("See which servers are shared with groups"),
        "read:shares": _scope("See with whom servers are shared"),
        "shares": _scope(
            "Share access to servers, and take it back",
            "access:servers",
            "read:shares",
            "users:shares",
            "groups:shares",
        ),
        "proxy": _scope("Read and refresh the proxy's routes", doc="Read, refresh and redirect the proxy's routes."),
        "shutdown": _scope("Shut the hub down"),
        "read:metrics": _scope("Read the hub's metrics"),
    }
)


class UnknownScope(Invalid):
    """A scope was written that does not exist, or with a filter that does not."""

    def __init__(self, scope: str) -> None:
        base, kind, value = split(scope)
        if base == "all":
            message = f"There is no scope {scope!r}: it is called 'inherit' now."
        elif kind is not None and (kind not in FILTER_KINDS or value is None):
            message = (
                f"The filter of scope {scope!r} does not exist. Filters are !user=, !group=, !server= and !service=, "
                "or !user, !server and !service alone."
            )
        else:
            message = f"There is no scope {scope!r}."
        super().__init__(message)
        self.scope = scope


def split(scope: str) -> tuple[str, str | None, str | None]:
    """Take a scope apart: base, kind of filter, value of the filter.

    Without a filter both are None; for a bare filter (``!user``) the value is. Values are taken literally, also with
    ``!`` or ``=`` in them, and ``!user=`` has the value ``""`` (which matches nobody), not None.
    """
    base, bang, condition = scope.partition("!")
    if not bang:
        return base, None, None
    kind, equals, value = condition.partition("=")
    return base, kind, value if equals else None


def join(base: str, kind: str | None = None, value: str | None = None) -> str:
    """Write a scope: the reverse of ``split``."""
    if kind is None:
        return base
    return f"{base}!{kind}" if value is None else f"{base}!{kind}={value}"


def check_scopes_exist(raw: Iterable[str], registry: ScopeRegistry) -> None:
    """Raise ``UnknownScope`` for the first scope whose base or kind of filter does not exist.

    Whether a filter's *value* names anything is not asked: it may come to exist later.
    """
    for scope in raw:
        base, kind, value = split(scope)
        known_filter = kind is None or kind in (FILTER_KINDS if value is not None else BARE_FILTERS)
        if base not in registry.definitions or not known_filter:
            raise UnknownScope(scope)


@dataclass(frozen=True, slots=True)
class ScopeRegistry:
    """The scopes of this hub: the built-in and the custom ones. Made once at start-up and passed around."""

    definitions: Mapping[str, ScopeDefinition]
    # Each request expands a few scopes; what they contain is therefore worked out once, here.
    _closures: Mapping[str, tuple[str, ...]] = field(init=False, repr=False, compare=False)
    _server_closures: Mapping[str, tuple[str, ...]] = field(init=False, repr=False, compare=False)
    _self_closure: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        closures = {name: _closure(name, self.definitions) for name in self.definitions}
        servers = {
            name: tuple(n for n in contained if n == name or not n.startswith("read:user"))
            for name, contained in closures.items()
        }
        own = {name for base in SELF_CONTAINS for name in closures.get(base, ())}
        object.__setattr__(self, "_closures", closures)
        object.__setattr__(self, "_server_closures", servers)
        object.__setattr__(self, "_self_closure", tuple(sorted(own)))

    @classmethod
    def default(cls) -> ScopeRegistry:
        """Give the registry of a hub without custom scopes."""
        return _DEFAULT

    def with_custom(
        self, specs: Mapping[str, Mapping[str, Any]], *, warn: Callable[[str], None] | None = None
    ) -> ScopeRegistry:
        """Add the configuration's ``custom_scopes``; raises ``ConfigurationError``."""
        return ScopeRegistry({**self.definitions, **define_custom_scopes(specs, existing=self.definitions, warn=warn)})

    def __contains__(self, base: object) -> bool:
        return base in self.definitions

    def closure(self, base: str, *, of_server: bool = False) -> tuple[str, ...]:
        """Give a scope and all that it contains; KeyError if it does not exist.

        ``of_server`` is for scopes with a ``!server`` filter. A server has no name, groups or activity of a *user*, so
        the ``read:user…`` scopes among the contained ones (not the scope itself) fall away.
        """
        return (self._server_closures if of_server else self._closures)[base]

    @property
    def self_closure(self) -> tuple[str, ...]:
        """What ``self`` gives over a user, sorted, without filters."""
        return self._self_closure


def _closure(base: str, definitions: Mapping[str, ScopeDefinition]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    waiting = [base]
    while waiting:
        name = waiting.pop()
        # Custom scopes may contain each other in a circle: then they are all the same, and no one is harmed.
        if name not in found and name in definitions:
            found[name] = None
            waiting.extend(definitions[name].subscopes)
    return tuple(found)


_DEFAULT = ScopeRegistry(SCOPES)


# -- scopes of a deployment's own

#: at least three characters behind the prefix
_CUSTOM_NAME = re.compile(r"custom:[a-z0-9][a-z0-9_\-*:]+[a-z0-9_*]")
_CUSTOM_KEYS = frozenset({"description", "subscopes"})


def define_custom_scopes(
    specs: Mapping[str, Mapping[str, Any]],
    *,
    existing: Mapping[str, ScopeDefinition] = SCOPES,
    warn: Callable[[str], None] | None = None,
) -> Mapping[str, ScopeDefinition]:
    """Read ``c.JupyterHub.custom_scopes`` (reference: scopes-roles.md §12).

    Raises ``ConfigurationError`` for anything wrong. ``warn`` is told of keys that mean nothing: a configuration that
    the original accepts is no reason not to start.
    """
    return {name: _custom_scope(name, spec, specs, existing, warn) for name, spec in specs.items()}


def _custom_scope(
    name: object,
    spec: object,
    all_specs: Mapping[str, Mapping[str, Any]],
    existing: Mapping[str, ScopeDefinition],
    warn: Callable[[str], None] | None,
) -> ScopeDefinition:
    where = f"c.JupyterHub.custom_scopes[{name!r}]"
    if not isinstance(name, str) or not _CUSTOM_NAME.fullmatch(name):
        raise ConfigurationError(
            f"{where}: this is not a name for a custom scope. It starts with 'custom:', followed by at least three "
            "characters: lower case ASCII letters and digits, between them also '_', '-', '*' and ':', and it may end "
            "in '_' or '*'."
        )
    if not isinstance(spec, Mapping):
        raise ConfigurationError(f"{where} must be a dict with a 'description', not {spec!r}.")
    description = spec.get("description")
    if not isinstance(description, str) or not description:
        raise ConfigurationError(f"{where} needs a 'description': the text that people are asked to agree to.")
    subscopes = spec.get("subscopes", ())
    if not isinstance(subscopes, list | tuple):
        raise ConfigurationError(f"{where}: 'subscopes' must be a list of custom scopes, not {subscopes!r}.")
    for subscope in subscopes:
        if not isinstance(subscope, str) or subscope not in all_specs:
            raise ConfigurationError(
                f"{where}: the subscope {subscope!r} is not among the custom scopes. A custom scope contains other "
                "custom scopes of c.JupyterHub.custom_scopes only."
            )
    unknown = sorted(str(key) for key in spec if key not in _CUSTOM_KEYS)
    if unknown and warn is not None:
        warn(f"{where}: {', '.join(map(repr, unknown))} means nothing here and is ignored.")
    definition = ScopeDefinition(description, description, tuple(subscopes))
    if existing.get(name, definition) != definition:
        raise ConfigurationError(f"{where}: there is a scope of this name already, with another definition.")
    return definition
