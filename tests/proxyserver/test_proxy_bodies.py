"""Where bodies end, in whatever pieces they arrive."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyterhub.proxyserver.protocol.bodies import ChunkedBody, LengthBody
from jupyterhub.proxyserver.protocol.heads import MAX_HEAD_BYTES, Refused, RequestHead, ResponseHead
from jupyterhub.proxyserver.protocol.reading import RequestReader, ResponseReader


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    borders = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(borders) if a < b]


def read_all(body, pieces: list[bytes]) -> tuple[bytes, bytes | None]:
    passed, rest = b"", None
    for piece in pieces:
        if rest is None:
            part, rest = body.feed(piece)
            passed += part
        else:
            rest += piece
    return passed, rest


CUTS = st.lists(st.integers(0, 10_000), max_size=12)


@st.composite
def chunked_bodies(draw) -> tuple[bytes, bytes]:
    """(the content, as it travels)"""
    chunks = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=6))
    extension = draw(st.sampled_from([b"", b";x", b';x="1"', b"; y=2"]))
    trailers = draw(st.sampled_from([b"", b"X-Sum: 1\r\n", b"a:\r\nb: c d\r\n"]))
    size = draw(st.sampled_from([b"%x", b"%X", b"%04x"]))
    lines = [size % len(chunk) + extension + b"\r\n" + chunk + b"\r\n" for chunk in chunks]
    return b"".join(chunks), b"".join(lines) + b"0\r\n" + trailers + b"\r\n"


@given(chunked_bodies(), CUTS, st.binary(max_size=10))
def test_chunked_bodies_pass_as_they_came_in_any_pieces(body, cuts, behind):
    _, travelling = body
    assert read_all(ChunkedBody(), in_pieces(travelling + behind, cuts)) == (travelling, behind)


@given(chunked_bodies(), CUTS, st.binary(max_size=10))
def test_chunked_bodies_can_be_unpacked_in_any_pieces(body, cuts, behind):
    content, travelling = body
    assert read_all(ChunkedBody(unpack=True), in_pieces(travelling + behind, cuts)) == (content, behind)


@given(st.binary(max_size=60), st.integers(1, 50), CUTS)
def test_bodies_of_known_length_end_there(data, length, cuts):
    passed, rest = read_all(LengthBody(length), in_pieces(data, cuts))
    assert passed == data[:length]
    assert (rest or b"") == data[length:]
    assert (rest is not None) == (len(data) >= length)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"g\r\n", "not hexadecimal"),
        (b"+1\r\na\r\n", "a sign"),
        (b"-1\r\n", "a negative size"),
        (b"0x1\r\na\r\n", "a prefix"),
        (b" 1\r\na\r\n", "a leading space"),
        (b"1 \r\na\r\n", "a trailing space"),
        (b"1_0\r\n", "Python's digits"),
        (b"\r\n", "no size"),
        (b"1\na\r\n", "a bare LF behind the size"),
        (b"1\r\nab\r\n", "data longer than the size"),
        (b"1\r\na\n", "a bare LF behind the data"),
        (b"1\r\na0\r\n\r\n", "no CRLF behind the data"),
        (b"1;\x00\r\na\r\n", "NUL in an extension"),
        (b"1;a\rb\r\na\r\n", "a bare CR in an extension"),
        (b"10000000000000000\r\n", "more than 64 bits"),
        (b"1;" + b"x" * 300 + b"\r\n", "a long extension"),
        (b"1;" + b"x" * 300, "a long extension without an end"),
        (b"0\r\nX : 1\r\n\r\n", "a malformed trailer"),
        (b"0\r\n folded\r\n\r\n", "a folded trailer"),
        (b"0\r\nX: \x01\r\n\r\n", "a control character in a trailer"),
        (b"0\r\nContent-Length: 1\r\n\r\n", "framing in a trailer"),
        (b"0\r\nhost: x\r\n\r\n", "routing in a trailer"),
        (b"0\r\n" + b"X: 1\r\n" * 12_000, "endless trailers"),
        (b"0\r\nX: " + b"1" * 9_000, "an endless trailer"),
    ],
)
def test_broken_chunks_are_refused_and_not_passed_on(data, why):
    with pytest.raises(Refused):
        ChunkedBody().feed(data)
    with pytest.raises(Refused):
        read_all(ChunkedBody(unpack=True), [data[at : at + 1] for at in range(len(data))])


@given(
    st.lists(st.sampled_from([b"1", b"a", b"\r\n", b"\n", b"0", b";", b"x: 1", b"\r", b"f" * 15]), max_size=12).map(
        b"".join
    ),
    CUTS,
)
def test_pieces_change_nothing_about_what_is_refused(data, cuts):
    def outcome(pieces: list[bytes]) -> object:
        try:
            return read_all(ChunkedBody(unpack=True), pieces)
        except Refused:
            return "refused"

    assert outcome([data] if data else []) == outcome(in_pieces(data, cuts))


# -- readers
REQUESTS = b"".join(
    [
        b"\r\nGET /1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        b"\r\nPOST /3 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HEAD /4 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    ]
)


@given(CUTS)
def test_pipelined_requests_are_read_one_by_one_in_any_pieces(cuts):
    reader, seen = RequestReader(unpack=True), []

    def note(events):
        for event in events:
            if isinstance(event, RequestHead):
                seen.append([event.target, b""])
            else:
                seen[-1][1] += event
        if events and reader.is_complete:
            note(reader.next_message())

    for piece in in_pieces(REQUESTS, cuts):
        note(reader.feed(piece))
    assert seen == [[b"/1", b""], [b"/2", b"hello"], [b"/3", b"abc"], [b"/4", b""]]
    assert reader.is_between_messages


FIELDS = ["Host: x", "Host: xy", "A: 1", "A: 1\r\nB: 2", "Connection: close", "Host: x\r\nA: 1", "Content-Length: 0"]
LINES = [
    "GET /1 HTTP/1.1",
    "POST /?2 HTTP/1.1",
    "GET http://x/ HTTP/1.1",
    "GET /1 HTTP/1.0",
    "TRACE / HTTP/1.1",
    "GET /%",
]


@given(st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from(FIELDS)), max_size=6), CUTS)
def test_a_reader_that_remembers_fields_reads_each_request_as_one_that_does_not(requests, cuts):
    data = [f"{line}\r\n{fields}\r\n\r\n".encode() for line, fields in requests]

    def described(head: RequestHead):
        return head.method, head.target, head.is_http_1_0, head.host, head.framing, head.fields, head.wants_keep_alive

    def read(pieces: list[bytes]):
        reader, seen = RequestReader(), []
        try:
            for piece in pieces:
                events = reader.feed(piece)
                while events:
                    seen += map(described, events)
                    events = reader.next_message()
        except Refused as refusal:
            seen.append(refusal.status)
        return seen

    each = []
    for one in data:
        each += read([one])
        if isinstance(each[-1], int):
            break
    assert read(data) == each
    assert read(in_pieces(b"".join(data), cuts)) == each


def test_nothing_is_read_behind_a_message_until_asked_for():
    reader = RequestReader()
    reader.feed(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2")
    assert reader.is_complete and reader.held_bytes == 6
    assert reader.feed(b" HTTP/1.1\r\n") == []
    assert reader.take_rest() == b"GET /2 HTTP/1.1\r\n"


@pytest.mark.parametrize("step", [1, 1000, MAX_HEAD_BYTES * 2])
def test_a_head_beyond_the_limit_is_refused_with_431(step):
    data = b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * (MAX_HEAD_BYTES if step > 1 else 200) + b"\r\n\r\n"
    reader = RequestReader()
    if step == 1:  # short and slow is no reason
        assert [event for at in range(len(data)) for event in reader.feed(data[at : at + 1])]
        return
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    with pytest.raises(Refused) as caught:
        [reader.feed(piece) for piece in pieces]
    assert caught.value.status == 431


@given(CUTS)
def test_interim_responses_come_before_the_answer_in_any_pieces(cuts):
    data = b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    reader = ResponseReader(request_method=b"GET")
    events = [event for piece in in_pieces(data, cuts) for event in reader.feed(piece)]
    assert [event.status for event in events if isinstance(event, ResponseHead)] == [103, 200]
    assert b"".join(event for event in events if isinstance(event, bytes)) == b"abc"
    assert reader.is_complete and reader.is_reusable


def test_bytes_nobody_asked_for_make_an_upstream_connection_unusable():
    reader = ResponseReader(request_method=b"GET")
    reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\n")
    assert reader.is_complete and not reader.is_reusable


def test_the_end_of_the_connection_ends_only_bodies_without_another_end():
    reader = ResponseReader(request_method=b"GET")
    reader.feed(b"HTTP/1.1 200 OK\r\n\r\nabc")
    assert reader.feed_eof()
    reader = ResponseReader(request_method=b"GET")
    reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    assert not reader.feed_eof()
    assert not ResponseReader(request_method=b"GET").feed_eof()


def test_what_follows_a_101_is_left_to_the_other_protocol():
    reader = ResponseReader(request_method=b"GET")
    events = reader.feed(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\x81\x00")
    assert len(events) == 1
    assert reader.take_rest() == b"\x81\x00"


@pytest.mark.parametrize("after_another", [False, True])
def test_empty_lines_before_a_request_are_skipped_in_any_pieces_and_half_ones_refused(after_another: bool):
    request = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"

    def read_in_pieces(data: bytes, at: int) -> list[RequestHead]:
        reader = RequestReader()
        if after_another:
            reader.feed(request)
            reader.begin_next()
        return [head for piece in (data[:at], data[at:]) if piece for head in reader.feed(piece)]  # type: ignore[misc]

    for lines in (b"\r\n", b"\r\n\r\n"):
        for at in range(len(lines + request)):
            assert [head.target for head in read_in_pieces(lines + request, at)] == [b"/a"]
    for lines in (b"\n", b"\r", b"\r\r\n", b"\n\r\n", b"\r\n\n", b"\r\n\r"):
        for at in range(len(lines + request)):
            with pytest.raises(Refused, match="half an empty line"):
                read_in_pieces(lines + request, at)
