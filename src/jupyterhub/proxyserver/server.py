"""The public side: clients' connections, and the performing of what ``protocol.exchange`` decides.

One ``ClientConnection`` for each client; it reads requests one after the other, owns the exchange of the current one
and the upstream's connection that belongs to it. Here are sockets, time limits and back-pressure: neither side is
read while the other cannot take what was read. ``PublicServer`` holds what all connections share.

A small request passes here in a handful of calls, and each costs. So nothing is scheduled that can be called, times
are those of the last look at the clock (``PublicServer.now``), and what is rare is looked for once, by the phase of the
exchange, not at every step.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from enum import Enum
from functools import lru_cache
from typing import cast

from .access_log import AccessLog
from .counters import CLIENT_GONE, Counters
from .error_pages import ErrorPages
from .httpdate import http_date
from .joined import Joined, Waiting
from .limits import NEVER, Limits
from .protocol.exchange import (
    BROKEN,
    DONE,
    FAILED,
    HEALTH_BODY,
    HEALTHY,
    JOINED,
    OPEN,
    OPENING,
    Exchange,
    FindsRoutes,
    Site,
)
from .protocol.fields import ClientFacts, ForwardingRules
from .protocol.frames import FrameBorders
from .protocol.heads import Refused, RequestHead
from .protocol.reading import RequestReader, ResponseReader
from .protocol.routes import Route, RouteTable
from .small_http import Answer, answer_bytes
from .succession import FLUSH_S, SETTLE_S, IdleClient, Pair
from .trust import Trust
from .upstreams import (
    POOL_IDLE_S,
    WRITE_HIGH_WATER,
    UpstreamConnection,
    Upstreams,
    UpstreamUnreachable,
    set_keepalive,
)

log = logging.getLogger(__name__)

#: pipelined bytes behind a request above which the client is not read until its answer is complete
MAX_PIPELINED_BYTES = 64 * 1024
#: how often a server that gives way looks whether exchanges have ended
SETTLE_STEP_S = 0.01


class _Hold:
    """Why a client is not being read: bits of a plain number, which is looked at several times in each request."""

    #: its body has nowhere to go yet
    NO_UPSTREAM = 1
    UPSTREAM_FULL = 2
    PIPELINED = 4
    #: the rest is for a successor
    FROZEN = 8


class _Mode(Enum):
    HTTP = "requests and answers"
    LINGERING = "our last answer is sent; what still comes is thrown away"
    JOINED = "handed over to ``joined``"


_HTTP, _LINGERING, _JOINED = _Mode.HTTP, _Mode.LINGERING, _Mode.JOINED


class PublicServer:
    """What all clients' connections share. ``run`` keeps the time limits."""

    def __init__(
        self,
        *,
        routes: RouteTable,
        rules: ForwardingRules,
        limits: Limits,
        upstreams: Upstreams,
        error_pages: ErrorPages,
        counters: Counters,
        is_tls: bool,
        times_lookups: bool = False,
        trust: Trust | None = None,
        access_log: AccessLog | None = None,
    ) -> None:
        self.limits = limits
        self.upstreams = upstreams
        self.error_pages = error_pages
        self.counters = counters
        self.is_tls = is_tls
        self.outbox = upstreams.outbox
        self.trust = trust or Trust.everybody()
        self.access_log = access_log
        #: with metrics, lookups are timed
        found_by: FindsRoutes = _TimedRoutes(routes, counters) if times_lookups else routes
        self.site = Site(found_by, rules, http_date)
        self._own_fields = {"Strict-Transport-Security": rules.hsts.decode()} if rules.hsts else {}
        #: the last look at the loop's clock, and a step on: deadlines counted from it are met late, never early
        self.now = self._look_at_the_clock()
        self.is_draining = False
        self.is_frozen = False
        self._is_empty = asyncio.Event()
        self._connections: set[ClientConnection | Joined] = set()
        #: open connections by address, only if they are limited
        self._by_ip: Counter[str] = Counter()

    def connection(self) -> ClientConnection:
        return ClientConnection(self)

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    async def run(self) -> None:
        """Keep the time limits until cancelled.

        One look at all connections now and then, instead of a timer for each: a timer set and cancelled with every
        request costs more than everything else that we do about time.
        """
        while True:
            await asyncio.sleep(self.limits.granularity_s)
            self.now = self._look_at_the_clock()
            now = self.now - self.limits.granularity_s
            for connection in list(self._connections):
                connection.keep_time(now)
            self.upstreams.close_idle_since(now - POOL_IDLE_S)

    def _look_at_the_clock(self) -> float:
        return asyncio.get_running_loop().time() + self.limits.granularity_s

    def drain(self) -> None:
        """Begin no new exchange: idle connections are closed now, others with the end of their answer."""
        self.is_draining = True
        for connection in list(self._connections):
            connection.drain()

    async def wait_until_empty(self) -> None:
        """Wait for the end of all connections, of a server that is draining."""
        if self._connections:
            await self._is_empty.wait()

    async def bequeath(self) -> tuple[list[IdleClient], list[Pair]]:
        """Stop reading, let what runs end, and give what a successor can go on with. See ``succession``."""
        log.info("giving way to a successor; exchanges have %g s to end", SETTLE_S)
        self.is_frozen = True
        for connection in list(self._connections):
            if isinstance(connection, ClientConnection):
                connection.freeze()
        await self._settle(ClientConnection, SETTLE_S)
        for connection in list(self._connections):
            if isinstance(connection, Joined):
                connection.freeze()
        self.outbox.flush()
        await self._settle(Joined, FLUSH_S)
        left = [connection.bequeath() for connection in self._connections]
        clients = [item for item in left if isinstance(item, IdleClient)]
        return clients, [item for item in left if isinstance(item, Pair)]

    async def _settle(self, kind: type[ClientConnection | Joined], within_s: float) -> None:
        end = asyncio.get_running_loop().time() + within_s
        while asyncio.get_running_loop().time() < end:
            if all(connection.is_settled for connection in self._connections if isinstance(connection, kind)):
                return
            await asyncio.sleep(SETTLE_STEP_S)  # for a moment at most: events for this would be in the way all year

    async def adopt(self, clients: Iterable[IdleClient], pairs: Iterable[Pair], routes: RouteTable) -> None:
        """Go on with what a predecessor has left."""
        loop = asyncio.get_running_loop()
        for pair in pairs:
            waiting = [Waiting(), Waiting()]
            for side, fd in zip(waiting, (pair.client_fd, pair.upstream_fd), strict=True):
                await loop.connect_accepted_socket(side.itself, socket.socket(fileno=fd))
            route = routes.get(pair.route_path) or Route(pair.route_path, pair.route_data, b"", time.time())
            joined = Joined(self, route, waiting[0].transport, waiting[1].transport, "", pair.borders)
            self._connections.add(joined)
            self.counters.client_connections += 1
            self.counters.open_websockets += 1
            waiting[0].catch_up(joined.client)
            waiting[1].catch_up(joined.upstream)
        for client in clients:
            connection = ClientConnection(self, client.unread)
            await loop.connect_accepted_socket(connection.itself, socket.socket(fileno=client.fd))

    def signed(self, answer: Answer) -> Answer:
        """Give an answer of our own with the fields that all answers here have."""
        return replace(answer, fields={**answer.fields, **self._own_fields}) if self._own_fields else answer

    def admit(self, connection: ClientConnection, ip: str, *, is_trusted: bool) -> bool:
        """Count a new connection in, or say that there are too many."""
        limits = self.limits
        if limits.max_connections and len(self._connections) >= limits.max_connections:
            return False
        if limits.max_connections_per_client and not is_trusted:
            if self._by_ip[ip] >= limits.max_connections_per_client:
                return False
            self._by_ip[ip] += 1
            connection.counted_ip = ip
        self._connections.add(connection)
        self.counters.client_connections += 1
        return True

    def left(self, connection: ClientConnection) -> None:
        """The connection is closed."""
        self._count_out(connection, connection.counted_ip)

    def joined(self, connection: ClientConnection, pair: Joined) -> None:
        """The pair goes on in the place of the connection."""
        self._connections.discard(connection)
        self._connections.add(pair)
        self.counters.open_websockets += 1

    def joined_ended(self, pair: Joined) -> None:
        self.counters.open_websockets -= 1
        self._count_out(pair, pair.counted_ip)

    def _count_out(self, connection: ClientConnection | Joined, ip: str) -> None:
        self._connections.discard(connection)
        self.counters.client_connections -= 1
        if self.is_draining and not self._connections:
            self._is_empty.set()
        if ip:
            self._by_ip[ip] -= 1
            if not self._by_ip[ip]:
                del self._by_ip[ip]


