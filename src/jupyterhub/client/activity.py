"""Telling the hub when a server was last used, so that idle servers can be culled and busy ones are not.

The hub's proxy sees requests but not a kernel that computes overnight; the server itself knows.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from datetime import datetime
from logging import Logger

from jupyterhub.words.clock import isoformat

from .hub_requests import HubUnreachable, TLSFiles, ask_hub

#: give up a report after this time; the next one says the same and more
PATIENCE_S = 60.0
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 15.0


class ActivityReporter:
    """Reports at once and then every ``interval_s``, give or take a tenth: many servers start together."""

    def __init__(
        self,
        *,
        url: str,
        token: str,
        server_name: str,
        interval_s: float,
        last_activity: Callable[[], datetime],
        tls: TLSFiles,
        log: Logger,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.url = url
        self.token = token
        self.server_name = server_name
        self.interval_s = interval_s
        self.last_activity = last_activity
        self.tls = tls
        self.log = log
        self.sleep = sleep
        self.last_sent: datetime | None = None

    async def run(self) -> None:
        """Report until cancelled; return at once if there is nowhere to report to."""
        if not self.url or self.interval_s <= 0:
            self.log.info("Not reporting activity: JUPYTERHUB_ACTIVITY_URL or _INTERVAL is empty")
            return
        while True:
            try:
                await self.report()
            except Exception:
                self.log.exception("Could not report activity to the hub")
            await self.sleep(self.interval_s * random.uniform(0.9, 1.1))

    async def report(self) -> None:
        """Tell the hub of the last activity, unless there was none since the last report."""
        last_activity = self.last_activity()
        if self.last_sent is not None and last_activity < self.last_sent:
            return
        when = isoformat(last_activity)
        body = json.dumps({"servers": {self.server_name: {"last_activity": when}}, "last_activity": when})
        wait_s, waited_s = FIRST_WAIT_S, 0.0
        while not await self._post(body):
            if waited_s + wait_s > PATIENCE_S:
                self.log.warning("Gave up reporting activity for now; the hub at %s does not take it", self.url)
                return
            await self.sleep(wait_s)
            waited_s += wait_s
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)
        self.last_sent = last_activity

    async def _post(self, body: str) -> bool:
        """Say whether the hub has taken the report."""
        try:
            answer = await ask_hub(
                self.url, method="POST", token=self.token, body=body, content_type="application/json", tls=self.tls
            )
        except HubUnreachable as error:
            self.log.error("Could not report activity to the hub: %s", error)
            return False
        if not answer.is_ok:
            self.log.error("The hub refused the report of activity: %s %s", answer.status, answer.message)
        return answer.is_ok
