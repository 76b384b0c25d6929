"""The public side: clients' connections, and the performing of what ``protocol.exchange`` decides.

One ``ClientConnection`` for each client; it reads requests one after the other, owns the exchange of the current one
and the upstream's connection that belongs to it. Here are sockets, time limits and back-pressure: neither side is
read while the other cannot take what was read. ``PublicServer`` holds what all connections share.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import cast

from .counters import Counters
from .error_pages import ErrorPages
from .httpdate import http_date
from .protocol.exchange import (
    AbandonUpstream,
    AbortClient,
    ClientBroken,
    ClientGone,
    Command,
    Event,
    Exchange,
    FinishClient,
    Join,
    OpenUpstream,
    Phase,
    ReleaseUpstream,
    RespondError,
    RespondHealthy,
    SendClient,
    SendUpstream,
    Touch,
    UpstreamFailed,
    UpstreamReady,
)
from .protocol.fields import ClientFacts, ForwardingRules
from .protocol.heads import Refused, RequestHead, ResponseHead
from .protocol.reading import RequestBody, RequestReader
from .protocol.routes import Route, RouteTable
from .small_http import Answer, answer_bytes
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
_NEVER = float("inf")
_NEW, _REUSED = UpstreamReady(False), UpstreamReady(True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Time limits of clients' connections, in seconds."""

    #: from the first byte of a head (or the accepted connection) to its end
    head_s: float = 60.0
    #: between an answer and the next request
    keep_alive_s: float = 5.0
    #: between two pieces of a request body
    body_s: float = 300.0
    #: after an answer that came before the request's end, for the client to see it (RFC 9112 §9.6)
    linger_s: float = 2.0
    #: for something to move in the other direction, after one has been shut down. Who has closed only half of the
    #: connection still gets the answer; until we write, who has gone looks the same, so it must not be for ever.
    half_closed_s: float = 10.0
    #: ``--timeout``: nothing moves on the client's connection
    silence_s: float | None = None
    #: ``--proxy-timeout``: the upstream says nothing while its answer is awaited
    upstream_silence_s: float | None = None

    @property
    def granularity_s(self) -> float:
        """How often deadlines must be looked at to be met well enough."""
        given = [self.head_s, self.keep_alive_s, self.linger_s, self.silence_s, self.upstream_silence_s]
        return max(0.02, min(1.0, *(limit / 4 for limit in given if limit)))


class _Hold:
    """Why a client is not being read: bits of a plain number, which is looked at several times in each request."""

    #: its body has nowhere to go yet
    NO_UPSTREAM = 1
    UPSTREAM_FULL = 2
    PIPELINED = 4


class _Mode(Enum):
    HTTP = "requests and answers"
    JOINED = "bytes go through"
    LINGERING = "our last answer is sent; what still comes is thrown away"


