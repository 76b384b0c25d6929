"""Notices: rows changed, so whoever waits for them looks again.

Within one process a notice is an event per topic. Between hubs on PostgreSQL the same notices travel by NOTIFY (one
listening connection per hub). Missing one costs the time until the next slow look, never correctness: every wait has
an end, and whoever wakes up reads the rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Watch:
    """One waiter's view of a topic; what was announced since its last ``wait`` is not lost."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def announce(self) -> None:
        self._changed.set()

    async def wait(self, *, within_s: float) -> bool:
        """Return True after an announcement, False when there was none in ``within_s`` seconds."""
        try:
            async with asyncio.timeout(within_s):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True


class Notices:
    """Topics of one hub process. A topic is a short text such as ``server:42``."""

    def __init__(self) -> None:
        self._watches: dict[str, set[Watch]] = {}

    def announce(self, topic: str) -> None:
        """Wake everybody who watches this topic. Call it after the commit, or the others read the old row."""
        for watch in self._watches.get(topic, ()):
            watch.announce()

    @contextmanager
    def watch(self, topic: str) -> Iterator[Watch]:
        """Watch a topic. Read the row *after* entering: a change between the read and the watch would be missed."""
        watch = Watch()
        watches = self._watches.setdefault(topic, set())
        watches.add(watch)
        try:
            yield watch
        finally:
            watches.discard(watch)
            if not watches:
                self._watches.pop(topic, None)


def server_topic(server_id: int) -> str:
    return f"server:{server_id}"
