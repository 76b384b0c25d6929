"""Roles in the database: bringing them to what a plan says, the ones a user has by default, and those an authenticator
gives.

The plan itself is worked out in ``rbac/roles.py`` and needs no database. Called by ``hub/initial.py`` at the start, by
``hub/login.py`` at each login and by ``hub/users.py`` when a user is made or changed.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from jupyterhub.hub.store.at_start import AtStart
from jupyterhub.hub.store.roles import Kind
from jupyterhub.hub.store.store import Transaction
from jupyterhub.rbac.roles import (
    ADMIN_ROLE,
    DEFAULT_ROLES,
    MEMBER_KINDS,
    USER_ROLE,
    MemberKind,
    Membership,
    Mode,
    PlannedRole,
    RolePlan,
    RoleSpec,
    default_roles_of_user,
)
from jupyterhub.words.models import Role, User

log = logging.getLogger("jupyterhub.roles")

_KIND_OF: Final[Mapping[MemberKind, Kind]] = {"users": "user", "services": "service", "groups": "group"}


# -- of users


async def welcome(tx: Transaction, user_ids: Sequence[int], *, admin: bool = False) -> None:
    """Give users who were just created the roles that everybody has."""
    for name in default_roles_of_user(admin=admin):
        await tx.roles.grant_many("user", user_ids, name)


async def assign_defaults(tx: Transaction, user_id: int, admin: bool) -> None:
    """Give a user, at a login, the roles that everybody has; ``admin`` as the flag says. Others stay as they are."""
    held = await tx.roles.names_of("user", user_id)
    for name in default_roles_of_user(admin=admin):
        if name not in held:
            await tx.roles.grant("user", user_id, name)
    if not admin and ADMIN_ROLE in held:
        await tx.roles.strip("user", user_id, ADMIN_ROLE)


async def sync_admin_role(tx: Transaction, user_id: int, admin: bool) -> None:
    """Let the role ``admin`` follow the admin flag of a user."""
    if admin:
        await tx.roles.grant("user", user_id, ADMIN_ROLE)
    else:
        await tx.roles.strip("user", user_id, ADMIN_ROLE)


async def set_managed_roles(tx: Transaction, user: User, specs: Sequence[RoleSpec]) -> None:
    """Make the roles that the authenticator gives at a login exactly the roles of this user (``manage_roles``).

    Roles that do not exist are made; those of the authenticator become what the spec says; those of the configuration
    stay as they are. All other roles are taken from the user, the default ones too, and those of the authenticator that
    nobody holds then are deleted. Who else a spec names gets the role as well, as far as they exist. The roles of the
    user's groups are not touched.
    """
    existing = {role.name: role for role in await tx.roles.list()}
    held = await tx.roles.names_of("user", user.id)
    sets = AtStart(tx.connection)
    for spec in specs:
        role = await _managed_role(tx, spec, existing.get(spec.name), user)
        if spec.name not in held:
            await tx.roles.grant("user", user.id, spec.name, managed_by_auth=True)
        elif not (await sets.holders_among("user", role.id, [user.id])).get(user.id):
            # Given by an admin so far, or by default; from now on a start of the hub leaves it alone.
            await sets.mark("user", role.id, [user.id], managed_by_auth=True)
        for of_spec, kind in _KIND_OF.items():
            others = await sets.ids_of(kind, frozenset(spec.members(of_spec) or ()))
            for holder_id in others.values():
                await tx.roles.grant(kind, holder_id, spec.name, managed_by_auth=True)
    gone = set(held) - {spec.name for spec in specs}
    for name in sorted(gone):
        await tx.roles.strip("user", user.id, name)
        lost = existing[name]
        if lost.managed_by_auth and name not in DEFAULT_ROLES and not await _is_held(tx, lost):
            log.info("role %s is held by nobody any more; deleting it", name)
            await tx.roles.delete(lost.id)


async def _managed_role(tx: Transaction, spec: RoleSpec, found: Role | None, user: User) -> Role:
    if found is not None and not found.managed_by_auth:
        if spec.scopes is not None and set(spec.scopes) != set(found.scopes):
            # The next start would reset it to what the configuration says anyway.
            log.warning(
                "the login of %s would change the scopes of role %s, which the configuration has", user.name, spec.name
            )
        return found
    description, scopes = spec.description, spec.scopes
    if found is not None:
        description = found.description if description is None else description
        scopes = tuple(found.scopes) if scopes is None else scopes
    return await tx.roles.upsert(spec.name, description=description, scopes=scopes or (), managed_by_auth=True)


async def _is_held(tx: Transaction, role: Role) -> bool:
    sets = AtStart(tx.connection)
    for kind in _KIND_OF.values():
        if await sets.is_held(kind, role.id):
            return True
    return False


# -- all of them, at the start


async def apply_definitions(tx: Transaction, plan: RolePlan) -> None:
    """Create, overwrite and delete roles as planned. Who holds a deleted role loses it."""
    existing = {role.name: role for role in await tx.roles.list()}
    for planned in plan.roles:
        found = existing.get(planned.name)
        if found is None or _content(found) != _content(planned):
            log.info("%s role %s", "adding" if found is None else "updating", planned.name)
            await tx.roles.upsert(
                planned.name,
                description=planned.description,
                scopes=list(planned.scopes),
                managed_by_auth=planned.managed_by_auth,
            )
    for role in existing.values():
        if plan.deletes(role.name, managed_by_auth=role.managed_by_auth):
            log.info("role %s is no longer in the configuration; deleting it", role.name)
            await tx.roles.delete(role.id)


async def add_missing_definitions(tx: Transaction, plan: RolePlan) -> None:
    """Create the planned roles that do not exist and leave all others alone."""
    existing = {role.name for role in await tx.roles.list()}
    for planned in plan.roles:
        if planned.name not in existing:
            await tx.roles.upsert(planned.name, description=planned.description, scopes=list(planned.scopes))


def _content(role: Role | PlannedRole) -> tuple[str | None, tuple[str, ...], bool]:
    return role.description, tuple(role.scopes), role.managed_by_auth


async def apply_memberships(
    tx: Transaction, plan: RolePlan, *, blocked: Collection[str] = (), manages_roles: bool = False
) -> None:
    """Give and take roles as planned; the admin flags of users and services follow their role, and the other way round.

    All users, groups and services that the plan names exist. ``blocked`` users get nothing. ``manages_roles``: who has
    which role is the authenticator's to say, so an admin flag alone gives nobody the role.
    """
    sets = AtStart(tx.connection)
    ids = {role.name: role.id for role in await tx.roles.list()}
    for of_plan in MEMBER_KINDS:
        kind = _KIND_OF[of_plan]
        named = frozenset[str]().union(*(role.membership(of_plan).names for role in plan.roles))
        if kind == "user":
            named = named.difference(blocked)
        holder_ids = await sets.ids_of(kind, named)
        exact = [r for r in plan.roles if r.membership(of_plan).mode is Mode.AUTHORITATIVE]
        all_holders = await sets.all_holders(kind, [ids[role.name] for role in exact])
        for role in plan.roles:
            membership = role.membership(of_plan)
            wanted = {holder_ids[name] for name in membership.names if name in holder_ids}
            await _apply(
                sets,
                kind,
                ids[role.name],
                role,
                membership,
                wanted,
                all_holders.get(ids[role.name]),
                resets_managed=plan.resets_managed,
            )
            if role.name == ADMIN_ROLE and kind != "group":
                follows_flag = kind == "service" or not manages_roles
                await _sync_admins(sets, kind, ids[ADMIN_ROLE], membership, wanted, follows_flag=follows_flag)


async def _apply(
    sets: AtStart,
    kind: Kind,
    role_id: int,
    role: PlannedRole,
    membership: Membership,
    wanted: set[int],
    all_holders: Mapping[int, bool] | None,
    *,
    resets_managed: bool,
) -> None:
    if membership.mode is Mode.AUTHORITATIVE:
        assert all_holders is not None
        held = all_holders
        spares = membership.spares_managed and not resets_managed
        gone = {holder for holder, managed in held.items() if holder not in wanted and not (spares and managed)}
        await sets.unlink(kind, role_id, gone)
    else:
        if resets_managed:
            await sets.unlink_managed(kind, role_id, except_ids=wanted)
        held = await sets.holders_among(kind, role_id, wanted)
    await sets.link(kind, role_id, wanted - held.keys(), managed_by_auth=role.managed_by_auth)
    if membership.mode is Mode.AUTHORITATIVE:
        other = {holder for holder in wanted & held.keys() if held[holder] is not role.managed_by_auth}
        await sets.mark(kind, role_id, other, managed_by_auth=role.managed_by_auth)


async def _sync_admins(
    sets: AtStart, kind: Kind, role_id: int, membership: Membership, wanted: set[int], *, follows_flag: bool
) -> None:
    flagged = await sets.admin_ids(kind)
    await sets.set_admin(kind, wanted - flagged, True)
    if membership.mode is Mode.AUTHORITATIVE:
        await sets.set_admin(kind, flagged - wanted, False)
        return
    if not follows_flag:
        return
    flagged |= wanted
    held = (await sets.all_holders(kind, [role_id]))[role_id]
    await sets.link(kind, role_id, flagged - held.keys(), managed_by_auth=False)
    await sets.unlink(kind, role_id, held.keys() - flagged)


async def give_first_roles(tx: Transaction) -> None:
    """Give the role ``user`` to all users of a database that knew no roles; admins get theirs by their flag."""
    role = await tx.roles.find(USER_ROLE)
    assert role is not None
    given = await AtStart(tx.connection).link_users_without_roles(role.id)
    if given:
        log.info("gave the role %s to %d users of an older hub", USER_ROLE, given)
