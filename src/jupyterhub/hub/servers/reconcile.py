"""Servers that want a driver and have none get one here: after a restart, and when another hub has died.

Looks at the rows regularly; a hub's death is noticed by its heartbeat (``hub/replicas``), after which its servers are
orphans in the eyes of the database.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time

from jupyterhub.hub import metrics
from jupyterhub.hub.store.notices import ORPHANS
from jupyterhub.words.errors import Unavailable
from jupyterhub.words.models import Phase

from .driver import wanted_topic
from .servers import Servers

log = logging.getLogger("jupyterhub.servers")

LOOK_EVERY_S = 3.0
#: take-overs at once: each may ask a spawner and probe a server
AT_ONCE = 50


class Reconciler:
    """Gives orphaned servers a driver on this hub."""

    def __init__(self, *, servers: Servers) -> None:
        self._servers = servers

    async def at_start(self, *, wait_s: float) -> None:
        """Take over what is there and wait at most ``wait_s`` seconds until its state is known; negative: a day."""
        began = time.monotonic()
        taken = await self.look()
        pending = set(taken)
        limit_s = 86400.0 if wait_s < 0 else max(1.0, wait_s)
        while pending and time.monotonic() - began < limit_s:
            pending &= await self._undecided()
            if pending:
                await asyncio.sleep(0.05)
        took_s = time.monotonic() - began
        metrics.INIT_SPAWNERS_DURATION_SECONDS.observe(took_s)
        log.info("Initialized %i spawners in %.3f seconds", len(taken), took_s)

    async def run(self) -> None:
        """Look again and again until cancelled."""
        with self._servers.tools.notices.watch(ORPHANS) as watch:
            while True:
                await watch.wait(within_s=LOOK_EVERY_S * random.uniform(0.8, 1.2))
                try:
                    await self.look()
                except Unavailable as error:
                    log.warning("servers without a hub could not be looked for: %s", error)
                except Exception:
                    log.exception("looking for servers without a hub failed; trying again")

    async def look(self) -> list[int]:
        """Take over all orphans that nobody else is faster for; give their numbers.

        Also the slow look for all drivers of this hub together: those whose server somebody wants stopped are told so,
        in case that it was asked for on another hub and the notice got lost.
        """
        servers = self._servers
        async with servers.tools.store.read() as tx:
            orphans = await tx.servers.list_orphans()
            mine = await tx.servers.held_ids(servers.hub_id)
            unwanted = [s.id for s in await tx.servers.list_in([Phase.STOPPING]) if s.hub_id == servers.hub_id]
        for server_id in unwanted:
            servers.tools.notices.announce(wanted_topic(server_id))
        taken: list[int] = []
        gate = asyncio.Semaphore(AT_ONCE)

        async def take(server_id: int) -> None:
            async with gate:
                try:
                    if await servers.adopt(by_id[server_id]):
                        taken.append(server_id)
                except Exception:
                    # one that fails must not keep the others from their driver; it is still there at the next look
                    log.exception("%s: could not be taken over", by_id[server_id].key)

        by_id = {server.id: server for server in orphans}
        await asyncio.gather(*(take(server_id) for server_id in by_id))
        for server_id in mine:
            # a driver that failed: its row still says what is wanted
            if server_id not in servers.drivers:
                await servers.resume(server_id)
        return taken

    async def _undecided(self) -> set[int]:
        """The numbers of the servers driven here that are neither ready nor stopped."""
        async with self._servers.tools.store.read() as tx:
            moving = await tx.servers.list_in([Phase.STARTING, Phase.CHECKING, Phase.STOPPING])
        return {server.id for server in moving} & self._servers.drivers.keys()
