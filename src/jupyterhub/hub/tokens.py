"""API tokens of users: the rules of making, showing and revoking them (reference: rest-api.md §6, scopes-roles.md §7).

Who a token stands for, and what it may do at this moment, is asked in ``hub/requesters.py``; tokens of servers are made
in ``hub/servers``, those of OAuth clients in ``hub/oauth``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from jupyterhub.hub.activity import Activity
from jupyterhub.hub.requester import Requester
from jupyterhub.hub.requesters import Requesters, groups_named_by
from jupyterhub.hub.store.store import Store, Transaction
from jupyterhub.rbac.expand import Owner
from jupyterhub.rbac.grants import beyond_owner
from jupyterhub.rbac.roles import TOKEN_ROLE
from jupyterhub.rbac.scope_set import ScopeSet, effective_token_scopes
from jupyterhub.rbac.scopes import INHERIT, ScopeRegistry, check_scopes_exist
from jupyterhub.words import secret_hash
from jupyterhub.words.clock import utcnow
from jupyterhub.words.errors import ConfigurationError, Denied, Invalid, NotFound
from jupyterhub.words.models import Json, Token, User

MAX_NOTE_LENGTH = 1023


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenDetails:
    """A token with what it may do at this moment."""

    token: Token
    scopes: ScopeSet


class Tokens:
    def __init__(
        self,
        *,
        store: Store,
        registry: ScopeRegistry,
        requesters: Requesters,
        activity: Activity,
        max_expires_in_s: int = 0,
    ) -> None:
        self._store, self._registry, self._requesters, self._activity = store, registry, requesters, activity
        #: the longest life a token may be given, 0 for any
        self._max_expires_in_s = max_expires_in_s

    # -- reading

    async def list_of(self, user_name: str) -> list[TokenDetails]:
        """Give a user's tokens, least recently used first; expired ones are removed on the way."""
        now = utcnow()
        async with self._store.read() as tx:
            user = await _found(tx, user_name)
            tokens = await tx.tokens.list_of("user", user.id)
            alive = [token for token in tokens if token.expires_at is None or token.expires_at > now]
            details = await self._with_scopes(tx, user, alive)
        if len(alive) < len(tokens):
            async with self._store.begin() as tx:
                await tx.tokens.delete_expired(now)
        return sorted(details, key=lambda d: d.token.last_activity or d.token.created or now)

    async def find(self, user_name: str, public_id: str) -> TokenDetails:
        async with self._store.read() as tx:
            user = await _found(tx, user_name)
            token = await self._own_token(tx, user, public_id)
            [details] = await self._with_scopes(tx, user, [token])
            return details

    async def _own_token(self, tx: Transaction, user: User, public_id: str) -> Token:
        token_id = read_public_id(public_id)
        token = None if token_id is None else await tx.tokens.find(token_id)
        if token is None or token.owner_kind != "user" or token.owner_id != user.id:
            raise NotFound()
        if token.expires_at is not None and token.expires_at <= utcnow():
            raise NotFound()
        return token

    async def _with_scopes(self, tx: Transaction, user: User, tokens: Sequence[Token]) -> list[TokenDetails]:
        """Work out what each of a user's tokens may do; the number of statements does not depend on their number."""
        if not tokens:
            return []
        owner = Owner("user", user.name)
        owner_scopes = await self._requesters.for_user(tx, user)
        issuers = await tx.oauth.issuers({token.client_id for token in tokens if token.client_id})
        groups_of = await groups_named_by(tx, owner_scopes.raw, *(token.scopes for token in tokens))
        return [
            TokenDetails(
                token=self._activity.of_token(token),
                scopes=effective_token_scopes(
                    token.scopes,
                    owner_scopes,
                    self._registry,
                    owner=owner,
                    client=issuers.get(token.client_id or ""),
                    groups_of=groups_of,
                ),
            )
            for token in tokens
        ]

    # -- making

    async def create(
        self,
        user_name: str,
        *,
        note: Json = None,
        expires_in_s: int | None = None,
        scopes: Sequence[str] | None = None,
        roles: Sequence[str] | None = None,
        requester: Requester | None,
    ) -> tuple[str, TokenDetails]:
        """Make a token for a user and give it with its secret, which is told this once.

        ``requester`` None: the user has just proved who they are. Without scopes and roles it gets those of the role
        ``token``. Invalid if it should be able to do more than its owner may.
        """
        expires_in_s = self._checked_life(expires_in_s)
        if scopes is not None and roles is not None:
            raise Invalid("Give a token either 'scopes' or 'roles', not both.")
        now = utcnow()
        secret = secret_hash.new_token()
        async with self._store.begin() as tx:
            user = await tx.users.find(user_name)
            if user is None:
                # As for a user over whom the requester has no power: nobody learns here who exists.
                raise Denied()
            wanted = await self._wanted_scopes(tx, scopes, roles)
            await self._check_within_owner(tx, user, wanted)
            token = await tx.tokens.create(
                "user",
                user.id,
                secret=secret,
                rounds=secret_hash.GENERATED_ROUNDS,
                scopes=wanted,
                note=_note(note, user, requester),
                expires_at=None if expires_in_s is None else now + timedelta(seconds=expires_in_s),
            )
            [details] = await self._with_scopes(tx, user, [token])
        return secret, details

    async def create_on_command_line(self, user_name: str) -> str:
        """Make a token that can do all its owner may, for whoever controls the hub's configuration; give its secret.

        ConfigurationError if there is no such user.
        """
        secret = secret_hash.new_token()
        async with self._store.begin() as tx:
            user = await tx.users.find(user_name)
            if user is None:
                raise ConfigurationError(f"There is no user {user_name!r}: log in once, or create the user first.")
            await tx.tokens.create(
                "user",
                user.id,
                secret=secret,
                rounds=secret_hash.GENERATED_ROUNDS,
                scopes=await self._wanted_scopes(tx, None, None),
                note="command-line generated",
            )
        return secret

    def _checked_life(self, expires_in_s: int | None) -> int | None:
        longest = self._max_expires_in_s or None
        if expires_in_s is None:
            return longest
        if expires_in_s < 1:
            raise Invalid("expires_in must be at least 1 second.")
        if longest is not None and expires_in_s > longest:
            raise Invalid(f"expires_in must be at most {longest} seconds.")
        if expires_in_s > 100 * 366 * 24 * 3600:
            raise Invalid("expires_in must be at most a hundred years.")
        return expires_in_s

    async def _wanted_scopes(
        self, tx: Transaction, scopes: Sequence[str] | None, roles: Sequence[str] | None
    ) -> list[str]:
        if scopes is not None:
            check_scopes_exist(scopes, self._registry)
            return list(dict.fromkeys(scopes))
        wanted: dict[str, None] = {}
        for name in [TOKEN_ROLE] if roles is None else roles:
            role = await tx.roles.find(name)
            if role is None:
                raise Invalid(f"There is no role {name!r}.")
            wanted.update(dict.fromkeys(role.scopes))
        return list(wanted)

    async def _check_within_owner(self, tx: Transaction, user: User, wanted: Sequence[str]) -> None:
        asked = [scope for scope in wanted if scope != INHERIT]
        if not asked:
            return
        owner_scopes = await self._requesters.for_user(tx, user)
        groups_of = await groups_named_by(tx, owner_scopes.raw, asked)
        owner = Owner("user", user.name)
        excess = beyond_owner(asked, owner_scopes, self._registry, owner=owner, groups_of=groups_of)
        if excess:
            raise Invalid(
                f"A token cannot do more than its owner. {user.name} does not have: {', '.join(sorted(excess))}"
            )

    # -- revoking

    async def delete(self, user_name: str, public_id: str) -> None:
        """Revoke a token. One that an OAuth client was given goes with all that client has from this user."""
        async with self._store.begin() as tx:
            user = await _found(tx, user_name)
            token = await self._own_token(tx, user, public_id)
            if token.client_id and token.client_id != "jupyterhub":
                await tx.tokens.delete_of_client(user.id, token.client_id)
            else:
                await tx.tokens.delete(token.id)

    async def delete_expired(self) -> int:
        """Remove all expired tokens; called at start and hourly. They are refused before that as well."""
        async with self._store.begin() as tx:
            return await tx.tokens.delete_expired(utcnow())


def read_public_id(public_id: str) -> int | None:
    """Give the row id in ``a17``, None if it is none."""
    digits = public_id[1:]
    if not public_id.startswith("a") or not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        return None
    return int(digits)


async def _found(tx: Transaction, user_name: str) -> User:
    user = await tx.users.find(user_name)
    if user is None:
        raise NotFound()
    return user


def _note(note: Json, owner: User, requester: Requester | None) -> str:
    if note:
        text = str(note)
    elif requester is None or (requester.kind == "user" and requester.name == owner.name):
        text = "Requested via api"
    else:
        text = f"Requested via api by {requester.kind} {requester.name}"
    return text[:MAX_NOTE_LENGTH].replace("\0", "")
