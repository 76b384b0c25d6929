"""What is changed in heads that pass, in both directions."""

from __future__ import annotations

import pytest

from jupyterhub.proxyserver.protocol.fields import (
    ClientFacts,
    ForwardingRules,
    informational,
    request_for_upstream,
    response_for_client,
)
from jupyterhub.proxyserver.protocol.heads import parse_request_head, parse_response_head
from jupyterhub.proxyserver.protocol.routes import RouteTable


def lines(head: bytes) -> list[str]:
    assert head.endswith(b"\r\n\r\n")
    return head.decode("latin-1").split("\r\n")[:-2]


def forwarded(
    *request_lines: str,
    target: str = "http://10.0.0.7:8888",
    path: str = "/a",
    is_tls: bool = False,
    host_routing: bool = False,
    **rules: object,
) -> list[str]:
    head = parse_request_head("\r\n".join([*request_lines, "", ""]).encode())
    route = RouteTable(host_routing=host_routing).add(path, {"target": target}, now=0)
    facts = ClientFacts(b"192.0.2.9", is_tls)
    assert route.target is not None
    return lines(request_for_upstream(head, route, route.target, ForwardingRules(**rules), facts))


def plain(*fields: str, line: str = "GET /a/x HTTP/1.1", **options: object) -> list[str]:
    return forwarded(line, "Host: hub.example:8000", *fields, x_forward=False, **options)


def test_what_is_end_to_end_passes_untouched_and_in_order():
    fields = [
        "x-b:1",
        "X-A:  2  ",
        "Cookie: a=1",
        "cookie: b=2",
        "Authorization: token x",
        "Forwarded: for=1",
        "Trailer: x",
    ]
    assert plain(*fields) == ["GET /a/x HTTP/1.1", "Host: hub.example:8000", *fields]


@pytest.mark.parametrize(
    "field",
    [
        "Keep-Alive: 5",
        "Proxy-Connection: x",
        "TE: trailers",
        "Upgrade: h2c",
        "HTTP2-Settings: x",
        "Proxy-Authorization: x",
    ],
)
def test_fields_of_this_hop_stay_here(field):
    assert plain(field) == ["GET /a/x HTTP/1.1", "Host: hub.example:8000"]


def test_fields_nominated_by_connection_stay_here():
    assert plain("Connection: close, X-Hop", "X-Hop: 1", "X-Other: 2")[2:] == ["X-Other: 2"]


def test_a_client_cannot_nominate_away_what_upstreams_rely_on():
    fields = ["Connection: Host, X-Forwarded-For, Content-Length", "Content-Length: 2"]
    head = forwarded("POST /a HTTP/1.1", "Host: x", "X-Forwarded-For: 1.1.1.1", *fields)
    assert "Host: x" in head and "Content-Length: 2" in head and "X-Forwarded-For: 1.1.1.1,192.0.2.9" in head


def test_framing_is_written_anew():
    assert plain("Content-Length: 007", line="POST /a HTTP/1.1")[-1] == "Content-Length: 7"
    assert plain("transfer-encoding: Chunked", line="POST /a HTTP/1.1")[-1] == "Transfer-Encoding: chunked"


def test_a_websocket_handshake_keeps_its_upgrade():
    assert plain("Connection: keep-alive, Upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Key: x")[2:] == [
        "Sec-WebSocket-Key: x",
        "Connection: Upgrade",
        "Upgrade: websocket",
    ]


def test_forwarding_fields_are_added():
    assert forwarded("GET /a HTTP/1.1", "Host: hub.example:8000")[2:] == [
        "X-Forwarded-For: 192.0.2.9",
        "X-Forwarded-Port: 8000",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: hub.example:8000",
    ]
    assert "X-Forwarded-Port: 80" in forwarded("GET /a HTTP/1.1", "Host: hub.example")
    tls = forwarded("GET /a HTTP/1.1", "Host: [::1]", is_tls=True)
    assert "X-Forwarded-Port: 443" in tls and "X-Forwarded-Proto: https" in tls
    websocket = forwarded("GET /a HTTP/1.1", "Host: x", "Connection: upgrade", "Upgrade: websocket", is_tls=True)
    assert "X-Forwarded-Proto: wss" in websocket


def test_forwarding_fields_of_a_proxy_in_front_are_continued():
    head = forwarded(
        "GET /a HTTP/1.1", "Host: x:81", "x-forwarded-for: 1.1.1.1", "X-Forwarded-For: 2.2.2.2",
        "X-Forwarded-Proto: https", "X-Forwarded-Port: 443", "X-Forwarded-Host: front.example",
    )  # fmt: skip
    assert head[2:] == [
        "X-Forwarded-For: 1.1.1.1,2.2.2.2,192.0.2.9",
        "X-Forwarded-Port: 443,81",
        "X-Forwarded-Proto: https,http",
        "X-Forwarded-Host: front.example",
    ]


def test_http_1_0_requests_leave_as_http_1_1_with_a_host():
    head = forwarded("GET /a HTTP/1.0", "Expect: 100-continue", x_forward=False)
    assert head == ["GET /a HTTP/1.1", "Host: 10.0.0.7:8888"]


def test_change_origin_sends_the_targets_host():
    assert plain(change_origin=True)[1] == "Host: 10.0.0.7:8888"


