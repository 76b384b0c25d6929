"""What one hub does for all: managed services and the jobs that shall run once, however many hubs there are.

One hub has the lead, by a fact in the database that counts as long as that hub's heartbeat does (``heartbeat.py``). The
others look whether it is free. Who finds that it has lost the lead drops its duties before anything else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from jupyterhub.hub.store.store import Store

from .heartbeat import GIVEN_UP_AFTER

log = logging.getLogger("jupyterhub.replicas")

LOOK_EVERY_S = 3.0
#: how long duties may take to end
DROP_S = 30.0


class Leadership:
    """Takes the lead when it is free. ``duties`` runs as long as this hub has it, and is cancelled when it loses it."""

    def __init__(self, *, store: Store, hub_id: Callable[[], str], duties: Callable[[], Awaitable[None]]) -> None:
        self._store, self._hub_id, self._duties = store, hub_id, duties
        self._working: asyncio.Task[None] | None = None
        #: False: others may lead, this hub is about to end
        self.may_begin = True
        #: the name under which the duties were taken up
        self._led_as = ""

    async def is_ours(self) -> bool:
        """Look now, and take the lead if it is free."""
        async with self._store.begin() as tx:
            return await tx.replicas.lead(self._hub_id())

    async def run(self) -> None:
        """Look again and again until cancelled, then leave the lead to the others."""
        known_at = time.monotonic()
        try:
            while True:
                leads, hub_id = False, self._hub_id()
                try:
                    async with asyncio.timeout(GIVEN_UP_AFTER.total_seconds() / 2):
                        leads = await self.is_ours()
                    known_at = time.monotonic()
                except Exception as error:
                    log.warning("it is not known who leads: %s", error or type(error).__name__)
                    # Within this time nobody else can have taken the lead from us.
                    leads = time.monotonic() - known_at < GIVEN_UP_AFTER.total_seconds()
                    leads = leads and self._working is not None
                if self._working is not None and (not leads or hub_id != self._led_as):
                    log.error("this hub leads no longer: dropping what one hub does for all")
                    await self._drop()
                if leads and self._working is None and self.may_begin:
                    log.info("this hub does from now on what one hub does for all")
                    self._led_as = hub_id
                    self._working = asyncio.create_task(self._work(), name="duties of the leader")
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            await self._drop()

    async def _work(self) -> None:
        while True:
            try:
                await self._duties()
            except Exception:
                log.exception("what this hub does for all has failed; beginning again")
            await asyncio.sleep(LOOK_EVERY_S)

    async def _drop(self) -> None:
        working, self._working = self._working, None
        if working is not None:
            working.cancel()
            await asyncio.wait({working}, timeout=DROP_S)

    async def resign(self) -> None:
        """Let another hub lead at once; call it when ``run`` has ended."""
        async with self._store.begin() as tx:
            await tx.replicas.resign(self._hub_id())
