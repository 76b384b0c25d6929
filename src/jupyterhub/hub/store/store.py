"""The store: opening the database, and transactions with one repository per noun.

The domain opens transactions (``begin`` to write, ``read`` to read) and calls methods that say what it wants; SQL is in
the repositories and nowhere else. No transaction is open while anybody waits for anything but the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from jupyterhub.words.errors import ConfigurationError, Unavailable

from . import schema
from .engine import async_url, is_memory, make_engine
from .facts import Facts
from .groups import Groups
from .inline import Handles, InlineConnection
from .kept import Kept
from .oauth import OAuth
from .outage import told_as_unavailable
from .replicas import Replicas
from .roles import Roles
from .servers import Servers
from .services import Services
from .shares import Shares
from .starts import Starts
from .steady import SteadyConnection
from .tokens import Tokens
from .users import Users


class Transaction:
    """One transaction: a repository for each noun, over one connection."""

    __slots__ = (
        "connection",
        "facts",
        "groups",
        "oauth",
        "replicas",
        "roles",
        "servers",
        "services",
        "shares",
        "starts",
        "tokens",
        "users",
    )

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self.users = Users(connection)
        self.groups = Groups(connection)
        self.roles = Roles(connection)
        self.tokens = Tokens(connection)
        self.services = Services(connection)
        self.oauth = OAuth(connection)
        self.shares = Shares(connection)
        self.servers = Servers(connection)
        self.starts = Starts(connection)
        self.replicas = Replicas(connection)
        self.facts = Facts(connection)


class _Turns:
    """One transaction after the other."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self._holder: asyncio.Task[Any] | None = None

    async def take(self) -> None:
        task = asyncio.current_task()
        if self._holder is task:
            raise RuntimeError("a transaction within another one")
        await self.lock.acquire()
        self._holder = task

    def give_up(self) -> None:
        self._holder = None
        self.lock.release()


class _Block:
    """One transaction from its beginning to its end. A class, since a generator costs several queries' time."""

    __slots__ = ("_connection", "_turns")

    def __init__(self, connection: InlineConnection | SteadyConnection, turns: _Turns | None) -> None:
        self._connection, self._turns = connection, turns

    async def __aenter__(self) -> Transaction:
        if self._turns is not None:
            await self._turns.take()
        try:
            await self._connection.start()
        except BaseException as error:
            if self._turns is not None:
                self._turns.give_up()
            told_as_unavailable(error)
            raise
        return Transaction(self._connection)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            try:
                if error is None and not self._connection.only_reads:
                    await self._connection.commit()
            finally:
                await self._connection.close()
        except BaseException as failure:
            told_as_unavailable(failure)
            raise
        finally:
            if self._turns is not None:
                self._turns.give_up()
        told_as_unavailable(error)


class Store:
    """An open database."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        #: ``sqlite``, ``postgresql``, ``mysql`` or ``mariadb``
        self.dialect = engine.dialect.name
        sqlite = self.dialect == "sqlite"
        self._handles = Handles(engine) if sqlite else None
        # SQLite has one writer: queueing here is fair and wakes the next at once, its own busy handler sleeps.
        self._turns = _Turns() if sqlite else None
        # a database in memory has one connection, so a read must wait for a write too
        self._turns_to_read = self._turns if is_memory(engine.url) else None

    @property
    def one_writer(self) -> asyncio.Lock | None:
        """Who writes on SQLite by another way (``legacy_session.py``) waits for this; elsewhere there is none."""
        return self._turns.lock if self._turns is not None else None

    def _connection(self, *, only_reads: bool) -> InlineConnection | SteadyConnection:
        connection = InlineConnection(self.engine, self._handles) if self._handles else SteadyConnection(self.engine)
        connection.only_reads = only_reads
        return connection

    @classmethod
    async def open(
        cls,
        db_url: str,
        *,
        echo: bool = False,
        engine_options: Mapping[str, Any] | None = None,
        reset: bool = False,
    ) -> Store:
        """Open a database; an empty one gets its tables. ``reset`` drops everything first.

        Raises:
            ConfigurationError: it cannot be opened, or its schema is not ours; the message says what to do.
        """
        url = async_url(db_url)
        store = cls(make_engine(url, echo=echo, options=dict(engine_options or {})))
        try:
            async with store.begin() as tx:
                if reset:
                    await schema.drop_all(tx.connection)
                await schema.make_current(tx.connection)
        except (DBAPIError, Unavailable) as error:
            await store.close()
            reason = getattr(error, "orig", None) or getattr(error.__cause__, "orig", None) or error.__cause__ or error
            raise ConfigurationError(
                f"The database {url.render_as_string(hide_password=True)} cannot be opened: {reason}. Check "
                "c.JupyterHub.db_url; an old database may need `jupyterhub upgrade-db`."
            ) from error
        except BaseException:
            await store.close()
            raise
        if store._handles is not None and not is_memory(url):
            await store._handles.watch()
        return store

    def kept(self, *, most: int) -> Kept:
        """Give a place for at most so many values that follow from rows."""
        return Kept(self._handles.version if self._handles is not None else lambda: None, most=most)

    def begin(self) -> AbstractAsyncContextManager[Transaction]:
        """A transaction that may write; committed when the block ends, rolled back when it raises.

        RuntimeError on SQLite for one within another of the same task: it would wait for itself for ever.
        """
        return _Block(self._connection(only_reads=False), self._turns)

    def read(self) -> AbstractAsyncContextManager[Transaction]:
        """A transaction that only reads; many run at once, beside the writer. RuntimeError for a write in it."""
        return _Block(self._connection(only_reads=True), self._turns_to_read)

    async def close(self) -> None:
        if self._handles:
            self._handles.close()
        await self.engine.dispose()
