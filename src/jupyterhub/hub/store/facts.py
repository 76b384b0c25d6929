"""Small facts that all hubs share: a value under a key, in ``jhx_hub_settings``."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from jupyterhub.hub.store import tables as t
from jupyterhub.words.clock import to_db, utcnow
from jupyterhub.words.models import Json

from .hot import hot
from .inserts import add_missing, put

_facts = t.hub_settings
_VALUE = hot(select(_facts.c.value).where(_facts.c.key == bindparam("which")))


class Facts:
    """Facts within one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._db = connection

    async def get(self, key: str) -> Json:
        """Give the value of a key, None if it has none. Held until the transaction ends."""
        wanted = select(_facts.c.value).where(_facts.c.key == key).with_for_update()
        row = (await self._db.execute(wanted)).first()
        if row is None:
            # There is nothing to hold yet. Two hubs that count would both begin at nought, and lose one of the counts.
            await add_missing(self._db, _facts, [{"key": key, "value": None}])
            row = (await self._db.execute(wanted)).first()
        return row.value if row else None

    async def peek(self, key: str) -> Json:
        """Give the value of a key as it was last committed, and hold nothing."""
        row = (await self._db.execute(_VALUE, {"which": key})).first()
        return row.value if row else None

    async def set(self, key: str, value: Json) -> None:
        values = {"value": value, "updated": to_db(utcnow())}
        changed = await self._db.execute(update(_facts).where(_facts.c.key == key).values(**values))
        if changed.rowcount == 0:
            await put(self._db, _facts, "key", {"key": key, **values})

    async def remove(self, key: str) -> None:
        await self._db.execute(delete(_facts).where(_facts.c.key == key))
