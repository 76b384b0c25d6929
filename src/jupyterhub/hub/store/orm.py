"""The tables as mapped classes, under the names and with the methods that plugins know as ``jupyterhub.orm``.

For the synchronous ``db`` only (``legacy_session.py``): the hub's own rooms never touch these. The tables are those of
``tables.py``; tables that plugins declare on ``Base`` join them, and are theirs to create.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import or_
from sqlalchemy.orm import DeclarativeBase, backref, object_session, relationship

from jupyterhub.rbac.scopes import ScopeRegistry, check_scopes_exist
from jupyterhub.words import models
from jupyterhub.words.clock import from_db, to_db, utcnow
from jupyterhub.words.names import ServerKey
from jupyterhub.words.secret_hash import (
    CHOSEN_ROUNDS,
    GENERATED_ROUNDS,
    hash_secret,
    new_token,
    secret_matches,
    token_prefix,
)

from . import tables as t
from .oauth import HUB_CLIENT


class Base(DeclarativeBase):
    """What plugins declare tables of their own on; references to the hub's tables are found."""

    metadata = t.metadata

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...  # the columns


JSONDict = JSONList = t.JsonText


class _Named(Base):
    """Rows that are found by their name."""

    __abstract__ = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {getattr(self, 'name', '?')!r}>"

    @classmethod
    def find(cls, db: Any, name: str) -> Self | None:
        found: Self | None = db.query(cls).filter_by(name=name).first()
        return found


class Server(Base):
    __table__ = t.servers


class Role(_Named):
    __table__ = t.roles


class Group(_Named):
    __table__ = t.groups
    kind = "group"

    roles = relationship(Role, secondary=t.group_role_map, backref="groups")


class User(_Named):
    __table__ = t.users
    kind = "user"

    groups = relationship(Group, secondary=t.user_group_map, backref="users")
    roles = relationship(Role, secondary=t.user_role_map, backref="users")
    api_tokens = relationship("APIToken", back_populates="user", cascade="all, delete-orphan", passive_deletes=True)
    oauth_codes = relationship("OAuthCode", backref="user", cascade="all, delete-orphan", passive_deletes=True)
    _orm_spawners = relationship("Spawner", back_populates="user", cascade="all, delete-orphan", passive_deletes=True)

    def __init__(self, **values: Any) -> None:
        values.setdefault("cookie_id", new_token())
        values.setdefault("created", to_db(utcnow()))
        super().__init__(**values)

    @property
    def orm_spawners(self) -> dict[str, Spawner]:
        return {spawner.name: spawner for spawner in self._orm_spawners}

    def new_api_token(self, token: str | None = None, **kwargs: Any) -> str:
        """Add a token and give its text, which is kept nowhere. Scopes must exist; ``roles`` means their scopes."""
        return APIToken.new(token=token, user=self, **kwargs)


class OAuthClient(Base):
    __table__ = t.oauth_clients

    @property
    def client_id(self) -> str | None:
        identifier: str | None = self.identifier
        return identifier


class Spawner(Base):
    __table__ = t.spawners

    user = relationship(User, back_populates="_orm_spawners")
    server = relationship(Server, backref=backref("spawner", uselist=False))
    oauth_client = relationship(OAuthClient, backref=backref("spawner", uselist=False))


class Service(_Named):
    __table__ = t.services
    kind = "service"

    server = relationship(Server, backref=backref("service", uselist=False))
    roles = relationship(Role, secondary=t.service_role_map, backref="services")
    oauth_client = relationship(OAuthClient, backref=backref("service", uselist=False))
    api_tokens = relationship("APIToken", back_populates="service", cascade="all, delete-orphan", passive_deletes=True)

    def new_api_token(self, token: str | None = None, **kwargs: Any) -> str:
        return APIToken.new(token=token, service=self, **kwargs)


class _Hashed(Base):
    """Rows that are found by a secret of which they hold the hash."""

    __abstract__ = True

    @property
    def token(self) -> None:
        raise AttributeError("the text of a token is not kept")

    def match(self, token: str) -> bool:
        return secret_matches(self.hashed, token)

    @classmethod
    def _find(cls, db: Any, token: str) -> Self | None:
        candidates = db.query(cls).filter(
            cls.__table__.c.prefix == token_prefix(token),
            or_(cls.__table__.c.expires_at.is_(None), cls.__table__.c.expires_at > to_db(utcnow())),
        )
        found: Self
        for found in candidates:
            if found.match(token):
                return found
        return None


