"""The OAuth 2 provider: authorization codes for logged-in users, access tokens for servers and services.

Reads what a request can need in one transaction, has it judged (``rfc6749``, ``consent``), and stores what comes of it
in another. An access token is an API token of the user that knows its client and its browser session.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from jupyterhub.hub.requesters import OWN_CLIENT, Requesters, groups_named_by
from jupyterhub.hub.settings import HubSettings
from jupyterhub.hub.store.store import Store, Transaction
from jupyterhub.rbac.descriptions import Say, ScopeDescription, plainly
from jupyterhub.rbac.expand import IssuingClient
from jupyterhub.rbac.grants import IDENTIFY
from jupyterhub.rbac.scopes import ScopeRegistry, split
from jupyterhub.words import secret_hash
from jupyterhub.words.clock import utcnow
from jupyterhub.words.errors import Denied, HubError, Invalid, NotFound
from jupyterhub.words.models import OAuthClient, User

from . import consent

if TYPE_CHECKING:
    from .rfc6749 import Redirect, TokenReply

log = logging.getLogger("jupyterhub.oauth")

CODE_LIFE_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """The user must say yes first: what the page shows."""

    client: OAuthClient
    #: for the form
    allowed_scopes: Sequence[str]
    descriptions: Sequence[ScopeDescription]


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read about a request for authorization."""

    client: OAuthClient | None
    asking: consent.Asking | None = None
    #: None: not what the client may have
    scopes: tuple[str, ...] | None = None
    is_trusted: bool = False
    confirmed: Sequence[Sequence[str]] = ()


