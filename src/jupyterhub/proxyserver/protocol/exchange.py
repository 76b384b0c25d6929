"""One request and its answer: a state machine without I/O. Events go in, commands come out.

Two halves move side by side. The request half goes PENDING → (upstream ready) → SENDING → SENT; the response half
PENDING → (1xx …) → RECEIVING → DONE. An answer may begin, and even end, before the request has been read. ``server``
performs the commands in their order and reports what happens; it decides nothing about HTTP.

How an exchange ends, always with exactly one of these commands:

``FinishClient``   the client has its answer; ``keep_alive`` says whether it may send another request
``RespondError``   the client gets an answer of ours, and the same
``AbortClient``    the answer cannot be completed and the client must see that: the connection breaks
``Join``           from here on, bytes of another protocol go both ways

The upstream's connection is given back (``ReleaseUpstream``) only when both halves are over, nothing is left on it and
nobody asked to close it; otherwise it is closed (``AbandonUpstream``).

Which requests may be sent twice: a pooled connection may have been closed by the upstream while our request was on its
way. If not one byte of an answer came, an idempotent request (RFC 9110 §9.2.2) of which no body was sent goes out
once more, on a new connection. All others are never repeated; ``OpenUpstream.is_repeatable`` tells the pool, which
then chooses a connection that is not likely to be stale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

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
from .reading import RequestBody, ResponseBody
from .routes import Route
from .targets import Address, Target

HEALTH_TARGET = b"/_chp_healthz"
_HEALTH_BODY = b'{"status":"OK"}'

#: RFC 9110 §9.2.2, those that are common without a body
_IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"PROPFIND"})


# -- events (besides RequestHead, RequestBody, ResponseHead, ResponseBody)
@dataclass(frozen=True, slots=True)
class UpstreamReady:
    is_reused: bool = False


@dataclass(frozen=True, slots=True)
class UpstreamFailed:
    """No connection, or none that can go on: refused, timed out, closed, or what it said breaks the rules (502)."""

    why: str
    status: int = 503


@dataclass(frozen=True, slots=True)
class ResponseDone:
    """Told after the last ``ResponseBody``: may the upstream's connection carry another request?"""

    is_reusable: bool


@dataclass(frozen=True, slots=True)
class ClientGone:
    pass


@dataclass(frozen=True, slots=True)
class ClientBroken:
    """The client's body breaks the rules, or does not come."""

    why: str
    status: int = 400


# -- commands
@dataclass(frozen=True, slots=True)
class OpenUpstream:
    address: Address
    #: nothing is lost if the connection turns out to be stale
    is_repeatable: bool = True
    #: a pooled connection has just failed: make a new one
    must_be_new: bool = False


@dataclass(frozen=True, slots=True)
class SendUpstream:
    data: bytes


@dataclass(frozen=True, slots=True)
class ReleaseUpstream:
    pass


@dataclass(frozen=True, slots=True)
class AbandonUpstream:
    """Close the upstream's connection, or stop trying to make one."""


@dataclass(frozen=True, slots=True)
class SendClient:
    data: bytes


@dataclass(frozen=True, slots=True)
class FinishClient:
    keep_alive: bool
    #: the client may still be sending: let it, for a moment, or it never reads our answer (RFC 9112 §9.6)
    is_reading_short: bool = False


@dataclass(frozen=True, slots=True)
class RespondError:
    """An answer of the proxy itself; ``server`` finds the page for it."""

    status: int
    why: str
    keep_alive: bool = False
    #: a WebSocket client: it wants a status, not a page
    is_bare: bool = False
    is_reading_short: bool = False


@dataclass(frozen=True, slots=True)
class RespondHealthy:
    body: bytes
    keep_alive: bool


@dataclass(frozen=True, slots=True)
class AbortClient:
    why: str
    #: only the connection's end would delimit this answer: a clean close would make half an answer look whole
    must_reset: bool = False


@dataclass(frozen=True, slots=True)
class Join:
    pass


@dataclass(frozen=True, slots=True)
class Touch:
    """This is activity of the route (proxy-contract.md §2)."""

    route: Route


