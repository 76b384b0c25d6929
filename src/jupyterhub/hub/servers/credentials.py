"""What a server is given to prove who it is: an API token of its own and an OAuth client (singleuser.md §1).

Both are made at each start and end with the server. The token's text exists only in the Spawner object and in the
server's environment; the database has its hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jupyterhub.hub.store.store import Transaction
from jupyterhub.rbac.expand import IssuingClient, access_scopes
from jupyterhub.words.models import OAuthClient, User
from jupyterhub.words.names import ServerKey
from jupyterhub.words.secret_hash import hash_secret, new_token


@dataclass(frozen=True, slots=True)
class Credentials:
    api_token: str
    client_id: str


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
    # the token of a start that a hub did not live to finish
    await tx.tokens.delete_with_note("user", user.id, note)
    await tx.tokens.create("user", user.id, secret=api_token, scopes=scopes, note=note)
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
    return Credentials(api_token, client_id)


async def revoke(tx: Transaction, *, user_id: int, server_path: str, client_id: str) -> None:
    """End a server's token, its OAuth client, and with that all tokens issued to the client."""
    await tx.tokens.delete_with_note("user", user_id, token_note(server_path))
    await tx.oauth.delete_client(client_id)
