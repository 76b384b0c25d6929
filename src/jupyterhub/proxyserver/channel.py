"""Messages between the process that keeps the table and its workers: pickles with their length, over a socket pair.

Both ends are the same program, started by the same command; nobody else has the sockets.
"""

from __future__ import annotations

import asyncio
import pickle
import socket
import struct
from typing import Any, cast

_LENGTH = struct.Struct("!I")


class Channel(asyncio.Protocol):
    def __init__(self, unread: bytes = b"") -> None:
        """``unread`` is what a predecessor has left."""
        self._unread = bytearray(unread)
        self._has_news = asyncio.Event()
        self._is_lost = False

    @classmethod
    async def over(cls, sock: socket.socket, unread: bytes = b"") -> Channel:
        channel = cls(unread)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: channel, sock)
        return channel

    @property
    def unread(self) -> bytes:
        return bytes(self._unread)

    def send(self, message: Any) -> None:
        data = pickle.dumps(message)
        self._transport.write(_LENGTH.pack(len(data)) + data)

    async def receive(self) -> Any:
        """Give the next message. Raises ``EOFError`` when the other process is gone."""
        while True:
            if len(self._unread) >= _LENGTH.size:
                end = _LENGTH.size + _LENGTH.unpack_from(self._unread)[0]
                if len(self._unread) >= end:
                    message = pickle.loads(self._unread[_LENGTH.size : end])
                    del self._unread[:end]
                    return message
            if self._is_lost:
                raise EOFError
            self._has_news.clear()
            await self._has_news.wait()

    def pause(self) -> None:
        """What still comes is for a successor."""
        self._transport.pause_reading()

    def close(self) -> None:
        self._transport.close()

    # -- from the loop
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        self._has_news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self._has_news.set()
