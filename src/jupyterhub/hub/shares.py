"""Sharing servers: shares with users and groups, and codes that turn into shares (reference: rest-api.md §9).

A share belongs to a server and is worth what its scopes say on that server, no more: the filter is put on when it is
made, and again whenever it is read (``hub/requesters.py``). Nobody shares what they do not hold.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import timedelta

from jupyterhub.hub.requester import Requester
from jupyterhub.hub.store.store import Store, Transaction
from jupyterhub.rbac.grants import share_scopes
from jupyterhub.rbac.scope_set import Target
from jupyterhub.rbac.scopes import ScopeRegistry, check_scopes_exist, split
from jupyterhub.words.clock import utcnow
from jupyterhub.words.errors import Denied, Invalid, NotFound
from jupyterhub.words.models import Group, Server, Share, ShareCode, User, Window
from jupyterhub.words.names import ServerKey

MIN_CODE_LIFE_S, MAX_CODE_LIFE_S, DEFAULT_CODE_LIFE_S = 60, 365 * 24 * 3600, 24 * 3600


class Shares:
    def __init__(self, *, store: Store, registry: ScopeRegistry) -> None:
        self._store, self._registry = store, registry

    # -- the owner's side

    async def list_of_owner(self, owner: str, window: Window) -> tuple[list[Share], int]:
        async with self._store.read() as tx:
            user = await _user(tx, owner)
            return await tx.shares.list_of_owner(user.id, window)

    async def list_of_server(self, key: ServerKey, window: Window) -> tuple[list[Share], int]:
        async with self._store.read() as tx:
            server = await _server_if_any(tx, key)
            return ([], 0) if server is None else await tx.shares.list_of_server(server.id, window)

    async def grant(
        self,
        key: ServerKey,
        *,
        user: str | None = None,
        group: str | None = None,
        scopes: Sequence[str] | None = None,
        requester: Requester,
    ) -> Share:
        """Share a server with a user or a group, or extend what is shared already.

        Raises:
            Invalid: not exactly one of user and group; a scope that does not exist or is filtered otherwise; nobody of
                that name.
            Denied: the requester does not hold a scope, or may not know the name.
            NotFound: no such server.
        """
        _check_one(user, group)
        wanted = share_scopes(scopes or (), key, self._registry)
        await self._check_may_name(requester, user, group)
        async with self._store.begin() as tx:
            owner = await _user(tx, key.user)
            server = await _server_to_share(tx, owner, key)
            await self._check_holds(tx, requester, key, wanted)
            recipient = await _recipient(tx, user, group)
            if recipient is None:
                raise Invalid(f"No such group: {group!r}" if user is None else f"No such user: {user!r}")
            user_id, group_id = _ids(recipient)
            return await _extend(tx, server, owner, wanted, user_id=user_id, group_id=group_id)

    async def revoke(
        self,
        key: ServerKey,
        *,
        user: str | None = None,
        group: str | None = None,
        scopes: Sequence[str] | None = None,
    ) -> Share | None:
        """Take scopes back, or all; gives what is left of the share, None if nothing is (or ever was).

        Invalid for a scope that does not exist: whoever misspells it would believe that it is taken back.
        """
        _check_one(user, group)
        check_scopes_exist(scopes or (), self._registry)
        async with self._store.begin() as tx:
            server = await _server_if_any(tx, key)
            recipient = await _recipient(tx, user, group)
            if server is None or recipient is None:
                return None
            user_id, group_id = _ids(recipient)
            await tx.shares.hold(server.id)
            share = await tx.shares.find(server.id, user_id=user_id, group_id=group_id)
            if share is None:
                return None
            left = [scope for scope in share.scopes if scope not in scopes] if scopes else []
            if not left:
                await tx.shares.delete(share.id)
                return None
            await tx.shares.set_scopes(share.id, left)
            return await tx.shares.find(server.id, user_id=user_id, group_id=group_id)

    async def revoke_all(self, key: ServerKey) -> None:
        async with self._store.begin() as tx:
            server = await _server_if_any(tx, key)
            if server is not None:
                await tx.shares.delete_of_server(server.id)

    # -- the guests' side

    async def list_for_user(self, name: str, window: Window) -> tuple[list[Share], int]:
        """Give what is shared with a user, directly and through their groups; a server can be there more than once."""
        async with self._store.read() as tx:
            return await tx.shares.list_for_user((await _user(tx, name)).id, window)

    async def list_for_group(self, name: str, window: Window) -> tuple[list[Share], int]:
        async with self._store.read() as tx:
            return await tx.shares.list_for_group((await _group(tx, name)).id, window)

    async def find(self, key: ServerKey, *, user: str | None = None, group: str | None = None) -> Share:
        """Give the share of this server with exactly this user or group; NotFound if there is none."""
        async with self._store.read() as tx:
            return await _share(tx, key, user, group)

    async def leave(self, key: ServerKey, *, user: str | None = None, group: str | None = None) -> None:
        """Give up what was shared with a user or a group."""
        async with self._store.begin() as tx:
            await tx.shares.delete((await _share(tx, key, user, group)).id)

    # -- codes

    async def list_codes_of_owner(self, owner: str, window: Window) -> tuple[list[ShareCode], int]:
        async with self._store.read() as tx:
            return await tx.shares.list_codes_of_owner((await _user(tx, owner)).id, window, now=utcnow())

    async def list_codes_of_server(self, key: ServerKey, window: Window) -> tuple[list[ShareCode], int]:
        async with self._store.read() as tx:
            server = await _server_if_any(tx, key)
            return ([], 0) if server is None else await tx.shares.list_codes_of_server(server.id, window, now=utcnow())

    async def create_code(
        self,
        key: ServerKey,
        *,
        scopes: Sequence[str] | None = None,
        expires_in_s: int | None = None,
        requester: Requester,
    ) -> tuple[str, ShareCode]:
        """Make a code for this server and give it with its secret, which is told this once."""
        life_s = DEFAULT_CODE_LIFE_S if expires_in_s is None else expires_in_s
        if not MIN_CODE_LIFE_S <= life_s <= MAX_CODE_LIFE_S:
            raise Invalid(f"expires_in must be between {MIN_CODE_LIFE_S} and {MAX_CODE_LIFE_S} seconds.")
        wanted = share_scopes(scopes or (), key, self._registry)
        secret = secrets.token_urlsafe(32)
        now = utcnow()
        async with self._store.begin() as tx:
            owner = await _user(tx, key.user)
            server = await _server_to_share(tx, owner, key)
            await self._check_holds(tx, requester, key, wanted)
            code = await tx.shares.create_code(
                server.id, owner.id, secret=secret, scopes=wanted, now=now, expires_at=now + timedelta(seconds=life_s)
            )
        return secret, code

    async def delete_code(self, key: ServerKey, *, secret: str | None = None, code_id: str | None = None) -> None:
        """Revoke one code of a server; NotFound if it is not one of its codes."""
        async with self._store.begin() as tx:
            server = await _server_if_any(tx, key)
            if server is None:
                raise NotFound()
            if secret is not None:
                code = await tx.shares.find_code(secret, utcnow())
            else:
                number = read_code_id(code_id or "")
                code = None if number is None else await tx.shares.find_code_by_id(number)
            if code is None or code.server_id != server.id:
                raise NotFound()
            await tx.shares.delete_code(code.id)

    async def delete_codes(self, key: ServerKey) -> None:
        async with self._store.begin() as tx:
            server = await _server_if_any(tx, key)
            if server is not None:
                await tx.shares.delete_codes_of_server(server.id)

    async def find_code(self, secret: str) -> ShareCode | None:
        """Give the code that somebody was sent, None if it is wrong, expired or revoked."""
        async with self._store.read() as tx:
            return await tx.shares.find_code(secret, utcnow())

    async def accept_code(self, secret: str, guest: User) -> Share:
        """Turn a code into a share for this user. Invalid if it is no code (any more), or of the user's own server."""
        now = utcnow()
        async with self._store.begin() as tx:
            code = await tx.shares.find_code(secret, now)
            if code is None:
                raise Invalid("Invalid share code: it may have expired or been revoked.")
            if code.server.user == guest.name:
                raise Invalid("You cannot share with yourself.")
            owner = await _user(tx, code.server.user)
            server = await _server_to_share(tx, owner, code.server)
            await tx.shares.count_exchange(code.id, now)
            return await _extend(tx, server, owner, list(code.scopes), user_id=guest.id, group_id=None)

    # -- rules

    async def _check_may_name(self, requester: Requester, user: str | None, group: str | None) -> None:
        # Asked before it is looked up: otherwise anyone who may share could find out who exists.
        if user is not None:
            async with self._store.read() as tx:
                groups = await tx.groups.groups_of_names([user])
            scope, on = "read:users:name", Target(user=user, user_groups=groups.get(user, frozenset()))
        else:
            scope, on = "read:groups:name", Target(group=group)
        if not requester.may(scope, on):
            raise Denied(f"Sharing with {user or group!r} requires the scope {scope} for them.")

    async def _check_holds(self, tx: Transaction, requester: Requester, key: ServerKey, wanted: Sequence[str]) -> None:
        groups = await tx.groups.groups_of_names([key.user])
        on = Target.of_server(key, user_groups=groups.get(key.user, frozenset()))
        missing = [scope for scope in wanted if not requester.may(split(scope)[0], on)]
        if missing:
            raise Denied(f"Sharing these scopes requires to hold them: {', '.join(missing)}")