class PublicServer:
    """What all clients' connections share. ``sweep`` keeps the time limits; see ``run``."""

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
    ) -> None:
        self.rules = rules
        self.limits = limits
        self.upstreams = upstreams
        self.error_pages = error_pages
        self.counters = counters
        self.is_tls = is_tls
        #: what exchanges ask; with metrics, lookups are timed
        self.routes = _TimedRoutes(routes, counters) if times_lookups else routes
        self._connections: set[ClientConnection] = set()

    def connection(self) -> ClientConnection:
        return ClientConnection(self)

    async def run(self) -> None:
        """Keep the time limits until cancelled.

        One look at all connections now and then, instead of a timer for each: a timer set and cancelled with every
        request costs more than everything else that we do about time.
        """
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.limits.granularity_s)
            now = loop.time()
            for connection in list(self._connections):
                connection.keep_time(now)
            self.upstreams.close_idle_since(now - POOL_IDLE_S)

    def opened(self, connection: ClientConnection) -> None:
        self._connections.add(connection)
        self.counters.client_connections += 1

    def closed(self, connection: ClientConnection) -> None:
        self._connections.discard(connection)
        self.counters.client_connections -= 1


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
    def __init__(self, server: PublicServer) -> None:
        self._server = server
        self._reader = RequestReader()
        self._mode = _Mode.HTTP
        self._exchange: Exchange | None = None
        self._head: RequestHead | None = None
        self._upstream: UpstreamConnection | None = None
        #: opening an upstream, or fetching an error page
        self._task: asyncio.Task[None] | None = None
        #: to be written at the end of the current turn
        self._out: list[bytes] = []
        self._holds = 0
        self._is_writable = True
        self._client_eof = False
        self._upstream_eof = False
        self._is_lost = False
        #: moments of the loop's clock
        self._deadline = _NEVER
        self._moved_at = 0.0
        self._upstream_moved_at = 0.0

    # -- from the loop
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        set_keepalive(transport)
        peer = transport.get_extra_info("peername")
        # RFC 7239 §6 has a word for who cannot be named: clients on a Unix socket.
        ip = peer[0] if isinstance(peer, tuple) else "unknown"
        self._facts = ClientFacts(ip.removeprefix("::ffff:").encode(), self._server.is_tls)
        self._moved_at = self._loop.time()
        self._deadline = self._moved_at + self._server.limits.head_s
        self._server.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self._server.closed(self)
        if self._task is not None:
            self._task.cancel()
        if self._exchange is not None:
            self._tell(ClientGone())
        elif self._upstream is not None:
            self._upstream.close()

    def data_received(self, data: bytes) -> None:
        self._moved_at = self._loop.time()
        if self._mode is _Mode.HTTP:
            self._read(data)
        elif self._mode is _Mode.JOINED and self._upstream is not None:
            assert self._exchange is not None and self._exchange.route is not None
            self._exchange.route.last_activity = time.time()
            self._upstream.send(data)

    def eof_received(self) -> bool:
        self._client_eof = True
        if self._mode is _Mode.LINGERING or self._server.is_tls:  # TLS transports cannot be half closed
            return False
        if self._exchange is None:
            return self._reader.held_bytes > 0
        self._deadline = self._loop.time() + self._server.limits.half_closed_s
        if self._mode is _Mode.JOINED and self._upstream is not None:
            self._upstream.send_eof()
            return not self._upstream_eof
        if not self._exchange.is_request_read:
            self._tell(ClientGone())  # half a request: nothing to wait for
            return False
        return True

    def pause_writing(self) -> None:
        self._is_writable = False
        if self._upstream is not None:
            self._upstream.pause_reading()

    def resume_writing(self) -> None:
        self._is_writable = True
        if self._upstream is not None:
            self._upstream.resume_reading()

    # -- from the upstream
    def upstream_events(self, events: list[Event]) -> None:
        self._upstream_moved_at = self._loop.time()
        try:
            self._tell_all(events)
        except Exception:
            self._fall_over()

    def upstream_writable(self, is_writable: bool) -> None:
        if is_writable:
            self._unhold(_Hold.UPSTREAM_FULL)
        else:
            self._hold(_Hold.UPSTREAM_FULL)

    def upstream_joined_data(self, data: bytes) -> None:
        assert self._exchange is not None and self._exchange.route is not None
        self._exchange.route.last_activity = time.time()
        self._moved_at = self._loop.time()
        self._transport.write(data)

    def upstream_joined_eof(self) -> None:
        self._upstream_eof = True
        self._deadline = self._loop.time() + self._server.limits.half_closed_s
        if self._client_eof or not self._transport.can_write_eof():
            self._transport.close()
        else:
            self._transport.write_eof()

    # -- reading requests
    def _read(self, data: bytes) -> None:
        if self._exchange is None and not self._reader.is_inside_head:
            self._deadline = self._moved_at + self._server.limits.head_s
        try:
            events = self._reader.feed(data)
        except Refused as refusal:
            self._refuse(refusal)
            return
        self._guarded(self._take, events)
        if self._reader.held_bytes > MAX_PIPELINED_BYTES:
            self._hold(_Hold.PIPELINED)

    def _take(self, events: Iterable[RequestHead | RequestBody]) -> None:
        for event in events:
            if isinstance(event, RequestHead):
                self._head = event
                self._exchange = Exchange(self._server.routes, self._server.rules, self._facts, date=http_date)
                if event.is_websocket:
                    self._server.counters.requests_ws += 1
                else:
                    self._server.counters.requests_web += 1
            if self._exchange is None:
                return
            # While a body is awaited the clock runs for each piece; while an answer is, the client may be silent.
            self._deadline = _NEVER if self._reader.is_complete else self._moved_at + self._server.limits.body_s
            self._tell(event)
        exchange = self._exchange
        if exchange is not None and exchange.phase is Phase.OPENING and not exchange.is_request_read:
            self._hold(_Hold.NO_UPSTREAM)

    def _refuse(self, refusal: Refused) -> None:
        """What came is not HTTP as we read it."""
        log.info("%d refused: %s", refusal.status, refusal)
        if self._exchange is not None:
            self._tell(ClientBroken(str(refusal), refusal.status))
            return
        self._server.counters.requests_proxy[refusal.status] += 1
        answer = Answer(refusal.status, f"{refusal}\n".encode(), {"Content-Type": "text/plain; charset=utf-8"})
        self._transport.write(answer_bytes(answer, keep_alive=False))
        self._linger()

    def _next_request(self) -> None:
        """Go on behind a complete exchange."""
        self._exchange = None
        self._head = None
        if self._client_eof and not self._reader.held_bytes:
            self._transport.close()
            return
        self._deadline = self._loop.time() + self._server.limits.keep_alive_s
        if self._reader.held_bytes:
            # In a turn of its own: many small requests in one packet must not become one deep recursion.
            self._loop.call_soon(self._read_held)
        else:
            self._reader.next_message()
            self._unhold(_Hold.PIPELINED)

    def _read_held(self) -> None:
        if self._is_lost or self._mode is not _Mode.HTTP or self._exchange is not None:
            return
        self._unhold(_Hold.PIPELINED)
        try:
            events = self._reader.next_message()
        except Refused as refusal:
            self._refuse(refusal)
            return
        self._guarded(self._take, events)

    # -- performing what the exchange decides
    def _tell_all(self, events: list[Event]) -> None:
        exchange = self._exchange
        for event in events:
            # An event may end the exchange; what the upstream says behind that belongs to nobody.
            if self._exchange is not exchange or exchange is None:
                break
            if type(event) is ResponseHead and not event.is_informational:
                self._server.counters.requests_proxy[event.status] += 1
            self._perform(exchange.receive(event))
        self._flush()

    def _tell(self, event: Event) -> None:
        self._tell_all([event])

    def _perform(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case SendClient():
                    self._out.append(command.data)
                case Touch():
                    command.route.last_activity = time.time()
                    self._server.counters.last_activity_updating.count += 1
                case SendUpstream():
                    if self._upstream is not None:
                        self._upstream.send(command.data)
                case OpenUpstream():
                    self._open_upstream(command)
                case ReleaseUpstream():
                    if self._upstream is not None:
                        self._upstream.release()
                        self._upstream = None
                        self._unhold(_Hold.UPSTREAM_FULL)
                case AbandonUpstream():
                    self._abandon_upstream()
                case FinishClient():
                    self._finish(keep_alive=command.keep_alive, is_reading_short=command.is_reading_short)
                case RespondError():
                    self._respond_error(command)
                case RespondHealthy():
                    answer = Answer(200, command.body, {"Content-Type": "application/json"})
                    self._respond(answer, command.keep_alive, is_reading_short=not command.keep_alive)
                case AbortClient():
                    self._abort(command)
                case Join():
                    self._join()

    def _flush(self) -> None:
        out = self._out
        if not out:
            return
        self._out = []
        if self._is_lost:
            return
        self._moved_at = self._loop.time()
        if len(out) == 1:
            self._transport.write(out[0])
        else:
            self._transport.writelines(out)

    def _open_upstream(self, command: OpenUpstream) -> None:
        if not command.must_be_new:
            connection = self._server.upstreams.take(command.address, is_repeatable=command.is_repeatable)
            if connection is not None:
                self._begin(connection, is_reused=True)
                return
        self._task = self._loop.create_task(self._connect(command), name=f"connect to {command.address}")

    async def _connect(self, command: OpenUpstream) -> None:
        try:
            connection = await self._server.upstreams.connect(command.address)
        except UpstreamUnreachable as error:
            self._task = None
            self._guarded(self._tell, UpstreamFailed(str(error)))
            return
        except Exception:
            log.exception("internal error while connecting to %s", command.address)
            self._task = None
            self._guarded(self._tell, UpstreamFailed("internal error", 500))
            return
        self._task = None
        self._begin(connection, is_reused=False)

    def _begin(self, connection: UpstreamConnection, *, is_reused: bool) -> None:
        assert self._head is not None
        self._upstream = connection
        self._upstream_moved_at = self._loop.time()
        connection.begin(self, request_method=self._head.method, unpack=self._head.is_http_1_0)
        if not self._is_writable:
            connection.pause_reading()
        self._unhold(_Hold.NO_UPSTREAM)
        self._guarded(self._tell, _REUSED if is_reused else _NEW)

    def _abandon_upstream(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._upstream is not None:
            if self._mode is _Mode.JOINED:
                self._upstream.close_after_sending()
            else:
                self._upstream.close()
            self._upstream = None
            self._unhold(_Hold.UPSTREAM_FULL)

    def _finish(self, *, keep_alive: bool, is_reading_short: bool) -> None:
        self._flush()
        if self._is_lost:
            return
        if keep_alive:
            self._next_request()
        elif (is_reading_short and not self._reader.is_complete) or self._reader.held_bytes:
            self._linger()
        else:
            self._transport.close()

    def _linger(self) -> None:
        """Close in a way that lets the client read our last answer although it is still sending (RFC 9112 §9.6)."""
        self._mode = _Mode.LINGERING
        self._deadline = self._loop.time() + self._server.limits.linger_s
        self._unhold(_Hold.NO_UPSTREAM | _Hold.UPSTREAM_FULL | _Hold.PIPELINED)
        if self._client_eof:
            self._transport.close()
        elif self._transport.can_write_eof():
            self._transport.write_eof()

    def _abort(self, command: AbortClient) -> None:
        log.warning("answer to %s broken off: %s", self._described(), command.why)
        if command.must_reset:
            self._transport.abort()
        else:
            self._flush()
            self._transport.close()

    def _join(self) -> None:
        assert self._upstream is not None and self._head is not None
        self._flush()
        self._mode = _Mode.JOINED
        self._deadline = _NEVER
        if rest := self._upstream.join():
            self._transport.write(rest)
        if rest := self._reader.take_rest():
            self._upstream.send(rest)
        self._unhold(_Hold.PIPELINED)
        if self._client_eof:
            self._upstream.send_eof()

    def _respond_error(self, command: RespondError) -> None:
        assert self._head is not None
        level = logging.INFO if command.status == 404 else logging.WARNING
        log.log(level, "%d %s: %s", command.status, self._described(), command.why)
        self._server.counters.requests_proxy[command.status] += 1
        self._deadline = _NEVER
        self._unhold(_Hold.NO_UPSTREAM)
        if command.is_bare:
            self._respond(Answer(command.status), False, is_reading_short=True)
            return
        page = self._server.error_pages.page(command.status, self._head.target)
        if page is not None:
            self._respond_page(page, command)
        else:
            self._task = self._loop.create_task(self._fetch_error_page(command, self._head.target), name="error page")

    async def _fetch_error_page(self, command: RespondError, request_target: bytes) -> None:
        page = await self._server.error_pages.fetch_page(command.status, request_target)
        self._task = None
        self._guarded(self._respond_page, page, command)

    def _respond_page(self, page: Answer, command: RespondError) -> None:
        self._respond(page, command.keep_alive, is_reading_short=command.is_reading_short)

    def _respond(self, answer: Answer, keep_alive: bool, *, is_reading_short: bool) -> None:
        head = self._head
        self._out.append(
            answer_bytes(
                answer,
                keep_alive=keep_alive,
                to_head=head is not None and head.method == b"HEAD",
                is_http_1_0=head is not None and head.is_http_1_0,
            )
        )
        self._finish(keep_alive=keep_alive, is_reading_short=is_reading_short)

    # -- back-pressure
    def _hold(self, why: int) -> None:
        if not self._holds and not self._is_lost:
            self._transport.pause_reading()
        self._holds |= why

    def _unhold(self, why: int) -> None:
        if not self._holds & why:
            return
        self._holds &= ~why
        if not self._holds and not self._is_lost:
            self._moved_at = self._loop.time()
            if self._deadline is not _NEVER and self._exchange is not None and not self._reader.is_complete:
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
        elif (
            limits.upstream_silence_s is not None
            and now - self._upstream_moved_at >= limits.upstream_silence_s
            and self._exchange is not None
            and self._exchange.phase is Phase.OPEN
            and self._is_writable
            and self._reader.is_complete
        ):
            self._guarded(self._tell, UpstreamFailed(f"the upstream is silent for {limits.upstream_silence_s:g} s"))

    def _too_late(self) -> None:
        if self._mode is not _Mode.LINGERING and (self._client_eof or self._upstream_eof):
            still_moving = self._moved_at + self._server.limits.half_closed_s
            if still_moving > self._deadline:
                self._deadline = still_moving
                return
        self._deadline = _NEVER
        if self._mode is not _Mode.HTTP or self._client_eof:
            self._transport.abort()
        elif self._exchange is not None:
            self._tell(ClientBroken("the request body does not come", 408))
        elif self._reader.is_inside_head:
            self._refuse(Refused("the request head does not come", 408))
        else:
            self._transport.close()  # idle: nothing is lost by silence

    # -- the edge
    def _guarded(self, do: Callable[..., None], *arguments: object) -> None:
        """Run a turn. A bug of ours ends this connection, with an ERROR line, and no other."""
        try:
            do(*arguments)
        except Exception:
            self._fall_over()

    def _fall_over(self) -> None:
        log.exception("internal error at %s", self._described())
        self._exchange = None
        self._abandon_upstream()
        self._transport.abort()

    def _described(self) -> str:
        """The request for the log: without its query, which may hold tokens."""
        return f"{self._head.method.decode()} {self._head.path_raw.decode()}" if self._head else "a connection"
