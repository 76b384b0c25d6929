"""Connections to upstreams: opening and pooling.

An ``UpstreamConnection`` belongs to one user at a time (a client's connection, or a fetch of an error page) or lies
idle in the pool. It passes bytes on as they come; what they mean is found out by its user, with ``protocol``.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from .limits import CONNECT_TIMEOUT_S
from .outbox import Outbox
from .protocol.heads import Refused, ResponseHead
from .protocol.reading import ResponseReader
from .protocol.targets import Address

#: how long an unused connection is kept
POOL_IDLE_S = 30.0
#: unused connections kept for one address; below what is busy at once, each turn would cost a new connection
POOL_SIZE = 512
#: A request that cannot be repeated goes on a pooled connection only if that was in use a moment ago: servers close
#: connections after seconds of idleness, and a request that meets the close on its way would be lost.
SURELY_ALIVE_S = 1.0
#: bytes waiting to be sent above which the other side is not read any more
WRITE_HIGH_WATER = 256 * 1024


class UpstreamUnreachable(OSError):
    """No connection to an upstream: refused, no such host or socket, TLS trouble, or too late."""


class UpstreamUser(Protocol):
    """Who uses an upstream's connection."""

    def upstream_data(self, data: bytes) -> None: ...

    def upstream_ended(self, why: str, *, is_clean: bool) -> None:
        """Nothing more comes. Clean ends are those that the upstream wanted."""

    def upstream_writable(self, is_writable: bool) -> None: ...


class UpstreamConnection(asyncio.Protocol):
    __slots__ = ("_pool", "_transport", "address", "idle_since", "is_lost", "user")

    def __init__(self, pool: Upstreams, address: Address) -> None:
        self._pool = pool
        self.address = address
        self.user: UpstreamUser | None = None
        self.idle_since = 0.0
        #: nothing can be sent any more
        self.is_lost = False

    # -- for the user
    def send(self, data: bytes) -> None:
        if not self.is_lost:
            self._pool.outbox.write(self._transport, data)

    def hand_over(self) -> asyncio.Transport:
        """Give the bare transport to somebody who sets another protocol for it."""
        self.user = None
        self._pool.outbox.flush()
        return self._transport

    def pause_reading(self) -> None:
        if not self.is_lost:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self.is_lost:
            self._transport.resume_reading()

    def close(self) -> None:
        """Close now; the user is told nothing any more."""
        self.user = None
        if not self.is_lost:
            self.is_lost = True
            self._transport.abort()

    # -- from the loop
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        set_keepalive(transport)

    def data_received(self, data: bytes) -> None:
        user = self.user
        if user is not None:
            user.upstream_data(data)
        else:
            # Nobody asked: an upstream that says something on an idle connection (a 408, say) is about to close it.
            self.close()

    def eof_received(self) -> bool:
        if self.user is not None:
            self.user.upstream_ended("the upstream closed its connection", is_clean=True)
        self.is_lost = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if exc is not None and self.user is not None:
            self._hear_last_words()
        if self.user is None:
            self._pool.forget(self)
        elif exc is None:
            self.user.upstream_ended("the upstream closed its connection", is_clean=True)
        else:
            self.user.upstream_ended(f"the upstream broke its connection: {exc}", is_clean=False)

    def pause_writing(self) -> None:
        if self.user is not None:
            self.user.upstream_writable(False)

    def resume_writing(self) -> None:
        if self.user is not None:
            self.user.upstream_writable(True)

    def _hear_last_words(self) -> None:
        """Read what the kernel still holds for us, before the socket is closed.

        An upstream that answers "413" in the middle of an upload and closes resets the connection. Our next write
        fails, and transports then end at once, with the answer unread: the client would see 503 instead.
        """
        sock = self._transport.get_extra_info("socket")
        if self.address.is_tls or sock is None:
            return
        try:
            while self.user is not None and (data := os.read(sock.fileno(), 65536)):
                self.data_received(data)
        except OSError:  # nothing more there, or the reset itself
            return


