"""Roles: named lists of scopes, what a configuration says of them, and what follows for the database at start-up.

``parse_role_spec`` reads one entry of ``load_roles`` (or of what an authenticator returns), ``merge_with_defaults``
works out the whole plan. Applying it, with all that takes a database (who exists, who is a member), is done in
``hub/roles.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, Literal

from jupyterhub.words.errors import ConfigurationError
from jupyterhub.words.names import is_valid_role_name

from .scopes import SELF, ScopeRegistry, UnknownScope, check_scopes_exist

MemberKind = Literal["users", "services", "groups"]
MEMBER_KINDS: Final[tuple[MemberKind, ...]] = ("users", "services", "groups")

USER_ROLE: Final = "user"
ADMIN_ROLE: Final = "admin"
SERVER_ROLE: Final = "server"
TOKEN_ROLE: Final = "token"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleSpec:
    """A role as somebody wrote it. None means "left out", which is not the same as empty."""

    name: str
    description: str | None = None
    scopes: tuple[str, ...] | None = None
    users: tuple[str, ...] | None = None
    services: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None
    #: it comes from the authenticator, not from the configuration
    managed_by_auth: bool = False
    #: keys that mean nothing, for a warning
    ignored_keys: tuple[str, ...] = ()

    def members(self, kind: MemberKind) -> tuple[str, ...] | None:
        match kind:
            case "users":
                return self.users
            case "services":
                return self.services
            case "groups":
                return self.groups


#: the roles that every hub has; none can be deleted
DEFAULT_ROLES: Final[Mapping[str, RoleSpec]] = MappingProxyType(
    {
        USER_ROLE: RoleSpec(name=USER_ROLE, description="What every user may do with their own things", scopes=(SELF,)),
        ADMIN_ROLE: RoleSpec(
            name=ADMIN_ROLE,
            description="What admins may do; it cannot be changed",
            scopes=(
                "admin-ui",
                "admin:users",
                "admin:servers",
                "admin:services",
                "tokens",
                "admin:groups",
                "list:services",
                "read:services",
                "read:hub",
                "proxy",
                "shutdown",
                "access:services",
                "access:servers",
                "read:roles",
                "read:metrics",
                "shares",
            ),
        ),
        SERVER_ROLE: RoleSpec(
            name=SERVER_ROLE,
            description="What a user's server may do by its own token",
            scopes=("users:activity!user", "access:servers!server"),
        ),
        TOKEN_ROLE: RoleSpec(
            name=TOKEN_ROLE,
            description="What a token may do if nothing else was asked for: all that its owner may",
            scopes=("inherit",),
        ),
    }
)


def default_roles_of_user(*, admin: bool) -> tuple[str, ...]:
    """Give the roles a user gets when created and again at each login, before an authenticator's own list counts."""
    return (USER_ROLE, ADMIN_ROLE) if admin else (USER_ROLE,)


# -- reading

_KEYS: Final = frozenset({"name", "description", "scopes", *MEMBER_KINDS})


def parse_role_spec(spec: Mapping[str, Any], *, managed_by_auth: bool = False) -> RoleSpec:
    """Read one role; raises ``ConfigurationError`` naming the role and the key.

    Whether its scopes exist is asked later, by ``merge_with_defaults`` or ``check_scopes_of``.
    """
    if not isinstance(spec, Mapping):
        raise ConfigurationError(f"A role must be a dict with a 'name', not {spec!r}.")
    name = spec.get("name")
    if name is None:
        raise ConfigurationError(f"A role needs a 'name'; this one has none: {dict(spec)!r}.")
    if not isinstance(name, str) or not is_valid_role_name(name):
        raise ConfigurationError(
            f"{name!r} is not a name for a role. It has 3 to 255 characters: a lower case ASCII letter first, a lower "
            "case letter or digit last, between them also digits, '-', '_', '~' and '.'."
        )
    description = spec.get("description")
    if description is not None and not isinstance(description, str):
        raise ConfigurationError(f"The 'description' of role {name!r} must be text, not {description!r}.")
    return RoleSpec(
        name=name,
        description=description,
        scopes=_names(spec, "scopes", name),
        users=_names(spec, "users", name),
        services=_names(spec, "services", name),
        groups=_names(spec, "groups", name),
        managed_by_auth=managed_by_auth,
        ignored_keys=tuple(sorted(str(key) for key in spec if key not in _KEYS)),
    )


def _names(spec: Mapping[str, Any], key: str, role: str) -> tuple[str, ...] | None:
    value = spec.get(key)
    if value is None:
        return None
    # A single string is a collection of strings too, of its letters: the classic slip.
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise ConfigurationError(f"The {key!r} of role {role!r} must be a list of names, not {value!r}.")
    names = tuple(sorted(value) if isinstance(value, set | frozenset) else value)
    for each in names:
        if not isinstance(each, str) or not each:
            raise ConfigurationError(f"The {key!r} of role {role!r} must be names, not {each!r}.")
    return tuple(dict.fromkeys(names))


