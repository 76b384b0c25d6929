"""One request and its answer: what is to be done when, as a state machine without I/O.

Events are method calls; what goes out is the bytes they return, and ``phase`` says what else is to be done. ``server``
reports what happens and does what the phase asks for; it decides nothing about HTTP. A command object for each step
(``OpenUpstream``, ``SendData`` …) would say the same: it did, and was a fifth of the CPU time of a small request.

    OPENING   a connection to ``address`` is wanted: then ``upstream_ready`` gives what to send on it
    OPEN      bytes go both ways, through ``from_client`` and ``from_upstream``
    JOINED    (end) an agreed WebSocket: from here on, bytes of another protocol go both ways
    DONE      (end) the answer is complete; ``keeps_client`` and ``keeps_upstream`` say what stays open
    FAILED    (end) the client gets an answer of ours: ``fault``
    HEALTHY   (end) the same, and a good one
    BROKEN    (end) the answer cannot be completed, which the client must see; ``must_reset`` if it would not otherwise
    GONE      (end) nobody is there to be answered

Request and response move side by side: an answer may begin, and even end, before the request has been read. Unless
``keeps_upstream`` is set at the end, the upstream's connection is closed.

Which requests may be sent twice: a pooled connection may have been closed by the upstream while our request was on its
way. If not one byte of an answer came, an idempotent request (RFC 9110 §9.2.2) of which no body was sent goes out
once more, on a new connection: the phase is OPENING again, with ``must_be_new``. All others are never repeated;
``is_repeatable`` tells the pool, which then chooses a connection that is not likely to be stale.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Protocol

from .fields import (
    ClientFacts,
    ForwardingRules,
    agreed_to_websocket,
    client_body_is_delimited,
    informational,
    request_for_upstream,
    response_for_client,
    switching_protocols,
)
from .heads import RequestHead, ResponseHead
from .routes import Route
from .targets import Address, Target

HEALTH_TARGET = b"/_chp_healthz"
HEALTH_BODY = b'{"status":"OK"}'

#: RFC 9110 §9.2.2, those that are common without a body
_IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"PROPFIND"})


class Phase(Enum):
    OPENING = "an upstream is wanted"
    OPEN = "bytes go both ways"
    JOINED = "two sockets joined"
    DONE = "the answer is complete"
    FAILED = "the client gets an answer of ours"
    HEALTHY = "the proxy itself is asked"
    BROKEN = "the answer breaks off"
    GONE = "the client is gone"


# Global names: members of an Enum are looked up three times as slowly.
OPENING, OPEN, JOINED, DONE = Phase.OPENING, Phase.OPEN, Phase.JOINED, Phase.DONE
FAILED, HEALTHY, BROKEN, GONE = Phase.FAILED, Phase.HEALTHY, Phase.BROKEN, Phase.GONE


class Fault(NamedTuple):
    """Why the client gets an answer of ours, or none."""

    status: int
    why: str


class FindsRoutes(Protocol):
    def find(self, host: bytes | None, path_raw: bytes) -> Route | None: ...


def _no_date() -> bytes:
    return b""


@dataclass(frozen=True, slots=True)
class Site:
    """What all exchanges of a proxy share."""

    routes: FindsRoutes
    rules: ForwardingRules = field(default_factory=ForwardingRules)
    #: the Date of answers that come without one
    date: Callable[[], bytes] = _no_date
    clock: Callable[[], float] = time.time


class Exchange:
    # Made for each request: what is the same at every beginning is set here, and not there.
    route: Route | None = None
    _target: Target | None = None
    #: the final answer's head
    response: ResponseHead | None = None
    #: body that came before the upstream was ready
    _held: list[bytes] | None = None
    _is_reused = False
    #: a pooled connection has just failed: make a new one
    must_be_new = False
    keeps_upstream = False
    must_reset = False
    fault: Fault | None = None

    def __init__(self, site: Site, client: ClientFacts, head: RequestHead) -> None:
        self._site = site
        self._client = client
        self.head = head
        block = head.block
        self.is_request_read = is_request_read = not block.has_body
        #: nothing is lost if the connection turns out to be stale
        self.is_repeatable = is_request_read and head.method in _IDEMPOTENT
        self.keeps_client = block.keeps_alive
        if head.target == HEALTH_TARGET:
            self.keeps_client = self.keeps_client and is_request_read
            self.phase = HEALTHY
            return
        route = site.routes.find(block.host, head.path_raw)
        if route is None:
            self._fail(404, "no route")
            return
        self.route = route
        if route.target is None:
            self._fail(500, f"the target of the route is not usable: {route.target_problem}")
            return
        # Kept for the whole exchange: the route may be replaced while it lasts.
        self._target = route.target
        self.phase = OPENING

    @property
    def address(self) -> Address:
        assert self._target is not None
        return self._target.address

    @property
    def is_bare(self) -> bool:
        """A WebSocket client: of errors it wants a status, not a page."""
        return self.head.is_websocket

    # -- the client's side
    def from_client(self, body: bytes, is_last: bool) -> bytes:
        """A piece of the request's body. Gives what goes to the upstream now."""
        if is_last:
            self.is_request_read = True
        if not body or self.route is None:
            return b""
        if self.phase is OPEN:
            # What people send is activity whatever becomes of it; what they only ask for, if it succeeds.
            self.route.last_activity = self._site.clock()
            return body
        if self.phase is OPENING:
            self.route.last_activity = self._site.clock()
            if self._held is None:
                self._held = []
            self._held.append(body)
        return b""

    def client_gone(self) -> None:
        self.phase = GONE

    def client_broke(self, why: str, status: int = 400) -> None:
        """The client's body breaks the rules, or does not come. The upstream is left with half a request."""
        self.keeps_client = False
        if self.phase is OPEN or self.phase is OPENING:
            self._end_badly(status, why)

    # -- the upstream's side
    def upstream_ready(self, is_reused: bool = False) -> bytes:
        """A connection is there. Gives what to send on it."""
        assert self._target is not None and self.route is not None
        self.phase = OPEN
        self._is_reused = is_reused
        data = request_for_upstream(self.head, self.route, self._target, self._site.rules, self._client)
        if self._held is not None:
            data = b"".join([data, *self._held])
            self._held = None
        return data

    def from_upstream(self, events: Sequence[ResponseHead | bytes]) -> bytes:
        """What has been read of the answer. Gives what goes to the client now."""
        out = b""
        for event in events:
            if type(event) is bytes:
                # Redirects and errors do not count, or a forgotten tab that polls a stopped server would keep it alive.
                if self.response.status < 300:  # type: ignore[union-attr]
                    self.route.last_activity = self._site.clock()  # type: ignore[union-attr]
                out += event
            elif self.phase is OPEN:
                out += self._response_head(event)  # type: ignore[arg-type]
        return out

    def _response_head(self, head: ResponseHead) -> bytes:
        request = self.head
        self.is_repeatable = False
        status = head.status
        if status < 200:
            if status != 101:
                # RFC 9110 §15.2: not to HTTP/1.0 clients, who would take it for the answer.
                return b"" if request.is_http_1_0 else informational(head)
            if not (request.is_websocket and agreed_to_websocket(head)):
                self._fail(502, "the upstream switches protocols without being asked")
                return b""
            assert self.route is not None
            self.route.last_activity = self._site.clock()
            self.response = head
            self.phase = JOINED
            return switching_protocols(head)
        self.response = head
        site = self._site
        self.keeps_client = self.keeps_client and self.is_request_read and client_body_is_delimited(head, request)
        assert self._target is not None
        return response_for_client(head, request, self._target, site.rules, self._client, self.keeps_client, site.date)

    def upstream_done(self, is_reusable: bool) -> None:
        """The answer is complete. ``is_reusable``: the upstream's connection may carry another request."""
        if self.response.status < 300:  # type: ignore[union-attr]
            self.route.last_activity = self._site.clock()  # type: ignore[union-attr]
        self.keeps_upstream = is_reusable and self.is_request_read
        self.phase = DONE

    def upstream_failed(self, why: str, status: int = 503, *, has_started: bool = True) -> None:
        """No connection, or none that can go on: refused, timed out, closed; or what it says breaks the rules (502).

        ``has_started`` tells whether a byte of an answer came.
        """
        if self.phase is OPEN and self._is_reused and self.is_repeatable and not has_started:
            self.phase = OPENING
            self.must_be_new = True
            self._is_reused = False
        elif self.phase is OPEN or self.phase is OPENING:
            self._end_badly(status, why)

    # -- ends
    def _end_badly(self, status: int, why: str) -> None:
        if self.response is None:
            self._fail(status, why)
            return
        # Half an answer: where only the end of the connection ends it, a clean end would make it look whole.
        self.must_reset = not client_body_is_delimited(self.response, self.head)
        self.fault = Fault(status, why)
        self.phase = BROKEN

    def _fail(self, status: int, why: str) -> None:
        self.fault = Fault(status, why)
        self.keeps_client = self.keeps_client and self.is_request_read and not self.head.is_websocket
        self._held = None
        self.phase = FAILED
