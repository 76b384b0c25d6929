"""SQLite in the event loop's own thread.

A call into SQLite takes some ten microseconds, and handing it to another thread and back takes hundreds: eight such
hops per transaction were most of what a request cost. So statements run where they are asked for. What could take
long is waiting for another program's lock, and that is done by trying again, with the event loop free in between.

With nothing to wait for there is nothing to cancel either: a statement is never torn (see ``steady.py``).
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import AsyncAdaptedQueuePool, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncTransaction
from sqlalchemy.pool import Pool
from sqlalchemy.util import await_only, greenlet_spawn

from .hot import Plans
from .steady import refuse_to_write

T = TypeVar("T")

#: how long a transaction waits for another program's, in seconds
BUSY_TIMEOUT_S = 10.0
#: seconds between two tries
RETRY_S = 0.02
#: connections that stay open when nobody uses them
HANDLES_KEPT = 8

DRIVER = "sqlite+inline"


class InlineDialect(SQLiteDialect_pysqlite):
    """The standard library's driver, for an asynchronous engine whose calls do not wait."""

    driver = "inline"
    is_async = True
    supports_statement_cache = True

    @classmethod
    def get_pool_class(cls, url: URL) -> type[Pool]:
        return AsyncAdaptedQueuePool


registry.register("sqlite.inline", __name__, "InlineDialect")


def is_busy(error: BaseException) -> bool:
    """Say whether SQLite refused something because another connection holds a lock."""
    error = getattr(error, "orig", None) or error
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


async def patiently(step: Callable[[], T]) -> T:
    """Take a step, again and again while another program holds the lock; at the end its error."""
    deadline = None
    while True:
        try:
            return step()
        except (OperationalError, sqlite3.OperationalError) as error:
            now = time.monotonic()
            deadline = deadline or now + BUSY_TIMEOUT_S
            if not is_busy(error) or now >= deadline:
                raise
        await asyncio.sleep(RETRY_S)


class Handles:
    """Connections that are open and not in use: each way out of SQLAlchemy's pool and back costs more than a query.

    There are as many as there were transactions at once; waiting for a free one would stop everybody.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._free: list[tuple[Connection, sqlite3.Connection]] = []
        self._watching: tuple[Connection, sqlite3.Connection] | None = None
        self.plans = Plans(engine.dialect)

    async def take(self) -> tuple[Connection, sqlite3.Connection]:
        if self._free:
            return self._free.pop()
        # a greenlet, since SQLAlchemy sets the first connection of a pool up under an asynchronous lock
        connection = await greenlet_spawn(self._engine.sync_engine.connect)
        raw: Any = connection.connection.dbapi_connection
        return connection, raw

    def give_back(self, connection: Connection, raw: sqlite3.Connection) -> None:
        """End what is left of the transaction, and keep the connection for the next."""
        if connection.in_transaction():
            connection.rollback()
        elif raw.in_transaction:
            raw.rollback()
        if connection.invalidated or len(self._free) >= HANDLES_KEPT:
            connection.close()
        else:
            self._free.append((connection, raw))

    async def watch(self) -> None:
        """Keep a connection apart that never writes, to see the commits of all others."""
        self._watching = await self.take()

    def version(self) -> int | None:
        """Give a number that is another one after each commit of anybody; None if nobody watches."""
        if self._watching is None:
            return None
        [[version]] = self._watching[1].execute("PRAGMA data_version").fetchall()
        return int(version)

    def close(self) -> None:
        if self._watching is not None:
            self._free.append(self._watching)
            self._watching = None
        while self._free:
            self._free.pop()[0].close()

    @property
    def is_watched(self) -> bool:
        """Somebody wants to see each statement: a test that counts them, or the log."""
        engine = self._engine.sync_engine
        return bool(engine.dispatch.before_cursor_execute or engine.dispatch.after_cursor_execute or engine.echo)


class InlineConnection(AsyncConnection):
    """A connection to SQLite for one transaction; its coroutines end without having waited, but for another's lock."""

    #: True in a transaction that only reads
    only_reads = False
    _open: Connection
    _raw: sqlite3.Connection

    def __init__(self, engine: AsyncEngine, handles: Handles) -> None:
        super().__init__(engine)
        self._handles = handles

    async def start(self, is_ctxmanager: bool = False) -> InlineConnection:
        self._open, self._raw = await self._handles.take()
        self.sync_connection = self._open
        try:
            await patiently(lambda: begin(self._raw, writes=not self.only_reads))
        except BaseException:
            await self.close()
            raise
        return self

    async def execute(self, statement: Any, parameters: Any = None, **kwargs: Any) -> Any:
        if self.only_reads:
            refuse_to_write(statement)
        plan = self._handles.plans.find(statement)
        if plan is not None and not kwargs and not isinstance(parameters, list) and not self._handles.is_watched:
            try:
                return plan.ask(self._raw, parameters or {})
            except (sqlite3.Error, TypeError, ValueError, OverflowError):
                pass  # asked again below, it fails with the error that everybody knows
        try:
            return self._open.execute(statement, parameters, **kwargs)
        except OperationalError as error:
            if not is_busy(error):
                raise
        # Without a write-ahead log (some network file systems have none) readers meet writers.
        return await patiently(lambda: self._open.execute(statement, parameters, **kwargs))

    async def exec_driver_sql(self, *args: Any, **kwargs: Any) -> Any:
        return await patiently(lambda: self._open.exec_driver_sql(*args, **kwargs))

    def begin_nested(self) -> AsyncTransaction:
        return _Savepoint(self, nested=True)

    async def commit(self) -> None:
        await patiently(self._open.commit if self._open.in_transaction() else self._raw.commit)

    async def close(self) -> None:
        self._handles.give_back(self._open, self._raw)

    async def __aexit__(self, *error: Any) -> None:
        self._handles.give_back(self._open, self._raw)