def check_scopes_of(spec: RoleSpec, registry: ScopeRegistry) -> None:
    """Raise ``ConfigurationError`` if the role names a scope that does not exist."""
    try:
        check_scopes_exist(spec.scopes or (), registry)
    except UnknownScope as error:
        raise ConfigurationError(f"The 'scopes' of role {spec.name!r}: {error}") from error


# -- planning


class Mode(Enum):
    """What a list of members means for those who are members already."""

    #: exactly these: all others lose the role
    AUTHORITATIVE = "authoritative"
    #: these as well
    ADDITIVE = "additive"
    #: nobody is added or removed
    PRESERVE = "preserve"


@dataclass(frozen=True, slots=True)
class Membership:
    mode: Mode
    names: frozenset[str] = frozenset()
    #: AUTHORITATIVE leaves alone the members that the authenticator made (links with ``managed_by_auth``)
    spares_managed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRole:
    """A role that shall exist, created or overwritten."""

    name: str
    description: str | None
    scopes: tuple[str, ...]
    managed_by_auth: bool = False
    users: Membership
    services: Membership
    groups: Membership

    def membership(self, kind: MemberKind) -> Membership:
        match kind:
            case "users":
                return self.users
            case "services":
                return self.services
            case "groups":
                return self.groups


@dataclass(frozen=True, slots=True, kw_only=True)
class RolePlan:
    """What the roles in the database shall be once the hub has started.

    All members named must be made to exist before they get the role: users (who then get role ``user`` too) and groups
    are created. Members of ``admin`` that are named get the admin flag; who loses that role loses the flag.
    """

    roles: tuple[PlannedRole, ...]
    #: for the log
    warnings: tuple[str, ...] = ()
    #: roles of the authenticator that it does not name any more go too
    resets_managed: bool = False
    _by_name: Mapping[str, PlannedRole] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {role.name: role for role in self.roles})

    def role(self, name: str) -> PlannedRole | None:
        return self._by_name.get(name)

    def deletes(self, name: str, *, managed_by_auth: bool) -> bool:
        """Say whether a role of the database goes, and with it all its memberships."""
        return name not in self._by_name and (self.resets_managed or not managed_by_auth)

    @property
    def users(self) -> frozenset[str]:
        """All users named; they shall exist."""
        return self._named("users")

    @property
    def groups(self) -> frozenset[str]:
        """All groups named; they shall exist."""
        return self._named("groups")

    def _named(self, kind: MemberKind) -> frozenset[str]:
        return frozenset[str]().union(*(role.membership(kind).names for role in self.roles))


def merge_with_defaults(
    specs: Iterable[RoleSpec],
    registry: ScopeRegistry,
    *,
    extra_user_scopes: Iterable[str] = (),
    admin_users: Iterable[str] = (),
    admin_services: Iterable[str] = (),
    allowed_users: Iterable[str] = (),
    service_names: Iterable[str] | None = None,
    manage_roles: bool = False,
    reset_managed_roles: bool = False,
    normalise_user: Callable[[str], str] = lambda name: name,
) -> RolePlan:
    """Work out the start-up plan from the configuration (reference: scopes-roles.md §13).

    ``specs`` are those of ``load_roles`` and, marked as such, those of the authenticator. ``normalise_user`` is the
    authenticator's, for the users in them; ``admin_users`` and ``allowed_users`` are normalised already.
    ``admin_services`` have ``admin=True`` in the configuration. ``service_names`` are all that exist (None: not asked).
    Raises ``ConfigurationError`` where the hub must not start. Whether a user's *name* is valid is the caller's to ask.
    """
    warnings: list[str] = []
    by_name: dict[str, RoleSpec] = {}
    for spec in specs:
        if spec.name in by_name:
            raise ConfigurationError(f"Role {spec.name!r} is defined twice. Put its definitions into one.")
        check_scopes_of(spec, registry)
        if manage_roles and not spec.managed_by_auth:
            _refuse_members(spec)
        if spec.ignored_keys:
            keys = ", ".join(map(repr, spec.ignored_keys))
            warnings.append(f"Role {spec.name!r}: {keys} means nothing here and is ignored.")
        by_name[spec.name] = spec
    if service_names is not None:
        _check_services(by_name.values(), frozenset(service_names))
    extra = tuple(dict.fromkeys(extra_user_scopes))
    try:
        check_scopes_exist(extra, registry)
    except UnknownScope as error:
        raise ConfigurationError(f"c.JupyterHub.extra_user_scopes: {error}") from error

    planned: list[PlannedRole] = []
    for name in dict.fromkeys((*DEFAULT_ROLES, *by_name)):
        spec = by_name.get(name, RoleSpec(name=name))
        # Who got a role at login keeps it when a role of the configuration says nothing about it. The authenticator's
        # own lists, read at this start, replace what it said before.
        spares_managed = manage_roles and not spec.managed_by_auth
        description, scopes = _content(spec, extra, warnings)
        planned.append(
            PlannedRole(
                name=name,
                description=description,
                scopes=scopes,
                managed_by_auth=spec.managed_by_auth,
                users=_users(
                    spec, normalise_user, frozenset(admin_users), frozenset(allowed_users), spares_managed, warnings
                ),
                services=_services(spec, frozenset(admin_services)),
                groups=_listed(spec.groups, spares_managed=spares_managed),
            )
        )
    return RolePlan(roles=tuple(planned), warnings=tuple(warnings), resets_managed=manage_roles and reset_managed_roles)


