"""The schema of a database: is it ours, make it, bring it up to date.

The original keeps its revision in ``alembic_version``; ours is in ``jhx_own_schema`` and is brought forward by itself
at each opening, because it only ever adds. Alembic is loaded to upgrade and at no other time: a start shall not wait
for it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from jupyterhub.words.errors import ConfigurationError

from . import tables as t
from .engine import async_url, check_path, is_memory, make_engine

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"

#: how long an upgrade of PostgreSQL waits for a table that is in use
LOCK_TIMEOUT_S = 30

#: number of the advisory lock around changes of the schema; any constant that nobody else uses in this database
_SCHEMA_LOCK = 0x6A68_7833

#: tells a database of the original from an empty one or one of another program
_THEIRS = "users"


async def make_current(connection: AsyncConnection) -> None:
    """Give an empty database its tables and any current one ours; ConfigurationError for one that must be upgraded."""
    await connection.run_sync(make_current_sync)


def make_current_sync(connection: Connection) -> None:
    """The same over an ordinary driver, for scripts and tests of plugins."""
    _one_hub_at_a_time(connection)
    present = set(inspect(connection).get_table_names())
    if _THEIRS not in present:
        t.metadata.create_all(connection)
        connection.execute(insert(t.alembic_version).values(version_num=t.HEAD))
        connection.execute(insert(t.own_schema).values(version=t.OWN_VERSION))
        return
    found = _revision(connection, present)
    if found != t.HEAD:
        raise ConfigurationError(
            f"The database has schema revision {found or '(none)'}, this hub needs {t.HEAD}. Run `jupyterhub "
            "upgrade-db` with the same configuration; it makes a copy of an SQLite database first. (If the database is "
            "newer than this hub, install a newer hub instead.)"
        )
    _add_ours(connection, present)


def _one_hub_at_a_time(connection: Connection) -> None:
    """Let hubs that start at once look at the schema and change it one after the other; SQLite has one writer."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_SCHEMA_LOCK)))


def _add_ours(connection: Connection, present: set[str]) -> None:
    if t.own_schema.name in present:
        version = connection.execute(select(t.own_schema.c.version)).scalar()
        if version is not None and version > t.OWN_VERSION:
            raise ConfigurationError(
                f"The database was used by a newer hub (its own tables have version {version}, this hub knows "
                f"{t.OWN_VERSION}). Install a hub that is at least as new."
            )
        if version == t.OWN_VERSION:
            return
    t.metadata.create_all(connection, tables=list(t.OWN_TABLES))
    for index in t.OWN_INDEXES:
        index.create(connection, checkfirst=True)
    connection.execute(t.own_schema.delete())
    connection.execute(insert(t.own_schema).values(version=t.OWN_VERSION))


def _revision(connection: Connection, present: set[str]) -> str | None:
    if t.alembic_version.name not in present:
        return None
    return connection.execute(select(t.alembic_version.c.version_num)).scalar()


async def drop_all(connection: AsyncConnection) -> None:
    """Drop all tables of ours and of the original (``JupyterHub.reset_db``)."""
    await connection.run_sync(t.metadata.drop_all)


async def upgrade(db_url: str, *, engine_options: Mapping[str, Any] | None = None) -> Path | None:
    """Bring a database up to date; give the copy that was made before, None if nothing had to be done or copied.

    All steps are one transaction (but MySQL has none for its schema): when one fails, the database is as it was.

    Raises:
        ConfigurationError: it cannot be opened or changed, or its revision is unknown, or too old for the steps that
            this hub has.
    """
    url = async_url(db_url)
    if url.get_backend_name() == "sqlite" and not is_memory(url):
        check_path(url)
    engine = make_engine(url, echo=False, options=dict(engine_options or {}), foreign_keys=False)
    try:
        return await _upgrade(engine)
    except (DBAPIError, OSError) as error:
        raise ConfigurationError(
            f"The database {url.render_as_string(hide_password=True)} cannot be upgraded: "
            f"{getattr(error, 'orig', None) or error}. Nothing was changed. Stop everything that uses it, check "
            "c.JupyterHub.db_url, and try again."
        ) from error
    finally:
        await engine.dispose()


async def _upgrade(engine: AsyncEngine) -> Path | None:
    async with engine.connect() as connection:
        present = set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))
        found = await connection.run_sync(_revision, present)
    if _THEIRS not in present or found == t.HEAD:
        async with engine.execution_options(writes=True).begin() as connection:
            await make_current(connection)
        return None
    config = _alembic_config()
    _check_known(config, found)
    backup = None
    if engine.url.get_backend_name() == "sqlite" and engine.url.database:
        backup = _copy(Path(engine.url.database))
    async with engine.execution_options(writes=True).begin() as connection:
        await connection.run_sync(_run_steps, config)
        await make_current(connection)
    return backup


def _copy(path: Path) -> Path:
    """Copy the database beside itself, with what is in its journal still, and with its mode: it holds hashes."""
    backup = path.with_name(f"{path.name}.{datetime.now():%Y-%m-%d-%H%M%S}")
    while backup.exists():  # from an attempt that failed in the same second
        backup = backup.with_name(backup.name + "-again")
    os.close(os.open(backup, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(backup)) as copy:
        source.backup(copy)
    shutil.copymode(path, backup)
    return backup


def _alembic_config() -> Config:
    from alembic.config import Config  # only to upgrade: see above

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def _check_known(config: Config, found: str | None) -> None:
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    scripts = ScriptDirectory.from_config(config)
    oldest = scripts.get_base()
    try:
        known = found is not None and scripts.get_revision(found) is not None
    except CommandError:
        known = False
    if not known:
        raise ConfigurationError(
            f"The database has schema revision {found or '(none)'}, which this hub cannot upgrade: the oldest it knows "
            f"is {oldest} (JupyterHub 4.0), the newest {t.HEAD}. Upgrade an older one with JupyterHub 4 first; a newer "
            "one needs a newer hub."
        )


def _run_steps(connection: Connection, config: Config) -> None:
    from alembic import command

    if connection.dialect.name == "postgresql":
        # A hub that still runs holds locks on its tables; waiting for it for ever would stop everybody else as well.
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'"))
    _one_hub_at_a_time(connection)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
