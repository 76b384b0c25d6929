"""What a server is given to prove who it is: an API token of its own and an OAuth client (singleuser.md §1).

Both are made at each start and end with the server. The token's text exists only in the Spawner object and in the
server's environment; the database has its hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jupyterhub.hub.store.store import Transaction
from jupyterhub.rbac.expand import IssuingClient, access_scopes
from jupyterhub.words.clock import utcnow
from jupyterhub.words.errors import Invalid
from jupyterhub.words.models import OAuthClient, User
from jupyterhub.words.names import ServerKey
from jupyterhub.words.secret_hash import hash_secret, new_token


@dataclass(frozen=True, slots=True)
class Credentials:
    api_token: str
    client_id: str
    #: the row of the token
    token_id: int


def token_note(server_path: str) -> str:
    """The note by which a server's own token is known, to us and to the original."""
    return f"Server at {server_path}"


async def issue(
    tx: Transaction,
    *,
    user: User,
    key: ServerKey,
    server_path: str,
    client_id: str,
    redirect_uri: str,
    scopes: Sequence[str],
    client_allowed_scopes: Sequence[str],
) -> Credentials:
    """Make a new token and set the OAuth client to it, in the caller's transaction."""
    api_token = new_token()
    note = token_note(server_path)
    token = await tx.tokens.create("user", user.id, secret=api_token, scopes=scopes, note=note)
    allowed = {*client_allowed_scopes, *access_scopes(IssuingClient(server=key))}
    await tx.oauth.save_client(
        OAuthClient(
            identifier=client_id,
            description=note,
            secret=hash_secret(api_token),
            redirect_uri=redirect_uri,
            allowed_scopes=sorted(allowed),
        )
    )
    return Credentials(api_token, client_id, token.id)


async def settle(tx: Transaction, given: Credentials, *, used: str, user_id: int, server_path: str) -> None:
    """Let the token that the server uses be its one token, in the caller's transaction.

    Others with its note end: the one that was ``given`` if the spawner resumed a server that has another, and those of
    starts that a hub did not live to finish. Invalid if the token belongs to somebody else.
    """
    note, keep = token_note(server_path), given.token_id
    if used != given.api_token:
        known = await tx.tokens.find_by_secret(used, utcnow())
        if known is None:
            like = await tx.tokens.find(given.token_id)
            scopes = like.scopes if like is not None else ()
            known = await tx.tokens.create("user", user_id, secret=used, scopes=scopes, note=note)
        elif (known.owner_kind, known.owner_id) != ("user", user_id):
            raise Invalid(f"The spawner gave the server at {server_path} a token that is {known.owner_name}'s.")
        client = await tx.oauth.find_client(given.client_id)
        if client is not None:
            await tx.oauth.save_client(replace(client, secret=hash_secret(used)))
        keep = known.id
    await tx.tokens.delete_with_note("user", user_id, note, keep=keep)


async def revoke(tx: Transaction, *, user_id: int, server_path: str, client_id: str) -> None:
    """End a server's token, its OAuth client, and with that all tokens issued to the client."""
    await tx.tokens.delete_with_note("user", user_id, token_note(server_path))
    await tx.oauth.delete_client(client_id)
