"""Which heads are taken and which are refused, clause by clause; and that no input makes the reader stumble."""

from __future__ import annotations

import contextlib

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyterhub.proxyserver.protocol.heads import (
    CHUNKED,
    NO_BODY,
    UNTIL_CLOSE,
    Framing,
    FramingKind,
    Refused,
    looks_like_a_request,
    parse_request_head,
    parse_response_head,
)


def request(*lines: str | bytes) -> bytes:
    return b"\r\n".join([line.encode("latin-1") if isinstance(line, str) else line for line in lines] + [b"", b""])


def refusal(data: bytes) -> int:
    with pytest.raises(Refused) as caught:
        parse_request_head(data)
    return caught.value.status


def response(*lines: str, method: bytes = b"GET"):
    return parse_response_head(request(*lines), request_method=method)


# -- requests
def test_a_plain_request_is_read_as_it_is():
    head = parse_request_head(
        request("GET /a%20b/?x=1%2F HTTP/1.1", "Host: hub.example:8000", "X-One:  1 ", "x-one: 2")
    )
    assert (head.method, head.target, head.path_raw) == (b"GET", b"/a%20b/?x=1%2F", b"/a%20b/")
    assert head.host == b"hub.example:8000"
    assert [(name, value) for _, name, value in head.fields[1:]] == [(b"x-one", b"1"), (b"x-one", b"2")]
    assert head.fields[1][0] == b"X-One:  1 \r\n"
    assert head.framing == NO_BODY and head.wants_keep_alive


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("GET  / HTTP/1.1", "two spaces"),
        (" GET / HTTP/1.1", "a leading space"),
        ("GET / HTTP/1.1 ", "a trailing space"),
        ("GET /\tHTTP/1.1", "a tab"),
        ("GET /", "HTTP/0.9"),
        ("GET / http/1.1", "lower case version"),
        ("GET / HTTP/11", "no dot"),
        ("GET /a b HTTP/1.1", "a space in the target"),
        ("GET /ü HTTP/1.1", "raw bytes above ASCII"),
        ("GET /\x7f HTTP/1.1", "DEL"),
        ("G(T / HTTP/1.1", "a method that is no token"),
        ("GET /a#b HTTP/1.1", "a fragment"),
        ("GET /a\\b HTTP/1.1", "a backslash"),
        ("GET /%zz HTTP/1.1", "a broken escape"),
        ("GET /% HTTP/1.1", "half an escape"),
        ("GET a HTTP/1.1", "neither path nor URL"),
        ("GET * HTTP/1.1", "asterisk-form"),
        ("OPTIONS * HTTP/1.1", "asterisk-form"),
        ("GET x:80 HTTP/1.1", "authority-form outside CONNECT"),
        ("GET ftp://x/ HTTP/1.1", "another scheme"),
        ("GET http://user@x/ HTTP/1.1", "userinfo (RFC 9110 §4.2.4)"),
        ("GET http:///a HTTP/1.1", "no host"),
        ("GET http://y/ HTTP/1.1", "a URL that contradicts Host"),
    ],
)
def test_a_malformed_request_line_is_refused(line, why):
    assert refusal(request(line, "Host: x")) == 400, why


@pytest.mark.parametrize(
    ("field", "why"),
    [
        ("X-A : 1", "RFC 9112 §5.1: space before the colon"),
        (": 1", "no name"),
        ("X A: 1", "a name that is no token"),
        ("X-Ü: 1", "a name above ASCII"),
        ("X-A", "no colon"),
        ("X-A: 1\r\n 2", "RFC 9112 §5.2: obs-fold"),
        ("X-A: 1\r\n\t2", "obs-fold with a tab"),
        ("X-A: 1\r2", "a bare CR"),
        ("X-A: 1\n2: 3", "a bare LF"),
        ("X-A: \x00", "NUL"),
        ("X-A: \x0b", "a control character"),
        ("X-A: \x7f", "DEL"),
        ("Host: y", "RFC 9112 §3.2: Host twice"),
        ("Content-Length: 1\r\nContent-Length: 1", "lengths repeated"),
        ("Content-Length: 1\r\nContent-Length: 2", "lengths in conflict"),
        ("Content-Length: 1, 1", "a list of lengths"),
        ("Content-Length: +1", "a sign"),
        ("Content-Length: -1", "a negative length"),
        ("Content-Length: 0x1", "hexadecimal"),
        ("Content-Length: 1_0", "Python's digits"),
        ("Content-Length: \xb2", "a digit of Unicode"),
        ("Content-Length:", "no digits"),
        ("Content-Length: 1 0", "two numbers"),
        ("Content-Length: 9999999999999999999", "more than 64 bits"),
        ("Content-Length: 1\r\nTransfer-Encoding: chunked", "RFC 9112 §6.1: both"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "chunked twice"),
        ("Transfer-Encoding: chunked, chunked", "chunked twice in a list"),
        ("Transfer-Encoding: chunked, gzip", "chunked not last"),
        ("Transfer-Encoding: gzip", "no chunked"),
        ("Transfer-Encoding: identity", "identity is gone"),
        ("Transfer-Encoding: xchunked", "something like chunked"),
        ('Transfer-Encoding: "chunked"', "quoted"),
        ("Transfer-Encoding: chunked;x=1", "a parameter"),
        ("Transfer-Encoding:", "empty"),
    ],
)
def test_a_malformed_field_is_refused(field, why):
    assert refusal(request("POST / HTTP/1.1", "Host: x", field)) == 400, why


