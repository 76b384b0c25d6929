"""Notices between hubs: PostgreSQL's LISTEN and NOTIFY on one connection of our own.

Announcing waits for nobody: topics are collected, and one statement after the other takes all that have come up
meanwhile. While the connection is lost nothing is heard; the slow looks go on, and once it is back everybody looks.
Needs a connection that is one session, not one through a pooler that hands out transactions.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncEngine

from .notices import Notices

log = logging.getLogger("jupyterhub.notices")

CHANNEL = "jhx_notices"
#: a connection that nobody has used for so long is asked whether it is still there
ASK_EVERY_S = 10.0
#: how long the database has to answer on it
ANSWER_WITHIN_S = 5.0
#: seconds between two attempts to connect
RETRY_S = 1.0


class Wire:
    """Tells other hubs what is announced here, and announces here what they tell."""

    def __init__(self, *, engine: AsyncEngine, notices: Notices) -> None:
        self._engine, self._notices = engine, notices
        #: what we say comes back to us too; this tells it apart
        self._me = uuid4().hex[:12]
        self._outgoing: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._sent = asyncio.Event()
        #: set while this hub hears the others
        self.connected = asyncio.Event()
        notices.tell_others = self._tell

    def _tell(self, topic: str) -> None:
        self._outgoing[topic] = None
        self._sent.clear()
        self._wake.set()

    async def run(self) -> None:
        """Connect, and again whenever the connection is lost; until cancelled."""
        while True:
            try:
                await self._converse()
            except Exception as error:
                log.warning("notices of other hubs come late: %s; connecting again", error or type(error).__name__)
            await asyncio.sleep(RETRY_S)

    async def flush(self, *, within_s: float = 1.0) -> None:
        """Wait until what was announced so far has left this hub; not for ever."""
        if self._outgoing and self.connected.is_set():
            try:
                async with asyncio.timeout(within_s):
                    await self._sent.wait()
            except TimeoutError:
                log.warning("some notices were not sent; the other hubs see the rows a little later")

    async def _converse(self) -> None:
        pooled = await self._engine.raw_connection()
        connection: Any = pooled.driver_connection
        # Ours from now on: the pool would end its listening when it gets it back.
        pooled.detach()
        try:
            connection.add_termination_listener(lambda _: self._wake.set())
            await connection.add_listener(CHANNEL, self._hear)
            self.connected.set()
            self._notices.hear_everything()
            while not connection.is_closed():
                await self._send(connection)
                try:
                    async with asyncio.timeout(ASK_EVERY_S):
                        await self._wake.wait()
                except TimeoutError:
                    pass
            raise ConnectionError("the database has closed the connection")
        finally:
            self.connected.clear()
            connection.terminate()

    async def _send(self, connection: Any) -> None:
        """Send what is to be told; if there is nothing, see whether the other end still answers."""
        self._wake.clear()
        batch = list(self._outgoing)
        self._outgoing.clear()
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                told = [f"{self._me} {topic}" for topic in batch]
                await connection.execute("SELECT pg_notify($1, topic) FROM unnest($2::text[]) AS topic", CHANNEL, told)
        except BaseException:
            self._outgoing = {**dict.fromkeys(batch), **self._outgoing}
            raise
        if not self._outgoing:
            self._sent.set()

    def _hear(self, connection: Any, pid: int, channel: str, payload: str) -> None:
        sender, _, topic = payload.partition(" ")
        if sender != self._me:
            self._notices.hear(topic)
