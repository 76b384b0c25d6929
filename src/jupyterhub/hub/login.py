"""Logging in: what an authenticator says about somebody becomes a user, with admin flag, groups, roles and auth state.

Also here: asking the authenticator again later whether a user is still welcome (``refresh``). Cookies and pages are in
``hub/web``; the order in which things are stored is a promise to plugins (plugin-api.md, "Login persistence order").
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jupyterhub.rbac.roles import RoleSpec, check_scopes_of, default_roles_of_user, parse_role_spec
from jupyterhub.rbac.scopes import ScopeRegistry
from jupyterhub.utils import safe_log
from jupyterhub.words.errors import AlreadyExists, ConfigurationError, Conflict
from jupyterhub.words.models import Json, User

from . import metrics, roles
from .auth_state import AuthStates
from .plugin_calls import call
from .plugin_views import Views
from .settings import HubSettings
from .store.store import Store

log = logging.getLogger("jupyterhub.login")

AuthModel = Mapping[str, Any]

#: above so many remembered users, those whose time has passed are forgotten
REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What the authenticator says of a user who logged in some time ago."""

    #: False: must log in again
    is_fresh: bool
    #: as they are now: a refresh may have changed the admin flag
    user: User


class Logins:
    def __init__(
        self,
        *,
        store: Store,
        settings: HubSettings,
        authenticator: Any,
        views: Views,
        auth_states: AuthStates,
        registry: ScopeRegistry | None = None,
    ) -> None:
        self._store, self._settings, self._authenticator = store, settings, authenticator
        self._views, self._auth_states = views, auth_states
        self._registry = registry or ScopeRegistry.default().with_custom(settings.custom_scopes)
        #: user id → when they were last seen to be welcome, on the monotonic clock. Only of this hub: another one, or
        #: the next life of this one, asks once more than it had to.
        self._fresh_since: dict[int, float] = {}
        self._refreshing: dict[int, asyncio.Lock] = {}

    # -- logging in

    async def login(self, handler: Any, data: Any) -> User | None:
        """Go through a whole login; None if the authenticator lets nobody in. What plugins raise passes through."""
        model = await self.authenticate(handler, data)
        return None if model is None else await self.persist(model)

    async def authenticate(self, handler: Any, data: Any) -> dict[str, Any] | None:
        """Ask the authenticator who sends these data, and whether they may enter."""
        model: dict[str, Any] | None = await call(
            "Authenticator.get_authenticated_user", self._authenticator.get_authenticated_user, handler, data
        )
        return model

    async def persist(self, model: AuthModel) -> User:
        """Store the result of a login; give the user, who exists from now on.

        Raises ValueError if the authenticator manages groups and names none, Conflict for a role that cannot be. A new
        user stays out of the database if ``Authenticator.add_user`` raises.
        """
        self._check(model)
        name = str(model["name"])
        user = await self._find_or_create(name, admin=bool(model.get("admin")))
        user = await self._apply(user, model, keeps_auth_state=False)
        self._remember(user.id)
        return user

    def _check(self, model: AuthModel) -> None:
        if self._authenticator.manage_groups and "groups" not in model:
            raise ValueError(
                f"{type(self._authenticator).__name__} manages groups, but the result of its login has no 'groups'. "
                "None would leave them as they are."
            )

    async def _find_or_create(self, name: str, *, admin: bool) -> User:
        async with self._store.read() as tx:
            found = await tx.users.find(name)
        if found is not None:
            return found
        try:
            async with self._store.begin() as tx:
                user = await tx.users.create(name, admin=admin)
                await roles.assign_defaults(tx, user.id, admin)
        except AlreadyExists:
            # The same person logs in on another hub, or twice here; whoever made the row tells the authenticator.
            async with self._store.read() as tx:
                twin = await tx.users.find(name)
            if twin is None:
                raise
            return twin
        try:
            view = self._views.user(user, roles=default_roles_of_user(admin=admin))
            await call("Authenticator.add_user", self._authenticator.add_user, view)
        except Exception:
            async with self._store.begin() as tx:
                await tx.users.delete(user.id)
            raise
        metrics.count_users(1)
        return user

    async def _apply(self, user: User, model: AuthModel, *, keeps_auth_state: bool) -> User:
        """Write all that the authenticator said, in one transaction."""
        specs = self._role_specs(model)
        encrypted: bytes | None = None
        if not keeps_auth_state:
            encrypted = await self._auth_states.encrypted(await self._reconciled(user, model))
        admin, user_info, groups = model.get("admin"), model.get("user_info"), model.get("groups")
        async with self._store.begin() as tx:
            if admin is not None and bool(admin) != user.admin:
                user = await tx.users.update(user.id, admin=bool(admin))
                log.info("%s %s an admin by login", user.name, "is now" if admin else "is no longer")
            if user_info is not None and user_info != user.user_info:
                user = await tx.users.update(user.id, user_info=user_info)
            if specs is None:
                await roles.assign_defaults(tx, user.id, user.admin)
            if groups is not None:
                if self._authenticator.manage_groups:
                    await tx.groups.set_groups_of(user.id, list(dict.fromkeys(map(str, groups))))
                else:
                    log.warning("the login of %s names groups, but Authenticator.manage_groups is off", user.name)
            if specs is not None:
                await roles.set_managed_roles(tx, user, specs)
            if not keeps_auth_state:
                await tx.users.set_auth_state(user.id, encrypted)
        return user

    async def _reconciled(self, user: User, model: AuthModel) -> dict[str, Json] | None:
        """Give the auth state to keep: what the login brought, or what the deployment's hook makes of it."""
        state: dict[str, Json] | None = model.get("auth_state")
        hook = getattr(self._authenticator, "reconcile_auth_state_hook", None)
        if hook is None or not self._auth_states.enabled:
            return state
        existing = await self._auth_states.load(user.id)
        decided: dict[str, Json] | None = await call(
            "Authenticator.reconcile_auth_state_hook", hook, self._authenticator, model, existing
        )
        return decided

    def _role_specs(self, model: AuthModel) -> Sequence[RoleSpec] | None:
        """Read the roles of a login; None if they are left as they are. Conflict (409) for one that cannot be."""
        described = model.get("roles")
        if described is None or not self._authenticator.manage_roles:
            return None
        try:
            specs = [parse_role_spec(role, managed_by_auth=True) for role in described]
            for spec in specs:
                check_scopes_of(spec, self._registry)
        except ConfigurationError as error:
            raise Conflict(f"The login gives a role that cannot be: {error}") from error
        return specs

    # -- later

    async def refresh(self, user: User, handler: Any = None, *, force: bool = False) -> Refreshed:
        """Ask the authenticator whether a user is still welcome, if that is due or forced; store what it says.

        With ``auth_refresh_age`` 0 it is never asked. Of several requests that ask for one user at once, one asks the
        authenticator: identity providers take a refresh token only once.
        """
        age_s = self._authenticator.auth_refresh_age
        if not age_s or (not force and self._is_fresh(user.id, age_s)):
            return Refreshed(True, user)
        asked_at = time.monotonic()
        lock = self._refreshing.setdefault(user.id, asyncio.Lock())
        try:
            async with lock:
                if self._fresh_since.get(user.id, 0.0) >= asked_at:
                    return Refreshed(True, await self._reread(user))
                return await self._refresh(user, handler)
        finally:
            if not lock.locked() and self._refreshing.get(user.id) is lock:
                del self._refreshing[user.id]

    async def _refresh(self, user: User, handler: Any) -> Refreshed:
        result = await call(
            "Authenticator.refresh_user", self._authenticator.refresh_user, self._views.user(user), handler
        )
        if not result:
            log.warning("the login of %s has expired, says the authenticator", user.name)
            return Refreshed(False, user)
        if isinstance(result, Mapping):
            # Who somebody is does not change by a refresh.
            model = {**result, "name": user.name}
            user = await self._apply(user, model, keeps_auth_state="auth_state" not in model)
        self._remember(user.id)
        return Refreshed(True, user)

    async def _reread(self, user: User) -> User:
        async with self._store.read() as tx:
            return await tx.users.find_by_id(user.id) or user

    def _is_fresh(self, user_id: int, age_s: float) -> bool:
        since = self._fresh_since.get(user_id)
        return since is not None and time.monotonic() - since < age_s

    def _remember(self, user_id: int) -> None:
        now = time.monotonic()
        if len(self._fresh_since) >= REMEMBERED:
            oldest = now - float(self._authenticator.auth_refresh_age or 0)
            self._fresh_since = {uid: since for uid, since in self._fresh_since.items() if since > oldest}
        self._fresh_since[user_id] = now

    def forget(self, user_id: int) -> None:
        """Ask the authenticator about this user at the next request."""
        self._fresh_since.pop(user_id, None)


def shown_name(data: Any) -> str:
    """The user name of a failed login, for the log: quoted, on one line, cut short."""
    name = data.get("username", "unknown user") if isinstance(data, Mapping) else "unknown user"
    return safe_log(name)
