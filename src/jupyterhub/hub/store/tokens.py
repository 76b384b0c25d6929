"""Rows of API tokens, the hub's own and those issued by OAuth."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import bindparam, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from jupyterhub.words.clock import from_db, to_db, utcnow
from jupyterhub.words.errors import NotFound
from jupyterhub.words.models import Token, User
from jupyterhub.words.secret_hash import (
    GENERATED_ROUNDS,
    MAX_LENGTH,
    MIN_LENGTH,
    hash_secret,
    secret_matches,
    token_prefix,
)

from . import tables as t
from .hot import hot, hot_change
from .lists import MAX_ID

OwnerKind = Literal["user", "service"]

_tokens = t.api_tokens
_TOKEN = (
    select(
        _tokens.c.id,
        _tokens.c.user_id,
        _tokens.c.service_id,
        t.users.c.name.label("user_name"),
        t.services.c.name.label("service_name"),
        _tokens.c.scopes,
        _tokens.c.client_id,
        t.oauth_clients.c.description.label("client_description"),
        _tokens.c.session_id,
        _tokens.c.created,
        _tokens.c.expires_at,
        _tokens.c.last_activity,
        _tokens.c.note,
        _tokens.c.hashed,
    )
    .select_from(_tokens)
    .outerjoin(t.users, t.users.c.id == _tokens.c.user_id)
    .outerjoin(t.services, t.services.c.id == _tokens.c.service_id)
    .outerjoin(t.oauth_clients, t.oauth_clients.c.identifier == _tokens.c.client_id)
)
_ALIVE = or_(_tokens.c.expires_at.is_(None), _tokens.c.expires_at > bindparam("moment"))
#: with the user whose token it is: who comes with it is asked for at every request
_BY_PREFIX = hot(
    _TOKEN.add_columns(
        t.users.c.admin.label("user_admin"),
        t.users.c.created.label("user_created"),
        t.users.c.last_activity.label("user_last_activity"),
        t.users.c.cookie_id.label("user_cookie_id"),
        t.users.c.user_info,
    ).where(_tokens.c.prefix == bindparam("start"), _ALIVE)
)
_BY_ID = hot(_TOKEN.where(_tokens.c.id == bindparam("token_id")))
_GIVEN = hot(
    select(_tokens.c.scopes)
    .where(_tokens.c.user_id == bindparam("owner"), _tokens.c.client_id == bindparam("client"), _ALIVE)
    .distinct()
)
_TOUCH = hot_change(
    update(_tokens)
    .where(
        _tokens.c.id == bindparam("touched"),
        or_(_tokens.c.last_activity.is_(None), _tokens.c.last_activity < bindparam("seen")),
    )
    .values(last_activity=bindparam("seen"))
)
_ADD = {
    kind: hot_change(
        insert(_tokens),
        *(f"{kind}_id", "hashed", "prefix", "client_id", "session_id", "created", "expires_at", "note", "scopes"),
    )
    for kind in ("user", "service")
}
#: all of a user with one note but one
_DELETE_OTHERS = hot_change(
    delete(_tokens).where(
        _tokens.c.user_id == bindparam("owner"),
        _tokens.c.note == bindparam("noted"),
        _tokens.c.id != bindparam("kept"),
    )
)


def _token(row: Any) -> Token:
    of_user = row.user_id is not None
    return Token(
        id=row.id,
        owner_kind="user" if of_user else "service",
        owner_id=row.user_id if of_user else row.service_id,
        owner_name=row.user_name if of_user else row.service_name,
        scopes=row.scopes or [],
        client_id=row.client_id,
        client_description=row.client_description,
        session_id=row.session_id,
        created=from_db(row.created),
        expires_at=from_db(row.expires_at),
        last_activity=from_db(row.last_activity),
        note=row.note,
    )


def _owner(row: Any) -> User:
    return User(
        id=row.user_id,
        name=row.user_name,
        admin=bool(row.user_admin),
        created=from_db(row.user_created),
        last_activity=from_db(row.user_last_activity),
        cookie_id=row.user_cookie_id,
        user_info=row.user_info,
    )


def _of(kind: OwnerKind, owner_id: int) -> Any:
    return (_tokens.c.user_id if kind == "user" else _tokens.c.service_id) == owner_id


class Tokens:
    """Tokens within one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._db = connection

    async def find_by_secret(self, secret: str, now: datetime) -> Token | None:
        """Give the token that this secret is, if it has not expired."""
        found = await self.find_bearer(secret, now)
        return found[0] if found else None

    async def find_bearer(self, secret: str, now: datetime) -> tuple[Token, User | None] | None:
        """The same with the user who owns it; None in their place for a service."""
        if not MIN_LENGTH <= len(secret) <= MAX_LENGTH or not secret.isprintable():
            return None
        for row in await self._db.execute(_BY_PREFIX, {"start": token_prefix(secret), "moment": to_db(now)}):
            if secret_matches(row.hashed, secret):
                if row.user_name:
                    return _token(row), _owner(row)
                return (_token(row), None) if row.service_name else None
        return None

    async def find(self, token_id: int) -> Token | None:
        if token_id > MAX_ID:
            return None
        row = (await self._db.execute(_BY_ID, {"token_id": token_id})).first()
        return _token(row) if row else None

    async def list_of(self, owner_kind: OwnerKind, owner_id: int) -> list[Token]:
        return [
            _token(r) for r in await self._db.execute(_TOKEN.where(_of(owner_kind, owner_id)).order_by(_tokens.c.id))
        ]

    async def given_to(self, client_id: str, user_id: int, now: datetime) -> list[list[str]]:
        """The scopes that a user's tokens of an OAuth client have which are valid now, each set of them once."""
        rows = await self._db.execute(_GIVEN, {"owner": user_id, "client": client_id, "moment": to_db(now)})
        return [row.scopes or [] for row in rows]

    async def create(
        self,
        owner_kind: OwnerKind,
        owner_id: int,
        *,
        secret: str,
        rounds: int = GENERATED_ROUNDS,
        scopes: Sequence[str],
        note: str,
        expires_at: datetime | None = None,
        client_id: str = "jupyterhub",
        session_id: str | None = None,
    ) -> Token:
        """Add a token. Only its hash is kept. NotFound if its owner or client has been deleted meanwhile."""
        row = {
            f"{owner_kind}_id": owner_id,
            "hashed": hash_secret(secret, rounds=rounds),
            "prefix": token_prefix(secret),
            "client_id": client_id,
            "session_id": session_id,
            "created": to_db(utcnow()),
            "expires_at": to_db(expires_at),
            "note": note[:1023],
            "scopes": [*scopes],
        }
        try:
            result = await self._db.execute(_ADD[owner_kind], row)
        except IntegrityError as error:
            # Salted hashes do not meet, so it is what the row refers to.
            raise NotFound(f"The {owner_kind} of the new token, or its OAuth client, is gone.") from error
        assert result.inserted_primary_key is not None
        created = await self.find(result.inserted_primary_key[0])
        assert created is not None
        return created

    async def delete(self, token_id: int) -> None:
        await self._db.execute(delete(_tokens).where(_tokens.c.id == token_id))

    async def delete_of_client(self, user_id: int, client_id: str) -> int:
        """Remove all tokens of a user that one OAuth client was issued; give how many."""
        return await self._delete(_tokens.c.user_id == user_id, _tokens.c.client_id == client_id)

    async def delete_of_session(self, user_id: int, session_id: str) -> int:
        """Remove the tokens that a browser session gave to servers and services; give how many."""
        return await self._delete(_tokens.c.user_id == user_id, _tokens.c.session_id == session_id)

    async def delete_of_other_sessions(self, user_id: int, session_id: str | None) -> int:
        """Remove the tokens that all browser sessions but this one gave to servers and services; give how many."""
        others = _tokens.c.session_id.is_distinct_from(session_id)
        return await self._delete(_tokens.c.user_id == user_id, _tokens.c.session_id.is_not(None), others)

    async def delete_with_note(
        self, owner_kind: OwnerKind, owner_id: int, note: str, *, keep: int | None = None
    ) -> int:
        """Remove the tokens with this note, but for the one with the number ``keep``; give how many."""
        if owner_kind == "user" and keep is not None:
            others = {"owner": owner_id, "noted": note, "kept": keep}
            return int((await self._db.execute(_DELETE_OTHERS, others)).rowcount)
        kept = () if keep is None else (_tokens.c.id != keep,)
        return await self._delete(_of(owner_kind, owner_id), _tokens.c.note == note, *kept)

    async def delete_others_with_note(self, note: str, kept: Collection[int]) -> int:
        """Remove the tokens with this note, whoever's they are, but for the rows in ``kept``; give how many."""
        rows = await self._db.execute(select(_tokens.c.id).where(_tokens.c.note == note))
        gone = [token_id for token_id in rows.scalars() if token_id not in kept]
        return await self._delete(_tokens.c.id.in_(gone)) if gone else 0

    async def delete_expired(self, now: datetime) -> int:
        return await self._delete(_tokens.c.expires_at.is_not(None), _tokens.c.expires_at <= to_db(now))

    async def touch(self, token_id: int, when: datetime) -> None:
        await self._db.execute(_TOUCH, {"touched": token_id, "seen": to_db(when)})

    async def touch_many(self, seen: Iterable[tuple[int, datetime]]) -> None:
        # in one order on all hubs: see Users.touch_many
        rows = [{"touched": token_id, "seen": to_db(when)} for token_id, when in sorted(seen)]
        if rows:
            await self._db.execute(_TOUCH, rows)

    async def _delete(self, *conditions: Any) -> int:
        return (await self._db.execute(delete(_tokens).where(*conditions))).rowcount
