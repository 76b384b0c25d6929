"""The proxy's core without its sockets, and h11 beside it: what the core passes on is what h11 reads.

The one place here that calls into ``jupyterhub.proxyserver.protocol``. ``passed_on`` drives it as the server does;
``check`` is the property that the fuzzers try to break.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import h11

from jupyterhub.proxyserver.protocol.exchange import OPEN, OPENING, Exchange, Site
from jupyterhub.proxyserver.protocol.fields import ClientFacts
from jupyterhub.proxyserver.protocol.heads import Refused, RequestHead
from jupyterhub.proxyserver.protocol.reading import RequestReader, ResponseReader
from jupyterhub.proxyserver.protocol.routes import RouteTable

LIMIT = 1 << 20


def site() -> Site:
    routes = RouteTable()
    routes.add("/", {"target": "http://10.0.0.7:8888"}, now=0)
    return Site(routes)


SITE = site()
CLIENT = ClientFacts(b"192.0.2.9", is_trusted=False)


class Broken(AssertionError):
    """The core passes on what must not pass."""


@dataclass
class Read:
    """A request as h11 reads it."""

    method: bytes
    target: bytes
    body: bytes = b""
    is_whole: bool = False


def passed_on(pieces: Sequence[bytes]) -> list[bytes]:
    """Feed what a client sends; give what goes to the upstream for each request, whole ones only.

    Every request is taken as answered as soon as it is whole, so that pipelined ones are read too.
    """
    reader = RequestReader()
    done: list[bytes] = []
    exchange: Exchange | None = None
    out = b""
    for piece in pieces:
        data = piece
        while data:
            try:
                events = reader.feed(data)
            except Refused:
                return done
            data = b""
            for event in events:
                if isinstance(event, RequestHead):
                    if event.is_websocket:
                        return done
                    exchange = Exchange(SITE, CLIENT, event)
                    out = exchange.upstream_ready() if exchange.phase is OPENING else b""
                else:
                    assert exchange is not None
                    out += exchange.from_client(bytes(event), reader.is_complete)
            if reader.is_complete:
                assert exchange is not None
                if exchange.route is not None:
                    done.append(out)
                if not exchange.keeps_client:
                    return done
                data = reader.begin_next()
    return done


def read_by_h11(data: bytes) -> list[Read]:
    """Read requests with h11 until it is at the end, or refuses."""
    requests: list[Read] = []
    data = data.lstrip(b"\r\n")
    while data:
        reader = h11.Connection(h11.SERVER, max_incomplete_event_size=LIMIT)
        reader.receive_data(data)
        try:
            while True:
                event = reader.next_event()
                if isinstance(event, h11.Request):
                    requests.append(Read(event.method, event.target))
                elif isinstance(event, h11.Data):
                    requests[-1].body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    requests[-1].is_whole = True
                    break
                else:
                    return requests
        except h11.RemoteProtocolError:
            return requests
        data = reader.trailing_data[0].lstrip(b"\r\n")
    return requests


def cut(data: bytes, at: Sequence[int]) -> list[bytes]:
    """Cut bytes at these places."""
    places = sorted({0, len(data), *(place % (len(data) + 1) for place in at)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


def check(data: bytes, at: Sequence[int] = ()) -> int:
    """Raise ``Broken`` if the core and h11 do not agree about what has passed; give how many requests passed."""
    passed = passed_on(cut(data, at))
    if at and passed != passed_on([data]):
        raise Broken(f"pieces make a difference: {cut(data, at)}")
    sent = read_by_h11(data)
    for number, written in enumerate(passed):
        again = read_by_h11(written)
        if len(again) != 1 or not again[0].is_whole:
            raise Broken(f"h11 reads {again} in what was passed on: {written!r}")
        if number >= len(sent) or not sent[number].is_whole:
            raise Broken(f"passed on, and h11 refuses it: {written!r}")
        if not same(again[0], sent[number]):
            raise Broken(f"h11 reads {sent[number]}, passed on was {again[0]}")
    return len(passed)


def same(a: Read, b: Read) -> bool:
    return (a.method, origin_form(a.target), a.body) == (b.method, origin_form(b.target), b.body)


def origin_form(target: bytes) -> bytes:
    path = re.sub(rb"^https?://[^/?]*", b"", target, flags=re.IGNORECASE)
    return path if path.startswith(b"/") else b"/" + path


def check_answer(data: bytes, method: bytes, at: Sequence[int] = ()) -> int:
    """The same for what upstreams answer: what reaches the client, h11 reads as the answer that came."""
    head = RequestReader().feed(method + b" / HTTP/1.1\r\nHost: x\r\n\r\n")[0]
    assert isinstance(head, RequestHead)
    exchange = Exchange(SITE, CLIENT, head)
    exchange.upstream_ready()
    reader = ResponseReader(method)
    out = b""
    for piece in cut(data, at):
        try:
            out += exchange.from_upstream(reader.feed(piece))
        except Refused:
            return 0
        if reader.is_complete or exchange.phase is not OPEN:
            break
    if not reader.is_complete or exchange.phase is not OPEN:
        return 0
    ours, theirs = answers_by_h11(out, method), answers_by_h11(data, method)
    if len(ours) == 0 or not ours[-1][2]:
        raise Broken(f"h11 does not find the end of what reached the client: {out!r}")
    # h11 looks at the framing of answers that have no body whatever it says (RFC 9112 §6.3); what it is, is lost here.
    has_no_body = method == b"HEAD" or ours[-1][0] in (204, 304)
    if theirs[: len(ours)] != ours and not (has_no_body and len(theirs) < len(ours) and ours[-1][1] == b""):
        raise Broken(f"the upstream said {theirs}, the client read {ours}")
    return len(ours)


def answers_by_h11(data: bytes, method: bytes) -> list[tuple[int, bytes, bool]]:
    """Status, body and whether it is whole, of 1xx and the answer."""
    reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=LIMIT)
    reader.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(data)
    answers: list[tuple[int, bytes, bool]] = []
    try:
        while True:
            event = reader.next_event()
            if isinstance(event, h11.InformationalResponse):
                answers.append((event.status_code, b"", True))
            elif isinstance(event, h11.Response):
                answers.append((event.status_code, b"", False))
            elif isinstance(event, h11.Data):
                answers[-1] = (answers[-1][0], answers[-1][1] + bytes(event.data), False)
            elif isinstance(event, h11.EndOfMessage):
                answers[-1] = (*answers[-1][:2], True)
                return answers
            else:
                return answers
    except h11.RemoteProtocolError:
        return answers
