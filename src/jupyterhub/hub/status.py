"""How the hubs are doing, together: what an admin looks at first when something is slow, or does not start.

All of it follows from the database and from asking the proxy, so that it is the same whichever hub is asked. Nothing is
counted here; for graphs over weeks there are the metrics (``hub/metrics.py``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from jupyterhub.words.clock import utcnow
from jupyterhub.words.models import FailedStart, Phase, Replica, StartsInMinute

from .routes import Routes
from .store.store import Store

#: how long ended starts are kept
STARTS_KEPT: Final = timedelta(days=1)
#: how far back the starts by minute go
SHOWN: Final = timedelta(hours=1)
MOST_FAILURES: Final = 50
#: The proxy tells all of its routes at once: of many that look at the same time, one asks.
PROXY_KNOWN_FOR_S: Final = 5.0
#: a proxy that has not answered by then does not answer
PROXY_LIMIT_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HubState:
    replica: Replica
    leads: bool
    #: it is the one that was asked
    answers: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseState:
    dialect: str
    #: how long everything else that is read here took
    took_s: float
    users: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyState:
    name: str
    took_s: float
    #: None if it did not answer
    routes: int | None
    #: what it answered instead; "" if it did
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    at: datetime
    hubs: Sequence[HubState]
    database: DatabaseState
    proxy: ProxyState
    servers: dict[Phase, int]
    starts: Sequence[StartsInMinute]
    failures: Sequence[FailedStart]


class Status:
    def __init__(self, *, store: Store, routes: Routes, hub_id: Callable[[], str]) -> None:
        self._store, self._routes, self._hub_id = store, routes, hub_id
        self._asking = asyncio.Lock()
        self._proxy: ProxyState | None = None
        self._asked_at = 0.0

    async def overview(self) -> Overview:
        """Look at everything now; the proxy is asked every few seconds at most."""
        now, began = utcnow(), time.monotonic()
        async with self._store.read() as tx:
            leader = await tx.replicas.leader()
            replicas = await tx.replicas.list()
            users = await tx.users.count()
            servers = await tx.servers.count_by_phase()
            starts = await tx.starts.by_minute(now - SHOWN)
            failures = await tx.starts.failed(now - STARTS_KEPT, limit=MOST_FAILURES)
        took_s = time.monotonic() - began
        hub_id = self._hub_id()
        return Overview(
            at=now,
            hubs=[HubState(replica=r, leads=r.id == leader, answers=r.id == hub_id) for r in replicas],
            database=DatabaseState(dialect=self._store.dialect, took_s=took_s, users=users),
            proxy=await self._look_at_proxy(),
            servers=servers,
            starts=starts,
            failures=failures,
        )

    async def _look_at_proxy(self) -> ProxyState:
        async with self._asking:
            if self._proxy is None or time.monotonic() - self._asked_at > PROXY_KNOWN_FOR_S:
                self._proxy = await self._ask_proxy()
                self._asked_at = time.monotonic()
            return self._proxy

    async def _ask_proxy(self) -> ProxyState:
        name, began = type(self._routes.proxy).__name__, time.monotonic()
        try:
            async with asyncio.timeout(PROXY_LIMIT_S):
                routes = await self._routes.all()
        except TimeoutError:
            problem = f"no answer within {PROXY_LIMIT_S:g} s"
        except Exception as error:
            problem = str(error) or type(error).__name__
        else:
            return ProxyState(name=name, took_s=time.monotonic() - began, routes=len(routes))
        return ProxyState(name=name, took_s=time.monotonic() - began, routes=None, problem=problem)
