"""Who and what exists once a hub has started: what the configuration says, brought into the database.

``load`` goes through the steps of startup-and-state.md §1: role definitions, users, groups, services, tokens, role
assignments, blocked users. Each is one transaction, repeats without harm, and writes only what is not so already; so a
start that changes nothing costs a few statements, also with 100,000 users. Called by ``cli/build.py``. The rules of
roles are in ``rbac/roles.py``, applying them in ``hub/roles.py``; what services are is in ``hub/services.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from jupyterhub.auth import Authenticator
from jupyterhub.hub import roles
from jupyterhub.hub.plugin_calls import call
from jupyterhub.hub.plugin_views import Views
from jupyterhub.hub.services import CONFIG_NOTE, Services, ServiceSpec, parse_service
from jupyterhub.hub.settings import HubSettings
from jupyterhub.hub.store.at_start import AtStart
from jupyterhub.hub.store.oauth import HUB_CLIENT
from jupyterhub.hub.store.store import Store, Transaction
from jupyterhub.rbac.roles import (
    TOKEN_ROLE,
    RolePlan,
    RoleSpec,
    merge_with_defaults,
    parse_role_spec,
)
from jupyterhub.rbac.scopes import ScopeRegistry
from jupyterhub.words import secret_hash
from jupyterhub.words.clock import utcnow
from jupyterhub.words.errors import ConfigurationError, Invalid
from jupyterhub.words.models import Json, OAuthClient, Token, User
from jupyterhub.words.names import MAX_NAME_LENGTH, ServerKey

log = logging.getLogger("jupyterhub.start")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What the rest of the start needs to know."""

    #: of the configuration, as ``ManagedServices.start_all`` takes them
    services: Sequence[ServiceSpec] = ()
    #: servers of blocked users that are not stopped: the caller shall stop them
    blocked_with_servers: Sequence[ServerKey] = ()


class HouseAtStart(Protocol):
    """What the start needs of ``hub/house``."""

    @property
    def views(self) -> Views: ...
    @property
    def services(self) -> Services: ...


