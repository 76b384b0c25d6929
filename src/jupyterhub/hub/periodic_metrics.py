"""Metrics that nobody's work brings about: users who were active, and how late the event loop runs what is due."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import timedelta

from traitlets import Bool, Float, Integer
from traitlets.config import LoggingConfigurable

from jupyterhub.hub import metrics
from jupyterhub.hub.store.store import Store
from jupyterhub.words.clock import utcnow

log = logging.getLogger("jupyterhub.metrics")


class PeriodicMetricsCollector(LoggingConfigurable):
    """Configured as ``c.PeriodicMetricsCollector`` (metrics-events.md §1)."""

    active_users_enabled = Bool(True, help="Count the users who were active in the last day, week and month.").tag(
        config=True
    )
    active_users_update_interval = Integer(3600, help="Seconds between two counts of active users.").tag(config=True)
    event_loop_interval_enabled = Bool(True, help="Measure how late the event loop runs what is due.").tag(config=True)
    event_loop_interval_resolution = Float(
        0.05, help="Seconds between two measurements of the event loop; each costs a little."
    ).tag(config=True)
    event_loop_interval_log_threshold = Float(
        1, help="Warn when the event loop was blocked for longer than this, in seconds."
    ).tag(config=True)

    async def count(self, store: Store) -> None:
        """Count users and running servers now."""
        now = utcnow()
        async with store.read() as tx:
            metrics.TOTAL_USERS.set(await tx.users.count())
            metrics.RUNNING_SERVERS.set(await tx.servers.count())
            if not self.active_users_enabled:
                return
            for period, length_s in metrics.PERIOD_LENGTHS_S.items():
                since = now - timedelta(seconds=length_s)
                metrics.ACTIVE_USERS.labels(period=period).set(await tx.users.count_active_since(since))

    async def watch_event_loop(self) -> None:
        """Measure until cancelled."""
        if not self.event_loop_interval_enabled or self.event_loop_interval_resolution <= 0:
            return
        while True:
            began = time.perf_counter()
            await asyncio.sleep(self.event_loop_interval_resolution)
            took_s = time.perf_counter() - began
            metrics.EVENT_LOOP_INTERVAL_SECONDS.observe(took_s)
            if took_s - self.event_loop_interval_resolution > self.event_loop_interval_log_threshold:
                log.warning(
                    "the event loop was blocked for %.1f s: something in the hub or a plugin does not await", took_s
                )