class _TimedRoutes:
    def __init__(self, routes: RouteTable, counters: Counters) -> None:
        self._routes = routes
        self._counters = counters

    def find(self, host: bytes | None, path_raw: bytes) -> Route | None:
        begin = time.perf_counter()
        route = self._routes.find(host, path_raw)
        self._counters.find_target_for_req.add(time.perf_counter() - begin)
        return route


class ClientConnection(asyncio.Protocol):
    __slots__ = (
        "_answer_reader",
        "_began",
        "_client_eof",
        "_deadline",
        "_exchange",
        "_facts",
        "_holds",
        "_is_lost",
        "_is_writable",
        "_loop",
        "_mode",
        "_moved_at",
        "_reader",
        "_sent_bytes",
        "_server",
        "_task",
        "_transport",
        "_unread",
        "_upstream",
        "_upstream_moved_at",
        "counted_ip",
    )

    def __init__(self, server: PublicServer, unread: bytes = b"") -> None:
        """``unread`` is what a predecessor has read and not used."""
        self._server = server
        self._unread = unread
        self._loop = asyncio.get_running_loop()
        self._reader = RequestReader(max_head_bytes=server.limits.max_head_bytes)
        self._mode = _HTTP
        self._exchange: Exchange | None = None
        self._upstream: UpstreamConnection | None = None
        #: reads what ``_upstream`` answers
        self._answer_reader: ResponseReader | None = None
        #: opening an upstream, or fetching an error page
        self._task: asyncio.Task[None] | None = None
        self._holds = 0
        self._is_writable = True
        self._client_eof = False
        self._is_lost = False
        #: set if connections from there are counted
        self.counted_ip = ""
        #: when the current request was read, and what its answer has come to, in bytes
        self._began = 0.0
        self._sent_bytes = 0
        #: moments as in ``PublicServer.now``
        self._moved_at = self._upstream_moved_at = server.now
        self._deadline = NEVER

    def itself(self) -> ClientConnection:
        return self

    # -- from the loop
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        # RFC 7239 §6 has a word for who cannot be named: clients on a Unix socket.
        ip = peer[0].removeprefix("::ffff:") if isinstance(peer, tuple) else "unknown"
        server = self._server
        self._facts = _facts(ip, server.is_tls, server.trust.includes(ip))
        if not server.admit(self, ip, is_trusted=self._facts.is_trusted):
            self._is_lost = True
            server.counters.refused_connections += 1
            answer = Answer(503, b"There are too many connections.\n", {"Content-Type": "text/plain"})
            self._transport.write(answer_bytes(server.signed(answer), keep_alive=False))
            self._transport.close()
            return
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        set_keepalive(transport)
        self._moved_at = server.now
        self._deadline = server.now + server.limits.first_byte_s
        if self._unread:
            self.data_received(self._unread)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_lost:
            return  # never let in
        self._is_lost = True
        self._server.left(self)
        if self._task is not None:
            self._task.cancel()
        if self._exchange is not None:
            self._exchange.client_gone()
            self._count(CLIENT_GONE)
        if self._upstream is not None:
            self._upstream.close()
            self._upstream = None

    def data_received(self, data: bytes) -> None:
        if self._mode is not _HTTP or self._is_lost:
            return
        self._moved_at = self._server.now
        reader = self._reader
        try:
            was_inside_head = reader.is_inside_head
            try:
                events = reader.feed(data)
            except Refused as refusal:
                self._refuse(refusal)
                return
            for event in events:
                if type(event) is bytes:
                    self._pass_body(event)
                else:
                    self._begin_exchange(event)  # type: ignore[arg-type]
            if not events and not was_inside_head and reader.is_inside_head:
                self._deadline = self._moved_at + self._server.limits.head_s
            elif reader.held_bytes > MAX_PIPELINED_BYTES:
                self._hold(_Hold.PIPELINED)
        except Exception:
            self._fall_over()

    def eof_received(self) -> bool:
        self._client_eof = True
        self._server.outbox.flush()  # what waits there is not lost if the loop closes the connection behind us
        exchange = self._exchange
        if self._mode is _LINGERING or self._server.is_tls:  # TLS transports cannot be half closed
            return False
        if exchange is None:
            return self._reader.held_bytes > 0
        self._deadline = self._server.now + self._server.limits.half_closed_s
        if not exchange.is_request_read:
            exchange.client_gone()  # half a request: nothing to wait for
            self._abandon_upstream()
            return False
        return True

    def pause_writing(self) -> None:
        self._is_writable = False
        if self._upstream is not None:
            self._upstream.pause_reading()

    def resume_writing(self) -> None:
        self._is_writable = True
        self._moved_at = self._server.now
        if self._upstream is not None:
            self._upstream.resume_reading()

    # -- reading requests
    def _begin_exchange(self, head: RequestHead) -> None:
        server = self._server
        self._exchange = exchange = Exchange(server.site, self._facts, head)
        if server.is_draining:
            exchange.keeps_client = False
        self._began = self._loop.time()
        self._sent_bytes = 0
        if head.is_websocket:
            server.counters.requests_ws += 1
        else:
            server.counters.requests_web += 1
        # While a body is awaited the clock runs for each piece; while an answer is, the client may be silent.
        self._deadline = NEVER if self._reader.is_complete else self._moved_at + server.limits.body_s
        if exchange.phase is OPENING:
            connection = server.upstreams.take(exchange.address, exchange.is_repeatable)
            if connection is not None:
                self._begin(exchange, connection, True)
            else:
                self._connect_soon(exchange)
        else:
            self._go_on()

    def _pass_body(self, body: bytes) -> None:
        exchange, is_last = self._exchange, self._reader.is_complete
        if exchange is None:
            return
        self._deadline = NEVER if is_last else self._moved_at + self._server.limits.body_s
        self._server.counters.bytes_in += len(body)
        data = exchange.from_client(body, is_last)
        if data and self._upstream is not None:
            self._upstream.send(data)
        elif exchange.phase is OPENING and not is_last:
            self._hold(_Hold.NO_UPSTREAM)

    def _refuse(self, refusal: Refused) -> None:
        """What came is not HTTP as we read it."""
        log.info("%d refused: %s", refusal.status, refusal)
        exchange = self._exchange
        if exchange is not None:
            if exchange.phase is OPEN or exchange.phase is OPENING:
                exchange.client_broke(str(refusal), refusal.status)
                self._go_on()
            else:
                self._transport.abort()  # an answer of ours is on its way, to a client that no longer makes sense
            return
        self._server.counters.refused_requests += 1
        answer = Answer(refusal.status, f"{refusal}\n".encode(), {"Content-Type": "text/plain; charset=utf-8"})
        data = answer_bytes(self._server.signed(answer), keep_alive=False)
        self._server.counters.answers["none"].add(refusal.status, 0.0, len(data))
        self._write(data)
        self._linger()

    def _next_request(self) -> None:
        """Go on behind a complete exchange."""
        self._exchange = None
        reader = self._reader
        if self._server.is_frozen:
            self._hold(_Hold.FROZEN)
            return
        if reader.held_bytes:
            # In a turn of its own: many small requests in one packet must not become one deep recursion.
            self._deadline = self._server.now + self._server.limits.head_s
            self._loop.call_soon(self._read_held)
            return
        if self._client_eof:
            self._close()
            return
        self._deadline = self._server.now + self._server.limits.keep_alive_s
        reader.begin_next()
        if self._holds:
            self._unhold(_Hold.PIPELINED)

    def _read_held(self) -> None:
        if self._is_lost or self._mode is not _HTTP or self._exchange is not None or self._server.is_frozen:
            return
        self._unhold(_Hold.PIPELINED)
        self.data_received(self._reader.begin_next())
        if self._client_eof and self._exchange is None and self._mode is _HTTP and not self._is_lost:
            self._close()  # half a head, and nothing can come any more

    # -- from the upstream
    def upstream_data(self, data: bytes) -> None:
        exchange, reader = self._exchange, self._answer_reader
        assert exchange is not None and reader is not None
        self._moved_at = self._upstream_moved_at = self._server.now
        try:
            try:
                out = exchange.from_upstream(reader.feed(data))
            except Refused as refusal:
                self._server.counters.upstream_errors["protocol"] += 1
                exchange.upstream_failed(str(refusal), refusal.status)
                self._go_on()
                return
            if out:
                self._sent_bytes += len(out)
                self._server.outbox.write(self._transport, out)
            if exchange.phase is not OPEN:
                self._go_on()
            elif reader.is_complete:
                exchange.upstream_done(reader.is_reusable)
                self._finish(exchange)
        except Exception:
            self._fall_over()

    def upstream_ended(self, why: str, *, is_clean: bool) -> None:
        exchange, reader = self._exchange, self._answer_reader
        assert exchange is not None and reader is not None
        try:
            if is_clean and reader.feed_eof():
                exchange.upstream_done(False)
            else:
                self._server.counters.upstream_errors["ended"] += 1
                exchange.upstream_failed(why, has_started=reader.has_started)
            self._go_on()
        except Exception:
            self._fall_over()

    def upstream_writable(self, is_writable: bool) -> None:
        if is_writable:
            self._unhold(_Hold.UPSTREAM_FULL)
        else:
            self._hold(_Hold.UPSTREAM_FULL)

    # -- performing what the exchange decides
    def _go_on(self) -> None:
        exchange = self._exchange
        assert exchange is not None
        phase = exchange.phase
        if phase is DONE:
            self._finish(exchange)
        elif phase is OPENING:
            self._abandon_upstream()
            self._connect_soon(exchange)
        elif phase is JOINED:
            self._join(exchange)
        elif phase is FAILED:
            self._abandon_upstream()
            self._respond_error(exchange)
        elif phase is HEALTHY:
            self._respond(Answer(200, HEALTH_BODY, {"Content-Type": "application/json"}))
        elif phase is BROKEN:
            self._abandon_upstream()
            self._break_off(exchange)

    def _connect_soon(self, exchange: Exchange) -> None:
        self._task = self._loop.create_task(self._connect(exchange), name=f"connect to {exchange.address}")

    async def _connect(self, exchange: Exchange) -> None:
        try:
            connection = await self._server.upstreams.connect(exchange.address)
        except UpstreamUnreachable as error:
            self._server.counters.upstream_errors["connect"] += 1
            self._task = None
            exchange.upstream_failed(str(error))
            self._guarded(self._go_on)
        except Exception:
            log.exception("internal error while connecting to %s", exchange.address)
            self._task = None
            exchange.upstream_failed("internal error", 500)
            self._guarded(self._go_on)
        else:
            self._task = None
            self._guarded(self._begin, exchange, connection, False)

    def _begin(self, exchange: Exchange, connection: UpstreamConnection, is_reused: bool) -> None:
        head = exchange.head
        self._upstream = connection
        self._upstream_moved_at = self._server.now
        self._answer_reader = ResponseReader(head.method, head.is_http_1_0)
        connection.user = self
        if not self._is_writable:
            connection.pause_reading()
        if self._holds:
            self._unhold(_Hold.NO_UPSTREAM)
        connection.send(exchange.upstream_ready(is_reused))
        if connection.is_lost:  # closed by the upstream before we came to use it, when nobody was there to be told
            self.upstream_ended("the upstream closed its connection", is_clean=False)

    def _abandon_upstream(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._upstream is not None:
            self._upstream.close()
            self._upstream = None
            self._unhold(_Hold.UPSTREAM_FULL)

    def _finish(self, exchange: Exchange) -> None:
        """The answer is complete."""
        upstream = self._upstream
        if upstream is not None:
            self._upstream = None
            if self._holds:
                self._unhold(_Hold.UPSTREAM_FULL)
            if exchange.keeps_upstream:
                if not self._is_writable:
                    upstream.resume_reading()  # idle connections are read: their end must be seen
                self._server.upstreams.keep(upstream)
            else:
                upstream.close()
        assert exchange.response is not None
        self._count(exchange.response.status)
        self._end_answer(exchange)

    def _end_answer(self, exchange: Exchange) -> None:
        if self._is_lost:
            return
        if exchange.keeps_client:
            self._next_request()
            return
        self._exchange = None
        if not self._reader.is_complete or self._reader.held_bytes:
            self._linger()
        else:
            self._close()

    def _linger(self) -> None:
        """Close in a way that lets the client read our last answer although it is still sending (RFC 9112 §9.6)."""
        self._mode = _LINGERING
        self._deadline = self._server.now + self._server.limits.linger_s
        self._unhold(_Hold.NO_UPSTREAM | _Hold.UPSTREAM_FULL | _Hold.PIPELINED)
        self._server.outbox.flush()
        if self._client_eof:
            self._transport.close()
        elif self._transport.can_write_eof():
            self._transport.write_eof()

    def _break_off(self, exchange: Exchange) -> None:
        assert exchange.fault is not None and exchange.response is not None
        log.warning("answer to %s broken off: %s", _described(exchange.head), exchange.fault.why)
        self._count(exchange.response.status)
        self._exchange = None
        if exchange.must_reset:
            self._transport.abort()
        else:
            self._close()

    def _join(self, exchange: Exchange) -> None:
        assert self._upstream is not None and exchange.route is not None and self._answer_reader is not None
        upstream = self._upstream.hand_over()
        self._upstream = None
        self._unhold(_Hold.NO_UPSTREAM | _Hold.UPSTREAM_FULL | _Hold.PIPELINED)
        self._mode = _JOINED
        self._count(101)
        self._exchange = None
        borders = (FrameBorders(), FrameBorders())
        pair = Joined(self._server, exchange.route, self._transport, upstream, self.counted_ip, borders)
        self._server.joined(self, pair)
        if rest := self._answer_reader.take_rest():
            pair.upstream.data_received(rest)
        if rest := self._reader.take_rest():
            pair.client.data_received(rest)
        if self._client_eof:
            pair.client.eof_received()
        if not self._is_writable:
            pair.client.pause_writing()

    def _respond_error(self, exchange: Exchange) -> None:
        assert exchange.fault is not None
        status, why = exchange.fault
        level = logging.INFO if status == 404 else logging.WARNING
        log.log(level, "%d %s: %s", status, _described(exchange.head), why)
        self._deadline = NEVER
        self._unhold(_Hold.NO_UPSTREAM)
        if exchange.is_bare:
            self._respond(Answer(status))
            return
        page = self._server.error_pages.page(status, exchange.head.target)
        if page is not None:
            self._respond(page)
        else:
            self._task = self._loop.create_task(self._fetch_error_page(status, exchange.head.target), name="error page")

    async def _fetch_error_page(self, status: int, request_target: bytes) -> None:
        page = await self._server.error_pages.fetch_page(status, request_target)
        self._task = None
        self._guarded(self._respond, page)

    def _respond(self, answer: Answer) -> None:
        exchange = self._exchange
        if exchange is None or self._is_lost:
            return
        head = exchange.head
        exchange.keeps_client = exchange.keeps_client and exchange.is_request_read
        data = answer_bytes(
            self._server.signed(answer),
            keep_alive=exchange.keeps_client,
            to_head=head.method == b"HEAD",
            is_http_1_0=head.is_http_1_0,
        )
        self._sent_bytes += len(data)
        self._write(data)
        self._count(answer.status)
        self._end_answer(exchange)

    def _write(self, data: bytes) -> None:
        self._server.outbox.write(self._transport, data)

    def _close(self) -> None:
        """When all is sent."""
        self._server.outbox.flush()
        self._transport.close()

    # -- what is counted
    def _count(self, status: int) -> None:
        """An answer, whole or not, has been given; 499 if the client did not wait for it."""
        exchange, server = self._exchange, self._server
        assert exchange is not None
        counters = server.counters
        seconds = self._loop.time() - self._began
        kind = exchange.route.kind if exchange.route is not None else "none"
        counters.answers[kind].add(status, seconds, self._sent_bytes)
        if server.access_log is not None:
            server.access_log.write(self._facts.ip, exchange, status, self._sent_bytes, seconds)

    # -- back-pressure
    def _hold(self, why: int) -> None:
        if not self._holds and not self._is_lost:
            self._transport.pause_reading()
        self._holds |= why

    def _unhold(self, why: int) -> None:
        if not self._holds & why:
            return
        self._holds &= ~why
        if not self._holds and not self._is_lost and not self._transport.is_closing():
            self._moved_at = self._server.now
            if self._deadline is not NEVER and self._exchange is not None and not self._reader.is_complete:
                self._deadline = self._moved_at + self._server.limits.body_s
            self._transport.resume_reading()

    # -- time
    def keep_time(self, now: float) -> None:
        """Called now and then: end what has taken too long."""
        limits = self._server.limits
        if now >= self._deadline and not (self._holds & ~_Hold.PIPELINED):
            self._guarded(self._too_late)
        elif limits.silence_s is not None and now - self._moved_at >= limits.silence_s:
            log.info("nothing moved for %g s: connection dropped", limits.silence_s)
            self._transport.abort()
        elif not self._is_writable:
            if now - self._moved_at >= limits.write_s:
                log.info("the client took nothing for %g s: connection dropped", limits.write_s)
                self._transport.abort()
        elif (
            limits.upstream_silence_s is not None
            and now - self._upstream_moved_at >= limits.upstream_silence_s
            and self._upstream is not None
            and self._reader.is_complete
        ):
            self.upstream_ended(f"the upstream is silent for {limits.upstream_silence_s:g} s", is_clean=False)

    def _too_late(self) -> None:
        if self._client_eof and self._mode is not _LINGERING:
            still_moving = self._moved_at + self._server.limits.half_closed_s
            if still_moving > self._deadline:
                self._deadline = still_moving
                return
        self._deadline = NEVER
        exchange = self._exchange
        if self._mode is not _HTTP or self._client_eof:
            self._transport.abort()
        elif exchange is not None:
            self._refuse(Refused("the request body does not come", 408))
        elif self._reader.is_inside_head:
            self._refuse(Refused("the request head does not come", 408))
        else:
            self._close()  # idle: nothing is lost by silence

    def drain(self) -> None:
        """Close when there is nothing to be answered any more."""
        if self._exchange is not None:
            self._exchange.keeps_client = False
        elif self._mode is _HTTP and not self._reader.held_bytes:
            self._close()

    # -- succession
    def freeze(self) -> None:
        if self._exchange is None and self._mode is _HTTP:
            self._hold(_Hold.FROZEN)

    @property
    def is_settled(self) -> bool:
        return self._exchange is None

    def bequeath(self) -> IdleClient | None:
        """Give what a successor needs to go on, or None if it cannot."""
        if self._exchange is not None or self._mode is not _HTTP or self._client_eof or self._server.is_tls:
            return None
        if self._is_lost or self._transport.is_closing() or self._transport.get_write_buffer_size():
            return None
        return IdleClient(os.dup(self._transport.get_extra_info("socket").fileno()), self._reader.unread)

    # -- the edge
    def _guarded(self, do: Callable[..., None], *arguments: object) -> None:
        """Run a turn. A bug of ours ends this connection, with an ERROR line, and no other."""
        try:
            do(*arguments)
        except Exception:
            self._fall_over()

    def _fall_over(self) -> None:
        log.exception("internal error at %s", _described(self._exchange.head) if self._exchange else "a connection")
        self._exchange = None
        self._abandon_upstream()
        self._transport.abort()


def _described(head: RequestHead) -> str:
    """The request for the log: without its query, which may hold tokens."""
    return f"{head.method.decode()} {head.path_raw.decode()}"


@lru_cache(maxsize=1024)
def _facts(ip: str, is_tls: bool, is_trusted: bool) -> ClientFacts:
    return ClientFacts(ip.encode(), is_tls, is_trusted)