@dataclass(frozen=True, slots=True)
class _Group:
    """A group of ``load_groups``."""

    name: str
    users: tuple[str, ...] = ()
    #: None: leave them as they are
    properties: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What the configuration says, read and checked; user names are normalised."""

    plan: RolePlan
    admin_users: frozenset[str]
    allowed_users: frozenset[str]
    blocked_users: frozenset[str]
    groups: Sequence[_Group] = ()
    #: {token: name}
    user_tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    service_tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: as in ``JupyterHub.services``, with those that only have a token
    services: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    #: whether the authenticator says who has which role
    manages_roles: bool = False

    @property
    def users(self) -> frozenset[str]:
        """All users that shall exist."""
        of_groups = {name for group in self.groups for name in group.users}
        return self.admin_users | self.allowed_users | self.plan.users | of_groups | {*self.user_tokens.values()}


async def load(
    *,
    store: Store,
    settings: HubSettings,
    registry: ScopeRegistry,
    authenticator: Any,
    house: HouseAtStart | None = None,
    on_command_line: bool = False,
) -> Loaded:
    """Bring the database to what the configuration says; ConfigurationError names the trait that cannot be right.

    ``on_command_line``, where there is no house: only what is missing is added (roles, ``admin_users``,
    ``allowed_users``), no plugin hook but those for names is called, nothing is taken from anybody and no service is
    touched. A command may run beside the hub, and with less configuration than it.
    """
    wanted = await _read(store, settings, registry, authenticator, on_command_line=on_command_line)
    if on_command_line:
        await _add_what_is_missing(store, wanted)
        return Loaded()
    if house is None:
        raise TypeError("load needs a house, except on the command line")
    for warning in wanted.plan.warnings:
        log.warning("%s", warning)
    is_first_with_roles = await _load_roles(store, wanted)
    await _load_users(store, wanted)
    await _show_users(store, authenticator, house.views, wanted.blocked_users)
    await _load_groups(store, wanted.groups)
    loaded = await house.services.load_configured(wanted.services)
    await _load_tokens(store, settings, wanted, {spec.token_id for spec in loaded if spec.token_id is not None})
    await _assign_roles(store, wanted, is_first_with_roles=is_first_with_roles)
    stopping = await _block_users(store, wanted.blocked_users)
    async with store.begin() as tx:
        await tx.oauth.delete_unused()
    return Loaded(services=loaded, blocked_with_servers=stopping)


# -- reading the configuration


async def _read(
    store: Store, settings: HubSettings, registry: ScopeRegistry, authenticator: Any, *, on_command_line: bool
) -> _Wanted:
    """Read and check everything before anything is written; the authenticator's lists are normalised in place."""
    names = _Names(authenticator)
    manages_roles = bool(authenticator.manage_roles)
    admin_users = await names.read("c.Authenticator.admin_users", authenticator.admin_users)
    allowed_users = await names.read("c.Authenticator.allowed_users", authenticator.allowed_users)
    blocked_users = await names.normalise(authenticator.blocked_users)
    _set_if_other(authenticator, "admin_users", admin_users)
    if allowed_users:
        # Whoever is listed as an admin need not be listed as a user as well.
        _set_if_other(authenticator, "allowed_users", allowed_users | admin_users)
    _set_if_other(authenticator, "blocked_users", blocked_users)
    if not on_command_line:
        await call("Authenticator.check_allow_config", authenticator.check_allow_config)

    specs = _role_specs("c.JupyterHub.load_roles", settings.load_roles)
    if manages_roles and not on_command_line:
        specs += await _managed_roles(authenticator)
    for spec in specs:
        where = "Authenticator.load_managed_roles" if spec.managed_by_auth else "c.JupyterHub.load_roles"
        await names.read(f"{where}: role {spec.name!r}", spec.users or ())
    groups = await _read_groups(settings.load_groups, names)
    if groups and authenticator.manage_groups:
        raise ConfigurationError(
            "c.JupyterHub.load_groups cannot be used when the authenticator says who is in which group "
            "(c.Authenticator.manage_groups). Remove one of the two."
        )
    described = list(settings.services)
    for each in described:
        # before the roles, which would only say that there is no such service
        _checked_service(each, settings)
    async with store.read() as tx:
        at_runtime = {service.name for service in await tx.services.list() if not service.from_config}
    # A service that only has a token exists because of it.
    named = {*settings.service_tokens.values()} - _names_of(described) - at_runtime
    described += [{"name": name} for name in sorted(named)]
    await names.read("c.JupyterHub.api_tokens", settings.api_tokens.values())
    plan = merge_with_defaults(
        specs,
        registry,
        extra_user_scopes=settings.extra_user_scopes,
        admin_users=admin_users,
        admin_services=[each["name"] for each in described if each.get("admin") and "name" in each],
        allowed_users=allowed_users,
        service_names={*at_runtime, *_names_of(described)},
        manage_roles=manages_roles,
        reset_managed_roles=bool(authenticator.reset_managed_roles_on_startup) and not on_command_line,
        normalise_user=names.normal.__getitem__,
    )
    return _Wanted(
        plan=plan,
        admin_users=admin_users,
        allowed_users=allowed_users,
        blocked_users=blocked_users,
        groups=groups,
        user_tokens={token: names.normal[name] for token, name in settings.api_tokens.items()},
        service_tokens=settings.service_tokens,
        services=described,
        manages_roles=manages_roles,
    )


def _checked_service(described: Mapping[str, Any], settings: HubSettings) -> None:
    try:
        parse_service(described, settings)
    except Invalid as error:
        raise ConfigurationError(f"c.JupyterHub.services: {error}") from error


