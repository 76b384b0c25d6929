"""The synchronous ``db`` of plugins: a SQLAlchemy Session on the store's own engine (plugin-api.md §8).

The hub itself never uses it; nothing of it exists until a plugin asks. In a plugin's code that the hub has called
(``waiting.run``) its statements wait as ours do. One section of plain code is one transaction: what a plugin has not
committed when it waits for something, or returns, is committed then, and rolled back if it has raised. Sections take
turns; on SQLite also with the hub's own writes, because that has one writer.

Outside of such code (tasks and callbacks of the plugin's own, tests of plugins) a second Session with an ordinary
driver blocks the whole hub for as long as its statement takes, and fails when it waits for a lock that a coroutine of
this process holds. It is logged once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from sqlalchemy import URL, create_engine, event
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import ORMExecuteState, Session, scoped_session, sessionmaker

from jupyterhub.words.errors import ConfigurationError

from . import waiting
from .engine import is_memory
from .store import Store

log = logging.getLogger("jupyterhub.plugins")

#: how long the second Session waits for a lock; the event loop stands still meanwhile
BLOCKING_LOCK_S = 2

#: synchronous drivers by kind of database, the first that is installed counts
_DRIVERS = {
    "sqlite": ("pysqlite",),
    "postgresql": ("psycopg2", "psycopg"),
    "mysql": ("pymysql", "mysqldb"),
    "mariadb": ("pymysql", "mysqldb"),
}


def legacy_session(store: Store) -> scoped_session[Session]:
    """Make the ``db`` of a hub; it opens nothing before it is used."""
    return _Database(store).session


class _Database:
    """Chooses between the two Sessions and keeps the sections of the first one apart.

    For ``scoped_session`` it is the registry that knows which Session is meant.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = store.one_writer or asyncio.Lock()
        self._waits = self._make_waiting()
        self._blocks: Session | None = None
        #: as SQLAlchemy's own registry of sessions: everything that is asked of it is asked of the right one
        self.session = scoped_session(sessionmaker())
        self.session.registry = self  # type: ignore[assignment]

    def __call__(self) -> Session:
        if waiting.can_wait():
            self._enter()
            return self._waits
        if self._blocks is None:
            log.warning(
                "a plugin uses the database outside of what the hub has called: this blocks the hub (docs/plugins.md)"
            )
            self._blocks = blocking_sessions(self._store.engine.url)()
        return self._blocks

    def has(self) -> bool:
        return True

    def set(self, session: Session) -> None:
        raise RuntimeError("the session of the hub is not to be replaced")

    def clear(self) -> None:
        """Nothing: the hub's Sessions live as long as it does."""

    # -- the Session that waits

    def _make_waiting(self) -> Session:
        engine: AsyncEngine = self._store.engine
        if self._store.one_writer is not None:
            engine = engine.execution_options(writes=True)
        session = Session(engine.sync_engine, expire_on_commit=False)
        read_fresh(session)
        event.listen(session, "do_orm_execute", lambda state: self._enter())
        event.listen(session, "before_flush", lambda session, context, instances: self._enter())
        return session

    def _enter(self) -> None:
        """Begin a section, unless this one has begun: wait for the turn, and see to it that it ends."""
        if not waiting.can_wait() or waiting.section_has(self):
            return
        waiting.wait_in_section(self._lock.acquire())
        waiting.at_end_of_section(self, self._leave)

    def _leave(self, failed: bool) -> None:
        session = self._waits
        try:
            if failed:
                session.rollback()
            else:
                session.commit()
        except BaseException:
            session.rollback()
            raise
        finally:
            self._lock.release()


def read_fresh(session: Session) -> None:
    """Let queries give what the rows say now, also for objects that the Session knows: others write them too."""

    @event.listens_for(session, "do_orm_execute")
    def populate(state: ORMExecuteState) -> None:
        if state.is_select and not (state.is_column_load or state.is_relationship_load):
            state.update_execution_options(populate_existing=True)


def blocking_sessions(url: URL) -> Callable[[], Session]:
    """Make Sessions with an ordinary driver on the database of ``url``; ConfigurationError if there is none."""
    engine = _blocking_engine(url)

    def make() -> Session:
        session = Session(engine, expire_on_commit=False)
        read_fresh(session)
        return session

    return make


def _blocking_engine(url: URL) -> Engine:
    backend = url.get_backend_name()
    if is_memory(url):
        raise ConfigurationError(
            "A plugin uses the database outside of what the hub has called, and a database in memory has only one "
            "connection, which is in use. Set c.JupyterHub.db_url to a file."
        )
    for driver in _DRIVERS[backend]:
        try:
            options: dict[str, Any] = {"connect_args": {"timeout": BLOCKING_LOCK_S}} if backend == "sqlite" else {}
            engine = create_engine(url.set(drivername=f"{backend}+{driver}"), **options)
        except ModuleNotFoundError:
            continue
        if backend == "sqlite":

            @event.listens_for(engine, "connect")
            def on_connect(connection: Any, record: Any) -> None:
                connection.execute("PRAGMA foreign_keys = ON")

        return engine
    raise ConfigurationError(
        "A plugin uses the database outside of what the hub has called. That needs a driver that blocks, one of: "
        f"{', '.join(_DRIVERS[backend])}."
    )
