"""The state machine of one request and its answer: what happens goes in, bytes and a phase come out."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from jupyterhub.proxyserver.protocol.exchange import (
    BROKEN,
    DONE,
    FAILED,
    GONE,
    HEALTHY,
    JOINED,
    OPEN,
    OPENING,
    Exchange,
    Fault,
    Site,
)
from jupyterhub.proxyserver.protocol.fields import ClientFacts, ForwardingRules
from jupyterhub.proxyserver.protocol.heads import RequestHead, ResponseHead, parse_request_head, parse_response_head
from jupyterhub.proxyserver.protocol.routes import RouteTable
from jupyterhub.proxyserver.protocol.targets import Address

ADA = Address("10.0.0.7", 8888)
NOW = 1000.0


def request(line: str = "GET /user/ada/lab", *fields: str, version: str = "1.1") -> RequestHead:
    lines = [f"{line} HTTP/{version}", *(["Host: hub.example"] if version == "1.1" else []), *fields, "", ""]
    return parse_request_head("\r\n".join(lines).encode())


def response(status: int = 200, *fields: str, method: bytes = b"GET") -> ResponseHead:
    lines = [f"HTTP/1.1 {status} Words", *fields, "", ""]
    return parse_response_head("\r\n".join(lines).encode(), request_method=method)


def exchange(head: RequestHead | None = None, **rules: object) -> Exchange:
    routes = RouteTable()
    routes.add("/user/ada", {"target": "http://10.0.0.7:8888"}, now=0)
    routes.add("/broken", {"target": "nonsense"}, now=0)
    site = Site(routes, ForwardingRules(**rules), date=lambda: b"today", clock=lambda: NOW)
    return Exchange(site, ClientFacts(b"192.0.2.9"), head or request())


def started(head: RequestHead | None = None, *, is_reused: bool = False, **rules: object) -> Exchange:
    proxied = exchange(head, **rules)
    proxied.upstream_ready(is_reused)
    return proxied


def is_activity(proxied: Exchange) -> bool:
    assert proxied.route is not None
    return proxied.route.last_activity == NOW


WEBSOCKET = request("GET /user/ada/ws", "Connection: Upgrade", "Upgrade: websocket")
POST = request("POST /user/ada/x", "Content-Length: 4")


def test_a_plain_exchange_from_beginning_to_end():
    proxied = exchange()
    assert proxied.phase is OPENING and proxied.address == ADA
    assert proxied.upstream_ready().startswith(b"GET /user/ada/lab HTTP/1.1\r\nHost: hub.example\r\n")
    assert proxied.phase is OPEN
    head = proxied.from_upstream([response(200, "Content-Length: 2", "X-One: 1")])
    assert head == b"HTTP/1.1 200 Words\r\nContent-Length: 2\r\nX-One: 1\r\nDate: today\r\n\r\n"
    assert proxied.from_upstream([b"ok"]) == b"ok" and is_activity(proxied)
    proxied.upstream_done(True)
    assert (proxied.phase, proxied.keeps_upstream, proxied.keeps_client) == (DONE, True, True)


def test_head_and_body_that_come_together_leave_together():
    data = started().from_upstream([response(200, "Content-Length: 2", "Date: x"), b"ok"])
    assert data == b"HTTP/1.1 200 Words\r\nContent-Length: 2\r\nDate: x\r\n\r\nok"


def test_the_health_check_is_answered_here_and_only_at_its_exact_address():
    assert exchange(request("GET /_chp_healthz")).phase is HEALTHY
    assert exchange(request("GET /_chp_healthz?x")).phase is FAILED


def test_a_request_without_a_route_is_answered_404_and_the_client_may_go_on():
    proxied = exchange(request("GET /nowhere"))
    assert (proxied.phase, proxied.fault.status) == (FAILED, 404)
    assert proxied.keeps_client and not proxied.is_bare


def test_a_route_with_an_unusable_target_is_answered_500():
    assert exchange(request("GET /broken")).fault.status == 500


def test_a_body_that_comes_before_the_upstream_is_sent_with_the_head():
    proxied = exchange(POST)
    assert proxied.from_client(b"ab", False) == b"" and is_activity(proxied)
    assert proxied.upstream_ready().endswith(b"\r\n\r\nab")
    assert proxied.from_client(b"cd", True) == b"cd"


def test_an_upstream_that_cannot_be_reached_is_answered_503():
    proxied = exchange()
    proxied.upstream_failed("refused")
    assert (proxied.phase, proxied.fault, proxied.keeps_client) == (FAILED, Fault(503, "refused"), True)


def test_an_answer_to_half_a_request_ends_the_connections_of_both_sides():
    proxied = started(POST)
    assert b"Connection: close\r\n" in proxied.from_upstream([response(413, "Content-Length: 0")])
    proxied.upstream_done(True)
    assert (proxied.keeps_upstream, proxied.keeps_client, proxied.is_request_read) == (False, False, False)


def test_an_answer_that_begins_before_the_request_ends_is_passed_on_and_so_is_the_rest_of_the_request():
    proxied = started(POST)
    proxied.from_upstream([response(200, "Content-Length: 2")])
    assert proxied.from_client(b"abcd", True) == b"abcd"
    proxied.from_upstream([b"ok"])
    proxied.upstream_done(True)
    assert (proxied.keeps_upstream, proxied.keeps_client) == (True, False)


def test_a_broken_request_body_is_answered_400_and_the_upstream_never_sees_its_end():
    proxied = started(request("POST /user/ada/x", "Transfer-Encoding: chunked"))
    proxied.client_broke("bad chunk")
    assert (proxied.phase, proxied.fault.status, proxied.keeps_client) == (FAILED, 400, False)
    assert not proxied.keeps_upstream


# -- sending twice
def test_an_idempotent_request_that_met_a_stale_connection_is_sent_again_on_a_new_one():
    proxied = started(is_reused=True)
    proxied.upstream_failed("closed", has_started=False)
    assert proxied.phase is OPENING and proxied.must_be_new
    assert proxied.upstream_ready().startswith(b"GET ")
    proxied.upstream_failed("closed", has_started=False)
    assert proxied.phase is FAILED


@pytest.mark.parametrize(
    "head", [POST, request("POST /user/ada/x"), request("PUT /user/ada/x", "Content-Length: 1"), WEBSOCKET]
)
def test_a_request_that_might_do_something_twice_is_not_sent_again(head):
    assert exchange(head).is_repeatable is (head is WEBSOCKET)
    if head is not WEBSOCKET:
        proxied = started(head, is_reused=True)
        proxied.upstream_failed("closed", has_started=False)
        assert proxied.phase is FAILED


def test_a_request_on_a_new_connection_is_not_sent_again():
    proxied = started()
    proxied.upstream_failed("closed", has_started=False)
    assert proxied.phase is FAILED


def test_a_request_of_which_something_was_answered_is_not_sent_again():
    proxied = started(is_reused=True)
    proxied.upstream_failed("closed", has_started=True)
    assert proxied.phase is FAILED
    proxied = started(is_reused=True)
    proxied.from_upstream([response(103)])
    proxied.upstream_failed("closed", has_started=False)
    assert proxied.phase is FAILED


# -- answers that fail
def test_an_answer_that_breaks_off_breaks_off_for_the_client_too():
    proxied = started()
    proxied.from_upstream([response(200, "Content-Length: 9")])
    proxied.upstream_failed("gone")
    assert (proxied.phase, proxied.must_reset) == (BROKEN, False)


def test_half_an_answer_without_a_length_is_never_closed_as_if_it_were_whole():
    proxied = started()
    proxied.from_upstream([response(200)])
    proxied.upstream_failed("reset")
    assert (proxied.phase, proxied.must_reset) == (BROKEN, True)
    proxied = started(request(version="1.0"))
    proxied.from_upstream([response(200, "Transfer-Encoding: chunked")])
    proxied.upstream_failed("gone")
    assert (proxied.phase, proxied.must_reset) == (BROKEN, True)


def test_a_connection_that_the_upstream_closes_is_not_reused():
    proxied = started()
    proxied.from_upstream([response(200, "Content-Length: 0")])
    proxied.upstream_done(False)
    assert (proxied.keeps_upstream, proxied.keeps_client) == (False, True)


def test_a_client_that_wants_to_close_is_closed():
    proxied = started(request("GET /user/ada", "Connection: close"))
    assert b"Connection: close\r\n" in proxied.from_upstream([response(200, "Content-Length: 0")])
    proxied.upstream_done(True)
    assert (proxied.keeps_upstream, proxied.keeps_client) == (True, False)


def test_http_1_0_clients_get_no_interim_answers_and_keep_alive_only_when_asked():
    assert started(request(version="1.0")).from_upstream([response(103)]) == b""
    asking = request("GET /user/ada", "Connection: keep-alive", version="1.0")
    assert b"Connection: keep-alive\r\n" in started(asking).from_upstream([response(200, "Content-Length: 0")])
    head = started(asking).from_upstream([response(200, "Transfer-Encoding: chunked")])
    assert b"Connection: close\r\n" in head and b"chunked" not in head


# -- WebSockets
def test_an_agreed_websocket_joins_the_two_connections():
    proxied = started(WEBSOCKET)
    data = proxied.from_upstream(
        [response(101, "Connection: upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Accept: x")]
    )
    assert proxied.phase is JOINED and is_activity(proxied)
    assert b"Upgrade: websocket\r\n" in data and b"Sec-WebSocket-Accept: x\r\n" in data


@pytest.mark.parametrize(
    ("head", "fields"),
    [
        (request(), ["Upgrade: websocket"]),
        (WEBSOCKET, ["Upgrade: h2c"]),
        (WEBSOCKET, []),
        (request("GET /user/ada", "Connection: Upgrade", "Upgrade: h2c"), ["Upgrade: h2c"]),
    ],
)
def test_a_protocol_that_was_not_asked_for_is_the_upstreams_fault(head, fields):
    proxied = started(head)
    assert proxied.from_upstream([response(101, "Connection: upgrade", *fields)]) == b""
    assert (proxied.phase, proxied.fault.status) == (FAILED, 502)


def test_errors_of_websockets_are_bare():
    proxied = exchange(request("GET /no", "Connection: Upgrade", "Upgrade: websocket"))
    assert proxied.is_bare and not proxied.keeps_client


def test_a_refused_websocket_is_an_ordinary_answer():
    proxied = started(WEBSOCKET)
    assert proxied.from_upstream([response(403, "Content-Length: 0")]).startswith(b"HTTP/1.1 403 ")
    proxied.upstream_done(True)
    assert (proxied.keeps_upstream, proxied.keeps_client) == (True, True)


# -- activity
@pytest.mark.parametrize(("status", "counts"), [(200, True), (206, True), (302, False), (404, False), (503, False)])
def test_only_successful_answers_are_activity(status, counts):
    proxied = started()
    proxied.from_upstream([response(status, "Content-Length: 1"), b"x"])
    proxied.upstream_done(True)
    assert is_activity(proxied) is counts


def test_what_a_client_sends_is_activity_even_if_it_is_refused():
    proxied = started(POST)
    proxied.from_client(b"abcd", True)
    assert is_activity(proxied)


# -- any order of events
class AnyOrder(RuleBasedStateMachine):
    """Client and upstream do whatever they can do at each moment; the exchange ends once and stays ended."""

    @initialize(head=st.sampled_from([request(), POST, WEBSOCKET, request(version="1.0")]))
    def begin(self, head: RequestHead) -> None:
        self.proxied = exchange(head)
        self.to_send = head.framing.length
        self.sent = b""
        self.got = b""
        self.ended_in = None

    def is_live(self) -> bool:
        return self.proxied.phase in (OPENING, OPEN)

    @precondition(lambda self: self.proxied.phase is OPENING)
    @rule(is_reused=st.booleans())
    def connected(self, is_reused: bool) -> None:
        self.sent = self.proxied.upstream_ready(is_reused and not self.proxied.must_be_new)

    @precondition(lambda self: self.to_send and self.proxied.phase is not GONE)
    @rule()
    def client_sends(self) -> None:
        self.to_send -= 1
        self.sent += self.proxied.from_client(b"x", not self.to_send)

    @precondition(lambda self: self.proxied.phase is OPEN and self.proxied.response is None)
    @rule(head=st.sampled_from([response(103), response(200, "Content-Length: 1"), response(302), response(101)]))
    def upstream_answers(self, head: ResponseHead) -> None:
        self.got += self.proxied.from_upstream([head])

    @precondition(lambda self: self.proxied.phase is OPEN and self.proxied.response is not None)
    @rule(is_reusable=st.booleans())
    def answer_ends(self, is_reusable: bool) -> None:
        self.got += self.proxied.from_upstream([b"!"])
        self.proxied.upstream_done(is_reusable)

    @precondition(is_live)
    @rule(has_started=st.booleans(), status=st.sampled_from([502, 503]))
    def upstream_fails(self, has_started: bool, status: int) -> None:
        self.proxied.upstream_failed("x", status, has_started=has_started or status == 502)

    @precondition(lambda self: self.is_live() and self.to_send)
    @rule()
    def client_breaks(self) -> None:
        self.proxied.client_broke("x")

    @precondition(lambda self: self.proxied.phase is not JOINED)
    @rule()
    def client_leaves(self) -> None:
        self.proxied.client_gone()
        self.ended_in = GONE

    @invariant()
    def ends_once(self) -> None:
        phase = self.proxied.phase
        if self.ended_in is not None:
            assert phase is self.ended_in
        elif not self.is_live():
            self.ended_in = phase

    @invariant()
    def keeps_nothing_that_is_half_way(self) -> None:
        proxied = self.proxied
        if proxied.phase is DONE:
            assert not proxied.keeps_upstream or not self.to_send
            assert self.got.endswith(b"!")
        if proxied.phase is FAILED:
            assert b"HTTP/1.1 2" not in self.got and not proxied.keeps_upstream
        if proxied.phase is OPEN:
            assert self.sent.count(b"HTTP/1.1\r\n") == 1


TestAnyOrder = AnyOrder.TestCase
