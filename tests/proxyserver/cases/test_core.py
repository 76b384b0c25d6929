"""The core under hypothesis: made-up conversations arrive as they were meant, and mutilated ones never in two ways."""

from __future__ import annotations

from dataclasses import dataclass

import h11
from core import CLIENT, SITE, check, check_answer, cut, read_by_h11
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from table import ANSWERS, REQUESTS

from jupyterhub.proxyserver.protocol.exchange import DONE, OPEN, Exchange
from jupyterhub.proxyserver.protocol.heads import RequestHead
from jupyterhub.proxyserver.protocol.reading import RequestReader, ResponseReader

SENT = [row.sent for row in REQUESTS if len(row.sent) < 2000]
SAID = [row.upstream[0].data for row in ANSWERS if len(row.upstream[0].data) < 2000]
BITS = st.sampled_from(
    [
        *(b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b",", b";", b"\x00", b"\xff", b"0", b"5", b"chunked"),
        *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: x\r\n"),
        *(b"GET /b HTTP/1.1\r\n", b"0\r\n\r\n", b"\r\n\r\n"),
    ]
)
PLACES = st.lists(st.integers(0, 4000), max_size=6)


@st.composite
def mutilated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """Cut pieces out of good and bad messages, and put others in."""
    data = b"".join(draw(st.lists(st.sampled_from(seeds), min_size=1, max_size=2)))
    for place, gone, bit in draw(st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 3), BITS), max_size=4)):
        at = place % (len(data) + 1)
        data = data[:at] + bit + data[at + gone :]
    return data


@settings(max_examples=400, deadline=None)
@given(mutilated(SENT), PLACES)
def test_what_passes_of_requests_h11_reads_in_the_same_way(data: bytes, at: list[int]):
    check(data, at)


@settings(max_examples=400, deadline=None)
@given(mutilated(SAID), st.sampled_from([b"GET", b"HEAD"]), PLACES)
def test_what_passes_of_answers_h11_reads_in_the_same_way(data: bytes, method: bytes, at: list[int]):
    check_answer(data, method, at)


def test_the_table_passes_through_the_core():
    assert sum(check(data) for data in SENT) > 100
    assert sum(check_answer(data, b"GET") for data in SAID) > 40


@dataclass
class Asked:
    method: str
    target: str
    body: bytes
    is_chunked: bool


class Conversation(RuleBasedStateMachine):
    """A client and an upstream, both h11, with the core between them; bytes come in any pieces.

    What the client asked is what the upstream reads, and what the upstream said is what the client reads, one behind
    another on one connection, whatever the order of body, answer and pieces.
    """

    @initialize()
    def begin(self) -> None:
        self.reader = RequestReader()
        self.exchange: Exchange | None = None
        self.asked: Asked | None = None
        self.to_upstream = b""
        self.unsent: list[bytes] = []

    @precondition(lambda self: self.asked is None)
    @rule(
        method=st.sampled_from(["GET", "POST", "DELETE", "BREW"]),
        path=st.sampled_from(["/", "/a/b?c", "//x//", "/%2e%2e/", "/a%2Fb"]),
        body=st.binary(max_size=50),
        is_chunked=st.booleans(),
        fields=st.lists(st.sampled_from([("X-A", "1"), ("Cookie", "a=b"), ("Accept", "*/*")]), max_size=3),
        at=PLACES,
    )
    def ask(self, method, path, body, is_chunked, fields, at) -> None:
        self.asked = Asked(method, path, body, is_chunked)
        client = h11.Connection(h11.CLIENT)
        framing = ("Transfer-Encoding", "chunked") if is_chunked else ("Content-Length", str(len(body)))
        data = client.send(h11.Request(method=method, target=path, headers=[("Host", "x"), *fields, framing])) or b""
        half = len(body) // 2
        for part in (body[:half], body[half:]):
            data += client.send(h11.Data(data=part)) or b""
        data += client.send(h11.EndOfMessage()) or b""
        self.unsent = cut(data, at)
        self.client = client

    @precondition(lambda self: self.unsent)
    @rule()
    def send_a_piece(self) -> None:
        for event in self.reader.feed(self.unsent.pop(0)):
            if isinstance(event, RequestHead):
                self.exchange = Exchange(SITE, CLIENT, event)
                self.to_upstream = self.exchange.upstream_ready()
            else:
                assert self.exchange is not None
                self.to_upstream += self.exchange.from_client(bytes(event), self.reader.is_complete)

    @precondition(lambda self: self.asked is not None and not self.unsent)
    @rule(
        status=st.sampled_from([200, 201, 204, 304, 404, 500]),
        body=st.binary(max_size=50),
        is_chunked=st.booleans(),
        hints=st.integers(0, 2),
        at=PLACES,
    )
    def answer(self, status, body, is_chunked, hints, at) -> None:
        assert self.asked is not None and self.exchange is not None
        assert self.reader.is_complete
        [read] = read_by_h11(self.to_upstream)
        assert read.is_whole
        assert (read.method.decode(), read.target.decode(), read.body) == (
            self.asked.method,
            self.asked.target,
            self.asked.body,
        )
        upstream = h11.Connection(h11.SERVER)
        upstream.receive_data(self.to_upstream)
        while not isinstance(upstream.next_event(), h11.EndOfMessage):
            pass
        if status in (204, 304):
            body = b""
        framing = ("Transfer-Encoding", "chunked") if is_chunked else ("Content-Length", str(len(body)))
        said = b""
        for _ in range(hints):
            said += upstream.send(h11.InformationalResponse(status_code=103, headers=[("Link", "</a>")])) or b""
        fields = [] if status in (204, 304) else [framing]
        said += upstream.send(h11.Response(status_code=status, headers=fields)) or b""
        said += upstream.send(h11.Data(data=body)) or b""
        said += upstream.send(h11.EndOfMessage()) or b""
        answers = ResponseReader(self.asked.method.encode())
        for piece in cut(said, at):
            assert self.exchange.phase is OPEN
            if out := self.exchange.from_upstream(answers.feed(piece)):  # to h11, b"" means the end of the connection
                self.client.receive_data(out)
            self._read_nothing_wrong()
        assert answers.is_complete
        self.exchange.upstream_done(answers.is_reusable)
        assert self.exchange.phase is DONE
        assert self.exchange.keeps_client and self.exchange.keeps_upstream
        assert [event for event in self.got if isinstance(event, int)] == [103] * hints + [status]
        assert b"".join(event for event in self.got if isinstance(event, bytes)) == body
        assert self.client.their_state is h11.DONE
        assert self.reader.begin_next() == b""
        self.asked = None
        self.got = []

    got: list[int | bytes] = []

    def _read_nothing_wrong(self) -> None:
        while True:
            event = self.client.next_event()
            if isinstance(event, h11.Response | h11.InformationalResponse):
                self.got = [*self.got, event.status_code]
            elif isinstance(event, h11.Data):
                self.got = [*self.got, bytes(event.data)]
            elif not isinstance(event, h11.EndOfMessage):
                return


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
