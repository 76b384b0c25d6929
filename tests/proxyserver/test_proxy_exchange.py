"""The state machine of one request and its answer: events in, commands out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyterhub.proxyserver.protocol.exchange import (
    AbandonUpstream,
    AbortClient,
    ClientBroken,
    ClientGone,
    Exchange,
    FinishClient,
    Join,
    OpenUpstream,
    Phase,
    ReleaseUpstream,
    RespondError,
    RespondHealthy,
    ResponseDone,
    SendClient,
    SendUpstream,
    Touch,
    UpstreamFailed,
    UpstreamReady,
)
from jupyterhub.proxyserver.protocol.fields import ClientFacts, ForwardingRules
from jupyterhub.proxyserver.protocol.heads import RequestHead, ResponseHead, parse_request_head, parse_response_head
from jupyterhub.proxyserver.protocol.reading import RequestBody, ResponseBody
from jupyterhub.proxyserver.protocol.routes import RouteTable
from jupyterhub.proxyserver.protocol.targets import Address

ADA = Address("10.0.0.7", 8888)
NOTHING_MORE = RequestBody(b"", True)


def request(line: str = "GET /user/ada/lab", *fields: str, version: str = "1.1") -> RequestHead:
    lines = [f"{line} HTTP/{version}", *(["Host: hub.example"] if version == "1.1" else []), *fields, "", ""]
    return parse_request_head("\r\n".join(lines).encode())


def response(status: int = 200, *fields: str, method: bytes = b"GET") -> ResponseHead:
    lines = [f"HTTP/1.1 {status} Words", *fields, "", ""]
    return parse_response_head("\r\n".join(lines).encode(), request_method=method)


def exchange(**rules: object) -> Exchange:
    routes = RouteTable()
    routes.add("/user/ada", {"target": "http://10.0.0.7:8888"}, now=0)
    routes.add("/broken", {"target": "nonsense"}, now=0)
    return Exchange(routes, ForwardingRules(**rules), ClientFacts(b"192.0.2.9"), date=lambda: b"today")


def started(head: RequestHead | None = None, *, is_reused: bool = False, **rules: object) -> Exchange:
    proxied = exchange(**rules)
    proxied.receive(head or request())
    proxied.receive(UpstreamReady(is_reused))
    return proxied


def kinds(commands: list[object]) -> list[type]:
    return [type(command) for command in commands]


WEBSOCKET = request("GET /user/ada/ws", "Connection: Upgrade", "Upgrade: websocket")
POST = request("POST /user/ada/x", "Content-Length: 4")


def test_a_plain_exchange_from_beginning_to_end():
    proxied = exchange()
    assert proxied.receive(request()) == [OpenUpstream(ADA)]
    assert proxied.receive(NOTHING_MORE) == []
    [sent] = proxied.receive(UpstreamReady())
    assert isinstance(sent, SendUpstream) and sent.data.startswith(
        b"GET /user/ada/lab HTTP/1.1\r\nHost: hub.example\r\n"
    )
    [head] = proxied.receive(response(200, "Content-Length: 2", "X-One: 1"))
    assert head == SendClient(b"HTTP/1.1 200 Words\r\nX-One: 1\r\nDate: today\r\nContent-Length: 2\r\n\r\n")
    assert kinds(proxied.receive(ResponseBody(b"ok", True))) == [SendClient, Touch]
    assert proxied.receive(ResponseDone(True)) == [ReleaseUpstream(), FinishClient(keep_alive=True)]


def test_client_leaving_during_connect_cancels_the_upstream():
    proxied = exchange()
    assert proxied.receive(request()) == [OpenUpstream(ADA)]
    assert proxied.receive(ClientGone()) == [AbandonUpstream()]
    assert proxied.receive(UpstreamReady()) == []


def test_the_health_check_is_answered_here_and_only_at_its_exact_address():
    assert exchange().receive(request("GET /_chp_healthz")) == [RespondHealthy(b'{"status":"OK"}', True)]
    assert kinds(exchange().receive(request("GET /_chp_healthz?x"))) == [RespondError]


def test_a_request_without_a_route_is_answered_404_and_the_client_may_go_on():
    [answer] = exchange().receive(request("GET /nowhere"))
    assert (answer.status, answer.keep_alive, answer.is_bare) == (404, True, False)


def test_a_route_with_an_unusable_target_is_answered_500():
    [answer] = exchange().receive(request("GET /broken"))
    assert answer.status == 500


def test_a_body_that_comes_before_the_upstream_is_sent_with_the_head():
    proxied = exchange()
    proxied.receive(POST)
    assert kinds(proxied.receive(RequestBody(b"ab", False))) == [Touch]
    [sent] = proxied.receive(UpstreamReady())
    assert sent.data.endswith(b"\r\n\r\nab")
    assert proxied.receive(RequestBody(b"cd", True))[0] == SendUpstream(b"cd")


def test_an_upstream_that_cannot_be_reached_is_answered_503():
    proxied = exchange()
    proxied.receive(request())
    assert proxied.receive(UpstreamFailed("refused")) == [AbandonUpstream(), RespondError(503, "refused", True)]


def test_an_answer_to_half_a_request_ends_the_connection_gently():
    proxied = started(POST)
    [head] = proxied.receive(response(413, "Content-Length: 0"))
    assert b"Connection: close\r\n" in head.data
    assert proxied.receive(ResponseBody(b"", True)) == []
    assert proxied.receive(ResponseDone(True)) == [AbandonUpstream(), FinishClient(False, is_reading_short=True)]


def test_an_answer_that_begins_before_the_request_ends_is_passed_on_and_so_is_the_rest_of_the_request():
    proxied = started(POST)
    proxied.receive(response(200, "Content-Length: 2"))
    assert proxied.receive(RequestBody(b"abcd", True))[0] == SendUpstream(b"abcd")
    proxied.receive(ResponseBody(b"ok", True))
    assert proxied.receive(ResponseDone(True)) == [ReleaseUpstream(), FinishClient(keep_alive=False)]


def test_a_broken_request_body_is_answered_400_and_the_upstream_never_sees_its_end():
    proxied = started(request("POST /user/ada/x", "Transfer-Encoding: chunked"))
    abandoned, answer = proxied.receive(ClientBroken("bad chunk"))
    assert abandoned == AbandonUpstream() and (answer.status, answer.keep_alive) == (400, False)


# -- sending twice
def test_an_idempotent_request_that_met_a_stale_connection_is_sent_again_on_a_new_one():
    proxied = started(is_reused=True)
    again = [AbandonUpstream(), OpenUpstream(ADA, is_repeatable=True, must_be_new=True)]
    assert proxied.receive(UpstreamFailed("closed")) == again
    assert kinds(proxied.receive(UpstreamReady())) == [SendUpstream]
    assert kinds(proxied.receive(UpstreamFailed("closed"))) == [AbandonUpstream, RespondError]


@pytest.mark.parametrize(
    "head", [POST, request("POST /user/ada/x"), request("PUT /user/ada/x", "Content-Length: 1"), WEBSOCKET]
)
def test_a_request_that_might_do_something_twice_is_not_sent_again(head):
    proxied = exchange()
    [opening] = proxied.receive(head)
    assert opening.is_repeatable is (head is WEBSOCKET)
    if head is not WEBSOCKET:
        proxied.receive(UpstreamReady(is_reused=True))
        assert kinds(proxied.receive(UpstreamFailed("closed"))) == [AbandonUpstream, RespondError]


def test_a_request_on_a_new_connection_is_not_sent_again():
    assert kinds(started().receive(UpstreamFailed("closed"))) == [AbandonUpstream, RespondError]


def test_a_request_of_which_something_was_answered_is_not_sent_again():
    proxied = started(is_reused=True)
    proxied.receive(response(103))
    assert kinds(proxied.receive(UpstreamFailed("closed"))) == [AbandonUpstream, RespondError]
    proxied = started(is_reused=True)
    assert kinds(proxied.receive(UpstreamFailed("nonsense", 502))) == [AbandonUpstream, RespondError]


# -- answers that fail
def test_an_answer_that_breaks_off_breaks_off_for_the_client_too():
    proxied = started()
    proxied.receive(response(200, "Content-Length: 9"))
    assert proxied.receive(UpstreamFailed("gone")) == [AbandonUpstream(), AbortClient("gone")]


def test_half_an_answer_without_a_length_is_never_closed_as_if_it_were_whole():
    proxied = started()
    proxied.receive(response(200))
    assert proxied.receive(UpstreamFailed("reset")) == [AbandonUpstream(), AbortClient("reset", must_reset=True)]
    proxied = started(request(version="1.0"))
    proxied.receive(response(200, "Transfer-Encoding: chunked"))
    assert proxied.receive(UpstreamFailed("gone")) == [AbandonUpstream(), AbortClient("gone", must_reset=True)]


def test_a_connection_that_the_upstream_closes_is_not_reused():
    proxied = started()
    proxied.receive(response(200, "Content-Length: 0"))
    assert proxied.receive(ResponseDone(False)) == [AbandonUpstream(), FinishClient(keep_alive=True)]


def test_a_client_that_wants_to_close_is_closed():
    proxied = started(request("GET /user/ada", "Connection: close"))
    [head] = proxied.receive(response(200, "Content-Length: 0"))
    assert b"Connection: close\r\n" in head.data
    assert proxied.receive(ResponseDone(True)) == [ReleaseUpstream(), FinishClient(keep_alive=False)]


def test_http_1_0_clients_get_no_interim_answers_and_keep_alive_only_when_asked():
    assert started(request(version="1.0")).receive(response(103)) == []
    proxied = started(request("GET /user/ada", "Connection: keep-alive", version="1.0"))
    [head] = proxied.receive(response(200, "Content-Length: 0"))
    assert b"Connection: keep-alive\r\n" in head.data
    proxied = started(request("GET /user/ada", "Connection: keep-alive", version="1.0"))
    [head] = proxied.receive(response(200, "Transfer-Encoding: chunked"))
    assert b"Connection: close\r\n" in head.data and b"chunked" not in head.data


# -- WebSockets
def test_an_agreed_websocket_joins_the_two_connections():
    proxied = started(WEBSOCKET)
    commands = proxied.receive(response(101, "Connection: upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Accept: x"))
    assert kinds(commands) == [SendClient, Touch, Join] and proxied.phase is Phase.JOINED
    assert b"Upgrade: websocket\r\n" in commands[0].data and b"Sec-WebSocket-Accept: x\r\n" in commands[0].data
    assert proxied.receive(UpstreamFailed("gone")) == [AbandonUpstream(), FinishClient(keep_alive=False)]


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
    commands = started(head).receive(response(101, "Connection: upgrade", *fields))
    assert kinds(commands) == [AbandonUpstream, RespondError] and commands[1].status == 502


def test_errors_of_websockets_are_bare():
    [answer] = exchange().receive(request("GET /no", "Connection: Upgrade", "Upgrade: websocket"))
    assert answer.is_bare and not answer.keep_alive


def test_a_refused_websocket_is_an_ordinary_answer():
    proxied = started(WEBSOCKET)
    assert kinds(proxied.receive(response(403, "Content-Length: 0"))) == [SendClient]
    assert proxied.receive(ResponseDone(True)) == [ReleaseUpstream(), FinishClient(keep_alive=True)]


# -- activity
@pytest.mark.parametrize(("status", "counts"), [(200, True), (206, True), (302, False), (404, False), (503, False)])
def test_only_successful_answers_are_activity(status, counts):
    proxied = started()
    proxied.receive(response(status, "Content-Length: 1"))
    assert (Touch in kinds(proxied.receive(ResponseBody(b"x", True)))) is counts


def test_what_a_client_sends_is_activity_even_if_it_is_refused():
    proxied = started(POST)
    assert kinds(proxied.receive(RequestBody(b"abcd", True))) == [SendUpstream, Touch]


# -- any order of events
EVENTS = st.sampled_from(
    [
        NOTHING_MORE,
        RequestBody(b"x", False),
        UpstreamReady(),
        UpstreamFailed("x"),
        response(200, "Content-Length: 1"),
        response(103),
        ResponseBody(b"x", True),
        ResponseDone(True),
        ClientGone(),
        ClientBroken("x"),
    ]
)
ENDS = (FinishClient, RespondError, AbortClient)


@given(st.sampled_from([request(), POST, WEBSOCKET]), st.lists(EVENTS, max_size=12))
def test_an_exchange_ends_at_most_once_and_says_nothing_afterwards(head, events):
    proxied = exchange()
    proxied.receive(head)
    ends = 0
    for event in events:
        allowed = {
            Phase.OPENING: (UpstreamReady, UpstreamFailed, RequestBody, ClientGone, ClientBroken),
            Phase.OPEN: (ResponseHead, UpstreamFailed, RequestBody, ClientGone, ClientBroken),
            Phase.ANSWERED: (ResponseDone, RequestBody, ClientGone, ClientBroken),
        }.get(proxied.phase, (RequestBody, ResponseBody, ResponseHead, ClientGone))
        if proxied.phase is Phase.OPEN and proxied.is_response_started:
            allowed = (ResponseBody, UpstreamFailed, RequestBody, ClientGone, ClientBroken)
        if not isinstance(event, allowed):
            continue
        was_over = proxied.phase is Phase.OVER
        commands = proxied.receive(event)
        ends += sum(isinstance(command, ENDS) for command in commands)
        assert not (was_over and commands)
    assert ends <= 1
