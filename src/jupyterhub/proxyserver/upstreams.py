"""Connections to upstreams: opening, pooling, and turning what they say into events.

An ``UpstreamConnection`` belongs to one user at a time (a client's connection, or a fetch of an error page) or lies
idle in the pool. Nothing is decided here about what an answer means; see ``protocol.exchange``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from dataclasses import dataclass
from typing import Protocol, cast

from .protocol.exchange import Event, ResponseDone, UpstreamFailed
from .protocol.heads import Refused, ResponseHead
from .protocol.reading import ResponseBody, ResponseReader
from .protocol.targets import Address

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
#: how long an unused connection is kept
POOL_IDLE_S = 30.0
#: unused connections kept for one address
POOL_SIZE = 64
#: A request that cannot be repeated goes on a pooled connection only if that was in use a moment ago: servers close
#: connections after seconds of idleness, and a request that meets the close on its way would be lost.
SURELY_ALIVE_S = 1.0
#: bytes waiting to be sent above which the other side is not read any more
WRITE_HIGH_WATER = 256 * 1024

_DONE, _DONE_REUSABLE = ResponseDone(False), ResponseDone(True)


class UpstreamUnreachable(OSError):
    """No connection to an upstream: refused, no such host or socket, TLS trouble, or too late."""


class UpstreamUser(Protocol):
    """Who uses an upstream's connection."""

    def upstream_events(self, events: list[Event]) -> None: ...

    def upstream_writable(self, is_writable: bool) -> None: ...

    def upstream_joined_data(self, data: bytes) -> None: ...

    def upstream_joined_eof(self) -> None: ...


class UpstreamConnection(asyncio.Protocol):
    def __init__(self, pool: Upstreams, address: Address) -> None:
        self._pool = pool
        self.address = address
        self.user: UpstreamUser | None = None
        self.idle_since = 0.0
        self._reader: ResponseReader | None = None
        self._is_joined = False
        self.is_lost = False

    # -- for the user
    def begin(self, user: UpstreamUser, *, request_method: bytes, unpack: bool) -> None:
        """Expect the answer to one request, whose bytes the user sends next."""
        self.user = user
        self._reader = ResponseReader(request_method=request_method, unpack=unpack)

    def send(self, data: bytes) -> None:
        if not self.is_lost:
            self._transport.write(data)

    def send_eof(self) -> None:
        if not self.is_lost and self._transport.can_write_eof():
            self._transport.write_eof()

    def join(self) -> bytes:
        """From now on pass bytes on uninterpreted. Gives those that came with the answer's head."""
        self._is_joined = True
        return self._reader.take_rest() if self._reader is not None else b""

    def pause_reading(self) -> None:
        if not self.is_lost:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self.is_lost:
            self._transport.resume_reading()

    def release(self) -> None:
        """Back to the pool."""
        self.user = None
        self._reader = None
        self._pool.keep(self)

    def close(self) -> None:
        """Close now; the user is told nothing any more."""
        self.user = None
        if not self.is_lost:
            self._transport.abort()

    def close_after_sending(self) -> None:
        self.user = None
        if not self.is_lost:
            self._transport.close()

    @property
    def is_usable(self) -> bool:
        return not self.is_lost and not self._transport.is_closing()

    # -- from the loop
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        set_keepalive(transport)

    def data_received(self, data: bytes) -> None:
        user, reader = self.user, self._reader
        if user is None or reader is None:
            # Nobody asked: an upstream that says something on an idle connection (a 408, say) is about to close it.
            self.close()
            return
        if self._is_joined:
            user.upstream_joined_data(data)
            return
        events: list[Event] = []
        try:
            events.extend(reader.feed(data))
        except Refused as refusal:
            user.upstream_events([UpstreamFailed(str(refusal), refusal.status)])
            return
        if reader.is_complete and _ends_a_body(events):
            events.append(_DONE_REUSABLE if reader.is_reusable else _DONE)
        if events:
            user.upstream_events(events)

    def eof_received(self) -> bool:
        if self.user is None:
            return False
        if self._is_joined:
            self.user.upstream_joined_eof()
            return not self.address.is_tls  # TLS transports cannot be half closed
        self._tell_end("closed its connection")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if exc is not None and self.user is not None and not self._is_joined:
            self._hear_last_words()
        if self.user is None:
            self._pool.forget(self)
        elif self._is_joined:
            self.user.upstream_events([UpstreamFailed("the connection ended")])
        else:
            self._tell_end(f"broke its connection: {exc}" if exc else "closed its connection", is_clean=exc is None)

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

    def _tell_end(self, why: str, *, is_clean: bool = True) -> None:
        assert self.user is not None and self._reader is not None
        ended: list[Event] = list(self._reader.feed_eof()) if is_clean else []
        self.user.upstream_events([*ended, ResponseDone(False)] if ended else [UpstreamFailed(f"the upstream {why}")])


