"""Notices: rows changed, so whoever waits for them looks again.

Within one process a notice is an event per topic. Between hubs on PostgreSQL the same notices travel by NOTIFY
(``wire.py``). Missing one costs the time until the next slow look, never correctness: every wait has an end, and
whoever wakes up reads the rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: servers have lost their hub, or are left to the others: whoever is there takes them over
ORPHANS = "orphans"


class Watch:
    """One waiter's view of its topics; what was announced since its last ``wait`` is not lost."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._announced: set[str] = set()
        #: which topics the last ``wait`` was woken for; empty if anything may have been missed
        self.heard: set[str] = set()

    def announce(self, *topics: str) -> None:
        self._announced.update(topics)
        self._changed.set()

    async def wait(self, *, within_s: float) -> bool:
        """Return True after an announcement, False when there was none in ``within_s`` seconds."""
        try:
            async with asyncio.timeout(within_s):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        self.heard, self._announced = self._announced, set()
        return True


class Notices:
    """Topics of one hub process. A topic is a short text such as ``server:42``."""

    def __init__(self) -> None:
        self._watches: dict[str, set[Watch]] = {}
        #: tells the other hubs; None where there are none
        self.tell_others: Callable[[str], None] | None = None

    def announce(self, topic: str) -> None:
        """Wake everybody who watches this topic, here and on other hubs.

        Call it after the commit, or they read the old row.
        """
        self.hear(topic)
        if self.tell_others is not None:
            self.tell_others(topic)

    def hear(self, topic: str) -> None:
        """Wake those who watch this topic on this hub."""
        for watch in self._watches.get(topic, ()):
            watch.announce(topic)

    def hear_everything(self) -> None:
        """Wake all who watch anything on this hub: what others have announced may have been missed."""
        for watches in self._watches.values():
            for watch in watches:
                watch.announce()

    @contextmanager
    def watch(self, *topics: str) -> Iterator[Watch]:
        """Watch topics. Read the row *after* entering: a change between the read and the watch would be missed."""
        watch = Watch()
        for topic in topics:
            self._watches.setdefault(topic, set()).add(watch)
        try:
            yield watch
        finally:
            for topic in topics:
                watches = self._watches[topic]
                watches.discard(watch)
                if not watches:
                    del self._watches[topic]


def server_topic(server_id: int) -> str:
    return f"server:{server_id}"
