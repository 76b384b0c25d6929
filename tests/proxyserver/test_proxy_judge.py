"""A second opinion on heads: llhttp, the parser of Node.js. What we take, it takes too, and understands the same."""

from __future__ import annotations

import contextlib

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyterhub.proxyserver.protocol.heads import Refused, parse_request_head, parse_response_head


class Heard:
    def __init__(self) -> None:
        self.target = self.reason = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.is_whole = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.is_whole = True


NAMES = st.sampled_from(
    [
        b"Host",
        b"Content-Length",
        b"Transfer-Encoding",
        b"Connection",
        b"Upgrade",
        b"X-A",
        b"x-a ",
        b" X",
        b"X\t",
        b"\xff",
        b"",
    ]
)
VALUES = st.sampled_from(
    [
        b"x",
        b"5",
        b"0",
        b"+5",
        b"5, 5",
        b"chunked",
        b"gzip, chunked",
        b"chunked, chunked",
        b"close",
        b"keep-alive",
        b"websocket",
    ]
) | st.binary(max_size=6)
SEPARATORS = st.sampled_from([b": ", b":", b" :", b":\t", b""])
ENDS = st.sampled_from([b"\r\n"] * 8 + [b"\n", b"\r", b"\r\n ", b"\r\r\n"])
FIELDS = st.lists(st.tuples(NAMES, SEPARATORS, VALUES, ENDS).map(b"".join), max_size=5).map(b"".join)
REQUEST_LINES = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"POST /a?b=%20 HTTP/1.1",
        b"GET /a HTTP/1.0",
        b"GET  / HTTP/1.1",
        b"get / HTTP/1.1",
        b"GET http://x/ HTTP/1.1",
    ]
)
STATUS_LINES = st.sampled_from(
    [b"HTTP/1.1 200 OK", b"HTTP/1.1 204", b"HTTP/1.0 200 ", b"HTTP/1.1 99 X", b"HTTP/2.0 200 OK"]
)


@given(REQUEST_LINES, ENDS, FIELDS)
def test_no_request_is_taken_that_llhttp_reads_differently(line, end, fields):
    data = line + end + b"Host: x\r\n" + fields + b"\r\n"
    try:
        head = parse_request_head(data)
    except Refused:
        return
    heard = Heard()
    parser = httptools.HttpRequestParser(heard)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserInvalidMethodError:
        assert head.method == b"get"  # any token is a method (RFC 9110 §9.1); llhttp has a list
        return
    assert heard.is_whole
    assert [(name, value) for _, name, value in head.fields] == [
        (name, value.rstrip(b" \t")) for name, value in heard.fields
    ]
    assert parser.get_method() == head.method
    assert heard.target in (head.target, b"http://x/")


@given(STATUS_LINES, ENDS, FIELDS)
def test_no_response_is_taken_that_llhttp_reads_differently(line, end, fields):
    data = line + end + fields + b"\r\n"
    try:
        head = parse_response_head(data, request_method=b"GET")
    except Refused:
        return
    heard = Heard()
    parser = httptools.HttpResponseParser(heard)
    with contextlib.suppress(httptools.HttpParserUpgrade):
        parser.feed_data(data)
    assert heard.is_whole and parser.get_status_code() == head.status
    assert [(name, value) for _, name, value in head.fields] == [
        (name, value.rstrip(b" \t")) for name, value in heard.fields
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n",
        b"GET http://y/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_llhttp_alone_would_let_too_much_pass(data):
    """Why its strictness is not ours: what it takes here is refused by us."""
    heard = Heard()
    httptools.HttpRequestParser(heard).feed_data(data)
    assert heard.is_whole
    with pytest.raises(Refused):
        parse_request_head(data)
