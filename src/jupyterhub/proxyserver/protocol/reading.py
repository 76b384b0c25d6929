"""From the bytes of a connection to events: one reader for the client's side, one for the upstream's.

Events are heads, and pieces of a body as plain bytes; ``is_complete`` says whether the message is over. A reader gives
the events of one message and then stops: what came behind it (pipelined requests, the first bytes of a WebSocket) is
kept until somebody asks for the next message or for the bytes. Violations raise ``heads.Refused``.
"""

from __future__ import annotations

from .bodies import BodyReader, body_reader
from .heads import (
    CHUNKED,
    MAX_HEAD_BYTES,
    NO_BODY,
    UNTIL_CLOSE,
    FramingKind,
    Refused,
    RequestHead,
    ResponseHead,
    looks_like_a_request,
    may_repeat_itself,
    parse_request_head,
    parse_response_head,
    parse_similar_head,
)


class _PartialHead:
    """Collects bytes until a head is complete, looking at each byte once however slowly they drip in."""

    __slots__ = ("_data", "_searched")

    def __init__(self, data: bytes) -> None:
        self._data = bytearray(data)
        self._searched = len(data)

    def take(self, data: bytes) -> int:
        """Add ``data``; give the length of the head, or -1 if it is not complete."""
        self._data += data
        end = self._data.find(b"\r\n\r\n", max(0, self._searched - 3))
        self._searched = len(self._data)
        return end + 4 if end >= 0 else -1

    @property
    def is_half_a_line(self) -> bool:
        """Only the first half of an empty line is here."""
        return self._data == b"\r"

    def __bytes__(self) -> bytes:
        return bytes(self._data)

    def __len__(self) -> int:
        return len(self._data)


def _without_empty_lines(data: bytes) -> bytes:
    """Take off empty lines before a request, which are to be ignored: old clients end bodies with one.

    Only whole ones (RFC 9112 §2.2): of a bare CR or LF others may make another line. A CR that is all there is may
    become one.
    """
    at = 0
    while data.startswith(b"\r\n", at):
        at += 2
    rest = data[at:]
    if rest != b"\r" and rest[:1] in (b"\r", b"\n"):
        raise Refused("there is half an empty line before the request")
    return rest


class RequestReader:
    """The client's side of a connection. ``is_complete`` stops it until ``next_message``."""

    __slots__ = ("_body", "_former", "_max_head_bytes", "_partial", "_rest", "_unpack", "is_complete")

    def __init__(self, *, unpack: bool = False, max_head_bytes: int = MAX_HEAD_BYTES) -> None:
        """``unpack`` takes chunked bodies out of their chunks."""
        self._unpack = unpack
        self._max_head_bytes = max_head_bytes
        self._partial: _PartialHead | None = None
        #: the last request's, if the next one may repeat its fields
        self._former: RequestHead | None = None
        self._body: BodyReader | None = None
        self._rest = b""
        self.is_complete = False

    @property
    def is_inside_head(self) -> bool:
        return self._partial is not None

    @property
    def is_between_messages(self) -> bool:
        """Nothing of a message is here: a good moment for either side to close."""
        return self._body is None and not self.is_complete and self._partial is None

    def feed(self, data: bytes) -> list[RequestHead | bytes]:
        if self.is_complete:
            self._rest += data
            return []
        if self._body is not None:
            return [self._feed_body(self._body, data)]
        if self._partial is not None and self._partial.is_half_a_line:
            data, self._partial = b"\r" + data, None
        if self._partial is None:
            if self._former is not None:
                similar = parse_similar_head(data, self._former)
                if similar is not None:
                    self.is_complete = True
                    return [similar]
            if data[0] in b"\r\n":
                data = _without_empty_lines(data)
                if not data:
                    return []
                if data == b"\r":
                    self._partial = _PartialHead(data)
                    return []
            # Nearly always the head comes in one piece, and alone.
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                self._partial = _PartialHead(data)
                self._check_partial(self._partial)
                return []
        else:
            end = self._partial.take(data)
            if end < 0:
                self._check_partial(self._partial)
                return []
            data = bytes(self._partial)
            self._partial = None
        if end > self._max_head_bytes:
            raise Refused("the request head is too long", 431)
        if end == len(data):
            head, rest = parse_request_head(data), b""
        else:
            head, rest = parse_request_head(data[:end]), data[end:]
        if not head.block.has_body:
            self._former = head if may_repeat_itself(head) else None
            self.is_complete = True
            self._rest = rest
            return [head]
        self._body = body_reader(head.block.framing, unpack=self._unpack)
        return [head, self._feed_body(self._body, rest)] if rest else [head]

    def _check_partial(self, partial: _PartialHead) -> None:
        if len(partial) > self._max_head_bytes:
            raise Refused("the request head is too long", 431)
        if not looks_like_a_request(bytes(partial)):
            raise Refused("this is not an HTTP request")

    def begin_next(self) -> bytes:
        """Be ready for the next message behind a complete one. Gives what is here of it, to be fed."""
        self._body = None
        self.is_complete = False
        return self.take_rest()

    def next_message(self) -> list[RequestHead | bytes]:
        """Go on behind a complete message."""
        rest = self.begin_next()
        return self.feed(rest) if rest else []

    @property
    def held_bytes(self) -> int:
        return len(self._rest)

    @property
    def unread(self) -> bytes:
        """What is here of the next message, between two of them."""
        return bytes(self._partial) if self._partial is not None else self._rest

    def take_rest(self) -> bytes:
        """Give up reading HTTP: the bytes behind the message belong to another protocol."""
        rest, self._rest = self._rest, b""
        return rest

    def _feed_body(self, body: BodyReader, data: bytes) -> bytes:
        passed, rest = body.feed(data)
        if rest is not None:
            self.is_complete = True
            self._rest = rest
        return passed


