"""Rows of starts that have come to an end, in the last day: what charts and lists of failures are made of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import case, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from jupyterhub.words.models import FailedStart, StartsInMinute
from jupyterhub.words.names import ServerKey

from . import tables as t
from .hot import hot_change

_starts = t.starts
_ADD = hot_change(insert(_starts), "minute", "user_name", "server_name", "took_s", "failure")

#: as much of a reason as is kept: some spawners put the whole log of a server into it
LONGEST_REASON = 1000


def _minute(when: datetime) -> int:
    return int(when.timestamp() // 60)


def _moment(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)


class Starts:
    """Starts within one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._db = connection

    async def add(self, key: ServerKey, *, took_s: float, now: datetime, failure: str | None = None) -> None:
        """Note a start that has succeeded or, for the reason ``failure``, failed."""
        values = {"minute": _minute(now), "user_name": key.user, "server_name": key.name, "took_s": took_s}
        reason = None if failure is None else failure[:LONGEST_REASON]
        await self._db.execute(_ADD, {**values, "failure": reason})

    async def by_minute(self, since: datetime) -> Sequence[StartsInMinute]:
        """Give the minutes in which starts have ended, in order; minutes without any are left out."""
        took_s = case((_starts.c.failure.is_(None), _starts.c.took_s))
        wanted = (
            select(
                _starts.c.minute,
                func.count().label("ended"),
                func.count(_starts.c.failure).label("failed"),
                func.avg(took_s).label("mean"),
                func.max(took_s).label("longest"),
            )
            .where(_starts.c.minute >= _minute(since))
            .group_by(_starts.c.minute)
            .order_by(_starts.c.minute)
        )
        return [
            StartsInMinute(
                minute=_moment(row.minute),
                succeeded=row.ended - row.failed,
                failed=row.failed,
                mean_s=None if row.mean is None else float(row.mean),
                longest_s=None if row.longest is None else float(row.longest),
            )
            for row in await self._db.execute(wanted)
        ]

    async def failed(self, since: datetime, *, limit: int) -> Sequence[FailedStart]:
        """Give the last failures, the latest first."""
        wanted = (
            select(_starts)
            .where(_starts.c.minute >= _minute(since), _starts.c.failure.is_not(None))
            .order_by(_starts.c.minute.desc(), _starts.c.id.desc())
            .limit(limit)
        )
        return [
            FailedStart(
                key=ServerKey(row.user_name, row.server_name),
                minute=_moment(row.minute),
                took_s=row.took_s,
                reason=row.failure,
            )
            for row in await self._db.execute(wanted)
        ]

    async def delete_before(self, when: datetime) -> int:
        return (await self._db.execute(delete(_starts).where(_starts.c.minute < _minute(when)))).rowcount