@pytest.mark.parametrize("host", ["", "a b", "a/b", "u@x", "x:a", "x:123456", "[::1", "x,y", "[zz]", "x:80:80"])
def test_a_host_that_is_none_is_refused(host):
    assert refusal(request("GET / HTTP/1.1", f"Host: {host}")) == 400


@pytest.mark.parametrize("host", ["x", "x:", "x:80", "a-b.c_d~e", "127.0.0.1:1", "[::1]", "[::1]:8000", "a%20b"])
def test_a_host_of_any_proper_form_is_taken(host):
    assert parse_request_head(request("GET / HTTP/1.1", f"Host: {host}")).host == host.encode()


def test_host_may_be_missing_in_http_1_0_only():
    assert refusal(request("GET / HTTP/1.1")) == 400
    head = parse_request_head(request("GET / HTTP/1.0"))
    assert head.host is None and not head.wants_keep_alive


def test_other_versions_and_methods_are_answered_with_their_own_status():
    assert refusal(request("GET / HTTP/2.0", "Host: x")) == 505
    assert refusal(request("CONNECT x:1 HTTP/1.1", "Host: x")) == 501
    assert refusal(request("TRACE / HTTP/1.1", "Host: x")) == 501
    assert refusal(request("POST / HTTP/1.1", "Host: x", "Transfer-Encoding: gzip, chunked")) == 501
    assert refusal(request("POST / HTTP/1.0", "Host: x", "Transfer-Encoding: chunked")) == 400


@pytest.mark.parametrize(
    ("url", "target", "host"),
    [
        ("http://x/a?b", b"/a?b", b"x"),
        ("HTTP://X:80/a", b"/a", b"X:80"),
        ("http://x", b"/", b"x"),
        ("http://x?b", b"/?b", b"x"),
    ],
)
def test_absolute_form_becomes_origin_form(url, target, host):
    head = parse_request_head(request(f"GET {url} HTTP/1.1", "Host: x"))
    assert (head.target, head.host) == (target, host)


def test_framing_follows_the_fields():
    def framing(*fields: str) -> Framing:
        return parse_request_head(request("POST / HTTP/1.1", "Host: x", *fields)).framing

    assert framing() == NO_BODY
    assert framing("Content-Length: 007") == Framing(FramingKind.LENGTH, 7)
    assert framing("Transfer-Encoding: CHUNKED") == CHUNKED


@pytest.mark.parametrize(
    ("fields", "is_websocket"),
    [
        (["Connection: Upgrade", "Upgrade: websocket"], True),
        (["Connection: keep-alive, UPGRADE", "Upgrade: WebSocket"], True),
        (["Upgrade: websocket"], False),
        (["Connection: Upgrade"], False),
        (["Connection: Upgrade", "Upgrade: h2c"], False),
        (["Connection: Upgrade", "Upgrade: h2c, websocket"], False),
        (["Connection: Upgrade", "Upgrade: websocket", "Content-Length: 3"], False),
        (["Connection: Upgrade", "Upgrade: websocket", "Content-Length: 0"], True),
    ],
)
def test_only_a_proper_websocket_handshake_is_one(fields, is_websocket):
    assert parse_request_head(request("GET / HTTP/1.1", "Host: x", *fields)).is_websocket is is_websocket


def test_garbage_is_recognised_before_a_head_is_complete():
    assert looks_like_a_request(b"GET / HTTP/1.1\r\nHo")
    assert not looks_like_a_request(b"\x16\x03\x01\x02\x00\x01")
    assert not looks_like_a_request(b"GET / HTTP/1.1\nHost: x\n\n")
    assert not looks_like_a_request(b" GET")


# -- responses
def test_a_response_without_a_reason_phrase_is_taken():
    assert response("HTTP/1.1 200").status == 200
    assert response("HTTP/1.1 200 ").reason == b""