def _content(spec: RoleSpec, extra: tuple[str, ...], warnings: list[str]) -> tuple[str | None, tuple[str, ...]]:
    """Give description and scopes of a role; what a default role's spec leaves out is as by default."""
    default = DEFAULT_ROLES.get(spec.name)
    if default is None:
        if not spec.scopes:
            warnings.append(f"Role {spec.name!r} has no scopes: whoever holds it may do nothing by it.")
        return spec.description, spec.scopes or ()
    default_scopes = default.scopes or ()
    if spec.name == ADMIN_ROLE:
        changes_scopes = spec.scopes is not None and set(spec.scopes) != set(default_scopes)
        if changes_scopes or spec.description not in (None, default.description):
            raise ConfigurationError(
                "Role 'admin' cannot be changed: leave out its 'scopes' and 'description', or give a role of another "
                "name what you need. Only its members can be set."
            )
        return default.description, default_scopes
    description = default.description if spec.description is None else spec.description
    if spec.scopes is None:
        scopes = default_scopes
        if spec.name == USER_ROLE:
            scopes = tuple(dict.fromkeys((*scopes, *extra)))
        return description, scopes
    if spec.name == USER_ROLE:
        if extra:
            warnings.append(
                "c.JupyterHub.extra_user_scopes is ignored, because load_roles gives the scopes of role 'user'. "
                "Add them there."
            )
        if SELF not in spec.scopes:
            warnings.append(
                "Role 'user' is without the scope 'self': users may not use their own servers and tokens by it."
            )
    return description, spec.scopes


def _listed(names: tuple[str, ...] | None, *, spares_managed: bool) -> Membership:
    # Leaving a list out means an empty one. It is a surprise (surprises.md 99), but the safe one: a right that was
    # taken out of the configuration is gone.
    return Membership(Mode.AUTHORITATIVE, frozenset(names or ()), spares_managed)


def _users(
    spec: RoleSpec,
    normalise_user: Callable[[str], str],
    admin_users: frozenset[str],
    allowed_users: frozenset[str],
    spares_managed: bool,
    warnings: list[str],
) -> Membership:
    listed = None if spec.users is None else frozenset(map(normalise_user, spec.users))
    added = {USER_ROLE: allowed_users, ADMIN_ROLE: admin_users}.get(spec.name, frozenset[str]())
    if listed is not None:
        missing = admin_users - listed
        if spec.name == ADMIN_ROLE and missing:
            warnings.append(
                f"The users of role 'admin' in load_roles and admin_users differ. These are added to the role: "
                f"{', '.join(sorted(missing))}. Use one of the two."
            )
        return Membership(Mode.AUTHORITATIVE, listed | added, spares_managed)
    if spec.name in (USER_ROLE, ADMIN_ROLE):
        return Membership(Mode.ADDITIVE, added) if added else Membership(Mode.PRESERVE)
    if spec.managed_by_auth:
        return Membership(Mode.PRESERVE)
    return _listed(None, spares_managed=spares_managed)


def _services(spec: RoleSpec, admin_services: frozenset[str]) -> Membership:
    if spec.name != ADMIN_ROLE:
        return _listed(spec.services, spares_managed=False)
    if spec.services is None:
        # A service has this role because of its admin flag, also one that was made at runtime.
        return Membership(Mode.ADDITIVE, admin_services) if admin_services else Membership(Mode.PRESERVE)
    return Membership(Mode.AUTHORITATIVE, frozenset(spec.services) | admin_services)


def _refuse_members(spec: RoleSpec) -> None:
    for key in ("users", "groups"):
        if spec.members(key):
            raise ConfigurationError(
                f"Role {spec.name!r} lists {key!r} in load_roles, but the authenticator decides who has which role "
                "(c.Authenticator.manage_roles). Leave the list out, or do not let it."
            )


def _check_services(specs: Iterable[RoleSpec], existing: frozenset[str]) -> None:
    for spec in specs:
        missing = sorted(set(spec.services or ()) - existing)
        if missing:
            raise ConfigurationError(
                f"Role {spec.name!r} lists services that do not exist: {', '.join(map(repr, missing))}. "
                "Define them in c.JupyterHub.services."
            )
