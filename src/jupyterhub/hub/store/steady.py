"""Connections whose statements are not torn when the task that waits for them is cancelled.

A cancelled wait would leave the statement running, its outcome unknown and its connection unfit for use: SQLAlchemy
throws it away, and each time costs a new connection. Requests are cancelled all the time (time limits, people who
leave), so here the statement ends first, then the wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncTransaction

T = TypeVar("T")

#: how long a cancelled statement may go on before it is torn after all: it waits for a lock, or for the network
PATIENCE_S = 5.0


async def steadily(work: Coroutine[Any, Any, T]) -> T:
    """Give the result of ``work``; when the caller is cancelled, let it end before CancelledError is raised."""
    task, cancelled = await settled(work)
    if cancelled is None:
        return task.result()
    if not task.cancelled() and (failed := task.exception()):
        raise cancelled from failed
    raise cancelled


async def settled(work: Coroutine[Any, Any, T]) -> tuple[asyncio.Task[T], asyncio.CancelledError | None]:
    """Let ``work`` end; give its task, and the cancellation that reached the caller meanwhile."""
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    patience_s: float | None = None
    while not task.done():
        try:
            await asyncio.wait({task}, timeout=patience_s)
        except asyncio.CancelledError as error:
            cancelled, patience_s = error, PATIENCE_S
        else:
            if not task.done():
                task.cancel()
                patience_s = None
    return task, cancelled


def refuse_to_write(statement: Any) -> None:
    """Raise RuntimeError for a write where only reading was announced: it would be rolled back, and nobody told."""
    if getattr(statement, "is_dml", False):
        raise RuntimeError(f"a write in a transaction that only reads: {statement}")


class SteadyConnection(AsyncConnection):
    """A connection for one transaction, all of whose steps are taken steadily."""

    #: True in a transaction that only reads
    only_reads = False

    async def start(self, is_ctxmanager: bool = False) -> SteadyConnection:
        try:
            await steadily(super().start(is_ctxmanager))
        except asyncio.CancelledError:
            if self.sync_connection is not None:
                await self.close()
            raise
        return self

    async def execute(self, statement: Any, *args: Any, **kwargs: Any) -> Any:
        if self.only_reads:
            refuse_to_write(statement)
        return await steadily(super().execute(statement, *args, **kwargs))

    def begin_nested(self) -> AsyncTransaction:
        return _SteadySavepoint(self, nested=True)

    async def commit(self) -> None:
        await steadily(super().commit())

    async def close(self) -> None:
        await steadily(super().close())

    async def __aexit__(self, *error: Any) -> None:
        await self.close()


class _SteadySavepoint(AsyncTransaction):
    async def start(self, is_ctxmanager: bool = False) -> AsyncTransaction:
        return await steadily(super().start(is_ctxmanager))

    async def __aexit__(self, *error: Any) -> None:
        await steadily(super().__aexit__(*error))
