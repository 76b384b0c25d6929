"""Sign: the synchronous ORM of plugins. The classes live in ``hub/store/orm.py``; docs/plugins.md says when to use it.

``from jupyterhub.orm import Base`` gives the base of a plugin's own tables, ``X.find(db, name)`` rows of the hub.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    Table,
    Text,
    Unicode,
    UnicodeText,
    create_engine,
    event,
    inspect,
)
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session, backref, object_session, relationship, sessionmaker
from sqlalchemy.pool import StaticPool

from .hub.store import tables
from .hub.store.orm import (
    APIToken,
    Base,
    Group,
    JSONDict,
    JSONList,
    OAuthClient,
    OAuthCode,
    Role,
    Server,
    Service,
    Share,
    ShareCode,
    Spawner,
    User,
    get_class,
)
from .hub.store.schema import make_current_sync
from .utils import utcnow
from .words.errors import ConfigurationError as DatabaseSchemaMismatch


def new_session_factory(
    url: str = "sqlite:///:memory:", reset: bool = False, expire_on_commit: bool = False, **kwargs: Any
) -> Callable[[], Session]:
    """Open a database with an ordinary driver and give what makes Sessions; an empty one gets its tables.

    For scripts and tests: in a hub use the ``db`` that plugins are given.
    """
    if url.startswith("sqlite"):
        kwargs.setdefault("connect_args", {"check_same_thread": False})
        if url in ("sqlite://", "sqlite:///:memory:"):
            kwargs.setdefault("poolclass", StaticPool)
    engine = create_engine(url, **kwargs)
    if engine.dialect.name == "sqlite":
        register_foreign_keys(engine)
    with engine.begin() as connection:
        if reset:
            tables.metadata.drop_all(connection)
        make_current_sync(connection)
    return sessionmaker(bind=engine, expire_on_commit=expire_on_commit)


def check_db_revision(engine: Engine) -> None:
    """Refuse a database whose schema is not ours (``DatabaseSchemaMismatch``); an empty one gets its tables."""
    with engine.begin() as connection:
        make_current_sync(connection)


def register_foreign_keys(engine: Engine) -> None:
    """Have SQLite check references."""

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, record: Any) -> None:
        connection.execute("PRAGMA foreign_keys = ON")


__all__ = [
    "APIToken",
    "Base",
    "Boolean",
    "Column",
    "DatabaseSchemaMismatch",
    "DateTime",
    "Float",
    "ForeignKey",
    "Group",
    "Integer",
    "JSONDict",
    "JSONList",
    "LargeBinary",
    "OAuthClient",
    "OAuthCode",
    "Role",
    "Server",
    "Service",
    "Share",
    "ShareCode",
    "Spawner",
    "Table",
    "Text",
    "Unicode",
    "UnicodeText",
    "User",
    "backref",
    "check_db_revision",
    "get_class",
    "inspect",
    "new_session_factory",
    "object_session",
    "register_foreign_keys",
    "relationship",
    "utcnow",
]