class ResponseReader:
    """The upstream's side of one exchange: any number of 1xx heads, then one answer."""

    # Made for each request: what is the same at every beginning is set here, and not there.
    _partial: _PartialHead | None = None
    _body: BodyReader | None = None
    _final: ResponseHead | None = None
    _rest = b""
    #: a byte has come: the request was read by somebody and must not be sent again
    has_started = False
    is_complete = False

    def __init__(self, request_method: bytes, unpack: bool = False) -> None:
        self._method = request_method
        self._unpack = unpack

    def feed(self, data: bytes) -> list[ResponseHead | bytes]:
        """Raises ``Refused`` with status 502 if the upstream breaks the rules."""
        if self._body is not None and not self.is_complete:
            return [self._feed_body(self._body, data)]
        self.has_started = True
        events: list[ResponseHead | bytes] = []
        while data and not self.is_complete:
            if self._partial is None:
                end = data.find(b"\r\n\r\n") + 4
                if end < 4:
                    self._partial = _PartialHead(data)
                    self._check_partial(self._partial)
                    return events
            else:
                end = self._partial.take(data)
                if end < 0:
                    self._check_partial(self._partial)
                    return events
                data = bytes(self._partial)
                self._partial = None
            if end > MAX_HEAD_BYTES:
                raise Refused("the response head is too long", 502)
            head = parse_response_head(data if end == len(data) else data[:end], request_method=self._method)
            data = data[end:]
            events.append(head)
            if head.is_informational:
                continue
            self._final = head
            framing = head.framing
            if framing.length == len(data) and framing is not CHUNKED and framing is not UNTIL_CLOSE:
                self.is_complete = True  # the whole answer in one piece, or one without a body
                if data:
                    events.append(data)
                return events
            if framing is NO_BODY or (framing.kind is FramingKind.LENGTH and not framing.length):
                self.is_complete = True
                break
            self._body = body_reader(framing, unpack=self._unpack)
            if data:
                events.append(self._feed_body(self._body, data))
            return events
        self._rest += data
        return events

    def _check_partial(self, partial: _PartialHead) -> None:
        if len(partial) > MAX_HEAD_BYTES:
            raise Refused("the response head is too long", 502)
        if not b"HTTP/1.".startswith(bytes(partial)[:7]):
            raise Refused("the upstream does not speak HTTP/1", 502)

    def feed_eof(self) -> bool:
        """The upstream has closed: say whether that was the end of a body, which it is for some."""
        if self._final is not None and self._final.framing is UNTIL_CLOSE and not self.is_complete:
            self.is_complete = True
            return True
        return False

    @property
    def is_reusable(self) -> bool:
        """The connection can carry another request: this answer is complete, nothing unasked followed it."""
        return self.is_complete and self._final is not None and self._final.keeps_alive and not self._rest

    def take_rest(self) -> bytes:
        rest, self._rest = self._rest, b""
        return rest

    def _feed_body(self, body: BodyReader, data: bytes) -> bytes:
        try:
            passed, rest = body.feed(data)
        except Refused as refusal:
            raise Refused(str(refusal), 502) from refusal
        if rest is not None:
            self.is_complete = True
            self._rest = rest
        return passed