class _Names:
    """User names of the configuration, as the authenticator normalises them."""

    def __init__(self, authenticator: Any) -> None:
        self._authenticator = authenticator
        #: by the name as it was written
        self.normal: dict[str, str] = {}

    async def normalise(self, written: Iterable[str]) -> frozenset[str]:
        normalise = self._authenticator.normalize_username
        for name in written:
            if name not in self.normal:
                self.normal[name] = str(await call("Authenticator.normalize_username", normalise, name))
        return frozenset(self.normal[name] for name in written)

    async def read(self, where: str, written: Iterable[str]) -> frozenset[str]:
        """Normalise names of users that shall exist; ConfigurationError if one cannot be a user's."""
        written = list(written)
        for name in written:
            if not isinstance(name, str):
                raise ConfigurationError(f"{where} must hold names of users, not {name!r}.")
        normal = await self.normalise(written)
        validate = self._authenticator.validate_username
        for name in sorted(normal):
            if not await call("Authenticator.validate_username", validate, name):
                raise ConfigurationError(
                    f"{where} holds {name!r}, which is no valid user name. Correct or remove it, or change "
                    "c.Authenticator.username_pattern."
                )
        return normal


def _set_if_other(authenticator: Any, trait: str, names: frozenset[str]) -> None:
    """Logins compare normalised names, so the lists that they are compared with must be normalised too."""
    if getattr(authenticator, trait) != names:
        setattr(authenticator, trait, set(names))


async def _managed_roles(authenticator: Any) -> list[RoleSpec]:
    try:
        described = await call("Authenticator.load_managed_roles", authenticator.load_managed_roles)
    except NotImplementedError as error:
        raise ConfigurationError(
            f"c.Authenticator.reset_managed_roles_on_startup cannot be used: {error} Turn it off, or use an "
            "authenticator that has it."
        ) from error
    return _role_specs("Authenticator.load_managed_roles", described or (), managed_by_auth=True)


def _role_specs(where: str, described: Iterable[Mapping[str, Any]], *, managed_by_auth: bool = False) -> list[RoleSpec]:
    try:
        return [parse_role_spec(each, managed_by_auth=managed_by_auth) for each in described]
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from error


async def _read_groups(described: Mapping[str, Any], names: _Names) -> list[_Group]:
    groups: list[_Group] = []
    for name, value in described.items():
        where = f"c.JupyterHub.load_groups[{name!r}]"
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_LENGTH:
            raise ConfigurationError(f"{where}: the name of a group must have 1 to {MAX_NAME_LENGTH} characters.")
        properties = None
        users = value
        if isinstance(value, Mapping):
            users, properties = value.get("users", ()), value.get("properties")
            if properties is not None and not isinstance(properties, Mapping):
                raise ConfigurationError(f"{where}: 'properties' must be a dict, not {properties!r}.")
            unknown = sorted(str(key) for key in value if key not in ("users", "properties"))
            if unknown:
                log.warning("%s: %s means nothing here and is ignored", where, ", ".join(unknown))
        if not isinstance(users, list | tuple | set | frozenset):
            raise ConfigurationError(f"{where}: 'users' must be a list of names, not {users!r}.")
        members = await names.read(where, users)
        groups.append(_Group(name, tuple(sorted(members)), properties))
    return groups


def _names_of(described: Iterable[Mapping[str, Any]]) -> set[str]:
    return {each["name"] for each in described if isinstance(each.get("name"), str)}


# -- roles and users


async def _load_roles(store: Store, wanted: _Wanted) -> bool:
    """Bring the roles themselves to what they shall be; say whether the database had none at all.

    What has expired goes first, so that nothing below meets it.
    """
    now = utcnow()
    async with store.begin() as tx:
        await AtStart(tx.connection).one_hub_at_a_time()
        await tx.tokens.delete_expired(now)
        await tx.oauth.delete_expired_codes(now)
        await tx.shares.delete_expired(now)
        await _add_hub_client(tx)
        had_none = not await tx.roles.list()
        await roles.apply_definitions(tx, wanted.plan)
    return had_none


async def _add_hub_client(tx: Transaction) -> None:
    """Add the OAuth client of all tokens that no flow has issued; tokens refer to it."""
    if await tx.oauth.find_client(HUB_CLIENT) is None:
        await tx.oauth.save_client(
            OAuthClient(identifier=HUB_CLIENT, description="JupyterHub", secret="", redirect_uri="", allowed_scopes=())
        )


async def _load_users(store: Store, wanted: _Wanted) -> None:
    """Create the users that the configuration names, with the role that every user has."""
    async with store.begin() as tx:
        sets = AtStart(tx.connection)
        await sets.one_hub_at_a_time()
        missing = wanted.users - (await sets.ids_of("user", wanted.users)).keys()
        await _create_users(tx, missing, wanted.blocked_users)