def _ends_a_body(events: list[Event]) -> bool:
    return bool(events) and isinstance(events[-1], ResponseBody) and events[-1].is_last


class Upstreams:
    """All connections to upstreams, and the idle ones among them by address."""

    def __init__(self, *, tls: ssl.SSLContext, connect_timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        self._tls = tls
        self._connect_timeout_s = connect_timeout_s
        self._idle: dict[Address, list[UpstreamConnection]] = {}

    def take(self, address: Address, *, is_repeatable: bool) -> UpstreamConnection | None:
        """Give an idle connection: the one used last, which is the least likely to be closed by the other end."""
        idle = self._idle.get(address)
        while idle:
            connection = idle[-1]
            if not connection.is_usable:
                idle.pop()
                continue
            if not is_repeatable and asyncio.get_running_loop().time() - connection.idle_since > SURELY_ALIVE_S:
                return None
            return idle.pop()
        return None

    async def connect(self, address: Address) -> UpstreamConnection:
        """Open a connection. Raises ``UpstreamUnreachable``."""
        loop = asyncio.get_running_loop()
        tls = self._tls if address.is_tls else None

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
        idle = self._idle.setdefault(connection.address, [])
        if len(idle) >= POOL_SIZE or not connection.is_usable:
            connection.close()
            return
        connection.idle_since = asyncio.get_running_loop().time()
        connection.resume_reading()  # the last user may have left it paused; an end must be seen
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
        self._connection: UpstreamConnection | None = None
        self._done: asyncio.Future[Fetched] = asyncio.get_running_loop().create_future()

    async def get(self, address: Address, request: bytes) -> Fetched:
        """Raises ``UpstreamUnreachable`` for whatever goes wrong; the caller sets the time limit."""
        # Always a new connection: error pages are rare, and a stale one would cost the page.
        self._connection = await self._upstreams.connect(address)
        try:
            self._connection.begin(self, request_method=b"GET", unpack=True)
            self._connection.send(request)
            return await self._done
        finally:
            self._connection.close()

    def upstream_events(self, events: list[Event]) -> None:
        if self._done.done():
            return
        for event in events:
            match event:
                case ResponseHead() if not event.is_informational:
                    self._head = event
                case ResponseBody():
                    self._body += event.data
                    if len(self._body) > self._max_bytes:
                        self._done.set_exception(UpstreamUnreachable("the error page is too long"))
                        return
                case UpstreamFailed():
                    self._done.set_exception(UpstreamUnreachable(event.why))
                    return
                case ResponseDone() if self._head is not None:
                    self._done.set_result(Fetched(self._head, bytes(self._body)))
                    return

    def upstream_writable(self, is_writable: bool) -> None:
        pass

    def upstream_joined_data(self, data: bytes) -> None:
        pass

    def upstream_joined_eof(self) -> None:
        pass


def set_keepalive(transport: asyncio.BaseTransport) -> None:
    """Let the kernel find out about peers that vanished without a word: idle WebSockets would stay for ever."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
