"""Two sockets joined: what becomes of a client's and an upstream's connection after an agreed upgrade.

Bytes of the other protocol (WebSocket) pass in both directions, uninterpreted, with back-pressure: neither side is read
while the other cannot take what was read. The protocols here replace those that have read HTTP, so that an idle
WebSocket holds nothing of them. A side that shuts its direction down still gets the rest of the other one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import Protocol, cast

from .limits import NEVER, Limits
from .outbox import Outbox
from .protocol.frames import PING, FrameBorders, is_empty_pong
from .protocol.routes import Route
from .succession import Pair

log = logging.getLogger(__name__)


class Host(Protocol):
    """What a pair needs of the server that it belongs to."""

    now: float
    limits: Limits
    outbox: Outbox

    def joined_ended(self, pair: Joined) -> None: ...


def is_tls(transport: asyncio.BaseTransport) -> bool:
    return transport.get_extra_info("sslcontext") is not None


class Joined:
    """The pair. ``keep_time`` is called now and then."""

    __slots__ = (
        "_deadline",
        "_is_lost",
        "client",
        "counted_ip",
        "host",
        "is_frozen",
        "moved_at",
        "pinged_at",
        "route",
        "upstream",
    )

    def __init__(
        self,
        host: Host,
        route: Route,
        client: asyncio.Transport,
        upstream: asyncio.Transport,
        counted_ip: str = "",
        borders: tuple[FrameBorders | None, FrameBorders | None] = (None, None),
    ) -> None:
        self.host = host
        #: see ``ClientConnection``
        self.counted_ip = counted_ip
        self.route = route
        self.moved_at = self.pinged_at = host.now
        #: for something to move, after one direction was shut down
        self._deadline = NEVER
        self._is_lost = False
        self.is_frozen = False
        self.client = Side(self, client)
        self.upstream = Side(self, upstream)
        self.client.other, self.upstream.other = self.upstream, self.client
        if host.limits.ping_s:
            # A pair that comes from a predecessor without pings may be in the middle of a frame: it gets none here.
            self.client.borders, self.upstream.borders = borders
        client.set_protocol(self.client)
        upstream.set_protocol(self.upstream)

    def side_ended(self) -> None:
        """A direction is over; the other may go on as long as something moves."""
        self.moved_at = self.host.now
        self._deadline = self.moved_at + self.host.limits.half_closed_s

    def lost(self) -> None:
        """One connection is gone, and with it the pair."""
        if not self._is_lost:
            self._is_lost = True
            self.host.joined_ended(self)

    def drain(self) -> None:
        """Nothing is over as long as both want to go on."""

    def freeze(self) -> None:
        """Read nothing more: a successor does."""
        self.is_frozen = True
        for side in (self.client, self.upstream):
            if not side.transport.is_closing():
                side.transport.pause_reading()

    @property
    def is_settled(self) -> bool:
        """Nothing is on its way through this process."""
        return not any(side.transport.get_write_buffer_size() for side in (self.client, self.upstream))

    def bequeath(self) -> Pair | None:
        """Give what a successor needs to go on, or None if it cannot."""
        sides = (self.client, self.upstream)
        if not self.is_settled or any(side.is_ended or is_tls(side.transport) for side in sides):
            return None
        fds = [os.dup(side.transport.get_extra_info("socket").fileno()) for side in sides]
        borders = (self.client.borders, self.upstream.borders)
        return Pair(fds[0], fds[1], self.route.path, dict(self.route.data), borders)

    def abort(self) -> None:
        self.client.transport.abort()
        self.upstream.transport.abort()

    def keep_time(self, now: float) -> None:
        limits = self.host.limits
        if now >= self._deadline:
            if self.moved_at + limits.half_closed_s > now:
                self._deadline = self.moved_at + limits.half_closed_s
            else:
                self.abort()
        elif limits.silence_s is not None and now - self.moved_at >= limits.silence_s:
            log.info("nothing moved for %g s: WebSocket dropped", limits.silence_s)
            self.abort()
        elif (
            self.upstream.borders is not None
            and now - max(self.moved_at, self.pinged_at) >= limits.ping_s
            and self._deadline == NEVER
            and self.upstream.borders.is_at_border
        ):
            self.pinged_at = now
            self.client.transport.write(PING)


class Side(asyncio.Protocol):
    __slots__ = ("borders", "is_ended", "other", "pair", "transport")

    other: Side

    def __init__(self, pair: Joined, transport: asyncio.Transport) -> None:
        self.pair = pair
        self.transport = transport
        self.is_ended = False
        #: set on the side whose frames are followed
        self.borders: FrameBorders | None = None

    def data_received(self, data: bytes) -> None:
        if self.borders is not None:
            if self.borders.is_at_border and is_empty_pong(data):
                return  # to a ping of ours: neither the upstream's business nor activity
            self.borders.feed(data)
        pair = self.pair
        pair.moved_at = pair.host.now
        pair.route.last_activity = time.time()
        pair.host.outbox.write(self.other.transport, data)

    def eof_received(self) -> bool:
        self.is_ended = True
        self.pair.side_ended()
        self.pair.host.outbox.flush()
        if self.other.is_ended or not self.other.transport.can_write_eof():
            self.other.transport.close()
            return False
        self.other.transport.write_eof()
        return self.transport.can_write_eof()  # TLS transports cannot be half closed

    def connection_lost(self, exc: Exception | None) -> None:
        self.pair.lost()
        self.pair.host.outbox.flush()
        self.other.transport.close()

    def pause_writing(self) -> None:
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if not self.pair.is_frozen and not self.other.transport.is_closing():
            self.other.transport.resume_reading()


class Waiting(asyncio.Protocol):
    """Holds one side of a pair from a predecessor until the other one is there as well."""

    def __init__(self) -> None:
        self._data: list[bytes] = []
        self._is_ended = False
        self._is_lost = False

    def itself(self) -> Waiting:
        return self

    def catch_up(self, side: Side) -> None:
        """Tell the side, which has taken this one's place, what has happened until then."""
        for data in self._data:
            side.data_received(data)
        if self._is_lost:
            side.connection_lost(None)
        elif self._is_ended and not side.eof_received():
            side.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._data.append(data)

    def eof_received(self) -> bool:
        self._is_ended = True
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