class Upstreams:
    """All connections to upstreams, and the idle ones among them by address."""

    def __init__(self, *, tls: Callable[[], ssl.SSLContext], connect_timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        """``tls`` gives what connections to https targets are made with from now on."""
        self._tls = tls
        self._connect_timeout_s = connect_timeout_s
        self._idle: dict[Address, list[UpstreamConnection]] = {}
        #: for all connections of this loop, the clients' too
        self.outbox = Outbox()
        self._now = asyncio.get_running_loop().time

    def take(self, address: Address, is_repeatable: bool) -> UpstreamConnection | None:
        """Give an idle connection: the one used last, which is the least likely to be closed by the other end."""
        idle = self._idle.get(address)
        while idle:
            connection = idle.pop()
            if not connection.is_lost:
                if is_repeatable or self._now() - connection.idle_since <= SURELY_ALIVE_S:
                    return connection
                idle.append(connection)
                break
        return None

    async def connect(self, address: Address) -> UpstreamConnection:
        """Open a connection. Raises ``UpstreamUnreachable``."""
        loop = asyncio.get_running_loop()
        tls = self._tls() if address.is_tls else None

        def protocol() -> UpstreamConnection:
            return UpstreamConnection(self, address)

        try:
            async with asyncio.timeout(self._connect_timeout_s):
                if address.socket_path:
                    server_hostname = address.host if tls else None
                    _, connection = await loop.create_unix_connection(
                        protocol, address.socket_path, ssl=tls, server_hostname=server_hostname
                    )
                else:
                    _, connection = await loop.create_connection(protocol, address.host, address.port, ssl=tls)
        except TimeoutError as error:
            raise UpstreamUnreachable(f"no connection to {address} within {self._connect_timeout_s:g} s") from error
        except (OSError, UnicodeError, ValueError) as error:
            raise UpstreamUnreachable(f"no connection to {address}: {error}") from error
        return connection

    def keep(self, connection: UpstreamConnection) -> None:
        """Take back a connection that is fit for another request."""
        connection.user = None
        idle = self._idle.get(connection.address)
        if idle is None:
            idle = self._idle[connection.address] = []
        if len(idle) >= POOL_SIZE or connection.is_lost:
            connection.close()
            return
        connection.idle_since = self._now()
        idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        idle = self._idle.get(connection.address)
        if idle is not None and connection in idle:
            idle.remove(connection)
            if not idle:
                del self._idle[connection.address]

    def close_idle_since(self, moment: float) -> None:
        """Close the connections that have not been used since this moment (of the loop's clock)."""
        for idle in list(self._idle.values()):
            for connection in [old for old in idle if old.idle_since <= moment]:
                connection.close()


@dataclass(slots=True)
class Fetched:
    head: ResponseHead
    body: bytes


class Fetch:
    """One short GET of our own; see ``error_pages``."""

    def __init__(self, upstreams: Upstreams, *, max_bytes: int) -> None:
        self._upstreams = upstreams
        self._max_bytes = max_bytes
        self._head: ResponseHead | None = None
        self._body = bytearray()
        self._reader = ResponseReader(b"GET", unpack=True)
        self._done: asyncio.Future[Fetched] = asyncio.get_running_loop().create_future()

    async def get(self, address: Address, request: bytes) -> Fetched:
        """Raises ``UpstreamUnreachable`` for whatever goes wrong; the caller sets the time limit."""
        # Always a new connection: error pages are rare, and a stale one would cost the page.
        connection = await self._upstreams.connect(address)
        try:
            connection.user = self
            connection.send(request)
            if connection.is_lost:
                raise UpstreamUnreachable("the connection was closed at once")
            return await self._done
        finally:
            connection.close()

    def upstream_data(self, data: bytes) -> None:
        if self._done.done():
            return
        try:
            events = self._reader.feed(data)
        except Refused as refusal:
            self._done.set_exception(UpstreamUnreachable(str(refusal)))
            return
        for event in events:
            if isinstance(event, ResponseHead):
                self._head = event
            else:
                self._body += event
        if len(self._body) > self._max_bytes:
            self._done.set_exception(UpstreamUnreachable("the error page is too long"))
        elif self._reader.is_complete:
            self._finish()

    def upstream_ended(self, why: str, *, is_clean: bool) -> None:
        if self._done.done():
            return
        if is_clean and self._reader.feed_eof():
            self._finish()
        else:
            self._done.set_exception(UpstreamUnreachable(why))

    def upstream_writable(self, is_writable: bool) -> None:
        pass

    def _finish(self) -> None:
        assert self._head is not None
        self._done.set_result(Fetched(self._head, bytes(self._body)))


def set_keepalive(transport: asyncio.BaseTransport) -> None:
    """Let the kernel find out about peers that vanished without a word: idle WebSockets would stay for ever."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