async def _create_users(tx: Transaction, names: Iterable[str], blocked: frozenset[str]) -> list[User]:
    created = await tx.users.create_many(sorted(names))
    if created:
        log.info("added %d users of the configuration: %s", len(created), _some(user.name for user in created))
        await roles.welcome(tx, [user.id for user in created if user.name not in blocked])
    return list(created)


async def _show_users(store: Store, authenticator: Any, views: Views, blocked: frozenset[str]) -> None:
    """Tell the authenticator of every user there is; those it refuses stay, unless ``delete_invalid_users``."""
    refused: list[str] = []
    if _has_own_add_user(authenticator):
        async with store.read() as tx:
            users = await tx.users.all()
        for user in users:
            if user.name in blocked:
                continue
            try:
                await call("Authenticator.add_user", authenticator.add_user, views.user(user))
            except Exception as error:
                _log_refusal(user.name, error)
                refused.append(user.name)
    else:
        async with store.read() as tx:
            names = await tx.users.names()
        for name in names:
            if name in blocked:
                continue
            try:
                authenticator.add_user(_NamedUser(name))
            except Exception as error:
                _log_refusal(name, error)
                refused.append(name)
    if refused and authenticator.delete_invalid_users:
        await _delete_users(store, refused)


class _NamedUser:
    """All of a user that our own ``Authenticator.add_user`` looks at; a full view of each of 100,000 takes seconds."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


def _has_own_add_user(authenticator: Any) -> bool:
    return getattr(authenticator.add_user, "__func__", None) is not Authenticator.add_user


def _log_refusal(name: str, error: Exception) -> None:
    log.error("the authenticator does not know the user %s: %s", name, error, extra={"user": name})


async def _delete_users(store: Store, names: Sequence[str]) -> None:
    async with store.begin() as tx:
        users = await tx.users.find_many(names)
        servers = await tx.servers.list_of_users([user.id for user in users.values()])
        for user in users.values():
            if any(server.is_active for server in servers.get(user.id, ())):
                # Its process would go on without anybody who could stop it.
                log.error("user %s is not deleted: a server of theirs is running. Stop it first.", user.name)
                continue
            log.warning("deleting user %s (c.Authenticator.delete_invalid_users)", user.name)
            await tx.users.delete(user.id)


async def _add_what_is_missing(store: Store, wanted: _Wanted) -> None:
    """What a command needs to find the users of the configuration, also before the hub has ever run."""
    named = wanted.admin_users | wanted.allowed_users
    async with store.begin() as tx:
        sets = AtStart(tx.connection)
        await sets.one_hub_at_a_time()
        await _add_hub_client(tx)
        await roles.add_missing_definitions(tx, wanted.plan)
        missing = named - (await sets.ids_of("user", named)).keys()
        for user in await _create_users(tx, missing, wanted.blocked_users):
            if user.name in wanted.admin_users and user.name not in wanted.blocked_users:
                await tx.users.update(user.id, admin=True)
                await roles.sync_admin_role(tx, user.id, True)


# -- groups


async def _load_groups(store: Store, wanted: Sequence[_Group]) -> None:
    """Create the groups of ``load_groups`` and add their members; members that were added otherwise stay."""
    if not wanted:
        return
    async with store.begin() as tx:
        sets = AtStart(tx.connection)
        await sets.one_hub_at_a_time()
        user_ids = await sets.ids_of("user", {name for group in wanted for name in group.users})
        for each in wanted:
            group = await tx.groups.find(each.name)
            if group is None:
                group = await tx.groups.create(each.name, each.properties)
            elif each.properties is not None and dict(group.properties) != dict(each.properties):
                await tx.groups.set_properties(group.id, each.properties)
            if each.users:
                await tx.groups.add_members(group.id, [user_ids[name] for name in each.users if name in user_ids])


# -- tokens


async def _load_tokens(store: Store, settings: HubSettings, wanted: _Wanted, of_services: set[int]) -> None:
    """Give users and services the tokens of ``api_tokens`` and ``service_tokens``; those they have already are kept.

    Tokens that the configuration brought once and no longer has are revoked: whoever took a secret out of it means
    that. ``of_services`` are the rows of those that services were given already. The hash of a token is slow on
    purpose, so a token that is there is only compared, once.
    """
    kept = set(of_services)
    given: list[tuple[str, Literal["user", "service"], str, str]] = [
        *(("c.JupyterHub.api_tokens", "user", name, token) for token, name in wanted.user_tokens.items()),
        *(("c.JupyterHub.service_tokens", "service", name, token) for token, name in wanted.service_tokens.items()),
    ]
    rounds = secret_hash.GENERATED_ROUNDS if settings.trust_user_provided_tokens else secret_hash.CHOSEN_ROUNDS
    async with store.begin() as tx:
        sets = AtStart(tx.connection)
        await sets.one_hub_at_a_time()
        owners = {
            "user": await sets.ids_of("user", set(wanted.user_tokens.values())),
            "service": await sets.ids_of("service", set(wanted.service_tokens.values())),
        }
        role = await tx.roles.find(TOKEN_ROLE)
        assert role is not None
        for trait, kind, name, token in given:
            if not secret_hash.MIN_LENGTH <= len(token) <= secret_hash.MAX_LENGTH:
                raise ConfigurationError(
                    f"{trait}: the token of {kind} {name!r} must have {secret_hash.MIN_LENGTH} to "
                    f"{secret_hash.MAX_LENGTH} characters. Take a longer one, for example of `openssl rand -hex 32`."
                )
            known = await tx.tokens.find_by_secret(token, utcnow())
            if known is not None:
                _check_owner(trait, kind, name, known)
                kept.add(known.id)
            elif name in owners[kind]:
                log.info("adding the token of %s %s from %s", kind, name, trait)
                created = await tx.tokens.create(
                    kind, owners[kind][name], secret=token, rounds=rounds, scopes=role.scopes, note=CONFIG_NOTE
                )
                kept.add(created.id)
            else:
                log.error("%s: %s %s does not exist, their token is ignored", trait, kind, name)
        if revoked := await tx.tokens.delete_others_with_note(CONFIG_NOTE, kept):
            log.warning("revoked %d tokens that are no longer in the configuration", revoked)


def _check_owner(trait: str, kind: str, name: str, known: Token) -> None:
    if (known.owner_kind, known.owner_name) != (kind, name):
        raise ConfigurationError(
            f"{trait}: the token of {kind} {name!r} belongs to {known.owner_kind} {known.owner_name!r} already. Take "
            "another one, or revoke that one first."
        )


# -- who has which role, and who has none


async def _assign_roles(store: Store, wanted: _Wanted, *, is_first_with_roles: bool) -> None:
    async with store.begin() as tx:
        sets = AtStart(tx.connection)
        await sets.one_hub_at_a_time()
        if is_first_with_roles:
            await roles.give_first_roles(tx)
        missing = wanted.plan.groups - (await sets.ids_of("group", wanted.plan.groups)).keys()
        for name in sorted(missing):
            log.info("adding group %s, which load_roles names", name)
            await tx.groups.create(name)
        await roles.apply_memberships(tx, wanted.plan, blocked=wanted.blocked_users, manages_roles=wanted.manages_roles)


async def _block_users(store: Store, blocked: frozenset[str]) -> list[ServerKey]:
    """Take all rights of blocked users; give their servers that must be stopped."""
    if not blocked:
        return []
    async with store.begin() as tx:
        sets = AtStart(tx.connection)
        user_ids = await sets.ids_of("user", blocked)
        if await sets.strip_users(user_ids.values()):
            log.warning("took roles, groups and admin rights of blocked users: %s", _some(user_ids))
        servers = await tx.servers.list_of_users(user_ids.values())
    return [server.key for of_user in servers.values() for server in of_user if server.is_active]


def _some(names: Iterable[str]) -> str:
    """A list for the log, not too long."""
    ordered = sorted(names)
    return ", ".join(ordered[:20]) + (f" and {len(ordered) - 20} more" if len(ordered) > 20 else "")
