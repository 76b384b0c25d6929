"""Sign: roles on the synchronous database of plugins. What roles are is in ``rbac/roles.py``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .hub.store.orm import Role
from .rbac.roles import ADMIN_ROLE, DEFAULT_ROLES, default_roles_of_user, parse_role_spec
from .words.errors import NotFound


def get_default_roles() -> list[dict[str, Any]]:
    """Give the roles that every hub has."""
    return [
        {"name": name, "description": role.description, "scopes": list(role.scopes or ())}
        for name, role in DEFAULT_ROLES.items()
    ]


def create_role(db: Any, role_dict: Mapping[str, Any], *, commit: bool = True, reset_to_defaults: bool = True) -> Any:
    """Make a role, or bring one that exists to what ``role_dict`` says."""
    spec = parse_role_spec({key: value for key, value in role_dict.items() if key in ("name", "description", "scopes")})
    role: Any = Role.find(db, spec.name)
    if role is None:
        role = Role(name=spec.name)
        db.add(role)
        reset_to_defaults = True
    if reset_to_defaults:
        role.description, role.scopes = spec.description, list(spec.scopes or ())
    if commit:
        db.commit()
    return role


def delete_role(db: Any, role_name: str) -> None:
    """Delete a role; ValueError for those that every hub has, NotFound if there is none."""
    if role_name in DEFAULT_ROLES:
        raise ValueError(f"the role {role_name!r} cannot be deleted")
    db.delete(_role(db, role_name))
    db.commit()


def grant_role(db: Any, entity: Any, role: Any = None, rolename: str = "", commit: bool = True) -> None:
    """Give a user, group or service a role."""
    row = _row(entity)
    wanted = _role(db, role or rolename)
    if wanted not in row.roles:
        row.roles.append(wanted)
    if commit:
        db.commit()


def strip_role(db: Any, entity: Any, role: Any = None, rolename: str = "", commit: bool = True) -> None:
    """Take a role from a user, group or service."""
    row = _row(entity)
    lost = _role(db, role or rolename)
    if lost in row.roles:
        row.roles.remove(lost)
    if commit:
        db.commit()


def assign_default_roles(db: Any, entity: Any) -> None:
    """Give a user the roles that everybody has; ``admin`` as the admin flag says. Others get none by themselves."""
    row = _row(entity)
    if getattr(row, "kind", "") != "user":
        return
    for name in default_roles_of_user(admin=bool(row.admin)):
        grant_role(db, row, name, commit=False)
    if not row.admin and any(role.name == ADMIN_ROLE for role in row.roles):
        strip_role(db, row, ADMIN_ROLE, commit=False)
    db.commit()


def update_roles(db: Any, entity: Any, roles: Iterable[str]) -> None:
    """Give further roles; users keep the one that everybody has."""
    for name in roles:
        grant_role(db, entity, name, commit=False)
    assign_default_roles(db, entity)


def get_roles_for(entity: Any) -> list[Role]:
    """Give the roles of a user with those of their groups, or of a group or service."""
    row = _row(entity)
    found = list(row.roles)
    for group in getattr(row, "groups", ()):
        found += [role for role in group.roles if role not in found]
    return found


def roles_to_scopes(roles: Iterable[Role]) -> set[str]:
    """Give the scopes of roles, as they are written."""
    return {scope for role in roles for scope in role.scopes or ()}


def _row(entity: Any) -> Any:
    return getattr(entity, "orm_user", entity)


def _role(db: Any, role: Any) -> Role:
    if isinstance(role, Role):
        return role
    found = Role.find(db, role)
    if found is None:
        raise NotFound(f"No such role: {role}")
    return found


__all__ = [
    "assign_default_roles",
    "create_role",
    "delete_role",
    "get_default_roles",
    "get_roles_for",
    "grant_role",
    "roles_to_scopes",
    "strip_role",
    "update_roles",
]
