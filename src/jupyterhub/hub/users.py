"""Users: the rules of creating, reading, changing and deleting them (reference: rest-api.md §4).

Called by the API, and by whatever else makes users on somebody's behalf. Logging in is in ``hub/login.py``; users from
the configuration are in ``hub/initial.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from jupyterhub.crypto import EncryptionUnavailable
from jupyterhub.hub.activity import Activity
from jupyterhub.hub.auth_state import AuthStates
from jupyterhub.hub.metrics import count_users
from jupyterhub.hub.plugin_calls import call
from jupyterhub.hub.plugin_views import Views
from jupyterhub.hub.requester import Requester
from jupyterhub.hub.roles import sync_admin_role, welcome
from jupyterhub.hub.store.store import Store, Transaction
from jupyterhub.rbac.roles import default_roles_of_user
from jupyterhub.rbac.scope_set import ListFilter
from jupyterhub.words.errors import AlreadyExists, Denied, Invalid, NotFound
from jupyterhub.words.models import Json, Server, User, Window
from jupyterhub.words.names import is_valid_user_name
from jupyterhub.words.unset import UNSET, Unset

log = logging.getLogger("jupyterhub.users")

#: users whose groups, roles and servers are kept until the next commit
DETAILS_KEPT = 4096

USER_STATES = frozenset({"", "active", "ready", "inactive"})
USER_ORDERS = frozenset({"id", "name", "last_activity"})


@dataclass(frozen=True, slots=True)
class UserParts:
    """Which rows to fetch beside those of the users themselves; what is left out is empty in ``UserDetails``."""

    groups: bool = True
    roles: bool = True
    servers: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class UserDetails:
    """A user with what belongs to them."""

    user: User
    groups: Sequence[str] = ()
    #: directly assigned ones, not those of the groups
    roles: Sequence[str] = ()
    servers: Sequence[Server] = ()


class ServersOfUsers(Protocol):
    """What deleting a user needs of ``hub/servers``."""

    async def stop_all_of(self, user: User) -> None: ...
    async def forget_all_of(self, user: User) -> None: ...


class Users:
    def __init__(
        self,
        *,
        store: Store,
        authenticator: Any,
        views: Views,
        servers: ServersOfUsers,
        activity: Activity,
    ) -> None:
        self._store, self._authenticator, self._views = store, authenticator, views
        self._servers, self._activity = servers, activity
        self._kept = store.kept(most=DETAILS_KEPT)
        self._auth_states = AuthStates(store=store, authenticator=authenticator)

    # -- reading

    async def find(self, name: str) -> User:
        """Give the user of exactly this name, or raise NotFound."""
        async with self._store.read() as tx:
            return await _found(tx, name)

    async def details(self, name: str, parts: UserParts | None = None) -> UserDetails:
        async with self._store.read() as tx:
            [details] = await self._with_parts(tx, [await _found(tx, name)], parts or UserParts())
            return details

    async def details_of(self, user: User, parts: UserParts) -> UserDetails:
        """The same for a user who has been read in this request already."""
        kept = self._kept.now()
        details: UserDetails | None = kept.get((user.id, parts))
        if details is None:
            async with self._store.read() as tx:
                [details] = await self._with_parts(tx, [user], parts)
            kept[user.id, parts] = details
        return replace(details, user=self._activity.of_user(user))

    async def page(
        self,
        listed: ListFilter,
        *,
        state: str = "",
        name_filter: str | None = None,
        group: str | None = None,
        admin: bool | None = None,
        sort: str = "id",
        window: Window,
        parts: UserParts | None = None,
    ) -> tuple[list[UserDetails], int]:
        """Give one page of the users that ``listed`` lets through, and how many there are in all.

        ``sort`` is a field, with a leading ``-`` for descending order. A filter by server says nothing about users, so
        a reader who has one is refused.
        """
        if "server" in listed.kinds or "service" in listed.kinds:
            raise Denied("Users can be listed with filters by user and group only.")
        if state not in USER_STATES:
            raise Invalid(f"Unknown state {state!r}: use one of 'active', 'inactive' and 'ready'.")
        order = sort.removeprefix("-")
        if order not in USER_ORDERS:
            raise Invalid(
                f"Users cannot be sorted by {sort!r}: use 'id', 'name' or 'last_activity', or '-id' and so on."
            )
        async with self._store.read() as tx:
            users, total = await tx.users.list(
                listed,
                state=state,
                name_filter=name_filter,
                group=group,
                admin=admin,
                sort=order,
                descending=sort.startswith("-"),
                window=window,
            )
            return await self._with_parts(tx, users, parts or UserParts()), total

    async def auth_state(self, user: User) -> Json:
        """Give what the authenticator keeps about a user, decrypted; None if there is nothing, or nothing readable."""
        return await self._views.load_auth_state(user.id)

    async def _with_parts(self, tx: Transaction, users: Sequence[User], parts: UserParts) -> list[UserDetails]:
        ids = [user.id for user in users]
        groups = await tx.groups.groups_of_many(ids) if parts.groups and ids else {}
        roles = await tx.roles.names_of_many("user", ids) if parts.roles and ids else {}
        servers = await tx.servers.list_of_users(ids) if parts.servers and ids else {}
        return [
            UserDetails(
                user=self._activity.of_user(user),
                groups=groups.get(user.id, ()),
                roles=roles.get(user.id, ()),
                servers=servers.get(user.id, ()),
            )
            for user in users
        ]

    # -- creating

    async def create(self, name: str, *, admin: bool, requester: Requester) -> UserDetails:
        """Create one user, under exactly this name."""
        _check_may_grant_admin(admin, requester)
        await self._check_names([name])
        async with self._store.begin() as tx:
            if await tx.users.find(name):
                raise AlreadyExists(f"User {name} already exists")
        [created] = await self._create([name], admin=admin)
        return created

    async def create_many(self, names: Sequence[str], *, admin: bool, requester: Requester) -> list[UserDetails]:
        """Create those of these users that do not exist, in this order; names are normalised first.

        AlreadyExists if none is new; Invalid, and nobody created, if any name is.
        """
        _check_may_grant_admin(admin, requester)
        if not names:
            raise Invalid("Say which users to create: 'usernames' is empty.")
        normal = list(dict.fromkeys([await self.normalised(name) for name in names]))
        await self._check_names(normal)
        async with self._store.read() as tx:
            existing = await tx.users.find_many(normal)
        new = [name for name in normal if name not in existing]
        if not new:
            raise AlreadyExists(f"All {len(normal)} users already exist")
        if existing:
            log.warning("%d of %d users to create exist already", len(existing), len(normal))
        return await self._create(new, admin=admin)

    async def _create(self, names: Sequence[str], *, admin: bool) -> list[UserDetails]:
        roles = default_roles_of_user(admin=admin)
        async with self._store.begin() as tx:
            users = await tx.users.create_many(names, admin=admin)
            await welcome(tx, [user.id for user in users], admin=admin)
        # The plugin is told when the rows are there and no transaction is open. A hub that dies in between tells it at
        # the next start, as it does of every user.
        for position, user in enumerate(users):
            try:
                await call("Authenticator.add_user", self._authenticator.add_user, self._views.user(user, roles=roles))
            except Exception as error:
                log.exception("the authenticator refused the new user %s", user.name, extra={"user": user.name})
                async with self._store.begin() as tx:
                    for refused in users[position:]:
                        await tx.users.delete(refused.id)
                raise Invalid(f"Failed to create user {user.name}: {error}") from error
        count_users(len(users))
        return [UserDetails(user=user, roles=sorted(roles)) for user in users]

    # -- changing

    async def change(
        self,
        name: str,
        *,
        new_name: str | Unset = UNSET,
        admin: bool | Unset = UNSET,
        auth_state: Mapping[str, Json] | Unset | None = UNSET,
        requester: Requester,
    ) -> UserDetails:
        """Rename a user, change their admin flag (and with it the role), replace their auth state; all or nothing."""
        user = await self.find(name)
        if not requester.admin and user.admin:
            raise Denied(f"{name} is an admin. Only admins can change admins.")
        _check_may_grant_admin(admin is True, requester)
        if new_name is not UNSET:
            new_name = await self.normalised(new_name)
            if new_name != name:
                await self._check_names([new_name])
        encrypted = UNSET if auth_state is UNSET else await self._encrypted(auth_state)
        async with self._store.begin() as tx:
            user = await _found(tx, name)
            if not requester.admin and user.admin:
                raise Denied(f"{name} is an admin. Only admins can change admins.")
            renamed = new_name if new_name is not UNSET and new_name != name else UNSET
            if renamed is not UNSET and await tx.users.find(renamed):
                raise Invalid(f"User {renamed} already exists; names must be unique.")
            if renamed is not UNSET or admin is not UNSET:
                user = await tx.users.update(user.id, name=renamed, admin=admin)
            if admin is not UNSET:
                await sync_admin_role(tx, user.id, admin)
            if encrypted is not UNSET:
                await tx.users.set_auth_state(user.id, encrypted)
        return await self.details(user.name)

    async def _encrypted(self, auth_state: Mapping[str, Json] | None) -> bytes | None:
        if auth_state is not None and not self._auth_states.enabled:
            raise Invalid("auth_state cannot be kept: Authenticator.enable_auth_state is off.")
        try:
            return await self._auth_states.encrypted(None if auth_state is None else dict(auth_state))
        except (EncryptionUnavailable, ValueError) as error:
            # ValueError: the keys themselves cannot be read
            raise Invalid(f"auth_state cannot be kept: {error}") from error

    # -- deleting

    async def delete(self, name: str, *, requester: Requester | None) -> None:
        """Stop a user's servers, tell the plugins, and delete all that belongs to the user.

        Unlike the original, a running *named* server is stopped as well instead of failing the request. ``requester``
        is None for a plugin.
        """
        user = await self.find(name)
        if requester is not None and requester.name == name:
            raise Invalid("Cannot delete yourself!")
        await self._check_nothing_stops(user)
        await self._servers.stop_all_of(user)
        await self._check_nothing_stops(user)
        await call("Authenticator.delete_user", self._authenticator.delete_user, self._views.user(user))
        await self._servers.forget_all_of(user)
        async with self._store.begin() as tx:
            await tx.users.delete(user.id)
        self._activity.forget_user(user.id)
        count_users(-1)

    async def _check_nothing_stops(self, user: User) -> None:
        async with self._store.read() as tx:
            for server in await tx.servers.list_of_user(user.id):
                if server.pending == "stop":
                    raise Invalid(
                        f"{server.key}'s server is still stopping. Wait for it to stop, then delete {user.name}."
                    )

    # -- names

    async def normalised(self, name: str) -> str:
        normal = await call("Authenticator.normalize_username", self._authenticator.normalize_username, name)
        return str(normal)

    async def _check_names(self, names: Sequence[str]) -> None:
        """Refuse names that the house or the authenticator does not take; all bad ones are named in the message."""
        bad = [
            name
            for name in names
            if not is_valid_user_name(name)
            or not await call("Authenticator.validate_username", self._authenticator.validate_username, name)
        ]
        if bad:
            raise Invalid(f"Invalid username{'s' if len(bad) > 1 else ''}: {', '.join(map(repr, bad))}")


async def _found(tx: Transaction, name: str) -> User:
    user = await tx.users.find(name)
    if user is None:
        raise NotFound()
    return user


def _check_may_grant_admin(admin: bool, requester: Requester) -> None:
    # The flag decides, not the scopes: who may create users must not thereby make admins (CVE-2024-41942).
    if admin and not requester.admin:
        raise Denied("Only admins can grant admin permissions.")
