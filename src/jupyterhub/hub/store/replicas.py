"""Rows of running hubs: who is alive, in the database's own clock, so that hubs with different clocks agree."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, insert, literal_column, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from jupyterhub.words.clock import from_db
from jupyterhub.words.models import Replica

from . import tables as t
from .facts import Facts

_replicas = t.replicas

#: the fact that names the hub that leads
LEADER = "leader"


class Replicas:
    """Hubs within one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._db = connection

    async def register(self, hub_id: str, *, host: str, pid: int, url: str) -> None:
        now = self._now()
        await self._db.execute(
            insert(_replicas).values(id=hub_id, host=host, pid=pid, url=url, started=now, heartbeat=now)
        )

    async def beat(self, hub_id: str) -> bool:
        """Renew the heartbeat; False when the others have given this hub up: it must drop all that it drives."""
        result = await self._db.execute(update(_replicas).where(_replicas.c.id == hub_id).values(heartbeat=self._now()))
        return result.rowcount == 1

    async def remove(self, hub_id: str) -> None:
        await self._db.execute(delete(_replicas).where(_replicas.c.id == hub_id))

    async def remove_silent(self, silent_for: timedelta) -> int:
        """Give up the hubs whose last heartbeat is older than this; their servers then want a new driver."""
        result = await self._db.execute(delete(_replicas).where(_replicas.c.heartbeat < self._ago(silent_for)))
        return result.rowcount

    async def remove_dead_on(self, host: str, alive: list[int]) -> int:
        """Give up the hubs of this host whose process is not among ``alive``: no need to wait for their silence."""
        result = await self._db.execute(
            delete(_replicas).where(_replicas.c.host == host, _replicas.c.pid.not_in(alive))
        )
        return result.rowcount

    async def remove_process(self, host: str, pid: int) -> int:
        """Give up the hub that was this process, of which somebody knows that it has ended."""
        result = await self._db.execute(delete(_replicas).where(_replicas.c.host == host, _replicas.c.pid == pid))
        return result.rowcount

    async def lead(self, hub_id: str) -> bool:
        """Say whether this hub leads; it does from now on if nobody does who is alive.

        Only a hub that is alive itself can lead: one that the others have given up is told False.
        """
        facts = Facts(self._db)
        alive = set((await self._db.execute(select(_replicas.c.id))).scalars())
        leader = await facts.peek(LEADER)
        if hub_id in alive and leader not in alive:
            # held until the transaction ends: of two that find the place empty one gets it
            leader = await facts.get(LEADER)
            if leader not in alive:
                await facts.set(LEADER, hub_id)
                leader = hub_id
        return leader == hub_id and hub_id in alive

    async def resign(self, hub_id: str) -> None:
        """Leave the lead to the others, if this hub has it."""
        facts = Facts(self._db)
        if await facts.get(LEADER) == hub_id:
            await facts.remove(LEADER)

    async def leader(self) -> str | None:
        """Give the id of the hub that leads, None if nobody does. It may have ended without resigning."""
        leader = await Facts(self._db).peek(LEADER)
        return leader if isinstance(leader, str) else None

    async def list(self) -> list[Replica]:
        rows = await self._db.execute(select(_replicas).order_by(_replicas.c.started))
        found = []
        for row in rows:
            started, heartbeat = from_db(row.started), from_db(row.heartbeat)
            assert started is not None and heartbeat is not None
            found.append(
                Replica(id=row.id, host=row.host, pid=row.pid, url=row.url, started=started, heartbeat=heartbeat)
            )
        return found

    def _now(self) -> Any:
        """The database's clock as naive UTC, with fractions of seconds where the engine has them."""
        match self._db.dialect.name:
            case "postgresql":
                return literal_column("(now() AT TIME ZONE 'utc')")
            case "mysql" | "mariadb":
                return func.utc_timestamp(6)
            case _:
                return func.strftime("%Y-%m-%d %H:%M:%f", "now")

    def _ago(self, span: timedelta) -> Any:
        seconds = span.total_seconds()
        match self._db.dialect.name:
            case "postgresql":
                return literal_column(f"((now() AT TIME ZONE 'utc') - interval '{seconds:f} seconds')")
            case "mysql" | "mariadb":
                return func.date_sub(func.utc_timestamp(6), text(f"INTERVAL {seconds:f} SECOND"))
            case _:
                return func.strftime("%Y-%m-%d %H:%M:%f", "now", f"-{seconds:f} seconds")
