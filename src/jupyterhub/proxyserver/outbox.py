"""What is to be written at the end of a turn of the loop.

A turn reads what all ready connections have sent. Writing at once would wake the other end each time, let it do its
little work and go to sleep again; written together at the end, the same bytes find it awake. On a busy proxy this is a
tenth of the CPU time, ours and theirs.
"""

from __future__ import annotations

import asyncio

#: Pieces of bulk transfers are written at once: the other end is awake, and they are still in the processor's cache.
BULK_BYTES = 16 * 1024


class Outbox:
    """One for all connections of a loop; whoever closes a connection that it has written to flushes before."""

    __slots__ = ("_call_soon", "_waiting")

    def __init__(self) -> None:
        self._call_soon = asyncio.get_running_loop().call_soon
        self._waiting: list[tuple[asyncio.WriteTransport, bytes]] = []

    def write(self, transport: asyncio.WriteTransport, data: bytes) -> None:
        if len(data) >= BULK_BYTES:
            self.flush()
            if not transport.is_closing():
                transport.write(data)
            return
        if not self._waiting:
            self._call_soon(self.flush)
        self._waiting.append((transport, data))

    def flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for transport, data in waiting:
            if not transport.is_closing():
                transport.write(data)