def test_custom_fields_replace_the_clients():
    custom = ((b"X-One", b"ours"), (b"X-Two", b"a:b"))
    assert plain("x-one: theirs", custom_fields=custom)[2:] == ["X-One: ours", "X-Two: a:b"]


@pytest.mark.parametrize(
    ("line", "path", "rules", "expected"),
    [
        ("/a/x?y=1", "/a", {}, "/p/a/x?y=1"),
        ("/a", "/a", {"prepend_path": False}, "/a"),
        ("/a/x?y", "/a", {"include_prefix": False}, "/p/x?y"),
        ("/a", "/a", {"include_prefix": False}, "/p/"),
        ("/a?y", "/a", {"include_prefix": False}, "/p/?y"),
        ("/%61%20b/x%2F", "/a b", {"include_prefix": False, "prepend_path": False}, "/x%2F"),
        ("/a%2Fx", "/a", {"include_prefix": False, "prepend_path": False}, "/x"),
        ("/x", "/", {"include_prefix": False, "prepend_path": False}, "/x"),
    ],
)
def test_paths_of_target_and_route_go_on_and_off(line, path, rules, expected):
    head = plain(line=f"GET {line} HTTP/1.1", path=path, target="http://h/p/", **rules)
    assert head[0] == f"GET {expected} HTTP/1.1"


def test_with_host_routing_the_host_is_no_part_of_the_prefix():
    head = plain(path="/hub.example/a", host_routing=True, include_prefix=False)
    assert head[0] == "GET /x HTTP/1.1"


# -- responses
def answered(
    *response_lines: str,
    line: str = "GET /a HTTP/1.1",
    keep_alive: bool = True,
    target: str = "http://up:1",
    **rules: object,
) -> list[str]:
    request = parse_request_head(f"{line}\r\nHost: hub.example\r\n\r\n".encode())
    head = parse_response_head("\r\n".join([*response_lines, "", ""]).encode(), request_method=request.method)
    route = RouteTable().add("/a", {"target": target}, now=0)
    assert route.target is not None
    return lines(
        response_for_client(
            head,
            request,
            target=route.target,
            rules=ForwardingRules(**rules),
            client=ClientFacts(b""),
            keep_alive=keep_alive,
            date=lambda: b"now",
        )
    )


def test_answers_pass_without_what_belongs_to_the_other_hop():
    assert answered(
        "HTTP/1.1 200 Own Words", "Keep-Alive: timeout=77", "Connection: x-hop, close", "X-Hop: 1", "Set-Cookie: a",
        "set-cookie: b", "Date: then", "Content-Length: 3", "Server: theirs",
    ) == [
        "HTTP/1.1 200 Own Words", "Set-Cookie: a", "set-cookie: b", "Date: then", "Content-Length: 3", "Server: theirs",
    ]  # fmt: skip


def test_a_date_is_added_where_there_is_none():
    assert answered("HTTP/1.1 200 OK", "Content-Length: 0") == ["HTTP/1.1 200 OK", "Date: now", "Content-Length: 0"]


def test_answers_are_ours_in_version_and_framing():
    assert answered("HTTP/1.0 200 OK", "Content-Length: 1")[0] == "HTTP/1.1 200 OK"
    assert answered("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")[-1] == "Transfer-Encoding: chunked"
    assert "Content-Length: 3" in answered("HTTP/1.1 304 X", "Content-Length: 3")
    assert "Content-Length: 3" in answered("HTTP/1.1 200 OK", "Content-Length: 3", line="HEAD /a HTTP/1.1")
    assert "Content-Length: 0" not in answered("HTTP/1.1 204 X", "Content-Length: 0")
    assert answered("HTTP/1.1 200 OK", keep_alive=False)[-1] == "Connection: close"


def test_interim_answers_pass_with_their_fields():
    head = parse_response_head(b"HTTP/1.1 103 Hints\r\nLink: a\r\nConnection: x\r\nX: 1\r\n\r\n", request_method=b"GET")
    assert lines(informational(head)) == ["HTTP/1.1 103 Hints", "Link: a"]


@pytest.mark.parametrize(
    ("location", "rules", "expected"),
    [
        ("http://up:1/x?y", {}, "http://up:1/x?y"),
        ("http://up:1/x?y", {"auto_rewrite": True}, "http://hub.example/x?y"),
        ("http://up:1/x", {"protocol_rewrite": b"https"}, "https://up:1/x"),
        ("http://UP:1/x", {"auto_rewrite": True, "protocol_rewrite": b"https"}, "https://hub.example/x"),
        ("http://up:2/x", {"auto_rewrite": True, "protocol_rewrite": b"https"}, "http://up:2/x"),
        ("/x", {"auto_rewrite": True}, "/x"),
    ],
)
def test_redirects_to_the_target_itself_are_rewritten_on_demand(location, rules, expected):
    head = answered("HTTP/1.1 302 Found", f"Location: {location}", "Content-Length: 0", **rules)
    assert f"Location: {expected}" in head


def test_only_redirects_are_rewritten():
    head = answered("HTTP/1.1 200 OK", "Location: http://up:1/", "Content-Length: 0", auto_rewrite=True)
    assert "Location: http://up:1/" in head