def read_code_id(code_id: str) -> int | None:
    """Give the row id in ``sc_17``, None if it is none."""
    digits = code_id.removeprefix("sc_")
    is_number = digits.isascii() and digits.isdigit() and len(digits) <= 18
    return int(digits) if code_id.startswith("sc_") and is_number else None


def _check_one(user: str | None, group: str | None) -> None:
    if (user is None) == (group is None):
        raise Invalid("A share is with one 'user' or one 'group': give exactly one of them.")


async def _extend(
    tx: Transaction, server: Server, owner: User, scopes: Sequence[str], *, user_id: int | None, group_id: int | None
) -> Share:
    await tx.shares.hold(server.id)
    share = await tx.shares.find(server.id, user_id=user_id, group_id=group_id)
    if share is None:
        return await tx.shares.create(
            server.id, owner.id, user_id=user_id, group_id=group_id, scopes=scopes, now=utcnow()
        )
    union = sorted({*share.scopes, *scopes})
    if union != sorted(share.scopes):
        await tx.shares.set_scopes(share.id, union)
    found = await tx.shares.find(server.id, user_id=user_id, group_id=group_id)
    assert found is not None
    return found


async def _share(tx: Transaction, key: ServerKey, user: str | None, group: str | None) -> Share:
    server = await tx.servers.find(key)
    recipient = await _recipient(tx, user, group)
    if server is None or recipient is None:
        raise NotFound()
    user_id, group_id = _ids(recipient)
    share = await tx.shares.find(server.id, user_id=user_id, group_id=group_id)
    if share is None:
        raise NotFound()
    return share


def _ids(recipient: User | Group) -> tuple[int | None, int | None]:
    return (recipient.id, None) if isinstance(recipient, User) else (None, recipient.id)


async def _recipient(tx: Transaction, user: str | None, group: str | None) -> User | Group | None:
    return await tx.users.find(user) if user is not None else await tx.groups.find(group or "")


async def _user(tx: Transaction, name: str) -> User:
    user = await tx.users.find(name)
    if user is None:
        raise NotFound()
    return user


async def _group(tx: Transaction, name: str) -> Group:
    group = await tx.groups.find(name)
    if group is None:
        raise NotFound()
    return group


async def _server_if_any(tx: Transaction, key: ServerKey) -> Server | None:
    """Give the server; None for a default server that has no row yet; NotFound for anything else unknown."""
    server = await tx.servers.find(key)
    if server is None:
        await _user(tx, key.user)
        if key.name:
            raise NotFound()
    return server


async def _server_to_share(tx: Transaction, owner: User, key: ServerKey) -> Server:
    """Give the server; everybody has a default one, though its row may have to be made."""
    server = await _server_if_any(tx, key)
    return server if server is not None else await tx.servers.create(owner.id, "", display_name="")