class OAuthProvider:
    def __init__(self, *, store: Store, settings: HubSettings, registry: ScopeRegistry, requesters: Requesters) -> None:
        self._store, self._settings, self._registry, self._requesters = store, settings, registry, requesters

    # -- the authorization endpoint

    async def ask(self, uri: str, *, user: User, session_id: str | None, say: Say = plainly) -> Redirect | Confirmation:
        """Answer a browser that comes from a client: on to it with a code or an error, or a question first.

        ``say`` gives the words of the question in the user's language.

        Invalid (400): the client or its redirect URI cannot be trusted. Denied: the user may not use what it leads to.
        """
        read = await self._read(uri, user, _query(uri).get("scope", "").split())
        if (problem := self._problem(uri, read)) is not None:
            return problem
        scopes = self._granted(read, user)
        assert read.client is not None
        assert read.asking is not None
        if consent.needs_confirmation(read.asking, scopes, is_trusted=read.is_trusted, confirmed=read.confirmed):
            allowed, descriptions = consent.shown(read.asking, scopes, say)
            return Confirmation(client=read.client, allowed_scopes=allowed, descriptions=descriptions)
        return await self._authorize(uri, read, scopes, user, session_id)

    async def confirm(self, uri: str, *, scopes: Sequence[str], user: User, session_id: str | None) -> Redirect:
        """Answer a user who has said yes to these scopes (none: to being known); errors as for ``ask``."""
        read = await self._read(uri, user, list(scopes) or [IDENTIFY])
        if (problem := self._problem(uri, read)) is not None:
            return problem
        return await self._authorize(uri, read, self._granted(read, user), user, session_id)

    async def _read(self, uri: str, user: User, names: Sequence[str]) -> _Read:
        client_id = _query(uri).get("client_id", "")
        async with self._store.read() as tx:
            client = await tx.oauth.find_client(client_id) if client_id else None
            if client is None:
                return _Read(None)
            issuer = await tx.oauth.issuer(client.identifier)
            user_scopes = await self._requesters.for_user(tx, user)
            asking = consent.Asking(
                user_name=user.name,
                user_scopes=user_scopes,
                client=issuer,
                allowed_scopes=client.allowed_scopes,
                groups_of=await groups_named_by(
                    tx, user_scopes.raw, client.allowed_scopes, names, _access_of(issuer), users=[user.name]
                ),
                registry=self._registry,
            )
            return _Read(
                client,
                asking,
                consent.asked_for(asking, names, await self._roles_named(tx, names)),
                await self._is_trusted(tx, issuer),
                await tx.tokens.given_to(client.identifier, user.id, utcnow()),
            )

    async def _roles_named(self, tx: Transaction, names: Sequence[str]) -> dict[str, Sequence[str]]:
        """Read the roles of these names, if one of them is no scope: early clients ask for roles."""
        if all(name == IDENTIFY or split(name)[0] in self._registry.definitions for name in names):
            return {}
        found = {name: await tx.roles.find(name) for name in dict.fromkeys(names)}
        return {name: role.scopes for name, role in found.items() if role is not None}

    async def _is_trusted(self, tx: Transaction, issuer: IssuingClient) -> bool:
        if issuer.service is None:
            return False
        service = await tx.services.find(issuer.service)
        return service is not None and bool(service.oauth_no_confirm)

    def _problem(self, uri: str, read: _Read) -> Redirect | None:
        """Judge the request; Invalid if nobody can be told but the person in front of it."""
        # oauthlib takes 50 ms to import: the first flow pays for it, not the start of the hub.
        from . import rfc6749

        try:
            return rfc6749.check_authorization(
                uri, read.client, scopes=read.scopes, pkce_required=self._settings.oauth_require_pkce
            )
        except rfc6749.BadClient as error:
            raise Invalid(
                f"The application that sent you here is not known, or asks for the wrong address: {error}"
            ) from error

    def _granted(self, read: _Read, user: User) -> tuple[str, ...]:
        """Say what the client gets of a request that is in order; Denied if the user may not use it at all."""
        asking, client = read.asking, read.client
        assert asking is not None
        assert client is not None
        if asking.client.server is None and asking.client.service is None:
            log.error("OAuth client %s belongs to no server and no service", client.identifier)
            raise HubError("This OAuth client belongs to nothing")
        if not consent.may_enter(asking):
            raise Denied(f"You do not have permission to access {client.description or client.identifier}")
        scopes, lost = consent.granted(asking, read.scopes or ())
        if lost:
            log.warning("%s does not hold what %s asks for: %s", user.name, client.identifier, ", ".join(lost))
        return scopes

    async def _authorize(
        self, uri: str, read: _Read, scopes: Sequence[str], user: User, session_id: str | None
    ) -> Redirect:
        from . import rfc6749  # late, as above

        redirect = rfc6749.authorize(
            uri,
            read.client,
            scopes=scopes,
            pkce_required=self._settings.oauth_require_pkce,
            user_id=user.id,
            session_id=session_id,
            expires_at=int(utcnow().timestamp()) + CODE_LIFE_S,
        )
        if redirect.code is not None:
            async with self._store.begin() as tx:
                await tx.oauth.create_code(redirect.code)
        return redirect

    # -- the token endpoint

    async def exchange(self, uri: str, body: str) -> TokenReply:
        """Give a client an access token for its code.

        The code is used up; of two that bring it at once one gets it. Whoever brings it later, and is the client, ends
        the token as well: one of the two is a thief (RFC 6749 §4.1.2).
        """
        from . import rfc6749  # late, as above

        form = {name: values[-1] for name, values in parse_qs(body, keep_blank_values=True).items()}
        client_id, code_text = form.get("client_id", ""), form.get("code", "")
        now = utcnow()
        async with self._store.read() as tx:
            client = await tx.oauth.find_client(client_id) if client_id and client_id != OWN_CLIENT else None
            code = await tx.oauth.find_code(client_id, code_text) if client and code_text else None
        client_is_proven = client is not None and _is_secret_of(client, form.get("client_secret", ""))
        if code is None and client_is_proven and code_text:
            await self._revoke_token_of(client_id, code_text)
        if code is not None and code.expires_at <= now.timestamp():
            code = None
        expires_in_s = self._settings.oauth_token_expires_in
        reply = rfc6749.exchange(
            uri,
            body,
            client,
            code,
            client_is_proven=client_is_proven,
            expires_in_s=expires_in_s,
            pkce_required=self._settings.oauth_require_pkce,
        )
        if reply.access_token is None:
            return reply
        assert code is not None
        try:
            async with self._store.begin() as tx:
                if not await tx.oauth.delete_code(code.client_id, code.code):
                    return rfc6749.refusal("invalid_grant")
                token = await tx.tokens.create(
                    "user",
                    code.user_id,
                    secret=reply.access_token,
                    scopes=code.scopes,
                    note="",
                    expires_at=now + timedelta(seconds=expires_in_s),
                    client_id=code.client_id,
                    session_id=code.session_id,
                )
                await tx.oauth.note_spent(code, token.id)
        except NotFound:
            # user or client were deleted a moment ago
            return rfc6749.refusal("invalid_grant")
        log.info("OAuth client %s was issued a token of user %d", code.client_id, code.user_id)
        return reply

    async def _revoke_token_of(self, client_id: str, code: str) -> None:
        async with self._store.begin() as tx:
            token_id = await tx.oauth.token_of_spent(client_id, code)
            if token_id is not None:
                await tx.tokens.delete(token_id)
                log.warning("a code of OAuth client %s came a second time: its token is revoked", client_id)


def _is_secret_of(client: OAuthClient, secret: str) -> bool:
    return bool(client.secret) and bool(secret) and secret_hash.secret_matches(client.secret, secret)


def _access_of(issuer: IssuingClient) -> list[str]:
    return [f"access:servers!server={issuer.server.scope_value}"] if issuer.server is not None else []


def _query(uri: str) -> dict[str, str]:
    try:
        return {name: values[-1] for name, values in parse_qs(urlsplit(uri).query, keep_blank_values=True).items()}
    except ValueError as error:
        raise Invalid("The address of this request cannot be read.") from error