class APIToken(_Hashed):
    __table__ = t.api_tokens

    user = relationship(User, back_populates="api_tokens")
    service = relationship(Service, back_populates="api_tokens")
    oauth_client = relationship(OAuthClient, backref="access_tokens")

    @property
    def owner(self) -> User | Service | None:
        owner: User | Service | None = self.user or self.service
        return owner

    @classmethod
    def find(cls, db: Any, token: str, *, kind: str | None = None) -> APIToken | None:
        """Give the row of a token that is valid now; ``kind`` says whose it must be, "user" or "service"."""
        found = cls._find(db, token)
        return None if found is None or (kind and (found.owner is None or found.owner.kind != kind)) else found

    @classmethod
    def new(
        cls,
        token: str | None = None,
        *,
        user: User | None = None,
        service: Service | None = None,
        roles: Iterable[str | Role] | None = None,
        scopes: Iterable[str] | None = None,
        note: str = "",
        generated: bool = True,
        session_id: str | None = None,
        expires_in: float | None = None,
        client_id: str | None = None,
        oauth_client: OAuthClient | None = None,
    ) -> str:
        """Add a token and give its text, which is kept nowhere. Without roles and scopes it inherits its owner's."""
        owner = user if user is not None else service
        if owner is None or (user is not None and service is not None):
            raise ValueError("a token belongs to a user or to a service")
        db = object_session(owner)
        if db is None:
            raise ValueError(f"{owner!r} belongs to no session")
        if roles is not None and scopes is not None:
            raise ValueError("a token has roles or scopes, not both")
        written = (
            _scopes_of_roles(db, roles) if roles is not None else list(scopes if scopes is not None else ["inherit"])
        )
        check_scopes_exist(written, ScopeRegistry.default().with_custom(_custom_scopes))
        if client_id is None:
            client_id = oauth_client.identifier if oauth_client is not None else HUB_CLIENT
        if client_id == HUB_CLIENT and not db.query(OAuthClient).filter_by(identifier=HUB_CLIENT).count():
            db.add(OAuthClient(identifier=HUB_CLIENT, secret=""))  # a database that no hub has started with yet
            db.flush()
        secret = token or new_token()
        row = cls(
            hashed=hash_secret(secret, rounds=GENERATED_ROUNDS if token is None or generated else CHOSEN_ROUNDS),
            prefix=token_prefix(secret),
            client_id=client_id,
            session_id=session_id,
            created=to_db(utcnow()),
            expires_at=to_db(utcnow() + timedelta(seconds=expires_in)) if expires_in is not None else None,
            note=note,
            scopes=written,
        )
        owner.api_tokens.append(row)
        db.add(row)
        db.commit()
        return secret


#: custom scopes of the deployment, set where the hub is built
_custom_scopes: dict[str, Any] = {}


def use_custom_scopes(custom: Any) -> None:
    """Tell token-making plugins which custom scopes there are."""
    _custom_scopes.clear()
    _custom_scopes.update(custom)


def _scopes_of_roles(db: Any, roles: Iterable[str | Role]) -> list[str]:
    found: list[str] = []
    for role in roles:
        row = role if isinstance(role, Role) else Role.find(db, role)
        if row is None:
            raise ValueError(f"there is no role {role!r}")
        found += row.scopes or []
    return sorted(set(found))


class OAuthCode(Base):
    __table__ = t.oauth_codes

    client = relationship(OAuthClient, backref="codes")


class Share(Base):
    __table__ = t.shares

    user = relationship(User, foreign_keys=[t.shares.c.user_id], backref="shared_with_me")
    group = relationship(Group, backref="shared_with_me")
    owner = relationship(User, foreign_keys=[t.shares.c.owner_id], backref="shares")
    spawner = relationship(Spawner, backref="shares")


class ShareCode(_Hashed):
    __table__ = t.share_codes

    owner = relationship(User, backref="share_codes")
    spawner = relationship(Spawner, backref="share_codes")

    @classmethod
    def find(cls, db: Any, code: str, *, spawner: Spawner | None = None) -> ShareCode | None:
        found = cls._find(db, code)
        return None if found is None or (spawner is not None and found.spawner is not spawner) else found


_KINDS: dict[str, type[Any]] = {
    "users": User,
    "services": Service,
    "tokens": APIToken,
    "groups": Group,
    "shares": Share,
    "share_codes": ShareCode,
}


def get_class(kind: str) -> type[Any]:
    """Give the class of ``users``, ``services``, ``tokens``, ``groups``, ``shares`` or ``share_codes``."""
    try:
        return _KINDS[kind if kind.endswith("s") else f"{kind}s"]
    except KeyError:
        raise ValueError(f"kind must be one of {', '.join(_KINDS)}, not {kind!r}") from None


# -- to what the hub's rooms speak of


def user_of(row: User) -> models.User:
    """Give the model of a user; the row is written first if it is new."""
    if row.id is None and (db := object_session(row)) is not None:
        db.flush()
    return models.User(
        id=row.id,
        name=row.name,
        admin=bool(row.admin),
        created=from_db(row.created),
        last_activity=from_db(row.last_activity),
        cookie_id=row.cookie_id,
        user_info=row.user_info,
    )


def server_of(user: User, name: str) -> models.Server | None:
    """Give the model of a user's server, as far as the original's tables tell; None if there is no row of this name.

    Everybody has a default server, with or without a row.
    """
    key = ServerKey(user.name, name)
    never_started = models.Server.never_started(key, user.id)
    row = user.orm_spawners.get(name)
    if row is None:
        return None if name else never_started
    where = row.server
    return replace(
        never_started,
        id=row.id,
        display_name=row.display_name,
        started=from_db(row.started),
        last_activity=from_db(row.last_activity),
        user_options=row.user_options,
        state=row.state,
        oauth_client_id=row.oauth_client_id,
        endpoint=None
        if where is None
        else models.Endpoint(proto=where.proto, ip=where.ip, port=where.port or 0, base_url=where.base_url),
    )
