"""Engines: which driver a database URL gets, and how connections to each kind of database are set up."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sqlalchemy import URL, ExceptionContext, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

from jupyterhub.words.errors import ConfigurationError, Invalid

from . import inline

_ASYNC_DRIVERS = {
    "sqlite": inline.DRIVER,
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
    "mysql": "mysql+aiomysql",
    "mariadb": "mariadb+aiomysql",
}
_EXTRAS = {"asyncpg": "postgres", "aiomysql": "mysql"}


def async_url(db_url: str) -> URL:
    """Give the URL with the async driver of its database; a text without ``://`` is the path of an SQLite file."""
    if "://" not in db_url:
        db_url = f"sqlite:///{db_url}"
    try:
        url = make_url(db_url)
    except ArgumentError as error:
        raise ConfigurationError(
            f"c.JupyterHub.db_url is no database URL: {db_url!r}. Use for example sqlite:///jupyterhub.sqlite or "
            "postgresql://user:password@host/database."
        ) from error
    driver = _ASYNC_DRIVERS.get(url.get_backend_name())
    if driver is None:
        raise ConfigurationError(
            f"c.JupyterHub.db_url names a database that is not supported: {url.get_backend_name()}. Use sqlite, "
            "postgresql, mysql or mariadb."
        )
    url = url.set(drivername=driver)
    return _for_asyncpg(url) if driver == "postgresql+asyncpg" else url


def _for_asyncpg(url: URL) -> URL:
    """Turn what libpq understands in a URL into what asyncpg does; people keep the URL that they had."""
    query = dict(url.query)
    for libpq, asyncpg in (("sslmode", "ssl"), ("connect_timeout", "timeout")):
        if libpq in query:
            query.setdefault(asyncpg, query.pop(libpq))
    return url.set(query=query)


def make_engine(url: URL, *, echo: bool, options: dict[str, Any], foreign_keys: bool = True) -> AsyncEngine:
    """Make the engine of a store; ConfigurationError when its driver is not installed or its file cannot be there.

    ``foreign_keys`` False is for changing the schema: SQLite alters a table by dropping the old one, and that would
    take all rows with it that refer to it.
    """
    settings: dict[str, Any] = {"echo": echo, **options}
    if url.get_backend_name() == "sqlite":
        if is_memory(url):
            # one connection for all, or each would have an empty database of its own
            settings |= {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
        else:
            check_path(url)
            if "poolclass" not in settings:
                # As many as there are transactions at once: waiting for a free one would stop everybody.
                settings |= {"pool_size": 4, "max_overflow": -1}
    else:
        settings.setdefault("pool_pre_ping", True)
        # What the repositories rely on: who has waited for a row sees what the other has written. MySQL has another
        # level unless told, and an administrator may have given PostgreSQL one.
        settings.setdefault("isolation_level", "READ COMMITTED")
    try:
        engine = create_async_engine(url, **settings)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(error.name or "", error.name)
        raise ConfigurationError(
            f"c.JupyterHub.db_url needs the package {error.name}: pip install 'jupyterhub[{extra}]'"
        ) from error
    if url.get_backend_name() == "sqlite":
        inline.prepare(engine, memory=is_memory(url), foreign_keys=foreign_keys)
    event.listen(engine.sync_engine, "handle_error", _refuse_what_cannot_be_held)
    return engine


#: SQLSTATE of values that the database cannot hold: too long, out of range, NUL or other bytes that are no text
_UNFIT = frozenset({"22001", "22003", "22021", "22P05"})


def _refuse_what_cannot_be_held(context: ExceptionContext) -> None:
    """Turn the error about a value that no row can hold into Invalid: it came with a request, and is its fault.

    Also where it is only looked for: PostgreSQL refuses a name with a NUL in it, SQLite a number of more than 64 bits.
    """
    error = context.original_exception
    # asyncpg tells of a value that it cannot encode by an error of its own, whose cause says what was wrong with it
    first = getattr(error.__cause__, "__cause__", None) or error
    too_long_for_mysql = getattr(error, "args", (None,))[:1] in ((1406,), (1264,), (1366,))
    if (
        isinstance(first, UnicodeEncodeError | OverflowError)
        or getattr(error, "sqlstate", None) in _UNFIT
        or too_long_for_mysql
    ):
        raise Invalid("The request has a text or a number that the database cannot hold.") from error


def is_memory(url: URL) -> bool:
    return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")


def check_path(url: URL) -> None:
    """Say what is wrong with the path of an SQLite database before SQLite says less."""
    path = Path(url.database or "").absolute()
    if not path.parent.is_dir():
        raise ConfigurationError(
            f"The database {path} cannot be opened: the folder {path.parent} does not exist. Create it, or change "
            "c.JupyterHub.db_url."
        )
    if path.is_dir():
        raise ConfigurationError(f"The database {path} is a folder. Change c.JupyterHub.db_url to a file in it.")
    unwritable = path if path.exists() and not os.access(path, os.W_OK) else path.parent
    if not os.access(unwritable, os.W_OK):
        raise ConfigurationError(
            f"The database {path} cannot be written: this user (uid {os.geteuid()}) may not write to {unwritable}. "
            "Change its owner or mode, or c.JupyterHub.db_url."
        )
