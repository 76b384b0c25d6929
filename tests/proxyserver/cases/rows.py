"""What a row of the table is: bytes in, and what must be seen on both sides. Plain data; ``wire`` carries it out.

A request row says what a client sends; an answer row (``upstream=``) also what the upstream says to it. Both say which
statuses the client gets, what reaches the upstream, and whether the client's connection is closed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

HOST = "pub.example"


@dataclass(frozen=True)
class AfterAnswers:
    """A step of a client: wait until so many heads of answers (1xx included) have come."""

    count: int


@dataclass(frozen=True)
class AfterUpstreamSaw:
    """A step of a client: wait until the heads of so many requests have reached the upstream."""

    count: int


@dataclass(frozen=True)
class Eof:
    """A step of a client: it says that it has nothing more to send."""


Step = bytes | AfterAnswers | AfterUpstreamSaw | Eof


@dataclass(frozen=True)
class Says:
    """An answer of the upstream, byte by byte, and what it does then."""

    data: bytes
    #: "keep" the connection, "close" it, or "reset" it
    then: str = "keep"
    #: what it says already when the head of the request has come
    first: bytes = b""
    #: after the request's "end" or already after its "head"
    after: str = "end"


OK = Says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@dataclass(frozen=True)
class Seen:
    """A request at the upstream, as h11 reads it: fields as ``Name: value``, in order, body and trailers decoded."""

    line: str
    fields: tuple[str, ...] = (f"Host: {HOST}",)
    body: bytes = b""
    trailers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """The last answer at the client. None: not looked at."""

    fields: tuple[str, ...] | None = None
    body: bytes | None = None
    reason: str | None = None
    #: it breaks off: neither length nor last chunk, and the connection is closed
    is_cut: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    clause: str
    name: str
    steps: tuple[Step, ...]
    #: of each answer in order; a tuple where the RFC leaves a choice, with None for no answer
    gets: tuple[int | tuple[int | None, ...], ...]
    seen: tuple[Seen, ...]
    closes: bool
    upstream: tuple[Says, ...] = (OK,)
    answer: Answer = Answer()
    #: what the proxy is started with
    flags: tuple[str, ...] = ()
    #: why the proxy does not do so yet
    not_yet: str = ""

    @property
    def sent(self) -> bytes:
        return b"".join(step for step in self.steps if isinstance(step, bytes))


def request(*fields: str, line: str = "GET / HTTP/1.1", host: str | None = HOST, body: bytes = b"") -> bytes:
    """Write a request. ``host=None`` leaves Host out; characters stand for bytes (Latin-1)."""
    lines = [line, *([] if host is None else [f"Host: {host}"]), *fields]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def post(*fields: str, body: bytes = b"", line: str = "POST / HTTP/1.1") -> bytes:
    return request(*fields, line=line, body=body)


def chunked(body: bytes, *fields: str, line: str = "POST / HTTP/1.1") -> bytes:
    return post("Transfer-Encoding: chunked", *fields, body=body, line=line)


def under(clause: str, *rows: Row) -> list[Row]:
    """Put rows under a clause."""
    return [replace(row, clause=clause) for row in rows]


def refused(
    name: str, *steps: Step, status: int | tuple[int, ...] = 400, flags: tuple[str, ...] = (), not_yet: str = ""
) -> Row:
    """The client is told so, its connection is closed, and nothing reached the upstream."""
    return Row(clause="", name=name, steps=steps, gets=(status,), seen=(), closes=True, flags=flags, not_yet=not_yet)


def unfinished(name: str, *steps: Step) -> Row:
    """The client ends in the middle: it may be told so or not (RFC 9112 §8), and no request ends at the upstream."""
    return Row(clause="", name=name, steps=(*steps, Eof()), gets=((400, 408, None),), seen=(), closes=True)


def passes(
    name: str,
    *steps: Step,
    line: str = "GET / HTTP/1.1",
    fields: Sequence[str] = (f"Host: {HOST}",),
    body: bytes = b"",
    trailers: Sequence[str] = (),
    gets: Sequence[int | tuple[int, ...]] = (200,),
    closes: bool = False,
    upstream: Says | tuple[Says, ...] = OK,
    answer: Answer | None = None,
    seen: tuple[Seen, ...] | None = None,
    flags: tuple[str, ...] = (),
    not_yet: str = "",
) -> Row:
    """The request reaches the upstream as said, and its answer the client."""
    return Row(
        clause="",
        name=name,
        steps=steps,
        gets=tuple(gets),
        seen=(Seen(line, tuple(fields), body, tuple(trailers)),) if seen is None else seen,
        closes=closes,
        upstream=upstream if isinstance(upstream, tuple) else (upstream,),
        answer=answer or Answer(),
        flags=flags,
        not_yet=not_yet,
    )


def answered(
    name: str,
    says: bytes | Says | tuple[Says, ...],
    *,
    sent: bytes | tuple[Step, ...] = b"",
    gets: Sequence[int | tuple[int, ...]] = (200,),
    fields: tuple[str, ...] | None = None,
    body: bytes | None = None,
    reason: str | None = None,
    is_cut: bool = False,
    closes: bool = False,
    line: str = "GET / HTTP/1.1",
    flags: tuple[str, ...] = (),
    not_yet: str = "",
) -> Row:
    """A plain GET, and an upstream that answers it so."""
    steps = sent if isinstance(sent, tuple) else (sent or request(line=line),)
    row = Row(
        clause="",
        name=name,
        steps=steps,
        gets=tuple(gets),
        seen=(),
        closes=closes,
        upstream=says if isinstance(says, tuple) else (says if isinstance(says, Says) else Says(says),),
        answer=Answer(fields, body, reason, is_cut),
        flags=flags,
        not_yet=not_yet,
    )
    return replace(row, seen=ANY)


#: what reaches the upstream is not what the row is about
ANY: tuple[Seen, ...] = (Seen("*"),)


def bad_gateway(name: str, says: bytes | Says, **more: object) -> Row:
    """The upstream's fault: the client gets 502 and may go on, and nothing of the answer."""
    return answered(name, says, gets=(more.pop("status", (502, 503)),), **more)  # type: ignore[arg-type]


def identity(row: Row) -> str:
    """Name a row for pytest."""
    return re.sub(r"[^\w.,*+-]+", "_", f"{row.clause}: {row.name}".replace("§", ""), flags=re.ASCII)