Command = (
    OpenUpstream
    | SendUpstream
    | ReleaseUpstream
    | AbandonUpstream
    | SendClient
    | FinishClient
    | RespondError
    | RespondHealthy
    | AbortClient
    | Join
    | Touch
)
Event = (
    RequestHead
    | RequestBody
    | ResponseHead
    | ResponseBody
    | UpstreamReady
    | UpstreamFailed
    | ResponseDone
    | ClientGone
    | ClientBroken
)


class FindsRoutes(Protocol):
    def find(self, host: bytes | None, path_raw: bytes) -> Route | None: ...


class Phase(Enum):
    """Where the exchange is, as far as it decides what an event means."""

    NEW = "no head yet"
    OPENING = "no upstream yet"
    OPEN = "with an upstream"
    ANSWERED = "the answer is complete, the upstream's connection not yet judged"
    JOINED = "two sockets joined"
    OVER = "nothing more comes out"


class Exchange:
    __slots__ = (
        "_client",
        "_date",
        "_head",
        "_held",
        "_is_request_read",
        "_is_reused",
        "_keep_alive",
        "_may_repeat",
        "_response",
        "_routes",
        "_rules",
        "_target",
        "phase",
        "route",
    )

    def __init__(
        self, routes: FindsRoutes, rules: ForwardingRules, client: ClientFacts, *, date: Callable[[], bytes]
    ) -> None:
        self._routes = routes
        self._rules = rules
        self._client = client
        self._date = date
        self.phase = Phase.NEW
        self.route: Route | None = None
        self._target: Target | None = None
        self._head: RequestHead | None = None
        self._response: ResponseHead | None = None
        #: body that came before the upstream was ready
        self._held: list[bytes] = []
        self._is_request_read = False
        self._keep_alive = False
        self._is_reused = False
        self._may_repeat = False

    @property
    def is_response_started(self) -> bool:
        return self._response is not None

    @property
    def is_request_read(self) -> bool:
        return self._is_request_read

    def receive(self, event: Event) -> list[Command]:
        """Say what is to be done now, in this order."""
        if self.phase is Phase.OVER:
            if type(event) is RequestBody and event.is_last:
                self._is_request_read = True
            return []
        return _RECEIVERS[type(event)](self, event)

    # -- the client's side
    def _request_head(self, head: RequestHead) -> list[Command]:
        self._head = head
        self._keep_alive = head.wants_keep_alive
        self._is_request_read = head.framing.is_empty
        if head.target == HEALTH_TARGET:
            self.phase = Phase.OVER
            return [RespondHealthy(_HEALTH_BODY, self._keep_alive and self._is_request_read)]
        route = self._routes.find(head.host, head.path_raw)
        if route is None:
            return self._fail(404, "no route")
        self.route = route
        if route.target is None:
            return self._fail(500, f"the target of the route is not usable: {route.target_problem}")
        # Kept for the whole exchange: the route may be replaced while it lasts.
        self._target = route.target
        self._may_repeat = head.method in _IDEMPOTENT and head.framing.is_empty
        self.phase = Phase.OPENING
        return [OpenUpstream(route.target.address, self._may_repeat)]

    def _request_body(self, body: RequestBody) -> list[Command]:
        self._is_request_read = self._is_request_read or body.is_last
        if not body.data or self.route is None:
            return []
        # What people send is activity whatever becomes of it; what they only ask for, if it succeeds.
        if self.phase is Phase.OPENING:
            self._held.append(body.data)
            return [Touch(self.route)]
        return [SendUpstream(body.data), Touch(self.route)] if self.phase is Phase.OPEN else []

    def _client_gone(self, _: ClientGone) -> list[Command]:
        had_upstream = self.phase in (Phase.OPENING, Phase.OPEN, Phase.ANSWERED, Phase.JOINED)
        self.phase = Phase.OVER
        return [_ABANDON] if had_upstream else []

    def _client_broken(self, event: ClientBroken) -> list[Command]:
        # The upstream has half a request: closing is the only way to tell it that the rest is not coming.
        self._keep_alive = False
        if self._response is not None:
            self.phase = Phase.OVER
            return [_ABANDON, self._abort(event.why)]
        return [_ABANDON, *self._fail(event.status, event.why)]

    # -- the upstream's side
    def _upstream_ready(self, event: UpstreamReady) -> list[Command]:
        assert self._head is not None and self.route is not None and self._target is not None
        self.phase = Phase.OPEN
        self._is_reused = event.is_reused
        head = request_for_upstream(self._head, self.route, self._target, self._rules, self._client)
        if self._held:
            head = b"".join([head, *self._held])
            self._held.clear()
        return [SendUpstream(head)]

    def _upstream_failed(self, event: UpstreamFailed) -> list[Command]:
        if self.phase is Phase.JOINED:
            self.phase = Phase.OVER
            return [_ABANDON, FinishClient(keep_alive=False)]
        if self._response is not None:
            self.phase = Phase.OVER
            return [_ABANDON, self._abort(event.why)]
        if self._is_reused and self._may_repeat and event.status == 503 and self.phase is Phase.OPEN:
            assert self._target is not None
            self.phase = Phase.OPENING
            self._may_repeat = False
            return [_ABANDON, OpenUpstream(self._target.address, is_repeatable=True, must_be_new=True)]
        return [_ABANDON, *self._fail(event.status, event.why)]

    def _response_head(self, head: ResponseHead) -> list[Command]:
        assert self._head is not None and self._target is not None and self.route is not None
        self._may_repeat = False
        if head.is_informational:
            # RFC 9110 §15.2: not to HTTP/1.0 clients, who would take it for the answer.
            return [] if self._head.is_http_1_0 else [SendClient(informational(head))]
        if head.status == 101:
            if not (self._head.is_websocket and agreed_to_websocket(head)):
                return [_ABANDON, *self._fail(502, "the upstream switches protocols without being asked")]
            self._response = head
            self.phase = Phase.JOINED
            return [SendClient(switching_protocols(head)), Touch(self.route), Join()]
        self._response = head
        self._keep_alive = self._keep_alive and self._is_request_read and client_body_is_delimited(head, self._head)
        data = response_for_client(
            head,
            self._head,
            target=self._target,
            rules=self._rules,
            client=self._client,
            keep_alive=self._keep_alive,
            date=self._date(),
        )
        return [SendClient(data)]

    def _response_body(self, body: ResponseBody) -> list[Command]:
        assert self._response is not None and self.route is not None
        commands: list[Command] = []
        if body.data:
            commands.append(SendClient(body.data))
        # Redirects and errors do not count, or a forgotten tab that polls a stopped server would keep it alive.
        if self._response.status < 300:
            commands.append(Touch(self.route))
        if body.is_last:
            self.phase = Phase.ANSWERED
        return commands

    def _response_done(self, event: ResponseDone) -> list[Command]:
        self.phase = Phase.OVER
        upstream: Command = _RELEASE if event.is_reusable and self._is_request_read else _ABANDON
        return [upstream, FinishClient(self._keep_alive, is_reading_short=not self._is_request_read)]

    def _abort(self, why: str) -> AbortClient:
        assert self._response is not None and self._head is not None
        return AbortClient(why, must_reset=not client_body_is_delimited(self._response, self._head))

    def _fail(self, status: int, why: str) -> list[Command]:
        assert self._head is not None
        self.phase = Phase.OVER
        self._held.clear()
        return [
            RespondError(
                status,
                why,
                keep_alive=self._keep_alive and self._is_request_read and not self._head.is_websocket,
                is_bare=self._head.is_websocket,
                is_reading_short=not self._is_request_read,
            )
        ]


_RELEASE = ReleaseUpstream()
_ABANDON = AbandonUpstream()

_RECEIVERS: dict[type[Any], Callable[[Exchange, Any], list[Command]]] = {
    RequestHead: Exchange._request_head,
    RequestBody: Exchange._request_body,
    ResponseHead: Exchange._response_head,
    ResponseBody: Exchange._response_body,
    UpstreamReady: Exchange._upstream_ready,
    UpstreamFailed: Exchange._upstream_failed,
    ResponseDone: Exchange._response_done,
    ClientGone: Exchange._client_gone,
    ClientBroken: Exchange._client_broken,
}
