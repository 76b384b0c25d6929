"""This hub's heartbeat, and giving up on hubs that lost theirs.

A hub lives as long as its row in ``jhx_replicas`` has a young heartbeat, in the database's clock. One that misses its
beats is removed by the others, and its servers are taken over (``hub/servers/reconcile.py``). A hub that finds itself
removed, because it was paused or cut off, must drop all that it drives and come back under a new name: its old leases
may be somebody else's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from datetime import timedelta

from jupyterhub.hub.store.store import Store

log = logging.getLogger("jupyterhub.replicas")

BEAT_EVERY_S = 3.0
#: silence after which the others give a hub up: long enough for a slow disk, short enough for a person who waits
GIVEN_UP_AFTER = timedelta(seconds=12)


def new_hub_id() -> str:
    """A name for one life of one hub process; never used again."""
    return f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(6)}"


class Heartbeat:
    """Keeps this hub's row young. ``on_removed`` is awaited when the others have given this hub up."""

    def __init__(self, *, store: Store, hub_id: str, url: str, on_removed: Callable[[], Awaitable[str]]) -> None:
        self._store, self._url, self._on_removed = store, url, on_removed
        self.hub_id = hub_id

    async def register(self) -> None:
        """Enter this hub, and give up those of this machine whose process is gone without waiting for their silence."""
        host = socket.gethostname()
        async with self._store.begin() as tx:
            there = [r for r in await tx.replicas.list() if r.host == host]
            alive = [r.pid for r in there if r.pid != os.getpid() and _is_running(r.pid)]
            if self._store.dialect == "sqlite":
                # one hub at most: whoever wrote these rows has died, even if its number is in use again
                alive = []
            await tx.replicas.remove_dead_on(host, alive)
            await tx.replicas.remove_silent(GIVEN_UP_AFTER)
            await tx.replicas.register(self.hub_id, host=host, pid=os.getpid(), url=self._url)

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            await asyncio.sleep(BEAT_EVERY_S)
            try:
                async with self._store.begin() as tx:
                    known = await tx.replicas.beat(self.hub_id)
                    if known:
                        await tx.replicas.remove_silent(GIVEN_UP_AFTER)
            except Exception:
                log.exception("the heartbeat failed; trying again")
                continue
            if not known:
                log.error("the other hubs have given this one up: letting go of its servers and coming back")
                self.hub_id = await self._on_removed()
                try:
                    await self.register()
                except Exception:
                    log.exception("coming back failed; trying again")  # the next beat finds us unknown once more

    async def end(self) -> None:
        """Leave: the others need not wait for our silence."""
        async with self._store.begin() as tx:
            await tx.replicas.remove(self.hub_id)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