@pytest.mark.parametrize(
    "lines",
    [
        ["HTTP/1.1 20 OK"],
        ["HTTP/1.1 099 OK"],
        ["HTTP/3.0 200 OK"],
        ["ICY 200 OK"],
        ["HTTP/1.1 200 OK", "X-A : 1"],
        ["HTTP/1.1 200 OK", "X-A: 1", " folded"],
        ["HTTP/1.1 200 OK", "Content-Length: 1", "Content-Length: 2"],
        ["HTTP/1.1 200 OK", "Content-Length: x"],
        ["HTTP/1.1 200 OK", "Content-Length: 1", "Transfer-Encoding: chunked"],
        ["HTTP/1.1 200 OK", "Transfer-Encoding: gzip, chunked"],
        ["HTTP/1.0 200 OK", "Transfer-Encoding: chunked"],
    ],
)
def test_a_malformed_response_is_refused_as_the_upstreams_fault(lines):
    with pytest.raises(Refused) as caught:
        response(*lines)
    assert caught.value.status == 502


def test_response_framing_follows_status_method_and_fields():
    assert response("HTTP/1.1 200 OK").framing is UNTIL_CLOSE
    assert response("HTTP/1.1 200 OK", "Content-Length: 3", "Content-Length: 3").framing.length == 3
    assert response("HTTP/1.1 200 OK", "Transfer-Encoding: chunked").framing is CHUNKED
    for status in (100, 101, 204, 304):
        assert response(f"HTTP/1.1 {status} X", "Transfer-Encoding: chunked").framing is NO_BODY
    assert response("HTTP/1.1 200 OK", "Content-Length: 3", method=b"HEAD").framing is NO_BODY


def test_keep_alive_of_upstreams_follows_version_and_connection():
    assert response("HTTP/1.1 200 OK", "Content-Length: 0").keeps_alive
    assert not response("HTTP/1.1 200 OK", "Content-Length: 0", "Connection: Close").keeps_alive
    assert not response("HTTP/1.0 200 OK", "Content-Length: 0").keeps_alive
    assert response("HTTP/1.0 200 OK", "Content-Length: 0", "Connection: keep-alive").keeps_alive
    assert not response("HTTP/1.1 200 OK").keeps_alive


# -- against another reader
TOKENS = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=12)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=20)
BITS = st.sampled_from(
    [
        b"GET",
        b" ",
        b"/",
        b"/a",
        b"?b",
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"\r\n",
        b"\n",
        b"\r",
        b"Host:",
        b"x",
        b":",
        b"\x00",
        b"Content-Length: 3",
        b"Transfer-Encoding: chunked",
        b"\t",
        b",",
        b"\xff",
        b"Connection: close",
        b"1",
        b"http://x",
    ]
)


@given(st.lists(st.tuples(TOKENS, VALUES), max_size=8))
def test_every_legal_field_is_read_with_its_value(fields):
    known = {"host", "content-length", "transfer-encoding"}
    fields = [(name, value) for name, value in fields if name.lower() not in known]
    head = parse_request_head(request("GET / HTTP/1.1", "Host: x", *(f"{name}:{value}" for name, value in fields)))
    expected = [(name.lower().encode(), value.strip(" \t").encode("latin-1")) for name, value in fields]
    assert [(name, value) for _, name, value in head.fields[1:]] == expected


@given(st.lists(BITS, max_size=14).map(b"".join))
def test_whatever_we_take_h11_reads_the_same_way(data):
    data = b"GET / HTTP/1.1\r\n" + data + b"\r\n\r\n" if not data.startswith(b"GET") else data + b"\r\n\r\n"
    head_bytes = data[: data.find(b"\r\n\r\n") + 4]
    try:
        head = parse_request_head(head_bytes)
    except Refused:
        return
    other = h11.Connection(h11.SERVER)
    other.receive_data(head_bytes)
    event = other.next_event()
    assert isinstance(event, h11.Request)
    assert event.method == head.method
    assert event.target.removeprefix(b"http://x").removeprefix(b"http://1") in (head.target, head.target[1:])
    assert list(event.headers) == [
        (name, value.lower() if name == b"transfer-encoding" else value) for _, name, value in head.fields
    ]


@given(st.binary(max_size=200))
def test_no_bytes_make_the_readers_stumble(data):
    for parse in (parse_request_head, lambda head: parse_response_head(head, request_method=b"GET")):
        with contextlib.suppress(Refused):
            parse(data)


def test_a_hostile_head_is_judged_in_linear_time():
    """White space and empty fields up to the limit: patterns that go back and forth would take minutes."""
    for filling in (b" " * 60_000, b"\t," * 30_000, b"a" * 60_000, b"%61" * 20_000):
        parse_request_head(
            b"GET / HTTP/1.1\r\nHost: x\r\nX: a" + filling + b"b\r\nConnection: " + filling + b"\r\n\r\n"
        )
        refusal(b"GET / HTTP/1.1\r\nHost: x\r\nX: a" + filling + b"\x00\r\n\r\n")
