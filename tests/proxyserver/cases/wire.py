"""Both ends of a proxy, as raw sockets: a client that follows steps, and an upstream that says bytes.

The upstream reads with h11, strictly: what a proxy passes on and h11 cannot read fails the row. That nothing else
reaches the upstream is known by a fence: a request sent behind a row, whose arrival proves that all before it has
arrived (the proxy has one thread, and loopback keeps order).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import h11
from rows import ANY, HOST, OK, AfterAnswers, AfterUpstreamSaw, Answer, Eof, Row, Says, Seen, Step

LIMIT_S = 5.0
#: what a proxy may add to requests and answers as it likes, unless a row speaks about it
OWN_REQUEST_FIELDS = {"x-forwarded-for", "x-forwarded-port", "x-forwarded-proto", "x-forwarded-host", "x-request-id"}
OWN_ANSWER_FIELDS = {"date", "x-request-id"}


@dataclass
class Request:
    """A request at the upstream; ``problem`` is what h11 says of what it cannot read."""

    line: str
    fields: list[str]
    body: bytes = b""
    trailers: list[str] = field(default_factory=list)
    is_whole: bool = False
    problem: str = ""


class UpstreamConnection(asyncio.Protocol):
    """One connection from the proxy: reads requests one behind another and says what the row wants."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.raw = b""
        self.is_tunnel = False
        self.request: Request | None = None
        self._reader = self._new_reader()

    def _new_reader(self) -> h11.Connection:
        return h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.upstream.connections.add(self)

    def connection_lost(self, problem: Exception | None) -> None:
        self.upstream.connections.discard(self)
        self.upstream.changed()

    def data_received(self, data: bytes) -> None:
        self.raw += data
        if self.is_tunnel:
            self.transport.write(data)
            return
        self._reader.receive_data(data)
        try:
            self._read()
        except h11.RemoteProtocolError as problem:
            if self.request is None:
                self.request = Request("", [])
                self.upstream.requests.append(self.request)
            self.request.problem = str(problem)
            self.transport.write(b"HTTP/1.1 400 Unreadable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self.transport.close()
        self.upstream.changed()

    def _read(self) -> None:
        while True:
            event = self._reader.next_event()
            match event:
                case h11.Request():
                    line = f"{event.method.decode()} {event.target.decode()} HTTP/{event.http_version.decode()}"
                    fields = [f"{n.decode()}: {v.decode('latin-1')}" for n, v in event.headers.raw_items()]
                    self.request = Request(line, fields)
                    if not event.target.startswith(b"/fence"):
                        self.upstream.requests.append(self.request)
                        self._answer("head")
                case h11.Data():
                    assert self.request is not None
                    self.request.body += bytes(event.data)
                case h11.EndOfMessage():
                    assert self.request is not None
                    self.request.is_whole = True
                    self.request.trailers = [f"{n.decode()}: {v.decode()}" for n, v in event.headers.raw_items()]
                    fence = re.match(r"GET (/fence-\d+) ", self.request.line)
                    if fence:
                        self.transport.write(OK.data.replace(b"2\r\n\r\nok", b"%d\r\n\r\n" % len(fence[1])))
                        self.transport.write(fence[1].encode())
                    else:
                        self._answer("end")
                    if self.is_tunnel:
                        return
                    rest = self._reader.trailing_data[0]
                    self._reader = self._new_reader()
                    self.request = None
                    if not rest:  # to h11, b"" means the end of the connection
                        return
                    self._reader.receive_data(rest)
                case _:
                    return

    def _answer(self, after: str) -> None:
        says = self.upstream.says[min(len(self.upstream.requests), len(self.upstream.says)) - 1]
        if after == "head" and says.first:
            self.transport.write(says.first)
        if says.after != after:
            return
        self.transport.write(says.data)
        self.is_tunnel = says.data.startswith(b"HTTP/1.1 101")
        if says.then == "close":
            self.transport.close()
        elif says.then == "reset":
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()


class Upstream:
    """What stands behind the proxies under test."""

    def __init__(self) -> None:
        self.says: Sequence[Says] = (OK,)
        self.requests: list[Request] = []
        self.connections: set[UpstreamConnection] = set()
        self._change = asyncio.Event()

    async def __aenter__(self) -> Upstream:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: UpstreamConnection(self), "127.0.0.1", 0, backlog=1000)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._server.close()
        for connection in list(self.connections):
            connection.transport.abort()

    def begin(self, says: Sequence[Says]) -> None:
        self.says = says
        self.requests = []
        for connection in self.connections:
            connection.raw = b""

    def changed(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    async def saw(self, count: int) -> None:
        async with asyncio.timeout(LIMIT_S):
            while len(self.requests) < count:
                await self._change.wait()


@dataclass
class Got:
    """An answer as a client sees it."""

    status: int
    reason: str
    fields: list[str]
    body: bytes = b""
    is_whole: bool = True
    raw_head: bytes = b""

    def __getitem__(self, name: str) -> str | None:
        return next((f.partition(":")[2].strip() for f in self.fields if f.partition(":")[0].lower() == name), None)


class Unreadable(Exception):
    """What came from the proxy is no HTTP."""


def read_answers(data: bytes, methods: Sequence[str], *, is_closed: bool) -> list[Got]:
    """Read what a client got. The reader is simple, and its own: it stumbles over what a proxy should never write."""
    answers: list[Got] = []
    left = iter(methods)
    method = next(left, "GET")
    while data:
        head, end, rest = data.partition(b"\r\n\r\n")
        match = re.match(rb"HTTP/1\.1 (\d\d\d) ([^\r\n]*)", head)
        if not end or match is None:
            if is_closed or (match is None and len(head) > 15):
                raise Unreadable(data[:200])
            break
        lines = head.decode("latin-1").split("\r\n")[1:]
        for line in lines:
            if not re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[ \t]*[\t\x20-\x7e\x80-\xff]*", line):
                raise Unreadable(line)
        got = Got(int(match[1]), match[2].decode("latin-1"), lines, raw_head=head + end)
        answers.append(got)
        if got["content-length"] is not None and got["transfer-encoding"] is not None:
            raise Unreadable("two framings", head)
        if got.status == 101:
            got.body, data = rest, b""
        elif method == "HEAD" or got.status in (204, 304) or got.status < 200:
            data = rest
        elif got["transfer-encoding"] is not None:
            got.body, data, got.is_whole = _read_chunks(rest)
        elif (length := got["content-length"]) is not None:
            got.body, data = rest[: int(length)], rest[int(length) :]
            got.is_whole = len(got.body) == int(length)
        else:
            got.body, data, got.is_whole = rest, b"", is_closed
        if got.status >= 200:
            method = next(left, "GET")
    return answers


def _read_chunks(data: bytes) -> tuple[bytes, bytes, bool]:
    body = b""
    while match := re.match(rb"([0-9a-fA-F]+)(?:;[^\r\n]*)?\r\n", data):
        size = int(match[1], 16)
        data = data[match.end() :]
        if size == 0:
            _, end, rest = (b"\r\n" + data).partition(b"\r\n\r\n")
            return body, rest, bool(end)
        if len(data) < size + 2:
            return body + data[:size], b"", False
        if data[size : size + 2] != b"\r\n":
            raise Unreadable(data[:100])
        body, data = body + data[:size], data[size + 2 :]
    return body, b"", False


class RawClient:
    """One connection to a proxy."""

    def __init__(self, port: int | str, sent: bytes) -> None:
        #: a str is the path of a Unix socket
        self.port = port
        self.data = b""
        self.is_closed = False
        self.methods = [m.decode("latin-1") for m in re.findall(rb"(?m)^(\S+) \S+ HTTP/1\.[01]\r$", sent)]

    async def __aenter__(self) -> RawClient:
        if isinstance(self.port, str):
            self.reader, self.writer = await asyncio.open_unix_connection(self.port)
        else:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.writer.transport.abort()

    @property
    def answers(self) -> list[Got]:
        return read_answers(self.data, self.methods, is_closed=self.is_closed)

    async def more(self) -> None:
        """Wait for the next bytes, or the end."""
        try:
            piece = await self.reader.read(1 << 16)
        except ConnectionError:
            piece = b""
        self.data += piece
        self.is_closed = not piece

    async def follow(self, steps: Sequence[Step], upstream: Upstream) -> None:
        for step in steps:
            match step:
                case bytes():
                    self.writer.write(step)
                case AfterAnswers(count):
                    async with asyncio.timeout(LIMIT_S):
                        while len(self.answers) < count and not self.is_closed:
                            await self.more()
                case AfterUpstreamSaw(count):
                    await upstream.saw(count)
                case Eof():
                    self.writer.write_eof()

    async def until(self, count: int, *, whole: bool = True) -> None:
        """Read until so many answers are there."""
        async with asyncio.timeout(LIMIT_S):
            while not self.is_closed:
                answers = self.answers
                if len(answers) >= count and (not whole or answers[count - 1].is_whole):
                    return
                await self.more()

    async def until_closed(self) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not self.is_closed:
                await self.more()


_fences = itertools.count(1)


async def fence(port: int, client: RawClient | None = None, *, host: str = HOST) -> str:
    """Send a request behind everything, on ``client`` or a connection of its own; "" or what went wrong."""
    path = f"/fence-{next(_fences)}"
    data = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    if client is None:
        async with RawClient(port, data) as own:
            own.writer.write(data)
            with contextlib.suppress(TimeoutError):
                await own.until(1)
            return "" if own.data.endswith(path.encode()) else f"a request behind it got {own.data!r}"
    before = len(client.data)
    client.writer.write(data)
    try:
        async with asyncio.timeout(LIMIT_S):
            while not client.data.endswith(path.encode()) and not client.is_closed:
                await client.more()
    except TimeoutError:
        return "the connection is open and answers no more"
    finally:
        rest, client.data = client.data[before:], client.data[:before]
    return "" if rest.endswith(path.encode()) else f"the connection was closed, with {rest!r}"


@dataclass
class Outcome:
    """All that was seen of a row."""

    answers: list[Got]
    requests: list[Request]
    is_closed: bool
    problems: list[str]


async def carry_out(row: Row, port: int, upstream: Upstream) -> Outcome:
    """Do what a row says and see what happens."""
    upstream.begin(row.upstream)
    problems: list[str] = []
    async with RawClient(port, row.sent) as client:
        try:
            await client.follow(row.steps, upstream)
            if row.closes:
                await client.until_closed()
            else:
                await client.until(len(row.gets))
        except TimeoutError:
            problems.append("nothing more came in time")
        except Unreadable as what:
            return Outcome([], upstream.requests, client.is_closed, [f"the client cannot read {what}"])
        is_tunnel = 101 in row.gets
        if not row.closes and not client.is_closed and not is_tunnel and not problems:
            problems += filter(None, [await fence(port, client)])
        else:
            problems += filter(None, [await fence(port)])
        try:
            answers = client.answers
        except Unreadable as what:
            return Outcome([], upstream.requests, client.is_closed, [*problems, f"the client cannot read {what}"])
        return Outcome(answers, upstream.requests, client.is_closed, problems)


def differences(row: Row, outcome: Outcome, upstream_port: int) -> list[str]:
    """Say what is not as the row has it."""
    wrong = list(outcome.problems)
    statuses = [got.status for got in outcome.answers]
    allowed = [want if isinstance(want, tuple) else (want,) for want in row.gets]
    found = [*statuses, *[None] * (len(allowed) - len(statuses))]
    if len(found) != len(allowed) or any(s not in a for s, a in zip(found, allowed, strict=True)):
        wrong.append(f"the client got {statuses}, not {list(row.gets)}")
    if outcome.is_closed != row.closes:
        wrong.append("the connection was closed" if outcome.is_closed else "the connection was not closed")
    if outcome.answers:
        wrong += _answer_differences(row.answer, outcome.answers[-1])
    wrong += [f"h11 cannot read what reached the upstream: {r.problem}" for r in outcome.requests if r.problem]
    if row.seen is not ANY:
        host = f"127.0.0.1:{upstream_port}"
        whole = [request for request in outcome.requests if request.is_whole]
        if len(whole) != len(row.seen):
            lines = [request.line for request in whole]
            wrong.append(f"{len(whole)} requests reached the upstream, not {len(row.seen)}: {lines}")
        for request, seen in zip(whole, row.seen, strict=False):
            wrong += _request_differences(seen, request, host)
    return wrong


def _answer_differences(want: Answer, got: Got) -> list[str]:
    wrong = []
    if want.fields is not None:
        fields = _told(got.fields, want.fields, OWN_ANSWER_FIELDS)
        if fields != _normal(want.fields):
            wrong.append(f"fields of the answer: {fields}, not {list(want.fields)}")
    if want.body is not None and got.body != want.body:
        wrong.append(f"body of the answer: {got.body[:200]!r}, not {want.body[:200]!r}")
    if want.reason is not None and got.reason != want.reason:
        wrong.append(f"reason phrase: {got.reason!r}")
    if got.is_whole == want.is_cut:
        wrong.append("the answer is whole" if got.is_whole else "the answer breaks off")
    return wrong


def _request_differences(want: Seen, got: Request, upstream: str) -> list[str]:
    wrong = []
    if got.line != want.line:
        wrong.append(f"request line {got.line!r}, not {want.line!r}")
    fields = _told(got.fields, want.fields, OWN_REQUEST_FIELDS)
    wanted = [field.replace("{upstream}", upstream) for field in _normal(want.fields)]
    if fields != wanted:
        wrong.append(f"fields {fields}, not {wanted}")
    if got.body != want.body:
        wrong.append(f"body {got.body[:200]!r}, not {want.body[:200]!r}")
    if _normal(got.trailers) != _normal(want.trailers):
        wrong.append(f"trailers {got.trailers}, not {list(want.trailers)}")
    return wrong


def _told(fields: Sequence[str], want: Sequence[str], own: set[str]) -> list[str]:
    spoken_of = {field.partition(":")[0].lower() for field in want}
    return _normal([f for f in fields if (name := f.partition(":")[0].lower()) not in own or name in spoken_of])


def _normal(fields: Sequence[str]) -> list[str]:
    """Names do not care for case, and only fields of one name for their order (RFC 9110 §5.1, §5.3)."""
    parts = [(field.partition(":")[0].lower(), field.partition(":")[2].strip(" \t")) for field in fields]
    return [f"{name}: {value}" for name, value in sorted(parts, key=lambda part: part[0])]
