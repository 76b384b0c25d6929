"""This hub's heartbeat, and giving up on hubs that lost theirs.

A hub lives as long as its row in ``jhx_replicas`` has a young heartbeat, in the database's clock. One that misses its
beats is removed by the others, and its servers are taken over (``hub/servers/reconcile.py``). A hub that finds itself
removed, because it was paused or cut off, must drop all that it drives and come back under a new name: its old leases
may be somebody else's.

Only a hub whose own heart has beaten long enough judges others. When the database was away, all of them were silent;
whoever is back first must not give up the rest.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from jupyterhub.hub.store.notices import ORPHANS, Notices
from jupyterhub.hub.store.store import Store
from jupyterhub.words.errors import Unavailable

log = logging.getLogger("jupyterhub.replicas")

BEAT_EVERY_S = 3.0
#: silence after which the others give a hub up: long enough for a slow disk, short enough for a person who waits
GIVEN_UP_AFTER = timedelta(seconds=12)
#: silence after which a hub that has just come does so: by then the others would have, if there were any
LONG_GONE_AFTER = timedelta(seconds=60)


def new_hub_id() -> str:
    """A name for one life of one hub process; never used again."""
    return f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(6)}"


def machine() -> str:
    """Where the numbers of processes mean what they mean here: this host, and its container if it is one."""
    try:
        processes = os.readlink("/proc/self/ns/pid")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        processes = boot = ""
    return f"{socket.gethostname()[:150]} {processes} {boot}".strip()


class Heartbeat:
    """Keeps this hub's row young. ``on_removed`` is awaited when the others have given this hub up."""

    def __init__(
        self,
        *,
        store: Store,
        notices: Notices,
        hub_id: str,
        url: str,
        on_removed: Callable[[], Awaitable[str]],
    ) -> None:
        self._store, self._notices = store, notices
        self._url, self._on_removed = url, on_removed
        self.hub_id = hub_id
        #: the beats since then have come in time
        self._steady_since = self._last_beat = time.monotonic()

    async def register(self) -> None:
        """Enter this hub, and give up those of this machine whose process is gone without waiting for their silence."""
        here = machine()
        async with self._store.begin() as tx:
            there = [r for r in await tx.replicas.list() if r.host == here]
            alive = [r.pid for r in there if r.pid != os.getpid() and _is_running(r.pid)]
            if self._store.dialect == "sqlite":
                # one hub at most: whoever wrote these rows has died, even if its number is in use again
                await tx.replicas.remove_silent(timedelta(0))
            await tx.replicas.remove_dead_on(here, alive)
            await tx.replicas.remove_silent(LONG_GONE_AFTER)
            await tx.replicas.register(self.hub_id, host=here, pid=os.getpid(), url=self._url)

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            await asyncio.sleep(BEAT_EVERY_S)
            try:
                async with asyncio.timeout(GIVEN_UP_AFTER.total_seconds()):
                    known = await self._beat()
            except (Unavailable, TimeoutError) as error:
                log.error("the heartbeat failed (%s); trying again", error or "no answer")
                continue
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

    async def _beat(self) -> bool:
        now = time.monotonic()
        async with self._store.begin() as tx:
            known, removed = await tx.replicas.beat(self.hub_id), 0
            if known and self._may_judge(now):
                removed = await tx.replicas.remove_silent(GIVEN_UP_AFTER)
        self._last_beat = now
        if removed:
            log.error("%i hubs were silent for %s: their servers are taken over", removed, GIVEN_UP_AFTER)
            self._notices.announce(ORPHANS)
        return known

    def _may_judge(self, now: float) -> bool:
        if now - self._last_beat > GIVEN_UP_AFTER.total_seconds() / 2:
            self._steady_since = now
        return now - self._steady_since >= GIVEN_UP_AFTER.total_seconds()

    async def bury(self, pid: int) -> None:
        """Give up the hub that was this process of this machine: somebody has seen it end."""
        async with self._store.begin() as tx:
            removed = await tx.replicas.remove_process(machine(), pid)
        if removed:
            self._notices.announce(ORPHANS)

    async def end(self) -> None:
        """Leave: the others need not wait for our silence."""
        async with self._store.begin() as tx:
            await tx.replicas.remove(self.hub_id)
        self._notices.announce(ORPHANS)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
