"""From credentials to a Requester: whose token or cookie this is, and what it may do at this moment.

Rights follow from the roles, groups and shares in the database at the moment of the request (scopes-roles.md §6, §7,
§9). What is kept between requests is arithmetic (the same written scopes expand to the same set for the same owner),
and what was found for a token, for as long as nobody writes to the database (``store/kept.py``). Whether a credential
may be used in a given place is decided at the door (``hub/web/handler.py``).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from hashlib import sha256

from jupyterhub.rbac.expand import IssuingClient, Owner, expand
from jupyterhub.rbac.scope_set import GroupsOf, ScopeSet, effective_token_scopes
from jupyterhub.rbac.scopes import ScopeRegistry, split
from jupyterhub.words.clock import utcnow
from jupyterhub.words.models import Service, Token, User
from jupyterhub.words.secret_hash import MAX_LENGTH, MIN_LENGTH

from .requester import Requester
from .store.store import Store, Transaction

#: the client that stands for the hub itself: tokens made on the token page or by the API
OWN_CLIENT = "jupyterhub"
#: distinct (written scopes, owner) pairs whose expansion is kept
EXPANSIONS_KEPT = 4096
#: tokens whose owner and rights are kept until the next commit
REQUESTERS_KEPT = 4096


class Requesters:
    def __init__(self, store: Store, registry: ScopeRegistry) -> None:
        self._store, self._registry = store, registry

        @lru_cache(maxsize=EXPANSIONS_KEPT)
        def expanded(raw: tuple[str, ...], owner: Owner) -> ScopeSet:
            return ScopeSet.of(expand(raw, registry, owner=owner))

        @lru_cache(maxsize=EXPANSIONS_KEPT)
        def within(
            token_raw: tuple[str, ...], owner_scopes: ScopeSet, owner: Owner, client: IssuingClient | None
        ) -> ScopeSet:
            return effective_token_scopes(
                token_raw, owner_scopes, registry, owner=owner, client=client, groups_of=lambda name: frozenset()
            )

        self._expanded, self._within = expanded, within
        self._kept = store.kept(most=REQUESTERS_KEPT)

    # -- by credentials

    async def by_token(self, secret: str) -> Requester | None:
        """Give whoever this token belongs to; None if there is no such token, or it has expired."""
        # Lengths that no token has are not worth a query, nor a hash (past-flaws.md, 6.1 hardening (e)).
        if not MIN_LENGTH <= len(secret) <= MAX_LENGTH:
            return None
        now = utcnow()
        kept, digest = self._kept.now(), sha256(secret.encode("utf-8", "replace")).digest()
        requester: Requester | None = kept.get(digest)
        if requester is None or requester.token is None or requester.token.is_expired(now):
            requester = await self._read_by_token(secret, now)
            if requester is not None:
                kept[digest] = requester
        return requester

    async def _read_by_token(self, secret: str, now: datetime) -> Requester | None:
        async with self._store.read() as tx:
            found = await tx.tokens.find_bearer(secret, now)
            if found is None:
                return None
            token, user = found
            if user is None:
                service = await tx.services.find_by_id(token.owner_id)
                if service is None:
                    return None
                owner_scopes = await self.for_service(tx, service)
                scopes = await self._of_token(tx, token, owner_scopes)
                return Requester(
                    kind="service",
                    id=service.id,
                    name=service.name,
                    admin=service.admin,
                    scopes=scopes,
                    token=token,
                    session_id=token.session_id,
                    service=service,
                )
            scopes = await self._of_token(tx, token, await self.for_user(tx, user))
            return Requester(
                kind="user",
                id=user.id,
                name=user.name,
                admin=user.admin,
                scopes=scopes,
                token=token,
                session_id=token.session_id,
                user=user,
            )

    async def by_cookie_id(self, cookie_id: str, session_id: str | None) -> Requester | None:
        """Give the user whose login cookie names this id; None if there is none any more."""
        async with self._store.read() as tx:
            user = await tx.users.find_by_cookie_id(cookie_id)
            if user is None:
                return None
            return await self._of_session(tx, user, session_id)

    async def of_user(self, user: User, session_id: str | None) -> Requester:
        """Give the Requester that a user becomes by logging in."""
        async with self._store.read() as tx:
            return await self._of_session(tx, user, session_id)

    async def _of_session(self, tx: Transaction, user: User, session_id: str | None) -> Requester:
        scopes = await self.for_user(tx, user)
        return Requester(
            kind="user",
            id=user.id,
            name=user.name,
            admin=user.admin,
            scopes=scopes,
            session_id=session_id,
            user=user,
        )

    # -- scopes

    async def for_user(self, tx: Transaction, user: User) -> ScopeSet:
        """Give all that a user may do: by their own roles, those of their groups, and what is shared with either.

        Their tokens are limited to the same: a server shared with a group is entered with a token that OAuth gave.
        """
        written = await tx.roles.scopes_of_user(user.id)
        shared = await tx.shares.scopes_for_user(user.id, with_groups=True)
        return self._expanded((*written, *shared), Owner("user", user.name))

    async def for_service(self, tx: Transaction, service: Service) -> ScopeSet:
        written = await tx.roles.scopes_of_service(service.id)
        return self._expanded(tuple(written), Owner("service", service.name))

    async def token_scopes(self, tx: Transaction, token: Token) -> ScopeSet:
        """Give what a token may do at this moment; nothing if its owner is gone."""
        if token.owner_kind == "service":
            service = await tx.services.find_by_id(token.owner_id)
            return (
                ScopeSet.of(())
                if service is None
                else await self._of_token(tx, token, await self.for_service(tx, service))
            )
        user = await tx.users.find_by_id(token.owner_id)
        return ScopeSet.of(()) if user is None else await self._of_token(tx, token, await self.for_user(tx, user))

    async def _of_token(self, tx: Transaction, token: Token, owner_scopes: ScopeSet) -> ScopeSet:
        client: IssuingClient | None = None
        if token.client_id and token.client_id != OWN_CLIENT:
            client = await tx.oauth.issuer(token.client_id)
        owner = Owner(token.owner_kind, token.owner_name)
        if not (owner_scopes.names_groups or any("!group" in scope for scope in token.scopes)):
            return self._within(tuple(token.scopes), owner_scopes, owner, client)
        return effective_token_scopes(
            token.scopes,
            owner_scopes,
            self._registry,
            owner=owner,
            client=client,
            groups_of=await groups_named_by(tx, owner_scopes.raw, token.scopes),
        )


async def groups_named_by(tx: Transaction, *written: Iterable[str], users: Iterable[str] = ()) -> GroupsOf:
    """Read the memberships that comparing these scopes can ask for: one statement, or none without a group filter.

    ``users`` are those whom the scopes may mean without naming them (``!user``).
    """
    scopes = [split(scope) for some in written for scope in some]
    names: set[str] = set()
    if any(kind == "group" for _, kind, _ in scopes):
        names.update(users)
        for _, kind, value in scopes:
            if kind == "user" and value:
                names.add(value)
            elif kind == "server" and value:
                names.add(value.partition("/")[0])
    found = await tx.groups.groups_of_names(sorted(names)) if names else {}
    return lambda name: found.get(name, frozenset())