def begin(raw: sqlite3.Connection, *, writes: bool) -> None:
    # A write transaction takes its lock at once. Begun as a read and promoted later, it would fail under load with
    # "database is locked", and no waiting would help.
    raw.execute("BEGIN IMMEDIATE" if writes else "BEGIN DEFERRED")


class _Savepoint(AsyncTransaction):
    async def start(self, is_ctxmanager: bool = False) -> AsyncTransaction:
        assert self.connection.sync_connection is not None
        self.sync_transaction = self.connection.sync_connection.begin_nested()
        self.sync_transaction.__enter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        assert self.sync_transaction is not None
        self.sync_transaction.__exit__(*error)


def prepare(engine: AsyncEngine, *, memory: bool, foreign_keys: bool) -> None:
    """Say how connections to SQLite are set up, and how their transactions begin."""

    @event.listens_for(engine.sync_engine, "connect")
    def on_connect(connection: sqlite3.Connection, record: Any) -> None:
        # The driver shall not begin transactions by itself: we do, and say which kind.
        connection.isolation_level = None
        connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
        # Waiting in here would stop everybody: see `patiently`.
        if not memory:
            _use_wal(connection)
            # WAL with NORMAL loses no consistency; a power cut may lose the last commits, a killed process none
            connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA busy_timeout = 0")

    @event.listens_for(engine.sync_engine, "begin")
    def on_begin(connection: Any) -> None:
        raw: sqlite3.Connection = connection.connection.dbapi_connection
        if raw.in_transaction:  # InlineConnection has begun it
            return
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                begin(raw, writes=connection.get_execution_options().get("writes", False))
                return
            except sqlite3.OperationalError as error:
                if not is_busy(error) or time.monotonic() >= deadline:
                    raise
                # SQLAlchemy's own way here (upgrades, plugins) is in a greenlet that may wait
                await_only(asyncio.sleep(RETRY_S))


def _use_wal(connection: sqlite3.Connection) -> None:
    """Let reads run beside a write. The file remembers it, so only the first connection ever changes anything."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            # The switch fails at once where others use the file, whatever the busy timeout: two hubs started together.
            if not is_busy(error) or time.monotonic() >= deadline:
                raise
            time.sleep(RETRY_S)
